"""Objects that are the same from all sides: the hands do not follow how they are turned, their keypoints do.

How far a bottle is turned can hardly be seen from points that lie near its axis, and it does not matter. If the hands
followed it, a policy would have to guess where to take it from.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from pad_augment.skills import SkillSet
from pad_parse import geometry

FloatArray = NDArray[np.float64]


def unturned(
    skills: SkillSet, placement: Mapping[str, FloatArray]
) -> tuple[dict[str, FloatArray], dict[str, FloatArray]]:
    """Poses (..., 4, 4) in which round objects are turned as in the demonstration, and what they are turned by.

    A pose given is the pose returned @ the turn (..., 4, 4), about the object's own vertical axis. Objects that are not
    round keep their poses and have no turn; so do those that are not known.
    """
    poses, turns = dict(placement), {}
    for name in skills.round:
        pose = np.asarray(placement[name], dtype=np.float64)
        yaw = _yaw(pose) - _yaw(skills.object_poses[name])
        turns[name] = turn_about(skills.shapes[name].centre, yaw)
        poses[name] = pose @ turn_about(skills.shapes[name].centre, -yaw)
    return poses, turns


def turn_about(axis: tuple[float, float], yaw: FloatArray) -> FloatArray:
    """(..., 4, 4) turns by yaw (...) rad about the vertical through `axis` (x, y) m."""
    yaw = np.asarray(yaw, dtype=np.float64)
    out = geometry.yaw_pose(np.zeros_like(yaw), np.zeros_like(yaw), yaw)
    centre = np.array([*axis, 0.0])
    out[..., :3, 3] = centre - out[..., :3, :3] @ centre
    return out


def _yaw(pose: FloatArray) -> FloatArray:
    return np.asarray(np.arctan2(pose[..., 1, 0], pose[..., 0, 0]))
