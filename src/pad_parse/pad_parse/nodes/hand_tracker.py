"""Node: camera topics in, `/pad/hands` out (gripper poses of the person's hands in the task frame)."""

from __future__ import annotations

import time
from collections import deque

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from numpy.typing import NDArray
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from pad_msgs.msg import HandArray
from pad_parse import qos
from pad_parse.camera import Camera
from pad_parse.errors import CameraError, PadParseError
from pad_parse.hands import OnnxHandEstimator
from pad_parse.hands.live import LiveHands
from pad_parse.nodes.camera_stream import COLOUR, INFO, CameraStream
from pad_parse.nodes.hand_messages import SIDES, hand_array, hand_markers
from pad_parse.nodes.parameters import calibrated_camera, declare
from pad_parse.nodes.running import run_node
from pad_parse.nodes.transforms import TransformOutput
from pad_parse.recording.images import stamp_seconds

_MARKER_PERIOD = 0.1  # s, image stamps


class HandTracker(Node):
    """Publishes HandArray for every colour image, with its depth where `use_depth` is set.

    `fault` holds the message of an error that must end the process.
    """

    def __init__(self) -> None:
        super().__init__("hand_tracker")
        self.fault = ""
        declare(self, "calibration", "", "Camera YAML with its pose in the task frame.")
        use_depth = declare(self, "use_depth", True, "Wait for the aligned depth image of each colour image.")
        self._camera_timeout = declare(
            self, "camera_timeout", 10.0, "Seconds without an image until the node gives up.", limits=(0.5, 600.0)
        )
        self._calibration = calibrated_camera(self)
        self._estimator = OnnxHandEstimator()
        self._hands: LiveHands | None = None
        self._busy: deque[float] = deque(maxlen=300)
        self._count, self._newest, self._marked = 0, -np.inf, -np.inf
        self._seen = np.zeros(len(SIDES), int)
        self._publisher = self.create_publisher(HandArray, "/pad/hands", qos.LATEST)
        self._markers_out = self.create_publisher(MarkerArray, "/pad/markers", qos.STATUS)
        self._transforms = TransformOutput(self)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", qos.STATUS)
        self._stream = CameraStream(self, self._on_frame, self._on_info, use_depth=bool(use_depth))
        # Wall time on purpose: a dead camera also stops a simulated clock.
        self._started = self._watched = time.monotonic()
        self.create_timer(1.0, self._watch, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _on_info(self, message: CameraInfo) -> None:
        if self._hands is not None:
            return
        pose = self._calibration.transform_camera_to_task
        try:
            camera = Camera(np.array(message.k).reshape(3, 3), message.width, message.height, pose)
        except CameraError as error:
            self.fault = f"{INFO}: {error}"
            return
        self._hands = LiveHands(camera, self._estimator)

    def _on_frame(self, header: Header, rgb: NDArray[np.uint8], depth: NDArray[np.float32] | None) -> None:
        if self._hands is None:
            return
        began = time.monotonic()
        stamp = header.stamp
        self._newest = stamp_seconds(header)
        try:
            hands = self._hands.step(rgb, depth, self._newest)
        except PadParseError as error:
            self.fault = str(error)
            self.get_logger().fatal(self.fault)
            return
        self._publisher.publish(hand_array(hands, stamp))
        self._busy.append(time.monotonic() - began)
        self._count += 1
        self._seen[[hand.side for hand in hands]] += 1
        # A stamp that goes back is a recording that was started anew.
        if not 0 <= self._newest - self._marked < _MARKER_PERIOD:
            self._marked = self._newest
            self._markers_out.publish(hand_markers(hands, stamp))
            self._transforms.moving({f"human/{SIDES[h.side]}_gripper": h.gripper_pose for h in hands}, stamp)

    def _watch(self) -> None:
        silence = self._stream.silence
        if silence > self._camera_timeout:
            self.fault = (
                f"no frame on {COLOUR} for {silence:.0f} s; start the camera (or the cell), and check the topic names"
            )
        elif self._hands is None and time.monotonic() - self._started > self._camera_timeout:
            self.fault = f"images arrive but no {INFO}; the camera driver must publish it"
        if self.fault:
            self.get_logger().fatal(self.fault)
            return
        report = DiagnosticArray(status=[self._status()])
        report.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(report)

    def _status(self) -> DiagnosticStatus:
        now = time.monotonic()
        span, self._watched = max(now - self._watched, 1e-3), now
        status = DiagnosticStatus(name="hand_tracker", hardware_id="camera", level=DiagnosticStatus.OK)
        values = {"rate_hz": f"{self._count / span:.1f}", "unpaired_images": str(self._stream.unpaired)}
        values["damaged_images"] = str(self._stream.damaged)
        if self._count:
            status.message = "tracking"
            values["age_ms"] = f"{1e3 * (self.get_clock().now().nanoseconds * 1e-9 - self._newest):.0f}"
            values["busy_p95_ms"] = f"{1e3 * np.percentile(list(self._busy), 95):.1f}"
            values |= {f"visible_{side}": f"{n / self._count:.2f}" for side, n in zip(SIDES, self._seen, strict=True)}
        else:
            status.level, status.message = DiagnosticStatus.WARN, "no images"
        self._count = 0
        self._seen[:] = 0
        status.values = [KeyValue(key=key, value=value) for key, value in values.items()]
        return status


def main() -> None:
    """Run the node; exit code 2 and one line on a bad parameter or a camera that stays silent."""
    run_node("hand_tracker", HandTracker)


if __name__ == "__main__":
    main()
