"""Fit an upright move exactly: the reference's patches must be found where the move puts them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pad_parse import geometry
from pad_parse.localisation.hypotheses import Scene
from pad_parse.localisation.object_model import ObjectModel
from pad_parse.tracking import anchors
from pad_parse.tracking.depth_window import depth_windows, median_depth

_AGREEMENT = 0.65
_OCCLUDED = 0.02
_PIXEL_NOISE = 1.0
_DEPTH_NOISE = 0.005
_TOLERANCE = 2.5


@dataclass(frozen=True, eq=False)
class Registration:
    """An upright move (4, 4) and what speaks for it.

    Attributes:
        agreeing: number of patches found where the move puts them.
        comparable: number of patches that face the camera and are not hidden there.
        error: root mean square pixel error of the agreeing ones; inf without any.
    """

    move: NDArray[np.float64]
    agreeing: int
    comparable: int
    error: float


def register(model: ObjectModel, scene: Scene, move: NDArray[np.float64], rounds: int = 3) -> Registration:
    """Refine a guessed move; with too few agreeing patches the guess is returned as it is."""
    support, camera = model.support, scene.camera
    assert camera.transform_camera_to_task is not None
    to_camera = geometry.inverse(camera.transform_camera_to_task)
    agreeing, comparable, error = 0, 0, float("inf")
    for _ in range(rounds):
        pose = to_camera @ move
        points = geometry.transform_points(pose, support.points)
        pixels = geometry.project(points, camera.matrix)
        windows = depth_windows(scene.depth, pixels, 1)
        windows[np.all(np.isnan(windows), axis=1)] = np.inf
        hidden = np.nanmax(windows, axis=1) < points[:, 2] - _OCCLUDED
        chosen = np.flatnonzero(support.facing(pose) & ~hidden)
        comparable = len(chosen)
        if comparable < 4:
            return Registration(move, 0, comparable, float("inf"))
        refined, score = anchors.refine(
            [view.grey for view in support.views],
            support.view[chosen],
            support.anchors[chosen],
            support.warps(pose, camera.matrix, chosen, model.camera.matrix),
            scene.grey,
            pixels[chosen],
        )
        kept = np.flatnonzero(score > _AGREEMENT)
        if kept.size < 4:
            return Registration(move, int(kept.size), comparable, float("inf"))
        depth = median_depth(scene.depth, refined[kept], 1)
        move, inliers, error = _fit(support.points[chosen[kept]], refined[kept], depth, move, to_camera, camera.matrix)
        agreeing = int(np.count_nonzero(inliers))
    return Registration(move, agreeing, comparable, error)


def _fit(
    points: NDArray[np.float64],
    pixels: NDArray[np.float64],
    depth: NDArray[np.float64],
    move: NDArray[np.float64],
    to_camera: NDArray[np.float64],
    matrix: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.bool_], float]:
    """Robust Gauss-Newton over x, y and yaw."""
    centre = points.mean(axis=0)

    def residuals(candidate: NDArray[np.float64]) -> NDArray[np.float64]:
        p = geometry.transform_points(to_camera @ candidate, points)
        across = np.nan_to_num((p[:, 2] - depth) / _DEPTH_NOISE)
        return np.concatenate([(geometry.project(p, matrix) - pixels) / _PIXEL_NOISE, across[:, None]], axis=1)

    def changed(candidate: NDArray[np.float64], step: NDArray[np.float64]) -> NDArray[np.float64]:
        pivot = geometry.transform_points(candidate, centre)
        turn = geometry.yaw_pose(0.0, 0.0, step[2])[:3, :3]
        shift = np.array([step[0], step[1], 0.0])
        return geometry.make_pose(turn @ candidate[:3, :3], turn @ (candidate[:3, 3] - pivot) + pivot + shift)

    small = np.array([1e-4, 1e-4, 1e-3])
    for k in range(8):
        now = residuals(move)
        width = max(_TOLERANCE, 10 * 0.6**k)
        pixel = np.linalg.norm(now[:, :2], axis=1)
        w = np.where(pixel < width, (1 - (pixel / width) ** 2) ** 2, 0.0)
        w_depth = w * np.where(np.abs(now[:, 2]) < 4, 1.0, 0.0)
        weight = np.stack([w, w, w_depth], axis=1).ravel()
        jacobian = np.stack(
            [(residuals(changed(move, np.eye(3)[i] * small[i])) - now).ravel() / small[i] for i in range(3)],
            axis=1,
        )
        weighted = jacobian * weight[:, None]
        hessian = weighted.T @ jacobian + np.diag([1.0, 1.0, 1e-2])
        step = -np.linalg.solve(hessian, weighted.T @ now.ravel())
        move = changed(move, step)
        if k > 3 and np.all(np.abs(step) < [1e-5, 1e-5, 1e-4]):
            break
    pixel = np.linalg.norm(residuals(move)[:, :2], axis=1)
    inliers = pixel < _TOLERANCE
    error = float(np.sqrt(np.mean(pixel[inliers] ** 2))) if np.any(inliers) else float("inf")
    return move, inliers, error
