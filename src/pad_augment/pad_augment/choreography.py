"""One scene in the end-effector space: both arms, in step, from their start to the end of the skill.

    reach (free) -> approach, settle, close -> lift and transport (free) -> skill (in sync) -> hold

Both arms go through these phases together: the arm with the shorter way is slowed, so that neither waits for the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation, Slerp

from pad_augment.planning.interface import Holding, Stretch
from pad_augment.skills import ArmSkill, SkillSet
from pad_parse import geometry
from pad_parse.demonstration import SegmentKind

FloatArray = NDArray[np.float64]
_DENSE = 160
_ROUNDING = 0.05
"""Standard deviation of the filter that rounds corners, as a share of a motion's duration."""


@dataclass(frozen=True)
class Pace:
    """How fast and in what shape free motions are made; fields and limits as in `GeneratorConfig`.

    motion, skill: factors >= 1 on the durations of free motions and of the skill, for arms that cannot follow.
    stops: whether the arms stand still between a free motion and what follows, so that a planner may replace it.
    """

    rate_hz: float
    speed: float
    turn_rate: float
    approach_distance: float
    approach_speed: float
    settle_time: float
    close_time: float
    lift_height: float
    end_time: float
    ease_time: float
    start_opening: float
    finger_thickness: float
    squeeze: float
    motion: float = 1.0
    skill: float = 1.0
    stops: bool = False


@dataclass(frozen=True, eq=False)
class Phase:
    """One phase of both arms, K steps.

    stretch: what a planner is asked. command: (K, 2) m, openings commanded (the stretch has those that result).
    kind: what the dataset says both arms do.
    """

    stretch: Stretch
    command: FloatArray
    kind: SegmentKind


def choreograph(
    skills: SkillSet, placement: Mapping[str, FloatArray], starts: FloatArray, sync_change: FloatArray, pace: Pace
) -> list[Phase]:
    """Plan both arms in the end-effector space.

    placement: object -> (4, 4) in the task frame. starts: (2, 4, 4) TCP poses to start from. sync_change: (4, 4) one
    `dT` for both arms' SYNC_SKILL, so that the pose of one hand in the other is the demonstration's.
    """
    grasps = np.stack([placement[arm.object] @ arm.gripper_in_object for arm in skills.arms])
    skill = _skill(skills, sync_change, pace)
    goals = sync_change @ np.stack([arm.skill_poses[0] for arm in skills.arms])
    names: Holding = (skills.arms[0].object, skills.arms[1].object)
    widths = np.array([grip_width(arm, pace) for arm in skills.arms])
    shut = np.maximum(widths - pace.squeeze, 0.0)
    wide = np.maximum(np.full(2, pace.start_opening), widths)

    free, approach = _reach(starts, grasps, pace)
    settle, close = round(pace.settle_time * pace.rate_hz), _steps(pace.close_time, pace)
    still = np.repeat(grasps[None], settle, axis=0)
    closing = np.repeat(grasps[None], close + 1, axis=0)
    ramp = np.r_[np.linspace(0.0, 1.0, close + 1)[1:], 1.0][:, None]
    lift, transport = _transport(grasps, goals, pace)
    tail = np.repeat(skill[-1:], _steps(pace.end_time, pace), axis=0)

    phases = [_phase(free, np.tile(wide, (len(free), 1)), widths, SegmentKind.MOTION, free=True)]
    # From the approach on the gripper may touch its object: the shape is rough, the demonstrated way in is known.
    waiting = np.concatenate([approach, still])
    ready = np.tile(wide, (len(waiting), 1))
    phases.append(_phase(waiting, ready, widths, SegmentKind.ASYNC_SKILL, touched=names))
    command = (1 - ramp) * wide + ramp * shut
    phases.append(_phase(closing, command, widths, SegmentKind.ASYNC_SKILL, touched=names))
    for poses, kind, is_free in (
        (lift, SegmentKind.MOTION, False),
        (transport, SegmentKind.MOTION, True),
        (skill, SegmentKind.SYNC_SKILL, False),
        (tail, SegmentKind.IDLE, False),
    ):
        if len(poses):
            phases.append(_phase(poses, np.tile(shut, (len(poses), 1)), widths, kind, free=is_free, held=names))
    return phases


def grip_width(skill: ArmSkill, pace: Pace) -> float:
    """m, width of what the gripper holds, from the distance of the fingertips in the demonstration."""
    return max(skill.opening - pace.finger_thickness, 0.0)


def _phase(
    poses: FloatArray,
    command: FloatArray,
    widths: FloatArray,
    kind: SegmentKind,
    *,
    free: bool = False,
    held: Holding = (None, None),
    touched: Holding = (None, None),
) -> Phase:
    return Phase(Stretch(poses, np.maximum(command, widths), free, held, touched), command, kind)


def _reach(starts: FloatArray, grasps: FloatArray, pace: Pace) -> tuple[FloatArray, FloatArray]:
    """(K, 2, 4, 4) from the start to the pre-grasp, and from there straight along the approach axis to the grasp."""
    before = grasps.copy()
    before[:, :3, 3] -= pace.approach_distance * grasps[:, :3, 2]
    there = max(_seconds(starts[arm], before[arm], pace) for arm in (0, 1))
    straight = pace.motion * pace.approach_distance / pace.approach_speed
    if pace.stops:
        free = _blend(starts, before, _steps(there, pace))
        return np.concatenate([starts[None], free]), _blend(before, grasps, _steps(straight, pace))
    border = there / (there + straight)
    count = _steps(there + straight, pace)
    shares = np.arange(count + 1) / count
    path = np.stack(
        [_through(starts[a], before[a], grasps[a], border, shares, turn=(0.0, border)) for a in (0, 1)], axis=1
    )
    # The approach begins where the minimum-jerk motion passes the pre-grasp.
    first = int(np.searchsorted(_minimum_jerk(shares), border))
    return path[:first], path[first:]


def _transport(grasps: FloatArray, goals: FloatArray, pace: Pace) -> tuple[FloatArray, FloatArray]:
    """(K, 2, 4, 4) straight up off the table, and on to `goals` (2, 4, 4); both ends at rest, the first left out."""
    lifted = grasps.copy()
    lifted[:, 2, 3] += pace.lift_height
    rise = pace.motion * pace.lift_height / pace.approach_speed
    there = max(_seconds(lifted[arm], goals[arm], pace) for arm in (0, 1))
    if pace.stops:
        return _blend(grasps, lifted, _steps(rise, pace)), _blend(lifted, goals, _steps(there, pace))
    border = rise / (rise + there)
    count = _steps(rise + there, pace)
    shares = np.arange(1, count + 1) / count
    path = np.stack(
        [_through(grasps[a], lifted[a], goals[a], border, shares, turn=(border, 1.0)) for a in (0, 1)], axis=1
    )
    return path[:0], path


def _skill(skills: SkillSet, change: FloatArray, pace: Pace) -> FloatArray:
    """(K, 2, 4, 4) the skill of both arms on one clock, which starts and stops smoothly: the path stays the same."""
    duration = pace.skill * float(skills.skill_stamps[-1])
    ease = min(pace.ease_time, duration)
    count = max(2, round((duration + ease) * pace.rate_hz))
    t = np.arange(1, count + 1) / count * (duration + ease)
    # The clock's rate rises and falls as half a cosine; u is its integral.
    rising = t / 2 - ease / (2 * np.pi) * np.sin(np.pi * t / ease)
    left = duration + ease - t
    falling = duration - (left / 2 - ease / (2 * np.pi) * np.sin(np.pi * left / ease))
    u = np.where(t < ease, rising, np.where(left < ease, falling, t - ease / 2)) / pace.skill
    u = np.clip(u, 0.0, skills.skill_stamps[-1])
    return change @ np.stack([poses_at(skills.skill_stamps, arm.skill_poses, u) for arm in skills.arms], axis=1)


def _through(
    start: FloatArray, middle: FloatArray, end: FloatArray, border: float, shares: FloatArray, turn: tuple[float, float]
) -> FloatArray:
    """(K, 4, 4) from `start` past `middle` to `end` in one minimum-jerk motion with a rounded corner.

    border: share of the way at the corner. shares: (K,) of the duration. turn: shares of the way between which the arm
    turns.
    """
    way = np.linspace(0.0, 1.0, _DENSE)
    nodes = np.array([start[:3, 3], middle[:3, 3], end[:3, 3]])
    corner = np.stack([np.interp(way, [0.0, border, 1.0], column) for column in nodes.T], axis=1)
    sigma = _ROUNDING * _DENSE
    smooth = gaussian_filter1d(corner, sigma, axis=0, mode="nearest")
    inwards = np.minimum(np.arange(_DENSE), np.arange(_DENSE)[::-1])
    weight = np.clip(inwards / (3 * sigma), 0.0, 1.0)[:, None]
    corner = weight * smooth + (1 - weight) * corner
    at = _minimum_jerk(shares)
    position = np.stack([np.interp(at, way, column) for column in corner.T], axis=1)
    turned = _minimum_jerk(np.clip((at - turn[0]) / max(turn[1] - turn[0], 1e-9), 0.0, 1.0))
    rotation = geometry.interpolate_pose(start, end, turned)[:, :3, :3]
    return geometry.make_pose(rotation, position)


def _seconds(start: FloatArray, end: FloatArray, pace: Pace) -> float:
    """Duration of a free motion, from its length and its turn."""
    length = float(np.linalg.norm(end[:3, 3] - start[:3, 3]))
    return pace.motion * max(length / pace.speed, float(geometry.rotation_angle(start, end)) / pace.turn_rate)


def _blend(start: FloatArray, end: FloatArray, steps: int) -> FloatArray:
    """(steps, 2, 4, 4) from after `start` to `end` (2, 4, 4), with smooth starts and stops."""
    s = _minimum_jerk(np.arange(1, steps + 1) / steps)
    return np.stack([geometry.interpolate_pose(start[arm], end[arm], s) for arm in (0, 1)], axis=1)


def poses_at(stamps: FloatArray, poses: FloatArray, times: FloatArray) -> FloatArray:
    """Poses (T, 4, 4) at `stamps` (T,), interpolated at `times` (K,) within them."""
    position = np.stack([np.interp(times, stamps, poses[:, i, 3]) for i in range(3)], axis=-1)
    return geometry.make_pose(Slerp(stamps, Rotation.from_matrix(poses[:, :3, :3]))(times).as_matrix(), position)


def _minimum_jerk(s: FloatArray) -> FloatArray:
    return np.asarray(s**3 * (10 - 15 * s + 6 * s**2))


def _steps(seconds: float, pace: Pace) -> int:
    return max(2, round(seconds * pace.rate_hz))
