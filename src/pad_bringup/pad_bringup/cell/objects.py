"""The objects of a cell task: bodies of revolution with keypoints, read from `config/objects/<task>.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Annotated, Literal

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pad_bringup.errors import CellError, ResourceError
from pad_bringup.resources import share_directory
from pad_bringup.user_tasks import task_file
from pad_parse import geometry
from pad_parse.task import user_tasks

FloatArray = NDArray[np.float64]

_BESIDE = 0.002
"""m by which two places may differ and still be the same."""

_Positive = Annotated[float, Field(gt=0)]
_Colour = tuple[int, int, int]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)


class TextureModel(_Strict):
    """How an object's label is drawn: colours are RGB 0-255."""

    seed: int
    base: _Colour
    inks: list[_Colour]


class SupportModel(_Strict):
    """What an object stands on or in at the start, upright and on the same axis.

    object: the other one. sinks: m that its base is below the other's top; None: down on the floor of a vessel.
    """

    object: str
    sinks: Annotated[float, Field(ge=0)] | None = None


class ObjectModel(_Strict):
    """One object; its frame has its origin in the centre of the base, z up.

    form: an open vessel that small things fit into, or a solid thing that fits into vessels.
    mass: kg. wall, floor: m of thickness; a solid has none.
    outer: (height, outer radius) of the wall from the bottom to the open top, m.
    home: (x, y, yaw) in the task frame, m and rad. stands_on: what it stands on, if not the table; their homes agree.
    keypoints: group -> [(azimuth in degrees, height in m)] on the outer surface.
    """

    form: Literal["vessel", "solid"] = "vessel"
    mass: _Positive
    wall: Annotated[float, Field(ge=0)] = 0.0
    floor: Annotated[float, Field(ge=0)] = 0.0
    outer: Annotated[list[tuple[float, float]], Field(min_length=2)]
    home: tuple[float, float, float]
    stands_on: SupportModel | None = None
    texture: TextureModel
    keypoints: dict[str, list[tuple[float, float]]]

    @model_validator(mode="after")
    def _profile_rises(self) -> ObjectModel:
        heights = [height for height, _ in self.outer]
        if heights[0] != 0.0 or any(b <= a for a, b in pairwise(heights)):
            raise ValueError("outer must start at height 0 and rise")
        if (self.wall > 0, self.floor > 0) != (self.form == "vessel",) * 2:
            raise ValueError("a vessel has a wall and a floor, a solid has neither")
        if min(radius for _, radius in self.outer) <= self.wall:
            raise ValueError("outer radius must exceed the wall")
        return self

    @property
    def height(self) -> float:
        """Height in m."""
        return self.outer[-1][0]

    def radius_at(self, height: float) -> float:
        """Outer radius in m at a height in m."""
        heights, radii = zip(*self.outer, strict=True)
        return float(np.interp(height, heights, radii))

    def keypoint_positions(self) -> FloatArray:
        """(n, 3) m in the object frame, group by group."""
        points = []
        for places in self.keypoints.values():
            for azimuth, height in places:
                angle, radius = np.radians(azimuth), self.radius_at(height)
                points.append([radius * np.cos(angle), radius * np.sin(angle), height])
        return np.array(points).reshape(-1, 3)


class DrinkModel(_Strict):
    """Small balls in a vessel that stand for a liquid, or for grains; they have no friction.

    container: where they are at the start; target: where they are to be at the end. radius: m; density: kg/m^3;
    drag: N s/m against the air, which brings grains to rest. colour: RGBA 0-1; other_colour: of those that begin on
    the container's y > 0 side.
    """

    container: str
    target: str
    count: Annotated[int, Field(gt=0, le=200)]
    radius: _Positive
    density: _Positive
    drag: _Positive = 1e-4
    colour: tuple[float, float, float, float]
    other_colour: tuple[float, float, float, float] | None = None


class ObjectsFile(_Strict):
    """What a file in `config/objects` says."""

    objects: dict[str, ObjectModel]
    drink: DrinkModel | None = None

    @model_validator(mode="after")
    def _stacks_stand(self) -> ObjectsFile:
        for name, model in self.objects.items():
            if model.stands_on is None:
                continue
            if model.stands_on.object not in self.objects or model.stands_on.object == name:
                raise ValueError(f"{name} stands on {model.stands_on.object!r}, which is no other object")
            below = self.objects[model.stands_on.object]
            if below.stands_on is not None:
                raise ValueError(f"{name} stands on the {model.stands_on.object}, which must itself stand on the table")
            if model.form != "solid":
                raise ValueError(f"{name} stands on the {model.stands_on.object}; only a solid can")
            if model.stands_on.sinks is None and below.form != "vessel":
                raise ValueError(f"{name} cannot be down in the {model.stands_on.object}, no vessel; give sinks")
            if model.home != below.home:
                raise ValueError(f"{name} stands on the {model.stands_on.object}; its home must be {below.home} too")
        return self

    @model_validator(mode="after")
    def _drink_refers_to_objects(self) -> ObjectsFile:
        if self.drink is None:
            return self
        for name in (self.drink.container, self.drink.target):
            if name not in self.objects:
                raise ValueError(f"drink refers to {name!r}, which is no object")
        return self


@dataclass(frozen=True)
class TaskObjects:
    """All objects of a task, in the order of the task's keypoints.

    models: by object name. drink: what is poured, if anything is.
    """

    task: str
    models: dict[str, ObjectModel]
    drink: DrinkModel | None = None

    @cached_property
    def keypoint_objects(self) -> list[str]:
        """Object of every keypoint."""
        return [name for name, m in self.models.items() for places in m.keypoints.values() for _ in places]

    @cached_property
    def keypoint_groups(self) -> list[str]:
        """Group of every keypoint."""
        return [group for m in self.models.values() for group, places in m.keypoints.items() for _ in places]

    @cached_property
    def keypoint_names(self) -> list[str]:
        """Name of every keypoint: its group, with a number where the group has several."""
        return [
            group if len(places) == 1 else f"{group}_{k}"
            for m in self.models.values()
            for group, places in m.keypoints.items()
            for k in range(len(places))
        ]

    @cached_property
    def keypoint_positions(self) -> FloatArray:
        """(N, 3) m, each in the frame of its own object."""
        return np.concatenate([m.keypoint_positions() for m in self.models.values()])

    def stack(self) -> dict[str, str]:
        """Object -> what it stands on at the start, for those that do not stand on the table."""
        return {name: model.stands_on.object for name, model in self.models.items() if model.stands_on is not None}

    def in_stacks(self) -> frozenset[str]:
        """Everything that stands on another object at the start, or has one standing on it."""
        return frozenset(self.stack()) | frozenset(self.stack().values())

    def rest_height(self, name: str) -> float:
        """m of the object's base above the table at the start."""
        on = self.models[name].stands_on
        if on is None:
            return 0.0
        below = self.models[on.object]
        return below.floor if on.sinks is None else max(below.height - on.sinks, below.floor)

    def places(self, given: Mapping[str, tuple[float, float, float]]) -> dict[str, tuple[float, float, float]]:
        """(x, y, yaw) of every object, m and rad: as given, else that of what it stands on, else its home.

        Raises:
            CellError: one is given another place than what it stands on.
        """
        homes = {name: model.home for name, model in self.models.items()}
        out = homes | dict(given)
        for name, below in self.stack().items():
            if name not in given:
                out[name] = out[below]
            elif np.hypot(*np.subtract(given[name][:2], out[below][:2])) > _BESIDE:
                raise CellError(f"the {name} stands on the {below}: give both the same place, or that of the {below}")
        return out

    def poses(self, given: Mapping[str, tuple[float, float, float]]) -> dict[str, FloatArray]:
        """(4, 4) of every object in the task frame at the start, for places as in `places`."""
        places = self.places(given)
        return {name: geometry.yaw_pose(*places[name], self.rest_height(name)) for name in self.models}

    def keypoints_in_object(self) -> dict[str, FloatArray]:
        """Object -> (n, 3) m in the object frame."""
        return {name: m.keypoint_positions() for name, m in self.models.items()}


def load_objects(task: str) -> TaskObjects:
    """The objects of a task of the simulated cell.

    Raises:
        CellError: the cell has no such task, or its file is damaged.
    """
    try:
        path = task_file(task, "objects")
    except ResourceError:
        known = sorted(p.stem for p in (share_directory() / "config" / "objects").glob("*.yaml")) + list(user_tasks())
        raise CellError(f"the simulated cell has no objects for task {task!r}; it has: {', '.join(known)}") from None
    try:
        content = ObjectsFile.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except yaml.YAMLError as error:
        raise CellError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise CellError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    return TaskObjects(task, content.objects, content.drink)
