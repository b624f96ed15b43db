"""The command gate's numbers, each once: what the node declares and what a graph's argument `gate` may set."""

from collections.abc import Mapping

from pad_policy.errors import ConfigError

Number = tuple[float, float, float, str]
"""Default, least, most, description."""

LIMITS: dict[str, Number] = {
    "speed": (1.0, 0.05, 1.0, "Share of the profile's joint velocities that is allowed."),
    "acceleration": (1.0, 0.05, 1.0, "Share of the profile's joint accelerations that is allowed."),
    "jerk_time": (0.02, 0.005, 1.0, "s in which an axis may get from no acceleration to all that it is allowed."),
    "between_arms": (0.01, 0.0, 0.5, "m, smallest distance of a link of one arm to one of the other."),
    "within_arm": (0.003, 0.0, 0.5, "m, smallest distance of two links of one arm that are no neighbours."),
    "keypoint_timeout": (0.5, 0.05, 10.0, "s without keypoints after which the arms hold."),
    "lost_timeout": (2.0, 0.05, 60.0, "s for which a keypoint group may be lost before the arms hold."),
    "largest_keypoint_jump": (0.15, 0.01, 10.0, "m between two images beyond which the arms hold."),
}

TIMING: dict[str, Number] = {
    "chunk_overrun": (0.6, 0.0, 10.0, "s past its last point for which a chunk is stood on before the arms hold."),
    "oldest_chunk": (1.0, 0.05, 10.0, "s; chunks of older observations are refused."),
    "newest_chunk": (0.1, 0.0, 10.0, "s; chunks and joint states stamped further in the future are refused."),
    "joint_state_timeout": (0.2, 0.01, 5.0, "s without joint states after which the arms hold."),
    "longest_step": (0.05, 0.01, 1.0, "s between two beats beyond which the arms wait at the last command."),
    "largest_jump": (0.8, 0.05, 6.3, "rad between neighbouring points of a chunk beyond which it is refused."),
    "largest_start": (0.5, 0.05, 6.3, "rad between the arms and the first chunk beyond which it is refused."),
    "largest_leap": (
        0.3,
        0.05,
        6.3,
        "rad that joint states may leap, beyond the arms' velocity, before the gate stops.",
    ),
    "largest_lag": (
        0.3,
        0.05,
        6.3,
        "rad that a joint may be away from all that was commanded in the last 0.2 s before the gate stops.",
    ),
}
"""As fields of `GateTiming`."""

NUMBERS: dict[str, Number] = {**LIMITS, **TIMING}


def gate_numbers(assignments: str) -> Mapping[str, float]:
    """The numbers in NAME=VALUE texts separated by spaces.

    Raises:
        ConfigError: an unknown name, no number, or one out of its range; the message says which are known.
    """
    numbers = {}
    for text in assignments.split():
        name, _, value = text.partition("=")
        if name not in NUMBERS:
            raise ConfigError(f"the gate has no number {name!r}; known: {', '.join(NUMBERS)}")
        _, least, most, _ = NUMBERS[name]
        try:
            number = float(value)
        except ValueError:
            raise ConfigError(f"{name} needs a number, as {name}={NUMBERS[name][0]}; got {text!r}") from None
        if not least <= number <= most:
            raise ConfigError(f"{name} must be from {least} to {most}; got {value}")
        numbers[name] = number
    return numbers
