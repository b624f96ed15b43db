"""The scenes of the paper's protocol: what is new to the policy in each of its three splits, drawn from a seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import mujoco
import numpy as np
from numpy.typing import NDArray

from pad_bringup.cell import scene, textures
from pad_bringup.cell.distractors import Distractor, draw_distractors
from pad_bringup.cell.instances import another_instance
from pad_bringup.cell.objects import ObjectModel, TaskObjects
from pad_bringup.errors import CellError
from pad_bringup.splits import SPLITS, Split

DISTRACTORS = 3
_CLEARANCE = 0.07
"""m between a distractor and an object, or the straight way between two objects: room for a gripper."""
AREA = ((0.04, 0.30), (-0.40, 0.40))
"""m: where distractors stand, x and y in the task frame: on the camera's side; the arms reach in from the others."""
_TRIES = 500
_FINGERS = 0.012
"""m of a gripper's widest opening that stay free around what it could take before, with the play of two fingers."""
_PLAY = 0.006
"""m between a thing and the vessel that it has to fit into, across."""
_TAKEN = 0.9
"""Share of what sticks out of a vessel, or stands above it, that is left: it is taken there."""
_TABLE = 512

Place = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Variation:
    """What differs from the task's own scene.

    Attributes:
        objects: instead of the task's; None: the task's own.
        distractors: what stands about.
        table: (H, W, 3) uint8 RGB picture of the table's top; None: as always.
        light: factor (3,) RGB of every lamp, and `turn`: rad by which their directions are turned about z.
        seed: what it was drawn from.
    """

    objects: TaskObjects | None = None
    distractors: tuple[Distractor, ...] = ()
    table: NDArray[np.uint8] | None = None
    light: tuple[float, float, float] = (1.0, 1.0, 1.0)
    turn: float = 0.0
    seed: int = 0

    def apply(self, spec: mujoco.MjSpec) -> None:
        """Change table and light of a scene made by `scene.build_spec`."""
        if self.table is not None:
            spec.texture("wood").data = np.ascontiguousarray(self.table).tobytes()
        c, s = np.cos(self.turn), np.sin(self.turn)
        for lamp in spec.lights:
            lamp.diffuse = (np.asarray(lamp.diffuse) * self.light).tolist()
            x, y, z = lamp.dir
            lamp.dir = [c * x - s * y, s * x + c * y, z]
        head = spec.visual.headlight
        head.ambient = (np.asarray(head.ambient) * self.light).tolist()
        head.diffuse = (np.asarray(head.diffuse) * self.light).tolist()


def draw_variation(split: Split, objects: TaskObjects, max_opening: float, seed: int) -> Variation:
    """The scene of one trial, from its seed alone.

    objects: the task's own. max_opening: m, of the grippers.

    Raises:
        CellError: no such split, or no other instance of the objects allows the task.
    """
    rng = np.random.default_rng([seed, 11])
    if split == "spatial":
        return Variation()
    if split == "object":
        return Variation(objects=_other_objects(objects, max_opening, rng))
    if split == "background":
        brightness, tint = rng.uniform(0.6, 1.4), rng.uniform(0.9, 1.1, 3)
        red, green, blue = (float(brightness * part) for part in tint)
        return Variation(
            distractors=tuple(draw_distractors(DISTRACTORS, rng)),
            table=_table(rng),
            light=(red, green, blue),
            turn=float(rng.uniform(-np.pi, np.pi)),
            seed=seed,
        )
    raise CellError(f"there is no split {split!r}; there are: {', '.join(SPLITS)}")


def place_distractors(
    things: tuple[Distractor, ...], objects: TaskObjects, places: Mapping[str, Place], rng: np.random.Generator
) -> list[Place]:
    """A place (x, y, yaw) for each distractor where it is in no hand's way, m and rad in the task frame.

    Clear of the objects, of the straight ways between them and of the robots' side; it may hide a part of an object.

    Raises:
        CellError: there is no room.
    """
    spots = [np.array(places[name][:2]) for name in objects.models]
    radii = [max(radius for _, radius in model.outer) for model in objects.models.values()]
    taken: list[tuple[NDArray[np.float64], float]] = []
    found = []
    for thing in things:
        for _ in range(_TRIES):
            here = np.array([rng.uniform(*AREA[0]), rng.uniform(*AREA[1])])
            free = all(
                _to_segment(here, spots[a], spots[b]) > thing.radius + max(radii[a], radii[b]) + _CLEARANCE
                for a in range(len(spots))
                for b in range(a, len(spots))
            )
            if free and all(np.linalg.norm(here - other) > thing.radius + radius + 0.02 for other, radius in taken):
                break
        else:
            raise CellError(f"no room on the table for {len(things)} distractors around {', '.join(objects.models)}")
        taken.append((here, thing.radius))
        found.append((float(here[0]), float(here[1]), float(rng.uniform(-np.pi, np.pi))))
    return found


def _to_segment(point: NDArray[np.float64], a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    along = b - a
    length = float(along @ along)
    share = 0.0 if length == 0 else float(np.clip((point - a) @ along / length, 0.0, 1.0))
    return float(np.linalg.norm(point - (a + share * along)))


def _other_objects(objects: TaskObjects, max_opening: float, rng: np.random.Generator) -> TaskObjects:
    for _ in range(_TRIES):
        other = another_instance(objects, rng)
        if _can_be_handled(objects, other, max_opening):
            return other
    raise CellError(f"no other instance of {', '.join(objects.models)} fits the grippers and one another")


def _can_be_handled(own: TaskObjects, other: TaskObjects, max_opening: float) -> bool:
    """Whether grippers still close around what they did, things fit in and can be taken out, and the drink has room."""
    for name, model in own.models.items():
        for (_, before), (_, now) in zip(model.outer, other.models[name].outer, strict=True):
            if 2 * before <= max_opening - _FINGERS and 2 * now > max_opening - _FINGERS:
                return False
    for name in own.stack():
        if _sticks_out(other, name) < _TAKEN * _sticks_out(own, name):
            return False
    solids = [name for name, model in own.models.items() if model.form == "solid"]
    vessels = [name for name, model in own.models.items() if model.form == "vessel"]
    for thing in solids:
        for vessel in vessels:
            fitted = _mouth(own.models[vessel]) - _girth(own.models[thing])
            fits = _mouth(other.models[vessel]) - _girth(other.models[thing])
            if fitted > 0 and fits < min(fitted, _PLAY):
                return False
    if own.drink is None:
        return True
    try:
        scene.drink_positions(other.models[own.drink.container], own.drink)
    except CellError:
        return False
    into, source = other.models[own.drink.target], other.models[own.drink.container]
    # A cup that holds less than the task's own would overflow, and a neck wider than the cup pours beside it.
    return into is source or (
        _room(into) >= min(_room(own.models[own.drink.target]), 3 * _drink_volume(own))
        and source.outer[-1][1] <= _mouth(into) / 2 + source.wall
    )


def _sticks_out(objects: TaskObjects, name: str) -> float:
    """m of an object above the top of what it stands on, or in."""
    below = objects.models[objects.stack()[name]]
    return objects.rest_height(name) + objects.models[name].height - below.height


def _mouth(model: ObjectModel) -> float:
    """m; the narrowest inner width of a vessel."""
    return 2 * (min(radius for _, radius in model.outer) - model.wall)


def _girth(model: ObjectModel) -> float:
    return 2 * max(radius for _, radius in model.outer)


def _room(model: ObjectModel) -> float:
    heights = np.linspace(model.floor, model.height, 33)
    inside = np.array([model.radius_at(height) - model.wall for height in heights])
    return float(np.trapezoid(np.pi * inside**2, heights))


def _drink_volume(objects: TaskObjects) -> float:
    assert objects.drink is not None
    return objects.drink.count * (2 * objects.drink.radius) ** 3


def _table(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Another wood, or a cloth with a pattern."""
    colour = rng.uniform(60, 220, 3)
    if rng.uniform() < 0.5:
        grain = textures.wood(_TABLE, seed=int(rng.integers(2**31))).astype(np.float64)
        return np.clip(grain / grain.mean((0, 1)) * colour, 0, 255).astype(np.uint8)
    picture = np.empty((_TABLE, _TABLE, 3), np.uint8)
    picture[:] = colour.astype(np.uint8)
    other = np.clip(colour + rng.uniform(-70, 70, 3), 0, 255)
    pitch = int(rng.integers(24, 96))
    for start in range(0, _TABLE, pitch):
        cv2.line(picture, (start, 0), (start, _TABLE), other.tolist(), pitch // 4)
        if pitch % 2:
            cv2.line(picture, (0, start), (_TABLE, start), other.tolist(), pitch // 4)
    return picture
