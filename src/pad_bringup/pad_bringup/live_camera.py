"""Recorded frames published as a live camera: at the camera's rate, stamped with the time at which they are sent."""

from __future__ import annotations

import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rclpy.node import Node
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo, Image

from pad_bringup import names
from pad_bringup.camera_messages import camera_info_message, image_message
from pad_parse import qos
from pad_parse.camera import Camera
from pad_parse.recording.recording import Frame

_STAMP = struct.Struct("<iI")  # seconds and nanoseconds of a header, which come first in a message
_STAMP_OFFSET = 4  # behind the mark of the encoding


@dataclass(frozen=True, eq=False)
class WireFrame:
    """One frame as it goes over the wire, but for the stamp."""

    colour: bytearray
    depth: bytearray


def wire_frames(frames: Sequence[Frame]) -> list[WireFrame]:
    """Serialise frames with depth once, so that sending them costs next to nothing."""
    made = []
    for frame in frames:
        assert frame.depth is not None
        millimetres = np.clip(np.rint(frame.depth * 1000.0), 0, 65535).astype("<u2")
        made.append(
            WireFrame(
                bytearray(serialize_message(image_message(frame.rgb, "rgb8", 3))),
                bytearray(serialize_message(image_message(millimetres, "16UC1", 2))),
            )
        )
    return made


class LiveCamera:
    """Publishes colour, aligned depth and camera info on the RealSense topics, reliable."""

    def __init__(self, node: Node, camera: Camera) -> None:
        self._colour = node.create_publisher(Image, names.COLOR_IMAGE, qos.CAMERA_OUT)
        self._depth = node.create_publisher(Image, names.ALIGNED_DEPTH_IMAGE, qos.CAMERA_OUT)
        self._info = node.create_publisher(CameraInfo, names.COLOR_INFO, qos.CAMERA_OUT)
        self._camera_info = camera_info_message(camera)

    def send(self, frame: WireFrame) -> int:
        """Publish a frame now; returns its stamp in nanoseconds of the system's clock."""
        stamp = time.time_ns()
        seconds, nanoseconds = divmod(stamp, 1_000_000_000)
        for data in (frame.colour, frame.depth):
            _STAMP.pack_into(data, _STAMP_OFFSET, seconds, nanoseconds)
        self._camera_info.header.stamp.sec, self._camera_info.header.stamp.nanosec = seconds, nanoseconds
        self._info.publish(self._camera_info)
        self._colour.publish(bytes(frame.colour))
        self._depth.publish(bytes(frame.depth))
        return stamp
