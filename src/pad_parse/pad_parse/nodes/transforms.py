"""Frames for RViz: poses in the task frame on /tf, where tf2_msgs is installed (on a ROS host)."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import TransformStamped
from rclpy.node import Node

from pad_parse import qos
from pad_parse.ros_transforms import fill_pose

TASK_FRAME = "task_frame"


class TransformOutput:
    """Publishes frames below `task_frame`. Without tf2_msgs it says so once and does nothing: nobody could listen."""

    def __init__(self, node: Node) -> None:
        self._kind = None
        try:
            self._kind = importlib.import_module("tf2_msgs.msg").TFMessage
        except ImportError:
            node.get_logger().info("tf2_msgs is not installed here: no frames on /tf; the markers show the same")
            return
        self._moving = node.create_publisher(self._kind, "/tf", qos.TRANSFORMS)
        self._static = node.create_publisher(self._kind, "/tf_static", qos.LATCHED)

    def static(self, frame: str, pose: np.ndarray, stamp: Time) -> None:
        """A frame that does not move; pose (4, 4) in the task frame."""
        if self._kind is not None:
            self._static.publish(self._kind(transforms=[_transform(frame, pose, stamp)]))

    def moving(self, poses: Mapping[str, np.ndarray], stamp: Time) -> None:
        """Frames by name, poses (4, 4) in the task frame."""
        if self._kind is not None and poses:
            self._moving.publish(self._kind(transforms=[_transform(n, p, stamp) for n, p in poses.items()]))


def _transform(frame: str, pose: np.ndarray, stamp: Time) -> TransformStamped:
    message = TransformStamped(child_frame_id=frame)
    message.header.stamp, message.header.frame_id = stamp, TASK_FRAME
    fill_pose(message.transform, pose)
    return message
