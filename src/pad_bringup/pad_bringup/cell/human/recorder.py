"""Records the demonstrator with the cell's camera into a rosbag2, as a person's RGB-D recording would lie on disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.interfaces import (
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from pad_bringup import names
from pad_bringup.cell import scene
from pad_bringup.cell.human.depth_sensor import measured_depth
from pad_bringup.cell.human.errors import RecorderError
from pad_bringup.cell.human.messages import MessageFactory
from pad_bringup.cell.human.motion import demonstrate
from pad_bringup.cell.human.stage import Shot, Stage
from pad_bringup.cell.objects import load_objects
from pad_parse import geometry
from pad_parse.task import KeypointSpec, TaskSpec

FloatArray = NDArray[np.float64]
Progress = Callable[[str, float], None]

TRUTH_KEYPOINTS, TRUTH_OBJECTS, TRUTH_HANDS = (f"/ground_truth/{what}" for what in ("keypoints", "objects", "hands"))
TF_STATIC = "/tf_static"
ANNOTATION = "task.yaml"
"""The file in the recording's folder that holds the task with the clicked keypoints."""

_KINDS = {
    names.COLOR_IMAGE: "sensor_msgs/msg/Image",
    names.ALIGNED_DEPTH_IMAGE: "sensor_msgs/msg/Image",
    names.COLOR_INFO: "sensor_msgs/msg/CameraInfo",
    TF_STATIC: "tf2_msgs/msg/TFMessage",
    TRUTH_KEYPOINTS: "pad_msgs/msg/KeypointArray",
    TRUTH_OBJECTS: "pad_msgs/msg/ObjectPoseArray",
    TRUTH_HANDS: "pad_msgs/msg/HandArray",
}
_CLICK_ERROR = 1.0
"""px; standard deviation of where a person clicks."""
_HIDDEN = 0.008
"""m; a point that lies further behind what the camera sees is hidden."""
_FPS_RANGE = (5.0, 120.0)
_ALWAYS = QosTime(2147483647, 4294967295)
_LATCHED = Qos(
    history=QosHistory.KEEP_LAST,
    depth=1,
    reliability=QosReliability.RELIABLE,
    durability=QosDurability.TRANSIENT_LOCAL,
    deadline=_ALWAYS,
    lifespan=_ALWAYS,
    liveliness=QosLiveliness.AUTOMATIC,
    liveliness_lease_duration=_ALWAYS,
    avoid_ros_namespace_conventions=False,
)


def record_demonstration(
    out_dir: str | os.PathLike[str],
    *,
    seed: int = 0,
    task: str = "pour",
    size: tuple[int, int] = (640, 480),
    fps: float = 30.0,
    placements: Mapping[str, tuple[float, float, float]] | None = None,
    put_down: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Write the demonstrator's recording of a task to the folder `out_dir`; it appears complete or not at all.

    The rosbag2 (mcap) holds colour, depth aligned to it (16UC1 mm), camera_info, the camera's pose on /tf_static, and
    the truth on /ground_truth/*. `task.yaml` beside it is the task with the keypoints that a person would click in
    the first frame. The same seed gives the same recording. An older recording at `out_dir` is replaced.

    seed: of the hands' tremor, the clicks and the depth noise. size: image width and height, px. fps: images per s.
    placements: object -> (x, y, yaw), m and rad, at the start; None = the objects' homes. put_down: the demonstrator
    also puts the objects back on the table and lets go of them.
    progress: called with (stage, fraction 0 to 1).

    Raises:
        RecorderError: senseless size or rate, or `out_dir` is something else, or cannot be written.
        TaskError, CellError, MotionError: unknown task, nothing to put down, or no off-screen OpenGL.
    """
    out = Path(out_dir)
    if not _FPS_RANGE[0] <= fps <= _FPS_RANGE[1]:
        low, high = _FPS_RANGE
        raise RecorderError(f"{fps} images a second cannot be recorded; choose {low:g} to {high:g}")
    if min(size) < 64 or max(size) > 4096:
        raise RecorderError(f"images of {size[0]} x {size[1]} cannot be recorded; choose 64 to 4096 pixels a side")
    if out.exists() and not (out.is_dir() and ((out / "metadata.yaml").is_file() or not any(out.iterdir()))):
        raise RecorderError(f"{out} exists and is no recording; choose another folder")
    workplace = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    shutil.rmtree(workplace, ignore_errors=True)
    try:
        workplace.mkdir(parents=True)
        # The bag's file is named after its folder, so the folder has its final name from the start.
        _Recorder(seed, task, size, fps, placements, put_down, progress).write(workplace / out.name)
        if out.exists():
            os.replace(out, workplace / "replaced")
        os.replace(workplace / out.name, out)
    except OSError as error:
        raise RecorderError(f"recording {out} cannot be written: {error}") from error
    finally:
        shutil.rmtree(workplace, ignore_errors=True)
    return out


class _Recorder:
    """One recording in the making."""

    def __init__(
        self,
        seed: int,
        task: str,
        size: tuple[int, int],
        fps: float,
        placements: Mapping[str, tuple[float, float, float]] | None,
        put_down: bool,
        progress: Progress | None,
    ) -> None:
        self._progress = progress or (lambda stage, fraction: None)
        self._progress("plan the demonstration", 0.0)
        self._template = TaskSpec.load(task)
        self._objects = load_objects(task)
        self._camera = scene.scaled_camera(size)
        streams = np.random.SeedSequence([seed, 7]).spawn(3)
        motion_rng, self._click_rng, self._depth_rng = (np.random.default_rng(stream) for stream in streams)
        homes = {name: model.home for name, model in self._objects.models.items()}
        unknown = set(placements or {}) - set(homes)
        if unknown:
            raise RecorderError(
                f"{task} has no object {', '.join(sorted(unknown))} to place; it has: {', '.join(homes)}"
            )
        self._motion = demonstrate(self._objects, placements or {}, motion_rng, fps, put_down=put_down)
        self._messages = MessageFactory()

    def write(self, folder: Path) -> None:
        """Write bag and annotation to `folder`, which must not exist yet."""
        stage = Stage(self._motion, self._objects, self._camera)
        writer = Writer(folder, version=9, storage_plugin=StoragePlugin.MCAP)
        writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        try:
            with writer:
                self._write_shots(writer, stage)
        finally:
            stage.close()
        self._annotation().save(folder / ANNOTATION)

    def _write_shots(self, writer: Writer, stage: Stage) -> None:
        types = self._messages.types
        topics = {
            topic: writer.add_connection(
                topic, kind, typestore=types, offered_qos_profiles=[_LATCHED] if topic == TF_STATIC else []
            )
            for topic, kind in _KINDS.items()
        }

        def put(topic: str, message: Any, stamp: float) -> None:
            writer.write(topics[topic], round(stamp * 1e9), types.serialize_cdr(message, _KINDS[topic]))

        pose = self._camera.transform_camera_to_task
        assert pose is not None, "the cell's camera always has a pose"
        put(TF_STATIC, self._messages.camera_transform(pose), self._motion.stamps[0])
        count = len(self._motion.stamps)
        for shot in stage.shots():
            stamp = float(self._motion.stamps[shot.index])
            depth = measured_depth(shot.depth, self._depth_rng)
            put(names.COLOR_IMAGE, self._messages.image(shot.rgb, "rgb8", stamp), stamp)
            put(names.ALIGNED_DEPTH_IMAGE, self._messages.image(depth, "16UC1", stamp), stamp)
            put(names.COLOR_INFO, self._messages.camera_info(self._camera, stamp), stamp)
            self._put_truth(put, shot, stamp)
            self._progress("film the demonstration", (shot.index + 1) / count)

    def _put_truth(self, put: Callable[[str, Any, float], None], shot: Shot, stamp: float) -> None:
        objects = self._objects
        points = self._keypoints(shot.index)
        columns = (objects.keypoint_names, objects.keypoint_groups, objects.keypoint_objects)
        pixels = self._camera.task_to_pixels(points)
        visible = self._visible(points, pixels, shot.depth)
        put(TRUTH_KEYPOINTS, self._messages.keypoints(objects.task, columns, points, pixels, visible, stamp), stamp)
        poses = {name: carried[shot.index] for name, carried in self._motion.objects.items()}
        put(TRUTH_OBJECTS, self._messages.objects(poses, stamp), stamp)
        inside = self._inside(self._camera.task_to_pixels(shot.landmarks))
        put(TRUTH_HANDS, self._messages.hands(shot.landmarks, inside.mean(axis=1) > 0.5, stamp), stamp)

    def _keypoints(self, index: int) -> FloatArray:
        """(N, 3) true keypoints in the task frame, m."""
        parts = [
            geometry.transform_points(self._motion.objects[name][index], points)
            for name, points in self._objects.keypoints_in_object().items()
        ]
        return np.concatenate(parts)

    def _inside(self, pixels: FloatArray) -> NDArray[np.bool_]:
        """(...,) whether pixels (..., 2) lie in the image."""
        limits = np.array([self._camera.width - 1, self._camera.height - 1])
        return np.all((pixels >= 0) & (pixels <= limits), axis=-1)

    def _visible(self, points: FloatArray, pixels: FloatArray, depth: NDArray[np.float32]) -> NDArray[np.bool_]:
        """(N,) whether nothing lies between the camera and points (N, 3)."""
        inside = self._inside(pixels)
        columns, rows = np.rint(np.where(inside[:, None], pixels, 0)).astype(int).T
        to_camera = geometry.inverse(self._camera.transform_camera_to_task)
        distance = geometry.transform_points(to_camera, points)[:, 2]
        return inside & (distance < depth[rows, columns] + _HIDDEN)

    def _annotation(self) -> TaskSpec:
        """The task with the keypoints clicked in the first frame."""
        objects = self._objects
        pixels = self._camera.task_to_pixels(self._keypoints(0))
        pixels = pixels + self._click_rng.normal(0.0, _CLICK_ERROR, pixels.shape)
        columns = (objects.keypoint_names, objects.keypoint_objects, objects.keypoint_groups, pixels)
        clicked = tuple(
            KeypointSpec(name=name, object=owner, group=group, pixel=(round(float(u), 1), round(float(v), 1)))
            for name, owner, group, (u, v) in zip(*columns, strict=True)
        )
        return TaskSpec.model_validate(self._template.model_dump() | {"keypoints": clicked})
