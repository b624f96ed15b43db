"""Node: camera topics in, `/pad/keypoints` out; `/pad/localise_keypoints` finds them in the newest image."""

import sys
import threading
import time
from collections import deque
from dataclasses import dataclass

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import Point, Pose
from rcl_interfaces.msg import FloatingPointRange, ParameterDescriptor
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.executors import ExternalShutdownException, MultiThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from pad_msgs.msg import Keypoint, KeypointArray, ObjectPose
from pad_msgs.srv import LocaliseKeypoints
from pad_parse import geometry, qos
from pad_parse.camera import Camera
from pad_parse.demonstration import Demonstration, KeypointState
from pad_parse.errors import CameraError, DemonstrationError, NodeError, PadParseError
from pad_parse.localisation import Localiser
from pad_parse.nodes.camera_stream import COLOUR, DEPTH, INFO, CameraStream
from pad_parse.recording.images import colour_image, depth_image, stamp_seconds
from pad_parse.tracking import KeypointFrame, ObjectTracker

_MARKER_PERIOD = 0.2
_MARKER_SIZE = 0.012
_FRAMES_TO_SKIP = 1
"""Images after a request that may still show the scene as it was before it."""

_SAME_CLOCK = 2.0
"""Stamps within this (s) of the node's clock come from that clock."""

_PALETTE = (
    (0.90, 0.60, 0.00),
    (0.34, 0.71, 0.91),
    (0.00, 0.62, 0.45),
    (0.94, 0.89, 0.26),
    (0.80, 0.47, 0.65),
)
_GREY = (0.6, 0.6, 0.6)


@dataclass
class _Request:
    """A localisation that waits for an image newer than `after` (s, image stamps)."""

    after: float
    skip: int
    done: threading.Event
    response: LocaliseKeypoints.Response


class KeypointTracker(Node):
    """Follows the demonstration's keypoints on live RGB-D images.

    Images arrive in the executor; a worker thread takes the newest one and skips those that came while it
    was busy.
    `fault` holds the message of an error that must end the process.
    """

    def __init__(self) -> None:
        super().__init__("keypoint_tracker")
        self._declare("reference", "", "Demonstration file (.demo.h5) whose annotated first frame names the keypoints.")
        self._declare("calibration", "", "Camera YAML with its pose in the task frame.")
        self._declare(
            "task",
            "",
            "Name of the running task; must be the demonstration's. Empty: the demonstration's own.",
        )
        self._declare("camera_timeout", 10.0, "Seconds without an image after which the node gives up.", (0.5, 600.0))
        self._declare("localise_timeout", 5.0, "Seconds that a localisation waits for a new image.", (0.1, 120.0))
        self._declare("confidence_limit", 0.5, "Confidence below which an object counts as not found.", (0.0, 1.0))
        self.fault = ""
        self._demonstration = self._load_demonstration()
        assert self._demonstration.reference is not None
        self._localiser = Localiser(self._demonstration.reference, self._demonstration.keypoint_objects)
        self._calibration = self._load_calibration()
        self._limit = float(self.get_parameter("confidence_limit").value)
        self._camera: Camera | None = None
        self._tracker: ObjectTracker | None = None
        self._request: _Request | None = None
        self._slot: tuple[Image, Image] | None = None
        self._newest = -np.inf
        self._arrived = threading.Condition()
        self._stopping = False
        self._frame: KeypointFrame | None = None
        self._marked = -np.inf
        self._busy: deque[float] = deque(maxlen=300)
        self._tracked, self._received, self._skipped = 0, 0, 0
        self._watched = self._started = time.monotonic()
        self._publisher = self.create_publisher(KeypointArray, "/pad/keypoints", qos.LATEST)
        self._markers = self.create_publisher(MarkerArray, "/pad/markers", qos.STATUS)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", qos.STATUS)
        self._stream = CameraStream(self, self._on_frame, self._on_info)
        # In a group of its own: while it waits for a new image, images must keep arriving.
        self.create_service(
            LocaliseKeypoints,
            "/pad/localise_keypoints",
            self._on_localise,
            callback_group=MutuallyExclusiveCallbackGroup(),
        )
        # Wall time on purpose: a dead camera also stops a simulated clock.
        self.create_timer(1.0, self._watch, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._worker = threading.Thread(target=self._work, name="tracking", daemon=True)
        self._worker.start()
        self.get_logger().info(
            f"task '{self._demonstration.task.name}': waiting for images and a call of /pad/localise_keypoints"
        )

    def stop(self) -> None:
        """End the worker thread; the node can be destroyed afterwards."""
        with self._arrived:
            self._stopping = True
            self._arrived.notify_all()
        self._worker.join(timeout=5.0)

    # -- parameters
    # -------------------------------------------------------------------------------------------

    def _declare(self, name: str, default: object, description: str, limits: tuple[float, float] | None = None) -> None:
        descriptor = ParameterDescriptor(description=description, read_only=True)
        if limits is not None:
            descriptor.floating_point_range = [FloatingPointRange(from_value=limits[0], to_value=limits[1])]
        self.declare_parameter(name, default, descriptor)

    def _required(self, name: str, example: str) -> str:
        value = str(self.get_parameter(name).value)
        if not value:
            raise NodeError(f"parameter '{name}' is missing; set it with --ros-args -p {name}:={example}")
        return value

    def _load_demonstration(self) -> Demonstration:
        path = self._required("reference", "DEMO.demo.h5")
        demonstration = Demonstration.load(path)
        if demonstration.reference is None or demonstration.reference.depth is None:
            raise DemonstrationError(
                f"demonstration {path} has no reference image with depth, so its keypoints cannot be found "
                "in a live "
                "image; parse an RGB-D recording"
            )
        task = str(self.get_parameter("task").value)
        if task and task != demonstration.task.name:
            raise NodeError(
                f"demonstration {path} is of task '{demonstration.task.name}', not '{task}'; give the right one"
            )
        return demonstration

    def _load_calibration(self) -> Camera:
        path = self._required("calibration", "CAMERA.yaml")
        camera = Camera.load(path)
        if camera.transform_camera_to_task is None:
            raise CameraError(f"{path} lacks transform_camera_to_task; calibrate the camera to the task frame")
        return camera

    # -- executor side
    # ----------------------------------------------------------------------------------------

    def _on_info(self, message: CameraInfo) -> None:
        if self._camera is not None:
            return
        try:
            self._camera = Camera(
                np.array(message.k).reshape(3, 3),
                message.width,
                message.height,
                self._calibration.transform_camera_to_task,
            )
        except CameraError as error:
            self.fault = f"{INFO}: {error}"

    def _on_frame(self, colour: Image, depth: Image) -> None:
        with self._arrived:
            self._received += 1
            self._skipped += self._slot is not None
            self._slot = (colour, depth)
            self._newest = stamp_seconds(colour.header)
            self._arrived.notify_all()

    def _on_localise(
        self, request: LocaliseKeypoints.Request, response: LocaliseKeypoints.Response
    ) -> LocaliseKeypoints.Response:
        waiting = float(self.get_parameter("localise_timeout").value)
        with self._arrived:
            after = self._present()
            pending = _Request(after, _FRAMES_TO_SKIP, threading.Event(), response)
            self._request = pending
        began = time.monotonic()
        while not pending.done.wait(0.1):
            with self._arrived:
                unserved = self._request is pending
                if unserved and time.monotonic() - began > waiting:
                    self._request = None
                    response.success = False
                    response.message = f"no image newer than the request came within {waiting:g} s on {COLOUR}"
                    return response
            if self._stopping:
                break
        return response

    def _present(self) -> float:
        """The present in image stamps; the newest image's where the camera is stamped by a clock of its
        own.
        """
        now = self.get_clock().now().nanoseconds * 1e-9
        return max(self._newest, now) if abs(now - self._newest) < _SAME_CLOCK else self._newest

    # -- worker side
    # ------------------------------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            with self._arrived:
                self._arrived.wait_for(lambda: self._slot is not None or self._stopping)
                if self._stopping:
                    return
                assert self._slot is not None
                colour, depth = self._slot
                self._slot = None
                request = self._due(stamp_seconds(colour.header))
            try:
                self._handle(colour, depth, request)
            except Exception as error:  # a dead worker would look like a dead camera
                if self._stopping or not self.context.ok():
                    return
                self.fault = f"{type(error).__name__}: {error}"
                self.get_logger().fatal(self.fault)
            finally:
                if request is not None:
                    request.done.set()

    def _due(self, stamp: float) -> _Request | None:
        request = self._request
        if request is None or stamp <= request.after or self._camera is None:
            return None
        if request.skip > 0:
            request.skip -= 1
            return None
        self._request = None
        return request

    def _handle(self, colour: Image, depth: Image, request: _Request | None) -> None:
        if self._camera is None or (request is None and self._tracker is None):
            return
        began = time.monotonic()
        try:
            rgb, metres = colour_image(colour), depth_image(depth)
            stamp = stamp_seconds(colour.header)
            if request is not None:
                frame = self._localise(rgb, metres, stamp, request.response)
            else:
                assert self._tracker is not None
                frame = self._tracker.step(rgb, metres, stamp)
        except PadParseError as error:
            if request is None:
                self.fault = str(error)
                self.get_logger().fatal(self.fault)
                return
            request.response.success = False
            request.response.message = str(error)
            self._tracker = None
            self.get_logger().warning(str(error))
            return
        self._busy.append(time.monotonic() - began)
        self._frame = frame
        message = self._message(frame, colour)
        if request is not None:
            request.response.keypoints = message
        self._tracked += 1
        self._publisher.publish(message)
        # A stamp that goes back is a simulation that was started anew.
        if not 0 <= stamp - self._marked < _MARKER_PERIOD:
            self._marked = stamp
            self._markers.publish(self._marker_array(frame, colour))

    def _localise(
        self, rgb: np.ndarray, depth: np.ndarray, stamp: float, response: LocaliseKeypoints.Response
    ) -> KeypointFrame:
        demonstration = self._demonstration
        assert self._camera is not None
        found = self._localiser.localise(rgb, depth, self._camera, limit=self._limit)
        poses = {
            name: move @ demonstration.object_poses[name][0]
            for name, move in found.object_transforms.items()
            if name in demonstration.object_poses
        }
        tracker = ObjectTracker(self._camera, demonstration.keypoint_objects)
        frame = tracker.start(rgb, depth, points_in_task=found.points_in_task, object_poses=poses, stamp=stamp)
        self._tracker = tracker
        response.success, response.message = True, ""
        response.objects = [
            ObjectPose(name=name, pose=_pose(pose), confidence=found.confidence[name]) for name, pose in poses.items()
        ]
        listed = ", ".join(f"{name} {value:.2f}" for name, value in found.confidence.items())
        self.get_logger().info(f"localised with confidence {listed}")
        return frame

    # -- messages
    # ---------------------------------------------------------------------------------------------

    def _message(self, frame: KeypointFrame, colour: Image) -> KeypointArray:
        demonstration = self._demonstration
        message = KeypointArray()
        message.header.stamp, message.header.frame_id = colour.header.stamp, "task_frame"
        message.task = demonstration.task.name
        inside = np.all((frame.pixels >= 0) & (frame.pixels < [colour.width, colour.height]), axis=1)
        pixels = np.where(inside[:, None], frame.pixels, np.nan)
        for i, name in enumerate(demonstration.keypoint_names):
            x, y, z = (float(c) for c in frame.points_in_task[i])
            message.keypoints.append(
                Keypoint(
                    name=name,
                    group=demonstration.keypoint_groups[i],
                    object=demonstration.keypoint_objects[i],
                    position=Point(x=x, y=y, z=z),
                    state=int(frame.states[i]),
                    confidence=float(frame.confidence[i]),
                    u=float(pixels[i, 0]),
                    v=float(pixels[i, 1]),
                )
            )
        return message

    def _marker_array(self, frame: KeypointFrame, colour: Image) -> MarkerArray:
        groups = self._demonstration.keypoint_groups
        markers = MarkerArray()
        for k, group in enumerate(dict.fromkeys(groups)):
            marker = Marker(type=Marker.SPHERE_LIST, action=Marker.ADD, ns=f"keypoints/{group}", id=k)
            marker.header.stamp, marker.header.frame_id = colour.header.stamp, "task_frame"
            marker.scale.x = marker.scale.y = marker.scale.z = _MARKER_SIZE
            marker.pose.orientation.w = 1.0
            for i in np.flatnonzero([g == group for g in groups]):
                x, y, z = (float(c) for c in frame.points_in_task[i])
                r, g, b = _GREY if frame.states[i] == KeypointState.LOST else _PALETTE[k % len(_PALETTE)]
                alpha = 1.0 if frame.states[i] == KeypointState.VISIBLE else 0.5
                marker.points.append(Point(x=x, y=y, z=z))
                marker.colors.append(ColorRGBA(r=r, g=g, b=b, a=alpha))
            markers.markers.append(marker)
        return markers

    def _watch(self) -> None:
        limit = float(self.get_parameter("camera_timeout").value)
        silence = self._stream.silence
        if silence > limit:
            self.fault = (
                f"no image pair on {COLOUR} and {DEPTH} for {silence:.0f} s; start the camera (or the "
                "cell), and check "
                "the topic names"
            )
        elif self._camera is None and time.monotonic() - self._started > limit:
            self.fault = f"images arrive but no {INFO}; the camera driver must publish it"
        if self.fault:
            self.get_logger().fatal(self.fault)
            return
        self._diagnostics.publish(self._report())

    def _report(self) -> DiagnosticArray:
        now = time.monotonic()
        span, self._watched = max(now - self._watched, 1e-3), now
        with self._arrived:
            rates = (self._received / span, self._tracked / span)
            skipped, self._received, self._tracked = self._skipped, 0, 0
        status = DiagnosticStatus(name="keypoint_tracker", hardware_id="camera", level=DiagnosticStatus.OK)
        values = {
            "camera_rate_hz": f"{rates[0]:.1f}",
            "rate_hz": f"{rates[1]:.1f}",
            "skipped_images": str(skipped),
        }
        values["unpaired_images"] = str(self._stream.unpaired)
        frame = self._frame
        if self._tracker is None or frame is None:
            status.level, status.message = (
                DiagnosticStatus.WARN,
                "not localised; call /pad/localise_keypoints",
            )
        else:
            values["age_ms"] = f"{1e3 * (self.get_clock().now().nanoseconds * 1e-9 - frame.stamp):.0f}"
            values["busy_p95_ms"] = f"{1e3 * np.percentile(list(self._busy), 95):.1f}"
            groups = np.array(self._demonstration.keypoint_groups)
            for group in dict.fromkeys(groups):
                share = float(np.mean(frame.states[groups == group] == KeypointState.VISIBLE))
                values[f"visible_{group}"] = f"{share:.2f}"
            objects = np.array(self._demonstration.keypoint_objects)
            lost = sorted(set(objects[frame.states == KeypointState.LOST].tolist()))
            status.message = f"lost: {', '.join(lost)}" if lost else "tracking"
            if lost:
                status.level = DiagnosticStatus.WARN
        status.values = [KeyValue(key=key, value=value) for key, value in values.items()]
        report = DiagnosticArray(status=[status])
        report.header.stamp = self.get_clock().now().to_msg()
        return report


def _pose(matrix: np.ndarray) -> Pose:
    pose = Pose()
    p, q = pose.position, pose.orientation
    p.x, p.y, p.z = (float(v) for v in matrix[:3, 3])
    q.x, q.y, q.z, q.w = (float(v) for v in geometry.quaternion_xyzw(matrix))
    return pose


def main() -> None:
    """Run the node; exit code 2 and one line on a bad parameter or a camera that stays silent."""
    rclpy.init()
    try:
        node = KeypointTracker()
    except PadParseError as error:
        print(f"keypoint_tracker: {error}", file=sys.stderr)
        rclpy.try_shutdown()
        sys.exit(2)
    executor = MultiThreadedExecutor(num_threads=2)
    executor.add_node(node)
    try:
        while rclpy.ok() and not node.fault:
            executor.spin_once(timeout_sec=0.5)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except Exception:
        # A signal can end the context in the middle of a spin, which then fails in one of many ways.
        if rclpy.ok():
            raise
    finally:
        code = 2 if node.fault else 0
        node.stop()
        executor.shutdown(timeout_sec=2.0)
        node.destroy_node()
        rclpy.try_shutdown()
    sys.exit(code)


if __name__ == "__main__":
    main()
