"""Where the objects of a generated scene stand: even coverage of the task's regions, seeded."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

from pad_parse import geometry
from pad_parse.task import TaskSpec

Placement = Mapping[str, NDArray[np.float64]]
"""Object name -> pose (4, 4) in the task frame."""

MINIMUM_DISTANCE = 0.12
"""m between the bases of two objects; closer, a gripper cannot pass between them."""


class SceneSampler:
    """Placement `index` of a scrambled Sobol sequence over all regions; (task, seed, index) decides it."""

    def __init__(self, task: TaskSpec, seed: int, capacity: int = 1 << 14) -> None:
        self._names = task.object_names
        regions = [task.objects[name].region for name in self._names]
        low = np.array([[r.x[0], r.y[0], r.yaw[0]] for r in regions]).ravel()
        high = np.array([[r.x[1], r.y[1], r.yaw[1]] for r in regions]).ravel()
        sequence = qmc.Sobol(d=len(low), scramble=True, rng=np.random.default_rng([seed, 1]))
        points = sequence.random(capacity)
        values = (low + points * (high - low)).reshape(capacity, len(regions), 3)
        self._values = values[_apart(values)]

    def __len__(self) -> int:
        return len(self._values)

    def __call__(self, index: int) -> Placement:
        """Poses of all objects in scene `index` (taken modulo the sequence's length)."""
        scene = self._values[index % len(self._values)]
        return {name: geometry.yaw_pose(*row) for name, row in zip(self._names, scene, strict=True)}


def _apart(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(S,) bool: scenes (S, objects, 3) in which every pair keeps its distance."""
    gaps = np.linalg.norm(values[:, :, None, :2] - values[:, None, :, :2], axis=-1)
    gaps[:, np.arange(values.shape[1]), np.arange(values.shape[1])] = np.inf
    return np.asarray(gaps.min((1, 2)) >= MINIMUM_DISTANCE)
