"""The default planner: every step proved free of collisions, and a way around where the line is blocked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import roboplan.core as rp
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from pad_augment.kinematics import Robot
from pad_augment.planning.certificate import Certifier
from pad_augment.planning.collisions import CollisionScene
from pad_augment.planning.dynamics import limit_ratios
from pad_augment.planning.following import as_asked, follow, split, too_fast
from pad_augment.planning.interface import Failure, Plan, PlanFailure, PlanRequest, Shape, Stretch
from pad_augment.planning.straight_line import lines

FloatArray = NDArray[np.float64]

CHECK_STEP = 0.02
"""rad; largest joint step between two checks: of 40 paths planned so, none collided when re-checked finely."""
EXTRA_TILT = np.radians(20.0)
"""What is carried tilts by no more than this beyond what the straight line would tilt it: cups hold drinks."""
_SEARCH_STEP = 0.05
_LARGEST_TREE = 2000
_SHORTCUTS = 100
_BOTH = "both_arms"
_GROUPS = ("left_arm", "right_arm")
_TRIES_TO_SLOW = 5
_HASTE = 1.3
"""Times a limit: a straight line that asks for more passes too near a singularity or changes the arm's posture."""


class RoboplanPlanner:
    """Straight lines in the end-effector space where they are free, else a straight joint line, else RRT-Connect.

    The robot's SRDF must have groups `left_arm`, `right_arm` and `both_arms`.
    """

    name = "roboplan"
    finds_ways = True
    repeatable = True

    def __init__(self, robot: Robot, shapes: Mapping[str, Shape], rate_hz: float) -> None:
        self._robot = robot
        self._rate_hz = rate_hz
        self.collisions = CollisionScene(robot, shapes)
        self._certifier = Certifier(robot, shapes)

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
        for request, rng in zip(requests, rngs, strict=True):
            if request.at_rest:
                (found,) = follow(self._robot, [request])
                try:
                    out.append(self._plan_with_stops(request, found, rng))
                except PlanFailure as failure:
                    out.append(failure)
            else:
                out.append(next(straight))
        good = [(index, plan) for index, plan in enumerate(out) if not isinstance(plan, PlanFailure)]
        # Coarsely in the planner's own scene first; what that leaves is proved without gaps.
        for index, plan in good:
            blocked = self._first_collision(requests[index], plan)
            if blocked is not None:
                out[index] = blocked
        left = [index for index, _ in good if not isinstance(out[index], PlanFailure)]
        plans = [plan for plan in out if not isinstance(plan, PlanFailure)]
        proofs = self._certifier.first_contacts([requests[index] for index in left], plans)
        for index, contact in zip(left, proofs, strict=True):
            if contact is not None:
                out[index] = contact
        return out

    def _plan_with_stops(
        self, request: PlanRequest, joints: FloatArray | PlanFailure, rng: np.random.Generator
    ) -> Plan:
        """A plan whose free stretches may go another way than asked."""
        stretches = list(request.stretches)
        blocked: dict[int, PlanFailure] = {}
        if isinstance(joints, PlanFailure):
            if not stretches[joints.stretch].free:
                raise joints
            blocked[joints.stretch] = joints
            joints = self._follow_fixed(stretches, request.start)
        parts = split(joints, [len(s) for s in stretches])
        self._find_jumps(stretches, parts, blocked)
        self._find_collisions(request, parts, blocked)
        ways = ["line"] * len(stretches)
        for index in sorted(blocked):
            if not stretches[index].free:
                raise blocked[index]
            ways[index], parts[index] = self._way_around(request, parts, index, rng)
            stretches[index] = self._as_driven(stretches[index], parts[index])
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
            self.collisions.arrange(stretch.bodies)
            at = self.collisions.first_collision(joints, openings, np.inf)
            if at is not None:
                return self._collision(index, joints, openings, at)
        return None

    def _collision(self, index: int, joints: FloatArray, openings: FloatArray, at: int) -> PlanFailure:
        span = slice(at, at + 2)
        cause = self.collisions.cause(joints[span], openings[span], CHECK_STEP)
        return PlanFailure(cause, index, f"{cause.value.replace('_', ' ')} in step {at} of stretch {index}")

    def collides_again(self, request: PlanRequest, plan: Plan, step: float) -> bool:
        """Check a plan anew in roboplan's scene, with at most `step` rad between two checks."""
        parts = zip(
            request.stretches, split(plan.joints, plan.lengths), split(plan.openings, plan.lengths), strict=True
        )
        for stretch, joints, openings in parts:
            self.collisions.arrange(stretch.bodies)
            if self.collisions.first_collision(joints, openings, step) is not None:
                return True
        return False

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

    def _find_jumps(self, stretches: list[Stretch], parts: list[FloatArray], blocked: dict[int, PlanFailure]) -> None:
        """Free stretches in which an arm turns over into another posture: slowing down does not help there."""
        for index, stretch in enumerate(stretches):
            if not stretch.free or index in blocked:
                continue
            velocity, acceleration = limit_ratios(self._robot, parts[index], self._rate_hz)
            if max(velocity.max(), acceleration.max()) > _HASTE:
                blocked[index] = PlanFailure(Failure.VELOCITY, index, f"an arm turns over in stretch {index}", _HASTE)

    def _find_collisions(self, request: PlanRequest, parts: list[FloatArray], blocked: dict[int, PlanFailure]) -> None:
        for index, stretch in enumerate(request.stretches):
            if index in blocked:
                continue
            joints, openings = parts[index], stretch.openings
            if index + 1 < len(parts):
                # The step into the next stretch belongs to this one's contacts.
                joints = np.concatenate([joints, parts[index + 1][:1]])
                openings = np.concatenate([openings, request.stretches[index + 1].openings[:1]])
            self.collisions.arrange(stretch.bodies)
            at = self.collisions.first_collision(joints, openings, CHECK_STEP)
            if at is None:
                continue
            blocked[index] = self._collision(index, joints, openings, at)

    def _way_around(
        self, request: PlanRequest, parts: list[FloatArray], index: int, rng: np.random.Generator
    ) -> tuple[str, FloatArray]:
        stretch = request.stretches[index]
        self.collisions.arrange(stretch.bodies)
        start, goal = parts[index][0], parts[index][-1]
        # The narrowest setting of the fingers that is not less than any on the way is safe for all of them.
        openings = stretch.openings.max(axis=0)
        for name, posture in (("start", start), ("goal", goal)):
            if self.collisions.collides(posture, openings):
                cause = self.collisions.cause(posture[None], openings[None], CHECK_STEP)
                raise PlanFailure(cause, index, f"the {name} of stretch {index} collides")
        line = self._timed(np.stack([start, goal]), len(stretch))
        if self._carries_level(stretch, line) and self._free(line, openings):
            return "joint_line", line
        path = self._search(start, goal, openings, rng)
        if path is None:
            raise PlanFailure(Failure.NO_PATH, index, f"RRT-Connect found no way through stretch {index}")
        for candidate in (self._timed(path, len(stretch), rounded=True), self._timed(path, len(stretch))):
            if self._carries_level(stretch, candidate) and self._free(candidate, openings):
                return "rrt", candidate
        raise PlanFailure(Failure.NO_PATH, index, f"the way found through stretch {index} is too tight or spills")

    def _carries_level(self, stretch: Stretch, joints: FloatArray) -> bool:
        """Whether what is held tilts little more on the way than on the line that was asked for."""
        for arm in (0, 1):
            if stretch.held[arm] is None:
                continue
            up = stretch.poses[0, arm, 2, :3]  # the task's z in the gripper, at the start
            asked = (stretch.poses[:, arm, 2, :3] @ up).min()
            now = (self._robot.fk(arm, joints[:, 6 * arm : 6 * arm + 6])[:, 2, :3] @ up).min()
            if np.arccos(np.clip(now, -1, 1)) > np.arccos(np.clip(asked, -1, 1)) + EXTRA_TILT:
                return False
        return True

    def _free(self, joints: FloatArray, openings: FloatArray) -> bool:
        gaps = np.tile(openings, (len(joints), 1))
        return self.collisions.first_collision(joints, gaps, CHECK_STEP) is None

    def _search(
        self, start: FloatArray, goal: FloatArray, openings: FloatArray, rng: np.random.Generator
    ) -> FloatArray | None:
        """Corners (n, 12) rad of a collision-free path, shortened; None if there is none."""
        # Its package imports viewers and takes most of a second; few scenes need the search.
        import roboplan.rrt as rrt

        scene = self.collisions.scene
        seed = int(rng.integers(1, 2**31 - 1))
        scene.setRngSeed(seed)
        scene.setJointPositions(self.collisions.posture(start, openings))
        # An arm that is to keep still, perhaps because it holds something in its place, is left out of the search.
        moving = [arm for arm in (0, 1) if not np.allclose(start[6 * arm : 6 * arm + 6], goal[6 * arm : 6 * arm + 6])]
        group = _GROUPS[moving[0]] if len(moving) == 1 else _BOTH
        columns = [6 * arm + joint for arm in moving or (0, 1) for joint in range(6)]
        search = rrt.RRT(
            scene,
            rrt.RRTOptions(
                group_name=group,
                max_nodes=_LARGEST_TREE,
                collision_check_step_size=_SEARCH_STEP,
                rrt_connect=True,
            ),
        )
        search.setRngSeed(seed)
        names = [self._robot.joint_names[column] for column in columns]
        try:
            path = search.plan(
                rp.JointConfiguration(names, start[columns]), rp.JointConfiguration(names, goal[columns])
            )
        except RuntimeError:
            return None
        options = rp.PathShortcuttingOptions(
            group_name=group, max_step_size=_SEARCH_STEP, max_iters=_SHORTCUTS, seed=seed
        )
        path = rp.PathShortcutter(scene, options).shortcut(path)
        order = [path.joint_names.index(name) for name in names]
        corners = np.tile(start, (len(path.positions), 1))
        corners[:, columns] = [np.asarray(corner)[order] for corner in path.positions]
        return corners

    def _timed(self, corners: FloatArray, steps: int, rounded: bool = False) -> FloatArray:
        """(K, 12) rad along corners (n, 12), at rest at both ends and, unless `rounded`, at every corner.

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
        poses = np.stack([self._robot.fk(arm, joints[:, 6 * arm : 6 * arm + 6]) for arm in (0, 1)], axis=1)
        old, new = np.linspace(0, 1, len(stretch)), np.linspace(0, 1, len(joints))
        openings = np.stack([np.interp(new, old, stretch.openings[:, arm]) for arm in (0, 1)], axis=1)
        return Stretch(poses, openings, stretch.free, stretch.bodies)


def _parts(request: PlanRequest, plan: Plan) -> list[tuple[Stretch, FloatArray, FloatArray]]:
    """Stretches with their joints and openings."""
    joints, openings = split(plan.joints, plan.lengths), split(plan.openings, plan.lengths)
    return list(zip(request.stretches, joints, openings, strict=True))


def _minimum_jerk(s: FloatArray) -> FloatArray:
    return np.asarray(s**3 * (10 - 15 * s + 6 * s**2))
