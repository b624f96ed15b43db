"""Views of a board from the running camera and robot, and the task frame on the live image."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import rclpy
from numpy.typing import NDArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import Header

from pad_bringup import names
from pad_bringup.calibration.board import Board
from pad_bringup.calibration.overlay import draw_task_axes
from pad_bringup.calibration.poses import is_new, still_joints
from pad_bringup.calibration.views import Method, Views
from pad_bringup.camera_messages import image_message
from pad_bringup.errors import CalibrationError
from pad_parse import qos
from pad_parse.camera import Camera
from pad_parse.nodes.camera_stream import COLOUR, DEPTH, INFO, CameraStream
from pad_parse.recording.images import stamp_seconds
from pad_parse.recording.lens import Lens, lens

CHECK_IMAGE = "/pad/calibration_check"
_STILL_FOR = 0.5  # s before an image that the arm must have stood still
_CAMERA_TIMEOUT = 10.0  # s
_LOOK_FOR = 1.0  # s until every publisher is known
Tell = Callable[[str], None]


class _Eye(Node):
    """The newest rectified image, and what the joints did lately."""

    def __init__(self) -> None:
        super().__init__("calibrate")
        self.camera: Camera | None = None
        self.distorted = False
        self.newest: tuple[Header, NDArray[np.uint8], NDArray[np.float32] | None] | None = None
        self.joints: deque[tuple[float, dict[str, float]]] = deque(maxlen=2000)
        self._lens: Lens | None = None
        self.create_subscription(JointState, names.JOINT_STATES, self._on_joints, qos.JOINT_STATES)

    def watch(self, *, use_depth: bool) -> None:
        """Begin to receive images."""
        self._stream = CameraStream(self, self._on_frame, self._on_info, use_depth=use_depth)

    def _on_info(self, message: CameraInfo) -> None:
        if self.camera is None:
            self.camera = Camera(np.array(message.k).reshape(3, 3), message.width, message.height)
            self._lens = lens(self.camera, str(message.distortion_model), np.asarray(message.d))
            self.distorted = self._lens is not None

    def _on_frame(self, header: Header, rgb: NDArray[np.uint8], depth: NDArray[np.float32] | None) -> None:
        if self.camera is None:
            return
        if self._lens is not None:
            rgb = self._lens.rectify_colour(rgb)
            depth = None if depth is None else self._lens.rectify_depth(depth)
        self.newest = header, rgb, depth

    def _on_joints(self, message: JointState) -> None:
        self.joints.append((stamp_seconds(message.header), dict(zip(message.name, message.position))))

    def still(self, wanted: tuple[str, ...], stamp: float) -> NDArray[np.float64] | None:
        """The joints (n,) rad of an arm that has stood still for a while before `stamp` (s); None where it has not."""
        held = [(at, [j[name] for name in wanted]) for at, j in self.joints if all(name in j for name in wanted)]
        if not held or held[0][0] > stamp - _STILL_FOR:
            return None
        return still_joints([at for at, _ in held], [j for _, j in held], stamp - _STILL_FOR, stamp)


def live_views(
    board: Board, method: Method, count: int, tell: Tell, camera: Camera | None = None, seconds: float | None = None
) -> Views:
    """`count` views from the camera's topics, fewer where `seconds` have passed; camera: intrinsics instead of its own.

    With a board in a hand, a view is taken whenever the arm stands still somewhere new.

    Raises:
        CalibrationError: no images, no camera_info, or no joint states of the arm.
    """
    with _eye() as (eye, spin):
        found: Views | None = None
        began = time.monotonic()
        seen_moving = None
        for _, rgb, depth, stamp in _frames(eye, spin):
            found = found or Views(camera or _camera(eye))
            if method.in_hand:
                assert method.robot is not None and method.arm is not None
                wanted = method.robot.arms[method.arm].joints
                if not any(all(name in joints for name in wanted) for _, joints in eye.joints):
                    if time.monotonic() - began > _CAMERA_TIMEOUT:
                        raise CalibrationError(
                            f"no {names.JOINT_STATES} with {', '.join(wanted)}; start the robot's driver"
                        )
                    continue
                joints = eye.still(wanted, stamp)
                pose = None if joints is None else method.hand(joints)
                new = pose is not None and is_new(pose, [view.pose for view in found.views])
                if pose is None or not new:
                    if seen_moving != (pose is None):
                        seen_moving = pose is None
                        tell("the arm moves" if pose is None else "move the hand elsewhere, and turn it")
                    if _over(began, seconds):
                        break
                    continue
            else:
                pose = method.fixed_pose("the live camera")
            if found.add(f"{stamp:.3f} s", rgb, depth, board, pose):
                tell(f"view {len(found.views)} of {count}")
            if len(found.views) == count or _over(began, seconds) or len(found.without_board) > 50 * count:
                break
        assert found is not None
        if eye.distorted:
            tell(
                "the camera states lens distortion, which is taken out here, but the live nodes take images as they "
                "are: let the driver rectify them"
            )
        return found


def live_check(camera: Camera, tell: Tell, seconds: float | None = None) -> NDArray[np.uint8]:
    """Publish the live image with the task frame drawn on it on `CHECK_IMAGE`, for `seconds` (None: until Ctrl-C).

    camera: with its pose. Returns the last picture (H, W, 3) uint8 RGB.

    Raises:
        CalibrationError: no images, or of another size than the camera's.
    """
    with _eye() as (eye, spin):
        publisher = eye.create_publisher(Image, CHECK_IMAGE, qos.CAMERA_OUT)
        began, drawn = time.monotonic(), None
        try:
            for header, rgb, _, _ in _frames(eye, spin, use_depth=False):
                if rgb.shape[:2] != (camera.height, camera.width):
                    raise CalibrationError(
                        f"the live image has {rgb.shape[1]} x {rgb.shape[0]} pixels, the calibration "
                        f"{camera.width} x {camera.height}"
                    )
                if drawn is None:
                    tell(f"the task frame is drawn on {CHECK_IMAGE}: rviz2 or rqt_image_view shows it; Ctrl-C ends")
                drawn = draw_task_axes(rgb, camera)
                message = image_message(drawn, "rgb8", 3)
                message.header = header
                publisher.publish(message)
                if _over(began, seconds):
                    break
        except KeyboardInterrupt:
            if drawn is None:
                raise
        assert drawn is not None
        return drawn


def _over(began: float, seconds: float | None) -> bool:
    return seconds is not None and time.monotonic() - began > seconds


def _camera(eye: _Eye) -> Camera:
    assert eye.camera is not None
    return eye.camera


@contextmanager
def _eye() -> Iterator[tuple[_Eye, Callable[[], None]]]:
    # Ctrl-C is for the caller: rclpy's own handlers would end the context under the feet of what still uses it.
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    executor = SingleThreadedExecutor()
    eye = _Eye()
    executor.add_node(eye)
    try:
        yield eye, lambda: executor.spin_once(timeout_sec=0.1)
    finally:
        executor.shutdown()
        eye.destroy_node()
        rclpy.try_shutdown()


def _frames(
    eye: _Eye, spin: Callable[[], None], *, use_depth: bool = True
) -> Iterator[tuple[Header, NDArray[np.uint8], NDArray[np.float32] | None, float]]:
    """Each new image with its header and stamp (s), for ever; with depth where a depth camera is there."""
    began = time.monotonic()
    while time.monotonic() - began < _LOOK_FOR:
        spin()
    offered: Any = [eye.get_publishers_info_by_topic(topic) for topic in (DEPTH, f"{DEPTH}/compressedDepth")]
    eye.watch(use_depth=use_depth and any(offered))
    last = time.monotonic()
    while True:
        spin()
        if eye.newest is None:
            if time.monotonic() - last > _CAMERA_TIMEOUT:
                missing = f"no {INFO}" if eye.camera is None else f"no image on {COLOUR}"
                raise CalibrationError(f"{missing} for {_CAMERA_TIMEOUT:.0f} s; start the camera driver")
            continue
        (header, rgb, depth), eye.newest = eye.newest, None
        last = time.monotonic()
        yield header, rgb, depth, stamp_seconds(header)
