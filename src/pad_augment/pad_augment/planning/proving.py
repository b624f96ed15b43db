"""What planners share that prove their plans: every step free of collisions, a way around where the line is blocked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from pad_augment.kinematics import Robot
from pad_augment.planning.certificate import Certifier
from pad_augment.planning.dynamics import limit_ratios, limit_ratios_of_many
from pad_augment.planning.following import as_asked, follow, split, stretch_of, too_fast
from pad_augment.planning.interface import Body, Failure, Plan, PlanFailure, PlanRequest, Shape, Stretch
from pad_augment.planning.shortest_time import shortest_motion
from pad_augment.planning.straight_line import lines

FloatArray = NDArray[np.float64]

CHECK_STEP = 0.02
"""rad; largest joint step between two checks: of 40 paths planned so, none collided when re-checked finely."""
EXTRA_TILT = np.radians(20.0)
"""What is carried tilts by no more than this beyond what the straight line would tilt it: cups hold drinks."""
_JOINT_LINE, _SEARCHED = "joint_line", "rrt"
_TRIES_TO_SLOW = 5
_HASTE = 1.3
"""Times a limit: a straight line that asks for more passes too near a singularity or changes the arm's posture."""

_CLEARLY = 1.02
"""Times a limit, above which a plan is given up before it is whole."""


class Checker(Protocol):
    """Tells whether postures are free of collisions; see `CollisionScene`."""

    def arrange(self, bodies: Mapping[str, Body]) -> None: ...

    def collides(self, joints: FloatArray, openings: FloatArray) -> bool: ...

    def first_collision(self, joints: FloatArray, openings: FloatArray, step: float) -> int | None: ...

    def cause(self, joints: FloatArray, openings: FloatArray, step: float) -> Failure: ...


@dataclass(frozen=True)
class _Refusal:
    """Why a free stretch cannot go along a line; of_joint_line: nor along the one between its joints."""

    failure: PlanFailure
    of_joint_line: bool


class ProvingPlanner(ABC):
    """Straight lines in the end-effector space where they are free, else a straight joint line, else a searched way.

    Which way is searched, and what tells collisions on the way to it, is the backend's; every plan is then proved free
    of collisions without gaps by the same `Certifier`.
    """

    name: str
    finds_ways = True
    repeatable: bool
    searches = True
    """Whether a way is searched where the straight joint line is blocked, too; else there is none."""
    looks_first = False
    """Whether lines are also looked at step by step in the backend's own scene, which may know more than the proof."""

    def __init__(self, robot: Robot, shapes: Mapping[str, Shape], rate_hz: float, collisions: Checker) -> None:
        self._robot = robot
        self._rate_hz = rate_hz
        self._collisions = collisions
        self._certifier = Certifier(robot, shapes)

    @abstractmethod
    def _ways(
        self,
        index: int,
        start: FloatArray,
        goal: FloatArray,
        openings: FloatArray,
        steps: int,
        rng: np.random.Generator,
    ) -> Iterator[FloatArray]:
        """Ways (K, 2 n) rad from start to goal (2 n,), at rest at both ends, within the limits; `steps` long or longer.

        They are tried in this order. The objects are arranged as in stretch `index`; openings: (2,) m. May raise
        `PlanFailure`.
        """

    def plan(self, request: PlanRequest, rng: np.random.Generator) -> Plan:
        """See `BimanualPlanner.plan`; `rng` seeds the search."""
        (result,) = self.plan_many([request], [rng])
        if isinstance(result, PlanFailure):
            raise result
        return result

    def plan_many(
        self, requests: Sequence[PlanRequest], rngs: Sequence[np.random.Generator]
    ) -> list[Plan | PlanFailure]:
        """See `BimanualPlanner.plan_many`: straight lines are followed all at once, ways around found one by one."""
        out: list[Plan | PlanFailure] = []
        straight = iter(lines(self._robot, [r for r in requests if not r.at_rest], self._rate_hz))
        followed = follow(self._robot, [r for r in requests if r.at_rest])
        postures = dict(zip([i for i, r in enumerate(requests) if r.at_rest], followed, strict=True))
        refused: dict[int, dict[int, _Refusal]] = {index: {} for index in postures}
        for index, request in enumerate(requests):
            if request.at_rest:
                out.append(self._with_stops(request, postures[index], rngs[index], refused[index]))
                continue
            plan = next(straight)
            if self.looks_first and isinstance(plan, Plan):
                plan = self._first_collision(request, plan) or plan
            out.append(plan)
        left = [(index, plan) for index, plan in enumerate(out) if isinstance(plan, Plan)]
        while left:
            proofs = self._certifier.first_contacts([requests[index] for index, _ in left], [plan for _, plan in left])
            blocked = [(*one, contact) for one, contact in zip(left, proofs, strict=True) if contact is not None]
            left = []
            for index, plan, contact in blocked:
                request, way = requests[index], plan.ways[contact.stretch]
                out[index] = contact
                if request.at_rest and request.stretches[contact.stretch].free and way != _SEARCHED:
                    refused[index][contact.stretch] = _Refusal(contact, way == _JOINT_LINE)
                    other = self._with_stops(request, postures[index], rngs[index], refused[index])
                    out[index] = other
                    if isinstance(other, Plan):
                        left.append((index, other))
        return out

    def move(
        self,
        start: FloatArray,
        goal: FloatArray,
        openings: FloatArray,
        bodies: Mapping[str, Body],
        rng: np.random.Generator,
    ) -> FloatArray:
        """A proved way (T, 2 n) rad between postures (2 n,) rad, at rest at both ends, with fingers at openings (2,) m.

        The straight line between the joints if it is free, else a searched way. Raises `PlanFailure`.
        """
        ends = np.stack([start, goal])
        poses = np.stack([self._robot.fk(arm, ends[:, self._robot.columns(arm)]) for arm in (0, 1)], axis=1)
        stretch = Stretch(poses, np.tile(openings, (2, 1)), True, bodies)
        request = PlanRequest([stretch], at_rest=True, start=start)
        name, way = self._way_around(request, [ends], 0, rng, False)
        if name == _JOINT_LINE and not self._proved(stretch, way):
            _, way = self._way_around(request, [ends], 0, rng, True)
        return way

    def _with_stops(
        self,
        request: PlanRequest,
        joints: FloatArray | PlanFailure,
        rng: np.random.Generator,
        refused: Mapping[int, _Refusal],
    ) -> Plan | PlanFailure:
        try:
            return self._plan_with_stops(request, joints, rng, refused)
        except PlanFailure as failure:
            return failure

    def _plan_with_stops(
        self,
        request: PlanRequest,
        joints: FloatArray | PlanFailure,
        rng: np.random.Generator,
        refused: Mapping[int, _Refusal],
    ) -> Plan:
        """A plan whose free stretches may go another way than asked, and do so where the line was `refused`."""
        stretches = list(request.stretches)
        blocked = {index: refusal.failure for index, refusal in refused.items()}
        if isinstance(joints, PlanFailure):
            if not stretches[joints.stretch].free:
                raise joints
            blocked[joints.stretch] = joints
            joints = self._follow_fixed(stretches, request.start)
        parts = split(joints, [len(s) for s in stretches])
        self._find_jumps(request, parts, blocked)
        asked = list(parts)
        for index, stretch in enumerate(stretches):
            if stretch.free and index not in blocked and request.shortest is not None:
                parts[index] = self._hastened(_before(parts, index), parts[index], request.shortest)
                stretches[index] = self._as_driven(stretch, parts[index])
        self._refuse_haste(stretches, parts, blocked)
        if self.looks_first:
            self._find_collisions(stretches, parts, blocked)
        ways = ["line"] * len(stretches)
        for index in sorted(blocked):
            if not stretches[index].free:
                raise blocked[index]
            parts[index] = asked[index]
            searched = index in refused and refused[index].of_joint_line
            ways[index], parts[index] = self._way_around(request, parts, index, rng, searched)
            stretches[index] = self._as_driven(request.stretches[index], parts[index])
        joints = np.concatenate(parts)
        driven = replace(request, stretches=stretches)
        (failure,) = too_fast(self._robot, [joints], [driven], self._rate_hz)
        if failure is not None:
            raise failure
        return replace(as_asked(driven, joints), ways=tuple(ways))

    def _first_collision(self, request: PlanRequest, plan: Plan) -> PlanFailure | None:
        """The first step of a plan that collides."""
        parts = zip(
            request.stretches, split(plan.joints, plan.lengths), split(plan.openings, plan.lengths), strict=True
        )
        for index, (stretch, joints, openings) in enumerate(parts):
            self._collisions.arrange(stretch.bodies)
            at = self._collisions.first_collision(joints, openings, np.inf)
            if at is not None:
                return self._collision(index, joints, openings, at)
        return None

    def _collision(self, index: int, joints: FloatArray, openings: FloatArray, at: int) -> PlanFailure:
        span = slice(at, at + 2)
        cause = self._collisions.cause(joints[span], openings[span], CHECK_STEP)
        return PlanFailure(cause, index, f"{cause.value.replace('_', ' ')} in step {at} of stretch {index}")

    def _follow_fixed(self, stretches: list[Stretch], start: FloatArray | None) -> FloatArray:
        """Joints for the stretches that must be followed; a free one gets its first and last posture, repeated."""
        ends = [s if not s.free else Stretch(s.poses[[0, -1]], s.openings[[0, -1]], True, s.bodies) for s in stretches]
        (joints,) = follow(self._robot, [PlanRequest(ends, start=start)])
        if isinstance(joints, PlanFailure):
            raise joints
        out = []
        for stretch, part in zip(stretches, split(joints, [len(s) for s in ends]), strict=True):
            half = len(stretch) // 2
            full = np.repeat(part, [half, len(stretch) - half], axis=0) if stretch.free else part
            out.append(full)
        return np.concatenate(out)

    def _find_jumps(self, request: PlanRequest, parts: list[FloatArray], blocked: dict[int, PlanFailure]) -> None:
        """Free stretches in which an arm turns over into another posture: slowing down does not help there."""
        free = [i for i, stretch in enumerate(request.stretches) if stretch.free and i not in blocked]
        if not free:
            return
        before = [_before(parts, index) if request.shortest is not None else parts[index][:0] for index in free]
        ways = [np.concatenate([start, parts[index]]) for start, index in zip(before, free, strict=True)]
        lengths = [len(way) for way in ways]
        ratios = limit_ratios_of_many(self._robot, np.concatenate(ways), lengths, self._rate_hz, [False] * len(ways))
        for index, excess in zip(free, split(np.maximum(*ratios), lengths), strict=True):
            if excess.max() > _HASTE:
                blocked[index] = PlanFailure(Failure.VELOCITY, index, f"an arm turns over in stretch {index}", _HASTE)

    def _refuse_haste(self, stretches: list[Stretch], parts: list[FloatArray], blocked: Mapping[int, object]) -> None:
        """Refuse what is far too fast between the stretches that get another way: much cheaper than to look for
        collisions first. Whether the limits are kept is decided at the end.
        """
        runs = np.split(np.arange(len(parts)), sorted(blocked))
        for run in ([index for index in run if index not in blocked] for run in runs):
            if not run:
                continue
            before = [parts[run[0] - 1][-1:]] if run[0] > 0 else []
            joints = np.concatenate([*before, *(parts[index] for index in run)])
            velocity, acceleration = limit_ratios(self._robot, joints, self._rate_hz)
            for code, ratio in ((Failure.VELOCITY, velocity), (Failure.ACCELERATION, acceleration)):
                step = int(ratio.argmax())
                if ratio[step] > _CLEARLY:
                    at = run[stretch_of([stretches[index] for index in run], max(step - len(before), 0))]
                    message = f"a joint reaches {ratio[step]:.2f} of its {code.value} limit in stretch {at}"
                    raise PlanFailure(code, at, message, float(ratio[step]))

    def _hastened(self, before: FloatArray, joints: FloatArray, slower: float) -> FloatArray:
        """Joints (K, 2 n) rad anew in `slower` times the shortest time along the same path; no slower than they were.

        before: (1, 2 n) where the arms stand one step earlier, or (0, 2 n).
        """
        path = np.concatenate([before, joints])
        out = shortest_motion(self._robot, path, self._rate_hz, slower)
        if out is None:
            return joints
        if len(out) >= len(path) and max(r.max() for r in limit_ratios(self._robot, path, self._rate_hz)) <= 1.0:
            return joints
        return out[len(before) :]

    def _find_collisions(
        self, stretches: Sequence[Stretch], parts: list[FloatArray], blocked: dict[int, PlanFailure]
    ) -> None:
        for index, stretch in enumerate(stretches):
            if index in blocked:
                continue
            joints, openings = parts[index], stretch.openings
            if index + 1 < len(parts):
                # The step into the next stretch belongs to this one's contacts.
                joints = np.concatenate([joints, parts[index + 1][:1]])
                openings = np.concatenate([openings, stretches[index + 1].openings[:1]])
            self._collisions.arrange(stretch.bodies)
            at = self._collisions.first_collision(joints, openings, np.inf)
            if at is None:
                continue
            blocked[index] = self._collision(index, joints, openings, at)

    def _way_around(
        self, request: PlanRequest, parts: list[FloatArray], index: int, rng: np.random.Generator, searched: bool
    ) -> tuple[str, FloatArray]:
        """A way past what blocks a stretch, and its name; `searched`: the straight joint line is blocked, too."""
        stretch = request.stretches[index]
        self._collisions.arrange(stretch.bodies)
        start, goal, began = parts[index][0], parts[index][-1], 0
        # The narrowest setting of the fingers that is not less than any on the way is safe for all of them.
        openings = stretch.openings.max(axis=0)
        if request.shortest is not None:
            # From where the arms stand, not from one step on: that would be one more stop.
            for posture in _before(parts, index):
                if not self._collisions.collides(posture, openings):
                    start, began = posture, 1
        for name, posture in (("start", start), ("goal", goal)):
            if self._collisions.collides(posture, openings):
                cause = self._collisions.cause(posture[None], openings[None], CHECK_STEP)
                raise PlanFailure(cause, index, f"the {name} of stretch {index} collides")
        line = self._timed(np.stack([start, goal]), len(stretch))
        if not searched and self._goes(stretch, line, openings):
            return _JOINT_LINE, self._kept_free(request, stretch, line, openings)[began:]
        found = False
        ways = self._ways(index, start, goal, openings, len(stretch), rng) if self.searches else ()
        for way in ways:
            if self._goes(stretch, way, openings) and self._proved(stretch, way):
                way = self._kept_free(request, stretch, way, openings)
                return _SEARCHED, way[began:]
            found = True
        said = "the ways found through stretch {} are too tight or spill" if found else "no way through stretch {}"
        raise PlanFailure(Failure.NO_PATH, index, said.format(index))

    def _kept_free(self, request: PlanRequest, stretch: Stretch, way: FloatArray, openings: FloatArray) -> FloatArray:
        """A way that goes, timed anew if that is asked for: longer steps may cut a corner, then it stays as it is."""
        if request.shortest is None:
            return way
        quick = self._hastened(way[:0], way, request.shortest)
        return quick if self._goes(stretch, quick, openings) and self._proved(stretch, quick) else way

    def _goes(self, stretch: Stretch, joints: FloatArray, openings: FloatArray) -> bool:
        """Whether a way keeps what is held level and is free, as far as steps show."""
        if not self._carries_level(stretch, joints):
            return False
        gaps = np.tile(openings, (len(joints), 1))
        return self._collisions.first_collision(joints, gaps, CHECK_STEP) is None

    def _proved(self, stretch: Stretch, joints: FloatArray) -> bool:
        """Whether a way is free without gaps: what grazes is not found when another could no longer be looked for."""
        alone = PlanRequest([self._as_driven(stretch, joints)])
        (contact,) = self._certifier.first_contacts([alone], [as_asked(alone, joints)])
        return contact is None

    def _carries_level(self, stretch: Stretch, joints: FloatArray) -> bool:
        """Whether what is held tilts little more on the way than on the line that was asked for."""
        for arm in (0, 1):
            if stretch.held[arm] is None:
                continue
            up = stretch.poses[0, arm, 2, :3]  # the task's z in the gripper, at the start
            asked = (stretch.poses[:, arm, 2, :3] @ up).min()
            now = (self._robot.fk(arm, joints[:, self._robot.columns(arm)])[:, 2, :3] @ up).min()
            if np.arccos(np.clip(now, -1, 1)) > np.arccos(np.clip(asked, -1, 1)) + EXTRA_TILT:
                return False
        return True

    def _timed(self, corners: FloatArray, steps: int, rounded: bool = False) -> FloatArray:
        """(K, 2 n) rad along corners (m, 2 n), at rest at both ends and, unless `rounded`, at every corner.

        steps: at least so many; more where the limits ask for it.
        """
        legs = np.diff(corners, axis=0)
        speed, push = self._robot.velocity_limits.ravel(), self._robot.acceleration_limits.ravel()
        # A minimum-jerk motion peaks at 1.875 of its mean velocity and 5.77 of its mean acceleration.
        seconds = np.maximum(
            (1.875 * np.abs(legs) / speed).max(axis=1), np.sqrt((5.77 * np.abs(legs) / push).max(axis=1))
        )
        seconds = np.maximum(seconds, 2 / self._rate_hz)
        seconds *= max(1.0, (steps - 1) / self._rate_hz / seconds.sum())
        for _ in range(_TRIES_TO_SLOW):
            path = self._rounded(corners, seconds) if rounded else self._stopping(corners, seconds)
            velocity, acceleration = limit_ratios(self._robot, path, self._rate_hz)
            excess = max(velocity.max(), np.sqrt(acceleration.max()))
            if excess <= 1.0:
                break
            seconds = seconds * 1.05 * excess
        return path

    def _stopping(self, corners: FloatArray, seconds: FloatArray) -> FloatArray:
        """A minimum-jerk motion per leg of `seconds` (n - 1,)."""
        rows = [corners[:1]]
        for start, end, length in zip(corners[:-1], corners[1:], seconds, strict=True):
            count = int(np.ceil(length * self._rate_hz))
            rows.append(start + _minimum_jerk(np.arange(1, count + 1) / count)[:, None] * (end - start))
        return np.concatenate(rows)

    def _rounded(self, corners: FloatArray, seconds: FloatArray) -> FloatArray:
        """One minimum-jerk motion along all legs, corners rounded."""
        dense = np.linspace(0.0, 1.0, 200)
        nodes = np.r_[0.0, np.cumsum(seconds)] / seconds.sum()
        path = np.stack([np.interp(dense, nodes, column) for column in corners.T], axis=1)
        smooth = gaussian_filter1d(path, 6.0, axis=0, mode="nearest")
        weight = np.clip(np.minimum(np.arange(200), np.arange(200)[::-1]) / 12.0, 0.0, 1.0)[:, None]
        path = weight * smooth + (1 - weight) * path
        count = int(np.ceil(seconds.sum() * self._rate_hz))
        share = _minimum_jerk(np.arange(count + 1) / count)
        return np.stack([np.interp(share, dense, column) for column in path.T], axis=1)

    def _as_driven(self, stretch: Stretch, joints: FloatArray) -> Stretch:
        """The stretch with the poses that the joints reach, and its openings spread over the new number of steps."""
        poses = np.stack([self._robot.fk(arm, joints[:, self._robot.columns(arm)]) for arm in (0, 1)], axis=1)
        old, new = np.linspace(0, 1, len(stretch)), np.linspace(0, 1, len(joints))
        openings = np.stack([np.interp(new, old, stretch.openings[:, arm]) for arm in (0, 1)], axis=1)
        return Stretch(poses, openings, stretch.free, stretch.bodies)


def moving_arms(start: FloatArray, goal: FloatArray) -> list[int]:
    """Arms that move between joints (2 n,) rad; a search leaves out one that keeps still, perhaps to hold something."""
    halves = zip(np.split(start, 2), np.split(goal, 2), strict=True)
    return [arm for arm, (before, after) in enumerate(halves) if not np.allclose(before, after)]


def _before(parts: Sequence[FloatArray], index: int) -> FloatArray:
    """(1, 2 n) rad where the arms stand one step before a stretch; (0, 2 n) before the first, which begins there."""
    return parts[index - 1][-1:] if index > 0 else parts[0][:0]


def _minimum_jerk(s: FloatArray) -> FloatArray:
    return np.asarray(s**3 * (10 - 15 * s + 6 * s**2))
