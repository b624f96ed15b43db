"""Records the demonstrator with the cell's camera into a rosbag2, as a person's RGB-D recording would lie on disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import mujoco
import numpy as np
from numpy.typing import NDArray
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore
from scipy.spatial.transform import Rotation

from pad_bringup import names
from pad_bringup.cell import scene
from pad_bringup.cell.human.actor import HandActor
from pad_bringup.cell.human.errors import RecorderError
from pad_bringup.cell.human.hand import gripper_pose
from pad_bringup.cell.human.motion import SIDES, HumanMotion, demonstrate
from pad_bringup.cell.objects import TaskObjects, load_objects
from pad_bringup.cell.rendering import RgbdRenderer
from pad_bringup.resources import message_definitions
from pad_parse import geometry
from pad_parse.camera import Camera
from pad_parse.task import KeypointSpec, TaskSpec

FloatArray = NDArray[np.float64]
Progress = Callable[[str, float], None]

TRUTH_KEYPOINTS, TRUTH_OBJECTS, TRUTH_HANDS = (f"/ground_truth/{what}" for what in ("keypoints", "objects", "hands"))
CAMERA_FRAME = "camera_color_optical_frame"
_CLICK_ERROR = 1.0
"""px; standard deviation of where a person clicks."""
_DEPTH_NOISE = 0.0015
"""Standard deviation of depth over depth squared, 1/m: 1 mm at 0.8 m, as of a stereo camera."""
_EDGE = 0.02
"""m; where depth jumps by more than this between neighbours, half of the pixels are holes."""
_MESSAGES = ("Keypoint", "KeypointArray", "ObjectPose", "ObjectPoseArray", "Hand", "HandArray")


def record_demonstration(
    out_dir: str | os.PathLike[str],
    *,
    seed: int = 0,
    task: str = "pour",
    size: tuple[int, int] = (640, 480),
    fps: float = 30.0,
    progress: Progress | None = None,
) -> Path:
    """Write the demonstrator's recording of a task to the folder `out_dir`; it appears complete or not at all.

    The rosbag2 (mcap) holds colour, depth aligned to it (16UC1 mm), camera_info, the camera's pose on /tf_static, and
    the truth on /ground_truth/*. `task.yaml` beside it is the task with the keypoints that a person would click in
    the first frame. The same seed gives the same recording. progress: called with (stage, fraction).

    Raises:
        RecorderError: `out_dir` exists and is something else, or cannot be written.
        CellError, MotionError: unknown task, no off-screen OpenGL.
    """
    out = Path(out_dir)
    if out.exists() and not (out / "metadata.yaml").is_file() and any(out.iterdir()):
        raise RecorderError(f"{out} exists and is no recording; choose another folder")
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        # the bag's file is named after its folder
        _Recorder(seed, task, size, fps, progress).write(temporary / out.name)
        shutil.rmtree(out, ignore_errors=True)
        os.replace(temporary / out.name, out)
    except OSError as error:
        raise RecorderError(f"recording {out} cannot be written: {error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return out


class _Recorder:
    def __init__(self, seed: int, task: str, size: tuple[int, int], fps: float, progress: Progress | None) -> None:
        self._progress = progress or (lambda stage, fraction: None)
        self._progress("plan the demonstration", 0.0)
        self._template = TaskSpec.load(task)
        self._objects: TaskObjects = load_objects(task)
        self._camera: Camera = scene.scaled_camera(size)
        streams = np.random.SeedSequence([seed, 7]).spawn(3)
        motion_rng, self._click_rng, self._depth_rng = (np.random.default_rng(stream) for stream in streams)
        homes = {name: model.home for name, model in self._objects.models.items()}
        self._motion: HumanMotion = demonstrate(self._objects, homes, motion_rng, fps)
        self._actors = tuple(HandActor(side) for side in SIDES)
        spec = scene.build_spec(robots=False, objects_dynamic=False, task=task, camera=self._camera)
        for actor in self._actors:
            actor.add_to(spec)
        self._model = spec.compile()
        self._data = mujoco.MjData(self._model)
        for actor in self._actors:
            actor.bind(self._model)
        self._types = _typestore()

    def write(self, folder: Path) -> None:
        renderer = RgbdRenderer(self._model, scene.CAMERA, self._camera.width, self._camera.height)
        folder.parent.mkdir(parents=True)
        writer = Writer(folder, version=9, storage_plugin=StoragePlugin.MCAP)
        writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        try:
            with writer:
                self._write_frames(writer, renderer)
        finally:
            renderer.close()
        self._annotation().save(folder / "task.yaml")

    def _write_frames(self, writer: Writer, renderer: RgbdRenderer) -> None:
        kinds = {
            names.COLOR_IMAGE: "sensor_msgs/msg/Image",
            names.ALIGNED_DEPTH_IMAGE: "sensor_msgs/msg/Image",
            names.COLOR_INFO: "sensor_msgs/msg/CameraInfo",
            "/tf_static": "tf2_msgs/msg/TFMessage",
            TRUTH_KEYPOINTS: "pad_msgs/msg/KeypointArray",
            TRUTH_OBJECTS: "pad_msgs/msg/ObjectPoseArray",
            TRUTH_HANDS: "pad_msgs/msg/HandArray",
        }
        topics = {topic: writer.add_connection(topic, kind, typestore=self._types) for topic, kind in kinds.items()}

        def put(topic: str, message: Any, stamp: float) -> None:
            writer.write(topics[topic], round(stamp * 1e9), self._types.serialize_cdr(message, kinds[topic]))

        hands = (self._actors[0].hand, self._actors[1].hand)
        put("/tf_static", self._transform(), self._motion.stamps[0])
        count = len(self._motion.stamps)
        for index, stamp in enumerate(self._motion.stamps):
            frames = self._motion.frames(index, hands)
            landmarks = np.stack([hand.landmarks(bones) for hand, bones in zip(hands, frames, strict=True)])
            self._pose_scene(index, frames)
            rgb, depth = renderer.render(self._data)
            put(names.COLOR_IMAGE, self._image(rgb, "rgb8", 3, stamp), stamp)
            put(names.ALIGNED_DEPTH_IMAGE, self._image(self._measured(depth), "16UC1", 2, stamp), stamp)
            put(names.COLOR_INFO, self._camera_info(stamp), stamp)
            put(TRUTH_KEYPOINTS, self._true_keypoints(index, stamp), stamp)
            put(TRUTH_OBJECTS, self._true_objects(index, stamp), stamp)
            put(TRUTH_HANDS, self._true_hands(landmarks, stamp), stamp)
            self._progress("film the demonstration", (index + 1) / count)

    def _pose_scene(self, index: int, frames: FloatArray) -> None:
        for actor, bones in zip(self._actors, frames, strict=True):
            actor.place(self._data, bones)
        for name, poses in self._motion.objects.items():
            slot = self._model.body(scene.body_name(name)).mocapid[0]
            self._data.mocap_pos[slot] = poses[index, :3, 3]
            self._data.mocap_quat[slot] = Rotation.from_matrix(poses[index, :3, :3]).as_quat(scalar_first=True)
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_camlight(self._model, self._data)

    def _measured(self, depth: NDArray[np.float32]) -> NDArray[np.uint16]:
        """Depth (H, W) in mm as a depth camera gives it: noise that grows with distance, holes (0) along edges."""
        noisy = depth + self._depth_rng.standard_normal(depth.shape, np.float32) * np.float32(_DEPTH_NOISE) * depth**2
        jump = cv2.morphologyEx(depth, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > _EDGE
        noisy[jump & (self._depth_rng.random(depth.shape, np.float32) < 0.5)] = 0.0
        return np.clip(np.rint(noisy * 1000.0), 0, 65535).astype("<u2")

    def _keypoints(self, index: int) -> FloatArray:
        parts = [
            geometry.transform_points(self._motion.objects[name][index], points)
            for name, points in self._objects.keypoints_in_object().items()
        ]
        return np.concatenate(parts)

    def _annotation(self) -> TaskSpec:
        pixels = self._camera.task_to_pixels(self._keypoints(0))
        pixels = pixels + self._click_rng.normal(0.0, _CLICK_ERROR, pixels.shape)
        columns = (self._objects.keypoint_names, self._objects.keypoint_objects, self._objects.keypoint_groups, pixels)
        clicked = tuple(
            KeypointSpec(name=name, object=owner, group=group, pixel=(round(float(u), 1), round(float(v), 1)))
            for name, owner, group, (u, v) in zip(*columns, strict=True)
        )
        return TaskSpec.model_validate(self._template.model_dump() | {"keypoints": clicked})

    def _header(self, stamp: float, frame: str) -> Any:
        nanoseconds = round(stamp * 1e9)
        time = self._new("builtin_interfaces/msg/Time", sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)
        return self._new("std_msgs/msg/Header", stamp=time, frame_id=frame)

    def _new(self, kind: str, **fields: Any) -> Any:
        return self._types.types[kind](**fields)

    def _image(self, pixels: NDArray[Any], encoding: str, size: int, stamp: float) -> Any:
        return self._new(
            "sensor_msgs/msg/Image",
            header=self._header(stamp, CAMERA_FRAME),
            height=pixels.shape[0],
            width=pixels.shape[1],
            encoding=encoding,
            is_bigendian=0,
            step=pixels.shape[1] * size,
            data=np.frombuffer(np.ascontiguousarray(pixels).tobytes(), np.uint8),
        )

    def _camera_info(self, stamp: float) -> Any:
        matrix = self._camera.matrix
        roi = self._new("sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
        return self._new(
            "sensor_msgs/msg/CameraInfo",
            header=self._header(stamp, CAMERA_FRAME),
            height=self._camera.height,
            width=self._camera.width,
            distortion_model="plumb_bob",
            d=np.zeros(5),
            k=matrix.ravel(),
            r=np.eye(3).ravel(),
            p=np.c_[matrix, np.zeros(3)].ravel(),
            binning_x=0,
            binning_y=0,
            roi=roi,
        )

    def _transform(self) -> Any:
        pose = self._camera.transform_camera_to_task
        assert pose is not None, "the cell's camera always has a pose"
        x, y, z, w = map(float, geometry.quaternion_xyzw(pose))
        px, py, pz = map(float, pose[:3, 3])
        transform = self._new(
            "geometry_msgs/msg/Transform",
            translation=self._new("geometry_msgs/msg/Vector3", x=px, y=py, z=pz),
            rotation=self._new("geometry_msgs/msg/Quaternion", x=x, y=y, z=z, w=w),
        )
        stamped = self._new(
            "geometry_msgs/msg/TransformStamped",
            header=self._header(0.0, names.TASK_FRAME),
            child_frame_id=CAMERA_FRAME,
            transform=transform,
        )
        return self._new("tf2_msgs/msg/TFMessage", transforms=[stamped])

    def _point(self, xyz: FloatArray) -> Any:
        x, y, z = map(float, xyz)
        return self._new("geometry_msgs/msg/Point", x=x, y=y, z=z)

    def _pose(self, pose: FloatArray) -> Any:
        x, y, z, w = map(float, geometry.quaternion_xyzw(pose))
        return self._new(
            "geometry_msgs/msg/Pose",
            position=self._point(pose[:3, 3]),
            orientation=self._new("geometry_msgs/msg/Quaternion", x=x, y=y, z=z, w=w),
        )

    def _true_keypoints(self, index: int, stamp: float) -> Any:
        points = self._keypoints(index)
        pixels = self._camera.task_to_pixels(points)
        objects = self._objects
        columns = (objects.keypoint_names, objects.keypoint_groups, objects.keypoint_objects, points, pixels)
        items = [
            self._new(
                "pad_msgs/msg/Keypoint",
                name=name,
                group=group,
                object=owner,
                position=self._point(point),
                state=1,
                confidence=1.0,
                u=float(pixel[0]),
                v=float(pixel[1]),
            )
            for name, group, owner, point, pixel in zip(*columns, strict=True)
        ]
        header = self._header(stamp, names.TASK_FRAME)
        return self._new("pad_msgs/msg/KeypointArray", header=header, task=objects.task, keypoints=items)

    def _true_objects(self, index: int, stamp: float) -> Any:
        items = [
            self._new("pad_msgs/msg/ObjectPose", name=name, pose=self._pose(poses[index]), confidence=1.0)
            for name, poses in self._motion.objects.items()
        ]
        return self._new("pad_msgs/msg/ObjectPoseArray", header=self._header(stamp, names.TASK_FRAME), poses=items)

    def _true_hands(self, landmarks: FloatArray, stamp: float) -> Any:
        items = [
            self._new(
                "pad_msgs/msg/Hand",
                side=side,
                gripper_pose=self._pose(gripper_pose(points)),
                opening=float(np.linalg.norm(points[8] - points[4])),
                state=1,
                presence=1.0,
                landmarks=[self._point(point) for point in points],
            )
            for side, points in enumerate(landmarks)
        ]
        return self._new("pad_msgs/msg/HandArray", header=self._header(stamp, names.TASK_FRAME), hands=items)


def _typestore() -> Typestore:
    store = get_typestore(Stores.ROS2_JAZZY)
    for name, text in message_definitions("pad_msgs", _MESSAGES).items():
        store.register(get_types_from_msg(text, f"pad_msgs/msg/{name}"))
    return store
