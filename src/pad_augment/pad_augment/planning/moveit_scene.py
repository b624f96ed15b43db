"""Is a posture free of collisions? Asked of MoveIt's planning scene, objects as cylinders."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pad_augment.errors import PlanningError
from pad_augment.kinematics import ARMS, Robot
from pad_augment.planning.collisions import BASE_MARGIN, RADIUS_MARGIN
from pad_augment.planning.interface import Body, Failure, Shape
from pad_augment.planning.moveit_host import MoveItHost
from pad_parse import geometry

FloatArray = NDArray[np.float64]
BOTH_ARMS = "both_arms"
TASK_FRAME = "task_frame"


class MoveItScene:
    """The same questions as to `CollisionScene`, answered by MoveIt, with the same sizes of the objects.

    Held objects are attached to their holder's TCP link, with the gripper as touch links; every other contact that is
    allowed is an entry of the allowed collision matrix.
    """

    def __init__(self, host: MoveItHost, robot: Robot, shapes: Mapping[str, Shape]) -> None:
        self._robot = robot
        self._shapes = dict(shapes)
        self._messages = host.messages
        # A copy of our own: joint states that arrive meanwhile, or other programs' objects, change nothing.
        with host.py.get_planning_scene_monitor().read_write() as scene:
            self._empty = copy.deepcopy(scene)
        self._empty.remove_all_collision_objects()
        self._scene = self._empty
        self._state = copy.deepcopy(self._empty.current_state)

    @property
    def scene(self) -> Any:
        """MoveIt's `PlanningScene` as last arranged."""
        return self._scene

    def state(self, joints: FloatArray, openings: FloatArray) -> Any:
        """MoveIt's `RobotState` for joints (2 n,) rad and openings (2,) m, with what is held attached."""
        state = self._state
        names = [*self._robot.joint_names, *(arm.finger_joint for arm in self._robot.arms)]
        values = [*joints, *(np.asarray(openings) / 2)]
        state.joint_positions = {name: float(value) for name, value in zip(names, values, strict=True)}
        state.update()
        return state

    def arrange(self, bodies: Mapping[str, Body]) -> None:
        """Put the objects where they are, with the contacts that they are allowed.

        Raises:
            PlanningError: MoveIt did not take an object.
        """
        scene = copy.deepcopy(self._empty)
        for name, body in bodies.items():
            if body.holder is None:
                scene.apply_collision_object(collision_object_msg=self._object(name, TASK_FRAME, body.pose))
            else:
                scene.process_attached_collision_object(object=self._attached(name, body))
            if not scene.knows_frame_transform(frame_id=name):
                raise PlanningError(f"MoveIt did not take object {name!r} into its planning scene; its log says why")
        matrix = scene.allowed_collision_matrix
        for name, body in bodies.items():
            for other in body.touching:
                for partner in self._robot.gripper_links[ARMS.index(other)] if other in ARMS else (other,):
                    matrix.set_entry(name1=name, name2=partner, allowed=True)
        scene.allowed_collision_matrix = matrix
        self._take(scene)

    def collides(self, joints: FloatArray, openings: FloatArray) -> bool:
        """Whether one posture collides."""
        state = self.state(joints, openings)
        return bool(self._scene.is_state_colliding(robot_state=state, joint_model_group_name=BOTH_ARMS))

    def first_collision(self, joints: FloatArray, openings: FloatArray, step: float) -> int | None:
        """See `CollisionScene.first_collision`."""
        largest = np.abs(np.diff(joints, axis=0)).max(axis=1, initial=0.0)
        parts = np.maximum(np.ceil(largest / step).astype(int), 1)
        for index in range(len(joints)):
            for part in range(parts[index] if index < len(parts) else 1):
                share = part / parts[index] if part else 0.0
                after = index + 1 if part else index
                posture = (1 - share) * joints[index] + share * joints[after]
                if self.collides(posture, (1 - share) * openings[index] + share * openings[after]):
                    return index
        return None

    def cause(self, joints: FloatArray, openings: FloatArray, step: float) -> Failure:
        """See `CollisionScene.cause`; the scene is empty afterwards."""
        self._take(self._empty)
        if self.first_collision(joints, openings, step) is None:
            return Failure.OBJECT_COLLISION
        for arm in (0, 1):
            # With the other arm at home, what still collides is this arm's own.
            alone = np.tile(self._robot.home.ravel(), (len(joints), 1))
            alone[:, self._robot.columns(arm)] = joints[:, self._robot.columns(arm)]
            if self.first_collision(alone, openings, step) is not None:
                return Failure.SELF_COLLISION
        return Failure.ARMS_COLLISION

    def _take(self, scene: Any) -> None:
        self._scene = scene
        # What is attached belongs to the state.
        self._state = copy.deepcopy(scene.current_state)

    def _object(self, name: str, frame: str, pose: FloatArray) -> Any:
        """(4, 4) pose of the object's frame in `frame` -> `moveit_msgs/CollisionObject`."""
        shape = self._shapes[name]
        height, radius = shape.height - 2 * BASE_MARGIN, shape.radius - RADIUS_MARGIN
        solid = self._messages.SolidPrimitive
        out = self._messages.CollisionObject(id=name, operation=self._messages.CollisionObject.ADD)
        out.header.frame_id = frame
        out.pose = self._pose(np.asarray(pose))
        out.primitives = [solid(type=solid.CYLINDER, dimensions=[height, radius])]
        out.primitive_poses = [self._pose(geometry.make_pose(np.eye(3), [*shape.centre, shape.height / 2]))]
        return out

    def _pose(self, pose: FloatArray) -> Any:
        """(4, 4) -> `geometry_msgs/Pose`."""
        x, y, z = (float(value) for value in pose[:3, 3])
        qx, qy, qz, qw = (float(value) for value in geometry.quaternion_xyzw(pose))
        messages = self._messages
        return messages.Pose(
            position=messages.Point(x=x, y=y, z=z), orientation=messages.Quaternion(x=qx, y=qy, z=qz, w=qw)
        )

    def _attached(self, name: str, body: Body) -> Any:
        assert body.holder is not None
        link = self._robot.arms[body.holder].tcp_link
        return self._messages.AttachedCollisionObject(
            link_name=link,
            object=self._object(name, link, body.pose),
            touch_links=self._robot.gripper_links[body.holder],
        )
