"""What every hand estimator answers, and the names of the 21 landmarks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

LANDMARK_NAMES: tuple[str, ...] = (
    "wrist",
    "thumb_cmc", "thumb_mcp", "thumb_ip", "thumb_tip",
    "index_mcp", "index_pip", "index_dip", "index_tip",
    "middle_mcp", "middle_pip", "middle_dip", "middle_tip",
    "ring_mcp", "ring_pip", "ring_dip", "ring_tip",
    "little_mcp", "little_pip", "little_dip", "little_tip",
)  # fmt: skip
LANDMARK_COUNT = len(LANDMARK_NAMES)

WRIST, THUMB_TIP, INDEX_MCP, INDEX_TIP, MIDDLE_MCP = 0, 4, 5, 8, 9
FINGER_ENDS: tuple[int, ...] = (7, 8, 11, 12, 15, 16)
"""Last joints and tips of index, middle and ring finger, which mostly stay in sight when a hand closes on something."""
PALM: tuple[int, ...] = (0, 5, 9, 13, 17)
"""Landmarks that keep their mutual distances whatever the fingers do."""
BONES: tuple[tuple[int, int], ...] = (
    (0, 1), (1, 2), (2, 3), (3, 4),
    (0, 5), (5, 6), (6, 7), (7, 8),
    (0, 9), (9, 10), (10, 11), (11, 12),
    (0, 13), (13, 14), (14, 15), (15, 16),
    (0, 17), (17, 18), (18, 19), (19, 20),
    (5, 9), (9, 13), (13, 17),
)  # fmt: skip
"""Pairs of landmarks at a constant distance; the first 20 are finger bones (drawn), the rest cross the palm."""


RELATIVE_DEPTH_SCALE = 0.6
"""The network's relative depths are flat: on hands of known pose they were 0.5 to 0.65 of the true ones."""


@dataclass(frozen=True)
class HandObservation:
    """One hand in one image.

    landmarks: (21, 3): u, v in pixels of the image that was given; third column = depth relative to the wrist,
    in pixels of the same scale (negative = nearer to the camera).
    presence: 0..1, how sure the model is that this is a hand. handedness: 0..1, the model's probability of a
    right hand as it labels it; it flips often and must not decide identity.
    """

    landmarks: np.ndarray
    presence: float
    handedness: float

    @property
    def centre(self) -> np.ndarray:
        """Palm centre (2,) px."""
        return self.landmarks[list(PALM), :2].mean(axis=0)

    @property
    def size(self) -> float:
        """Extent in px: the longer side of the box round the landmarks."""
        xy = self.landmarks[:, :2]
        return float((xy.max(axis=0) - xy.min(axis=0)).max())


class HandEstimator(Protocol):
    """Finds hands in a stream of images; may keep state between calls."""

    def estimate(self, rgb: np.ndarray, stamp: float) -> list[HandObservation]:
        """Hands in `rgb` (H, W, 3) uint8 at `stamp` (s), best first; an empty list if none is seen."""
        ...

    def reset(self) -> None:
        """Forget the stream: the next image has nothing to do with the last one."""
        ...
