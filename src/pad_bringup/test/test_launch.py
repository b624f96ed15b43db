"""The launch files start what the graph says. Runs where `launch` is installed (a ROS host)."""

import pytest

from pad_bringup.graph import Use, arguments, build_graph
from pad_bringup.resources import resource

# Not "launch" itself: the folder of the launch files would pass for a namespace package of that name.
pytest.importorskip("launch.actions", reason="`launch` is not installed: it comes with a ROS 2 distribution")
pytest.importorskip("launch_ros", reason="`launch_ros` is not installed: it comes with a ROS 2 distribution")

import launch
from launch.actions import DeclareLaunchArgument
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.actions import LifecycleNode, Node

from pad_bringup.launch_description import graph_actions


def load(name):
    context = launch.LaunchContext()
    source = PythonLaunchDescriptionSource(str(resource("launch", name)))
    return source.get_launch_description(context)


@pytest.mark.parametrize(
    ("name", "task", "use"),
    [
        ("pad.launch.py", None, Use.RUN),
        ("pour.launch.py", "pour", Use.RUN),
        *((f"{use.value}.launch.py", None, use) for use in Use if use is not Use.RUN),
    ],
)
def test_every_argument_is_declared_and_described(name, task, use):
    declared = [entity for entity in load(name).entities if isinstance(entity, DeclareLaunchArgument)]
    assert [a.name for a in declared] == [a.name for a in arguments(task, use)]
    assert all(a.description for a in declared)
    assert {a.name: tuple(a.choices or ()) for a in declared} == {a.name: a.choices for a in arguments(task, use)}


def test_nodes_are_those_of_the_graph(tmp_path):
    for name in ("a.demo.h5", "camera.yaml", "robot.yaml"):
        (tmp_path / name).touch()
    (tmp_path / "policy.json").write_text('{"task": {"name": "pour"}}')
    graph = build_graph(
        {
            "policy": str(tmp_path),
            "demonstration": str(tmp_path / "a.demo.h5"),
            "calibration": str(tmp_path / "camera.yaml"),
            "robot": str(tmp_path / "robot.yaml"),
        }
    )
    nodes = [action for action in graph_actions(graph) if isinstance(action, Node)]
    assert [node.node_executable for node in nodes] == [entry.executable for entry in graph.nodes]
    assert [isinstance(node, LifecycleNode) for node in nodes] == [entry.lifecycle for entry in graph.nodes]
