"""The whole node graph for the task `open_container`: `ros2 launch pad_bringup open_container.launch.py`."""

from pad_bringup.launch_description import graph_description


def generate_launch_description():
    """Every argument of the graph except `task` is an argument here; `--show-args` lists them."""
    return graph_description("open_container")
