"""The command gate's core: the last thing between a policy and two arms. No clock of its own, no ROS.

Whatever comes in, what goes out keeps the limits of position, velocity, acceleration and jerk, the workspace and the
distances. The proof is by induction: a step is taken only if the robot could brake to rest after it without leaving
them, so a brake that keeps them is always at hand.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pad_policy.chunking import JointChunk, StitchedPath, stitch
from pad_policy.command_history import CommandHistory
from pad_policy.environment import JointMeasurement
from pad_policy.errors import ChunkError, ConfigError, FarStartError
from pad_policy.guard import MotionGuard, Whereabouts
from pad_policy.joint_history import LARGEST_LEAP, leap
from pad_policy.keypoint_health import KeypointHealth
from pad_policy.limiter import AxisLimits, AxisState, Brake, JerkLimiter, stacked

Array = NDArray[np.floating[Any]]

#: moments of a brake that are looked at
_MOMENTS = 5
#: m of room from which on the arms slow down towards each other, and the slowest that this makes them
_SLOW_ROOM, _SLOWEST = 0.02, 0.1
_BEAT = 0.008  # s that are taken to have passed when the clock goes back
_CLOCK = "the clock has gone back"
_SAME_OPENING = 0.005  # m within which a gripper still holds what it held
_FULLY = 0.995  # share of a limit from which on it counts as reached


class GateState(IntEnum):
    """Same values as pad_msgs/SafetyState."""

    IDLE = 0
    RUNNING = 1
    HOLDING = 2
    STOPPED = 3


@dataclass(frozen=True)
class GateLimits:
    """Limits of the D axes: the joints (left arm, then right; rad and s), then the 2 openings (m and s).

    lower, upper, velocity, acceleration, jerk: (D,) each.
    """

    lower: Array
    upper: Array
    velocity: Array
    acceleration: Array
    jerk: Array

    def __post_init__(self) -> None:
        size = len(np.atleast_1d(self.lower))
        for name in ("lower", "upper", "velocity", "acceleration", "jerk"):
            value = np.array(getattr(self, name), np.float64)
            if value.shape != (size,) or not np.all(np.isfinite(value)):
                raise ConfigError(f"gate limit '{name}' must be {size} finite numbers, got shape {value.shape}")
            value.setflags(write=False)
            object.__setattr__(self, name, value)
        if np.any(self.lower >= self.upper):
            raise ConfigError("gate limits need lower < upper on every axis")
        if min(self.velocity.min(), self.acceleration.min(), self.jerk.min()) <= 0:
            raise ConfigError("gate limits need velocity > 0, acceleration > 0 and jerk > 0 on every axis")


@dataclass(frozen=True)
class GateTiming:
    """Ages and tolerances, s unless said otherwise."""

    chunk_overrun: float = 0.6  # how long past its last point a chunk is stood on before it counts as stale
    oldest_chunk: float = 1.0  # older observations are refused
    newest_chunk: float = 0.1  # stamps further in the future are refused
    joint_state_timeout: float = 0.2
    longest_step: float = 0.05  # after a longer pause between ticks the robot rests at the last command
    largest_jump: float = 0.8  # rad between neighbouring points; more is another robot's or a broken chunk
    largest_start: float = 0.5  # rad between the arms and the first chunk's first point
    largest_leap: float = LARGEST_LEAP  # rad between two joint states beyond what the arms can have moved
    largest_lag: float = 0.3  # rad between a joint and all that was commanded in the last moments


@dataclass(frozen=True)
class SafetyReport:
    """State of the gate and how often it stepped in; counters never go back."""

    state: GateState = GateState.IDLE
    cause: str = "not enabled"
    position_limited: int = 0
    velocity_limited: int = 0
    acceleration_limited: int = 0
    jerk_limited: int = 0
    workspace_limited: int = 0
    distance_limited: int = 0
    rejected_chunks: int = 0
    stale_holds: int = 0
    keypoint_holds: int = 0
    pauses: int = 0
    far_starts: int = 0
    chunk_age: float = float("inf")
    joint_state_age: float = float("inf")
    keypoint_age: float = float("inf")
    room: float = float("nan")


@dataclass(frozen=True)
class GateOutput:
    """One tick: commands, or None while the gate is idle. joints (2 x n,) rad, openings (2,) m."""

    joints: Array | None
    openings: Array | None
    report: SafetyReport


@dataclass
class _Counters:
    position_limited: int = 0
    velocity_limited: int = 0
    acceleration_limited: int = 0
    jerk_limited: int = 0
    workspace_limited: int = 0
    distance_limited: int = 0
    rejected_chunks: int = 0
    stale_holds: int = 0
    keypoint_holds: int = 0
    pauses: int = 0
    far_starts: int = 0


@dataclass
class _Motion:
    """What is being commanded, and when. late: s that the path has waited, because the arms could not be moved.

    started: whether a chunk has been followed since the gate was enabled. by_sight: whether the path answers keypoints.
    """

    state: AxisState
    time: float
    given: CommandHistory
    path: StitchedPath | None = None
    late: float = 0.0
    started: bool = False
    by_sight: bool = True
    chunk_stamp: float = field(default=-np.inf)
    whereabouts: Whereabouts | None = None


class CommandGate:
    """Turns chunks into limited commands; starts disabled."""

    def __init__(
        self,
        joint_names: Sequence[str],
        limits: GateLimits,
        timing: GateTiming = GateTiming(),
        guard: MotionGuard | None = None,
        health: KeypointHealth | None = None,
    ) -> None:
        """joint_names: joints of the left arm, as many of the right, then the left and the right finger joint.

        guard: workspace and distances; None: neither is looked at. health: judges the keypoints behind the chunks;
        None: they are not judged.
        """
        axes = len(limits.lower)
        if len(joint_names) != axes or axes < 4 or axes % 2:
            raise ConfigError(
                f"the gate drives the joints of two equal arms and 2 finger joints: {axes} limits, "
                f"{len(joint_names)} names"
            )
        self._joint_names = list(joint_names)
        self._joints = axes - 2
        arm = self._joints // 2
        self._groups = [slice(0, arm), slice(arm, 2 * arm), slice(2 * arm, axes)]
        self._limits = limits
        self._limiters = [
            JerkLimiter(
                AxisLimits(limits.velocity[group], limits.acceleration[group], limits.jerk[group]),
                together=index < 2,
            )
            for index, group in enumerate(self._groups)
        ]
        self._timing = timing
        self._guard = guard
        self._health = health
        self._counters = _Counters()
        self._state = GateState.IDLE
        self._cause = "not enabled"
        self._motion: _Motion | None = None
        self._last_stamp = -np.inf
        self._measured: JointMeasurement | None = None
        self._squeezed: tuple[Array, Array] | None = None  # m, what the grippers were told last and measured then
        self._ahead = -np.inf  # s by which the newest joint states are stamped in the future, followed or not
        self._now = -np.inf

    # -- switches ---------------------------------------------------------------------------------------------

    def enable(self, now: float) -> str:
        """Start from the measured joints, waiting for a chunk. Returns why not, or an empty string.

        Also lifts a latched stop; grippers that have been holding on since then do not let go.
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
        start = np.concatenate([measured.positions, self._kept_openings(measured)])
        start = np.clip(start, self._limits.lower, self._limits.upper)
        given = CommandHistory(now, start[: self._joints], self._timing.joint_state_timeout)
        self._motion = _Motion(AxisState.resting(start), now, given)
        if self._guard is not None:
            self._motion.whereabouts = self._guard.look(start[None])
        if self._health is not None:
            self._health.forget()
        self._state, self._cause = GateState.HOLDING, "waiting for a chunk"
        return ""

    def _kept_openings(self, measured: JointMeasurement) -> Array:
        """(2,) m from which the grippers start: as measured; one that still squeezes what it did stays as tight."""
        if self._squeezed is None:
            return measured.openings
        told, seen = self._squeezed
        return np.where(
            np.abs(measured.openings - seen) < _SAME_OPENING, np.minimum(measured.openings, told), measured.openings
        )

    def disable(self) -> None:
        """Brake, then emit nothing any more, until enabled again. A latched stop stays latched."""
        if self._state == GateState.STOPPED:
            return
        self._state, self._cause = GateState.IDLE, "not enabled"
        if self._motion is not None:
            self._motion.path = None
            self._end_at_rest()

    @property
    def braking(self) -> bool:
        """Whether the arms are being brought to rest, because the gate was disabled or stopped."""
        motion = self._motion
        return self._state in (GateState.IDLE, GateState.STOPPED) and motion is not None and not motion.state.rests

    def _end_at_rest(self) -> None:
        if self._state == GateState.IDLE and self._motion is not None and self._motion.state.rests:
            self._motion = None

    def stop(self, cause: str = "stop requested") -> None:
        """Brake as hard as the limits allow and stay there until enabled again."""
        self._state, self._cause = GateState.STOPPED, cause
        if self._motion is not None:
            self._motion.path = None

    def _why_not_enable(self, now: float) -> str:
        measured = self._measured
        if measured is None and self._ahead > self._timing.newest_chunk:
            return self._in_the_future(self._ahead)
        if measured is None:
            return "no joint states have arrived; start the robot driver or the cell"
        stale = self._why_not_fresh(measured, now)
        if stale:
            return stale
        tolerance, joints = 0.02, self._joints
        low, high = self._limits.lower[:joints] - tolerance, self._limits.upper[:joints] + tolerance
        outside = np.flatnonzero((measured.positions < low) | (measured.positions > high))
        if len(outside):
            return f"{self._joint_names[outside[0]]} is outside its limits; move it back by hand first"
        if self.braking:
            return "the arms are still braking; try again"
        return ""

    def _why_not_fresh(self, measured: JointMeasurement, now: float) -> str:
        """Why a measurement says nothing about now, or an empty string."""
        age = now - measured.stamp
        if age < -self._timing.newest_chunk:
            return self._in_the_future(-age)
        return (
            ""
            if age <= self._timing.joint_state_timeout
            else f"the joint states are {age:.2f} s old; check the robot driver"
        )

    @staticmethod
    def _in_the_future(seconds: float) -> str:
        return f"the joint states are stamped {seconds:.2f} s in the future; check that all nodes use one clock"

    # -- inputs -----------------------------------------------------------------------------------------------

    def accept(self, chunk: JointChunk, now: float, *, by_sight: bool = True) -> None:
        """Take over a chunk, or raise `ChunkError` saying which rule it breaks (and count it).

        by_sight: whether it answers keypoints, which are then judged; a planned way is followed without any, and
            leaves the grippers as they are.
        """
        self._notice_clock(now)
        try:
            self._check(chunk, now, by_sight=by_sight)
        except ChunkError as error:
            self._counters.rejected_chunks += 1
            if isinstance(error, FarStartError):
                self._counters.far_starts += 1
                if self._state == GateState.HOLDING:
                    self._cause = str(error)
            raise
        self._last_stamp = chunk.stamp
        motion = self._motion
        if motion is None or self._state not in (GateState.RUNNING, GateState.HOLDING):
            return  # well formed, but nobody asked for motion
        lower, upper, joints = self._limits.lower, self._limits.upper, self._joints
        positions = np.clip(chunk.positions, lower[:joints], upper[:joints])
        openings = chunk.openings if by_sight else np.tile(motion.state.position[joints:], (len(positions), 1))
        openings = np.clip(openings, lower[joints:], upper[joints:])
        if np.any(positions != chunk.positions):
            self._counters.position_limited += 1
        bounded = replace(chunk, positions=positions, openings=openings)
        motion.path = stitch(bounded, max(now, motion.time), motion.state.position, motion.state.velocity)
        motion.late = 0.0
        if motion.path is not None:
            motion.started, motion.by_sight = True, by_sight
        motion.chunk_stamp = chunk.stamp

    def see_keypoints(self, stamp: float, groups: Mapping[str, float], largest_jump: float) -> None:
        """Tell of keypoints that have arrived: what share of each group is known, and the largest jump, m."""
        if self._health is not None:
            self._health.see(stamp, groups, largest_jump)

    def _check(self, chunk: JointChunk, now: float, *, by_sight: bool) -> None:
        names, joints = list(chunk.joint_names), self._joints
        if names != self._joint_names:
            wrong = [n for n in names if n not in self._joint_names] or ["their order or number"]
            raise ChunkError(f"chunk is for other joints ({wrong[0]}); expected {', '.join(self._joint_names)}")
        times = np.asarray(chunk.times)
        count = len(times) if times.ndim == 1 else 0
        if count == 0 or np.shape(chunk.positions) != (count, joints) or np.shape(chunk.openings) != (count, 2):
            raise ChunkError(
                f"chunk shapes are times {times.shape}, positions {np.shape(chunk.positions)}, openings "
                f"{np.shape(chunk.openings)}; expected (K,), (K, {joints}), (K, 2) with K >= 1"
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
        ahead = np.asarray(chunk.positions)[chunk.stamp + times > now]
        if not len(ahead):
            raise ChunkError("every point of the chunk is already past")
        motion = self._motion
        # A planned way that was followed before does not make a policy's first chunk any nearer.
        if motion is not None and not (motion.started and (motion.by_sight or not by_sight)):
            away = np.abs(ahead[0] - motion.state.position[:joints])
            if away.max() > self._timing.largest_start:
                raise FarStartError(
                    f"the robot is far from where the policy starts: {names[int(away.argmax())]} by "
                    f"{away.max():.2f} rad, at most {self._timing.largest_start} rad are allowed; "
                    "/pad/approach leads it there"
                )
        path = ahead if motion is None else np.vstack([motion.state.position[:joints], ahead])
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
            if self._health is not None:
                self._health.forget()
            if self._motion is not None:
                self._motion.path = None  # brake
                self._motion.given.shift(now - _BEAT - self._motion.time)
                self._motion.time = now - _BEAT
            if self._state == GateState.RUNNING:
                self._state, self._cause = GateState.HOLDING, f"{_CLOCK}: waiting for a chunk"
                self._counters.stale_holds += 1
        self._now = now

    # -- the beat ---------------------------------------------------------------------------------------------

    def tick(self, now: float, joint_state: JointMeasurement | None) -> GateOutput:
        """Advance to `now` (s) with the newest measurement (or None); returns what to command."""
        self._notice_clock(now)
        if joint_state is not None and self._is_sound(joint_state):
            self._ahead = joint_state.stamp - now
            if self._ahead <= self._timing.newest_chunk:
                self._notice_leap(joint_state)
                self._measured = joint_state
        self._notice_lag(now)
        joint_age = np.inf if self._measured is None else now - self._measured.stamp
        motion = self._motion
        if motion is None:
            return GateOutput(None, None, self._report(now, np.inf, joint_age))
        chunk_age = now - motion.chunk_stamp if motion.by_sight else np.inf  # no observation is behind a planned way
        if self._state in (GateState.RUNNING, GateState.HOLDING):
            self._judge(motion, now, joint_age)
        self._move(motion, now)
        position = motion.state.position
        if self._measured is not None:
            self._squeezed = position[self._joints :].copy(), self._measured.openings
        self._end_at_rest()
        return GateOutput(
            position[: self._joints].copy(), position[self._joints :].copy(), self._report(now, chunk_age, joint_age)
        )

    def _notice_leap(self, measured: JointMeasurement) -> None:
        """Joints that are somewhere else at once (a cell was reset, an arm was swapped) are not driven back from there:
        the arms would leap. A stop that commands nothing is latched.
        """
        before = self._measured
        if before is None or self._motion is None:
            return
        timing, velocity = self._timing, self._limits.velocity[: self._joints]
        # Without joint states the arms soon hold: a robot that was away for long has not moved for as long.
        worst = leap(before, measured, velocity, timing.largest_leap, timing.joint_state_timeout)
        if worst is not None:
            by = abs(float(measured.positions[worst] - before.positions[worst]))
            self._state, self._motion = GateState.STOPPED, None
            self._cause = (
                f"{self._joint_names[worst]} is {by:.2f} rad from where it was measured last: the robot was reset or "
                "moved; call /pad/enable to go on from here"
            )

    def _notice_lag(self, now: float) -> None:
        """Arms that are not where they are commanded to be (held, moved by hand, switched off) must not be torn back
        when they are let go. A stop that commands nothing is latched.
        """
        motion, measured = self._motion, self._measured
        if motion is None or measured is None or self._why_not_fresh(measured, now):
            return
        found = motion.given.lag(measured, self._timing.largest_lag)
        if found is not None:
            worst, by = found
            self._state, self._motion = GateState.STOPPED, None
            self._cause = (
                f"{self._joint_names[worst]} is {by:.2f} rad from where it is commanded to be, at most "
                f"{self._timing.largest_lag} rad are allowed: the arm was moved or held, or its controller is off or "
                "slowed down; call /pad/enable to go on from where the arms are"
            )

    def _judge(self, motion: _Motion, now: float, joint_age: float) -> None:
        """Decide between running and holding."""
        cause = ""
        if joint_age > self._timing.joint_state_timeout:
            cause = f"no joint states for {self._timing.joint_state_timeout:.2f} s"
            if self._ahead > self._timing.newest_chunk:
                cause += f" by this clock: they are stamped {self._ahead:.2f} s in the future"
        elif motion.path is not None and now > motion.path.end + self._timing.chunk_overrun:
            cause = f"no new chunk for {self._timing.chunk_overrun:.2f} s after the end of the last"
        blind = self._health is None or motion.path is None or not motion.by_sight
        unhealthy = "" if cause or blind or self._health is None else self._health.problem(now)
        cause = cause or unhealthy
        if cause:
            dropped, motion.path = motion.path is not None, None
            if self._state == GateState.RUNNING:
                if unhealthy:
                    self._counters.keypoint_holds += 1
                else:
                    self._counters.stale_holds += 1
            # What the arms hold for was said when they began to: that nothing has come since is no news.
            if dropped or self._state == GateState.RUNNING or not self._cause.startswith(("no ", _CLOCK)):
                self._state, self._cause = GateState.HOLDING, cause
        elif motion.path is not None:
            self._state, self._cause = GateState.RUNNING, ""

    def _move(self, motion: _Motion, now: float) -> None:
        """One limited step towards the path, or a limited brake when there is none."""
        step = now - motion.time
        if step <= 1e-6:
            return
        motion.time = now
        if step > self._timing.longest_step:
            # The robot has long come to rest at the last command; what was not carried out meanwhile still is to be.
            motion.state = AxisState.resting(motion.state.position)
            motion.late += step
            motion.given.shift(step)
            self._counters.pauses += 1
            return
        before = motion.state
        # To brake instead is always possible; what it takes is seldom asked for.
        stopped: list[Callable[[], AxisState]] = [
            partial(self._stopped, before, group, step) for group in range(len(self._groups))
        ]
        if motion.path is None:
            parts, brakes = [stop() for stop in stopped], None
        else:
            parts, brakes = self._follow(motion, motion.path, now, step, stopped)
        motion.state = stacked(parts)
        if self._guard is not None:
            motion.state = self._guarded(motion, self._guard, before, parts, stopped, brakes)
        motion.given.add(now, motion.state.position[: self._joints])
        if motion.path is not None:
            self._count(before, motion.state, step)

    def _follow(
        self, motion: _Motion, path: StitchedPath, now: float, step: float, stopped: list[Callable[[], AxisState]]
    ) -> tuple[list[AxisState], list[Brake]]:
        """Per group, the next state along the path and how it would brake after it."""
        begun = now - step - motion.late
        room = np.inf if motion.whereabouts is None else float(motion.whereabouts.room[0])
        speed = float(np.clip(room / _SLOW_ROOM, _SLOWEST, 1.0))
        lower, upper = self._limits.lower - 1e-9, self._limits.upper + 1e-9
        parts, brakes = [], []
        at: dict[float, AxisState] = {}
        for index, (limiter, group) in enumerate(zip(self._limiters, self._groups, strict=True)):

            def target(ahead: float, group: slice = group) -> AxisState:
                if ahead not in at:
                    at[ahead] = AxisState(*path.at(begun + ahead))
                return self._part(at[ahead], group)

            state = self._part(motion.state, group)
            part = limiter.follow(state, target, step, speed if index < 2 else 1.0)
            brake = limiter.brake(part)
            lowest, highest = brake.extrema
            if np.any(lowest < lower[group]) or np.any(highest > upper[group]):
                self._counters.position_limited += 1
                part = stopped[index]()
                brake = limiter.brake(part)
            parts.append(part)
            brakes.append(brake)
        return parts, brakes

    def _guarded(
        self,
        motion: _Motion,
        guard: MotionGuard,
        before: AxisState,
        parts: list[AxisState],
        stopped: list[Callable[[], AxisState]],
        brakes: list[Brake] | None,
    ) -> AxisState:
        """The next state that keeps the workspace and the distances: as chosen, or braking arms."""
        past = motion.whereabouts or guard.look(before.position[None])
        if brakes is None:
            motion.whereabouts = guard.look(stacked(parts).position[None])
            return stacked(parts)
        seen = guard.look(_moments(brakes, parts))
        outside = seen.outside.max(axis=0) > past.outside[0] + 1e-9
        for arm in np.flatnonzero(outside):
            parts[arm] = stopped[arm]()
            brakes[arm] = self._limiters[arm].brake(parts[arm])
            self._counters.workspace_limited += 1
        if outside.any():
            seen = guard.look(_moments(brakes, parts))
        # Too close already (the robot was put there): whatever does not bring the arms closer is allowed.
        if seen.room.min() < min(0.0, float(past.room[0]) - 1e-9):
            self._counters.distance_limited += 1
            parts[:2] = [stopped[arm]() for arm in range(2)]
            motion.whereabouts = guard.look(stacked(parts).position[None])
        else:
            motion.whereabouts = Whereabouts(seen.outside[:1], seen.room[:1])
        return stacked(parts)

    def _stopped(self, state: AxisState, group: int, step: float) -> AxisState:
        """The next state of a group that brakes."""
        return self._limiters[group].brake(self._part(state, self._groups[group])).at(step)

    @staticmethod
    def _part(state: AxisState, group: slice) -> AxisState:
        return AxisState(state.position[group], state.velocity[group], state.acceleration[group])

    def _count(self, before: AxisState, after: AxisState, step: float) -> None:
        limits = self._limits
        self._counters.velocity_limited += bool(np.any(np.abs(after.velocity) >= _FULLY * limits.velocity))
        self._counters.acceleration_limited += bool(np.any(np.abs(after.acceleration) >= _FULLY * limits.acceleration))
        change = np.abs(after.acceleration - before.acceleration)
        self._counters.jerk_limited += bool(np.any(change >= _FULLY * limits.jerk * step))

    def _is_sound(self, measured: JointMeasurement) -> bool:
        """Right sizes and finite; anything else is treated as if it had not arrived, and so grows stale."""
        return (
            np.shape(measured.positions) == (self._joints,)
            and np.shape(measured.openings) == (2,)
            and bool(np.all(np.isfinite(measured.positions)) and np.all(np.isfinite(measured.openings)))
            and bool(np.isfinite(measured.stamp))
        )

    def _report(self, now: float, chunk_age: float, joint_age: float) -> SafetyReport:
        whereabouts = None if self._motion is None else self._motion.whereabouts
        return SafetyReport(
            state=self._state,
            cause=self._cause,
            chunk_age=float(chunk_age),
            joint_state_age=float(joint_age),
            keypoint_age=float("inf") if self._health is None else self._health.age(now),
            room=float("nan") if whereabouts is None else float(whereabouts.room[0]),
            **vars(self._counters),
        )


def _moments(brakes: list[Brake], parts: list[AxisState]) -> Array:
    """(K, D) the commands of the next moment and of some on the way to rest."""
    longest = max(brake.duration for brake in brakes)
    rows = [[value for part in parts for value in part.position]]
    for k in range(1, _MOMENTS + 1):
        rows.append([value for brake in brakes for value in brake.position(longest * k / _MOMENTS)])
    return np.array(rows)
