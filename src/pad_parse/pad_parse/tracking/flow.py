"""Pyramidal Lucas-Kanade optical flow between two grey images."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_WINDOW = (19, 19)
_LEVELS = 3
_CRITERIA = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 15, 0.03)


def track(
    before: NDArray[np.uint8],
    after: NDArray[np.uint8],
    points: NDArray[np.float64],
    guess: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Follow points (M, 2) from one grey image (H, W) to the next, starting from `guess` (M, 2) if given.

    Returns:
        pixels (M, 2) and whether each point was found (M,).
    """
    if len(points) == 0:
        return np.zeros((0, 2)), np.zeros(0, bool)
    start = np.ascontiguousarray(points, dtype=np.float32)[:, None]
    flags = cv2.OPTFLOW_USE_INITIAL_FLOW if guess is not None else 0
    first = np.ascontiguousarray(points if guess is None else guess, dtype=np.float32)[:, None].copy()
    end, found, _ = cv2.calcOpticalFlowPyrLK(
        before, after, start, first, winSize=_WINDOW, maxLevel=_LEVELS, criteria=_CRITERIA, flags=flags
    )
    return end[:, 0].astype(np.float64), found[:, 0] == 1
