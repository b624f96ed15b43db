"""When a task is done, from its YAML's `success`: conditions on objects and grippers that all hold at one instant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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
_OFF_TABLE = -0.02
"""m; what is lower has fallen off."""


@dataclass(frozen=True)
class State:
    """How things stand. poses: object -> (4, 4) in the task frame. holders: object -> arms whose fingers clasp it."""

    poses: Mapping[str, FloatArray]
    holders: Mapping[str, frozenset[int]]


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
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    inside: dict[str, str] = {}
    upright: dict[str, Annotated[float, Field(gt=0, lt=1.58)]] = {}
    apart: dict[str, tuple[str, Annotated[float, Field(gt=0)]]] = {}
    held: tuple[str, ...] = ()
    free: tuple[str, ...] = ()

    def judge(self, state: State, models: Mapping[str, ObjectModel]) -> Verdict:
        """Judge one instant."""
        faults = [
            *(_not_inside(state, models, thing, vessel) for thing, vessel in self.inside.items()),
            *(_not_upright(state, name, tilt) for name, tilt in self.upright.items()),
            *(_not_apart(state, name, other, least) for name, (other, least) in self.apart.items()),
            *("" if state.holders[name] else f"the {name} is not held" for name in self.held),
            *(f"the {name} is still held" if state.holders[name] else "" for name in self.free),
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
    named = [*goal.inside, *goal.inside.values(), *goal.upright, *goal.held, *goal.free]
    named += [*goal.apart, *(other for other, _ in goal.apart.values())]
    if not named:
        raise CellError(f"task {objects.task} does not say when it is done; give conditions under success")
    for name in named:
        if name not in objects.models:
            raise CellError(
                f"task {objects.task}: success is about {name!r}; its objects are {', '.join(objects.models)}"
            )
    for vessel in goal.inside.values():
        if objects.models[vessel].form != "vessel":
            raise CellError(f"task {objects.task}: nothing can be inside the {vessel}, which is no vessel")
    return goal


def _not_inside(state: State, models: Mapping[str, ObjectModel], thing: str, vessel: str) -> str:
    """Empty, or what is wrong."""
    heights = np.linspace(0.0, models[thing].height, _AXIS_POINTS)
    axis = geometry.transform_points(state.poses[thing], np.outer(heights, [0.0, 0.0, 1.0]))
    share = contained(axis, state.poses[vessel], models[vessel]).mean()
    return "" if share >= 0.75 else f"the {thing} is not in the {vessel}"


def _not_upright(state: State, name: str, largest: float) -> str:
    pose = state.poses[name]
    if pose[2, 3] < _OFF_TABLE:
        return f"the {name} has fallen off the table"
    tilt = float(np.arccos(np.clip(pose[2, 2], -1.0, 1.0)))
    return f"the {name} is tilted by {np.degrees(tilt):.0f} degrees" if tilt > largest else ""


def _not_apart(state: State, name: str, other: str, least: float) -> str:
    distance = float(np.linalg.norm(state.poses[name][:3, 3] - state.poses[other][:3, 3]))
    return "" if distance >= least else f"the {name} is {distance * 100:.0f} cm from the {other}"
