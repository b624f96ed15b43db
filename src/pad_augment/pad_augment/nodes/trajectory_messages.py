"""Requests and planned trajectories as messages."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

import numpy as np
from builtin_interfaces.msg import Duration, Time
from geometry_msgs.msg import Point
from numpy.typing import NDArray
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from pad_augment.errors import ConfigError
from pad_augment.trajectory import Trajectory
from pad_msgs.msg import Keypoint, KeypointArray, ObjectPose
from pad_parse.demonstration import Demonstration
from pad_parse.ros_transforms import pose_matrix

TASK_FRAME = "task_frame"


def placements(objects: list[ObjectPose]) -> dict[str, NDArray[np.float64]]:
    """Object -> pose (4, 4) in the task frame.

    Raises:
        ConfigError: an object is given twice, or its pose is none.
    """
    out: dict[str, NDArray[np.float64]] = {}
    for item in objects:
        p, q = item.pose.position, item.pose.orientation
        values = np.array([p.x, p.y, p.z, q.x, q.y, q.z, q.w])
        if item.name in out:
            raise ConfigError(f"object {item.name!r} is given twice")
        if not np.isfinite(values).all() or abs(np.linalg.norm(values[3:]) - 1.0) > 1e-3:
            raise ConfigError(f"the pose of {item.name!r} is not finite, or its quaternion is not of length 1")
        out[item.name] = pose_matrix(p, q)
    return out


def trajectory_message(trajectory: Trajectory, joint_names: list[str], stamp: Time) -> JointTrajectory:
    """Positions and velocities of all arm joints."""
    message = JointTrajectory(joint_names=joint_names)
    message.header.frame_id, message.header.stamp = TASK_FRAME, stamp
    for time, joints, velocities in zip(
        trajectory.times.tolist(), trajectory.joints.tolist(), trajectory.velocities.tolist(), strict=True
    ):
        nanoseconds = round(time * 1e9)
        after = Duration(sec=nanoseconds // 1_000_000_000, nanosec=nanoseconds % 1_000_000_000)
        message.points.append(JointTrajectoryPoint(positions=joints, velocities=velocities, time_from_start=after))
    return message


def keypoint_messages(trajectory: Trajectory, demonstration: Demonstration, stamp: Time) -> list[KeypointArray]:
    """Expected keypoints, one array per point of the trajectory."""
    named = list(
        zip(demonstration.keypoint_names, demonstration.keypoint_groups, demonstration.keypoint_objects, strict=True)
    )
    out = []
    for points in trajectory.keypoints.tolist():
        message = KeypointArray(task=demonstration.task.name)
        message.header.frame_id, message.header.stamp = TASK_FRAME, stamp
        for (name, group, owner), (x, y, z) in zip(named, points, strict=True):
            message.keypoints.append(
                Keypoint(
                    name=name,
                    group=group,
                    object=owner,
                    position=Point(x=x, y=y, z=z),
                    state=Keypoint.FILLED,
                    confidence=1.0,
                    u=float("nan"),
                    v=float("nan"),
                )
            )
        out.append(message)
    return out


def moveit_messages() -> ModuleType | None:
    """The module `moveit_msgs.msg`, where it is installed."""
    try:
        return importlib.import_module("moveit_msgs.msg")
    except ImportError:
        return None


def display_message(module: ModuleType, robot: str, trajectory: JointTrajectory) -> Any:
    """`moveit_msgs/DisplayTrajectory` of `module` for RViz's MotionPlanning and Trajectory displays."""
    message = module.DisplayTrajectory(model_id=robot)
    message.trajectory = [module.RobotTrajectory(joint_trajectory=trajectory)]
    first = JointState(name=trajectory.joint_names, position=trajectory.points[0].positions)
    message.trajectory_start = module.RobotState(joint_state=first)
    return message
