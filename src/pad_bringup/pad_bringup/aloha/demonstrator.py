"""One scripted demonstration of TransferCube, as data that the rest of PAD takes for a recording."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pad_augment.kinematics import Robot
from pad_bringup.aloha.simulation import CONTROL_PERIOD, CUBE, FULL_REWARD, AlohaSimulation
from pad_bringup.errors import BenchError
from pad_parse import geometry
from pad_parse.demonstration import Demonstration, KeypointState
from pad_parse.task import TaskSpec

FloatArray = NDArray[np.float64]

_OPEN, _SHUT = 0.070, 0.020
"""m, commanded gaps; the cube is 40 mm wide, so that the shut fingers press it."""
_CLOSED_BELOW = 0.055
"""m, a commanded gap that counts as closed."""
_DIP = np.radians(65.0)
"""rad below the horizontal at which the right gripper holds the cube."""
_MEETING = np.array([0.0, 0.0, 0.18])
"""m, where the middle of the cube is handed over."""
_OFFSET = np.array([0.0, 0.010, -0.006])
"""m from there to where the left TCP takes the cube: not as far in, where the right fingers are; and lower, since both
arms hang some millimetres below what they are commanded, the right one with the cube."""


@dataclass(frozen=True, eq=False)
class _Waypoint:
    """Where both arms are after `seconds`: TCP poses (2, 4, 4), gaps (2,) m."""

    seconds: float
    poses: FloatArray
    openings: tuple[float, float]


def demonstrate(simulation: AlohaSimulation, robot: Robot, task: TaskSpec, seed: int) -> Demonstration:
    """Carry the task out once on the placement of `seed`; gripper poses are those measured.

    Not those commanded: a policy aims from where it measures the grippers, which hang some millimetres below.

    Raises:
        BenchError: the script failed on that placement.
    """
    simulation.reset(seed)
    home = np.stack([robot.fk(arm, robot.home[arm]) for arm in (0, 1)])
    simulation.get_ready(robot.home.ravel(), _OPEN)
    commands, gaps = _timeline(home, _script(home, simulation.cube))
    joints = np.concatenate([robot.ik_path(arm, commands[:, arm]) for arm in (0, 1)], axis=1)
    keypoints, cubes, measured, openings = [], [], [], []
    for position, gap in zip(joints, gaps, strict=True):
        keypoints.append(simulation.keypoints)
        cubes.append(simulation.cube)
        measured.append([robot.fk(arm, part) for arm, part in enumerate(simulation.joints.reshape(2, 6))])
        openings.append(simulation.openings)
        simulation.step(position, gap)
    if simulation.reward != FULL_REWARD or simulation.touches != (True, False):
        raise BenchError(
            f"the scripted demonstration failed on placement {seed}: reward {simulation.reward} at its end"
        )
    count, points = len(commands), len(task.keypoint_names)
    return Demonstration(
        stamps=np.arange(count) * CONTROL_PERIOD,
        keypoints=np.array(keypoints),
        keypoint_states=np.full((count, points), KeypointState.VISIBLE, np.uint8),
        keypoint_names=task.keypoint_names,
        keypoint_groups=task.keypoint_groups,
        keypoint_objects=task.keypoint_objects,
        gripper_poses=np.array(measured),
        gripper_openings=np.array(openings),
        gripper_closed=gaps < _CLOSED_BELOW,
        gripper_states=np.full((count, 2), KeypointState.VISIBLE, np.uint8),
        object_poses={CUBE: np.array(cubes)},
        landmarks=np.full((count, 2, 21, 3), np.nan),
        task=task,
        source=f"scripted in gym-aloha, placement {seed}",
    )


def _script(home: FloatArray, cube: FloatArray) -> list[_Waypoint]:
    middle = geometry.transform_points(cube, np.array([[0.0, 0.0, 0.02]]))[0]
    sine, cosine = np.sin(_DIP), np.cos(_DIP)
    right = np.stack([[0.0, -sine, -cosine], [-1.0, 0.0, 0.0], [0.0, cosine, -sine]], axis=1)
    left = np.stack([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]], axis=1)

    def at(rotation: FloatArray, place: FloatArray, back: float = 0.0) -> FloatArray:
        """The TCP at a place, or `back` m before it along the approach."""
        return geometry.make_pose(rotation, place - back * rotation[:, 2])

    before, pick = at(right, middle, 0.12), at(right, middle)
    lifted = at(right, middle + [0.0, 0.0, 0.08])
    meet, away = at(right, _MEETING), at(right, _MEETING, 0.12)
    place = _MEETING + _OFFSET
    ready, take, end = at(left, place, 0.12), at(left, place), at(left, place, 0.08)

    def both(one: FloatArray, other: FloatArray) -> FloatArray:
        return np.stack([one, other])

    return [
        _Waypoint(1.5, both(home[0], before), (_OPEN, _OPEN)),
        _Waypoint(1.0, both(home[0], pick), (_OPEN, _OPEN)),
        _Waypoint(0.3, both(home[0], pick), (_OPEN, _OPEN)),
        _Waypoint(0.5, both(home[0], pick), (_OPEN, _SHUT)),
        _Waypoint(0.7, both(home[0], lifted), (_OPEN, _SHUT)),
        _Waypoint(1.5, both(home[0], meet), (_OPEN, _SHUT)),
        _Waypoint(0.4, both(home[0], meet), (_OPEN, _SHUT)),
        _Waypoint(1.2, both(ready, meet), (_OPEN, _SHUT)),
        _Waypoint(1.0, both(take, meet), (_OPEN, _SHUT)),
        _Waypoint(0.3, both(take, meet), (_OPEN, _SHUT)),
        _Waypoint(0.5, both(take, meet), (_SHUT, _SHUT)),
        _Waypoint(0.5, both(take, meet), (_SHUT, _OPEN)),
        _Waypoint(0.8, both(take, away), (_SHUT, _OPEN)),
        _Waypoint(1.5, both(end, away), (_SHUT, _OPEN)),
        _Waypoint(1.5, both(end, away), (_SHUT, _OPEN)),
    ]


def _timeline(home: FloatArray, script: list[_Waypoint]) -> tuple[FloatArray, FloatArray]:
    """Commanded TCP poses (T, 2, 4, 4) and gaps (T, 2) m, one per control period."""
    poses, gaps = [home[None]], [np.full((1, 2), _OPEN)]
    for waypoint in script:
        s = np.arange(1, round(waypoint.seconds / CONTROL_PERIOD) + 1) / round(waypoint.seconds / CONTROL_PERIOD)
        share = s**3 * (10 - 15 * s + 6 * s**2)
        start, gap = poses[-1][-1], gaps[-1][-1]
        arms = [geometry.interpolate_pose(start[arm], waypoint.poses[arm], share) for arm in (0, 1)]
        poses.append(np.stack(arms, axis=1))
        gaps.append(gap + share[:, None] * (np.array(waypoint.openings) - gap))
    return np.concatenate(poses), np.concatenate(gaps)
