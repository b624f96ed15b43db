"""The points that carry an object's pose: where they lie on the object, and the patch each was defined by."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from pad_parse import geometry
from pad_parse.tracking.anchors import PatchCache

_FEATURE_DISTANCE = 6
_FEATURE_QUALITY = 0.01
_LEAST_FACING = 0.25
"""A surface seen flatter than about 75 degrees (cosine below this) is not compared."""


def find_features(
    grey: NDArray[np.uint8], mask: NDArray[np.bool_], count: int, taken: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Up to `count` corners (m, 2) px inside `mask` (H, W), away from the points `taken` (k, 2)."""
    if count <= 0 or not mask.any():
        return np.zeros((0, 2))
    v, u = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, left = v[0], u[0]
    window = (slice(top, v[-1] + 1), slice(left, u[-1] + 1))
    allowed = cv2.erode(mask[window].astype(np.uint8), np.ones((5, 5), np.uint8), borderValue=0)
    for x, y in taken:
        if np.isfinite(x) and np.isfinite(y):
            cv2.circle(allowed, (int(x) - int(left), int(y) - int(top)), _FEATURE_DISTANCE, 0, -1)
    corners = cv2.goodFeaturesToTrack(grey[window], count, _FEATURE_QUALITY, _FEATURE_DISTANCE, mask=allowed)
    if corners is None:
        return np.zeros((0, 2))
    return corners[:, 0].astype(np.float64) + [left, top]


def surface_normals(
    points: NDArray[np.float64], pixels: NDArray[np.float64], fallback: NDArray[np.float64], radius: int = 5
) -> NDArray[np.float64]:
    """Unit normals (M, 3) of the surface at pixels (M, 2), from the point image (H, W, 3), turned towards
    `fallback` (M, 3).

    Where the surface cannot be fitted the (unit) `fallback` is returned.
    """
    height, width = points.shape[:2]
    normals = fallback.copy()
    for i, (u, v) in enumerate(np.round(np.nan_to_num(pixels, nan=-1e3)).astype(int)):
        if not (0 <= u < width and 0 <= v < height):
            continue
        patch = points[max(v - radius, 0) : v + radius + 1, max(u - radius, 0) : u + radius + 1].reshape(-1, 3)
        patch = patch[np.isfinite(patch[:, 0])]
        if len(patch) < 12:
            continue
        middle = np.median(patch, axis=0)
        patch = patch[np.linalg.norm(patch - middle, axis=1) < 0.015]
        if len(patch) < 12:
            continue
        centred = patch - patch.mean(axis=0)
        values, vectors = np.linalg.eigh(centred.T @ centred)
        if values[0] > 0.15 * values[1]:
            continue
        normal = vectors[:, 0]
        facing = float(normal @ fallback[i])
        if abs(facing) > 0.3:
            normals[i] = normal * np.sign(facing)
    return normals


@dataclass(eq=False)
class View:
    """One image in which support points were defined.

    Attributes:
        grey: (H, W) uint8.
        pose: (4, 4) object frame -> optical frame at that moment.
    """

    grey: NDArray[np.uint8]
    pose: NDArray[np.float64]


@dataclass(eq=False)
class Support:
    """M points on one object; the first `keypoint_count` of them are its keypoints.

    Attributes:
        points: (M, 3) object frame, metres.
        normals: (M, 3) object frame, unit.
        view: (M,) index into `views`.
        anchors: (M, 2) pixels in that view.
        misses: (M,) how often in a row a point should have been seen and was not.
    """

    keypoint_count: int
    views: list[View] = field(default_factory=list)
    points: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 3)))
    normals: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 3)))
    view: NDArray[np.intp] = field(default_factory=lambda: np.zeros(0, np.intp))
    anchors: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 2)))
    misses: NDArray[np.intp] = field(default_factory=lambda: np.zeros(0, np.intp))
    _cache: PatchCache = field(default_factory=PatchCache)
    # View pixels -> metres along the two tangents (M, 2, 2), for the intrinsics of the views.
    _from_view: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 2, 2)))
    _tangents: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 3, 2)))
    _view_matrix: NDArray[np.float64] = field(default_factory=lambda: np.zeros((3, 3)))

    def __len__(self) -> int:
        return len(self.points)

    def add(
        self,
        view: View,
        points: NDArray[np.float64],
        normals: NDArray[np.float64],
        pixels: NDArray[np.float64],
    ) -> None:
        """Define points (m, 3) with normals (m, 3) at pixels (m, 2) of a new view."""
        self.views.append(view)
        self.points = np.concatenate([self.points, points])
        self.normals = np.concatenate([self.normals, normals])
        self.view = np.concatenate([self.view, np.full(len(points), len(self.views) - 1, np.intp)])
        self.anchors = np.concatenate([self.anchors, pixels])
        self.misses = np.concatenate([self.misses, np.zeros(len(points), np.intp)])
        self._cache.extend(len(points))

    def drop(self, worst: NDArray[np.bool_]) -> None:
        """Forget points (M,) bool, never a keypoint, and the views that no point uses any more."""
        keep = ~worst
        keep[: self.keypoint_count] = True
        self.points, self.normals, self.anchors = self.points[keep], self.normals[keep], self.anchors[keep]
        self.view, self.misses = self.view[keep], self.misses[keep]
        self._cache.keep(keep)
        self._from_view = np.zeros((0, 2, 2))
        used = np.unique(np.concatenate([[0], self.view])).astype(np.intp)
        self.views = [self.views[i] for i in used]
        self.view = np.searchsorted(used, self.view).astype(np.intp)

    def patches(self, chosen: NDArray[np.intp], warps: NDArray[np.float64]) -> NDArray[np.uint8]:
        """The patches (m, CELL, CELL) of the `chosen` points (m,) under their `warps` (m, 2, 2)."""
        return self._cache.patches(
            chosen, [view.grey for view in self.views], self.view[chosen], self.anchors[chosen], warps
        )

    def facing(self, pose: NDArray[np.float64]) -> NDArray[np.bool_]:
        """(M,) bool: the surface at the point is turned to the camera when the object is at `pose` (object
        -> optical).
        """
        p = geometry.transform_points(pose, self.points)
        n = self.normals @ pose[:3, :3].T
        return np.asarray(-np.sum(n * p, axis=1) > _LEAST_FACING * np.linalg.norm(p, axis=1))

    def warps(
        self,
        pose: NDArray[np.float64],
        matrix: NDArray[np.float64],
        chosen: NDArray[np.intp],
        view_matrix: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """Linear maps (m, 2, 2), view pixels -> current pixels, around the `chosen` points at `pose`.

        `matrix` (3, 3) are the current intrinsics, `view_matrix` those of the views where they differ.
        """
        poses = np.stack([view.pose for view in self.views])
        before = matrix if view_matrix is None else view_matrix
        if len(self._from_view) != len(self.points) or not np.array_equal(before, self._view_matrix):
            self._tangents = _tangents(self.normals)
            jacobian = _tangent_jacobian(self.points, self._tangents, poses[self.view], before)
            safe = np.abs(np.linalg.det(jacobian)) > 1e-3 * np.maximum(np.abs(jacobian).max(axis=(1, 2)) ** 2, 1e-12)
            self._from_view, self._view_matrix = np.full((len(self.points), 2, 2), np.nan), before.copy()
            self._from_view[safe] = np.linalg.inv(jacobian[safe])
        now = _tangent_jacobian(self.points[chosen], self._tangents[chosen], pose[None], matrix)
        return np.asarray(now @ self._from_view[chosen])


def _tangents(normals: NDArray[np.float64]) -> NDArray[np.float64]:
    """(M, 3, 2): two unit vectors along the surface, for normals (M, 3)."""
    helper = np.where(np.abs(normals[:, :1]) < 0.7, [[1.0, 0, 0]], [[0, 1.0, 0]])
    first = np.cross(normals, helper)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    return np.stack([first, np.cross(normals, first)], axis=2)


def _tangent_jacobian(
    points: NDArray[np.float64],
    tangents: NDArray[np.float64],
    poses: NDArray[np.float64],
    matrix: NDArray[np.float64],
) -> NDArray[np.float64]:
    """(m, 2, 2): pixels per metre along the two tangents (m, 3, 2) at points (m, 3) seen at poses (m or 1, 4, 4)."""
    p = (poses[:, :3, :3] @ points[:, :, None])[:, :, 0] + poses[:, :3, 3]
    t = poses[:, :3, :3] @ tangents
    z = np.maximum(p[:, 2], 1e-3)[:, None]
    u = matrix[0, 0] * (t[:, 0] / z - (p[:, 0:1] / z**2) * t[:, 2])
    v = matrix[1, 1] * (t[:, 1] / z - (p[:, 1:2] / z**2) * t[:, 2])
    return np.stack([u, v], axis=1)
