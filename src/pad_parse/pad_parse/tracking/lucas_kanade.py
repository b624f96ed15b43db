"""The default point tracker: optical flow checked forwards and backwards, re-anchored to the first image's patches."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from pad_parse.errors import TrackingError
from pad_parse.tracking import anchors, flow
from pad_parse.tracking.local_motion import LocalMotion
from pad_parse.tracking.point_tracker import TrackResult, check_start
from pad_parse.tracking.rigid_groups import fit_affine
from pad_parse.tracking.support import find_features

_SUPPORT = 48
_SUPPORT_REACH = 45
_CERTAIN_AGREEMENT = 0.94
_BACKWARD_TOLERANCE = 1.5
_AGREEMENT, _STRONG_AGREEMENT = 0.75, 0.88
_LEAST_AGREEMENT = 0.5
"""Agreement that is asked of a patch which is hardly above the noise."""
_REACH = 12.0
_HELD = 2.0
_FASTEST = 30.0
_FEATURES = 500
_CONSISTENT = 4.0
"""A point this far (px) from where its neighbours say that it is must have been followed there to be believed."""
_LEAST_WITNESSES = 0.1
_LEAST_VOUCHING = 4
_STEADY, _LEAST_STEADY = 0.7, 0.3
"""With the first share of the visible points where they were predicted, no flow is needed; with the second one, these
tell how the image moves.
"""
_SEARCH_SHARE = 0.2
"""With fewer points seen than this share, they are searched for in the whole image."""
_SEARCH_EVERY = 5
_LEAST_MATCHES = 8


class LucasKanadeTracker:
    """Follows single points by pyramidal Lucas-Kanade flow; a `PointTracker`.

    Points are looked for where they were going; flow follows those that are not there. A point is visible if the patch
    that it started with, warped as its neighbours moved, agrees with the image at its new place, and if that place
    either is where its neighbours say (robust local affine maps; further corners near the points serve as neighbours
    too) or was reached steadily. A point that is not visible is carried along by its neighbours and tried again there,
    so that it says *lost* and does not drift. When nearly all are lost, local features find the first image again.
    """

    def __init__(self) -> None:
        self._last: NDArray[np.uint8] | None = None

    def start(self, rgb: NDArray[np.uint8], points: NDArray[np.float64]) -> None:
        """See `PointTracker.start`.

        Raises:
            TrackingError: wrong shapes, or points outside the image.
        """
        points = check_start(rgb, points)
        grey = _prepared(rgb)
        self._first = self._last = grey
        self._count = len(points)
        self._origin = np.concatenate(
            [points, find_features(grey, _surroundings(grey.shape, points), _SUPPORT, points)]
        )
        count = len(self._origin)
        self._points = self._origin.copy()
        self._velocity, self._moving = np.zeros((count, 2)), False
        # How far each visible point is from where its neighbours say, and how that changes from image to image.
        self._off, self._leaving = np.zeros((count, 2)), np.zeros((count, 2))
        self._visible = np.ones(count, bool)
        self._motion = LocalMotion(self._origin)
        self._cache = anchors.PatchCache(count)
        self._needed = _needed_agreement(rgb, grey, self._origin)
        self._blind = 0
        self._landmarks = cv2.ORB_create(_FEATURES).detectAndCompute(grey, None)

    def step(self, rgb: NDArray[np.uint8], stamp: float) -> list[TrackResult]:
        """See `PointTracker.step`; one result per image."""
        if self._last is None:
            raise TrackingError("the tracker was not started; call start(rgb, points) first")
        if rgb.shape[:2] != self._first.shape:
            raise TrackingError(f"the image size changed from {self._first.shape} to {rgb.shape[:2]} (H, W)")
        grey = _prepared(rgb)
        moved, agreement = self._steady(grey)
        followed = agreement > -1.0
        if np.count_nonzero(followed) < _STEADY * np.count_nonzero(self._visible):
            followed = self._flow(grey, moved, followed)
        _, guess, _ = self._motion.fit(moved, followed)
        refined, agreement, visible = self._refined(grey, guess, moved, followed, agreement)
        linear, guess, _ = self._motion.fit(refined, visible)
        if np.mean(visible) < _SEARCH_SHARE:
            self._blind += 1
            found = self._searched(grey) if self._blind % _SEARCH_EVERY == 0 else None
            if found is not None:
                self._motion.place(found)
                guess = self._origin @ found[:, :2].T + found[:, 2]
                nothing = np.zeros_like(visible)
                refined, agreement, visible = self._refined(grey, guess, guess, nothing, np.full(len(guess), -1.0))
                linear, guess, _ = self._motion.fit(refined, visible)
        else:
            self._blind = 0
        self._motion.accept(linear, refined, visible)
        points = np.where(visible[:, None], refined, guess)
        share = 0.5 if self._moving else 1.0
        self._velocity += share * (np.clip(points - self._points, -_FASTEST, _FASTEST) - self._velocity)
        self._moving = bool(np.any(visible))
        self._points, self._visible, self._last = points, visible, grey
        shown = visible[: self._count].copy()
        return [
            TrackResult(stamp, points[: self._count].copy(), shown, np.maximum(agreement[: self._count], 0) * shown)
        ]

    def flush(self) -> list[TrackResult]:
        """See `PointTracker.flush`; nothing is ever held back."""
        return []

    def _steady(self, grey: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Predicted places (M, 2), and for the visible points whose patch is there, its place and agreement (M,), else
        -1.
        """
        moved, agreement = self._points + self._velocity, np.full(len(self._points), -1.0)
        if not self._moving:
            # Without a velocity, what repeats in the image would be found in the wrong place.
            return moved, agreement
        index = np.flatnonzero(self._visible)
        there, agrees = self._compared(grey, self._motion.linear, moved[index], index)
        good = (agrees > self._needed[index]) & (np.linalg.norm(there - moved[index], axis=1) < _CONSISTENT)
        moved[index[good]], agreement[index[good]] = there[good], agrees[good]
        return moved, agreement

    def _flow(
        self, grey: NDArray[np.uint8], moved: NDArray[np.float64], steady: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """Follow the visible points that are not `steady` (M,) by flow that returns to its beginning, and write their
        places into `moved` (M, 2); returns which are followed now (M,).
        """
        assert self._last is not None
        index = np.flatnonzero(self._visible & ~steady)
        before = self._points[index]
        there, found = flow.track(self._last, grey, before, before + self._velocity[index])
        back, returned = flow.track(grey, self._last, there, before)
        found &= returned & (np.linalg.norm(back - before, axis=1) < _BACKWARD_TOLERANCE)
        # An edge that passes in front takes points along with a jerk that the others do not feel.
        jerk = np.linalg.norm(there - before - self._velocity[index], axis=1)
        if np.count_nonzero(steady) >= _LEAST_STEADY * np.count_nonzero(self._visible):
            found &= jerk < _CONSISTENT
        elif np.any(found):
            found &= jerk < max(_CONSISTENT, 4.0 * float(np.median(jerk[found])))
        moved[index[found]] = there[found]
        followed = steady.copy()
        followed[index[found]] = True
        return followed

    def _refined(
        self,
        grey: NDArray[np.uint8],
        guess: NDArray[np.float64],
        moved: NDArray[np.float64],
        followed: NDArray[np.bool_],
        known: NDArray[np.float64],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
        """Places (M, 2) by the first image's patches, their agreement (M,), and which are believed (M,).

        `known` (M,) is the agreement of those that are already at their patch, else -1.
        """
        linear = self._motion.linear
        predicted = np.where(followed[:, None], moved, guess)
        refined, agreement = predicted.copy(), known.copy()
        unknown = np.flatnonzero(known == -1.0)
        refined[unknown], agreement[unknown] = self._compared(grey, linear, predicted[unknown], unknown)
        near = (agreement > self._needed) & (np.linalg.norm(refined - predicted, axis=1) < _REACH)
        # Points that were followed vouch for those that come back.
        vouching = near & followed
        vouching = vouching if np.count_nonzero(vouching) >= _LEAST_VOUCHING else near
        _, guess, witnesses = self._motion.fit(refined, vouching)
        # Once more where the neighbours, now better known, point elsewhere.
        again = np.flatnonzero(~near & (np.linalg.norm(guess - predicted, axis=1) > 1.0))
        if again.size:
            refined[again], agreement[again] = self._compared(grey, linear, guess[again], again)
            near[again] = agreement[again] > self._needed[again]
        off = refined - guess
        held = followed & (np.linalg.norm(refined - moved, axis=1) < _HELD) & (agreement > _CERTAIN_AGREEMENT)
        # On an object of its own a point leaves its neighbours steadily; something in front drags it off at once.
        held &= np.linalg.norm(off - self._off - self._leaving, axis=1) < _CONSISTENT
        alike = (np.linalg.norm(off, axis=1) < _CONSISTENT) & (
            (witnesses > _LEAST_WITNESSES) | (agreement > _STRONG_AGREEMENT)
        )
        believed = near & (held | alike)
        self._leaving = np.where((believed & self._visible)[:, None], off - self._off, 0.0)
        self._off = np.where(believed[:, None], off, self._off)
        return refined, agreement, believed

    def _compared(
        self,
        grey: NDArray[np.uint8],
        linear: NDArray[np.float64],
        predicted: NDArray[np.float64],
        index: NDArray[np.intp],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Pixels (m, 2) and agreement (m,) of the points `index` (m,) near `predicted` (m, 2)."""
        pixels, agreement = predicted.copy(), np.full(len(index), -1.0)
        fine = np.flatnonzero(anchors.comparable(linear[index]))
        chosen = index[fine]
        patches = self._cache.patches(
            chosen, [self._first], np.zeros_like(chosen), self._origin[chosen], linear[chosen]
        )
        pixels[fine], agreement[fine] = anchors.compare(patches, grey, predicted[fine])
        return pixels, agreement

    def _searched(self, grey: NDArray[np.uint8]) -> NDArray[np.float64] | None:
        """Affine map (2, 3) of the first image by local features, or None."""
        known, described = self._landmarks
        keys, seen = cv2.ORB_create(_FEATURES).detectAndCompute(grey, None)
        if described is None or seen is None:
            return None
        matches = cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True).match(described, seen)
        if len(matches) < _LEAST_MATCHES:
            return None
        fit = fit_affine(
            np.array([known[m.queryIdx].pt for m in matches]), np.array([keys[m.trainIdx].pt for m in matches])
        )
        if fit is None or np.count_nonzero(fit[1]) < _LEAST_MATCHES:
            return None
        return fit[0]


def _prepared(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Grey and a little blurred (H, W): camera noise would otherwise decide weak corners."""
    return np.asarray(cv2.GaussianBlur(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), (3, 3), 0))


def _surroundings(shape: tuple[int, ...], points: NDArray[np.float64]) -> NDArray[np.bool_]:
    mask = np.zeros(shape, np.uint8)
    for u, v in np.round(points).astype(int):
        cv2.circle(mask, (int(u), int(v)), _SUPPORT_REACH, 1, -1)
    return np.asarray(mask, dtype=bool)


def _needed_agreement(
    rgb: NDArray[np.uint8], grey: NDArray[np.uint8], points: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(M,) correlation to ask for: noise in both images lowers that of a weak patch, also at its true place."""
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    raw = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)
    # Robust noise of the raw image, times what the blur leaves of it.
    noise = 0.375 * float(np.median(np.abs(cv2.filter2D(raw, -1, kernel)))) / 0.6745 / 6.0
    size = (anchors.PATCH, anchors.PATCH)
    spread = np.array([cv2.getRectSubPix(grey, size, (float(u), float(v))).std() for u, v in points])
    best = 1.0 - (noise / np.maximum(spread, 1e-3)) ** 2
    return np.clip(_AGREEMENT * best, _LEAST_AGREEMENT, _AGREEMENT)
