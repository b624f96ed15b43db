"""The objects of a cell task: bodies of revolution with keypoints, read from `config/objects/<task>.yaml`."""

from __future__ import annotations

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
from pad_parse.task import user_tasks

FloatArray = NDArray[np.float64]

_Positive = Annotated[float, Field(gt=0)]
_Colour = tuple[int, int, int]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)


class TextureModel(_Strict):
    """How an object's label is drawn: colours are RGB 0-255."""

    seed: int
    base: _Colour
    inks: list[_Colour]


class ObjectModel(_Strict):
    """One object; its frame has its origin in the centre of the base, z up.

    form: an open vessel that small things fit into, or a solid thing that fits into vessels.
    mass: kg. wall, floor: m of thickness; a solid has none.
    outer: (height, outer radius) of the wall from the bottom to the open top, m.
    home: (x, y, yaw) in the task frame, m and rad.
    keypoints: group -> [(azimuth in degrees, height in m)] on the outer surface.
    """

    form: Literal["vessel", "solid"] = "vessel"
    mass: _Positive
    wall: Annotated[float, Field(ge=0)] = 0.0
    floor: Annotated[float, Field(ge=0)] = 0.0
    outer: Annotated[list[tuple[float, float]], Field(min_length=2)]
    home: tuple[float, float, float]
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


class _ObjectsFile(_Strict):
    objects: dict[str, ObjectModel]
    drink: DrinkModel | None = None

    @model_validator(mode="after")
    def _drink_refers_to_objects(self) -> _ObjectsFile:
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
        content = _ObjectsFile.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except yaml.YAMLError as error:
        raise CellError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise CellError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    return TaskObjects(task, content.objects, content.drink)
