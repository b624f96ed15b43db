"""What a tracker of single points in the image offers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pad_parse.errors import TrackingError


@dataclass(frozen=True, eq=False)
class TrackResult:
    """Where the points are in one image.

    Attributes:
        stamp: of the image, seconds.
        points: (N, 2) float64 pixels (u, v); the best guess where a point is not visible.
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
        """Begin anew with `points` (N, 2) in the image `rgb` (H, W, 3) uint8.

        Raises:
            TrackingError: wrong shapes, or points outside the image.
        """

    def step(self, rgb: NDArray[np.uint8], stamp: float) -> list[TrackResult]:
        """Take the next image; returns the results that are ready, in order, possibly none or several.

        Raises:
            TrackingError: not started, or an image of another size.
        """

    def flush(self) -> list[TrackResult]:
        """The results that are still owed, at the end of a recording."""


def check_start(rgb: NDArray[np.uint8], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points (N, 2) as a new array.

    Raises:
        TrackingError: see `PointTracker.start`.
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
    return points
