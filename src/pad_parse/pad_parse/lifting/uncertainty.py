"""How far a lifted point may be from its true place: one standard deviation of the distance, in metres.

Pixels spread across the line of sight with the distance z, a stereo camera's depth along it with z^2. What hides a
point lets its error grow with the time for which it was not seen.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

STEREO_NOISE = 0.0015
"""Standard deviation of depth over depth squared, 1/m: 1 mm at 0.8 m, as an active stereo camera has it."""
POINT_PIXELS = 1.3
"""px; where a person clicks, and where a tracked corner is found."""
LANDMARK_PIXELS = 3.0
"""px; where the hand model puts a fingertip, in an image 640 px wide."""
_LANDMARK_WIDTH = 640
_SKIN = 0.003
"""m; how far a landmark lies behind the skin is known to this."""
_HELD = 0.006
"""m; of a gripper's place on the object that it holds."""
_OBJECT_DRIFT = 0.02
"""m for every second that an object was not seen."""
_HAND_DRIFT = 0.04
"""m for every second that a hand was not seen; it follows its fingertips."""


def point_uncertainty(distance: ArrayLike, focal: float, pixel: float = POINT_PIXELS) -> NDArray[np.float64]:
    """(...) m of points lifted by measured depth at `distance` (...) m; focal px; pixel: standard deviation, px."""
    z = np.asarray(distance, dtype=np.float64)
    return np.sqrt(2 * (pixel * z / focal) ** 2 + (STEREO_NOISE * z**2) ** 2)


def keypoint_uncertainty(
    distance: ArrayLike, focal: float, unseen: ArrayLike, scale_error: float = 0.0
) -> NDArray[np.float64]:
    """(T, N) m of keypoints on tracked objects.

    distance (T, N) m from the camera along its axis; unseen (T, N) s since or until the object was seen, 0 where it is;
    scale_error: relative standard error of lengths without a depth camera, 0 with one.
    """
    z = np.asarray(distance, dtype=np.float64)
    drift = _OBJECT_DRIFT * np.asarray(unseen, dtype=np.float64)
    return np.sqrt(point_uncertainty(z, focal) ** 2 + drift**2 + (scale_error * z) ** 2)


def gripper_uncertainty(
    distance: ArrayLike, focal: float, width: float, held: ArrayLike, unseen: ArrayLike, scale_error: float = 0.0
) -> NDArray[np.float64]:
    """(T, 2) m of the middle between two fingertips.

    distance, scale_error: see `keypoint_uncertainty`; focal, width px of the image; held (T, 2) bool: the gripper moves
    with what it holds; unseen (T, 2) s since or until the hand was seen.
    """
    z = np.asarray(distance, dtype=np.float64)
    pixel = LANDMARK_PIXELS * width / _LANDMARK_WIDTH
    # The mean of two fingertips; the error of the skin's thickness is common to both.
    free = np.sqrt(point_uncertainty(z, focal, pixel) ** 2 / 2 + _SKIN**2 + (_HAND_DRIFT * np.asarray(unseen)) ** 2)
    return np.sqrt(np.where(held, _HELD**2, free**2) + (scale_error * z) ** 2)


def time_unseen(stamps: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """(T,) s from each frame to the nearest one in `seen` (T,) bool; infinite if there is none."""
    known = stamps[seen]
    if not len(known):
        return np.full(len(stamps), np.inf)
    after = np.searchsorted(known, stamps).clip(0, len(known) - 1)
    before = np.maximum(after - 1, 0)
    return np.minimum(np.abs(known[after] - stamps), np.abs(stamps - known[before]))
