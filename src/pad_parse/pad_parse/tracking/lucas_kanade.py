"""The default point tracker: optical flow checked forwards and backwards, re-anchored to the first image's patches."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from pad_parse.errors import TrackingError
from pad_parse.tracking import anchors, flow
from pad_parse.tracking.point_tracker import TrackResult

_BACKWARD_TOLERANCE = 1.5
_AGREEMENT = 0.75
_NEIGHBOURS = 6


class LucasKanadeTracker:
    """Follows single points by pyramidal Lucas-Kanade flow; a `PointTracker`.

    A point is visible if the flow forwards and back returns to it, and the patch that it started with, warped as its
    neighbours moved, agrees with the image at its new place. A point that is not visible keeps its last place and is
    tried again there (shifted as its neighbours move), so that it says *lost* and does not drift.
    """

    def __init__(self) -> None:
        self._last: NDArray[np.uint8] | None = None

    def start(self, rgb: NDArray[np.uint8], points: NDArray[np.float64]) -> None:
        """See `PointTracker.start`.

        Raises:
            TrackingError: wrong shapes, or points outside the image.
        """
        points = np.array(points, dtype=np.float64)
        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
            raise TrackingError(f"the tracker needs (H, W, 3) uint8 images; got {rgb.shape} {rgb.dtype}")
        if points.ndim != 2 or points.shape[1:] != (2,) or len(points) == 0:
            raise TrackingError(f"the tracker needs (N, 2) pixels, N >= 1; got {points.shape}")
        size = np.array([rgb.shape[1], rgb.shape[0]])
        outside = ~np.all((points >= 0) & (points <= size - 1), axis=1)
        if np.any(outside):
            raise TrackingError(
                f"point {int(np.argmax(outside))} at {points[outside][0]} is outside the {size[0]} x {size[1]} image"
            )
        self._first = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
        self._last = self._first
        self._origin = points
        self._points = points.copy()
        self._visible = np.ones(len(points), bool)

    def step(self, rgb: NDArray[np.uint8], stamp: float) -> list[TrackResult]:
        """See `PointTracker.step`; one result per image."""
        if self._last is None:
            raise TrackingError("the tracker was not started; call start(rgb, points) first")
        grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
        if grey.shape != self._first.shape:
            raise TrackingError(f"the image size changed from {self._first.shape} to {grey.shape} (H, W)")
        moved, forwards = flow.track(self._last, grey, self._points)
        back, backwards = flow.track(grey, self._last, moved, self._points)
        followed = forwards & backwards & (np.linalg.norm(back - self._points, axis=1) < _BACKWARD_TOLERANCE)
        followed &= self._visible
        warps, guess = self._neighbourhood(moved, followed)
        predicted = np.where(followed[:, None], moved, guess)
        everything = np.arange(len(predicted))
        refined, agreement = anchors.refine(
            [self._first], np.zeros_like(everything), self._origin, warps, grey, predicted
        )
        self._visible = (agreement > _AGREEMENT) & (np.linalg.norm(refined - predicted, axis=1) < 12)
        self._points = np.where(self._visible[:, None], refined, predicted)
        self._last = grey
        return [TrackResult(stamp, self._points.copy(), self._visible.copy(), np.clip(agreement, 0, 1) * self._visible)]

    def _neighbourhood(
        self, moved: NDArray[np.float64], followed: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Per point the linear map from the first image (N, 2, 2), and where its neighbours say that it is (N, 2)."""
        count = len(moved)
        warps = np.tile(np.eye(2), (count, 1, 1))
        guess = self._points.copy()
        good = np.flatnonzero(followed)
        for i in range(count):
            near = good[np.argsort(np.linalg.norm(self._origin[good] - self._origin[i], axis=1))[:_NEIGHBOURS]]
            if near.size < 3:
                continue
            a, b = self._origin[near], moved[near]
            matrix, inliers = cv2.estimateAffinePartial2D(a, b, method=cv2.LMEDS)
            if matrix is None or np.count_nonzero(inliers) < 3:
                continue
            warps[i] = matrix[:, :2]
            guess[i] = matrix[:, :2] @ self._origin[i] + matrix[:, 2]
        return warps, guess
