"""How to pour: both grippers' poses over time, for whoever has the hands.

The motion is a path of the two objects (lift, meet, tilt, come back); a gripper that has grasped moves rigidly with its
object. The synthetic human and the scripted robot use the same path with their own grasps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import gaussian_filter1d

from pad_parse import geometry

FloatArray = NDArray[np.float64]

HELD_OBJECTS = ("cup", "bottle")
"""The object of the left and of the right arm."""

PREGRASP_DISTANCE = 0.10
"""m back along the approach axis from the grasp."""

_BOTTLE_HEIGHT, _NECK_RADIUS, _CUP_HEIGHT = 0.19, 0.026, 0.10
_MEETING = np.array([0.0, 0.06])
"""Where the cup is held while it is filled: x, y in the task frame."""
_CUP_LIFT = 0.06
_SMOOTHING = 0.07
"""s; standard deviation of the filter that rounds the corners of the path."""

# Time line in s.
_START, _AT_PREGRASP, _AT_GRASP, _CLOSED = 0.5, 2.1, 2.9, 3.4


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
class PourMotion:
    """Both grippers and both objects over time; arms are ordered left, right.

    stamps: (T,) s from 0, evenly spaced.
    gripper_poses: (T, 2, 4, 4) gripper frames in the task frame, m.
    openings: (T, 2) m; the grasp's width once closed (a robot squeezes by commanding less).
    held: (T, 2) whether the object moves with the gripper.
    object_poses: name -> (T, 4, 4) in the task frame, as carried without slip.
    phases: (T,) name of the phase: wait, reach, approach, close, lift, meet, pour, return, hold.
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


def default_grasps() -> dict[str, Grasp]:
    """Grasps of a parallel-jaw gripper, by object.

    The bottle is taken from a little more to the side: while it is over the cup, that keeps the wrists 4 cm apart.
    """
    return {
        "cup": side_grasp(0, height=0.05, width=0.080),
        "bottle": side_grasp(1, height=0.075, width=0.064, azimuth=np.radians(57.0)),
    }


def pour_motion(
    objects: Mapping[str, ArrayLike],
    grasps: Mapping[str, Grasp],
    start_poses: ArrayLike,
    *,
    start_openings: ArrayLike = (0.10, 0.10),
    rate: float = 30.0,
) -> PourMotion:
    """The whole motion, from hands at rest to both objects held upright after pouring.

    objects: "bottle" and "cup" -> (4, 4) upright pose on the table, task frame.
    grasps: "bottle" (right arm) and "cup" (left arm).
    start_poses: (2, 4, 4) gripper frames at the start, left and right, task frame.
    start_openings: (2,) m at the start.
    rate: samples per second.
    """
    start = np.asarray(start_poses, dtype=np.float64)
    first_openings = np.asarray(start_openings, dtype=np.float64)
    keys = {name: _object_keys(name, np.asarray(objects[name], dtype=np.float64)) for name in HELD_OBJECTS}
    duration = keys["bottle"][-1][0]
    stamps = np.arange(round(duration * rate) + 1) / rate
    # Filtered on a fine grid, so that the path does not depend on the rate.
    fine = np.arange(0.0, duration + 1.0, 0.005)
    object_poses = {}
    for name in HELD_OBJECTS:
        lever = _BOTTLE_HEIGHT if name == "bottle" else 0.0
        carried = _poses(_smooth_path(keys[name], fine, stamps), lever)
        object_poses[name] = np.where((stamps > _CLOSED)[:, None, None], carried, objects[name])

    gripper_poses = np.empty((len(stamps), 2, 4, 4))
    openings = np.empty((len(stamps), 2))
    for arm, name in enumerate(HELD_OBJECTS):
        grasp = grasps[name]
        at_grasp = np.asarray(objects[name], dtype=np.float64) @ grasp.transform_gripper_to_object
        before = at_grasp.copy()
        before[:3, 3] -= PREGRASP_DISTANCE * before[:3, 2]
        reach = _minimum_jerk((stamps - _START) / (_AT_PREGRASP - _START))
        approach = _minimum_jerk((stamps - _AT_PREGRASP) / (_AT_GRASP - _AT_PREGRASP))
        close = _minimum_jerk((stamps - _AT_GRASP) / (_CLOSED - _AT_GRASP))
        for k, stamp in enumerate(stamps):
            if stamp <= _AT_PREGRASP:
                gripper_poses[k, arm] = geometry.interpolate_pose(start[arm], before, reach[k])
            elif stamp <= _CLOSED:
                gripper_poses[k, arm] = geometry.interpolate_pose(before, at_grasp, approach[k])
            else:
                gripper_poses[k, arm] = object_poses[name][k] @ grasp.transform_gripper_to_object
        openings[:, arm] = (
            first_openings[arm] + (grasp.opening - first_openings[arm]) * reach + (grasp.width - grasp.opening) * close
        )
    held = np.repeat((stamps >= _CLOSED)[:, None], 2, axis=1)
    return PourMotion(stamps, gripper_poses, openings, held, object_poses, _phases(stamps))


# Rows of a time table: s, x, y, z of the point that is led, tilt towards the cup in rad, yaw in rad.
_Key = tuple[float, float, float, float, float, float]
# When the objects are lifted, have met, how the tilt goes, and the end.
_LIFT_OFF, _LIFTED, _MET, _TILTED, _BACK, _STILL, _END = 3.6, 4.5, 5.5, 7.6, 9.2, 9.8, 10.4


def _object_keys(name: str, pose: FloatArray) -> list[_Key]:
    """The time table of an object that rests at `pose`; of the bottle, the middle of the mouth is led."""
    x, y, z = pose[:3, 3]
    yaw = float(np.arctan2(pose[1, 0], pose[0, 0]))
    mx, my = _MEETING
    if name == "cup":
        return [
            (0.0, x, y, z, 0.0, yaw),
            (_LIFT_OFF, x, y, z, 0.0, yaw),
            (_LIFTED, 0.8 * x, 0.8 * y + 0.2 * my, z + _CUP_LIFT, 0.0, 0.7 * yaw),
            (_MET, mx, my, z + _CUP_LIFT, 0.0, 0.0),
            (_TILTED + 0.5, mx, my, z + _CUP_LIFT, 0.0, 0.0),
            (_BACK, mx - 0.03, my + 0.07, z + _CUP_LIFT + 0.02, 0.0, 0.0),
            (_STILL, mx - 0.04, my + 0.10, z + _CUP_LIFT + 0.02, 0.0, 0.0),
            (_END, mx - 0.04, my + 0.10, z + _CUP_LIFT + 0.02, 0.0, 0.0),
        ]
    rim = z + _CUP_LIFT + _CUP_HEIGHT
    top = z + _BOTTLE_HEIGHT

    def mouth(tilt: float, lip_y: float, lip_z: float) -> tuple[float, float]:
        """y, z of the middle of the mouth whose lower lip is at lip_y, lip_z."""
        return lip_y - _NECK_RADIUS * np.cos(tilt), lip_z + _NECK_RADIUS * np.sin(tilt)

    table: list[_Key] = [
        (0.0, x, y, top, 0.0, yaw),
        (_LIFT_OFF, x, y, top, 0.0, yaw),
        (_LIFTED, 0.7 * x + 0.3 * mx, 0.75 * y + 0.25 * (my - 0.12), top + 0.08, 0.05, 0.6 * yaw),
    ]
    for stamp, degrees, ahead, above in (
        (_MET, 40.0, -0.052, 0.040),
        (6.3, 84.0, -0.040, 0.024),
        (_TILTED - 0.3, 118.0, -0.026, 0.018),
        (_TILTED, 122.0, -0.024, 0.018),
        (_TILTED + 0.3, 116.0, -0.028, 0.026),
        (8.4, 62.0, -0.085, 0.110),
    ):
        tilt = np.radians(degrees)
        table.append((stamp, mx, *mouth(tilt, my + ahead, rim + above), tilt, 0.0))
    table += [
        (_BACK, mx - 0.07, my - 0.22, top + 0.135, 0.04, 0.0),
        (_STILL, mx - 0.09, my - 0.25, top + 0.13, 0.0, 0.0),
        (_END, mx - 0.09, my - 0.25, top + 0.13, 0.0, 0.0),
    ]
    return table


def _smooth_path(keys: list[_Key], fine: FloatArray, stamps: FloatArray) -> FloatArray:
    """(T, 5): x, y, z of the led point, tilt, yaw."""
    table = np.array(keys)
    values = PchipInterpolator(table[:, 0], table[:, 1:], axis=0)(np.minimum(fine, table[-1, 0]))
    values = gaussian_filter1d(values, _SMOOTHING / (fine[1] - fine[0]), axis=0, mode="nearest")
    return np.stack([np.interp(stamps, fine, column) for column in values.T], axis=1)


def _poses(path: FloatArray, lever: float) -> FloatArray:
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


def _phases(stamps: FloatArray) -> NDArray[np.str_]:
    names = np.array(["wait", "reach", "approach", "close", "lift", "meet", "pour", "return", "hold"])
    edges = [_START, _AT_PREGRASP, _AT_GRASP, _CLOSED, _LIFTED, _MET, _TILTED + 0.3, _STILL]
    return names[np.searchsorted(edges, stamps, side="right")]


def _minimum_jerk(s: FloatArray) -> FloatArray:
    """Smooth step from 0 to 1 over s in [0, 1]; constant outside."""
    s = np.clip(s, 0.0, 1.0)
    return s**3 * (10 - 15 * s + 6 * s**2)
