"""Metres from a single colour camera: hands have a known size, a held object is as far away as its hand, and the table
is a horizontal plane under the objects.

What cannot be known from such a recording is assumed and stated: the camera's pitch (unless its pose is calibrated), a
camera that faces the table squarely, and an average adult hand. An object's motion is its motion in the image (shift,
turn about the line of sight, scale); a tilt towards or away from the camera is not seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pad_parse import geometry
from pad_parse.camera import Camera
from pad_parse.errors import LiftingError
from pad_parse.lifting.hand_fit import HandShape
from pad_parse.smoothing import smooth_scalars

ASSUMED_PITCH = float(np.deg2rad(20.0))
"""How far a camera without calibration is taken to look down."""
LEAST_SCALE, MOST_SCALE = 0.7, 1.4


@dataclass(frozen=True)
class MonocularScene:
    """camera: with its pose in the task frame. depth_of: object -> m along the optical axis in the first frame.

    scale_error: relative standard error of every length. assumptions: sentences for the report.
    """

    camera: Camera
    depth_of: dict[str, float]
    scale_error: float
    assumptions: tuple[str, ...]


def camera_rotation(pitch: float) -> np.ndarray:
    """Rotation (3, 3), optical frame -> task frame, of a camera that looks at the robots and down by `pitch` rad."""
    forward = np.array([-np.cos(pitch), 0.0, -np.sin(pitch)])
    right = np.array([0.0, 1.0, 0.0])
    return np.stack([right, np.cross(forward, right), forward], axis=1)


def build_scene(
    camera: Camera,
    object_pixels: dict[str, np.ndarray],
    hand_depths: dict[str, np.ndarray],
    *,
    pitch: float = ASSUMED_PITCH,
    shape: HandShape | None = None,
) -> MonocularScene:
    """Where the camera is and how far the objects are in the first frame.

    object_pixels: object -> (M, 2) px of points on it in the first frame. hand_depths: object -> (K,) m, distances of
    the hand that holds it (first frames of the hold); the objects are taken to stand on one table, so that
    the hands are averaged and one is enough.
    """
    known = {name: float(np.nanmedian(d)) for name, d in hand_depths.items() if np.isfinite(d).any()}
    if not known:
        raise LiftingError(
            "no hand holds any object near the start of this colour-only recording, so nothing gives a scale; "
            "record with depth, or begin with the objects in the hands"
        )
    rotation = (
        camera_rotation(pitch)
        if camera.transform_camera_to_task is None
        else np.asarray(camera.transform_camera_to_task)[:3, :3]
    )
    relative = {name: _depth_on_table(pixels, camera.matrix, rotation) for name, pixels in object_pixels.items()}
    if all(np.isfinite(list(relative.values()))):
        # One table under all objects ties their distances together.
        height = float(np.mean([known[name] / relative[name] for name in known]))
        depth_of = {name: height * relative[name] for name in object_pixels}
    else:
        nearest = min(known.values())
        depth_of = {name: known.get(name, nearest) for name in object_pixels}
    turned = {
        name: geometry.unproject(pixels, np.full(len(pixels), depth_of[name]), camera.matrix) @ rotation.T
        for name, pixels in object_pixels.items()
    }
    assumptions = []
    scale_error = (shape or HandShape.average()).scale_error
    if camera.transform_camera_to_task is not None:
        pose = np.asarray(camera.transform_camera_to_task)
    else:
        middle = np.mean([p.mean(axis=0) for p in turned.values()], axis=0)
        table = min(float(p[:, 2].min()) for p in turned.values())
        pose = geometry.make_pose(rotation, [-middle[0], -middle[1], -table])
        scale_error = float(np.hypot(scale_error, 0.06))  # the assumed lens adds to the hand's size
        assumptions.append(
            f"The camera is taken to look down by {np.rad2deg(pitch):.0f} degrees, squarely at the table."
        )
        assumptions.append("The table lies under the lowest tracked point of the objects in the first frame.")
    assumptions.append(f"Lengths come from an average adult hand: about {100 * scale_error:.0f} % uncertain.")
    return MonocularScene(camera.with_extrinsics(pose), depth_of, scale_error, tuple(assumptions))


def _depth_on_table(pixels: np.ndarray, matrix: np.ndarray, rotation: np.ndarray) -> float:
    """Distance along the optical axis of an object on a table one metre below the camera; nan above the horizon.

    pixels (M, 2) of points on it; its lowest point in the image is taken to be where it stands.
    """
    lowest = pixels[pixels[:, 1].argmax()]
    ray = rotation @ geometry.unproject(lowest[None], np.ones(1), matrix)[0]
    return float(-1 / ray[2]) if ray[2] < -0.05 else float("nan")


def object_poses(
    scene: MonocularScene,
    name: str,
    stamps: np.ndarray,
    similarities: np.ndarray,
    found: np.ndarray,
    start: np.ndarray,
    pixel: np.ndarray,
) -> np.ndarray:
    """Poses (T, 4, 4) of an object in the task frame, nan where it was not found.

    similarities (T, 2, 3) px of the first frame -> px; found (T,) bool; start (4, 4) pose in the first frame;
    pixel (2,) px: the object's middle in the first frame.
    """
    camera = scene.camera
    to_task = np.asarray(camera.transform_camera_to_task)
    scale = np.linalg.norm(similarities[:, :, 0], axis=1)
    scale = np.where(found, scale, np.nan)
    # A tilt out of the image plane looks like a change of scale: only slow, moderate changes are taken as distance.
    smooth = smooth_scalars(stamps, scale[:, None], half_window=0.6, order=1, spread=0.03)[:, 0]
    depth = scene.depth_of[name] / np.clip(smooth, LEAST_SCALE, MOST_SCALE)
    angle = np.arctan2(similarities[:, 1, 0], similarities[:, 0, 0])
    now = np.einsum("tij,j->ti", similarities[:, :, :2], pixel) + similarities[:, :, 2]
    matrix = camera.matrix
    first = geometry.unproject(pixel[None], np.array([scene.depth_of[name]]), matrix)[0]
    centre = geometry.unproject(now, depth, matrix)
    about_axis = geometry.rotation_exp(np.stack([np.zeros_like(angle), np.zeros_like(angle), angle], axis=1))
    # Turning about the line of sight to the object rather than the optical axis keeps it where it is seen.
    shift = centre - np.einsum("tij,j->ti", about_axis, first)
    motion = geometry.make_pose(about_axis, shift)
    poses = to_task @ motion @ geometry.inverse(to_task) @ start
    poses[~found | ~np.isfinite(poses).all(axis=(1, 2))] = np.nan
    return poses
