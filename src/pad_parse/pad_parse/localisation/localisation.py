"""What every way of localising answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CONFIDENCE_LIMIT = 0.5
"""Below this an object counts as not found."""


@dataclass(frozen=True, eq=False)
class Localisation:
    """The keypoints in a new scene.

    Attributes:
        points_in_task: (N, 3) metres.
        object_transforms: name -> (4, 4), move of the object from the reference to the new scene, task frame. Of
            another instance: that of its axis; its points do not follow from it, for its shape is another.
        confidence: name -> [0, 1].
    """

    points_in_task: NDArray[np.float64]
    object_transforms: dict[str, NDArray[np.float64]]
    confidence: dict[str, float]
