"""Command gates as real processes, with arms that obey and no policy; used by tests."""

import os
import signal
import subprocess
import sys
import time
from functools import partial

import numpy as np
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import SetBool

from pad_augment.kinematics import Robot, RobotProfile
from pad_bringup import names
from pad_bringup.resources import named_or_path
from pad_msgs.msg import SafetyState
from pad_parse import qos
from pad_policy.robot_limits import command_joint_names

PROFILE = named_or_path("ur5e_pair", "config", "robots")


class Robots:
    """Arms that obey, from home on, and what the gates say."""

    def __init__(self, domain: int) -> None:
        self.variables = {**os.environ, "ROS_DOMAIN_ID": str(domain), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
        self.context = Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node = Node("robots", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        robot = Robot(RobotProfile.load(PROFILE))
        self.names = command_joint_names(robot)
        self.values = np.concatenate([robot.home.ravel(), [0.05, 0.05]])
        self.left: list[np.ndarray] = []  # what the left arm was told
        for arm, side in enumerate(names.ARMS):
            self.node.create_subscription(
                Float64MultiArray, names.arm_command_topic(side), partial(self._obey, arm), qos.COMMAND
            )
        self.publisher = self.node.create_publisher(JointState, names.JOINT_STATES, qos.JOINT_STATES)
        self.node.create_timer(0.02, self._publish)
        self.said: list[SafetyState] = []
        self.node.create_subscription(SafetyState, names.SAFETY, self.said.append, qos.STATUS)
        self.processes: list[subprocess.Popen] = []

    def _obey(self, arm: int, message: Float64MultiArray) -> None:
        self.values[6 * arm : 6 * arm + 6] = message.data
        if arm == 0:
            self.left.append(np.array(message.data))

    def _publish(self) -> None:
        message = JointState(name=self.names, position=self.values.tolist())
        message.header.stamp = self.node.get_clock().now().to_msg()
        self.publisher.publish(message)

    def spin(self, seconds: float, until=lambda: False) -> bool:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.executor.spin_once(timeout_sec=0.02)
            if until():
                return True
        return until()

    def start(self, code: str, *arguments: str) -> subprocess.Popen:
        command = [sys.executable, "-c", code, "--ros-args", *arguments]
        self.processes.append(subprocess.Popen(command, env=self.variables))
        return self.processes[-1]

    def start_gate(self, code: str = "from pad_policy.nodes.command_gate import main; main()") -> subprocess.Popen:
        return self.start(code, "-p", f"robot:={PROFILE}")

    def enable(self) -> SetBool.Response:
        client = self.node.create_client(SetBool, names.ENABLE)
        assert self.spin(60, client.service_is_ready)
        answer = client.call_async(SetBool.Request(data=True))
        assert self.spin(60, answer.done)
        self.node.destroy_client(client)
        return answer.result()

    def publishers(self, topic: str) -> set[bytes]:
        """Who publishes on a topic, by identity; one that was killed is listed for some seconds."""
        return {bytes(p.endpoint_gid) for p in self.node.get_publishers_info_by_topic(topic)}

    def stopped(self) -> bool:
        return bool(self.said) and self.said[-1].state == SafetyState.STOPPED

    def close(self) -> None:
        for process in self.processes:
            process.send_signal(signal.SIGINT)
        for process in self.processes:
            process.wait(timeout=60)
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)
