"""Is a posture free of collisions? The robot's own description in roboplan's scene, objects as cylinders.

One instance per process: the scene is edited in place, from one generated scene to the next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import roboplan.core as rp
from numpy.typing import NDArray

from pad_augment.description import urdf_text
from pad_augment.kinematics import ARMS, Robot

FloatArray = NDArray[np.float64]
_GRIPPER_PARTS = ("gripper_base_link", "finger_link", "finger_mimic_link")
_COLOUR = np.array([0.8, 0.5, 0.2, 1.0])
_CLEARANCE = 0.001
"""m by which objects are modelled smaller, so that standing on the table is no collision."""


@dataclass(frozen=True)
class Shape:
    """An upright cylinder, standing on the object frame's origin; metres."""

    radius: float
    height: float


class CollisionScene:
    """Both arms, the table of the description, and objects that stand, are gripped or are carried."""

    def __init__(self, robot: Robot, shapes: Mapping[str, Shape]) -> None:
        self._robot = robot
        self._shapes = dict(shapes)
        text = urdf_text(robot.profile.description)
        self._scene = rp.Scene("pad", rp.loadUrdfSceneDescriptionFromXml(text))
        self._scene.importSrdf(robot.profile.srdf.read_text())
        names = self._scene.getJointNames()
        self._arms = self._indices(names, robot.joint_names)
        self._fingers = self._indices(names, [arm.finger_joint for arm in robot.arms])
        self._size = len(self._scene.getCurrentJointPositions())
        self._gripper_links = [[f"{arm}_{part}" for part in _GRIPPER_PARTS] for arm in ARMS]
        self._frames: dict[str, str] = {}
        for name, shape in self._shapes.items():
            cylinder = rp.Cylinder(shape.radius - _CLEARANCE, shape.height - 2 * _CLEARANCE)
            self._scene.addCylinderGeometry(name, "universe", cylinder, np.asfortranarray(np.eye(4)), _COLOUR)
            self._frames[name] = "universe"
        self._allowed: set[tuple[str, str]] = set()

    def place(self, poses: Mapping[str, FloatArray]) -> None:
        """Stand the objects in the task frame at poses (4, 4); every contact with them counts again."""
        for first, second in self._allowed:
            self._scene.setCollisions(first, second, True)
        self._allowed.clear()
        for name, pose in poses.items():
            self._move(name, "universe", pose)

    def allow_grasp(self, arm: int, name: str) -> None:
        """Let the fingers and the palm of an arm touch an object."""
        for link in self._gripper_links[arm]:
            self._scene.setCollisions(link, name, False)
            self._allowed.add((link, name))

    def attach(self, arm: int, name: str, object_in_gripper: FloatArray) -> None:
        """Let an object move with an arm's TCP; `object_in_gripper` (4, 4)."""
        self.allow_grasp(arm, name)
        # roboplan takes the placement relative to the moving link that carries the frame
        self._move(name, self._robot.arms[arm].tcp_link, self._robot.tcp_in_last_link[arm] @ object_in_gripper)

    def first_collision(self, joints: FloatArray, openings: FloatArray) -> int | None:
        """Index of the first posture that collides, of joints (K, 12) rad and openings (K, 2) m; None if all are free."""
        q = np.zeros(self._size)
        for index, (posture, opening) in enumerate(zip(joints, openings, strict=True)):
            q[self._arms] = posture
            q[self._fingers] = opening / 2
            if self._scene.hasCollisions(q):
                return index
        return None

    def _move(self, name: str, frame: str, pose: FloatArray) -> None:
        shift = np.eye(4)
        shift[2, 3] = self._shapes[name].height / 2
        self._scene.updateGeometryPlacement(name, frame, np.asfortranarray(pose @ shift))
        self._frames[name] = frame

    @staticmethod
    def _indices(names: Sequence[str], wanted: Sequence[str]) -> NDArray[np.intp]:
        return np.array([names.index(name) for name in wanted])
