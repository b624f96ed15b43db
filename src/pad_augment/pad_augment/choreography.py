"""One scene's plan: both arms from their start to the end of the skill, in step, at the dataset's rate (method: Augment)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation, Slerp

from pad_augment.skills import ArmSkill, SkillSet
from pad_parse import geometry
from pad_parse.demonstration import SegmentKind

FloatArray = NDArray[np.float64]

LONGEST_SKILL_STRETCH = 1.3
"""A skill is slowed by no more than this: much slower, it would be another skill."""


@dataclass(frozen=True)
class Pace:
    """How fast and in what shape free motions are made; every field is checked by `GeneratorConfig`."""

    rate_hz: float
    speed: float
    turn_rate: float
    approach_distance: float
    approach_time: float
    settle_time: float
    close_time: float
    lift_height: float
    end_time: float
    corner_time: float
    max_opening: float
    finger_thickness: float
    squeeze: float


@dataclass(frozen=True, eq=False)
class ArmPlan:
    """One arm over T steps: poses (T, 4, 4); command and state openings (T,) m; kinds (T,) of SegmentKind.

    closing: steps [first, last) in which the arm stands still and the gripper closes; grasped: first step at which the
    object moves with the gripper; skill: first step of the skill.
    """

    poses: FloatArray
    command: FloatArray
    opening: FloatArray
    kinds: NDArray[np.uint8]
    closing: tuple[int, int]
    grasped: int
    skill: int


def choreograph(
    skills: SkillSet,
    placement: dict[str, FloatArray],
    starts: FloatArray,
    sync_change: FloatArray,
    pace: Pace,
    slower: float = 1.0,
) -> list[ArmPlan]:
    """Plan both arms in the end-effector space.

    placement: object -> (4, 4) in the task frame. starts: (2, 4, 4) TCP poses to start from. sync_change: (4, 4) one
    `dT` for both arms' SYNC_SKILL, so that the pose of one hand in the other is the demonstration's. slower: factor >= 1
    on the duration of everything that moves, for arms that cannot follow.
    """
    if slower > 1.0:
        pace = replace(
            pace,
            speed=pace.speed / slower,
            turn_rate=pace.turn_rate / slower,
            approach_time=pace.approach_time * slower,
        )
    grasps = [placement[skill.object] @ skill.gripper_in_object for skill in skills.arms]
    targets = [
        sync_change @ _stretch(skill.skill_poses, round(len(skill.skill_poses) * min(slower, LONGEST_SKILL_STRETCH)))
        for skill in skills.arms
    ]
    reach = [_reach(starts[a], grasps[a], pace) for a in (0, 1)]
    transport = [_transport(grasps[a], targets[a][0], pace) for a in (0, 1)]
    still = _steps(pace.settle_time, pace) + _steps(pace.close_time, pace) + 1
    lengths = [len(reach[a]) + still + len(transport[a]) for a in (0, 1)]
    plans = []
    for a in (0, 1):
        # the arm that would be early is slowed on its way to the meeting, rather than left to wait there
        carried = _stretch(transport[a], len(transport[a]) + max(lengths) - lengths[a])
        plans.append(_assemble(skills.arms[a], reach[a], grasps[a], carried, targets[a], pace))
    return plans


def _assemble(
    skill: ArmSkill, reach: FloatArray, grasp: FloatArray, carried: FloatArray, target: FloatArray, pace: Pace
) -> ArmPlan:
    settle, close, end = (_steps(t, pace) for t in (pace.settle_time, pace.close_time, pace.end_time))
    still = np.broadcast_to(grasp, (settle + close + 1, 4, 4))
    tail = np.broadcast_to(target[-1], (end, 4, 4))
    poses = np.concatenate([reach, still, carried, target, tail])
    width = max(skill.opening - pace.finger_thickness, 0.0)
    shut = max(width - pace.squeeze, 0.0)
    first = len(reach) + settle
    grasped = len(reach) + settle + close
    command = np.full(len(poses), pace.max_opening)
    command[first : first + close] = np.linspace(pace.max_opening, shut, close + 1)[1:]
    command[first + close :] = shut
    kinds = np.full(len(poses), SegmentKind.MOTION, np.uint8)
    approach = _steps(pace.approach_time, pace)
    kinds[len(reach) - approach : grasped + 1] = SegmentKind.ASYNC_SKILL
    start = len(reach) + len(still) + len(carried)
    kinds[start : start + len(target)] = SegmentKind.SYNC_SKILL
    kinds[start + len(target) :] = SegmentKind.IDLE
    return ArmPlan(poses, command, np.maximum(command, width), kinds, (len(reach), grasped + 1), grasped, start)


def _reach(start: FloatArray, grasp: FloatArray, pace: Pace) -> FloatArray:
    """From the start to the pre-grasp, then straight along the approach axis to the grasp."""
    before = grasp.copy()
    before[:3, 3] -= pace.approach_distance * grasp[:3, 2]
    free = _line(start, before, pace)
    straight = _blend(before, grasp, _steps(pace.approach_time, pace))
    return _rounded(np.concatenate([start[None], free, straight]), pace)


def _transport(grasp: FloatArray, target: FloatArray, pace: Pace) -> FloatArray:
    """Straight up off the table, then to where the skill begins; both ends left out."""
    lifted = grasp.copy()
    lifted[2, 3] += pace.lift_height
    rise = _blend(grasp, lifted, max(3, round(pace.lift_height / pace.speed * 1.5 * pace.rate_hz)))
    return _rounded(np.concatenate([grasp[None], rise, _line(lifted, target, pace)]), pace)[1:-1]


def _line(start: FloatArray, end: FloatArray, pace: Pace) -> FloatArray:
    """A straight line in the end-effector space at the pace's mean speed; the start left out."""
    seconds = max(
        float(np.linalg.norm(end[:3, 3] - start[:3, 3])) / pace.speed,
        float(geometry.rotation_angle(start, end)) / pace.turn_rate,
    )
    return _blend(start, end, max(2, round(seconds * pace.rate_hz)))


def _blend(start: FloatArray, end: FloatArray, steps: int) -> FloatArray:
    """(steps, 4, 4) from after `start` to `end`, with smooth starts and stops (minimum jerk)."""
    s = np.arange(1, steps + 1) / steps
    return geometry.interpolate_pose(start, end, s**3 * (10 - 15 * s + 6 * s**2))


def _rounded(path: FloatArray, pace: Pace) -> FloatArray:
    """Corners rounded in time; the ends stay where they are."""
    position = path[:, :3, 3]
    sigma = pace.corner_time * pace.rate_hz
    smooth = gaussian_filter1d(position, sigma, axis=0, mode="nearest")
    k = np.arange(len(path))
    weight = np.clip(np.minimum(k, k[::-1]) / max(2 * sigma, 1.0), 0.0, 1.0)[:, None]
    out = path.copy()
    out[:, :3, 3] = weight * smooth + (1 - weight) * position
    return out


def _stretch(path: FloatArray, steps: int) -> FloatArray:
    """The same path in more steps; it enters and leaves as before."""
    if steps == len(path):
        return path
    old = np.linspace(0.0, 1.0, len(path))
    new = np.linspace(0.0, 1.0, steps)
    position = np.stack([np.interp(new, old, path[:, i, 3]) for i in range(3)], axis=-1)
    return geometry.make_pose(Slerp(old, Rotation.from_matrix(path[:, :3, :3]))(new).as_matrix(), position)


def _steps(seconds: float, pace: Pace) -> int:
    return max(1, round(seconds * pace.rate_hz))
