"""Node `viewer`: the live picture in the browser. It only looks; nothing depends on it."""

from __future__ import annotations

import sys
import time
from typing import Any

import rclpy
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.subscription import Subscription
from sensor_msgs.msg import Image, JointState
from visualization_msgs.msg import MarkerArray

from pad_bringup import names
from pad_bringup.errors import PadBringupError
from pad_bringup.nodes.status_markers import state_text
from pad_bringup.robot_scene import robot_scene, tcp_links
from pad_bringup.viewer import Viewer
from pad_msgs.msg import CellOutcome, SafetyState
from pad_parse import qos
from pad_parse.errors import PadParseError
from pad_parse.nodes.running import Interruption
from pad_parse.recording.images import colour_image


class ViewerNode(Node):
    """Subscribes to what people want to see, and only while somebody looks.

    Every subscription but the markers' keeps one message, and the node is spun at the drawing rate, so that a stream
    of 125 Hz costs as much as one of 10 Hz.
    """

    def __init__(self) -> None:
        super().__init__("viewer")
        port = ParameterDescriptor(
            description="First port on 127.0.0.1 that is tried.",
            read_only=True,
            integer_range=[IntegerRange(from_value=1, to_value=65535, step=1)],
        )
        rate = ParameterDescriptor(
            description="Drawings per second of real time.",
            read_only=True,
            floating_point_range=[FloatingPointRange(from_value=0.5, to_value=30.0, step=0.0)],
        )
        self.declare_parameter("port", 8080, port)
        self.declare_parameter("rate", 5.0, rate)
        self.declare_parameter("robot", "", ParameterDescriptor(description="Robot profile YAML.", read_only=True))
        self.period = 1.0 / self.get_parameter("rate").value
        self.viewer = Viewer(self.get_parameter("port").value)
        robot = self.get_parameter("robot").value
        if robot:
            self.viewer.add_robot(robot_scene(robot), tcp_links(robot))
        self._streams: list[Subscription] = []
        self._latest: dict[str, Any] = {}
        self._drawn: dict[str, Any] = {}
        self._markers: list[Any] = []
        self.get_logger().info(f"viewer: {self.viewer.url}")

    def draw(self) -> None:
        """Take what has arrived and show what is new."""
        if not self.viewer.watched:
            self._unsubscribe()
            return
        if not self._streams:
            self._subscribe()
        markers, self._markers = self._markers, []
        with self.viewer.at_once():
            self.viewer.set_markers(markers, time.monotonic())
        with self.viewer.at_once():
            for topic, message in list(self._latest.items()):
                if self._drawn.get(topic) is not message:
                    self._drawn[topic] = message
                    self._show(topic, message)
            self.viewer.set_text(self._status())

    def _subscribe(self) -> None:
        streams = (
            (names.JOINT_STATES, JointState, qos.LATEST),
            (names.SAFETY, SafetyState, qos.LATEST),
            (names.CELL_OUTCOME, CellOutcome, qos.LATEST),
            (names.COLOR_IMAGE, Image, qos.CAMERA),
        )
        for topic, kind, profile in streams:

            def keep(message: Any, topic: str = topic) -> None:
                self._latest[topic] = message

            self._streams.append(self.create_subscription(kind, topic, keep, profile))
        quiet = SubscriptionEventCallbacks(use_default_callbacks=False)  # that most publishers latch nothing is no news
        for profile in (qos.STATUS, qos.LATCHED):  # what comes now, and what is latched since before
            self._streams.append(
                self.create_subscription(MarkerArray, names.MARKERS, self._on_markers, profile, event_callbacks=quiet)
            )

    def _on_markers(self, message: MarkerArray) -> None:
        self._markers.extend(message.markers)

    def _unsubscribe(self) -> None:
        for stream in self._streams:
            self.destroy_subscription(stream)
        self._streams = []

    def _show(self, topic: str, message: Any) -> None:
        if topic == names.JOINT_STATES and self.get_parameter("robot").value:
            self.viewer.set_joints(dict(zip(message.name, message.position, strict=False)))
        elif topic == names.COLOR_IMAGE:
            try:
                self.viewer.set_image(colour_image(message)[::2, ::2])
            except PadParseError as error:
                self.get_logger().warning(str(error), throttle_duration_sec=10.0)

    def _status(self) -> str:
        lines = []
        safety = self._latest.get(names.SAFETY)
        if safety is not None:
            lines.append(f"**gate** {state_text(safety)}")
        outcome = self._latest.get(names.CELL_OUTCOME)
        if outcome is not None:
            lines.append(
                f"**cell** {outcome.time:.0f} s, {outcome.cause or 'success'}, "
                f"{outcome.real_time_factor:.2f} x real time"
            )
        return "  \n".join(lines) or "waiting for the first messages"


def main(args: list[str] | None = None) -> int:
    """Run the node until it is interrupted; 2 on bad parameters."""
    interruption = Interruption()
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    node = None
    try:
        node = ViewerNode()
        interruption.started()
        while not interruption.came:
            begin = time.monotonic()
            for _ in range(24):  # one message of each stream, several of markers, and room for services
                rclpy.spin_once(node, timeout_sec=0.0)
            node.draw()
            # Real time on purpose: people watch in it, also when the simulated clock stands still.
            time.sleep(max(0.02, node.period - (time.monotonic() - begin)))
    except KeyboardInterrupt:
        return 0
    except PadBringupError as error:
        print(f"viewer: {error}", file=sys.stderr)
        return 2
    finally:
        if node is not None:
            node.viewer.close()
            node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
