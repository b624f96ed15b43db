"""Which pairs of links need no collision check: found by sampling postures, as MoveIt's set-up assistant does it."""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from enum import Enum

import coal
import numpy as np
from numpy.typing import NDArray

from pad_bringup.errors import ViewerError
from pad_bringup.urdf_scene import UrdfScene, origin

Pair = frozenset[str]


class Reason(Enum):
    """Why a pair needs no check."""

    ADJACENT = "Adjacent"  # joined by a joint, or by links without shapes between them
    FIXED = "Fixed"  # no joint moves between them
    NEVER = "Never"  # no sampled posture brought them together
    ALWAYS = "Always"  # every sampled posture did


class CollisionModel:
    """The collision shapes of a URDF (boxes, cylinders, spheres) and what touches what."""

    def __init__(self, urdf: str) -> None:
        """Raises: ViewerError: the text is no URDF, or a collision shape is none of the three."""
        self._scene = UrdfScene(urdf)
        root = ElementTree.fromstring(urdf)
        self._shapes: dict[str, list[tuple[coal.CollisionGeometry, NDArray[np.float64]]]] = {}
        for link in root.findall("link"):
            shapes = [(_shape(c), origin(c)) for c in link.findall("collision")]
            if shapes:
                self._shapes[link.get("name", "")] = shapes
        self._up: dict[str, tuple[str, bool]] = {}
        self.limits: dict[str, tuple[float, float]] = {}
        for joint in root.findall("joint"):
            parent, child = joint.find("parent"), joint.find("child")
            assert parent is not None and child is not None  # UrdfScene has looked
            self._up[child.get("link", "")] = parent.get("link", ""), joint.get("type") == "fixed"
            limit = joint.find("limit")
            if joint.get("type") != "fixed" and limit is not None and joint.find("mimic") is None:
                self.limits[joint.get("name", "")] = (
                    float(limit.get("lower", -np.pi)),
                    float(limit.get("upper", np.pi)),
                )

    @property
    def links(self) -> list[str]:
        """Links with collision shapes."""
        return list(self._shapes)

    def touching(self, positions: Mapping[str, float], pairs: set[Pair]) -> set[Pair]:
        """Those of `pairs` whose shapes overlap. positions: joint -> rad or m; others are at zero."""
        poses = self._scene.link_poses(positions)
        placed = {
            link: [(shape, _placed(poses[link] @ local)) for shape, local in shapes]
            for link, shapes in self._shapes.items()
        }
        request = coal.CollisionRequest()
        found = set()
        for pair in pairs:
            a, b = pair
            for (one, first), (two, second) in itertools.product(placed[a], placed[b]):
                if coal.collide(one, first, two, second, request, coal.CollisionResult()):
                    found.add(pair)
                    break
        return found

    def adjacent(self) -> set[Pair]:
        """Pairs of links with shapes that are neighbours, links without shapes between them left out."""
        pairs = set()
        for link in self._shapes:
            above = self._with_shape(link)
            if above is not None:
                pairs.add(frozenset((link, above)))
        return pairs

    def fixed(self) -> set[Pair]:
        """Pairs of links with shapes between which no joint moves."""
        rigid = {link: self._rigid_root(link) for link in self._shapes}
        return {frozenset((a, b)) for a, b in itertools.combinations(self._shapes, 2) if rigid[a] == rigid[b]}

    def _with_shape(self, link: str) -> str | None:
        while link in self._up:
            link = self._up[link][0]
            if link in self._shapes:
                return link
        return None

    def _rigid_root(self, link: str) -> str:
        while link in self._up and self._up[link][1]:
            link = self._up[link][0]
        return link


def collision_matrix(model: CollisionModel, samples: int, rng: np.random.Generator) -> dict[Pair, Reason]:
    """Pairs that need no check, by `samples` postures drawn evenly within the joint limits."""
    matrix = dict.fromkeys(model.fixed(), Reason.FIXED) | dict.fromkeys(model.adjacent(), Reason.ADJACENT)
    open_pairs = {frozenset(p) for p in itertools.combinations(model.links, 2)} - set(matrix)
    counts = dict.fromkeys(open_pairs, 0)
    for _ in range(samples):
        for pair in model.touching(random_posture(model, rng), open_pairs):
            counts[pair] += 1
    for pair, count in counts.items():
        if count in (0, samples):
            matrix[pair] = Reason.ALWAYS if count else Reason.NEVER
    return matrix


def random_posture(model: CollisionModel, rng: np.random.Generator) -> dict[str, float]:
    """Joint -> position, even within the limits."""
    return {name: float(rng.uniform(*limits)) for name, limits in model.limits.items()}


def _shape(collision: ElementTree.Element) -> coal.CollisionGeometry:
    form = collision.find("geometry")
    kind = form[0] if form is not None and len(form) else None
    if kind is not None and kind.tag == "box":
        return coal.Box(*(float(v) for v in kind.get("size", "").split()))
    if kind is not None and kind.tag == "cylinder":
        return coal.Cylinder(float(kind.get("radius", 0)), float(kind.get("length", 0)))
    if kind is not None and kind.tag == "sphere":
        return coal.Sphere(float(kind.get("radius", 0)))
    raise ViewerError(f"collision shape {None if kind is None else kind.tag!r} is none of box, cylinder, sphere")


def _placed(pose: NDArray[np.float64]) -> coal.Transform3s:
    return coal.Transform3s(pose[:3, :3], pose[:3, 3])
