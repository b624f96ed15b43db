"""How to pour: both grippers' poses over time, for whoever has the hands.

The motion is a path of the two objects (lift, meet, tilt, come back); a gripper that has grasped moves rigidly with its
object. The synthetic human and the scripted robot use the same path with their own grasps.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pad_bringup.cell.two_hands import Grasp, Reach, TwoHandMotion, grasping, path_poses, side_grasp, smooth_path

FloatArray = NDArray[np.float64]

HELD_OBJECTS = ("cup", "bottle")
"""The object of the left and of the right arm."""

_BOTTLE_HEIGHT, _NECK_RADIUS, _CUP_HEIGHT = 0.19, 0.026, 0.10
_MEETING = np.array([0.0, 0.06])
"""Where the cup is held while it is filled: x, y in the task frame."""
_CUP_LIFT = 0.06
_REACH = Reach()


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
) -> TwoHandMotion:
    """The whole motion, from hands at rest to both objects held upright after pouring.

    objects: "bottle" and "cup" -> (4, 4) upright pose on the table, task frame.
    grasps: "bottle" (right arm) and "cup" (left arm).
    start_poses: (2, 4, 4) gripper frames at the start, left and right, task frame.
    start_openings: (2,) m at the start.
    rate: samples per second.

    Phases: wait, reach, approach, close, lift, meet, pour, return, hold.
    """
    start = np.asarray(start_poses, dtype=np.float64)
    first_openings = np.asarray(start_openings, dtype=np.float64)
    keys = {name: _object_keys(name, np.asarray(objects[name], dtype=np.float64)) for name in HELD_OBJECTS}
    duration = keys["bottle"][-1][0]
    stamps = np.arange(round(duration * rate) + 1) / rate
    object_poses = {}
    for name in HELD_OBJECTS:
        lever = _BOTTLE_HEIGHT if name == "bottle" else 0.0
        carried = path_poses(smooth_path(keys[name], stamps), lever)
        object_poses[name] = np.where((stamps > _REACH.closed)[:, None, None], carried, objects[name])

    gripper_poses = np.empty((len(stamps), 2, 4, 4))
    openings = np.empty((len(stamps), 2))
    for arm, name in enumerate(HELD_OBJECTS):
        gripper_poses[:, arm], openings[:, arm] = grasping(
            stamps, grasps[name], object_poses[name], start[arm], float(first_openings[arm]), _REACH
        )
    held = np.repeat((stamps >= _REACH.closed)[:, None], 2, axis=1)
    return TwoHandMotion(stamps, gripper_poses, openings, held, object_poses, _phases(stamps))


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


def _phases(stamps: FloatArray) -> NDArray[np.str_]:
    names = np.array(["wait", "reach", "approach", "close", "lift", "meet", "pour", "return", "hold"])
    edges = [_REACH.start, _REACH.at_pregrasp, _REACH.at_grasp, _REACH.closed, _LIFTED, _MET, _TILTED + 0.3, _STILL]
    return names[np.searchsorted(edges, stamps, side="right")]
