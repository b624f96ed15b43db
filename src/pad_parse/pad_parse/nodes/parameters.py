"""Node parameters, each declared once with its description and range."""

from __future__ import annotations

from collections.abc import Sequence

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node

from pad_parse.camera import Camera
from pad_parse.errors import CameraError, NodeError


def declare(
    node: Node,
    name: str,
    default: bool | int | float | str,
    description: str,
    *,
    limits: tuple[float, float] | None = None,
    choices: Sequence[str] = (),
) -> bool | int | float | str:
    """Declare a read-only parameter and give its value.

    limits: least and greatest number.
    choices: the allowed texts.

    Raises:
        NodeError: a text that is not one of `choices`. Numbers outside `limits` are refused by rclpy.
    """
    said = f"{description} One of: {', '.join(choices)}." if choices else description
    descriptor = ParameterDescriptor(description=said, read_only=True)
    if limits is not None and isinstance(default, int):
        descriptor.integer_range = [IntegerRange(from_value=int(limits[0]), to_value=int(limits[1]), step=1)]
    elif limits is not None:
        descriptor.floating_point_range = [FloatingPointRange(from_value=limits[0], to_value=limits[1])]
    value = node.declare_parameter(name, default, descriptor).value
    if choices and value not in choices:
        raise NodeError(f"parameter '{name}' is {value!r}; choices: {', '.join(choices)}")
    return value


def required(node: Node, name: str, example: str) -> str:
    """The text of a declared parameter that has no useful default.

    Raises:
        NodeError: it is empty.
    """
    value = str(node.get_parameter(name).value)
    if not value:
        raise NodeError(f"parameter '{name}' is missing; set it with --ros-args -p {name}:={example}")
    return value


def calibrated_camera(node: Node) -> Camera:
    """The camera of the declared parameter `calibration`, whose pose in the task frame is known.

    Raises:
        NodeError: the parameter is empty.
        CameraError: the file is missing or wrong, or lacks the pose.
    """
    path = required(node, "calibration", "CAMERA.yaml")
    camera = Camera.load(path)
    if camera.transform_camera_to_task is None:
        raise CameraError(f"{path} lacks transform_camera_to_task; calibrate the camera to the task frame")
    return camera
