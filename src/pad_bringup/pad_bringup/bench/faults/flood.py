"""Floods `/joint_states` with another robot's, as fast as one process can."""

from __future__ import annotations

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from sensor_msgs.msg import JointState

from pad_bringup import names
from pad_parse import qos


def main() -> None:
    """Publish until told to stop."""
    rclpy.init()
    node = Node("flood")
    joints = [f"panda_joint{k + 1}" for k in range(7)]
    states = node.create_publisher(JointState, names.JOINT_STATES, qos.JOINT_STATES)
    state = JointState(name=joints, position=[0.0] * 7)
    try:
        while rclpy.ok():
            states.publish(state)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
