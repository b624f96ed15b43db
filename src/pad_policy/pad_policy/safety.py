"""The command gate's core: the last thing between a policy and two arms. Pure numpy, no clock of its own.

Whatever comes in, what goes out keeps its position, velocity and acceleration limits: the gate tracks the chunk's
path with a limiter that never chooses a speed it could not brake from before a position limit.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pad_policy.chunking import JointChunk, StitchedPath, stitch
from pad_policy.environment import JointMeasurement
from pad_policy.errors import ChunkError, ConfigError

Array = NDArray[np.floating[Any]]

#: 12 arm joints, then 2 gripper openings.
AXES = 14


class GateState(IntEnum):
    """Same values as pad_msgs/SafetyState."""

    IDLE = 0
    RUNNING = 1
    HOLDING = 2
    STOPPED = 3


@dataclass(frozen=True)
class GateLimits:
    """Limits of the 12 joints (rad, rad/s, rad/s2; left then right) and the 2 openings (m, m/s, m/s2).

    lower, upper, velocity, acceleration: (14,) each, joints then openings.
    """

    lower: Array
    upper: Array
    velocity: Array
    acceleration: Array

    def __post_init__(self) -> None:
        for name in ("lower", "upper", "velocity", "acceleration"):
            value = np.array(getattr(self, name), np.float64)
            if value.shape != (AXES,) or not np.all(np.isfinite(value)):
                raise ConfigError(f"gate limit '{name}' must be {AXES} finite numbers, got shape {value.shape}")
            value.setflags(write=False)
            object.__setattr__(self, name, value)
        if np.any(self.lower >= self.upper) or np.any(self.velocity <= 0) or np.any(self.acceleration <= 0):
            raise ConfigError("gate limits need lower < upper, velocity > 0 and acceleration > 0 on every axis")


@dataclass(frozen=True)
class GateTiming:
    """Ages and tolerances, s unless said otherwise."""

    period: float = 0.008  # nominal time between two commands
    chunk_overrun: float = 0.6  # how long past its last point a chunk is stood on before it counts as stale
    oldest_chunk: float = 1.0  # older observations are refused
    newest_chunk: float = 0.1  # stamps further in the future are refused
    joint_state_timeout: float = 0.2
    longest_step: float = 0.05  # after a longer pause between ticks the gate starts from rest again
    largest_jump: float = 0.8  # rad between neighbouring points; more is another robot's or a broken chunk


@dataclass(frozen=True)
class SafetyReport:
    """State of the gate and how often it stepped in; counters never go back."""

    state: GateState = GateState.IDLE
    cause: str = "not enabled"
    position_limited: int = 0
    velocity_limited: int = 0
    acceleration_limited: int = 0
    rejected_chunks: int = 0
    stale_holds: int = 0
    chunk_age: float = float("inf")
    joint_state_age: float = float("inf")


@dataclass(frozen=True)
class GateOutput:
    """One tick: commands, or None while the gate is idle. joints (12,) rad, openings (2,) m."""

    joints: Array | None
    openings: Array | None
    report: SafetyReport


@dataclass
class _Counters:
    position_limited: int = 0
    velocity_limited: int = 0
    acceleration_limited: int = 0
    rejected_chunks: int = 0
    stale_holds: int = 0


@dataclass
class _Motion:
    """What is being commanded: position (14,), velocity (14,), and when."""

    position: Array
    velocity: Array
    time: float
    path: StitchedPath | None = None
    chunk_stamp: float = field(default=-np.inf)


class CommandGate:
    """Turns chunks into limited commands; starts disabled."""

    def __init__(self, joint_names: Sequence[str], limits: GateLimits, timing: GateTiming = GateTiming()) -> None:
        if len(joint_names) != AXES:
            raise ConfigError(f"the gate drives 12 arm joints and 2 finger joints, got {len(joint_names)} names")
        self._joint_names = list(joint_names)
        self._limits = limits
        self._timing = timing
        self._counters = _Counters()
        self._state = GateState.IDLE
        self._cause = "not enabled"
        self._motion: _Motion | None = None
        self._last_stamp = -np.inf
        self._measured: JointMeasurement | None = None
        self._now = -np.inf

    # -- switches ---------------------------------------------------------------------------------------------

    def enable(self, now: float) -> str:
        """Start from the measured joints, waiting for a chunk. Returns why not, or an empty string.

        Also lifts a latched stop.
        """
        problem = self._why_not_enable(now)
        if problem:
            if self._state == GateState.IDLE:
                self._cause = problem
            return problem
        if self._state in (GateState.RUNNING, GateState.HOLDING):
            return ""
        measured = self._measured
        if measured is None:  # `_why_not_enable` has excluded it
            return "no joint states"
        start = np.concatenate([measured.positions, measured.openings])
        start = np.clip(start, self._limits.lower, self._limits.upper)
        self._motion = _Motion(start, np.zeros(AXES), now)
        self._state, self._cause = GateState.HOLDING, "waiting for a chunk"
        return ""

    def disable(self) -> None:
        """Emit nothing any more, until enabled again. A latched stop stays latched."""
        if self._state != GateState.STOPPED:
            self._state, self._cause, self._motion = GateState.IDLE, "not enabled", None

    def stop(self, cause: str = "stop requested") -> None:
        """Brake as hard as the limits allow and stay there until enabled again."""
        self._state, self._cause = GateState.STOPPED, cause
        if self._motion is not None:
            self._motion.path = None

    def _why_not_enable(self, now: float) -> str:
        measured = self._measured
        if measured is None:
            return "no joint states have arrived; start the robot driver or the cell"
        age = now - measured.stamp
        if age > self._timing.joint_state_timeout:
            return f"the joint states are {age:.2f} s old; check the robot driver"
        tolerance = 0.02
        low, high = self._limits.lower[:12] - tolerance, self._limits.upper[:12] + tolerance
        outside = np.flatnonzero((measured.positions < low) | (measured.positions > high))
        if len(outside):
            return f"{self._joint_names[outside[0]]} is outside its limits; move it back by hand first"
        return ""

    # -- inputs -----------------------------------------------------------------------------------------------

    def accept(self, chunk: JointChunk, now: float) -> None:
        """Take over a chunk, or raise `ChunkError` saying which rule it breaks (and count it)."""
        self._notice_clock(now)
        try:
            self._check(chunk, now)
        except ChunkError:
            self._counters.rejected_chunks += 1
            raise
        self._last_stamp = chunk.stamp
        motion = self._motion
        if motion is None or self._state not in (GateState.RUNNING, GateState.HOLDING):
            return  # well formed, but nobody asked for motion
        lower, upper = self._limits.lower, self._limits.upper
        positions = np.clip(chunk.positions, lower[:12], upper[:12])
        openings = np.clip(chunk.openings, lower[12:], upper[12:])
        if np.any(positions != chunk.positions):
            self._counters.position_limited += 1
        bounded = replace(chunk, positions=positions, openings=openings)
        motion.path = stitch(bounded, max(now, motion.time), motion.position, motion.velocity)
        motion.chunk_stamp = chunk.stamp

    def _check(self, chunk: JointChunk, now: float) -> None:
        names = list(chunk.joint_names)
        if names != self._joint_names:
            wrong = [n for n in names if n not in self._joint_names] or ["their order or number"]
            raise ChunkError(f"chunk is for other joints ({wrong[0]}); expected {', '.join(self._joint_names)}")
        times = np.asarray(chunk.times)
        count = len(times) if times.ndim == 1 else 0
        if count == 0 or np.shape(chunk.positions) != (count, 12) or np.shape(chunk.openings) != (count, 2):
            raise ChunkError(
                f"chunk shapes are times {times.shape}, positions {np.shape(chunk.positions)}, openings "
                f"{np.shape(chunk.openings)}; expected (K,), (K, 12), (K, 2) with K >= 1"
            )
        values = (times, chunk.positions, chunk.openings, chunk.stamp)
        if not all(np.all(np.isfinite(value)) for value in values):
            raise ChunkError("chunk holds NaN or infinite numbers")
        if times[0] <= 0 or np.any(np.diff(times) < 1e-3):
            raise ChunkError("chunk times must be positive and increase by at least 1 ms")
        age = now - chunk.stamp
        if age > self._timing.oldest_chunk:
            raise ChunkError(f"chunk is {age:.2f} s old; at most {self._timing.oldest_chunk} s are allowed")
        if age < -self._timing.newest_chunk:
            raise ChunkError(f"chunk is stamped {-age:.2f} s in the future; check that all nodes use one clock")
        if chunk.stamp <= self._last_stamp:
            raise ChunkError("chunk is out of order: its stamp is not newer than the last one's")
        if chunk.stamp + times[-1] <= now:
            raise ChunkError("every point of the chunk is already past")
        path = np.asarray(chunk.positions)
        if self._motion is not None:
            path = np.vstack([self._motion.position[:12], path[chunk.stamp + times > now]])
        jump = np.abs(np.diff(path, axis=0)).max(initial=0.0)
        if jump > self._timing.largest_jump:
            raise ChunkError(
                f"chunk jumps by {jump:.2f} rad between neighbouring points; at most "
                f"{self._timing.largest_jump} rad are allowed"
            )

    def _notice_clock(self, now: float) -> None:
        """A clock that goes back (a restarted simulation) makes every stored stamp meaningless."""
        if now < self._now - 0.05:
            self._last_stamp = -np.inf
            self._measured = None
            if self._motion is not None:
                self._motion.path = None
                self._motion.time = now
        self._now = now

    # -- the beat ---------------------------------------------------------------------------------------------

    def tick(self, now: float, joint_state: JointMeasurement | None) -> GateOutput:
        """Advance to `now` (s) with the newest measurement (or None); returns what to command."""
        self._notice_clock(now)
        if joint_state is not None and _is_sound(joint_state):
            self._measured = joint_state
        joint_age = np.inf if self._measured is None else now - self._measured.stamp
        motion = self._motion
        if motion is None:
            return GateOutput(None, None, self._report(np.inf, joint_age))
        chunk_age = now - motion.chunk_stamp
        if self._state in (GateState.RUNNING, GateState.HOLDING):
            self._judge(motion, now, joint_age)
        self._move(motion, now)
        return GateOutput(motion.position[:12].copy(), motion.position[12:].copy(), self._report(chunk_age, joint_age))

    def _judge(self, motion: _Motion, now: float, joint_age: float) -> None:
        """Decide between running and holding."""
        cause = ""
        if joint_age > self._timing.joint_state_timeout:
            cause = f"no joint states for {self._timing.joint_state_timeout:.2f} s"
        elif motion.path is not None and now > motion.path.end + self._timing.chunk_overrun:
            cause = f"no new chunk for {self._timing.chunk_overrun:.2f} s after the end of the last"
        if cause:
            motion.path = None
            if self._state == GateState.RUNNING:
                self._counters.stale_holds += 1
            if self._state == GateState.RUNNING or not self._cause.startswith("no "):
                self._state, self._cause = GateState.HOLDING, cause
        elif motion.path is not None:
            self._state, self._cause = GateState.RUNNING, ""

    def _move(self, motion: _Motion, now: float) -> None:
        """One limited step towards the path, or a limited brake when there is none."""
        longest = self._timing.longest_step
        step = now - motion.time
        if step <= 1e-6:
            return
        motion.time = now
        if step > longest:
            motion.velocity = np.zeros(AXES)  # the robot has long come to rest at the last command
            return
        limits = self._limits
        x, v = motion.position, motion.velocity
        reach = limits.acceleration * step
        if motion.path is None:
            wanted = np.zeros(AXES)
        else:
            target, speed = motion.path.at(now)
            error = target - x
            # Proportional near the target, braking parabola far from it: fast, and no overshoot.
            size = np.abs(error)
            pull = np.minimum(size * (0.25 / self._timing.period), np.sqrt(limits.acceleration * size))
            wanted = speed + np.sign(error) * pull
        bounded = wanted * _slowest_of_each_arm(limits.velocity / np.maximum(np.abs(wanted), 1e-9))
        if np.any(bounded != wanted):
            self._counters.velocity_limited += 1
        chosen = np.clip(bounded, v - reach, v + reach)
        if motion.path is not None and np.any(np.abs(chosen - bounded) > 1e-9):
            self._counters.acceleration_limited += 1
        span = longest + step
        highest, lowest = (
            limits.acceleration * (np.sqrt(span**2 + 2 * np.maximum(room, 0.0) / limits.acceleration) - span)
            for room in (limits.upper - x, x - limits.lower)
        )
        chosen = np.maximum(np.minimum(chosen, highest), -lowest)
        position = np.clip(x + chosen * step, limits.lower, limits.upper)
        motion.velocity = (position - x) / step
        motion.position = position

    def _report(self, chunk_age: float, joint_age: float) -> SafetyReport:
        return SafetyReport(
            state=self._state,
            cause=self._cause,
            chunk_age=float(chunk_age),
            joint_state_age=float(joint_age),
            **vars(self._counters),
        )


def _slowest_of_each_arm(ratios: Array) -> Array:
    """(14,) factors <= 1: the joints of an arm slow down together, so that the TCP keeps its direction."""
    factors = np.minimum(ratios, 1.0)
    factors[:6] = factors[:6].min()
    factors[6:12] = factors[6:12].min()
    return factors


def _is_sound(measured: JointMeasurement) -> bool:
    """Right sizes and finite; anything else is treated as if it had not arrived, and so grows stale."""
    return (
        np.shape(measured.positions) == (12,)
        and np.shape(measured.openings) == (2,)
        and bool(np.all(np.isfinite(measured.positions)) and np.all(np.isfinite(measured.openings)))
        and bool(np.isfinite(measured.stamp))
    )
