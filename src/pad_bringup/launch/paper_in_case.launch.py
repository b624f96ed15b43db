"""The whole node graph for the task `paper_in_case`: `ros2 launch pad_bringup paper_in_case.launch.py`."""

from pad_bringup.launch_description import graph_description


def generate_launch_description():
    """Every argument of the graph except `task` is an argument here; `--show-args` lists them."""
    return graph_description("paper_in_case")
