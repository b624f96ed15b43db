"""How the surroundings of each point have moved since the first image: an affine map per point, from its neighbours."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_NEAR = 60.0
"""Neighbours count less from about this distance on (px)."""
_WIDTHS = (16.0, 8.0, 4.0)
"""Neighbours further than this from the map (px, near the point) have no say; round by round."""
_FAR_WIDTH = 120.0
"""At this distance (px) an affine map may be off by twice as much."""
_STIFFNESS = 600.0
"""Weight (px^2) of the last linear map against that of the neighbours."""
_ANCHOR = 0.1
"""Weight of the last place, relative to the plane, against that of one near neighbour."""
_FORGET = 0.98
_PLANE_TOLERANCE = 4.0
_LEAST_IN_PLANE = 8
_MEMORY = 0.15
_LEAST_TRUST = 0.01


class LocalMotion:
    """Affine maps around N points, each fitted robustly to the other points, near ones first.

    The maps are relative to the one plane that most points follow (a homography, RANSAC), so that a point whose
    neighbours are all hidden goes with that plane. Which neighbours move with a point is remembered from image to
    image, so that points on another object or on the background lose their say, also while the point itself is hidden.
    A point never vouches for itself.
    """

    def __init__(self, origin: NDArray[np.float64]) -> None:
        """Begin with points (N, 2) px of the first image."""
        self._origin = origin
        self._offset = origin[None, :, :] - origin[:, None, :]
        distance = np.linalg.norm(self._offset, axis=2)
        self._kernel = (1.0 + (distance / _NEAR) ** 2) ** -2
        np.fill_diagonal(self._kernel, 0.0)
        self._slack = 1.0 + distance / _FAR_WIDTH
        self._trust = np.ones_like(distance)
        self._plane = np.eye(3)
        # Rows of each point: its linear map, transposed, and its place; both relative to the plane.
        self._bend = np.zeros((len(origin), 3, 2))
        self._fitted = self._bend
        self.linear = np.tile(np.eye(2), (len(origin), 1, 1))

    def fit(
        self, pixels: NDArray[np.float64], usable: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Fit to the pixels (N, 2) of the `usable` (N,) points.

        Returns:
            linear maps (N, 2, 2), the place (N, 2) px where each point should be, and how much speaks for it (N,): the
            weight of the agreeing neighbours, 1 for one near the point.
        """
        index = np.flatnonzero(usable)
        self._fit_plane(pixels, index)
        base, slope = _through(self._plane, self._origin)
        model, total = self._bend, np.zeros(len(base))
        if index.size:
            offset = self._offset[:, index]
            weight = (self._kernel * self._trust)[:, index]
            slack = self._slack[:, index]
            design = np.concatenate([offset, np.ones((*offset.shape[:2], 1))], axis=2)
            target = np.broadcast_to(pixels[index] - base[index], (len(base), index.size, 2))
            prior = np.diag([_STIFFNESS, _STIFFNESS, _ANCHOR])
            pull = prior @ model
            for width in _WIDTHS:
                error = np.linalg.norm(design @ model - target, axis=2)
                ratio = np.minimum(error / (width * slack), 1.0)
                w = weight * (1 - ratio**2) ** 2
                weighted = (design * w[..., None]).transpose(0, 2, 1)
                model = np.linalg.solve(weighted @ design + prior, weighted @ target + pull)
            total = w.sum(axis=1)
        self._fitted = model
        return slope + model[:, :2].transpose(0, 2, 1), base + model[:, 2], total

    def _fit_plane(self, pixels: NDArray[np.float64], index: NDArray[np.intp]) -> None:
        if index.size < _LEAST_IN_PLANE:
            return
        plane, inside = cv2.findHomography(
            self._origin[index], pixels[index], cv2.RANSAC, _PLANE_TOLERANCE, maxIters=200, confidence=0.99
        )
        if plane is None or np.count_nonzero(inside) < max(_LEAST_IN_PLANE, 0.5 * index.size):
            return
        depth = self._origin @ plane[2, :2] + plane[2, 2]
        _, slope = _through(plane, self._origin)
        if depth.min() > 0.3 and depth.max() < 3.0 and np.linalg.det(slope).min() > 0.05:
            self._plane = plane

    def place(self, affine: NDArray[np.float64]) -> None:
        """Begin anew where an affine map (2, 3) of the first image puts the points."""
        self._plane = np.concatenate([affine, [[0.0, 0.0, 1.0]]])
        self._bend = np.zeros_like(self._bend)
        self.linear = np.tile(affine[:, :2], (len(self._origin), 1, 1))

    def accept(
        self,
        linear: NDArray[np.float64],
        pixels: NDArray[np.float64],
        seen: NDArray[np.bool_],
    ) -> None:
        """Start the next fit from the last one and its `linear` maps (N, 2, 2).

        The points `seen` (N,) at `pixels` (N, 2) show who agreed; that is remembered.
        """
        self.linear = linear
        self._bend = np.where(seen[:, None, None], 1.0, _FORGET) * self._fitted
        index = np.flatnonzero(seen)
        if index.size < 2:
            return
        pair = np.ix_(index, index)
        # Two points belong together if the map around one, laid through it, hits the other.
        hit = pixels[index][:, None] + np.einsum("nij,nmj->nmi", linear[index], self._offset[pair])
        error = np.linalg.norm(hit - pixels[index][None], axis=2)
        agree = error < _WIDTHS[-1] * self._slack[pair]
        trust = self._trust[pair]
        self._trust[pair] = np.maximum(trust + _MEMORY * (agree - trust), _LEAST_TRUST)


def _through(
    plane: NDArray[np.float64], points: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Places (N, 2) and linear maps (N, 2, 2) of a homography (3, 3) at points (N, 2)."""
    depth = (points @ plane[2, :2] + plane[2, 2])[:, None]
    places = (points @ plane[:2, :2].T + plane[:2, 2]) / depth
    return places, (plane[:2, :2] - places[:, :, None] * plane[2, :2]) / depth[..., None]
