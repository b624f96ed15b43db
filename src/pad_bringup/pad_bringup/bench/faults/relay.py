"""Node that stands between the simulated cell, the policy and everybody else, and does harm when it is told to.

It passes on what comes on `/upstream/...`. Its parameter `fault` says what is done to it, `offset` what is added to the
cell's clock and to every stamp of camera and arms, as when a machine's clock is set anew.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from typing import Final

import numpy as np
import rclpy
from rcl_interfaces.msg import ParameterDescriptor, SetParametersResult
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import Image
from trajectory_msgs.msg import JointTrajectory

from pad_bringup import names
from pad_bringup.message_schemas import message_class
from pad_msgs.msg import KeypointArray
from pad_parse import qos

NAME: Final = "fault_relay"
UPSTREAM: Final = "/upstream"
CAMERA: Final = (names.COLOR_IMAGE, names.COLOR_INFO, names.ALIGNED_DEPTH_IMAGE)
STAMPED: Final = (names.CLOCK, names.CELL_CLOCK, names.JOINT_STATES, *CAMERA)

NO_FAULT, NO_CAMERA, NO_JOINT_STATES = "none", "no_camera", "no_joint_states"
HOLES, HIDDEN = "depth_holes", "hidden"
NAN_CHUNK, WRONG_ROBOT = "nan_chunk", "wrong_robot"
FAULTS: Final = (NO_FAULT, NO_CAMERA, NO_JOINT_STATES, HOLES, HIDDEN, NAN_CHUNK, WRONG_ROBOT)

_MARGIN = 60  # pixels around an object's keypoints that are hidden with it
_PROFILES = {
    names.CLOCK: qos.LATEST,
    names.CELL_CLOCK: qos.LATEST,
    names.JOINT_STATES: qos.JOINT_STATES,
    names.JOINT_CHUNK: qos.LATEST,
    **dict.fromkeys(CAMERA, qos.CAMERA_OUT),
}


class FaultRelay(Node):
    """Passes messages on as bytes, so that it costs next to nothing."""

    def __init__(self) -> None:
        super().__init__(NAME)
        self.declare_parameter("fault", NO_FAULT, ParameterDescriptor(description=f"One of {', '.join(FAULTS)}."))
        self.declare_parameter("offset", 0.0, ParameterDescriptor(description="s added to all stamps of the cell."))
        self.declare_parameter("group", "", ParameterDescriptor(description="hidden: which keypoint group."))
        self._fault, self._offset, self._group = NO_FAULT, 0.0, ""
        self._box = (0, 0, 0, 0)  # left, top, right, bottom in pixels
        self.add_on_set_parameters_callback(self._on_parameters)
        for topic in (*STAMPED, names.JOINT_CHUNK):
            kind, profile = message_class(names.TOPIC_TYPES[topic]), _PROFILES[topic]
            send = self.create_publisher(kind, topic, profile).publish
            change = self._on_chunk if topic == names.JOINT_CHUNK else self._on_stamped

            def receive(
                data: bytes,
                topic: str = topic,
                send: Callable[[bytes], None] = send,
                change: Callable[[str, bytes], bytes | None] = change,
            ) -> None:
                changed = change(topic, data)
                if changed is not None:
                    send(changed)

            self.create_subscription(kind, UPSTREAM + topic, receive, profile, raw=True)
        self.create_subscription(KeypointArray, names.TRUE_KEYPOINTS, self._on_truth, qos.STATUS)

    def _on_parameters(self, parameters: list[Parameter]) -> SetParametersResult:
        for parameter in parameters:
            if parameter.name == "fault":
                if parameter.value not in FAULTS:
                    return SetParametersResult(successful=False, reason=f"fault is one of {', '.join(FAULTS)}")
                self._fault = str(parameter.value)
            elif parameter.name == "offset":
                self._offset = float(parameter.value)
            elif parameter.name == "group":
                self._group = str(parameter.value)
        return SetParametersResult(successful=True)

    def _on_stamped(self, topic: str, data: bytes) -> bytes | None:
        fault = self._fault
        if (fault == NO_CAMERA and topic in CAMERA) or (fault == NO_JOINT_STATES and topic == names.JOINT_STATES):
            return None
        if self._offset:
            data = _shifted(data, self._offset)
        if fault == HOLES and topic == names.ALIGNED_DEPTH_IMAGE:
            return _painted(data, None)
        if fault == HIDDEN and topic in (names.ALIGNED_DEPTH_IMAGE, names.COLOR_IMAGE):
            return _painted(data, self._box)
        return data

    def _on_chunk(self, topic: str, data: bytes) -> bytes | None:
        if self._fault not in (NAN_CHUNK, WRONG_ROBOT):
            return data
        message = deserialize_message(data, JointTrajectory)
        if self._fault == NAN_CHUNK:
            message.points[len(message.points) // 2].positions[3] = float("nan")
        else:
            message.joint_names = [f"panda_joint{k + 1}" for k in range(len(message.joint_names))]
        return bytes(rclpy.serialization.serialize_message(message))

    def _on_truth(self, message: KeypointArray) -> None:
        pixels = np.array([(k.u, k.v) for k in message.keypoints if k.group == self._group])
        if len(pixels):
            low, high = pixels.min(axis=0) - _MARGIN, pixels.max(axis=0) + _MARGIN
            self._box = (int(max(low[0], 0)), int(max(low[1], 0)), int(max(high[0], 0)), int(max(high[1], 0)))


def _shifted(data: bytes, offset: float) -> bytes:
    """The message with its first field, a stamp or a header, moved by `offset` s."""
    seconds, nanoseconds = struct.unpack_from("<iI", data, 4)
    total = seconds * 1_000_000_000 + nanoseconds + round(offset * 1e9)
    return data[:4] + struct.pack("<iI", total // 1_000_000_000, total % 1_000_000_000) + data[12:]


def _painted(data: bytes, box: tuple[int, int, int, int] | None) -> bytes:
    """An image with a box of it, or all of it, set to 0."""
    image = deserialize_message(data, Image)
    pixels = np.array(image.data, dtype=np.uint8).reshape(image.height, image.width, -1)
    left, top, right, bottom = box or (0, 0, image.width, image.height)
    pixels[top:bottom, left:right] = 0
    return data[: len(data) - pixels.size] + pixels.tobytes()


def main() -> None:
    """Run the node until it is told to stop."""
    rclpy.init()
    node = FaultRelay()
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
    sys.exit(0)


if __name__ == "__main__":
    main()
