"""Where the objects of a generated scene stand: even coverage of the task's regions, seeded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pad_augment.errors import ConfigError
from pad_augment.stacking import Stack
from pad_parse import geometry
from pad_parse.task import TaskSpec

Placement = Mapping[str, NDArray[np.float64]]
"""Object name -> pose (4, 4) in the task frame."""

_LONGEST_SEARCH = 4096
_TRIES_PER_OBSTACLE = 200
_AROUND = 0.10
"""m beyond the objects' regions in which obstacles may stand."""


class SceneSampler:
    """Placement `index` of a low-discrepancy sequence over all regions; (task, seed, index) decides it.

    The sequence is the additive recurrence of the generalised golden ratio, shifted at random by the seed: like Sobol
    points it fills the regions evenly from the first points on, and any of its points is computed directly.
    """

    def __init__(
        self,
        task: TaskSpec,
        seed: int,
        minimum_distance: float = 0.12,
        obstacles: Sequence[str] = (),
        stack: Stack | None = None,
        margin: float = 0.0,
    ) -> None:
        """minimum_distance: m between the bases of two objects. obstacles: names of what stands in the way. stack: what
        stands on something else; it has no region of its own. margin: how far beyond its region, on each side, an
        object may be, as a share of the region's size.
        """
        self._seed = seed
        self._minimum_distance = minimum_distance
        self._obstacles = list(obstacles)
        self._swap_sides = task.swap_sides
        self._order = task.object_names
        self._stack = dict(stack or {})
        self._names = [name for name in self._order if name not in self._stack]
        regions = [task.objects[name].region for name in self._names]
        self._low = np.array([[r.x[0], r.y[0], r.yaw[0]] for r in regions])
        self._high = np.array([[r.x[1], r.y[1], r.yaw[1]] for r in regions])
        beyond = margin * (self._high - self._low)
        self._low, self._high = self._low - beyond, self._high + beyond
        size = self._low.size
        ratio = 2.0
        for _ in range(64):  # converges to the root of x^(size + 1) = x + 1
            ratio = (1 + ratio) ** (1 / (size + 1))
        self._steps = ratio ** -np.arange(1.0, size + 1)
        self._shift = np.random.default_rng([seed, 1]).random(size)
        # Numbers in the sequence of the scenes whose objects keep their distance; grows as scenes are asked for.
        self._apart: list[int] = []
        self._looked_at = 0

    def __call__(self, index: int) -> Placement:
        """Poses of all objects and obstacles in scene `index`, counted from 0.

        Raises:
            ConfigError: the regions leave no room for the objects, or no room is left for the obstacles.
        """
        return {name: poses[0] for name, poses in self.many([index]).items()}

    def corners(self, count: int) -> list[Placement]:
        """At most `count` scenes with every object in a corner of its region, and turned as far as it may be.

        Obstacles are left out; objects that come too near each other, too.
        """
        scenes = np.where(self._scenes(np.arange(4 * count)) < (self._low + self._high) / 2, self._low, self._high)
        _, first = np.unique(scenes, axis=0, return_index=True)
        scenes = scenes[np.sort(first)]
        scenes = scenes[_apart(scenes, self._minimum_distance)][:count]
        out: list[Placement] = []
        for number, scene in enumerate(scenes):
            placed = {name: geometry.yaw_pose(*values) for name, values in zip(self._names, scene, strict=True)}
            placement = {name: self._pose(name, placed) for name in self._order}
            if self._swap_sides and number % 2 == 1:
                placement = {name: geometry.reflect_pose(pose) for name, pose in placement.items()}
            out.append(placement)
        return out

    def many(self, indices: Sequence[int]) -> dict[str, NDArray[np.float64]]:
        """Object or obstacle -> (K, 4, 4) in K scenes; each is that of the scene alone.

        Raises:
            ConfigError: see `__call__`.
        """
        while len(self._apart) <= max(indices, default=-1):
            self._look_further()
        scenes = self._scenes(np.array([self._apart[index] for index in indices], dtype=np.int64))
        placed = {name: geometry.yaw_pose(*scenes[:, i].T) for i, name in enumerate(self._names)}
        out = {name: self._pose(name, placed) for name in self._order}
        if self._obstacles:
            places = np.empty((len(indices), len(self._obstacles), 2))
            for place, index, scene in zip(places, indices, scenes, strict=True):
                place[:] = self._obstacle_places(index, scene)
            for number, name in enumerate(self._obstacles):
                out[name] = geometry.yaw_pose(places[:, number, 0], places[:, number, 1], 0.0)
        if self._swap_sides:
            odd = np.asarray(indices) % 2 == 1
            out = {name: np.where(odd[:, None, None], geometry.reflect_pose(p), p) for name, p in out.items()}
        return out

    def _pose(self, name: str, placed: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
        if name not in self._stack:
            return placed[name]
        below, pose = self._stack[name]
        return self._pose(below, placed) @ pose

    def _obstacle_places(self, index: int, scene: NDArray[np.float64]) -> NDArray[np.float64]:
        """(obstacles, 2) m in a scene of objects (objects, 3)."""
        rng = np.random.default_rng([self._seed, 3, index])
        places = list(scene[:, :2])
        low, high = self._low[:, :2].min(0) - _AROUND, self._high[:, :2].max(0) + _AROUND
        for _ in self._obstacles:
            tries = rng.uniform(low, high, (_TRIES_PER_OBSTACLE, 2))
            gaps = np.linalg.norm(tries[:, None] - np.array(places), axis=-1).min(axis=1)
            free = np.flatnonzero(gaps >= self._minimum_distance)
            if not len(free):
                raise ConfigError(
                    f"there is no room for {len(self._obstacles)} obstacles {self._minimum_distance} m apart"
                )
            places.append(tries[free[0]])
        return np.array(places[len(scene) :])

    def _look_further(self) -> None:
        numbers = np.arange(self._looked_at, self._looked_at + _LONGEST_SEARCH)
        self._looked_at += _LONGEST_SEARCH
        found = numbers[_apart(self._scenes(numbers), self._minimum_distance)]
        if not len(found):
            raise ConfigError(
                f"the regions of {', '.join(self._names)} never leave {self._minimum_distance} m between objects; "
                "widen them"
            )
        self._apart += found.tolist()

    def _scenes(self, numbers: NDArray[np.int64]) -> NDArray[np.float64]:
        """(K, objects, 3) x, y, yaw of points of the sequence."""
        points = (self._shift + (numbers[:, None] + 1) * self._steps) % 1.0
        return np.asarray(self._low + points.reshape(-1, *self._low.shape) * (self._high - self._low))


def _apart(values: NDArray[np.float64], distance: float) -> NDArray[np.bool_]:
    """(S,) bool: scenes (S, objects, 3) in which every pair keeps its distance."""
    gaps = np.linalg.norm(values[:, :, None, :2] - values[:, None, :, :2], axis=-1)
    gaps[:, np.arange(values.shape[1]), np.arange(values.shape[1])] = np.inf
    return np.asarray(gaps.min((1, 2)) >= distance)
