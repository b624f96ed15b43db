"""Killed nodes over real ROS do as their entries say: a managed one is active again, a needed one ends the graph."""

import os
import signal
import time

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")

from lifecycle_msgs.msg import State

from pad_bringup.domain import private_domain
from pad_bringup.errors import SupervisorError
from pad_bringup.graph import Graph, NodeEntry, OnExit, environment
from pad_bringup.ros_probe import RosProbe
from pad_bringup.session import Session
from pad_bringup.supervisor import Supervisor

# Stands for policy_node: a managed node, and a plain one with a service.
NODE = """
import rclpy
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from std_srvs.srv import Trigger

rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
node = LifecycleNode("managed") if MANAGED else Node("plain")
if not MANAGED:
    node.create_service(Trigger, "/plain/ask", lambda request, response: response)
try:
    rclpy.spin(node)
except KeyboardInterrupt:
    pass
"""


@pytest.fixture
def supervised(tmp_path):
    for name, managed in (("managed_node", True), ("plain_node", False)):
        (tmp_path / f"{name}.py").write_text(NODE.replace("MANAGED", str(managed)))
    entries = (
        NodeEntry("managed", "p", "x", "managed_node", lifecycle=True, on_exit=OnExit.RESTART),
        NodeEntry("plain", "p", "x", "plain_node", services=("/plain/ask",)),
    )
    with private_domain() as domain:
        variables = {"ROS_DOMAIN_ID": str(domain)}
        told: list[str] = []
        path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
        with Session("tester", variables) as session:
            probe = RosProbe(session)
            graph = Graph("pour", entries, environment=environment())
            with Supervisor(
                graph, tmp_path / "log", probe, environment={**variables, "PYTHONPATH": path}, on_event=told.append
            ) as supervisor:
                supervisor.start()
                yield supervisor, probe, graph, told


def test_a_killed_managed_node_is_active_again(supervised):
    supervisor, probe, graph, told = supervised
    entry = graph.node("managed")
    first = supervisor.process("managed").pid
    os.kill(first, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while not told and time.monotonic() < deadline:
        supervisor.check()
        time.sleep(0.05)
    assert "managed was ended by signal 9" in told[0] and "starting it again" in told[0]
    assert supervisor.process("managed").pid != first
    assert probe.state(entry, 10.0) == State.PRIMARY_STATE_ACTIVE
    pids = [supervisor.process(name).pid for name in ("managed", "plain")]
    os.kill(pids[1], signal.SIGKILL)
    with pytest.raises(SupervisorError, match="plain was ended by signal 9 while the graph was running"):
        while time.monotonic() < deadline:
            supervisor.check()
            time.sleep(0.05)
    assert not supervisor.runs("managed") and not supervisor.runs("plain")
    assert not any(os.path.exists(f"/proc/{pid}") for pid in pids)
