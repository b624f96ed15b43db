"""A node that the graph needs takes it down, also under `launch`. Runs where `launch_pytest` is installed."""

import sys
import time

import pytest

from pad_bringup.graph import Graph, NodeEntry, OnExit

# Not "launch" itself: the folder of the launch files would pass for a namespace package of that name.
pytest.importorskip("launch.actions", reason="`launch` is not installed: it comes with a ROS 2 distribution")
launch_pytest = pytest.importorskip("launch_pytest", reason="`launch_pytest` comes with a ROS 2 distribution")
pytest.importorskip("launch_ros", reason="`launch_ros` is not installed: it comes with a ROS 2 distribution")

import launch
from launch.actions import ExecuteProcess

from pad_bringup import launch_description


def process(package, executable, name, **rest):
    """Stands for a node: the one that the graph needs stops after a moment."""
    seconds = 1.0 if name == "needed" else 60.0
    return ExecuteProcess(cmd=[sys.executable, "-c", f"import time; time.sleep({seconds})"], name=name)


@launch_pytest.fixture
def crashing_description(monkeypatch):
    monkeypatch.setattr(launch_description, "Node", process)
    entries = (NodeEntry("needed", "p", "x", "m"), NodeEntry("other", "p", "x", "m", on_exit=OnExit.IGNORE))
    actions = launch_description.graph_actions(Graph("pour", entries))
    return launch.LaunchDescription([*actions, launch_pytest.actions.ReadyToTest()])


@pytest.mark.launch(fixture=crashing_description, shutdown=False)
def test_a_needed_node_takes_the_graph_down(launch_context):
    deadline = time.monotonic() + 20
    while not launch_context.is_shutdown and time.monotonic() < deadline:
        time.sleep(0.05)
    assert launch_context.is_shutdown
