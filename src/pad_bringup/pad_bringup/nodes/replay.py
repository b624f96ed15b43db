"""Node `replay`: plays a rosbag2 in its own time, with /clock, so that nodes see a recorded camera as a live one."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import rclpy
from rcl_interfaces.msg import FloatingPointRange, ParameterDescriptor
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.signals import SignalHandlerOptions
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore
from rosgraph_msgs.msg import Clock

from pad_bringup import names
from pad_bringup.errors import PadBringupError, ReplayError
from pad_bringup.message_schemas import message_class
from pad_parse import qos

_CAMERA_TOPICS = (
    names.COLOR_IMAGE,
    f"{names.COLOR_IMAGE}/compressed",
    names.COLOR_INFO,
    names.ALIGNED_DEPTH_IMAGE,
    f"{names.ALIGNED_DEPTH_IMAGE}/compressedDepth",
)
_TICK = 10_000_000  # ns of recorded time between two clock messages


class ReplayNode(Node):
    """Publishes the bag's bytes as they are; nothing is decoded."""

    def __init__(self) -> None:
        super().__init__("replay")
        rate = ParameterDescriptor(
            description="Recorded seconds per real second.",
            read_only=True,
            floating_point_range=[FloatingPointRange(from_value=0.01, to_value=100.0, step=0.0)],
        )
        bag = ParameterDescriptor(description="Folder or file of the bag.", read_only=True)
        loop = ParameterDescriptor(description="Start again at the end.", read_only=True)
        self.declare_parameter("bag", "", bag)
        self.declare_parameter("rate", 1.0, rate)
        self.declare_parameter("loop", False, loop)
        self.declare_parameter(
            "topics",
            [""],
            ParameterDescriptor(description="Topics to publish; none: the camera's that the bag has.", read_only=True),
        )
        bag = self.get_parameter("bag").value
        if not bag:
            raise ReplayError("no bag is named: give the parameter bag, e.g. -p bag:=PATH")
        self.path = Path(bag).expanduser()
        if not self.path.exists():
            raise ReplayError(f"bag {self.path} does not exist")
        self.rate = float(self.get_parameter("rate").value)
        self.loop = bool(self.get_parameter("loop").value)
        self.topics = tuple(topic for topic in self.get_parameter("topics").value if topic)
        self._clock = self.create_publisher(Clock, names.CLOCK, 10)
        self._outputs: dict[str, Any] = {}

    def play(self) -> int:
        """Publish the bag once (or for ever); returns the number of messages."""
        count = 0
        while True:
            with self._reader() as reader:
                self._make_publishers(reader)
                count += self._play_once(reader)
            if not self.loop:
                return count

    def _play_once(self, reader: AnyReader) -> int:
        count, begin, first, tick = 0, time.monotonic(), None, 0
        for topic, stamp, data in self._messages(reader):
            first = stamp if first is None else first
            tick = tick or stamp
            while tick <= stamp:
                self._sleep_until(begin + (tick - first) * 1e-9 / self.rate)
                self._publish_clock(tick)
                tick += _TICK
            self._sleep_until(begin + (stamp - first) * 1e-9 / self.rate)
            self._publish_clock(stamp)
            self._outputs[topic].publish(data)
            count += 1
        return count

    def _sleep_until(self, moment: float) -> None:
        rclpy.spin_once(self, timeout_sec=0.0)
        time.sleep(max(0.0, moment - time.monotonic()))

    def _publish_clock(self, stamp: int) -> None:
        message = Clock()
        message.clock.sec, message.clock.nanosec = divmod(stamp, 1_000_000_000)
        self._clock.publish(message)

    def _reader(self) -> AnyReader:
        return AnyReader([self.path], default_typestore=get_typestore(Stores.ROS2_JAZZY))

    def _messages(self, reader: AnyReader) -> Iterator[tuple[str, int, bytes]]:
        connections = [c for c in reader.connections if c.topic in self.topics]
        for connection, stamp, data in reader.messages(connections=connections):
            yield connection.topic, stamp, bytes(data)

    def _make_publishers(self, reader: AnyReader) -> None:
        types = {connection.topic: connection.msgtype for connection in reader.connections}
        self.topics = self.topics or tuple(topic for topic in _CAMERA_TOPICS if topic in types)
        missing = [topic for topic in self.topics or _CAMERA_TOPICS[:1] if topic not in types]
        if missing:
            raise ReplayError(f"bag {self.path} has no topic {missing[0]}; it has: {', '.join(sorted(types))}")
        for topic in self.topics:
            if topic not in self._outputs:
                profile: QoSProfile = qos.CAMERA_OUT if topic.startswith("/camera/") else qos.STATUS
                self._outputs[topic] = self.create_publisher(message_class(types[topic]), topic, profile)


def run(args: list[str] | None = None) -> int:
    """Play the bag; 0 when it was played, 2 on bad parameters or a damaged bag. Ctrl-C is passed on."""
    # Not rclpy's handlers: they end the context under the feet of a message that is being published.
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    node = None
    try:
        node = ReplayNode()
        count = node.play()
        node.get_logger().info(f"played {count} messages of {node.path}")
    except PadBringupError as error:
        print(f"replay: {error}", file=sys.stderr)
        return 2
    except Exception as error:
        # Whatever the bag reader says about a damaged file.
        if not type(error).__module__.startswith("rosbags"):
            raise
        print(f"replay: the bag is damaged: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
    return 0


def main(args: list[str] | None = None) -> int:
    """Run the node; being interrupted is a way to end it."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return run(args)
    except (KeyboardInterrupt, ExternalShutdownException):
        return 0


if __name__ == "__main__":
    sys.exit(main())
