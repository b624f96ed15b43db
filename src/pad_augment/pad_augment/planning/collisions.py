"""Is a posture free of collisions? The robot's own description in roboplan's scene, objects as cylinders.

An object is in the scene once for every role in which it occurs: standing or held, and what it may touch. What does not
apply is parked far away. So the pairs that may touch are fixed, and changing an object's role costs nothing later.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import roboplan.core as rp
from numpy.typing import NDArray

from pad_augment.description import urdf_text
from pad_augment.kinematics import ARMS, Robot
from pad_augment.planning.interface import Body, Failure, Shape

FloatArray = NDArray[np.float64]
_COLOUR = np.array([0.8, 0.5, 0.2, 1.0])
_ROOT = "universe"
RADIUS_MARGIN = 0.002
"""m by which objects are modelled thinner: a hand-made demonstration is not more precise, and a grip touches anyway."""
BASE_MARGIN = 0.002
"""m by which objects are modelled shorter at both ends, so that standing on the table is no collision."""


@dataclass(frozen=True)
class _Role:
    name: str
    holder: int | None
    touching: frozenset[str]


class CollisionScene:
    """Both arms, the cell of the description, and objects that stand, are gripped or are carried. One per process."""

    def __init__(self, robot: Robot, shapes: Mapping[str, Shape]) -> None:
        self._robot = robot
        self._shapes = dict(shapes)
        self.scene = rp.Scene("pad", rp.loadUrdfSceneDescriptionFromXml(urdf_text(robot.profile.description)))
        self.scene.importSrdf(robot.profile.srdf.read_text(encoding="utf-8"))
        names = self.scene.getJointNames()
        self._arms = np.array([names.index(name) for name in robot.joint_names])
        self._fingers = np.array([names.index(arm.finger_joint) for arm in robot.arms])
        self._size = len(self.scene.getCurrentJointPositions())
        self._copies: dict[_Role, str] = {}
        self._parked: set[str] = set()

    def arrange(self, bodies: Mapping[str, Body]) -> None:
        """Put the objects where they are, with the contacts that they are allowed."""
        there: dict[str, Body] = {}
        for name, body in bodies.items():
            there[self._copy(_Role(name, body.holder, body.touching))] = body
        for copy in self._copies.values():
            if copy not in there:
                self._park(copy)
        for copy, body in there.items():
            pose = np.asarray(body.pose) @ self._offset(copy.split("/")[0])
            if body.holder is None:
                self._move(copy, _ROOT, pose)
            else:
                # roboplan takes the placement relative to the moving link that carries the frame.
                link = self._robot.arms[body.holder].tcp_link
                self._move(copy, link, self._robot.tcp_in_last_link[body.holder] @ pose)

    def posture(self, joints: FloatArray, openings: FloatArray) -> FloatArray:
        """The scene's configuration for joints (2 n,) rad and openings (2,) m."""
        q = np.zeros(self._size)
        q[self._arms] = joints
        q[self._fingers] = openings / 2
        return q

    def joints_of(self, posture: FloatArray) -> FloatArray:
        """Joints (2 n,) rad of a configuration of the scene."""
        return np.asarray(posture)[self._arms]

    def collides(self, joints: FloatArray, openings: FloatArray) -> bool:
        """Whether one posture collides."""
        return bool(self.scene.hasCollisions(self.posture(joints, openings)))

    def first_collision(self, joints: FloatArray, openings: FloatArray, step: float) -> int | None:
        """Index of the first of K postures, joints (K, 2 n) rad and openings (K, 2) m, at or after which there is a
        collision on the straight joint path to the next; None if all is free.

        step: rad, largest joint step between two checks.
        """
        largest = np.abs(np.diff(joints, axis=0)).max(axis=1, initial=0.0)
        parts = np.r_[np.maximum(np.ceil(largest / step).astype(np.intp), 1), 1]
        index = np.repeat(np.arange(len(joints)), parts)
        share = ((np.arange(len(index)) - (np.cumsum(parts) - parts)[index]) / parts[index])[:, None]
        after = np.minimum(index + 1, len(joints) - 1)
        postures = np.zeros((len(index), self._size))
        postures[:, self._arms] = (1 - share) * joints[index] + share * joints[after]
        postures[:, self._fingers] = ((1 - share) * openings[index] + share * openings[after]) / 2
        blocked = self.scene.hasCollisions
        return next((int(at) for at, posture in zip(index, postures, strict=True) if blocked(posture)), None)

    def cause(self, joints: FloatArray, openings: FloatArray, step: float) -> Failure:
        """What collides in the postures (K, 2 n), (K, 2) of one step: objects, one arm with itself, or the arms."""
        for copy in self._copies.values():
            self._park(copy)
        if self.first_collision(joints, openings, step) is None:
            return Failure.OBJECT_COLLISION
        for arm in (0, 1):
            # With the other arm at home, what still collides is this arm's own.
            alone = np.tile(self._robot.home.ravel(), (len(joints), 1))
            alone[:, self._robot.columns(arm)] = joints[:, self._robot.columns(arm)]
            if self.first_collision(alone, openings, step) is not None:
                return Failure.SELF_COLLISION
        return Failure.ARMS_COLLISION

    def _copy(self, role: _Role) -> str:
        """Name of the geometry for an object in a role; made when first asked for."""
        if role in self._copies:
            return self._copies[role]
        copy = f"{role.name}/{len(self._copies)}"
        shape = self._shapes[role.name]
        cylinder = rp.Cylinder(shape.radius - RADIUS_MARGIN, shape.height - 2 * BASE_MARGIN)
        self.scene.addCylinderGeometry(copy, _ROOT, cylinder, np.asfortranarray(_parking(copy)), _COLOUR)
        grippers = role.touching | ({ARMS[role.holder]} if role.holder is not None else set())
        links = self._robot.gripper_links
        pairs = [(part, copy) for arm, name in enumerate(ARMS) if name in grippers for part in links[arm]]
        for other, name in self._copies.items():
            both_stand = other.holder is None and role.holder is None
            if both_stand or other.name == role.name or other.name in role.touching or role.name in other.touching:
                pairs.append((name, copy))
        self.scene.setCollisions(pairs, False)
        self._copies[role] = copy
        self._parked.add(copy)
        return copy

    def _offset(self, name: str) -> FloatArray:
        """(4, 4) middle of the cylinder in the object frame."""
        shape = self._shapes[name]
        offset = np.eye(4)
        offset[:3, 3] = [*shape.centre, shape.height / 2]
        return offset

    def _move(self, copy: str, frame: str, pose: FloatArray) -> None:
        self.scene.updateGeometryPlacement(copy, frame, np.asfortranarray(pose))
        self._parked.discard(copy)

    def _park(self, copy: str) -> None:
        if copy not in self._parked:
            self.scene.updateGeometryPlacement(copy, _ROOT, np.asfortranarray(_parking(copy)))
            self._parked.add(copy)


def _parking(copy: str) -> FloatArray:
    pose = np.eye(4)
    pose[:3, 3] = [1.0 * int(copy.rsplit("/", 1)[1]), 0.0, -50.0]
    return pose
