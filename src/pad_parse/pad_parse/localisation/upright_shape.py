"""The shape of what stands on the table: its vertical axis and its radius at every height, from the side one sees."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

_CELL = 0.005
_STEP = 0.004
_LEAST_POINTS = 150
_LEAST_SLICE = 6
_DEPTH_EDGE = 0.02
_FOOT = 0.05
"""m; what does not come down to here hangs in the air."""


@dataclass(frozen=True, eq=False)
class UprightShape:
    """A body of revolution, or what comes nearest to it.

    Attributes:
        axis: (2,) x and y of the vertical axis, m, task frame.
        heights: (k,) m above the table, rising from the lowest that is seen to the top.
        radii: (k,) m of the outer surface there.
        residual: m; root mean square distance of the seen surface from the body.
    """

    axis: NDArray[np.float64]
    heights: NDArray[np.float64]
    radii: NDArray[np.float64]
    residual: float

    @property
    def top(self) -> float:
        """Height in m."""
        return float(self.heights[-1])

    @property
    def width(self) -> float:
        """Largest radius in m."""
        return float(self.radii.max())

    def radius_at(self, height: NDArray[np.float64]) -> NDArray[np.float64]:
        """Radius in m at heights in m; beyond the ends that of the end."""
        return np.interp(height, self.heights, self.radii)


def _smooth(depth: NDArray[np.float32], above: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Those pixels (H, W) of `above` that have no step of depth next to them."""
    kernel = np.ones((3, 3), np.uint8)
    valid = np.where(depth > 0, depth, np.nan)
    low = cv2.erode(np.nan_to_num(valid, nan=1e3).astype(np.float32), kernel)
    high = cv2.dilate(depth, kernel)
    return np.asarray(above & (high - low < _DEPTH_EDGE))


def standing_surfaces(
    cloud: NDArray[np.float64], above: NDArray[np.bool_], depth: NDArray[np.float32]
) -> list[NDArray[np.bool_]]:
    """Masks (H, W) of the things that stand apart on the table: surfaces whose footprints touch are one.

    Args:
        cloud: (H, W, 3) task frame.
        above: (H, W) pixels above the table.
        depth: (H, W) metres.
    """
    smooth = _smooth(depth, above)
    points = cloud[smooth]
    if len(points) < _LEAST_POINTS:
        return []
    index = np.floor(points[:, :2] / _CELL).astype(int)
    index -= index.min(axis=0) - 2
    if np.any(index.max(axis=0) > 4000):
        return []
    count = np.zeros(index.max(axis=0) + 3, np.uint16)
    np.add.at(count, (index[:, 0], index[:, 1]), 1)
    occupied = cv2.dilate((count >= 2).astype(np.uint8), np.ones((3, 3), np.uint8))
    number, labels = cv2.connectedComponents(occupied, connectivity=8)
    of_point = labels[index[:, 0], index[:, 1]]
    masks = []
    for label in range(1, number):
        members = of_point == label
        if np.count_nonzero(members) < _LEAST_POINTS or np.percentile(points[members, 2], 2) > _FOOT:
            continue
        mask = np.zeros(smooth.shape, bool)
        mask[smooth] = members
        masks.append(mask)
    return masks


def upright_shape(
    cloud: NDArray[np.float64], mask: NDArray[np.bool_], camera_position: NDArray[np.float64]
) -> UprightShape | None:
    """Fit axis and radii to the surface in `mask`, seen from `camera_position` (3,); None if too little is seen."""
    points = cloud[mask]
    if len(points) < _LEAST_POINTS:
        return None
    middle = np.median(points[:, :2], axis=0)
    towards = camera_position[:2] - middle
    towards = towards / max(float(np.linalg.norm(towards)), 1e-9)
    across = np.array([-towards[1], towards[0]])
    low, high = np.percentile(points[:, :2] @ across, [1, 99])
    front = float(np.percentile(points[:, :2] @ towards, 97))
    axis = across * (low + high) / 2 + towards * (front - (high - low) / 2)
    top = float(np.percentile(points[:, 2], 99.5))
    slices = np.clip((points[:, 2] / _STEP).astype(int), 0, max(int(top / _STEP), 1) - 1)
    count = int(slices.max()) + 1
    radii = np.full(count, np.nan)
    residual = float("inf")
    for round_ in range(12):
        arm = points[:, :2] - axis
        reach = np.linalg.norm(arm, axis=1)
        # The far half shows its inside, if anything.
        seen = (arm @ towards) > 0.15 * reach
        for k in range(count):
            here = reach[seen & (slices == k)]
            radii[k] = np.median(here) if len(here) >= _LEAST_SLICE else np.nan
        error = reach - radii[slices]
        used = seen & np.isfinite(error)
        if np.count_nonzero(used) < _LEAST_POINTS / 2:
            return None
        weight = 1.0 / np.maximum(np.abs(error[used]) / 0.003, 1.0)
        normal = arm[used] / reach[used, None]
        residual = float(np.sqrt(np.average(error[used] ** 2, weights=weight)))
        if round_ == 11:
            break
        # The radii move with the axis: only what differs within a slice tells where the axis is.
        total = np.bincount(slices[used], weight, count)
        mean = np.stack([np.bincount(slices[used], weight * normal[:, i], count) for i in range(2)], axis=1)
        slope = normal - (mean / np.maximum(total, 1e-9)[:, None])[slices[used]]
        hessian = (slope * weight[:, None]).T @ slope + 1e-3 * len(slope) * np.eye(2)
        step = np.linalg.solve(hessian, (slope * weight[:, None]).T @ error[used])
        axis = axis + np.clip(step, -0.01, 0.01)
    known = np.isfinite(radii)
    heights = (np.arange(count) + 0.5) * _STEP
    heights, radii = heights[known], radii[known]
    if len(heights) < 4:
        return None
    smooth = np.convolve(np.pad(radii, 1, mode="edge"), [0.25, 0.5, 0.25], mode="valid")
    heights[-1] = max(top, heights[-2] + 1e-4)
    return UprightShape(axis, heights, smooth, residual)
