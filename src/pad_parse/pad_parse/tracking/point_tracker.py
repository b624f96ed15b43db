"""What a tracker of single points in the image offers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class TrackResult:
    """Where the points are in one image.

    Attributes:
        stamp: of the image, seconds.
        points: (N, 2) float64 pixels (u, v); the last known place where a point is not visible.
        visible: (N,) bool.
        confidence: (N,) float64 in [0, 1].
    """

    stamp: float
    points: NDArray[np.float64]
    visible: NDArray[np.bool_]
    confidence: NDArray[np.float64]


class PointTracker(Protocol):
    """Follows N points from the image they were given in."""

    def start(self, rgb: NDArray[np.uint8], points: NDArray[np.float64]) -> None:
        """Begin anew with `points` (N, 2) in the image `rgb` (H, W, 3)."""

    def step(self, rgb: NDArray[np.uint8], stamp: float) -> list[TrackResult]:
        """Take the next image; returns the results that are ready, possibly none or several."""
