"""Depth at pixels of an aligned depth image, robust to holes and to bleed across edges."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from pad_parse.errors import LiftingError
from pad_parse.hands.estimator import PALM


def _windows(depth: np.ndarray, pixels: np.ndarray, radius: int) -> np.ndarray:
    """(N, (2 radius + 1)^2) depth samples round each pixel; nan outside the image and in holes."""
    height, width = depth.shape
    offsets = np.arange(-radius, radius + 1)
    inside = np.isfinite(pixels).all(axis=1)
    centre = np.where(inside[:, None], pixels, -(10 * radius + 10)).round().astype(np.int64)
    u = centre[:, 0, None, None] + offsets[None, None, :]
    v = centre[:, 1, None, None] + offsets[None, :, None]
    u, v = np.broadcast_arrays(u, v)
    valid = (u >= 0) & (u < width) & (v >= 0) & (v < height)
    samples = depth[np.clip(v, 0, height - 1), np.clip(u, 0, width - 1)].astype(np.float64)
    samples[~valid | ~np.isfinite(samples) | (samples <= 0)] = np.nan
    return samples.reshape(len(pixels), -1)


def _checked(depth: np.ndarray, pixels: ArrayLike) -> np.ndarray:
    points = np.asarray(pixels, dtype=np.float64)
    if depth.ndim != 2:
        raise LiftingError(f"a depth image must be (H, W), got {depth.shape}")
    if points.ndim != 2 or points.shape[1] < 2:
        raise LiftingError(f"pixels must be (N, 2), got {points.shape}")
    return points[:, :2]


def point_depth(depth: np.ndarray, pixels: ArrayLike, radius: int = 2, least: int = 3) -> np.ndarray:
    """Depth (N,) in m at pixels (N, 2): the median of the valid samples in a window; nan where fewer than `least`."""
    return _quantile(_windows(depth, _checked(depth, pixels), radius), 0.5, least)


def landmark_depth(
    depth: np.ndarray, landmarks: ArrayLike, radius: int = 3, quantile: float = 0.2, least: int = 3
) -> np.ndarray:
    """Depth (N,) in m of a hand's surface at its landmarks (N, >= 2) px; nan where there is none.

    A finger is narrow, so that part of the window falls past it: a low quantile stays on the finger.
    """
    return _quantile(_windows(depth, _checked(depth, landmarks), radius), quantile, least)


def palm_distance(depth: np.ndarray, landmarks: ArrayLike) -> float:
    """Distance (m) of a hand (21, >= 2) px along the optical axis: its palm's median; nan without depth there."""
    found = landmark_depth(depth, np.asarray(landmarks, dtype=np.float64)[list(PALM)])
    return float(np.median(found[np.isfinite(found)])) if np.isfinite(found).any() else float("nan")


def _quantile(samples: np.ndarray, quantile: float, least: int) -> np.ndarray:
    count = np.isfinite(samples).sum(axis=1)
    ordered = np.sort(samples, axis=1)  # nan last
    index = np.clip(np.round(quantile * (count - 1)).astype(np.int64), 0, None)
    value = ordered[np.arange(len(samples)), index]
    return np.where(count >= least, value, np.nan)
