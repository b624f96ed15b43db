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
"""m: where depth jumps by more than this, pixels are lost or bleed."""
_LOST_AT_EDGES = 0.4
_BLEED_AT_EDGES = 0.4
"""Shares of the pixels along edges that are holes, and that get a depth between the two surfaces or the other one's."""
_HOLE_SIZE, _HOLE_LEVEL = 10, 3.0
"""px and standard deviations: patches without depth (shine, no texture) cover about 0.2 % of the image."""
_GRAIN_GAIN = 1.5
"""Enlarging the grains averages them; this gives the noise its strength back."""


def measured_depth(depth: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.uint16]:
    """Depth images (H, W) in mm, 0 where nothing was measured, from exact depth (H, W) in m (0 = nothing there).

    Noise grows with the square of the distance. Along edges two pixels wide, many pixels are holes and many take a
    depth on the way to the other surface. Some patches anywhere are holes.
    """
    noise = _GRAIN_GAIN * _NOISE * _grains(depth.shape, _GRAIN, rng)
    noisy = depth + noise * depth**2
    window = np.ones((3, 3), np.uint8)
    near = cv2.erode(np.where(depth > 0, depth, np.float32(np.inf)), window)
    far = cv2.dilate(depth, window)
    rows, columns = np.nonzero((far - near > _EDGE) & np.isfinite(near))
    fate = rng.random(len(rows), np.float32)
    lost = fate < _LOST_AT_EDGES
    noisy[rows[lost], columns[lost]] = 0.0
    bleeds = (fate >= _LOST_AT_EDGES) & (fate < _LOST_AT_EDGES + _BLEED_AT_EDGES)
    rows, columns = rows[bleeds], columns[bleeds]
    share = rng.random(len(rows), np.float32)
    noisy[rows, columns] = near[rows, columns] + share * (far - near)[rows, columns]
    noisy[_grains(depth.shape, _HOLE_SIZE, rng) > _HOLE_LEVEL / _GRAIN_GAIN] = 0.0
    return np.clip(np.rint(noisy * 1000.0), 0, np.iinfo(np.uint16).max).astype("<u2")


def _grains(shape: tuple[int, ...], size: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """(H, W) smooth noise of about 1 / 1.5 standard deviation with grains of `size` px."""
    height, width = shape
    coarse = rng.standard_normal((-(-height // size), -(-width // size)), np.float32)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.float32)
