"""Node: camera topics in, `/pad/hands` out (gripper poses of the person's hands in the task frame)."""

import sys
import time

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import Point
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.clock import Clock, ClockType
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image

from pad_msgs.msg import Hand, HandArray
from pad_parse import geometry, qos
from pad_parse.camera import Camera
from pad_parse.errors import CameraError, PadParseError
from pad_parse.hands import OnnxHandEstimator
from pad_parse.hands.live import LiveHand, LiveHands
from pad_parse.nodes.camera_stream import COLOUR, CameraStream
from pad_parse.recording.images import colour_image, depth_image, stamp_seconds


class HandTracker(Node):
    """Publishes HandArray for every colour image, with its depth where `use_depth` is set."""

    def __init__(self) -> None:
        super().__init__("hand_tracker")
        self._declare("calibration", "", "Camera YAML with its pose in the task frame.")
        self._declare("use_depth", True, "Wait for the aligned depth image of each colour image.")
        self._declare("camera_timeout", 10.0, "Seconds without an image after which the node gives up.")
        self.fault = ""
        path = self.get_parameter("calibration").value
        if not path:
            raise CameraError("parameter 'calibration' is missing; set it with --ros-args -p calibration:=CAMERA.yaml")
        self._calibration = Camera.load(path)
        if self._calibration.transform_camera_to_task is None:
            raise CameraError(f"{path} lacks transform_camera_to_task; calibrate the camera to the task frame")
        use_depth = bool(self.get_parameter("use_depth").value)
        self._estimator = OnnxHandEstimator()
        self._hands: LiveHands | None = None
        self._count, self._busy = 0, 0.0
        self._publisher = self.create_publisher(HandArray, "/pad/hands", qos.LATEST)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", qos.STATUS)
        self._stream = CameraStream(self, self._process, self._on_info, use_depth=use_depth)
        # Wall time on purpose: a dead camera also stops a simulated clock.
        self.create_timer(1.0, self._watch, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _declare(self, name: str, default: object, description: str) -> None:
        self.declare_parameter(name, default, ParameterDescriptor(description=description, read_only=True))

    def _on_info(self, message: CameraInfo) -> None:
        if self._hands is not None:
            return
        camera = Camera(
            np.array(message.k).reshape(3, 3),
            message.width,
            message.height,
            self._calibration.transform_camera_to_task,
        )
        self._hands = LiveHands(camera, self._estimator)

    def _process(self, colour: Image, depth: Image | None) -> None:
        if self._hands is None:
            return
        began = time.monotonic()
        rgb = colour_image(colour)
        hands = self._hands.step(rgb, None if depth is None else depth_image(depth), stamp_seconds(colour.header))
        message = HandArray()
        message.header.stamp = colour.header.stamp
        message.header.frame_id = "task_frame"
        message.hands = [_hand_message(hand) for hand in hands]
        self._publisher.publish(message)
        self._count += 1
        self._busy += time.monotonic() - began

    def _watch(self) -> None:
        silence = self._stream.silence
        if silence > float(self.get_parameter("camera_timeout").value):
            self.fault = (
                f"no frame on {COLOUR} for {silence:.0f} s; start the camera (or the cell), and check the topic names"
            )
            self.get_logger().fatal(self.fault)
            return
        status = DiagnosticStatus()
        status.name, status.hardware_id = "hand_tracker", "camera"
        status.level = DiagnosticStatus.OK if self._count else DiagnosticStatus.WARN
        status.message = f"{self._count} images/s" if self._count else "no images"
        mean = 1e3 * self._busy / max(self._count, 1)
        status.values = [KeyValue(key="mean_ms", value=f"{mean:.1f}"), KeyValue(key="rate_hz", value=str(self._count))]
        report = DiagnosticArray()
        report.header.stamp = self.get_clock().now().to_msg()
        report.status = [status]
        self._diagnostics.publish(report)
        self._count, self._busy = 0, 0.0


def _hand_message(hand: LiveHand) -> Hand:
    message = Hand()
    message.side = Hand.LEFT if hand.side == 0 else Hand.RIGHT
    x, y, z, w = geometry.quaternion_xyzw(hand.gripper_pose)
    pose = message.gripper_pose
    pose.position.x, pose.position.y, pose.position.z = (float(v) for v in hand.gripper_pose[:3, 3])
    pose.orientation.x, pose.orientation.y, pose.orientation.z, pose.orientation.w = (
        float(x),
        float(y),
        float(z),
        float(w),
    )
    message.opening = hand.opening
    message.state = Hand.VISIBLE
    message.presence = hand.presence
    message.landmarks = [Point(x=float(p[0]), y=float(p[1]), z=float(p[2])) for p in hand.landmarks]
    return message


def main() -> None:
    """Run the node; exit code 2 and one line on a bad parameter or a camera that stays silent."""
    rclpy.init()
    code = 0
    try:
        node = HandTracker()
    except PadParseError as error:
        print(f"hand_tracker: {error}", file=sys.stderr)
        rclpy.try_shutdown()
        sys.exit(2)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        while rclpy.ok() and not node.fault:
            executor.spin_once(timeout_sec=0.5)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        code = 2 if node.fault else 0
        node.destroy_node()
        rclpy.try_shutdown()
    sys.exit(code)


if __name__ == "__main__":
    main()
