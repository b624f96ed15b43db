"""When a task is done, from its YAML's `success`: conditions on objects and grippers that all hold at one instant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pad_bringup.cell.objects import ObjectModel, TaskObjects
from pad_bringup.cell.outcome import contained
from pad_bringup.errors import CellError
from pad_parse import geometry

FloatArray = NDArray[np.float64]

_AXIS_POINTS = 9
_NEIGHBOURS = 5
KEPT = 0.9
"""Share of the grains that must still be in their vessel."""
_OFF_TABLE = -0.02
"""m; what is lower has fallen off."""


@dataclass(frozen=True)
class State:
    """How things stand.

    poses: object -> (4, 4) in the task frame. holders: object -> arms whose fingers clasp it. grains: (n, 3) m in the
    task frame, and their kinds (n,) of two.
    """

    poses: Mapping[str, FloatArray]
    holders: Mapping[str, frozenset[int]]
    grains: FloatArray = field(default_factory=lambda: np.empty((0, 3)))
    kinds: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, bool))


@dataclass(frozen=True)
class Verdict:
    """success: every condition holds. cause: those that do not, in words; empty on success."""

    success: bool
    cause: str


class Goal(BaseModel):
    """What counts as success.

    inside: thing -> vessel; at least three quarters of the thing's axis lie inside the vessel.
    upright: object -> rad, its largest tilt; it is not off the table either.
    apart: object -> (other, m), the least distance between their bases.
    held: objects that a gripper clasps with both fingers. free: objects that no gripper clasps.
    beside: thing -> other; seen from above, the upright cylinders round the two do not overlap.
    dips: thing -> vessel; the middle of the thing's base is inside the vessel.
    mixed: vessel -> least `mixing` of the grains; nine of ten are inside.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    inside: dict[str, str] = {}
    upright: dict[str, Annotated[float, Field(gt=0, lt=1.58)]] = {}
    apart: dict[str, tuple[str, Annotated[float, Field(gt=0)]]] = {}
    held: tuple[str, ...] = ()
    free: tuple[str, ...] = ()
    beside: dict[str, str] = {}
    dips: dict[str, str] = {}
    mixed: dict[str, Annotated[float, Field(gt=0, le=1)]] = {}

    def judge(self, state: State, models: Mapping[str, ObjectModel]) -> Verdict:
        """Judge one instant."""
        faults = [
            *(_not_inside(state, models, thing, vessel) for thing, vessel in self.inside.items()),
            *(_not_upright(state, name, tilt) for name, tilt in self.upright.items()),
            *(_not_apart(state, name, other, least) for name, (other, least) in self.apart.items()),
            *("" if state.holders[name] else f"the {name} is not held" for name in self.held),
            *(f"the {name} is still held" if state.holders[name] else "" for name in self.free),
            *(_not_beside(state, models, thing, other) for thing, other in self.beside.items()),
            *(_not_dipped(state, models, thing, vessel) for thing, vessel in self.dips.items()),
            *(_not_mixed(state, models, vessel, least) for vessel, least in self.mixed.items()),
        ]
        return Verdict(not any(faults), "; ".join(fault for fault in faults if fault))


def goal_of(success: Mapping[str, Any], objects: TaskObjects) -> Goal:
    """The goal in a task's `success`.

    Raises:
        CellError: no condition is given, one is not known, or it is about an object that does not exist.
    """
    try:
        goal = Goal.model_validate(dict(success))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise CellError(
            f"task {objects.task}: success.{where}: {first['msg']}; known conditions: {', '.join(Goal.model_fields)}"
        ) from error
    named = [*goal.inside, *goal.inside.values(), *goal.upright, *goal.held, *goal.free, *goal.mixed]
    named += [*goal.beside, *goal.beside.values(), *goal.dips, *goal.dips.values()]
    named += [*goal.apart, *(other for other, _ in goal.apart.values())]
    if not named:
        raise CellError(f"task {objects.task} does not say when it is done; give conditions under success")
    for name in named:
        if name not in objects.models:
            raise CellError(
                f"task {objects.task}: success is about {name!r}; its objects are {', '.join(objects.models)}"
            )
    for vessel in goal.mixed:
        if objects.drink is None or objects.drink.container != vessel or objects.drink.other_colour is None:
            raise CellError(f"task {objects.task}: nothing of two colours is in the {vessel} that could be mixed")
    for vessel in (*goal.inside.values(), *goal.dips.values()):
        if objects.models[vessel].form != "vessel":
            raise CellError(f"task {objects.task}: nothing can be inside the {vessel}, which is no vessel")
    return goal


def _not_inside(state: State, models: Mapping[str, ObjectModel], thing: str, vessel: str) -> str:
    """Empty, or what is wrong."""
    heights = np.linspace(0.0, models[thing].height, _AXIS_POINTS)
    axis = geometry.transform_points(state.poses[thing], np.outer(heights, [0.0, 0.0, 1.0]))
    share = contained(axis, state.poses[vessel], models[vessel]).mean()
    return "" if share >= 0.75 else f"the {thing} is not in the {vessel}"


def _not_beside(state: State, models: Mapping[str, ObjectModel], thing: str, other: str) -> str:
    axes = []
    for name in (thing, other):
        heights = np.linspace(0.0, models[name].height, _AXIS_POINTS)
        axes.append(geometry.transform_points(state.poses[name], np.outer(heights, [0.0, 0.0, 1.0]))[:, :2])
    gap = np.linalg.norm(axes[0][:, None] - axes[1], axis=-1).min()
    need = sum(max(radius for _, radius in models[name].outer) for name in (thing, other))
    return "" if gap >= need else f"the {thing} is not beside the {other}"


def _not_dipped(state: State, models: Mapping[str, ObjectModel], thing: str, vessel: str) -> str:
    tip = state.poses[thing][None, :3, 3]
    return "" if contained(tip, state.poses[vessel], models[vessel]).all() else f"the {thing} is not in the {vessel}"


def _not_upright(state: State, name: str, largest: float) -> str:
    pose = state.poses[name]
    if pose[2, 3] < _OFF_TABLE:
        return f"the {name} has fallen off the table"
    tilt = float(np.arccos(np.clip(pose[2, 2], -1.0, 1.0)))
    return f"the {name} is tilted by {np.degrees(tilt):.0f} degrees" if tilt > largest else ""


def _not_apart(state: State, name: str, other: str, least: float) -> str:
    distance = float(np.linalg.norm(state.poses[name][:3, 3] - state.poses[other][:3, 3]))
    return "" if distance >= least else f"the {name} is {distance * 100:.0f} cm from the {other}"


def mixing(grains: FloatArray, kinds: NDArray[np.bool_]) -> float:
    """How well grains (n, 3) of two kinds (n,) are mixed: 0 apart, about 1 as if thrown in at random.

    The mean share of the other kind among each grain's nearest neighbours, over the share that chance would give.
    """
    if len(grains) <= _NEIGHBOURS or kinds.all() or not kinds.any():
        return 0.0
    gaps = np.linalg.norm(grains[:, None] - grains, axis=-1)
    np.fill_diagonal(gaps, np.inf)
    near = np.argsort(gaps, axis=1)[:, :_NEIGHBOURS]
    share = kinds.mean()
    by_chance = 2 * share * (1 - share) * len(grains) / (len(grains) - 1)
    return float((kinds[near] != kinds[:, None]).mean() / by_chance)


def _not_mixed(state: State, models: Mapping[str, ObjectModel], vessel: str, least: float) -> str:
    inside = contained(state.grains, state.poses[vessel], models[vessel])
    if inside.mean() < KEPT:
        return f"{int((~inside).sum())} of {len(inside)} grains are not in the {vessel}"
    reached = mixing(state.grains[inside], state.kinds[inside])
    return "" if reached >= least else f"the contents of the {vessel} are mixed to {reached:.2f} only"
