"""Triangle meshes of solids of revolution, with texture coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class TexturedMesh:
    """A surface with a texture.

    vertices: (V, 3) m. normals: (V, 3). texture: (V, 2) in [0, 1]; v = 0 is the texture's first row.
    faces: (F, 3) indices, counter-clockwise seen from outside.
    """

    vertices: NDArray[np.float64]
    normals: NDArray[np.float64]
    texture: NDArray[np.float64]
    faces: NDArray[np.int32]


LABEL_SHARE = 0.94
"""Share of the texture's height that the label takes; the rest is the plain colour of everything else."""


def vessel(outer: Sequence[tuple[float, float]], wall: float, floor: float, segments: int = 48) -> TexturedMesh:
    """An open vessel: outer wall (labelled), rim, inner wall and floor (plain).

    outer: (height, outer radius) from the bottom to the top, m.
    wall, floor: thickness, m.
    """
    height = outer[-1][0]
    inner_start = outer[0][1] - wall
    inner = [(floor, inner_start)] + [(z, r - wall) for z, r in outer if z > floor]
    plain = (LABEL_SHARE + 1) / 2
    strips: list[list[tuple[float, float, float]]] = [
        [(0.0, 1e-5, plain), (0.0, outer[0][1], plain)],
        [(z, r, LABEL_SHARE * z / height) for z, r in _subdivided(outer)],
        [(height, outer[-1][1], plain), (height, outer[-1][1] - wall, plain)],
        [(z, r, plain) for z, r in reversed(inner)],
        [(floor, inner_start, plain), (floor, 1e-5, plain)],
    ]
    vertices, normals, texture, faces = [], [], [], []
    angles = np.linspace(0, 2 * np.pi, segments + 1)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    count = 0
    for strip in strips:
        rows = np.array(strip)
        along = np.gradient(rows[:, :2], axis=0)
        along /= np.linalg.norm(along, axis=1, keepdims=True)
        # The profile runs so that the outside is on its right: normal = (radial dz, -dr).
        for (z, r, v), (dz, dr) in zip(rows, along, strict=True):
            vertices.append(np.column_stack([r * circle, np.full(segments + 1, z)]))
            normals.append(np.column_stack([dz * circle, np.full(segments + 1, -dr)]))
            texture.append(np.column_stack([angles / (2 * np.pi), np.full(segments + 1, v)]))
        for row in range(len(rows) - 1):
            a = count + row * (segments + 1) + np.arange(segments)
            b = a + segments + 1
            faces += [np.column_stack([a, a + 1, b + 1]), np.column_stack([a, b + 1, b])]
        count += len(rows) * (segments + 1)
    return TexturedMesh(
        np.concatenate(vertices),
        np.concatenate(normals),
        np.concatenate(texture),
        np.concatenate(faces).astype(np.int32),
    )


def _subdivided(profile: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The profile with each piece cut at both ends once more, so that shading keeps its edges."""
    points = [profile[0]]
    for (z0, r0), (z1, r1) in pairwise(profile):
        cut = min(0.002 / max(z1 - z0, 1e-9), 0.4)
        points += [(z0 + cut * (z1 - z0), r0 + cut * (r1 - r0)), (z1 - cut * (z1 - z0), r1 - cut * (r1 - r0)), (z1, r1)]
    return points
