"""Whether the keypoints behind the chunks are good enough to move by: their age, what is known of them, jumps."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class HealthLimits:
    """What keypoints may be like.

    timeout: s without keypoints before the arms hold. lost_timeout: s that a group may be known to less than
    `least_known` (share, 0 to 1). largest_jump: m between two messages; a tracker that jumps has lost its object.
    """

    timeout: float = 0.5
    least_known: float = 0.01
    lost_timeout: float = 2.0
    largest_jump: float = 0.15


class KeypointHealth:
    """Remembers what the keypoints were like."""

    def __init__(self, limits: HealthLimits = HealthLimits()) -> None:
        self._limits = limits
        self.forget()

    def forget(self) -> None:
        """Begin anew: nothing has been seen."""
        self._stamp = float("-inf")
        self._known: dict[str, float] = {}  # group -> stamp at which enough of it was known last
        self._jumped = float("-inf")
        self._jump = 0.0

    def see(self, stamp: float, groups: Mapping[str, float], largest_jump: float) -> None:
        """Take in a message: share of each group that is known (0 to 1), and the largest jump of a known point, m."""
        for group, share in groups.items():
            if share >= self._limits.least_known or group not in self._known:
                self._known[group] = stamp
        if largest_jump > self._limits.largest_jump:
            self._jumped, self._jump = stamp, largest_jump
        self._stamp = stamp

    def age(self, now: float) -> float:
        """s since the newest keypoints; infinite without any."""
        return now - self._stamp

    def problem(self, now: float) -> str:
        """Why the arms should hold, or an empty string."""
        limits = self._limits
        if self.age(now) > limits.timeout:
            return f"no keypoints for {limits.timeout:.2f} s"
        for group, stamp in self._known.items():
            if now - stamp > limits.lost_timeout:
                return f"keypoint group {group} has been lost for {limits.lost_timeout:.1f} s"
        if now - self._jumped < limits.timeout:
            return f"keypoints jumped by {self._jump:.2f} m between two images"
        return ""
