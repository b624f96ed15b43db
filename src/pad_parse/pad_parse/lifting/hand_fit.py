"""Metric 3-D landmarks of a hand from its pixels, its relative depths, measured depth and the lengths of its bones.

Each source is wrong in its own way: pixels say nothing about distance, the network's relative depth is coarse, a depth
image shows whatever lies in front of a finger or bleeds past it. So one least-squares problem per frame weighs them
all: reprojection, relative depth, measured depth (with a redescending loss, so that a sample on another surface does
not count), and bone lengths, which are one person's and hence shared by the frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pad_parse import geometry
from pad_parse.errors import LiftingError
from pad_parse.hands.estimator import LANDMARK_COUNT, PALM, RELATIVE_DEPTH_SCALE

_PAIRS: tuple[tuple[int, int, float], ...] = (
    (0, 1, 0.030), (1, 2, 0.044), (2, 3, 0.032), (3, 4, 0.025),
    (0, 5, 0.080), (5, 6, 0.040), (6, 7, 0.024), (7, 8, 0.019),
    (0, 9, 0.077), (9, 10, 0.044), (10, 11, 0.027), (11, 12, 0.020),
    (0, 13, 0.071), (13, 14, 0.041), (14, 15, 0.026), (15, 16, 0.020),
    (0, 17, 0.069), (17, 18, 0.033), (18, 19, 0.019), (19, 20, 0.017),
    (5, 9, 0.022), (9, 13, 0.021), (13, 17, 0.020), (5, 13, 0.042), (5, 17, 0.060), (9, 17, 0.040),
)  # fmt: skip
"""Average adult distances (m) between landmarks as the network places them: its wrist lies about 20 mm distal of the
anatomical one, its fingertips about 5 mm inside the finger."""
_A = np.array([a for a, _, _ in _PAIRS])
_B = np.array([b for _, b, _ in _PAIRS])
_LENGTHS = np.array([length for _, _, length in _PAIRS])
_RIGID = np.array([a in PALM and b in PALM for a, b, _ in _PAIRS])

_SKIN = np.full(LANDMARK_COUNT, 0.008)
_SKIN[[0, 1]] = 0.016
_SKIN[[2, 5, 9, 13, 17]] = 0.011
_SKIN[[4, 8, 12, 16, 20]] = 0.006
"""How far a landmark lies behind the visible skin (m)."""


@dataclass(frozen=True)
class HandShape:
    """Distances (26,) in m between landmark pairs of one person's hand, and how well they are known.

    scale_error: relative standard error of the overall size (0.08 for the average adult).
    """

    lengths: np.ndarray
    scale_error: float = 0.08

    @classmethod
    def average(cls) -> HandShape:
        """The average adult hand."""
        return cls(_LENGTHS.copy())


@dataclass(frozen=True)
class HandFit:
    """points_in_camera (F, 21, 3) m; residual (F,) m: rms misfit of bones; depth_used (F, 21): weights 0..1.

    apparent_size (F,): how large the hand looks for its measured distance; 1 = as large as it is. A network that sees
    only some fingers of a hand invents a small hand round them, well below 0.7. 1 where no depth tells the distance.
    """

    points_in_camera: np.ndarray
    residual: np.ndarray
    depth_used: np.ndarray
    apparent_size: np.ndarray


@dataclass(frozen=True)
class _Spread:
    """Standard errors: pixels (px), relative depth and measured depth (m), bones (m)."""

    pixel: float = 2.5
    relative: float = 0.025
    depth: float = 0.006
    bone: float = 0.003


def palm_depth(landmarks: np.ndarray, matrix: np.ndarray, shape: HandShape | None = None) -> np.ndarray:
    """Distance (F,) in m along the optical axis of hands (F, 21, 3) px, from the palm's known size.

    The palm's tilt is taken from the network's relative depths, in the same pixel scale as u and v.
    """
    lengths = (shape or HandShape.average()).lengths[_RIGID]
    points = np.asarray(landmarks, dtype=np.float64)
    difference = points[:, _A[_RIGID]] - points[:, _B[_RIGID]]
    extent = np.sqrt((difference[..., :2] ** 2).sum(axis=-1) + (difference[..., 2] / RELATIVE_DEPTH_SCALE) ** 2)
    focal = 0.5 * (matrix[0, 0] + matrix[1, 1])
    return focal * (lengths * extent).sum(axis=1) / np.maximum((extent**2).sum(axis=1), 1e-9)


def fit_hands(
    landmarks: np.ndarray,
    depths: np.ndarray | None,
    matrix: np.ndarray,
    shape: HandShape | None = None,
    *,
    iterations: int = 12,
    bone_spread: float = 0.003,
) -> HandFit:
    """Fit F hands at once.

    landmarks (F, 21, 3) px (u, v, depth relative to the wrist in px); depths (F, 21) m of the visible surface, nan =
    none, or None without a depth camera; matrix (3, 3) px. Every landmark must be finite. bone_spread m: how far bone
    lengths may differ from `shape`.
    """
    points = np.array(landmarks, dtype=np.float64)
    if points.ndim != 3 or points.shape[1:] != (LANDMARK_COUNT, 3):
        raise LiftingError(f"landmarks must be (F, {LANDMARK_COUNT}, 3), got {points.shape}")
    count = len(points)
    if count == 0:
        return HandFit(np.zeros((0, 21, 3)), np.zeros(0), np.zeros((0, 21)), np.zeros(0))
    points[..., 2] /= RELATIVE_DEPTH_SCALE
    shape = shape or HandShape.average()
    spread = _Spread(bone=bone_spread)
    focal = 0.5 * (matrix[0, 0] + matrix[1, 1])
    distance = palm_depth(np.asarray(landmarks, dtype=np.float64), matrix, shape)
    measured = np.full((count, LANDMARK_COUNT), np.nan)
    size = np.ones(count)
    if depths is not None:
        measured = np.asarray(depths, dtype=np.float64) + _SKIN
        distance = _anchor(points, measured, distance, focal)
        size = _apparent_size(points, distance, focal, shape.lengths)
    wrist = distance - points[:, list(PALM), 2].mean(axis=1) * distance / focal
    z = wrist[:, None] + points[:, :, 2] * distance[:, None] / focal
    x = geometry.unproject(points[..., :2], np.maximum(z, 0.05), matrix)
    weight = np.zeros_like(measured)
    for i in range(iterations):
        tolerance = 0.030 if i < 4 else 0.015
        weight = _depth_weight(measured, x[..., 2], tolerance)
        x = x - _step(x, points, measured, weight, matrix, shape.lengths, spread)
        x[..., 2] = np.maximum(x[..., 2], 0.05)
    bones = np.linalg.norm(x[:, _A] - x[:, _B], axis=-1) - shape.lengths
    return HandFit(x, np.sqrt((bones**2).mean(axis=1)), weight, size)


def _anchor(points: np.ndarray, measured: np.ndarray, distance: np.ndarray, focal: float) -> np.ndarray:
    """Palm distance (F,) that most depth samples agree on; the palm-size distance where there are too few."""
    palm = points[:, list(PALM), 2].mean(axis=1, keepdims=True)
    # The size is no check on the votes: fingers round an object look like a small, far hand.
    rough = np.nanmedian(np.concatenate([measured, distance[:, None]], axis=1), axis=1)
    votes = measured - (points[:, :, 2] - palm) * rough[:, None] / focal
    # The mode: the vote with most others within 15 mm. A median fails when half the hand is hidden by an object.
    near = np.abs(votes[:, :, None] - votes[:, None, :]) < 0.015
    support = near.sum(axis=2)
    best = support.argmax(axis=1)
    rows = np.arange(len(points))
    members = near[rows, best]
    total = members.sum(axis=1)
    mean = np.where(members, np.nan_to_num(votes), 0).sum(axis=1) / np.maximum(total, 1)
    return np.where(total >= 4, mean, distance)


def _apparent_size(points: np.ndarray, distance: np.ndarray, focal: float, lengths: np.ndarray) -> np.ndarray:
    difference = points[:, _A[:20]] - points[:, _B[:20]]
    seen = np.linalg.norm(difference, axis=2) * distance[:, None] / focal
    return np.asarray(np.quantile(seen / lengths[:20], 0.6, axis=1))


def _depth_weight(measured: np.ndarray, z: np.ndarray, tolerance: float) -> np.ndarray:
    """Geman-McClure weight (F, 21); 0 where nothing was measured."""
    error = np.nan_to_num(measured - z)
    weight = 1 / (1 + (error / tolerance) ** 2) ** 2
    return np.where(np.isfinite(measured), weight, 0.0)


def _step(
    x: np.ndarray,
    points: np.ndarray,
    measured: np.ndarray,
    weight: np.ndarray,
    matrix: np.ndarray,
    lengths: np.ndarray,
    spread: _Spread,
) -> np.ndarray:
    """One damped Gauss-Newton step (F, 21, 3)."""
    count, joints = x.shape[:2]
    size = 3 * joints
    normal = np.zeros((count, joints, 3, joints, 3))
    gradient = np.zeros((count, joints, 3))
    index = np.arange(joints)

    z = x[..., 2]
    projected = geometry.project(x, matrix)
    residual = (projected - points[..., :2]) / spread.pixel
    jacobian = np.zeros((count, joints, 2, 3))
    jacobian[..., 0, 0] = matrix[0, 0] / z
    jacobian[..., 0, 2] = -matrix[0, 0] * x[..., 0] / z**2
    jacobian[..., 1, 1] = matrix[1, 1] / z
    jacobian[..., 1, 2] = -matrix[1, 1] * x[..., 1] / z**2
    jacobian /= spread.pixel
    blocks = np.einsum("fjia,fjib->fjab", jacobian, jacobian)
    normal[:, index, :, index, :] += blocks.swapaxes(0, 1)
    gradient += np.einsum("fjia,fji->fja", jacobian, residual)

    focal = 0.5 * (matrix[0, 0] + matrix[1, 1])
    relative = points[:, :, 2] * z[:, :1] / focal
    error = (z - z[:, :1] - relative)[:, 1:] / spread.relative**2
    normal[:, index[1:], 2, index[1:], 2] += 1 / spread.relative**2
    normal[:, index[1:], 2, 0, 2] -= 1 / spread.relative**2
    normal[:, 0, 2, index[1:], 2] -= 1 / spread.relative**2
    normal[:, 0, 2, 0, 2] += (joints - 1) / spread.relative**2
    gradient[:, 1:, 2] += error
    gradient[:, 0, 2] -= error.sum(axis=1)

    precision = weight / spread.depth**2
    normal[:, index, 2, index, 2] += precision
    gradient[:, :, 2] += precision * np.nan_to_num(z - measured)

    difference = x[:, _A] - x[:, _B]
    length = np.maximum(np.linalg.norm(difference, axis=-1), 1e-6)
    direction = difference / length[..., None]
    scaled = (length - lengths) / spread.bone**2
    outer = direction[..., :, None] * direction[..., None, :] / spread.bone**2
    for k, (a, b) in enumerate(zip(_A, _B, strict=True)):
        normal[:, a, :, a, :] += outer[:, k]
        normal[:, b, :, b, :] += outer[:, k]
        normal[:, a, :, b, :] -= outer[:, k]
        normal[:, b, :, a, :] -= outer[:, k]
        gradient[:, a] += direction[:, k] * scaled[:, k, None]
        gradient[:, b] -= direction[:, k] * scaled[:, k, None]

    matrix_form = normal.reshape(count, size, size)
    matrix_form[:, np.arange(size), np.arange(size)] += 1e2
    step = np.linalg.solve(matrix_form, gradient.reshape(count, size, 1)).reshape(count, joints, 3)
    longest = np.abs(step).max(axis=(1, 2), keepdims=True)
    return step * np.minimum(1.0, 0.05 / np.maximum(longest, 1e-12))
