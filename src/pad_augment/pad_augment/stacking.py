"""Objects that stand on others, such as a lid: in every scene they stand there as they were shown."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from pad_augment.planning.interface import Shape
from pad_parse import geometry

Stack = Mapping[str, tuple[str, NDArray[np.float64]]]
"""Object -> what it stands on, and its pose (4, 4) in that one's frame."""

_LIFTED = 0.02
"""m above the base of another from which on an object stands on it: poses of parsed objects are some mm off."""


def standing_on(poses: Mapping[str, NDArray[np.float64]], shapes: Mapping[str, Shape]) -> Stack:
    """Which objects, at poses (4, 4) in the task frame, stand on which others of given shapes.

    One does whose base is above another's base and within its outline; of several the highest counts.
    """
    out: dict[str, tuple[str, NDArray[np.float64]]] = {}
    for name, pose in poses.items():
        below: list[tuple[float, str]] = []
        for other, support in poses.items():
            if other == name:
                continue
            shape = shapes[other]
            seen = geometry.inverse(support) @ pose
            outside = np.linalg.norm(seen[:2, 3] - shape.centre) > shape.radius
            if not outside and _LIFTED < seen[2, 3] < shape.height + _LIFTED:
                below.append((float(support[2, 3]), other))
        if below:
            other = max(below)[1]
            out[name] = (other, geometry.inverse(poses[other]) @ pose)
    return out


def in_stacks(stack: Stack) -> frozenset[str]:
    """Everything that stands on something, or has something standing on it."""
    return frozenset(stack) | {below for below, _ in stack.values()}
