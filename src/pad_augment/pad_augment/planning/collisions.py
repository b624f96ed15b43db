"""Is a posture free of collisions? The robot's own description in roboplan's scene, objects as cylinders.

Every object is in the scene once as standing and once per arm as held by it; what does not apply is parked far away.
So the pairs that may touch are fixed when the scene is made, and changing them costs nothing later.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import roboplan.core as rp
from numpy.typing import NDArray

from pad_augment.description import urdf_text
from pad_augment.kinematics import ARMS, Robot
from pad_augment.planning.interface import Failure, Holding, Shape, World

FloatArray = NDArray[np.float64]
_GRIPPER_PARTS = ("gripper_base_link", "finger_link", "finger_mimic_link")
_COLOUR = np.array([0.8, 0.5, 0.2, 1.0])
_ROOT = "universe"
RADIUS_MARGIN = 0.002
"""m by which objects are modelled thinner: a hand-made demonstration is not more precise, and a grip touches anyway."""
BASE_MARGIN = 0.002
"""m by which objects are modelled shorter at both ends, so that standing on the table is no collision."""


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
        self._parking: dict[str, FloatArray] = {}
        self._parked: set[str] = set()
        pairs = []
        for name, shape in self._shapes.items():
            for copy in _copies(name):
                self._add(copy, shape)
            for arm, side in enumerate(ARMS):
                for how in ("touched", "held"):
                    pairs += [(f"{side}_{part}", _copy(name, arm, how)) for part in _GRIPPER_PARTS]
        self.scene.setCollisions(pairs, False)

    def arrange(self, world: World, held: Holding, touched: Holding) -> None:
        """Put the objects where they are: standing, touched by a gripper, or held by it."""
        for name in self._shapes:
            holder = next((arm for arm in (0, 1) if held[arm] == name), None)
            toucher = next((arm for arm in (0, 1) if touched[arm] == name), None)
            there = name
            if holder is not None:
                there = _copy(name, holder, "held")
            elif toucher is not None:
                there = _copy(name, toucher, "touched")
            for copy in _copies(name):
                if copy != there:
                    self._park(copy)
            if holder is None:
                self._move(there, _ROOT, np.asarray(world.placement[name]) @ self._offset(name))
            else:
                # roboplan takes the placement relative to the moving link that carries the frame.
                in_link = self._robot.tcp_in_last_link[holder] @ world.object_in_gripper[name]
                self._move(there, self._robot.arms[holder].tcp_link, in_link @ self._offset(name))

    def posture(self, joints: FloatArray, openings: FloatArray) -> FloatArray:
        """The scene's configuration for joints (12,) rad and openings (2,) m."""
        q = np.zeros(self._size)
        q[self._arms] = joints
        q[self._fingers] = openings / 2
        return q

    def joints_of(self, posture: FloatArray) -> FloatArray:
        """Joints (12,) rad of a configuration of the scene."""
        return np.asarray(posture)[self._arms]

    def collides(self, joints: FloatArray, openings: FloatArray) -> bool:
        """Whether one posture collides."""
        return bool(self.scene.hasCollisions(self.posture(joints, openings)))

    def first_collision(self, joints: FloatArray, openings: FloatArray, step: float) -> int | None:
        """Index of the first of K postures, joints (K, 12) rad and openings (K, 2) m, at or after which there is a
        collision on the straight joint path to the next; None if all is free.

        step: rad, largest joint step between two checks.
        """
        largest = np.abs(np.diff(joints, axis=0)).max(axis=1, initial=0.0)
        parts = np.maximum(np.ceil(largest / step).astype(int), 1)
        q = np.zeros(self._size)
        blocked = self.scene.hasCollisions
        for index in range(len(joints)):
            for part in range(parts[index] if index < len(parts) else 1):
                share = part / parts[index] if part else 0.0
                after = index + 1 if part else index
                q[self._arms] = (1 - share) * joints[index] + share * joints[after]
                q[self._fingers] = ((1 - share) * openings[index] + share * openings[after]) / 2
                if blocked(q):
                    return index
        return None

    def cause(self, joints: FloatArray, openings: FloatArray, step: float) -> Failure:
        """What collides in the postures (K, 12), (K, 2) of one step: objects, one arm with itself, or the arms."""
        for name in self._shapes:
            for copy in _copies(name):
                self._park(copy)
        if self.first_collision(joints, openings, step) is None:
            return Failure.OBJECT_COLLISION
        for arm in (0, 1):
            # With the other arm at home, what still collides is this arm's own.
            alone = np.tile(self._robot.home.ravel(), (len(joints), 1))
            alone[:, 6 * arm : 6 * arm + 6] = joints[:, 6 * arm : 6 * arm + 6]
            if self.first_collision(alone, openings, step) is not None:
                return Failure.SELF_COLLISION
        return Failure.ARMS_COLLISION

    def _add(self, copy: str, shape: Shape) -> None:
        cylinder = rp.Cylinder(shape.radius - RADIUS_MARGIN, shape.height - 2 * BASE_MARGIN)
        parking = np.eye(4)
        parking[:3, 3] = [1.0 * len(self._parking), 0.0, -50.0]
        self._parking[copy] = parking
        self.scene.addCylinderGeometry(copy, _ROOT, cylinder, np.asfortranarray(parking), _COLOUR)
        self._parked.add(copy)

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
            self.scene.updateGeometryPlacement(copy, _ROOT, np.asfortranarray(self._parking[copy]))
            self._parked.add(copy)


def _copies(name: str) -> list[str]:
    return [name, *(_copy(name, arm, how) for arm in (0, 1) for how in ("touched", "held"))]


def _copy(name: str, arm: int, how: str) -> str:
    return f"{name}/{ARMS[arm]}/{how}"
