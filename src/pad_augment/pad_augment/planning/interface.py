"""What a planner for two arms is asked and what it answers; plain numpy. Arms: 0 left, 1 right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pad_augment.errors import PlanningError

FloatArray = NDArray[np.float64]
Holding = tuple[str | None, str | None]
"""Name of an object, or None, for the left and the right arm."""


@dataclass(frozen=True)
class Shape:
    """An upright cylinder on the plane z = 0 of the object frame; metres. centre: x, y of its axis in that frame."""

    radius: float
    height: float
    centre: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, eq=False)
class Body:
    """An object during a stretch.

    pose: (4, 4) in the task frame, or, held, in the TCP frame of its holder. holder: arm that carries it, or None.
    touching: what it may touch besides its holder's gripper: "left" and "right" for the grippers, or other objects.
    """

    pose: FloatArray
    holder: int | None = None
    touching: frozenset[str] = frozenset()


@dataclass(frozen=True, eq=False)
class Stretch:
    """A part of the timeline in which the same contacts are allowed.

    poses: (K, 2, 4, 4) TCP in the task frame, one per step. openings: (K, 2) m between the pads.
    free: whether the planner may go another way between the first and the last pose.
    bodies: every object by name. A standing object may touch what it stands on.
    """

    poses: FloatArray
    openings: FloatArray
    free: bool
    bodies: Mapping[str, Body]

    def __len__(self) -> int:
        return len(self.poses)

    @property
    def held(self) -> Holding:
        """What each arm carries."""
        names: list[str | None] = [None, None]
        for name, body in self.bodies.items():
            if body.holder is not None:
                names[body.holder] = name
        return names[0], names[1]


@dataclass(frozen=True, eq=False)
class PlanRequest:
    """Stretches one after the other, from arms at rest to arms at rest.

    at_rest: whether the arms also stand still at the border of every free stretch, so that another way, which starts
    and ends at rest, fits in.
    start: (2 n,) rad to begin near; None: the robot's home. moving: whether the arms are in motion at the first step.
    shortest: None, or free stretches, whose borders are at rest, take this factor (>= 1) of the shortest time.
    sizes: object -> size of the instance, 1 where it is not named; a planner that is made for given shapes has no use
        for them, see `SizedPlanner`.
    """

    stretches: Sequence[Stretch]
    at_rest: bool = False
    start: FloatArray | None = None
    moving: bool = False
    shortest: float | None = None
    sizes: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Plan:
    """What the arms do: joints (T, 2 n) rad, poses (T, 2, 4, 4), openings (T, 2) m; one row per step.

    lengths: steps of each stretch, changed where the planner went another way or timed it anew. ways: per stretch
    "line" (as asked), "joint_line" or "rrt".
    """

    joints: FloatArray
    poses: FloatArray
    openings: FloatArray
    lengths: tuple[int, ...]
    ways: tuple[str, ...]


class Failure(Enum):
    """Why there is no plan."""

    UNREACHABLE_LEFT = "unreachable_left"
    UNREACHABLE_RIGHT = "unreachable_right"
    JOINT_LIMIT = "joint_limit"
    SELF_COLLISION = "self_collision"  # of one arm with itself or with what belongs to the cell, such as the table
    ARMS_COLLISION = "arms_collision"  # of the arms with each other
    OBJECT_COLLISION = "object_collision"  # with an object, or of a carried object with anything
    NO_PATH = "no_path"  # the straight ways are blocked, and the search found none around
    VELOCITY = "velocity"
    ACCELERATION = "acceleration"
    TIME_OUT = "time_out"  # the search around was given up for its time


class PlanFailure(PlanningError):
    """There is no plan for a request.

    Attributes:
        code: why.
        stretch: index of the stretch that fails.
        excess: for VELOCITY and ACCELERATION, factor by which the limit is exceeded, else 1.
    """

    def __init__(self, code: Failure, stretch: int, message: str, excess: float = 1.0) -> None:
        super().__init__(message)
        self.code = code
        self.stretch = stretch
        self.excess = excess


class BimanualPlanner(Protocol):
    """Makes joint trajectories for two arms. Not thread-safe: one per worker."""

    name: str
    finds_ways: bool
    """Whether it may replace free stretches whose borders are at rest, and time them anew."""
    repeatable: bool
    """Whether the same request and generator state give the same plan also where it went another way."""

    def plan(self, request: PlanRequest, rng: np.random.Generator) -> Plan:
        """Joint positions along the stretches; the same request and generator state give the same plan if `repeatable`.

        Raises:
            PlanFailure: with a code.
        """
        ...

    def plan_many(
        self, requests: Sequence[PlanRequest], rngs: Sequence[np.random.Generator]
    ) -> list[Plan | PlanFailure]:
        """`plan` for each request with its own generator; what one of them gives does not depend on the others."""
        ...


def plan_each(
    planner: BimanualPlanner, requests: Sequence[PlanRequest], rngs: Sequence[np.random.Generator]
) -> list[Plan | PlanFailure]:
    """`plan_many` for a planner that gains nothing from many requests at once."""
    out: list[Plan | PlanFailure] = []
    for request, rng in zip(requests, rngs, strict=True):
        try:
            out.append(planner.plan(request, rng))
        except PlanFailure as failure:
            out.append(failure)
    return out
