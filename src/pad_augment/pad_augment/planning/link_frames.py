"""Frames and collision shapes of a robot description's links, for many postures at once."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from pad_augment.errors import RobotError

FloatArray = NDArray[np.float64]
Frames = tuple[FloatArray, FloatArray]
"""Rotations (S, 3, 3) and positions (S, 3), m."""

_CIRCLE = 16


@dataclass(frozen=True, eq=False)
class Primitive:
    """A box, cylinder (along z) or sphere. size: x, y, z | radius, length | radius; m. pose: (4, 4) in its link."""

    kind: str
    size: tuple[float, ...]
    pose: FloatArray

    def hull(self) -> FloatArray:
        """(n, 3) m in the link; their convex hull holds the shape. Spheres are not: their centre, see `radius`."""
        if self.kind == "box":
            corners = np.array(np.meshgrid(*[[-0.5, 0.5]] * 3)).reshape(3, -1).T * self.size
        elif self.kind == "cylinder":
            angle = 2 * np.pi * np.arange(_CIRCLE) / _CIRCLE
            rim = self.size[0] / np.cos(np.pi / _CIRCLE) * np.stack([np.cos(angle), np.sin(angle)], axis=1)
            half = np.full((_CIRCLE, 1), self.size[1] / 2)
            corners = np.concatenate([np.c_[rim, half], np.c_[rim, -half]])
        else:
            corners = np.zeros((1, 3))
        return np.asarray(corners @ self.pose[:3, :3].T + self.pose[:3, 3])

    @property
    def radius(self) -> float:
        """m around the hull's points."""
        return self.size[0] if self.kind == "sphere" else 0.0


@dataclass(frozen=True, eq=False)
class Capsule:
    """All points within `radius` m of the line between two ends (2, 3) m, in a link's frame."""

    ends: FloatArray
    radius: float


def bounding_capsule(shapes: Sequence[Primitive]) -> Capsule:
    """A capsule along one of the frame's axes that holds all shapes; the one with the least volume."""
    points = np.concatenate([shape.hull() for shape in shapes])
    extra = max(shape.radius for shape in shapes)
    best: tuple[float, Capsule] | None = None
    for axis in range(3):
        others = [i for i in range(3) if i != axis]
        middle = (points[:, others].max(0) + points[:, others].min(0)) / 2
        away = np.linalg.norm(points[:, others] - middle, axis=1)
        radius = float(away.max())
        cap = np.sqrt(np.maximum(radius**2 - away**2, 0.0))
        low, high = float((points[:, axis] + cap).min()), float((points[:, axis] - cap).max())
        if low > high:
            low = high = (low + high) / 2
            centre = np.insert(middle, axis, low)
            radius = float(np.linalg.norm(points - centre, axis=1).max())
        ends = np.array([np.insert(middle, axis, low), np.insert(middle, axis, high)])
        volume = radius**2 * (high - low + 4 / 3 * radius)
        if best is None or volume < best[0]:
            best = (volume, Capsule(ends, radius + extra))
    assert best is not None
    return best[1]


@dataclass(frozen=True, eq=False)
class _Joint:
    """A joint with the fixed transforms before it; its own axis is turned to z."""

    name: str
    kind: str
    parent: int
    rotation: FloatArray
    position: FloatArray
    factor: float


class LinkTree:
    """The links of a URDF that carry shapes or that are asked for, with forward kinematics for many postures.

    Attributes:
        shapes: link -> its shapes.
        joints: names of the joints that are not fixed, mimics left out, in the order of the columns of `frames`.
        ancestors: link -> joints that move it.
    """

    def __init__(self, urdf: str) -> None:
        root = ElementTree.fromstring(urdf)
        self.shapes = {
            str(link.get("name")): [_primitive(element, str(link.get("name"))) for element in link.findall("collision")]
            for link in root.findall("link")
        }
        self.joints: list[str] = []
        self.ancestors: dict[str, tuple[str, ...]] = {}
        self._moving: list[_Joint] = []
        self._column: dict[str, int] = {}
        # link -> number of the joint that moves it (-1: none) and its fixed pose after that joint
        self._links: dict[str, tuple[int, FloatArray]] = {}
        by_parent: dict[str, list[ElementTree.Element]] = {}
        children = set()
        for joint in root.findall("joint"):
            by_parent.setdefault(_link_of(joint, "parent"), []).append(joint)
            children.add(_link_of(joint, "child"))
        for link in self.shapes:
            if link not in children:
                self._links[link] = (-1, np.eye(4))
                self.ancestors[link] = ()
                self._grow(link, by_parent)

    def _grow(self, link: str, by_parent: dict[str, list[ElementTree.Element]]) -> None:
        for joint in by_parent.get(link, []):
            number, pose = self._links[link]
            pose = pose @ origin(joint)
            child = _link_of(joint, "child")
            kind = str(joint.get("type"))
            ancestors = self.ancestors[link]
            if kind != "fixed":
                element = joint.find("axis")
                axis = [1.0, 0.0, 0.0] if element is None else [float(v) for v in str(element.get("xyz")).split()]
                to_z = Rotation.align_vectors([axis], [[0.0, 0.0, 1.0]])[0].as_matrix()
                mimic = joint.find("mimic")
                name = str(joint.get("name")) if mimic is None else str(mimic.get("joint"))
                factor = 1.0 if mimic is None else float(mimic.get("multiplier", "1"))
                if mimic is None:
                    self._column[name] = len(self.joints)
                    self.joints.append(name)
                self._moving.append(_Joint(name, kind, number, pose[:3, :3] @ to_z, pose[:3, 3], factor))
                number, pose = len(self._moving) - 1, np.eye(4)
                pose[:3, :3] = to_z.T
                ancestors = (*ancestors, name)
            self._links[child] = (number, pose)
            self.ancestors[child] = ancestors
            self._grow(child, by_parent)

    def joint_frame(self, joint: str) -> int:
        """Number of the frame in `moving_frames` after a joint."""
        return 1 + next(i for i, moving in enumerate(self._moving) if moving.name == joint)

    def joint_offset(self, frame: int) -> FloatArray:
        """(3,) m, origin of a joint's frame in the frame of the joint before it, where its own position is 0."""
        return self._moving[frame - 1].position

    def distance_bound(self, link: str, frame: int) -> float:
        """m, the link's origin is never farther from that of a joint's frame, which moves it; sliding left out."""
        number, pose = self.place(link)
        length = float(np.linalg.norm(pose[:3, 3]))
        while number != frame:
            length += float(np.linalg.norm(self.joint_offset(number)))
            number = self._moving[number - 1].parent + 1
        return length

    def place(self, link: str) -> tuple[int, FloatArray]:
        """The frame of `moving_frames` that a link is fixed in, and its pose (4, 4) there."""
        number, pose = self._links[link]
        return number + 1, pose

    def moving_frames(self, postures: FloatArray) -> Frames:
        """The root and the frame after every joint that moves, for postures (S, joints); rad and m.

        Returns:
            Rotations (S, frames, 3, 3) and positions (S, frames, 3) in the root.
        """
        rotations = np.empty((len(postures), len(self._moving) + 1, 3, 3))
        positions = np.empty((len(postures), len(self._moving) + 1, 3))
        rotations[:, 0], positions[:, 0] = np.eye(3), 0.0
        values = postures[:, [self._column[joint.name] for joint in self._moving]]
        values = values * [joint.factor for joint in self._moving]
        cosines, sines = np.cos(values)[:, :, None], np.sin(values)[:, :, None]
        for number, joint in enumerate(self._moving):
            before = np.ascontiguousarray(rotations[:, joint.parent + 1])
            rotation = _times(before, joint.rotation)
            position = _times(before, joint.position) + positions[:, joint.parent + 1]
            if joint.kind == "prismatic":
                rotations[:, number + 1] = rotation
                positions[:, number + 1] = position + values[:, number, None] * rotation[:, :, 2]
                continue
            c, s = cosines[:, number], sines[:, number]
            turned = rotations[:, number + 1]
            turned[:, :, 0] = c * rotation[:, :, 0] + s * rotation[:, :, 1]
            turned[:, :, 1] = c * rotation[:, :, 1] - s * rotation[:, :, 0]
            turned[:, :, 2] = rotation[:, :, 2]
            positions[:, number + 1] = position
        return rotations, positions

    def frames(self, postures: FloatArray, links: Sequence[str]) -> dict[str, Frames]:
        """Link -> rotations (S, 3, 3) and positions (S, 3) in the root for postures (S, joints); rad and m."""
        rotations, positions = self.moving_frames(postures)
        out = {}
        for link in links:
            number, pose = self.place(link)
            rotation = np.ascontiguousarray(rotations[:, number])
            out[link] = _times(rotation, pose[:3, :3]), _times(rotation, pose[:3, 3]) + positions[:, number]
        return out


def _times(rotations: FloatArray, factor: FloatArray) -> FloatArray:
    """Rotations (S, 3, 3) times a matrix (3, 3) or vector (3,), as one product of all rows: much faster."""
    return np.asarray((rotations.reshape(-1, 3) @ factor).reshape(len(rotations), 3, *factor.shape[1:]))


def origin(element: ElementTree.Element) -> FloatArray:
    """Pose (4, 4) of an element's `origin`."""
    pose = np.eye(4)
    found = element.find("origin")
    if found is not None:
        pose[:3, :3] = Rotation.from_euler("xyz", [float(v) for v in found.get("rpy", "0 0 0").split()]).as_matrix()
        pose[:3, 3] = [float(v) for v in found.get("xyz", "0 0 0").split()]
    return pose


def _primitive(element: ElementTree.Element, link: str) -> Primitive:
    geometry = element.find("geometry")
    shape = geometry[0] if geometry is not None and len(geometry) else None
    pose = origin(element)
    if shape is not None and shape.tag == "box":
        return Primitive("box", tuple(float(v) for v in str(shape.get("size")).split()), pose)
    if shape is not None and shape.tag == "cylinder":
        return Primitive("cylinder", (float(str(shape.get("radius"))), float(str(shape.get("length")))), pose)
    if shape is not None and shape.tag == "sphere":
        return Primitive("sphere", (float(str(shape.get("radius"))),), pose)
    raise RobotError(
        f"link {link!r} has a collision shape {'without geometry' if shape is None else shape.tag!r}; "
        "collisions are proved for box, cylinder and sphere: model the link by those"
    )


def _link_of(joint: ElementTree.Element, end: str) -> str:
    element = joint.find(end)
    if element is None:
        raise RobotError(f"joint {joint.get('name')!r} of the robot description has no {end}")
    return str(element.get("link"))
