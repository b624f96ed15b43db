"""Node: camera topics in, `/pad/keypoints` out; `/pad/localise_keypoints` finds them in the newest image."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from numpy.typing import NDArray
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.task import Future
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from pad_msgs.msg import KeypointArray, ObjectPose
from pad_msgs.srv import LocaliseKeypoints
from pad_parse import qos
from pad_parse.camera import Camera
from pad_parse.demonstration import Demonstration, KeypointState
from pad_parse.errors import CameraError, NodeError, PadParseError
from pad_parse.following import Following, demonstration_localiser, start_following
from pad_parse.localisation import BACKENDS, KeypointLocaliser
from pad_parse.nodes.camera_stream import COLOUR, DEPTH, INFO, CameraStream
from pad_parse.nodes.keypoint_messages import KeypointMarkers, keypoint_array, pose_message
from pad_parse.nodes.lateness import Lateness
from pad_parse.nodes.parameters import calibrated_camera, declare, required
from pad_parse.nodes.running import run_node
from pad_parse.nodes.transforms import TransformOutput
from pad_parse.recording.images import stamp_seconds
from pad_parse.tracking import KeypointFrame, ObjectTracker

_MARKER_PERIOD = 0.2  # s, image stamps
_LOOK_EVERY = 0.1  # s between looks whether a localisation has ended, or has waited long enough
_IMAGES_TO_SKIP = 1
"""Images after a request that may still show the scene as it was before it."""

_SAME_CLOCK = 2.0
"""Stamps within this (s) of the node's clock come from that clock."""


@dataclass
class _Request:
    """A localisation that waits since `since` (s, monotonic) for an image newer than `after` (s, image stamps)."""

    since: float
    after: float
    skip: int
    answered: Future
    response: LocaliseKeypoints.Response


class _Search:
    """A localisation in a thread of its own: it takes a good part of a second, by hand even minutes.

    `found` is what was started, or what went wrong; `ended` says that it is there.
    """

    def __init__(
        self,
        request: _Request,
        stamp: Time,
        localiser: KeypointLocaliser,
        demonstration: Demonstration,
        camera: Camera,
    ) -> None:
        self.request, self.stamp = request, stamp
        self._localiser, self._demonstration, self._camera = localiser, demonstration, camera
        self.found: Following | Exception | None = None
        self.ended = False

    def start(self, rgb: NDArray[np.uint8], depth: NDArray[np.float32], seconds: float, limit: float) -> None:
        """Search in this image of stamp `seconds`."""
        threading.Thread(target=self._run, args=(rgb, depth, seconds, limit), name="localise", daemon=True).start()

    def _run(self, rgb: NDArray[np.uint8], depth: NDArray[np.float32], seconds: float, limit: float) -> None:
        try:
            self.found = start_following(self._localiser, self._demonstration, self._camera, rgb, depth, seconds, limit)
        except Exception as error:  # the caller must not wait for ever
            self.found = error
        finally:
            self.ended = True


class KeypointTracker(Node):
    """Follows the demonstration's keypoints on live RGB-D images, one after the other in the executor's thread.

    Only a localisation has a thread of its own; images that come meanwhile are left out.

    An image that comes more than `late` seconds later than images usually do is left out, so that the node catches up
    when it was held up. `fault` holds the message of an error that must end the process.
    """

    def __init__(self) -> None:
        super().__init__("keypoint_tracker")
        self.fault = ""
        declare(self, "reference", "", "Demonstration (.demo.h5) whose annotated first frame names the keypoints.")
        declare(self, "calibration", "", "Camera YAML with its pose in the task frame.")
        task = declare(
            self, "task", "", "Name of the running task; must be the demonstration's. Empty: the demonstration's own."
        )
        self._camera_timeout = declare(
            self, "camera_timeout", 10.0, "Seconds without an image until the node gives up.", limits=(0.5, 600.0)
        )
        self._localise_timeout = declare(
            self, "localise_timeout", 5.0, "Seconds that a localisation waits for a new image.", limits=(0.1, 120.0)
        )
        self._confidence_limit = declare(
            self, "confidence_limit", 0.5, "Confidence below which an object counts as not found.", limits=(0.0, 1.0)
        )
        late = declare(
            self, "late", 0.1, "Seconds by which an image may be later than usual and still count.", limits=(0.01, 10.0)
        )
        declare(self, "localiser", "classical", "How the keypoints are found in a new scene.", choices=BACKENDS)
        declare(
            self, "other_instances", False, "classical: also find objects of the same kind in other sizes and looks."
        )
        declare(self, "checkpoint", "", "dinov2: folder of the checkpoint.")
        self._demonstration = self._load_demonstration(str(task))
        self._localiser = self._make_localiser()
        self._calibration = calibrated_camera(self)
        self._camera: Camera | None = None
        self._tracker: ObjectTracker | None = None
        self._frame: KeypointFrame | None = None
        self._request: _Request | None = None
        self._search: _Search | None = None
        self._newest = self._marked = -np.inf
        self._lateness = Lateness(float(late))
        self._busy: deque[float] = deque(maxlen=300)
        self._tracked, self._received, self._skipped = 0, 0, 0
        self._watched = self._started = time.monotonic()
        self._publisher = self.create_publisher(KeypointArray, "/pad/keypoints", qos.LATEST)
        self._markers_out = self.create_publisher(MarkerArray, "/pad/markers", qos.STATUS)
        self._markers = KeypointMarkers(self._demonstration.keypoint_groups)
        self._transforms = TransformOutput(self)
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
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(1.0, self._watch, clock=steady)
        self.create_timer(_LOOK_EVERY, self._look, clock=steady)
        self.get_logger().info(
            f"task '{self._demonstration.task.name}': waiting for images and a call of /pad/localise_keypoints"
        )

    def _load_demonstration(self, task: str) -> Demonstration:
        path = required(self, "reference", "DEMO.demo.h5")
        demonstration = Demonstration.load(path)
        if task and task != demonstration.task.name:
            raise NodeError(
                f"demonstration {path} is of task '{demonstration.task.name}', not '{task}'; give the right one"
            )
        return demonstration

    def _make_localiser(self) -> KeypointLocaliser:
        return demonstration_localiser(
            self._demonstration,
            str(self.get_parameter("localiser").value),
            other_instances=bool(self.get_parameter("other_instances").value),
            checkpoint=str(self.get_parameter("checkpoint").value),
        )

    def _on_info(self, message: CameraInfo) -> None:
        if self._camera is not None:
            return
        pose = self._calibration.transform_camera_to_task
        try:
            self._camera = Camera(np.array(message.k).reshape(3, 3), message.width, message.height, pose)
        except CameraError as error:
            self.fault = f"{INFO}: {error}"
            return
        assert pose is not None
        self._transforms.static(message.header.frame_id or "camera", pose, message.header.stamp)

    # -- localisation

    async def _on_localise(
        self, request: LocaliseKeypoints.Request, response: LocaliseKeypoints.Response
    ) -> LocaliseKeypoints.Response:
        if self._request is not None or self._search is not None:
            response.message = "another localisation is under way; call again when it is done"
            return response
        answered = Future(executor=self.executor)
        self._request = _Request(time.monotonic(), self._present(), _IMAGES_TO_SKIP, answered, response)
        await answered
        return response

    def _present(self) -> float:
        """The present in image stamps; the newest image's where the camera is stamped by a clock of its own."""
        now = self._now()
        return max(self._newest, now) if abs(now - self._newest) < _SAME_CLOCK else self._newest

    def _due(self, stamp: float) -> _Request | None:
        request = self._request
        if request is None or stamp <= request.after:
            return None
        if request.skip > 0:
            request.skip -= 1
            return None
        self._request = None
        return request

    def _adopt(self, search: _Search) -> None:
        """Track from what a finished search has found, or say why it found nothing; then answer the request."""
        response = search.request.response
        if isinstance(search.found, PadParseError):
            response.message = str(search.found)
            self.get_logger().warning(response.message)
        elif isinstance(search.found, Exception):
            response.message = f"{type(search.found).__name__}: {search.found}; see the log of keypoint_tracker"
            self.get_logger().error(response.message)
        elif search.found is not None:
            self._tracker, frame, confidence = search.found.tracker, search.found.frame, search.found.confidence
            self._markers.clear_trails()
            self._lateness.forget()  # the search took longer than an image may be late
            self._publish(frame, search.stamp)
            response.success = True
            response.keypoints = self._array(frame, search.stamp)
            response.objects = [
                ObjectPose(name=name, pose=pose_message(pose), confidence=confidence[name])
                for name, pose in frame.object_poses.items()
            ]
            listed = ", ".join(f"{name} {value:.2f}" for name, value in confidence.items())
            self.get_logger().info(f"localised with confidence {listed}")
        search.request.answered.set_result(None)

    def _look(self) -> None:
        """See to a search that has ended, and to a request that has waited too long."""
        search = self._search
        if search is not None and search.ended:
            self._search = None
            self._adopt(search)
        pending = self._request
        if pending is not None and time.monotonic() - pending.since > self._localise_timeout:
            self._request = None
            limit = f"{self._localise_timeout:g} s"
            pending.response.message = f"no image newer than the request came within {limit} on {COLOUR}"
            pending.answered.set_result(None)

    # -- tracking

    def _on_frame(self, header: Header, rgb: NDArray[np.uint8], depth: NDArray[np.float32] | None) -> None:
        assert depth is not None
        stamp = stamp_seconds(header)
        self._received += 1
        self._newest = stamp
        if self._camera is None:
            return
        request = self._due(stamp)
        if request is not None:
            self._tracker = None
            self._search = _Search(request, header.stamp, self._localiser, self._demonstration, self._camera)
            self._search.start(rgb, depth, stamp, self._confidence_limit)
            return
        if self._search is not None:
            self._look()
        if self._tracker is None:
            return
        if self._lateness.is_late(self._now() - stamp):
            self._skipped += 1
            return
        began = time.monotonic()
        try:
            frame = self._tracker.step(rgb, depth, stamp)
        except PadParseError as error:
            self.fault = str(error)
            self.get_logger().fatal(self.fault)
            return
        self._publish(frame, header.stamp)
        self._busy.append(time.monotonic() - began)
        self._tracked += 1

    def _array(self, frame: KeypointFrame, stamp: Time) -> KeypointArray:
        assert self._camera is not None
        return keypoint_array(frame, self._demonstration, stamp, (self._camera.width, self._camera.height))

    def _publish(self, frame: KeypointFrame, stamp: Time) -> None:
        self._publisher.publish(self._array(frame, stamp))
        self._frame = frame
        # A stamp that goes back is a simulation that was started anew.
        if not 0 <= frame.stamp - self._marked < _MARKER_PERIOD:
            self._marked = frame.stamp
            self._markers_out.publish(self._markers.markers(frame, stamp))
            self._transforms.moving({f"object/{name}": pose for name, pose in frame.object_poses.items()}, stamp)

    # -- watching

    def _now(self) -> float:
        return float(self.get_clock().now().nanoseconds * 1e-9)

    def _watch(self) -> None:
        silence = self._stream.silence
        if silence > self._camera_timeout:
            self.fault = (
                f"no image pair on {COLOUR} and {DEPTH} for {silence:.0f} s; start the camera (or the cell), and check "
                "the topic names"
            )
        elif self._camera is None and time.monotonic() - self._started > self._camera_timeout:
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
        values = {
            "camera_rate_hz": f"{self._received / span:.1f}",
            "rate_hz": f"{self._tracked / span:.1f}",
            "skipped_images": str(self._skipped),
            "unpaired_images": str(self._stream.unpaired),
            "damaged_images": str(self._stream.damaged),
        }
        self._received, self._tracked = 0, 0
        status = DiagnosticStatus(name="keypoint_tracker", hardware_id="camera", level=DiagnosticStatus.OK)
        frame = self._frame
        if self._tracker is None or frame is None:
            status.level, status.message = DiagnosticStatus.WARN, "not localised; call /pad/localise_keypoints"
        else:
            values["age_ms"] = f"{1e3 * (self._now() - frame.stamp):.0f}"
            if self._busy:
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
        return status


def main() -> None:
    """Run the node; exit code 2 and one line on a bad parameter or a camera that stays silent."""
    run_node("keypoint_tracker", KeypointTracker)


if __name__ == "__main__":
    main()
