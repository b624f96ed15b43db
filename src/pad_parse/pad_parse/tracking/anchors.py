"""Find reference patches again: drift-free refinement of predicted point positions.

Frame-to-frame tracking adds up small errors. Here every point is compared with the patch it was defined by, warped
into the view that the current motion estimate predicts. All warped patches are laid out in one mosaic, the image
around the predicted places in another, and a single optical flow call between the two mosaics refines all points at
once.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

PATCH = 11
"""Side (px) of the patch that must agree."""
_CELL = 44
_WINDOW = (13, 13)
_CRITERIA = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 12, 0.03)


def refine(
    references: list[NDArray[np.uint8]],
    reference_index: NDArray[np.intp],
    reference_pixels: NDArray[np.float64],
    warps: NDArray[np.float64],
    image: NDArray[np.uint8],
    predicted: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Refine the pixels of M points in a grey image.

    Args:
        references: grey images that hold the patches.
        reference_index: (M,) which of `references` holds each point.
        reference_pixels: (M, 2) where in it.
        warps: (M, 2, 2) local linear map from reference pixels to current pixels.
        image: the current grey image (H, W).
        predicted: (M, 2) predicted pixels.

    Returns:
        pixels (M, 2) and the normalised cross correlation (M,) of patch and image there, in [-1, 1]; -1 where a point
        could not be compared (outside the image, degenerate warp, lost by the flow).
    """
    count = len(predicted)
    pixels = np.array(predicted, dtype=np.float64)
    score = np.full(count, -1.0)
    height, width = image.shape
    determinant = warps[:, 0, 0] * warps[:, 1, 1] - warps[:, 0, 1] * warps[:, 1, 0]
    margin = PATCH // 2 + 1
    with np.errstate(invalid="ignore"):
        usable = (
            np.all(np.isfinite(predicted), axis=1)
            & np.all(np.isfinite(warps), axis=(1, 2))
            & (determinant > 0.15)
            & (determinant < 8.0)
            & (predicted[:, 0] >= margin)
            & (predicted[:, 1] >= margin)
            & (predicted[:, 0] < width - margin)
            & (predicted[:, 1] < height - margin)
        )
    chosen = np.flatnonzero(usable)
    if chosen.size == 0:
        return pixels, score
    inverse = np.linalg.inv(warps[chosen])
    centre = (_CELL - 1) / 2
    offset = reference_pixels[chosen] - (inverse @ np.full(2, centre))
    columns = int(np.ceil(np.sqrt(chosen.size)))
    rows = int(np.ceil(chosen.size / columns))
    template = np.zeros((rows * _CELL, columns * _CELL), np.uint8)
    target = np.zeros_like(template)
    matrices = np.concatenate([inverse, offset[:, :, None]], axis=2)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    corner = np.empty((chosen.size, 2))
    for k, i in enumerate(chosen):
        y, x = _CELL * (k // columns), _CELL * (k % columns)
        corner[k] = x, y
        template[y : y + _CELL, x : x + _CELL] = cv2.warpAffine(
            references[reference_index[i]],
            matrices[k],
            (_CELL, _CELL),
            flags=flags,
            borderMode=cv2.BORDER_REPLICATE,
        )
        target[y : y + _CELL, x : x + _CELL] = cv2.getRectSubPix(
            image, (_CELL, _CELL), (float(predicted[i, 0]), float(predicted[i, 1]))
        )
    start = (corner + centre).astype(np.float32)[:, None]
    end, found, _ = cv2.calcOpticalFlowPyrLK(
        template, target, start, None, winSize=_WINDOW, maxLevel=1, criteria=_CRITERIA, minEigThreshold=1e-4
    )
    shift = (end - start)[:, 0].astype(np.float64)
    limit = (_CELL - PATCH) / 2 - 1
    good = (found[:, 0] == 1) & np.all(np.abs(shift) <= limit, axis=1)
    matched = np.flatnonzero(good)
    if matched.size:
        size = (PATCH, PATCH)
        a = np.stack([cv2.getRectSubPix(template, size, tuple(start[k, 0].tolist())) for k in matched])
        b = np.stack([cv2.getRectSubPix(target, size, tuple(end[k, 0].tolist())) for k in matched])
        score[chosen[matched]] = _correlations(a.reshape(len(a), -1), b.reshape(len(b), -1))
    pixels[chosen[good]] += shift[good]
    return pixels, score


def _correlations(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Normalised cross correlation of each row of (m, n)."""
    x, y = a.astype(np.float32), b.astype(np.float32)
    x -= x.mean(axis=1, keepdims=True)
    y -= y.mean(axis=1, keepdims=True)
    energy = np.sqrt(np.einsum("mn,mn->m", x, x) * np.einsum("mn,mn->m", y, y))
    # A patch without contrast (under 2 grey levels) says nothing about its place.
    product = np.einsum("mn,mn->m", x, y)
    return np.where(energy > 4.0 * x.shape[1], product / np.maximum(energy, 1e-9), -1.0).astype(np.float64)
