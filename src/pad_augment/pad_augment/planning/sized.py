"""A planner for objects that come in several sizes: one planner for each set of sizes, made when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import numpy as np

from pad_augment.planning.interface import BimanualPlanner, Plan, PlanFailure, PlanRequest, Shape

_KEPT = 33
"""Planners in memory, some MB each: those of a block of scenes, whose requests come in rounds, and of size 1."""


class SizedPlanner:
    """Gives every request to a planner whose objects are of the request's sizes."""

    def __init__(self, shapes: Mapping[str, Shape], make: Callable[[Mapping[str, Shape]], BimanualPlanner]) -> None:
        """shapes: of the objects at size 1, and of what never changes. make: a planner for objects of given shapes."""
        self._shapes = dict(shapes)
        self._make = make
        self._of_sizes = lru_cache(maxsize=_KEPT)(self._planner)
        first = self._of_sizes(())
        self.name, self.finds_ways, self.repeatable = first.name, first.finds_ways, first.repeatable

    def _planner(self, sizes: tuple[tuple[str, float], ...]) -> BimanualPlanner:
        return self._make(grown(self._shapes, dict(sizes)))

    def plan(self, request: PlanRequest, rng: np.random.Generator) -> Plan:
        """As `BimanualPlanner.plan`."""
        return self._of_sizes(_key(request)).plan(request, rng)

    def plan_many(
        self, requests: Sequence[PlanRequest], rngs: Sequence[np.random.Generator]
    ) -> list[Plan | PlanFailure]:
        """As `BimanualPlanner.plan_many`."""
        groups: dict[tuple[tuple[str, float], ...], list[int]] = {}
        for index, request in enumerate(requests):
            groups.setdefault(_key(request), []).append(index)
        out: dict[int, Plan | PlanFailure] = {}
        for sizes, members in groups.items():
            planner = self._of_sizes(sizes)
            plans = planner.plan_many([requests[i] for i in members], [rngs[i] for i in members])
            out.update(zip(members, plans, strict=True))
        return [out[index] for index in range(len(requests))]


def grown(shapes: Mapping[str, Shape], sizes: Mapping[str, float]) -> dict[str, Shape]:
    """Shapes of instances, which grow about their frames' origins; sizes: object -> its size, else 1."""
    return {
        name: Shape(size * shape.radius, size * shape.height, (size * shape.centre[0], size * shape.centre[1]))
        for name, shape in shapes.items()
        for size in (sizes.get(name, 1.0),)
    }


def _key(request: PlanRequest) -> tuple[tuple[str, float], ...]:
    return tuple(sorted((name, size) for name, size in request.sizes.items() if size != 1.0))
