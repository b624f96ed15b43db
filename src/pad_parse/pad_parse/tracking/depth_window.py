"""Depth at a pixel from a small window."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def depth_windows(depth: NDArray[np.float32], pixels: NDArray[np.float64], radius: int) -> NDArray[np.float64]:
    """Depths (M, (2 radius + 1)^2) in metres around pixels (M, 2); nan where invalid or outside the image (H, W)."""
    height, width = depth.shape
    with np.errstate(invalid="ignore"):
        inside = np.all(np.isfinite(pixels) & (np.abs(pixels) < 1e6), axis=1)
    centre = np.round(np.where(inside[:, None], pixels, -1e6)).astype(int)
    step = np.arange(-radius, radius + 1)
    dv, du = (a.ravel() for a in np.meshgrid(step, step, indexing="ij"))
    u, v = centre[:, :1] + du, centre[:, 1:] + dv
    valid = (u >= 0) & (v >= 0) & (u < width) & (v < height)
    values = depth[np.clip(v, 0, height - 1), np.clip(u, 0, width - 1)].astype(np.float64)
    return np.where(valid & (values > 0) & np.isfinite(values), values, np.nan)


def median_depth(depth: NDArray[np.float32], pixels: NDArray[np.float64], radius: int = 2) -> NDArray[np.float64]:
    """Median of the valid depths (M,) in metres in a window around pixels (M, 2); nan without a valid sample."""
    values = np.sort(depth_windows(depth, pixels, radius), axis=1)
    count = np.sum(np.isfinite(values), axis=1)
    result = values[np.arange(len(values)), np.maximum(count - 1, 0) // 2]
    return np.where(count > 0, result, np.nan)
