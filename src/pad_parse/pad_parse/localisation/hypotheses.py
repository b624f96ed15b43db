"""Guesses of where an object of the reference stands in a new scene: upright moves on the table."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pad_parse import geometry
from pad_parse.camera import Camera
from pad_parse.localisation.object_model import ObjectModel, colour_histogram
from pad_parse.tracking.depth_window import median_depth
from pad_parse.tracking.object_mask import Hull, points_of_image, upright_hull

_RATIO = 0.85
_TOLERANCE = 0.012
_TRIALS = 400
_CLEARANCE = 0.012
_HIGHEST = 0.6
_DEPTH_EDGE = 0.02
_LEAST_CLUSTER = 120
_YAWS = np.array([0.0, *(sign * 0.15 * k for k in range(1, 6) for sign in (1, -1))])
"""Angles tried (rad), smallest first: of equals the first one wins."""


@dataclass(frozen=True, eq=False)
class Scene:
    """The new image, prepared once for all objects.

    Attributes:
        rgb: (H, W, 3); grey: (H, W); depth: (H, W) metres.
        cloud: (H, W, 3) task frame, nan without depth; above: (H, W), what is above the table.
        landmarks: (k, 3) task-frame points of local features, nan without depth; descriptors: (k, 128).
        clusters: separate surfaces above the table: mask (H, W) and hull.
    """

    rgb: NDArray[np.uint8]
    grey: NDArray[np.uint8]
    depth: NDArray[np.float32]
    camera: Camera
    cloud: NDArray[np.float64]
    above: NDArray[np.bool_]
    landmarks: NDArray[np.float64]
    descriptors: NDArray[np.float32]
    clusters: list[tuple[NDArray[np.bool_], Hull]]


@dataclass(frozen=True, eq=False)
class Guess:
    """A move (4, 4) of the object, task frame to task frame: turned about the vertical and shifted on the table.

    `look` in [0, 1] says how well shape and colours of the surface there agree; nan where no surface was compared.
    """

    move: NDArray[np.float64]
    look: float


def prepare_scene(rgb: NDArray[np.uint8], depth: NDArray[np.float32], camera: Camera) -> Scene:
    """Everything that is computed once per image; `depth` is aligned to `rgb`, `camera` has its pose."""
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    cloud = points_of_image(depth, camera)
    with np.errstate(invalid="ignore"):
        above = (cloud[..., 2] > _CLEARANCE) & (cloud[..., 2] < _HIGHEST)
    near = cv2.dilate(above.astype(np.uint8), np.ones((5, 5), np.uint8))
    keys, described = cv2.SIFT_create(3000, contrastThreshold=0.02).detectAndCompute(grey, near)
    landmarks, descriptors = np.zeros((0, 3)), np.zeros((0, 128), np.float32)
    if described is not None:
        pixels = np.array([key.pt for key in keys])
        landmarks, descriptors = camera.pixels_to_task(pixels, median_depth(depth, pixels, 1)), described
    return Scene(rgb, grey, depth, camera, cloud, above, landmarks, descriptors, _clusters(depth, cloud, above, camera))


def from_features(model: ObjectModel, scene: Scene, rng: np.random.Generator) -> Guess | None:
    """The upright move on which most matches of local features agree; None with fewer than four."""
    if len(model.descriptors) < 4 or len(scene.descriptors) < 4:
        return None
    matches = cv2.BFMatcher().knnMatch(model.descriptors, scene.descriptors, k=2)
    pairs = np.array(
        [(m[0].queryIdx, m[0].trainIdx) for m in matches if len(m) == 2 and m[0].distance < _RATIO * m[1].distance],
        dtype=int,
    ).reshape(-1, 2)
    a, b = model.landmarks[pairs[:, 0]], scene.landmarks[pairs[:, 1]]
    with np.errstate(invalid="ignore"):
        level = np.abs(a[:, 2] - b[:, 2]) < 2 * _TOLERANCE
    a, b = a[level], b[level]
    if len(a) < 4:
        return None
    i, j = rng.integers(len(a), size=(2, _TRIALS))
    span_a, span_b = (a[j] - a[i])[:, :2], (b[j] - b[i])[:, :2]
    length_a, length_b = np.linalg.norm(span_a, axis=1), np.linalg.norm(span_b, axis=1)
    usable = (length_a > 0.012) & (np.abs(length_a - length_b) < _TOLERANCE)
    if not np.any(usable):
        return None
    yaw = (np.arctan2(span_b[:, 1], span_b[:, 0]) - np.arctan2(span_a[:, 1], span_a[:, 0]))[usable]
    moves = _moves(yaw, ((a[i] + a[j]) / 2)[usable], ((b[i] + b[j]) / 2)[usable])
    error = np.linalg.norm(geometry.transform_points(moves, a) - b, axis=-1)
    best = error[np.argmax(np.sum(np.maximum(0, 1 - (error / _TOLERANCE) ** 2), axis=1))]
    move = None
    for _ in range(4):
        inliers = best < _TOLERANCE
        if np.count_nonzero(inliers) < 4:
            break
        centre_a, centre_b = a[inliers].mean(axis=0), b[inliers].mean(axis=0)
        p, q = (a[inliers] - centre_a)[:, :2], (b[inliers] - centre_b)[:, :2]
        turn = np.arctan2(np.sum(p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]), np.sum(p * q))
        move = _moves(np.array([turn]), centre_a[None], centre_b[None])[0]
        best = np.linalg.norm(geometry.transform_points(move, a) - b, axis=1)
    return None if move is None else Guess(move, _look_at(model, scene, move))


def from_shape(model: ObjectModel, scene: Scene) -> list[Guess]:
    """Moves onto the surfaces whose size and colours fit, at several angles, best first."""
    ranked = sorted(
        ((look, hull) for mask, hull in scene.clusters if (look := _look(model, scene, mask, hull)) > 0.25),
        key=lambda item: -item[0],
    )
    guesses = []
    for look, hull in ranked[:3]:
        before, after = np.array([model.hull.x, model.hull.y, 0.0]), np.array([hull.x, hull.y, 0.0])
        guesses += [Guess(move, look) for move in _moves(_YAWS, before[None], after[None])]
    return guesses


def _moves(yaw: NDArray[np.float64], before: NDArray[np.float64], after: NDArray[np.float64]) -> NDArray[np.float64]:
    """Upright moves (m, 4, 4) that take points `before` (m, 3) to the x, y of `after` (m, 3); heights stay."""
    turn = geometry.yaw_pose(0.0, 0.0, yaw)
    shift = after - np.einsum("mij,mj->mi", turn[:, :3, :3], np.broadcast_to(before, (len(turn), 3)))
    shift[:, 2] = 0.0
    return geometry.make_pose(turn[:, :3, :3], shift)


def _look_at(model: ObjectModel, scene: Scene, move: NDArray[np.float64]) -> float:
    target = geometry.transform_points(move, [model.hull.x, model.hull.y, 0.0])
    gaps = [(np.hypot(h.x - target[0], h.y - target[1]), mask, h) for mask, h in scene.clusters]
    close = [item for item in gaps if item[0] < max(0.03, model.hull.radius)]
    if not close:
        return float("nan")
    _, mask, hull = min(close, key=lambda item: item[0])
    return _look(model, scene, mask, hull)


def _look(model: ObjectModel, scene: Scene, mask: NDArray[np.bool_], hull: Hull) -> float:
    wide = abs(hull.radius - model.hull.radius) / model.hull.radius
    tall = abs(hull.top - model.hull.top) / max(model.hull.top, 0.02)
    shape = float(np.exp(-((wide / 0.25) ** 2) - (tall / 0.2) ** 2))
    overlap = float(np.minimum(colour_histogram(scene.rgb, mask), model.colours).sum())
    return shape * min(1.0, overlap / 0.7)


def _clusters(
    depth: NDArray[np.float32], cloud: NDArray[np.float64], above: NDArray[np.bool_], camera: Camera
) -> list[tuple[NDArray[np.bool_], Hull]]:
    assert camera.transform_camera_to_task is not None
    kernel = np.ones((3, 3), np.uint8)
    smooth = above & (cv2.dilate(depth, kernel) - cv2.erode(depth, kernel) < _DEPTH_EDGE)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(smooth.astype(np.uint8), connectivity=4)
    found = []
    for label in range(1, count):
        if stats[label, cv2.CC_STAT_AREA] >= _LEAST_CLUSTER:
            mask = labels == label
            found.append((mask, upright_hull(cloud[mask], camera.transform_camera_to_task[:3, 3])))
    return found
