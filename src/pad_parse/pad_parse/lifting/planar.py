"""An object's motion in the image as a similarity (shift, turn, scale), from many corners on it.

For recordings without depth. Corners are tracked from frame to frame; each remembers where it was in the first frame,
so that one robust fit gives the motion since then. Corners that disagree (reflections, a hand in front) are dropped and
new ones are taken up inside the object's outline.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from pad_parse.errors import LiftingError

_WINDOW = {"winSize": (21, 21), "maxLevel": 3}


@dataclass(frozen=True)
class PlanarMotion:
    """similarity (2, 3): first-frame pixels -> this frame's pixels; inliers: corners that agree; found: trustworthy."""

    similarity: np.ndarray
    inliers: int
    found: bool

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels (N, 2) of the first frame in this frame."""
        return pixels @ self.similarity[:, :2].T + self.similarity[:, 2]

    @property
    def scale(self) -> float:
        """Size relative to the first frame."""
        return float(np.linalg.norm(self.similarity[:, 0]))

    @property
    def angle(self) -> float:
        """Turn since the first frame, rad, from image x towards image y."""
        return float(np.arctan2(self.similarity[1, 0], self.similarity[0, 0]))


class PlanarTracker:
    """Tracks one object. corners: how many to keep alive; tolerance: px from the fit; least: inliers to be found."""

    def __init__(self, *, corners: int = 60, tolerance: float = 2.5, least: int = 5) -> None:
        self._corners = corners
        self._tolerance = tolerance
        self._least = least

    def start(self, gray: np.ndarray, points: np.ndarray) -> None:
        """gray (H, W) uint8; points (M, 2) px: corners on the object, M >= 3; they also give its outline."""
        first = np.asarray(points, dtype=np.float32)
        if first.ndim != 2 or first.shape[1] != 2 or len(first) < 3:
            raise LiftingError(f"an object needs at least 3 corners (M, 2) to be tracked, got {first.shape}")
        self._gray = gray
        self._outline = cv2.convexHull(first)[:, 0]
        self._origin = first.copy()
        self._now = first.copy()
        self._misses = np.zeros(len(first), dtype=np.int64)
        self._motion = PlanarMotion(np.eye(2, 3), len(first), True)

    def step(self, gray: np.ndarray, avoid: Sequence[np.ndarray] = ()) -> PlanarMotion:
        """The motion since the first frame; avoid: polygons (K, 2) px in which no new corner is taken up (hands)."""
        if len(self._now):
            self._advance(gray)
        self._gray = gray
        self._fit()
        if self._motion.found and len(self._now) < self._corners:
            self._take_up(gray, avoid)
        return self._motion

    def _advance(self, gray: np.ndarray) -> None:
        there, ok_there, _ = cv2.calcOpticalFlowPyrLK(self._gray, gray, self._now, None, **_WINDOW)
        back, ok_back, _ = cv2.calcOpticalFlowPyrLK(gray, self._gray, there, None, **_WINDOW)
        good = (ok_there[:, 0] > 0) & (ok_back[:, 0] > 0) & (np.linalg.norm(back - self._now, axis=1) < 1.0)
        height, width = gray.shape
        good &= (there > 1).all(axis=1) & (there < [width - 2, height - 2]).all(axis=1)
        self._origin, self._now, self._misses = self._origin[good], there[good], self._misses[good]

    def _fit(self) -> None:
        last = self._motion
        if len(self._now) < self._least:
            self._motion = PlanarMotion(last.similarity, len(self._now), False)
            return
        matrix, inside = cv2.estimateAffinePartial2D(
            self._origin, self._now, method=cv2.RANSAC, ransacReprojThreshold=self._tolerance, maxIters=500
        )
        inliers = int(inside.sum()) if inside is not None else 0
        if matrix is None or inliers < max(self._least, 0.3 * len(self._now)) or not self._plausible(matrix):
            self._motion = PlanarMotion(last.similarity, inliers, False)
            return
        self._misses = np.where(inside[:, 0] > 0, 0, self._misses + 1)
        keep = self._misses < 3
        self._origin, self._now, self._misses = self._origin[keep], self._now[keep], self._misses[keep]
        self._motion = PlanarMotion(matrix, inliers, True)

    def _plausible(self, matrix: np.ndarray) -> bool:
        """Between two frames an object neither jumps, nor turns by 25 degrees, nor grows by a fifth."""
        last = self._motion.similarity
        middle = self._outline.mean(axis=0)
        jump = np.linalg.norm((matrix - last) @ np.append(middle, 1.0))
        scale = np.linalg.norm(matrix[:, 0]) / max(float(np.linalg.norm(last[:, 0])), 1e-9)
        cosine = float(matrix[:, 0] @ last[:, 0]) / (np.linalg.norm(matrix[:, 0]) * np.linalg.norm(last[:, 0]) + 1e-12)
        return bool(jump < 0.15 * max(self._gray.shape) and 0.8 < scale < 1.25 and cosine > np.cos(np.deg2rad(25)))

    def _take_up(self, gray: np.ndarray, avoid: Sequence[np.ndarray]) -> None:
        mask = np.zeros(gray.shape, np.uint8)
        cv2.fillConvexPoly(mask, np.round(self._motion.apply(self._outline)).astype(np.int32), 255)
        for polygon in avoid:
            cv2.fillConvexPoly(mask, np.round(polygon).astype(np.int32), 0)
        for u, v in self._now:
            cv2.circle(mask, (round(float(u)), round(float(v))), 6, 0, -1)
        found = cv2.goodFeaturesToTrack(gray, self._corners - len(self._now), 0.02, 6, mask=mask)
        if found is None:
            return
        new = found[:, 0]
        inverse = cv2.invertAffineTransform(self._motion.similarity)
        origin = (new @ inverse[:, :2].T + inverse[:, 2]).astype(np.float32)
        self._origin = np.concatenate([self._origin, origin])
        self._now = np.concatenate([self._now, new])
        self._misses = np.concatenate([self._misses, np.zeros(len(new), dtype=np.int64)])
