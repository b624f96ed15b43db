"""Who else may publish chunks and commands beside the command gate: real processes over DDS."""

import signal

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("pad_msgs.msg", reason="needs the built workspace (pad_msgs)")

from gate_alone import Robots

from pad_bringup import names
from pad_bringup.domain import private_domain
from pad_msgs.msg import SafetyState

LEASE = 10.0  # s; the true one would take the test half a minute
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
    robots.start_gate(GATE)
    first = robots.start(POLICY)
    assert robots.spin(60, lambda: len(robots.publishers(names.JOINT_CHUNK)) == 1)
    before = robots.publishers(names.JOINT_CHUNK)
    answer = robots.enable()
    assert answer.success, answer.message
    first.kill()
    first.wait(timeout=60)
    second = robots.start(POLICY)
    # As a rule the dead one is still listed, by robots and gate.
    assert robots.spin(60, lambda: bool(robots.publishers(names.JOINT_CHUNK) - before))
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
    first = robots.start_gate(GATE)
    assert robots.enable().success
    first.kill()
    first.wait(timeout=60)
    robots.spin(0.5)  # its last words have come
    robots.said.clear()
    second = robots.start_gate(GATE)
    assert robots.spin(60, lambda: bool(robots.said)), "the restarted gate is silent"
    assert robots.spin(10, lambda: robots.enable().success), "a gate that was started again must not be refused"
    robots.said.clear()
    rival = robots.start_gate(GATE)
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
