"""Household things that stand about and have no part in the task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pad_bringup.cell.instances import random_texture
from pad_bringup.cell.objects import TextureModel
from pad_bringup.cell.shapes import TexturedMesh, box, solid, vessel
from pad_bringup.errors import CellError

AREA = ((-0.22, 0.24), (-0.42, 0.42))
"""m: where distractors stand, x and y in the task frame."""
_GAP = 0.02
_TRIALS = 400
_OPEN_WALL, _OPEN_FLOOR = 0.003, 0.005


@dataclass(frozen=True, eq=False)
class Distractor:
    """One thing, origin at the centre of its base, z up.

    Attributes:
        kind: what it looks like.
        mesh: its surface.
        texture: its label.
        radius, height: m; the upright cylinder around it.
    """

    kind: str
    mesh: TexturedMesh
    texture: TextureModel
    radius: float
    height: float


def draw_distractors(count: int, rng: np.random.Generator) -> list[Distractor]:
    """`count` things with sizes and labels of their own; the first is like a bottle, the second like a cup."""
    kinds = list(_MAKERS)
    chosen = kinds[:2] + [kinds[rng.integers(len(kinds))] for _ in range(max(0, count - 2))]
    return [_draw(kind, rng) for kind in chosen[:count]]


def scatter(
    distractors: Sequence[Distractor], taken: Mapping[str, tuple[float, float, float]], rng: np.random.Generator
) -> list[tuple[float, float, float]]:
    """A free place (x, y, yaw) for each, m and rad in the task frame, anywhere in `AREA`.

    taken: name -> (x, y, radius) of what stands there already; 2 cm stay free around everything.
    A distractor may hide a part of what stands behind it.

    Raises:
        CellError: there is no room left.
    """
    circles = list(taken.values())
    places = []
    for thing in distractors:
        for _ in range(_TRIALS):
            x, y = rng.uniform(*AREA[0]), rng.uniform(*AREA[1])
            if all(np.hypot(x - cx, y - cy) > thing.radius + radius + _GAP for cx, cy, radius in circles):
                break
        else:
            raise CellError(f"no room on the table for {len(distractors)} distractors; ask for fewer")
        circles.append((x, y, thing.radius))
        places.append((float(x), float(y), float(rng.uniform(-np.pi, np.pi))))
    return places


def _bottle(rng: np.random.Generator) -> tuple[TexturedMesh, float, float]:
    body, neck = rng.uniform(0.024, 0.042), rng.uniform(0.35, 0.7)
    low, shoulder, top = rng.uniform(0.08, 0.14), rng.uniform(0.02, 0.04), rng.uniform(0.02, 0.06)
    outer = [(0.0, body), (low, body), (low + shoulder, body * neck), (low + shoulder + top, body * neck)]
    return vessel(outer, _OPEN_WALL, _OPEN_FLOOR), body, outer[-1][0]


def _cup(rng: np.random.Generator) -> tuple[TexturedMesh, float, float]:
    base, flare, height = rng.uniform(0.028, 0.05), rng.uniform(0.9, 1.3), rng.uniform(0.06, 0.12)
    return vessel([(0.0, base), (height, base * flare)], _OPEN_WALL, _OPEN_FLOOR), base * max(flare, 1.0), height


def _bowl(rng: np.random.Generator) -> tuple[TexturedMesh, float, float]:
    rim, height = rng.uniform(0.06, 0.085), rng.uniform(0.035, 0.06)
    outer = [(0.0, 0.5 * rim), (0.4 * height, 0.8 * rim), (height, rim)]
    return vessel(outer, _OPEN_WALL, _OPEN_FLOOR), rim, height


def _tin(rng: np.random.Generator) -> tuple[TexturedMesh, float, float]:
    radius, height = rng.uniform(0.025, 0.045), rng.uniform(0.04, 0.13)
    return solid([(0.0, radius), (height, radius)]), radius, height


def _ball(rng: np.random.Generator) -> tuple[TexturedMesh, float, float]:
    radius = rng.uniform(0.028, 0.042)
    angles = np.linspace(-np.pi / 2, np.pi / 2, 15)[1:-1]
    outer = [(float(radius * (1 + np.sin(a))), float(radius * np.cos(a))) for a in angles]
    return solid(outer), radius, 2 * radius


def _carton(rng: np.random.Generator) -> tuple[TexturedMesh, float, float]:
    width, depth, height = rng.uniform(0.04, 0.10), rng.uniform(0.025, 0.06), rng.uniform(0.05, 0.17)
    return box(width, depth, height), float(np.hypot(width, depth) / 2), height


_MAKERS: dict[str, Callable[[np.random.Generator], tuple[TexturedMesh, float, float]]] = {
    "bottle": _bottle,
    "cup": _cup,
    "bowl": _bowl,
    "tin": _tin,
    "ball": _ball,
    "carton": _carton,
}


def _draw(kind: str, rng: np.random.Generator) -> Distractor:
    mesh, radius, height = _MAKERS[kind](rng)
    return Distractor(kind, mesh, random_texture(rng), float(radius), float(height))
