"""Makes exact depth look as a stereo depth camera measures it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_NOISE = 0.0015
"""Standard deviation of depth over depth squared, 1/m: 1 mm at 0.8 m."""
_GRAIN = 6
"""px: stereo matching compares windows, so neighbours err together."""
_EDGE = 0.02
"""m: where depth jumps by more than this, pixels are lost."""
_LOST_AT_EDGES = 0.5
_GRAIN_GAIN = 1.5
"""Enlarging the grains averages them; this gives the noise its strength back."""


def measured_depth(depth: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.uint16]:
    """Depth images (H, W) in mm, 0 where nothing was measured, from exact depth (H, W) in m (0 = nothing there).

    Noise grows with the square of the distance; half of the pixels along edges are holes.
    """
    height, width = depth.shape
    coarse = rng.standard_normal((-(-height // _GRAIN), -(-width // _GRAIN)), np.float32)
    noise = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR) * np.float32(_GRAIN_GAIN * _NOISE)
    noisy = depth + noise * depth**2
    jump = cv2.morphologyEx(depth, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > _EDGE
    rows, columns = np.nonzero(jump)
    lost = rng.random(len(rows), np.float32) < _LOST_AT_EDGES
    noisy[rows[lost], columns[lost]] = 0.0
    return np.clip(np.rint(noisy * 1000.0), 0, np.iinfo(np.uint16).max).astype("<u2")
