"""The node as a real process over DDS, fed by a small synthetic camera."""

import os
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
import scene_of_cylinders as cylinders

from pad_parse import geometry
from pad_parse.demonstration import Demonstration, KeypointState, Reference
from pad_parse.task import TaskSpec

pytest.importorskip("rclpy", reason="ROS 2 is not there")
pytest.importorskip("pad_msgs", reason="the workspace with pad_msgs is not built or not sourced")

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from visualization_msgs.msg import Marker, MarkerArray

from pad_msgs.msg import KeypointArray
from pad_msgs.srv import LocaliseKeypoints
from pad_parse import qos

DOMAIN = 1 + os.getpid() % 39  # below those of pad_bringup.domain
ENVIRONMENT = {**os.environ, "ROS_DOMAIN_ID": str(DOMAIN), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
HOME = {"bottle": (0.0, -0.18, 0.0), "cup": (0.0, 0.18, 0.0)}
MOVED = {"bottle": (0.05, -0.14, 0.25), "cup": (0.04, 0.22, -0.3)}


def start_node(*arguments):
    parameters = [item for argument in arguments for item in ("-p", argument)]
    command = [sys.executable, "-m", "pad_parse.nodes.keypoint_tracker", "--ros-args", *parameters]
    return subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def end(process):
    process.send_signal(signal.SIGINT)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(10)


@pytest.fixture(scope="module")
def setting(tmp_path_factory):
    """Scene, the keypoints in their objects, and the files that the node needs."""
    folder = tmp_path_factory.mktemp("tracker")
    scene, points, objects = cylinders.pour_scene(np.random.default_rng(0))
    rgb, depth = scene.render(cylinders.placed(scene, HOME))
    task = TaskSpec.load("pour")
    in_task = cylinders.keypoints_at(points, objects, HOME)
    reference = Reference(rgb, depth, scene.camera, scene.camera.task_to_pixels(in_task), in_task)
    count = 2
    demonstration = Demonstration(
        stamps=np.arange(count) / 30.0,
        keypoints=np.tile(in_task, (count, 1, 1)),
        keypoint_states=np.full((count, len(points)), KeypointState.VISIBLE),
        keypoint_names=task.keypoint_names,
        keypoint_groups=task.keypoint_groups,
        keypoint_objects=task.keypoint_objects,
        gripper_poses=np.tile(np.eye(4), (count, 2, 1, 1)),
        gripper_openings=np.zeros((count, 2)),
        gripper_closed=np.zeros((count, 2), bool),
        gripper_states=np.ones((count, 2)),
        object_poses={n: np.tile(geometry.yaw_pose(*HOME[n]), (count, 1, 1)) for n in HOME},
        landmarks=np.full((count, 2, 21, 3), np.nan),
        task=task,
        reference=reference,
    )
    demonstration.save(folder / "pour.demo.h5")
    scene.camera.save(folder / "camera.yaml")
    return scene, points, objects, folder


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((), "parameter 'reference' is missing"),
        (("localiser:=magic",), "choices: classical, by_hand, dinov2"),
        (("reference:=/nowhere/x.demo.h5", "calibration:=/nowhere/c.yaml"), "x.demo.h5 does not exist"),
    ],
)
def test_bad_parameters_end_in_one_line(arguments, text):
    process = start_node(*arguments)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert text in errors and "Traceback" not in errors and len(errors.strip().splitlines()) == 1


def test_a_silent_camera_ends_the_node(setting):
    folder = setting[3]
    process = start_node(
        f"reference:={folder / 'pour.demo.h5'}",
        f"calibration:={folder / 'camera.yaml'}",
        "camera_timeout:=1.0",
    )
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "no image pair on /camera/color/image_raw" in errors + output


class Camera:
    """Publishes what the scene shows at `placements`, and collects the node's keypoints."""

    def __init__(self, scene, packed=False):
        self.packed = packed
        self.scene, self.placements, self.received = scene, HOME, []
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=DOMAIN)
        self.node = rclpy.create_node("synthetic_camera", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        colour, depth = "/camera/color/image_raw", "/camera/aligned_depth_to_color/image_raw"
        if packed:
            colour, depth = f"{colour}/compressed", f"{depth}/compressedDepth"
        kind = CompressedImage if packed else Image
        self._colour = self.node.create_publisher(kind, colour, qos.CAMERA_OUT)
        self._depth = self.node.create_publisher(kind, depth, qos.CAMERA_OUT)
        self._info = self.node.create_publisher(CameraInfo, "/camera/color/camera_info", qos.CAMERA_OUT)
        self.node.create_subscription(KeypointArray, "/pad/keypoints", self.received.append, qos.LATEST)
        self.diagnostics, self.markers = [], []
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self.diagnostics.append, qos.STATUS)
        self.node.create_subscription(MarkerArray, "/pad/markers", self.markers.append, qos.STATUS)
        self.client = self.node.create_client(LocaliseKeypoints, "/pad/localise_keypoints")
        self._shown, self._cache = None, None

    def publish(self):
        if self._shown != self.placements:
            self._shown, self._cache = (
                self.placements,
                self.scene.render(cylinders.placed(self.scene, self.placements)),
            )
        rgb, depth = self._cache
        stamp = self.node.get_clock().now().to_msg()
        info = CameraInfo(width=640, height=480, k=self.scene.camera.matrix.ravel().tolist())
        millimetres = np.round(depth * 1000).astype(np.uint16)
        if self.packed:
            _, jpeg = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 98])
            _, png = cv2.imencode(".png", millimetres)
            for publisher, form, data in (
                (self._colour, "rgb8; jpeg compressed bgr8", jpeg.tobytes()),
                (self._depth, "16UC1; compressedDepth png", bytes(12) + png.tobytes()),
            ):
                message = CompressedImage(format=form, data=data)
                message.header.stamp = stamp
                publisher.publish(message)
            self._info.publish(info)
            return
        for publisher, message, array in (
            (self._colour, Image(encoding="rgb8"), rgb),
            (self._depth, Image(encoding="16UC1"), millimetres),
        ):
            message.header.stamp = stamp
            message.height, message.width = array.shape[:2]
            message.step = array.strides[0]
            message.data = array.tobytes()
            publisher.publish(message)
        self._info.publish(info)

    def spin(self, seconds, until=lambda: False):
        begin, last = time.monotonic(), 0.0
        while time.monotonic() - begin < seconds and not until():
            if time.monotonic() - last > 0.1:
                last = time.monotonic()
                self.publish()
            self.executor.spin_once(timeout_sec=0.02)
        return until()

    def localise(self):
        future = self.client.call_async(LocaliseKeypoints.Request())
        assert self.spin(30, future.done), "the service did not answer"
        return future.result()

    def close(self):
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)


def stamp_of(message):
    return message.header.stamp.sec + 1e-9 * message.header.stamp.nanosec


def positions(message):
    return np.array([[k.position.x, k.position.y, k.position.z] for k in message.keypoints])


@pytest.mark.timeout(300)
def test_packed_images_do_as_well_and_damaged_ones_are_left_out(setting):
    scene, points, objects, folder = setting
    process = start_node(f"reference:={folder / 'pour.demo.h5'}", f"calibration:={folder / 'camera.yaml'}")
    camera = Camera(scene, packed=True)
    try:
        assert camera.spin(40, camera.client.service_is_ready), "the service did not appear"
        camera.placements = MOVED
        answer = camera.localise()
        assert answer.success, answer.message
        truth = cylinders.keypoints_at(points, objects, MOVED)
        assert np.abs(positions(answer.keypoints) - truth).max() < 0.008
        broken = CompressedImage(format="rgb8; jpeg compressed bgr8", data=b"no image")
        broken.header.stamp = camera.node.get_clock().now().to_msg()
        camera._colour.publish(broken)
        depth = CompressedImage(format="16UC1; compressedDepth png", data=b"")
        depth.header.stamp = broken.header.stamp
        camera._depth.publish(depth)
        since = stamp_of(broken)
        assert camera.spin(60, lambda: camera.received and stamp_of(camera.received[-1]) > since)
        assert since not in [stamp_of(m) for m in camera.received]
        camera.diagnostics.clear()
        assert camera.spin(60, lambda: len(camera.diagnostics) >= 2)
        assert {v.key: v.value for v in camera.diagnostics[-1].status[0].values}["damaged_images"] == "1"
    finally:
        end(process)
        camera.close()
    assert process.returncode == 0, process.stderr.read()


@pytest.mark.timeout(300)
def test_localises_and_tracks_over_dds(setting):
    scene, points, objects, folder = setting
    process = start_node(
        f"reference:={folder / 'pour.demo.h5'}", f"calibration:={folder / 'camera.yaml'}", "task:=pour"
    )
    camera = Camera(scene)
    try:
        assert camera.spin(40, camera.client.service_is_ready), "the service did not appear"
        camera.placements = MOVED
        answer = camera.localise()
        assert answer.success, answer.message
        truth = cylinders.keypoints_at(points, objects, MOVED)
        assert np.abs(positions(answer.keypoints) - truth).max() < 0.006
        assert {o.name for o in answer.objects} == {"bottle", "cup"} and min(o.confidence for o in answer.objects) > 0.8
        bottle = next(o.pose for o in answer.objects if o.name == "bottle")
        assert np.allclose([bottle.position.x, bottle.position.y], MOVED["bottle"][:2], atol=0.004)

        camera.received.clear()
        camera.placements = {"bottle": (0.06, -0.13, 0.25), "cup": MOVED["cup"]}
        moved = camera.node.get_clock().now().nanoseconds * 1e-9
        assert camera.spin(60, lambda: camera.received and stamp_of(camera.received[-1]) > moved)
        last = camera.received[-1]
        assert last.header.frame_id == "task_frame" and last.task == "pour"
        truth = cylinders.keypoints_at(points, objects, camera.placements)
        assert np.abs(positions(last) - truth).max() < 0.006
        assert all(k.state == KeypointState.VISIBLE for k in last.keypoints)
        assert all(0.0 < k.uncertainty < 0.02 for k in last.keypoints)

        camera.diagnostics.clear()
        assert camera.spin(60, lambda: len(camera.diagnostics) >= 2)
        status = camera.diagnostics[-1].status[0]
        values = {item.key: item.value for item in status.values}
        assert status.level == DiagnosticStatus.OK and status.message == "tracking"
        assert 2.0 < float(values["rate_hz"]) < 30.0 and 0.0 <= float(values["age_ms"]) < 2000.0
        assert {f"visible_{g}" for g in TaskSpec.load("pour").group_names} <= set(values)
        assert all(float(v) == 1.0 for k, v in values.items() if k.startswith("visible_"))
        spheres = [m for m in camera.markers[-1].markers if m.type == Marker.SPHERE_LIST]
        assert sum(len(m.points) for m in spheres) == len(last.keypoints)
        assert all(m.header.frame_id == "task_frame" and m.header.stamp.sec > 0 for m in spheres)

        camera.placements = {}
        answer = camera.localise()
        assert not answer.success and "not found with enough confidence" in answer.message
        camera.placements = HOME
        assert camera.localise().success
        assert process.poll() is None
    finally:
        end(process)
        camera.close()
    assert process.returncode == 0, process.stderr.read()
