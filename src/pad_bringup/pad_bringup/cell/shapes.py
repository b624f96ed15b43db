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
    return _revolved(strips, segments)


def solid(outer: Sequence[tuple[float, float]], segments: int = 48) -> TexturedMesh:
    """A closed solid of revolution: labelled wall, plain flat bottom and top.

    outer: (height, radius) from the bottom to the top, m; the bottom need not be at 0.
    """
    (low, first), (high, last) = outer[0], outer[-1]
    plain = (LABEL_SHARE + 1) / 2
    strips: list[list[tuple[float, float, float]]] = [
        [(low, 1e-5, plain), (low, first, plain)],
        [(z, r, LABEL_SHARE * (z - low) / (high - low)) for z, r in outer],
        [(high, last, plain), (high, 1e-5, plain)],
    ]
    return _revolved(strips, segments)


def box(width: float, depth: float, height: float) -> TexturedMesh:
    """A box on the plane z = 0, centred on the z axis: labelled sides, plain bottom and top. Metres along x, y, z."""
    x, y = width / 2, depth / 2
    ring = np.array([[x, -y], [x, y], [-x, y], [-x, -y], [x, -y]])
    lengths = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(ring, axis=0), axis=1))])
    vertices, normals, texture, faces = [], [], [], []
    for k in range(4):
        out = np.array([ring[k + 1, 1] - ring[k, 1], ring[k, 0] - ring[k + 1, 0], 0.0])
        corners = [(*ring[k], 0.0), (*ring[k + 1], 0.0), (*ring[k + 1], height), (*ring[k], height)]
        around = [lengths[k], lengths[k + 1], lengths[k + 1], lengths[k]]
        vertices.append(np.array(corners))
        normals.append(np.tile(out / np.linalg.norm(out), (4, 1)))
        texture.append(np.column_stack([np.array(around) / lengths[-1], np.array([0, 0, 1, 1]) * LABEL_SHARE]))
    for z, up in ((0.0, -1.0), (height, 1.0)):
        corners_flat = ring[:4] if up > 0 else ring[3::-1]
        vertices.append(np.column_stack([corners_flat, np.full(4, z)]))
        normals.append(np.tile([0.0, 0.0, up], (4, 1)))
        texture.append(np.full((4, 2), (LABEL_SHARE + 1) / 2))
    for k in range(6):
        faces += [[4 * k, 4 * k + 1, 4 * k + 2], [4 * k, 4 * k + 2, 4 * k + 3]]
    return TexturedMesh(
        np.concatenate(vertices), np.concatenate(normals), np.concatenate(texture), np.array(faces, np.int32)
    )


def _revolved(strips: Sequence[Sequence[tuple[float, float, float]]], segments: int) -> TexturedMesh:
    """Surfaces swept by profiles of (height, radius, v); each profile has its outside on its right."""
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
