"""How a skill and its keypoints move when the objects stand elsewhere (method: Augment, SE(3)-equivariance)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pad_parse import geometry

FloatArray = NDArray[np.float64]


def change_of_pose(before: FloatArray, after: FloatArray) -> FloatArray:
    """`dT = after inv(before)` (..., 4, 4): carries everything that is fixed to an object along with it."""
    return after @ geometry.inverse(before)


def carry(change: FloatArray, gripper_poses: FloatArray) -> FloatArray:
    """Gripper poses (..., 4, 4) of a skill carried along by `dT` (4, 4): the pose relative to the object stays."""
    return change @ gripper_poses


def held_object(gripper_poses: FloatArray, object_in_gripper: FloatArray) -> FloatArray:
    """Poses (T, 4, 4) of an object that moves rigidly with the gripper, at `object_in_gripper` (4, 4)."""
    return gripper_poses @ object_in_gripper


def keypoints_of(object_poses: FloatArray, points_in_object: FloatArray) -> FloatArray:
    """Keypoints (T, n, 3) in the task frame of an object at poses (T, 4, 4); points (n, 3) in its own frame."""
    return geometry.transform_points(object_poses, points_in_object)


def reflect(left: FloatArray, right: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Both arms' poses (T, 4, 4), mirrored in the task frame's x-z plane and the arms swapped; its own inverse."""
    return geometry.reflect_pose(right), geometry.reflect_pose(left)
