"""Planning and datasets: `ros2 launch pad_bringup augment.launch.py demonstration:=pour.demo.h5`."""

from pad_bringup.graph import Use
from pad_bringup.launch_description import graph_description


def generate_launch_description():
    """Every argument of the graph is an argument here; `--show-args` lists them."""
    return graph_description(use=Use.AUGMENT)
