"""Who else may publish chunks and commands beside the command gate: real processes over DDS."""

import os
import signal
import subprocess
import sys
import time

import pytest

rclpy = pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("pad_msgs.msg", reason="needs the built workspace (pad_msgs)")

from rclpy.context import Context  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.node import Node  # noqa: E402
from sensor_msgs.msg import JointState  # noqa: E402
from std_srvs.srv import SetBool  # noqa: E402

from pad_augment.kinematics import Robot, RobotProfile  # noqa: E402
from pad_bringup import names  # noqa: E402
from pad_bringup.domain import private_domain  # noqa: E402
from pad_bringup.resources import named_or_path  # noqa: E402
from pad_msgs.msg import SafetyState  # noqa: E402
from pad_parse import qos  # noqa: E402
from pad_policy.robot_limits import command_joint_names  # noqa: E402

PROFILE = named_or_path("ur5e_pair", "config", "robots")
LEASE = 5.0  # s; the true one would take the test half a minute
GATE = f"from pad_policy.nodes import command_gate as gate; gate._LEASE = {LEASE}; gate.main()"
# What a policy_node that crashes leaves in everybody's discovery.
POLICY = """
import rclpy
from trajectory_msgs.msg import JointTrajectory
rclpy.init()
node = rclpy.create_node("policy_node")
node.create_publisher(JointTrajectory, "/pad/joint_chunk", 1)
rclpy.spin(node)
"""


class Robots:
    """Arms that stand at home, and what the gates say."""

    def __init__(self, domain: int) -> None:
        self.variables = {**os.environ, "ROS_DOMAIN_ID": str(domain), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
        self.context = Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node = Node("robots", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        robot = Robot(RobotProfile.load(PROFILE))
        self.joints = command_joint_names(robot), [*robot.home.ravel().tolist(), 0.05, 0.05]
        self.publisher = self.node.create_publisher(JointState, names.JOINT_STATES, qos.JOINT_STATES)
        self.node.create_timer(0.02, self._publish)
        self.said: list[SafetyState] = []
        self.node.create_subscription(SafetyState, names.SAFETY, self.said.append, qos.STATUS)
        self.processes: list[subprocess.Popen] = []

    def _publish(self) -> None:
        message = JointState(name=self.joints[0], position=self.joints[1])
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

    def start_gate(self) -> subprocess.Popen:
        return self.start(GATE, "-p", f"robot:={PROFILE}")

    def enable(self) -> SetBool.Response:
        client = self.node.create_client(SetBool, names.ENABLE)
        assert self.spin(60, client.service_is_ready)
        answer = client.call_async(SetBool.Request(data=True))
        assert self.spin(60, answer.done)
        self.node.destroy_client(client)
        return answer.result()

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


@pytest.fixture
def robots():
    with private_domain() as domain:
        world = Robots(domain)
        try:
            yield world
        finally:
            world.close()


@pytest.mark.slow
def test_a_second_policy_of_the_same_name_stops_the_arms_and_one_that_comes_back_does_not(robots: Robots) -> None:
    chunks = lambda: robots.node.count_publishers(names.JOINT_CHUNK)  # noqa: E731
    robots.start_gate()
    first = robots.start(POLICY)
    assert robots.spin(60, lambda: chunks() == 1)
    answer = robots.enable()
    assert answer.success, answer.message
    first.kill()
    first.wait(timeout=60)
    second = robots.start(POLICY)
    assert robots.spin(60, lambda: chunks() == 2), "the dead one must still be listed"
    robots.said.clear()
    robots.spin(1.0)
    answer = robots.enable()
    assert answer.success and not robots.stopped(), answer.message
    third = robots.start(POLICY)
    assert robots.spin(60, robots.stopped)
    assert "nodes of one name (/policy_node) have published /pad/joint_chunk" in robots.said[-1].cause
    answer = robots.enable()
    assert not answer.success and "second graph" in answer.message
    second.send_signal(signal.SIGINT)
    second.wait(timeout=60)
    assert third.poll() is None
    assert robots.spin(60, lambda: robots.enable().success)


@pytest.mark.slow
def test_a_second_gate_stops_the_arms_and_one_that_comes_back_does_not(robots: Robots) -> None:
    commands = lambda: robots.node.count_publishers(names.arm_command_topic("left"))  # noqa: E731
    first = robots.start_gate()
    assert robots.enable().success
    first.kill()
    first.wait(timeout=60)
    robots.said.clear()
    second = robots.start_gate()
    assert robots.spin(60, lambda: bool(robots.said)), "the restarted gate is silent"
    assert commands() == 2, "the dead one must still be listed"
    assert robots.spin(10, lambda: robots.enable().success), "a gate that was started again must not be refused"
    robots.said.clear()
    rival = robots.start_gate()
    assert robots.spin(60, lambda: any(s.state == SafetyState.STOPPED for s in robots.said))
    cause = next(s.cause for s in robots.said if s.state == SafetyState.STOPPED)
    assert "2 nodes command the arms on /left_" in cause and "/command_gate, " in cause
    robots.spin(1.0)  # the newcomer has met the first
    answer = robots.enable()
    assert not answer.success and "stop all but one" in answer.message
    rival.send_signal(signal.SIGINT)
    rival.wait(timeout=60)
    assert second.poll() is None
    assert robots.spin(60, lambda: robots.enable().success)
