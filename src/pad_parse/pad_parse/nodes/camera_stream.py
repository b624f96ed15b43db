"""The camera's topics as a stream of frames: colour with the depth image of the same stamp."""

import time
from collections.abc import Callable

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image

from pad_parse import qos

COLOUR = "/camera/color/image_raw"
DEPTH = "/camera/aligned_depth_to_color/image_raw"
INFO = "/camera/color/camera_info"
_PENDING = 8  # images that wait for their partner of the same stamp
_LOOK_EVERY = 0.2  # s between looks for the camera's publishers


class CameraStream:
    """Calls `on_frame(colour, depth or None)` and `on_info(camera_info)`.

    The reliability of a publisher is matched: a best-effort subscription to a reliable camera loses up to half of its
    images on a busy machine, and a reliable one to a best-effort camera gets none. `silence` is the time in s since the
    last frame; `unpaired` counts images whose partner never came.
    """

    def __init__(
        self,
        node: Node,
        on_frame: Callable[[Image, Image | None], None],
        on_info: Callable[[CameraInfo], None],
        *,
        use_depth: bool = True,
    ) -> None:
        self._node = node
        self._on_frame = on_frame
        self._use_depth = use_depth
        self._waiting: dict[str, dict[tuple[int, int], Image]] = {COLOUR: {}, DEPTH: {}}
        self._last = time.monotonic()
        self.unpaired = 0
        self._missing = {COLOUR: (Image, self._on_colour), INFO: (CameraInfo, on_info)}
        if use_depth:
            self._missing[DEPTH] = (Image, self._on_depth)
        # Wall time on purpose: a camera that is not there yet may also be the source of the clock.
        self._timer = node.create_timer(_LOOK_EVERY, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._look()

    @property
    def silence(self) -> float:
        """Seconds since the last complete frame (or since the start)."""
        return time.monotonic() - self._last

    def _look(self) -> None:
        for topic, (kind, callback) in list(self._missing.items()):
            offered = self._node.get_publishers_info_by_topic(topic)
            if offered:
                self._node.create_subscription(kind, topic, callback, _matching(offered[0].qos_profile))
                del self._missing[topic]
        if not self._missing:
            self._timer.cancel()

    def _on_colour(self, message: Image) -> None:
        if not self._use_depth:
            self._last = time.monotonic()
            self._on_frame(message, None)
        else:
            self._pair(COLOUR, message)

    def _on_depth(self, message: Image) -> None:
        self._pair(DEPTH, message)

    def _pair(self, topic: str, message: Image) -> None:
        key = (message.header.stamp.sec, message.header.stamp.nanosec)
        self._waiting[topic][key] = message
        colour, depth = self._waiting[COLOUR], self._waiting[DEPTH]
        if key in colour and key in depth:
            self._last = time.monotonic()
            self._on_frame(colour.pop(key), depth.pop(key))
        while len(self._waiting[topic]) > _PENDING:
            self._waiting[topic].pop(next(iter(self._waiting[topic])))
            self.unpaired += 1


def _matching(offered: QoSProfile) -> QoSProfile:
    return qos.CAMERA if offered.reliability == ReliabilityPolicy.BEST_EFFORT else qos.CAMERA_OUT
