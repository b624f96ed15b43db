"""The camera's topics as a stream of frames: colour with the depth image of the same stamp."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from pad_parse import qos
from pad_parse.recording.encoded import DamagedImageError
from pad_parse.recording.images import colour_image, depth_image

COLOUR = "/camera/color/image_raw"
DEPTH = "/camera/aligned_depth_to_color/image_raw"
INFO = "/camera/color/camera_info"
_PENDING = 8  # images that wait for their partner of the same stamp
_LOOK_EVERY = 0.2  # s between looks for the camera's publishers
# The first of these that somebody offers is taken: raw images, else those of image_transport.
_OFFERS: dict[str, tuple[tuple[str, type], ...]] = {
    COLOUR: ((COLOUR, Image), (f"{COLOUR}/compressed", CompressedImage)),
    DEPTH: ((DEPTH, Image), (f"{DEPTH}/compressedDepth", CompressedImage)),
    INFO: ((INFO, CameraInfo),),
}
OnFrame = Callable[[Header, NDArray[np.uint8], NDArray[np.float32] | None], None]


class CameraStream:
    """Calls `on_frame(header, rgb, depth)` and `on_info(camera_info)`.

    rgb is (H, W, 3) uint8, depth (H, W) float32 metres with 0 = none, or None where depth is not used. The reliability
    of a publisher is matched: a best-effort subscription to a reliable camera loses up to half of its images on a busy
    machine, and a reliable one to a best-effort camera gets none. `silence` is the time in s since the last frame,
    `unpaired` counts images whose partner never came, `damaged` those that could not be decoded.
    """

    def __init__(
        self, node: Node, on_frame: OnFrame, on_info: Callable[[CameraInfo], None], *, use_depth: bool = True
    ) -> None:
        self._node = node
        self._on_frame = on_frame
        self._use_depth = use_depth
        self._waiting: dict[str, dict[tuple[int, int], Any]] = {COLOUR: {}, DEPTH: {}}
        self._last = time.monotonic()
        self.unpaired = self.damaged = 0
        self._missing: dict[str, Callable[[Any], None]] = {COLOUR: self._on_colour, INFO: on_info}
        if use_depth:
            self._missing[DEPTH] = self._on_depth
        # Wall time on purpose: a camera that is not there yet may also be the source of the clock.
        self._timer = node.create_timer(_LOOK_EVERY, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._look()

    @property
    def silence(self) -> float:
        """Seconds since the last complete frame (or since the start)."""
        return time.monotonic() - self._last

    def _look(self) -> None:
        for name, callback in list(self._missing.items()):
            for topic, kind in _OFFERS[name]:
                offered = self._node.get_publishers_info_by_topic(topic)
                if offered:
                    self._node.create_subscription(kind, topic, callback, _matching(offered[0].qos_profile))
                    del self._missing[name]
                    break
        if not self._missing:
            self._timer.cancel()

    def _on_colour(self, message: Any) -> None:
        if self._use_depth:
            self._pair(COLOUR, message)
        else:
            self._decode(message, None)

    def _on_depth(self, message: Any) -> None:
        self._pair(DEPTH, message)

    def _pair(self, topic: str, message: Any) -> None:
        key = (message.header.stamp.sec, message.header.stamp.nanosec)
        self._waiting[topic][key] = message
        colour, depth = self._waiting[COLOUR], self._waiting[DEPTH]
        if key in colour and key in depth:
            self._decode(colour.pop(key), depth.pop(key))
        while len(self._waiting[topic]) > _PENDING:
            self._waiting[topic].pop(next(iter(self._waiting[topic])))
            self.unpaired += 1

    def _decode(self, colour: Any, depth: Any | None) -> None:
        self._last = time.monotonic()
        try:
            rgb, metres = colour_image(colour), None if depth is None else depth_image(depth)
        except DamagedImageError as error:
            self.damaged += 1
            self._node.get_logger().warning(f"image left out: {error}", throttle_duration_sec=5.0)
            return
        self._on_frame(colour.header, rgb, metres)


def _matching(offered: QoSProfile) -> QoSProfile:
    return qos.CAMERA if offered.reliability == ReliabilityPolicy.BEST_EFFORT else qos.CAMERA_OUT
