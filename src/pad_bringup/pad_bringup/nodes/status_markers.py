"""Node `status_markers`: the gate's state as a text over the table, for RViz. It only looks."""

from __future__ import annotations

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from pad_bringup import names
from pad_bringup.errors import PadBringupError
from pad_msgs.msg import SafetyState
from pad_parse import qos
from pad_parse.nodes.parameters import declare
from pad_parse.nodes.running import run_node

STATES = {
    SafetyState.IDLE: "idle",
    SafetyState.RUNNING: "running",
    SafetyState.HOLDING: "holding",
    SafetyState.STOPPED: "stopped",
}
_COLOURS = {
    SafetyState.IDLE: (0.45, 0.45, 0.5),
    SafetyState.RUNNING: (0.0, 0.62, 0.45),
    SafetyState.HOLDING: (0.9, 0.6, 0.0),
    SafetyState.STOPPED: (0.84, 0.1, 0.1),
}
_PERIOD = 0.2  # s
_SILENT_AFTER = 1.0  # s


def state_text(message: SafetyState) -> str:
    """The gate's state in words."""
    state = STATES.get(message.state, f"state {message.state}")
    return f"{state}: {message.cause}" if message.cause else state


class StatusMarkers(Node):
    """Publishes one text marker, namespace `safety`."""

    def __init__(self) -> None:
        super().__init__("status_markers")
        self.fault = ""
        height = declare(self, "height", 0.75, "Where the text stands, m over the table.", limits=(0.0, 3.0))
        self._height = float(height)
        self._latest: SafetyState | None = None
        self._clock_real = Clock(clock_type=ClockType.STEADY_TIME)
        self._heard = self._clock_real.now()
        self._out = self.create_publisher(MarkerArray, names.MARKERS, qos.STATUS)
        self.create_subscription(SafetyState, names.SAFETY, self._on_safety, qos.STATUS)
        self.create_timer(_PERIOD, self._show, clock=self._clock_real)

    def _on_safety(self, message: SafetyState) -> None:
        self._latest, self._heard = message, self._clock_real.now()

    def _show(self) -> None:
        silent = 1e-9 * (self._clock_real.now() - self._heard).nanoseconds
        if self._latest is None or silent > _SILENT_AFTER:
            text, colour = "no command gate", _COLOURS[SafetyState.STOPPED]
        else:
            text = state_text(self._latest)
            colour = _COLOURS.get(self._latest.state, _COLOURS[SafetyState.IDLE])
        marker = Marker(ns="safety", id=0, type=Marker.TEXT_VIEW_FACING, action=Marker.ADD, text=text)
        marker.header.frame_id, marker.header.stamp = names.TASK_FRAME, self.get_clock().now().to_msg()
        marker.pose.position.z, marker.pose.orientation.w, marker.scale.z = self._height, 1.0, 0.05
        marker.color = ColorRGBA(r=colour[0], g=colour[1], b=colour[2], a=1.0)
        self._out.publish(MarkerArray(markers=[marker]))


def main() -> None:
    """Run the node until it is told to stop."""
    run_node("status_markers", StatusMarkers, (PadBringupError,))


if __name__ == "__main__":
    main()
