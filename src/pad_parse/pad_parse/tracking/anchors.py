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
CELL = 43
"""Side (px) of a warped patch with its surroundings; odd, so that the point is the middle pixel."""
_HALF, _CENTRE = PATCH // 2, CELL // 2
_LIGHT = slice(_CENTRE - 10, _CENTRE + 11, 2)
"""The pixels, each way, by which brightness is compared."""
_WINDOW = (13, 13)
_CRITERIA = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 12, 0.03)
_SAME_VIEW = 0.03
"""Linear maps that differ by less than this move no pixel of the flow window by more than 0.2 px."""
_LEAST_DETERMINANT, _MOST_DETERMINANT = 0.15, 8.0


def comparable(warps: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(M,) bool: which linear maps (M, 2, 2) from reference to current pixels leave a patch that can be compared."""
    determinant = warps[:, 0, 0] * warps[:, 1, 1] - warps[:, 0, 1] * warps[:, 1, 0]
    with np.errstate(invalid="ignore"):
        return np.asarray((determinant > _LEAST_DETERMINANT) & (determinant < _MOST_DETERMINANT))


def warped_patches(
    references: list[NDArray[np.uint8]],
    reference_index: NDArray[np.intp],
    reference_pixels: NDArray[np.float64],
    warps: NDArray[np.float64],
) -> NDArray[np.uint8]:
    """Patches (M, CELL, CELL) as they should look now; see `refine` for the arguments. `warps` must be `comparable`."""
    matrices = np.empty((len(warps), 2, 3))
    matrices[:, :, :2] = np.linalg.inv(warps)
    matrices[:, :, 2] = reference_pixels - matrices[:, :, :2].sum(axis=2) * _CENTRE
    patches = np.empty((len(warps), CELL, CELL), np.uint8)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    for k, image in enumerate(reference_index):
        cv2.warpAffine(
            references[image], matrices[k], (CELL, CELL), patches[k], flags=flags, borderMode=cv2.BORDER_REPLICATE
        )
    return patches


class PatchCache:
    """The warped patches of M points, warped anew only when the view of a point has changed."""

    def __init__(self, count: int = 0) -> None:
        self._patches = np.zeros((count, CELL, CELL), np.uint8)
        self._warps = np.full((count, 2, 2), np.inf)

    def extend(self, count: int) -> None:
        """Append that many points."""
        new = PatchCache(count)
        self._patches = np.concatenate([self._patches, new._patches])
        self._warps = np.concatenate([self._warps, new._warps])

    def keep(self, which: NDArray[np.bool_]) -> None:
        """Forget all points but `which` (M,)."""
        self._patches, self._warps = self._patches[which], self._warps[which]

    def patches(
        self,
        chosen: NDArray[np.intp],
        references: list[NDArray[np.uint8]],
        reference_index: NDArray[np.intp],
        reference_pixels: NDArray[np.float64],
        warps: NDArray[np.float64],
    ) -> NDArray[np.uint8]:
        """As `warped_patches`, for the `chosen` (m,) points of the cache, that the other arguments (m, ...) are of."""
        stale = np.flatnonzero(np.abs(warps - self._warps[chosen]).max(axis=(1, 2)) > _SAME_VIEW)
        if stale.size:
            index = chosen[stale]
            self._patches[index] = warped_patches(
                references, reference_index[stale], reference_pixels[stale], warps[stale]
            )
            self._warps[index] = warps[stale]
        return np.asarray(self._patches[chosen])


def compare(
    patches: NDArray[np.uint8], image: NDArray[np.uint8], predicted: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Find patches (M, CELL, CELL) near the `predicted` pixels (M, 2) of a grey image (H, W).

    Patches may be brighter or darker than the image, and have more or less contrast.

    Returns:
        see `refine`.
    """
    pixels = np.array(predicted, dtype=np.float64)
    score = np.full(len(pixels), -1.0)
    height, width = image.shape
    if height < CELL or width < CELL:
        return pixels, score
    with np.errstate(invalid="ignore"):
        inside = (
            (pixels[:, 0] > _HALF)
            & (pixels[:, 1] > _HALF)
            & (pixels[:, 0] < width - 1 - _HALF)
            & (pixels[:, 1] < height - 1 - _HALF)
        )
    chosen = np.flatnonzero(inside)
    count = chosen.size
    if count == 0:
        return pixels, score
    guess = pixels[chosen]
    base = np.clip(np.round(guess).astype(np.intp) - _CENTRE, 0, [width - CELL, height - CELL])
    cells = np.lib.stride_tricks.sliding_window_view(image, (CELL, CELL))[base[:, 1], base[:, 0]]
    template = patches if count == len(patches) else patches[chosen]
    columns = int(np.ceil(np.sqrt(count)))
    corner = np.stack([np.arange(count) % columns, np.arange(count) // columns], axis=1) * CELL
    start = np.ascontiguousarray(corner + _CENTRE, dtype=np.float32).reshape(-1, 1, 2)
    end = np.ascontiguousarray(corner + (guess - base), dtype=np.float32).reshape(-1, 1, 2)
    end, found, _ = cv2.calcOpticalFlowPyrLK(
        _mosaic(_lit_like(template, cells), columns),
        _mosaic(cells, columns),
        start,
        end,
        winSize=_WINDOW,
        maxLevel=1,
        criteria=_CRITERIA,
        flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
        minEigThreshold=1e-4,
    )
    in_cell = end[:, 0].astype(np.float64) - corner
    # Beyond this the patch would leave its cell.
    good = (found[:, 0] == 1) & np.all((in_cell >= _HALF) & (in_cell < CELL - 1 - _HALF), axis=1)
    kept = np.flatnonzero(good)
    score[chosen[kept]] = _correlations(
        template[kept, _CENTRE - _HALF : _CENTRE + _HALF + 1, _CENTRE - _HALF : _CENTRE + _HALF + 1],
        _patches_at(cells[kept], in_cell[kept]),
    )
    pixels[chosen[kept]] = in_cell[kept] + base[kept]
    return pixels, score


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
    pixels = np.array(predicted, dtype=np.float64)
    score = np.full(len(pixels), -1.0)
    chosen = np.flatnonzero(comparable(warps))
    patches = warped_patches(references, reference_index[chosen], reference_pixels[chosen], warps[chosen])
    pixels[chosen], score[chosen] = compare(patches, image, pixels[chosen])
    return pixels, score


def _mosaic(cells: NDArray[np.uint8], columns: int) -> NDArray[np.uint8]:
    rows = -(-len(cells) // columns)
    full = np.zeros((rows * columns, CELL, CELL), np.uint8)
    full[: len(cells)] = cells
    tiled = full.reshape(rows, columns, CELL, CELL).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(tiled).reshape(rows * CELL, columns * CELL)


def _lit_like(patches: NDArray[np.uint8], cells: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The patches with the brightness and contrast of the cells, where these differ: flow assumes that they agree."""
    a = patches[:, _LIGHT, _LIGHT].reshape(len(patches), -1).astype(np.float32)
    b = cells[:, _LIGHT, _LIGHT].reshape(len(cells), -1).astype(np.float32)
    mean_a, mean_b = a.mean(axis=1), b.mean(axis=1)
    gain = np.clip(b.std(axis=1) / np.maximum(a.std(axis=1), 1.0), 0.6, 1.6)
    change = np.flatnonzero((np.abs(gain - 1) > 0.08) | (np.abs(mean_a - mean_b) > 5))
    if change.size == 0:
        return patches
    scale = gain[change, None, None].astype(np.float32)
    offset = (mean_b - gain * mean_a)[change, None, None].astype(np.float32)
    lit = patches.copy()
    lit[change] = np.clip(scale * patches[change] + (offset + np.float32(0.5)), 0, 255).astype(np.uint8)
    return lit


def _patches_at(cells: NDArray[np.uint8], at: NDArray[np.float64]) -> NDArray[np.float32]:
    """(m, PATCH, PATCH) around places `at` (m, 2) in cells (m, CELL, CELL), bilinear."""
    low = np.floor(at).astype(np.intp)
    fx, fy = (at - low).astype(np.float32).T[..., None, None]
    row = np.arange(-_HALF, _HALF + 2)
    window = cells[
        np.arange(len(cells))[:, None, None], (low[:, 1:] + row)[:, :, None], (low[:, :1] + row)[:, None, :]
    ].astype(np.float32)
    across = window[:, :, :-1] + fx * (window[:, :, 1:] - window[:, :, :-1])
    return np.asarray(across[:, :-1] + fy * (across[:, 1:] - across[:, :-1]))


def _correlations(a: NDArray[np.uint8], b: NDArray[np.float32]) -> NDArray[np.float64]:
    """Normalised cross correlation of patches (m, PATCH, PATCH)."""
    x = a.reshape(len(a), PATCH**2).astype(np.float32)
    y = b.reshape(len(b), PATCH**2)
    x -= x.mean(axis=1, keepdims=True)
    y -= y.mean(axis=1, keepdims=True)
    energy = np.sqrt(np.einsum("mn,mn->m", x, x) * np.einsum("mn,mn->m", y, y))
    # A patch without contrast (under 2 grey levels) says nothing about its place.
    product = np.einsum("mn,mn->m", x, y)
    return np.where(energy > 4.0 * PATCH**2, product / np.maximum(energy, 1e-9), -1.0).astype(np.float64)
