"""What two hands do over time: grasps, the way to them, and the paths of what is carried; for any task."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import gaussian_filter1d

from pad_parse import geometry

FloatArray = NDArray[np.float64]

PREGRASP_DISTANCE = 0.10
"""m back along the approach axis from the grasp."""

_SMOOTHING = 0.07
"""s; standard deviation of the filter that rounds the corners of the path."""


@dataclass(frozen=True)
class Grasp:
    """A grasp of one object.

    transform_gripper_to_object: (4, 4) pose of the gripper frame in the object frame, m.
    width: m, gap between the pads while they hold the object.
    opening: m, gap while the gripper comes near.
    """

    transform_gripper_to_object: FloatArray
    width: float
    opening: float


@dataclass(frozen=True)
class Reach:
    """When a hand begins to move, is before its grasp, is there, and has closed; s."""

    start: float = 0.5
    at_pregrasp: float = 2.1
    at_grasp: float = 2.9
    closed: float = 3.4


@dataclass(frozen=True)
class TwoHandMotion:
    """Both grippers and the objects over time; arms are ordered left, right.

    stamps: (T,) s from 0, evenly spaced.
    gripper_poses: (T, 2, 4, 4) gripper frames in the task frame, m.
    openings: (T, 2) m; the grasp's width once closed (a robot squeezes by commanding less).
    held: (T, 2) whether the object moves with the gripper.
    object_poses: name -> (T, 4, 4) in the task frame, as carried without slip.
    phases: (T,) name of the phase.
    """

    stamps: FloatArray
    gripper_poses: FloatArray
    openings: FloatArray
    held: NDArray[np.bool_]
    object_poses: dict[str, FloatArray]
    phases: NDArray[np.str_]


def side_grasp(
    arm: int, *, height: float, width: float, opening: float = 0.10, pitch: float = 0.17, azimuth: float | None = None
) -> Grasp:
    """A grasp from behind and outside: the approach axis runs to the object's axis, the closing axis is level.

    arm: 0 left, 1 right.
    height: m above the object's base.
    width, opening: see Grasp.
    pitch: rad, how far the approach axis points down.
    azimuth: rad, direction of the approach in the x-y plane of the object frame; by default 45 degrees inwards.
    """
    side = 1.0 if arm == 0 else -1.0
    direction = -side * np.pi / 4 if azimuth is None else azimuth
    z = np.array([np.cos(direction) * np.cos(pitch), np.sin(direction) * np.cos(pitch), -np.sin(pitch)])
    # From the thumb's side, which is nearer to the body, to the finger's.
    y = side * np.array([-np.sin(direction), np.cos(direction), 0.0])
    rotation = np.column_stack([np.cross(y, z), y, z])
    return Grasp(geometry.make_pose(rotation, np.array([0.0, 0.0, height])), width, opening)


def grasping(
    stamps: FloatArray,
    grasp: Grasp,
    carried: FloatArray,
    start: FloatArray,
    start_opening: float,
    reach: Reach,
) -> tuple[FloatArray, FloatArray]:
    """One gripper from rest to its grasp, and from then on with its object: poses (T, 4, 4) and openings (T,) m.

    carried: (T, 4, 4) poses of the object; it stands still until the gripper has closed.
    """
    poses = np.empty((len(stamps), 4, 4))
    at_grasp = carried[0] @ grasp.transform_gripper_to_object
    before = at_grasp.copy()
    before[:3, 3] -= PREGRASP_DISTANCE * before[:3, 2]
    share = minimum_jerk((stamps - reach.start) / (reach.at_pregrasp - reach.start))
    approach = minimum_jerk((stamps - reach.at_pregrasp) / (reach.at_grasp - reach.at_pregrasp))
    close = minimum_jerk((stamps - reach.at_grasp) / (reach.closed - reach.at_grasp))
    for k, stamp in enumerate(stamps):
        if stamp <= reach.at_pregrasp:
            poses[k] = geometry.interpolate_pose(start, before, share[k])
        elif stamp <= reach.closed:
            poses[k] = geometry.interpolate_pose(before, at_grasp, approach[k])
        else:
            poses[k] = carried[k] @ grasp.transform_gripper_to_object
    openings = start_opening + (grasp.opening - start_opening) * share + (grasp.width - grasp.opening) * close
    return poses, openings


def smooth_path(keys: ArrayLike, stamps: FloatArray) -> FloatArray:
    """(T, 5) x, y, z, tilt, yaw at `stamps` (T,) on a rounded path through keys (K, 6): s, then the same five."""
    table = np.asarray(keys, dtype=np.float64)
    # Filtered on a fine grid, so that the path does not depend on the rate.
    fine = np.arange(0.0, table[-1, 0] + 1.0, 0.005)
    values = PchipInterpolator(table[:, 0], table[:, 1:], axis=0)(np.minimum(fine, table[-1, 0]))
    values = gaussian_filter1d(values, _SMOOTHING / (fine[1] - fine[0]), axis=0, mode="nearest")
    return np.stack([np.interp(stamps, fine, column) for column in values.T], axis=1)


def path_poses(path: FloatArray, lever: float) -> FloatArray:
    """(T, 4, 4) object poses of a path (T, 5); lever: m from the object's origin up its axis to the led point."""
    tilt, yaw = path[:, 3], path[:, 4]
    cos_tilt, sin_tilt, cos_yaw, sin_yaw = np.cos(tilt), np.sin(tilt), np.cos(yaw), np.sin(yaw)
    zero, one = np.zeros_like(tilt), np.ones_like(tilt)
    # Tilting turns z towards +y: a rotation by -tilt about x.
    rotation_tilt = np.array([[one, zero, zero], [zero, cos_tilt, sin_tilt], [zero, -sin_tilt, cos_tilt]])
    rotation_yaw = np.array([[cos_yaw, -sin_yaw, zero], [sin_yaw, cos_yaw, zero], [zero, zero, one]])
    rotation = np.moveaxis(rotation_tilt, 2, 0) @ np.moveaxis(rotation_yaw, 2, 0)
    position = path[:, :3] - lever * rotation[:, :, 2]
    return geometry.make_pose(rotation, position)


def minimum_jerk(s: FloatArray) -> FloatArray:
    """Smooth step from 0 to 1 over s in [0, 1]; constant outside."""
    s = np.clip(s, 0.0, 1.0)
    return s**3 * (10 - 15 * s + 6 * s**2)
