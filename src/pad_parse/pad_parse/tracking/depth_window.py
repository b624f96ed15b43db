"""Depth at a pixel from a small window."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def depth_windows(depth: NDArray[np.float32], pixels: NDArray[np.float64], radius: int) -> NDArray[np.float64]:
    """Depths (M, (2 radius + 1)^2) in metres around pixels (M, 2); nan where invalid or outside the image (H, W)."""
    height, width = depth.shape
    with np.errstate(invalid="ignore"):
        inside = np.all((pixels > -radius - 1) & (pixels < [width + radius, height + radius]), axis=1)
    centre = np.round(np.where(inside[:, None], pixels, -2.0 * radius - 2.0)).astype(np.intp)
    step = np.arange(-radius, radius + 1)
    u, v = centre[:, :1] + step, centre[:, 1:] + step
    index = (np.clip(v, 0, height - 1) * width)[:, :, None] + np.clip(u, 0, width - 1)[:, None, :]
    values = np.take(depth, index).astype(np.float64)
    with np.errstate(invalid="ignore"):
        valid = (values > 0) & (values < np.inf)
    valid &= ((v >= 0) & (v < height))[:, :, None] & ((u >= 0) & (u < width))[:, None, :]
    values[~valid] = np.nan
    return values.reshape(len(pixels), (2 * radius + 1) ** 2)


def median_depth(depth: NDArray[np.float32], pixels: NDArray[np.float64], radius: int = 2) -> NDArray[np.float64]:
    """Median of the valid depths (M,) in metres in a window around pixels (M, 2); nan without a valid sample."""
    values = np.sort(depth_windows(depth, pixels, radius), axis=1)
    count = np.sum(np.isfinite(values), axis=1)
    result = values[np.arange(len(values)), np.maximum(count - 1, 0) // 2]
    return np.where(count > 0, result, np.nan)


def depth_noise(depth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard deviation (M,) m of a depth camera's median of a small window at depths (M,) m.

    That of an active stereo camera: it grows with the square of the distance, from a floor by calibration and bias.
    """
    return np.asarray(np.hypot(0.001, 0.0025 * np.square(depth)))
