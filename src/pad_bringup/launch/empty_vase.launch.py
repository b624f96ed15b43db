"""The whole node graph for the task `empty_vase`: `ros2 launch pad_bringup empty_vase.launch.py`."""

from pad_bringup.launch_description import graph_description


def generate_launch_description():
    """Every argument of the graph except `task` is an argument here; `--show-args` lists them."""
    return graph_description("empty_vase")
