"""rosbag2 bags (mcap, sqlite3): colour and aligned depth paired by stamp, read as a stream."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore

from pad_parse import geometry
from pad_parse.camera import Camera
from pad_parse.errors import CameraError, PadParseError, RecordingError
from pad_parse.recording.images import colour_image, depth_image, stamp_seconds
from pad_parse.recording.recording import Frame, FrameCounts, GroundTruth, Recording
from pad_parse.recording.sidecar import load_annotation, load_calibration

TASK_FRAME = "task_frame"
PAIRING_TOLERANCE = 0.02
"""Colour and depth images that lie further apart than this (s) are no pair."""

_IMAGE = "sensor_msgs/msg/Image"
_COMPRESSED = "sensor_msgs/msg/CompressedImage"
_INFO = "sensor_msgs/msg/CameraInfo"
_TF = "tf2_msgs/msg/TFMessage"
_WAITING = 8
"""Images of one kind that wait for their partner; more than this and the oldest is given up."""

_TRUTH_KEYPOINTS = "/ground_truth/keypoints"
_TRUTH_OBJECTS = "/ground_truth/objects"
_TRUTH_HANDS = "/ground_truth/hands"


@dataclass(frozen=True, eq=False)
class _Lens:
    """Maps (H, W) float32 that take the lens distortion out of an image."""

    map_x: NDArray[np.float32]
    map_y: NDArray[np.float32]

    def rectify(self, image: NDArray[Any], interpolation: int) -> NDArray[Any]:
        return np.asarray(cv2.remap(image, self.map_x, self.map_y, interpolation))


@dataclass(eq=False)
class BagRecording(Recording):
    """A rosbag2 with a colour and an aligned depth stream."""

    colour_topic: str = ""
    depth_topic: str = ""
    lens: _Lens | None = None

    def frames(self) -> Iterator[Frame]:
        """See `Recording.frames`. Colour images without depth within `PAIRING_TOLERANCE` are dropped and counted."""
        self.counts = FrameCounts()
        for stamp, colour, depth in self._pairs():
            rgb, metres = colour_image(colour), depth_image(depth)
            size = (self.camera.height, self.camera.width)
            if rgb.shape[:2] != size:
                raise RecordingError(
                    f"recording {self.path}: the colour image changes from {size[1]} x {size[0]} to "
                    f"{rgb.shape[1]} x {rgb.shape[0]} at {stamp:.3f} s"
                )
            if metres.shape != size:
                raise RecordingError(
                    f"recording {self.path}: depth is {metres.shape[1]} x {metres.shape[0]}, colour "
                    f"{size[1]} x {size[0]}; "
                    "record depth aligned to colour"
                )
            if self.lens is not None:
                rgb = self.lens.rectify(rgb, cv2.INTER_LINEAR)
                metres = self.lens.rectify(metres, cv2.INTER_NEAREST)
            self.counts.frames += 1
            yield Frame(stamp, rgb, metres)
        if self.counts.frames == 0:
            raise RecordingError(
                f"recording {self.path}: no image on {self.colour_topic} has a partner on "
                f"{self.depth_topic} within "
                f"{PAIRING_TOLERANCE * 1000:.0f} ms; are both stamped by one clock?"
            )

    def _pairs(self) -> Iterator[tuple[float, Any, Any]]:
        colours: deque[tuple[float, Any]] = deque()
        depths: deque[tuple[float, Any]] = deque()
        last = -np.inf

        def pop_pairs(limit: int) -> Iterator[tuple[float, Any, Any]]:
            while colours:
                stamp, colour = colours[0]
                gaps = [abs(other - stamp) for other, _ in depths]
                best = int(np.argmin(gaps)) if gaps else -1
                # A better partner can still come until a depth image at or after this stamp was seen.
                decided = bool(depths) and (gaps[best] == 0 or depths[-1][0] >= stamp)
                if not decided and len(colours) <= limit:
                    return
                colours.popleft()
                if best < 0 or gaps[best] > PAIRING_TOLERANCE:
                    self.counts.without_depth += 1
                    continue
                depth = depths[best][1]
                for _ in range(best):
                    depths.popleft()
                yield stamp, colour, depth

        for topic, message in _messages(self.path, {self.colour_topic, self.depth_topic}):
            stamp = stamp_seconds(message.header)
            if topic == self.depth_topic:
                depths.append((stamp, message))
            elif stamp > last:
                colours.append((stamp, message))
                last = stamp
            else:
                self.counts.out_of_order += 1
            yield from pop_pairs(_WAITING)
            while len(depths) > _WAITING:
                depths.popleft()
        yield from pop_pairs(0)

    def truth(self) -> GroundTruth | None:
        """See `Recording.truth`."""
        wanted = {_TRUTH_KEYPOINTS, _TRUTH_OBJECTS, _TRUTH_HANDS} & set(self.topics)
        return _read_truth(self.path, wanted) if wanted else None


def open_bag(path: Path, calibration: Camera | None = None) -> BagRecording:
    """Open a bag; its first colour and depth images are decoded to prove that they can be used.

    Raises:
        RecordingError: see `open_recording`.
    """
    with _reading(path), _reader(path) as reader:
        types = {c.topic: c.msgtype for c in reader.connections}
        counts = {name: info.msgcount for name, info in reader.topics.items()}
        duration = max(0.0, reader.duration * 1e-9) if counts else 0.0
    depth_topic = _choose(path, types, "depth", [t for t in types if "depth" in t], "aligned_depth_to_color")
    colour_topic = _choose(path, types, "colour", [t for t in types if "depth" not in t], "color")
    for topic in (colour_topic, depth_topic):
        if counts.get(topic, 0) == 0:
            raise RecordingError(f"recording {path}: topic {topic} holds no message")
    camera, lens, assumptions = _camera(path, types, colour_topic, calibration)
    recording = BagRecording(
        path=path,
        camera=camera,
        has_depth=True,
        frame_count=min(counts[colour_topic], counts[depth_topic]),
        duration=duration,
        topics=sorted(types),
        annotation=load_annotation(path),
        assumptions=assumptions,
        colour_topic=colour_topic,
        depth_topic=depth_topic,
        lens=lens,
    )
    next(recording.frames())
    return recording


def _choose(path: Path, types: dict[str, str], kind: str, names: list[str], preferred: str) -> str:
    raw = [name for name in names if types[name] == _IMAGE]
    packed = [name for name in names if types[name] == _COMPRESSED] if kind == "colour" else []
    for candidates in (raw, packed):
        favoured = [name for name in candidates if preferred in name] or candidates
        if len(favoured) == 1:
            return favoured[0]
        if favoured:
            raise RecordingError(f"recording {path} has several {kind} topics: {', '.join(sorted(favoured))}; keep one")
    held = ", ".join(sorted(types)) or "nothing"
    raise RecordingError(
        f"recording {path} has no {kind} image topic, so it is no RGB-D recording; it holds: {held}. Record "
        "/camera/color/image_raw, /camera/color/camera_info and /camera/aligned_depth_to_color/image_raw"
    )


def _camera(
    path: Path, types: dict[str, str], colour_topic: str, calibration: Camera | None
) -> tuple[Camera, _Lens | None, list[str]]:
    assumptions: list[str] = []
    calibration = calibration or load_calibration(path)
    base = colour_topic.removesuffix("/compressed").rpartition("/")[0]
    infos = [name for name, kind in types.items() if kind == _INFO]
    wanted = [f"{base}/camera_info"] if f"{base}/camera_info" in infos else [n for n in infos if "depth" not in n]
    info = next((message for _, message in _messages(path, wanted)), None) if wanted else None
    if info is None:
        if calibration is None:
            raise RecordingError(
                f"recording {path} has no camera_info for {colour_topic}; record it, or give a camera.yaml"
            )
        return (
            calibration,
            None,
            ["The recording has no camera_info; the calibration file's intrinsics are used."],
        )
    try:
        camera = Camera(np.asarray(info.k, dtype=np.float64).reshape(3, 3), int(info.width), int(info.height))
        if calibration is not None and calibration.transform_camera_to_task is not None:
            camera = camera.with_extrinsics(calibration.transform_camera_to_task)
        elif (pose := _static_transform(path, types, str(info.header.frame_id))) is not None:
            camera = camera.with_extrinsics(pose)
        else:
            assumptions.append("The camera's pose in the task frame is not known (no calibration file, no tf_static).")
    except (CameraError, ValueError) as error:
        raise RecordingError(f"recording {path}: camera_info or the camera's pose is not usable: {error}") from error
    return camera, _lens(camera, np.asarray(info.d, dtype=np.float64)), assumptions


def _lens(camera: Camera, distortion: NDArray[np.float64]) -> _Lens | None:
    if distortion.size == 0 or not np.all(np.isfinite(distortion)) or np.all(np.abs(distortion) < 1e-9):
        return None
    try:
        maps = cv2.initUndistortRectifyMap(
            camera.matrix, distortion, np.eye(3), camera.matrix, (camera.width, camera.height), cv2.CV_32FC1
        )
    except cv2.error as error:
        raise RecordingError(f"camera_info has {distortion.size} distortion numbers that are not usable") from error
    return _Lens(np.asarray(maps[0], np.float32), np.asarray(maps[1], np.float32))


def _static_transform(path: Path, types: dict[str, str], camera_frame: str) -> NDArray[np.float64] | None:
    topics = [name for name, kind in types.items() if kind == _TF and name.endswith("tf_static")]
    if not topics:
        return None
    edges: dict[str, dict[str, NDArray[np.float64]]] = {}
    for _, message in _messages(path, topics):
        for item in message.transforms:
            t, q = item.transform.translation, item.transform.rotation
            pose = geometry.make_pose(geometry.from_quaternion_xyzw([q.x, q.y, q.z, q.w]), [t.x, t.y, t.z])
            parent, child = item.header.frame_id.lstrip("/"), item.child_frame_id.lstrip("/")
            edges.setdefault(parent, {})[child] = pose
            edges.setdefault(child, {})[parent] = geometry.inverse(pose)
    frame = camera_frame.lstrip("/")
    reached = {TASK_FRAME: np.eye(4)}
    todo = deque([TASK_FRAME])
    while todo:
        parent = todo.popleft()
        for child, pose in edges.get(parent, {}).items():
            if child not in reached:
                reached[child] = reached[parent] @ pose
                todo.append(child)
    return reached.get(frame)


def _read_truth(path: Path, topics: Collection[str]) -> GroundTruth:
    points: list[tuple[float, dict[str, list[float]]]] = []
    objects: list[tuple[float, dict[str, NDArray[np.float64]]]] = []
    hands: list[tuple[float, dict[int, tuple[NDArray[np.float64], float, NDArray[np.float64]]]]] = []
    try:
        for topic, message in _messages(path, topics):
            stamp = stamp_seconds(message.header)
            if topic == _TRUTH_KEYPOINTS:
                points.append((stamp, {k.name: [k.position.x, k.position.y, k.position.z] for k in message.keypoints}))
            elif topic == _TRUTH_OBJECTS:
                objects.append((stamp, {item.name: _pose(item.pose) for item in message.poses}))
            else:
                hands.append(
                    (
                        stamp,
                        {
                            int(h.side): (
                                _pose(h.gripper_pose),
                                float(h.opening),
                                np.array([[p.x, p.y, p.z] for p in h.landmarks]).reshape(-1, 3),
                            )
                            for h in message.hands
                        },
                    )
                )
    except (AttributeError, PadParseError, TypeError, ValueError) as error:
        raise RecordingError(f"recording {path}: the ground-truth topics cannot be read: {_one_line(error)}") from error
    names = list(points[0][1]) if points else []
    missing = [np.nan] * 3
    keypoints = np.array([[p.get(name, missing) for name in names] for _, p in points]).reshape(
        len(points), len(names), 3
    )
    object_names = sorted({name for _, poses in objects for name in poses})
    nothing = np.full((4, 4), np.nan)
    grippers = np.full((len(hands), 2, 4, 4), np.nan)
    openings = np.full((len(hands), 2), np.nan)
    landmarks = np.full((len(hands), 2, 21, 3), np.nan)
    for i, (_, sides) in enumerate(hands):
        for side, (pose, opening, marks) in sides.items():
            if side in (0, 1):
                grippers[i, side], openings[i, side] = pose, opening
                if marks.shape == (21, 3):
                    landmarks[i, side] = marks
    return GroundTruth(
        keypoint_names=names,
        keypoint_stamps=np.array([stamp for stamp, _ in points]),
        keypoints=keypoints,
        object_stamps=np.array([stamp for stamp, _ in objects]),
        object_poses={
            name: np.array([poses.get(name, nothing) for _, poses in objects]).reshape(-1, 4, 4)
            for name in object_names
        },
        hand_stamps=np.array([stamp for stamp, _ in hands]),
        gripper_poses=grippers,
        gripper_openings=openings,
        landmarks=landmarks,
    )


def _pose(pose: Any) -> NDArray[np.float64]:
    p, q = pose.position, pose.orientation
    return geometry.make_pose(geometry.from_quaternion_xyzw([q.x, q.y, q.z, q.w]), [p.x, p.y, p.z])


def _messages(path: Path, topics: Collection[str]) -> Iterator[tuple[str, Any]]:
    """(topic, message) in the bag's order; only decoded messages of `topics` are held, one at a time."""
    with _reading(path), _reader(path) as reader:
        connections = [c for c in reader.connections if c.topic in topics]
        if connections:
            messages = reader.messages(connections=connections)
            while True:
                item = next(messages, None)
                if item is None:
                    return
                connection, _, raw = item
                yield connection.topic, reader.deserialize(raw, connection.msgtype)


def _reader(path: Path) -> AnyReader:
    return AnyReader([path], default_typestore=get_typestore(Stores.ROS2_JAZZY))


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Whatever a damaged file makes the bag reader raise becomes one RecordingError."""
    try:
        yield
    except (PadParseError, GeneratorExit, KeyboardInterrupt):
        raise
    except Exception as error:
        raise RecordingError(
            f"recording {path} cannot be read; it is truncated, corrupt or no rosbag2 ({_one_line(error)})"
        ) from error


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
