"""One object followed through colour images without depth: its points move together by an affine map."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from pad_parse.tracking import anchors
from pad_parse.tracking.rigid_groups import fit_affine
from pad_parse.tracking.support import find_features

_TARGET_SUPPORT = 40
_MOST_SUPPORT = 80
_LEAST_SEEN = 4
_AGREEMENT = 0.7
_REACH = 9.0
_WEAK_FRAMES = 15
_REPLENISH_EVERY = 5
_MARGIN = 0.15
"""The search region is the hull of the keypoints, widened by this part of its size."""


class PlanarTrack:
    """Follows one object in the image plane.

    The state is an affine map (2, 3) from pixels of the first image to the current one. Points added later are kept
    as pixels that they would have had in the first image.
    """

    def __init__(self, grey: NDArray[np.uint8], keypoints: NDArray[np.float64]) -> None:
        """Begin with keypoints (n, 2) px in a grey image (H, W)."""
        self.keypoint_count = len(keypoints)
        self.affine = np.eye(2, 3)
        self.lost = False
        self.confidence = 1.0
        size = np.ptp(keypoints, axis=0).max() if len(keypoints) > 1 else 0.0
        self._margin = int(max(12.0, _MARGIN * size))
        self._outline = cv2.convexHull(keypoints.astype(np.float32))[:, 0].astype(np.float64)
        features = find_features(grey, self._region(grey.shape), _TARGET_SUPPORT, keypoints)
        self._views = [(grey, np.eye(2, 3))]
        self._origin = np.concatenate([keypoints, features])
        self._anchor = self._origin.copy()
        self._view = np.zeros(len(self._origin), np.intp)
        self._misses = np.zeros(len(self._origin), np.intp)
        self.pixels = self._origin.copy()
        self.seen = np.ones(len(self._origin), bool)
        self._velocity = np.zeros(2)
        self._weak = 0
        self._frames = 0
        self._since_replenished = 0

    def flow_points(self) -> tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.float64]]:
        """Indices to follow by flow (m,), their last pixels (m, 2), and a guess of the new ones (m, 2)."""
        chosen = np.flatnonzero(self.seen)
        return chosen, self.pixels[chosen], self.pixels[chosen] + self._velocity

    def update(
        self,
        grey: NDArray[np.uint8],
        chosen: NDArray[np.intp],
        flowed: NDArray[np.float64],
        found: NDArray[np.bool_],
    ) -> None:
        """Take one image: `flowed` (m, 2) px and `found` (m,) say where the `chosen` points went."""
        self._frames += 1
        before = self.affine
        middle = self._outline.mean(axis=0)
        chosen, flowed = chosen[found], flowed[found]
        coarse = None if self.lost else fit_affine(self._origin[chosen], flowed, tolerance=6.0)
        strong = coarse is not None and np.count_nonzero(coarse[1]) >= _LEAST_SEEN and float(np.mean(coarse[1])) > 0.5
        start = coarse[0] if coarse is not None and strong else before
        refined = self._refined(grey, start)
        if refined is not None:
            self.affine = refined
            self.lost, self._weak = False, 0
            self.confidence = float(np.clip(np.count_nonzero(self.seen) / (0.4 * len(self._origin)), 0.0, 1.0))
        elif coarse is not None and strong and self._weak < _WEAK_FRAMES:
            self._weak += 1
            self.affine = coarse[0]
            self.seen = np.zeros(len(self._origin), bool)
            self.seen[chosen[coarse[1]]] = True
            self.pixels = self._mapped(self.affine)
            self.pixels[chosen[coarse[1]]] = flowed[coarse[1]]
            self.confidence = 0.3
        else:
            self.lost, self.confidence, self._weak = True, 0.0, 0
            self.seen = np.zeros(len(self._origin), bool)
            self.pixels = self._mapped(self.affine)
        step = (self.affine - before) @ np.append(middle, 1.0)
        self._velocity = np.zeros(2) if self.lost else 0.6 * step + 0.4 * self._velocity
        self._replenish(grey)

    def keypoints(self) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Pixels (n, 2) of the keypoints, and whether each is seen there (n,)."""
        visible = self.seen[: self.keypoint_count].copy()
        mapped = self._mapped(self.affine)[: self.keypoint_count]
        return np.where(visible[:, None], self.pixels[: self.keypoint_count], mapped), visible

    def _refined(self, grey: NDArray[np.uint8], start: NDArray[np.float64]) -> NDArray[np.float64] | None:
        predicted = self._mapped(start)
        inverse = np.stack([np.linalg.inv(view[:, :2]) for _, view in self._views])
        warps = start[:, :2] @ inverse[self._view]
        refined, score = anchors.refine([g for g, _ in self._views], self._view, self._anchor, warps, grey, predicted)
        agrees = (score > _AGREEMENT) & (np.linalg.norm(refined - predicted, axis=1) < _REACH)
        kept = np.flatnonzero(agrees)
        fit = fit_affine(self._origin[kept], refined[kept], tolerance=5.0)
        inside = np.all((predicted > 0) & (predicted < [grey.shape[1], grey.shape[0]]), axis=1)
        self._misses[inside] += 1
        if fit is None or np.count_nonzero(fit[1]) < max(_LEAST_SEEN, 0.4 * kept.size):
            return None
        self.seen = np.zeros(len(self._origin), bool)
        self.seen[kept[fit[1]]] = True
        self.pixels = self._mapped(fit[0])
        self.pixels[kept[fit[1]]] = refined[kept[fit[1]]]
        self._misses[self.seen] = 0
        return fit[0]

    def _replenish(self, grey: NDArray[np.uint8]) -> None:
        self._since_replenished += 1
        seen = np.count_nonzero(self.seen)
        if self.lost or self._weak or seen < _LEAST_SEEN or seen > 0.5 * _TARGET_SUPPORT:
            return
        if self._since_replenished < _REPLENISH_EVERY:
            return
        self._since_replenished = 0
        self._drop((self._misses > 20) & (self._view > 0))
        if len(self._origin) >= _MOST_SUPPORT:
            return
        features = find_features(grey, self._region(grey.shape), int(_TARGET_SUPPORT - seen), self.pixels[self.seen])
        if len(features) == 0:
            return
        inverse = np.linalg.inv(self.affine[:, :2])
        self._views.append((grey, self.affine.copy()))
        self._origin = np.concatenate([self._origin, (features - self.affine[:, 2]) @ inverse.T])
        self._anchor = np.concatenate([self._anchor, features])
        self._view = np.concatenate([self._view, np.full(len(features), len(self._views) - 1, np.intp)])
        self._misses = np.concatenate([self._misses, np.zeros(len(features), np.intp)])
        self.pixels = np.concatenate([self.pixels, features])
        self.seen = np.concatenate([self.seen, np.ones(len(features), bool)])

    def _drop(self, useless: NDArray[np.bool_]) -> None:
        keep = ~useless
        keep[: self.keypoint_count] = True
        self._origin, self._anchor, self._misses = self._origin[keep], self._anchor[keep], self._misses[keep]
        self._view, self.pixels, self.seen = self._view[keep], self.pixels[keep], self.seen[keep]
        used = np.unique(np.concatenate([[0], self._view])).astype(np.intp)
        self._views = [self._views[i] for i in used]
        self._view = np.searchsorted(used, self._view).astype(np.intp)

    def _region(self, shape: tuple[int, ...]) -> NDArray[np.bool_]:
        outline = self._outline @ self.affine[:, :2].T + self.affine[:, 2]
        mask = np.zeros(shape, np.uint8)
        cv2.fillConvexPoly(mask, cv2.convexHull(np.round(outline).astype(np.int32)), 1)
        size = 2 * self._margin + 1
        return np.asarray(cv2.dilate(mask, np.ones((size, size), np.uint8)), dtype=bool)

    def _mapped(self, affine: NDArray[np.float64]) -> NDArray[np.float64]:
        return self._origin @ affine[:, :2].T + affine[:, 2]
