"""The whole node graph for any task: `ros2 launch pad_bringup pad.launch.py task:=pour`."""

from pad_bringup.launch_description import graph_description


def generate_launch_description():
    """Every argument of the graph is an argument here; `--show-args` lists them."""
    return graph_description()
