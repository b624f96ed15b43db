"""Robust motion of a rigid group of points: a pose from pixels and depth, or an affine map without depth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pad_parse import geometry

PIXEL_TOLERANCE = 3.0
"""A point further from its predicted pixel than this (px) is an outlier."""
DEPTH_TOLERANCE = 0.02
"""A depth further from the prediction than this (m) is an outlier."""

_PIXEL_NOISE = 1.0
_DEPTH_NOISE = 0.004
_CLEARLY_MORE = 1.4
_CORRELATED = 4.0
"""Neighbouring points share their errors of depth and shape: as if each were measured by so many points at once."""
_LEAST_EXCESS = 0.05


@dataclass(frozen=True, eq=False)
class PoseFit:
    """Pose of a rigid group in the camera.

    Attributes:
        pose: (4, 4) object frame -> optical frame.
        inliers: (M,) bool.
        error: root mean square pixel error of the inliers.
        pivot: (3,) optical frame, about which the covariance is given.
        covariance: (6, 6) of a small turn (rad) about the pivot and a shift (m), optical frame.
    """

    pose: NDArray[np.float64]
    inliers: NDArray[np.bool_]
    error: float
    pivot: NDArray[np.float64]
    covariance: NDArray[np.float64]

    def spread(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Standard deviation (n,) in metres, over all directions together, of points (n, 3) of the optical frame."""
        x, y, z = (points - self.pivot).T
        jacobian = np.zeros((len(points), 3, 6))
        jacobian[:, 0, 1], jacobian[:, 0, 2] = z, -y
        jacobian[:, 1, 0], jacobian[:, 1, 2] = -z, x
        jacobian[:, 2, 0], jacobian[:, 2, 1] = y, -x
        jacobian[:, [0, 1, 2], [3, 4, 5]] = 1.0
        return np.asarray(np.sqrt(np.einsum("nij,jk,nik->n", jacobian, self.covariance, jacobian)))


def fit_pose(
    points: NDArray[np.float64],
    pixels: NDArray[np.float64],
    depth: NDArray[np.float64],
    matrix: NDArray[np.float64],
    initial: NDArray[np.float64],
    *,
    prior_noise: tuple[float, float] = (0.05, 0.5),
    tolerance: float = PIXEL_TOLERANCE,
    reach: float = 12.0,
    iterations: int = 8,
) -> PoseFit:
    """Refine a pose so that the points fall on their pixels and depths (robust Gauss-Newton on SE(3)).

    Args:
        points: (M, 3) in the object frame, metres.
        pixels: (M, 2) measured.
        depth: (M,) measured metres along the optical axis, nan where there is none.
        matrix: (3, 3) intrinsics.
        initial: (4, 4) object -> optical; also the mean of a weak prior.
        prior_noise: standard deviation of that prior, (metres, radians).
        tolerance: pixels beyond which a point has no say at the end.
        reach: pixels beyond which it has none at the beginning.
    """
    fx, fy, cx, cy = matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2]
    rotation, shift = np.array(initial[:3, :3]), np.array(initial[:3, 3])
    start = rotation.copy()
    has_depth = np.isfinite(depth)
    measured = np.where(has_depth, depth, 0.0)
    prior = np.array([1 / prior_noise[1] ** 2] * 3 + [1 / prior_noise[0] ** 2] * 3)
    middle = points.mean(axis=0)
    expected = rotation @ middle + shift
    depth_width = DEPTH_TOLERANCE / _DEPTH_NOISE
    # Rows: u, v, depth; columns: turn about the group's middle (so that it hardly mixes with the shift),
    # shift.
    jacobian = np.zeros((3, len(points), 6))
    jacobian[2, :, 5] = 1 / _DEPTH_NOISE
    for k in range(iterations):
        # Start forgiving, so that a poor guess can still pull the group in; end strict.
        width = max(tolerance, reach * 0.5**k) / _PIXEL_NOISE
        p = points @ rotation.T + shift
        z = np.maximum(p[:, 2], 1e-3)
        x_ratio, y_ratio = p[:, 0] / z, p[:, 1] / z
        residual = np.stack(
            [
                (fx * x_ratio + cx - pixels[:, 0]) / _PIXEL_NOISE,
                (fy * y_ratio + cy - pixels[:, 1]) / _PIXEL_NOISE,
                np.where(has_depth, (p[:, 2] - measured) / _DEPTH_NOISE, 0.0),
            ]
        )
        w = _tukey(np.hypot(residual[0], residual[1]), width)
        w_depth = w * has_depth * _tukey(np.abs(residual[2]), max(depth_width, width))
        weight = np.stack([w, w, w_depth])
        pivot = rotation @ middle + shift
        lx, ly, lz = (p - pivot).T
        ux, vy = fx / z / _PIXEL_NOISE, fy / z / _PIXEL_NOISE
        uz, vz = -ux * x_ratio, -vy * y_ratio
        jacobian[0, :, 0], jacobian[0, :, 1], jacobian[0, :, 2] = ly * uz, lz * ux - lx * uz, -ly * ux
        jacobian[0, :, 3], jacobian[0, :, 5] = ux, uz
        jacobian[1, :, 0], jacobian[1, :, 1], jacobian[1, :, 2] = ly * vz - lz * vy, -lx * vz, lx * vy
        jacobian[1, :, 4], jacobian[1, :, 5] = vy, vz
        jacobian[2, :, 0], jacobian[2, :, 1] = ly / _DEPTH_NOISE, -lx / _DEPTH_NOISE
        weighted = (jacobian * weight[..., None]).reshape(-1, 6)
        offset = np.concatenate([_small_log(rotation @ start.T), pivot - expected])
        hessian = weighted.T @ jacobian.reshape(-1, 6)
        hessian[np.arange(6), np.arange(6)] += prior
        step = -np.linalg.solve(hessian, weighted.T @ residual.ravel() + prior * offset)
        turn = cv2.Rodrigues(step[:3])[0]
        rotation, shift = turn @ rotation, turn @ (shift - pivot) + pivot + step[3:]
        if reach * 0.5**k <= tolerance and np.abs(step).max() < 1e-4:
            break
    # Products of many rotations drift off the group.
    u, _, vt = np.linalg.svd(rotation)
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = u @ vt, shift
    # The noise is that of the residuals, not the one assumed; points next to each other err together.
    excess = float(np.sum(weight * residual**2) / max(float(np.sum(weight)), 1e-9))
    covariance = np.asarray(_CORRELATED * max(excess, _LEAST_EXCESS) * np.linalg.inv(hessian), dtype=np.float64)
    p = points @ pose[:3, :3].T + pose[:3, 3]
    with np.errstate(invalid="ignore"):
        error = np.linalg.norm(geometry.project(p, matrix) - pixels, axis=1)
        # A depth that is missing speaks neither way.
        inliers = (error < tolerance) & ~(np.abs(p[:, 2] - depth) > DEPTH_TOLERANCE)
    rms = float(np.sqrt(np.mean(error[inliers] ** 2))) if np.any(inliers) else float("inf")
    return PoseFit(pose, inliers, rms, pose[:3, :3] @ middle + pose[:3, 3], covariance)


def fit_pose_from_scratch(
    points: NDArray[np.float64],
    measured: NDArray[np.float64],
    rng: np.random.Generator,
    *,
    tolerance: float = 0.012,
    trials: int = 100,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]] | None:
    """Pose (4, 4) and inliers (M,) that map points (M, 3) onto measured points (M, 3), nan where not measured.

    RANSAC over three-point fits, then a weighted Kabsch on the inliers. None where fewer than four points agree.
    """
    valid = np.flatnonzero(np.all(np.isfinite(measured), axis=1) & np.all(np.isfinite(points), axis=1))
    if valid.size < 4:
        return None
    a, b = points[valid], measured[valid]
    sample = np.argsort(rng.random((trials, valid.size)), axis=1)[:, :3]
    poses = geometry.kabsch(a[sample], b[sample])
    error = np.linalg.norm(geometry.transform_points(poses, a) - b, axis=-1)
    support = np.sum(np.maximum(0.0, 1 - (error / tolerance) ** 2), axis=1)
    best = error[np.argmax(support)]
    inliers = best < tolerance
    for _ in range(3):
        if np.count_nonzero(inliers) < 4:
            return None
        weights = np.where(inliers, np.maximum(1 - (best / tolerance) ** 2, 0.05), 0.0)
        pose = geometry.kabsch(a, b, weights)
        best = np.linalg.norm(geometry.transform_points(pose, a) - b, axis=1)
        inliers = best < tolerance
    if np.count_nonzero(inliers) < 4:
        return None
    everywhere = np.zeros(len(points), bool)
    everywhere[valid[inliers]] = True
    return pose, everywhere


def fit_affine(
    start: NDArray[np.float64], pixels: NDArray[np.float64], *, tolerance: float = 4.0
) -> tuple[NDArray[np.float64], NDArray[np.bool_]] | None:
    """Affine map (2, 3) from pixels (M, 2) of the first image to the current ones, and its inliers (M,).

    A similarity (turn, scale, shift) is kept unless a general affine map explains clearly more points: shear that is
    fitted to noise throws points outside the group far off. None where fewer than three points agree.
    """
    if len(start) < 3:
        return None
    a, b = np.asarray(start, dtype=np.float32), np.asarray(pixels, dtype=np.float32)
    best = _ransac(cv2.estimateAffinePartial2D, a, b, tolerance)
    if len(start) >= 8:
        general = _ransac(cv2.estimateAffine2D, a, b, tolerance)
        if general is not None and (best is None or np.sum(general[1]) > _CLEARLY_MORE * np.sum(best[1])):
            best = general
    return best


def _ransac(
    fit: Callable[..., Any], a: NDArray[np.float32], b: NDArray[np.float32], tolerance: float
) -> tuple[NDArray[np.float64], NDArray[np.bool_]] | None:
    matrix, found = fit(a, b, method=cv2.RANSAC, ransacReprojThreshold=tolerance, maxIters=300, confidence=0.99)
    if matrix is None or found is None or not np.all(np.isfinite(matrix)):
        return None
    inliers = found[:, 0] == 1
    if not 0.05 < float(np.linalg.det(matrix[:, :2])) < 20 or np.count_nonzero(inliers) < 3:
        return None
    return np.asarray(matrix, dtype=np.float64), inliers


def _small_log(rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(cv2.Rodrigues(rotation)[0][:, 0])


def _tukey(residual: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    return np.asarray(np.where(residual < width, (1 - (residual / width) ** 2) ** 2, 0.0))
