"""What a robot description looks like: its visual shapes, and where they are for given joint positions."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import trimesh
from numpy.typing import NDArray

from pad_bringup.errors import ViewerError
from pad_parse import geometry

_GREY = (160, 165, 172)


@dataclass(frozen=True)
class Shape:
    """One visual shape: a mesh in the frame of its link.

    Attributes:
        link: link that it is fixed to.
        vertices: (V, 3) float32 metres, link frame.
        faces: (F, 3) int32.
        colour: (r, g, b), 0 to 255.
    """

    link: str
    vertices: NDArray[np.float32]
    faces: NDArray[np.int32]
    colour: tuple[int, int, int]


@dataclass(frozen=True)
class _Joint:
    parent: str
    child: str
    kind: Literal["fixed", "revolute", "continuous", "prismatic"]
    origin: NDArray[np.float64]
    axis: NDArray[np.float64]
    driver: str  # joint whose value it takes
    multiplier: float
    offset: float


class UrdfScene:
    """The links of a URDF as shapes, and their poses."""

    def __init__(self, urdf: str, base: Path | None = None) -> None:
        """Read a URDF text.

        base: folder that relative mesh file names start from; meshes are left out without it.

        Raises:
            ViewerError: the text is no URDF.
        """
        try:
            root = ElementTree.fromstring(urdf)
        except ElementTree.ParseError as error:
            raise ViewerError(f"the robot description is no XML: {error}") from error
        links = [element.get("name", "") for element in root.findall("link")]
        if root.tag != "robot" or not links:
            raise ViewerError("the robot description has no links; it must be a URDF with a <robot> element")
        materials = {m.get("name", ""): _colour(m) for m in root.findall("material")}
        self.shapes: list[Shape] = []
        for link in root.findall("link"):
            for visual in link.findall("visual"):
                shape = _shape(link.get("name", ""), visual, materials, base)
                if shape is not None:
                    self.shapes.append(shape)
        joints = [_joint(element) for element in root.findall("joint")]
        children = {joint.child for joint in joints}
        self.root = next((name for name in links if name not in children), links[0])
        self._joints = _in_order(joints, self.root)

    def link_poses(self, positions: Mapping[str, float]) -> dict[str, NDArray[np.float64]]:
        """Poses (4, 4) of all links in the root link's frame; joints that are not named stay at zero.

        positions: joint name -> rad or m.
        """
        poses = {self.root: np.eye(4)}
        for joint in self._joints:
            motion = np.eye(4)
            value = joint.multiplier * float(positions.get(joint.driver, 0.0)) + joint.offset
            if joint.kind == "prismatic":
                motion[:3, 3] = joint.axis * value
            elif joint.kind != "fixed":
                motion[:3, :3] = trimesh.transformations.rotation_matrix(value, joint.axis)[:3, :3]
            poses[joint.child] = poses[joint.parent] @ joint.origin @ motion
        return poses


def _in_order(joints: list[_Joint], root: str) -> list[_Joint]:
    known, ordered, rest = {root}, [], list(joints)
    while rest:
        ready = [joint for joint in rest if joint.parent in known]
        if not ready:
            raise ViewerError(f"the robot description has joints without a way to the root: {rest[0].child}")
        ordered += ready
        known |= {joint.child for joint in ready}
        rest = [joint for joint in rest if joint.child not in known]
    return ordered


def _joint(element: ElementTree.Element) -> _Joint:
    parent, child, axis = element.find("parent"), element.find("child"), element.find("axis")
    if parent is None or child is None:
        raise ViewerError(f"joint {element.get('name')!r} of the robot description has no parent or child")
    mimic = element.find("mimic")
    kind = element.get("type", "fixed")
    return _Joint(
        parent=parent.get("link", ""),
        child=child.get("link", ""),
        kind=kind if kind in ("revolute", "continuous", "prismatic") else "fixed",  # type: ignore[arg-type]
        origin=origin(element),
        axis=np.array(_numbers(axis.get("xyz", "1 0 0")) if axis is not None else [1.0, 0, 0]),
        driver=element.get("name", "") if mimic is None else mimic.get("joint", ""),
        multiplier=1.0 if mimic is None else float(mimic.get("multiplier", 1.0)),
        offset=0.0 if mimic is None else float(mimic.get("offset", 0.0)),
    )


def _shape(
    link: str, visual: ElementTree.Element, materials: Mapping[str, tuple[int, int, int]], base: Path | None
) -> Shape | None:
    form = visual.find("geometry")
    kind = form[0] if form is not None and len(form) else None
    if kind is None:
        return None
    if kind.tag == "box":
        mesh = trimesh.creation.box(_numbers(kind.get("size", "0 0 0")))
    elif kind.tag == "cylinder":
        mesh = trimesh.creation.cylinder(float(kind.get("radius", 0)), float(kind.get("length", 0)), sections=20)
    elif kind.tag == "sphere":
        mesh = trimesh.creation.icosphere(2, float(kind.get("radius", 0)))
    elif kind.tag == "mesh" and base is not None:
        path = base / kind.get("filename", "").removeprefix("file://")
        if not path.is_file():
            raise ViewerError(f"mesh {path} of the robot description does not exist")
        mesh = trimesh.load_mesh(path)
        mesh.apply_scale(_numbers(kind.get("scale", "1 1 1")))
    else:
        return None
    mesh.apply_transform(origin(visual))
    material = visual.find("material")
    colour = _GREY
    if material is not None:
        own = material.find("color") is not None
        colour = _colour(material) if own else materials.get(material.get("name", ""), _GREY)
    return Shape(link, np.asarray(mesh.vertices, np.float32), np.asarray(mesh.faces, np.int32), colour)


def origin(element: ElementTree.Element) -> NDArray[np.float64]:
    """The pose (4, 4) in an element's <origin>; the identity without one."""
    found = element.find("origin")
    if found is None:
        return np.eye(4)
    roll, pitch, yaw = _numbers(found.get("rpy", "0 0 0"))
    rotation = trimesh.transformations.euler_matrix(roll, pitch, yaw, "sxyz")[:3, :3]
    return geometry.make_pose(rotation, np.array(_numbers(found.get("xyz", "0 0 0"))))


def _colour(material: ElementTree.Element) -> tuple[int, int, int]:
    colour = material.find("color")
    if colour is None:
        return _GREY
    r, g, b = (round(255 * value) for value in _numbers(colour.get("rgba", "0.6 0.6 0.6 1"))[:3])
    return r, g, b


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split()]
    except ValueError:
        raise ViewerError(f"the robot description has {text!r} where numbers belong") from None
