"""rosbag2 bags (mcap, sqlite3): colour and aligned depth paired by stamp, or colour alone, read as a stream."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pad_parse.camera import ASSUMED_HORIZONTAL_FOV, Camera
from pad_parse.errors import PadParseError, RecordingError
from pad_parse.recording.bag_source import BagSource, one_line, open_source, reading
from pad_parse.recording.decoding import FrameDecoder
from pad_parse.recording.ground_truth import read_truth
from pad_parse.recording.images import colour_image, depth_image, stamp_seconds
from pad_parse.recording.lens import Lens, lens
from pad_parse.recording.pairing import PAIRING_TOLERANCE, Kind, in_order, pair_by_stamp
from pad_parse.recording.recording import Frame, GroundTruth, Recording
from pad_parse.recording.report import Tally
from pad_parse.recording.sidecar import load_annotation, load_calibration
from pad_parse.ros_transforms import frame_tree, pose_matrix

TASK_FRAME = "task_frame"

_IMAGE = "sensor_msgs/msg/Image"
_COMPRESSED = "sensor_msgs/msg/CompressedImage"
_INFO = "sensor_msgs/msg/CameraInfo"
_TF = "tf2_msgs/msg/TFMessage"
_PREFERRED_COLOUR = ("/color/", "/colour/", "/rgb/")
_PREFERRED_DEPTH = ("aligned_depth", "depth_to_color", "depth_to_rgb", "depth_registered")


@dataclass(eq=False)
class BagRecording(Recording):
    """A rosbag2 with a colour stream and, unless it is monocular, an aligned depth stream (`depth_topic`)."""

    source: BagSource = field(kw_only=True)
    decoder: FrameDecoder = field(kw_only=True)
    colour_topic: str = field(kw_only=True)
    depth_topic: str | None = field(kw_only=True)

    def _read(self, tally: Tally) -> Iterator[Frame]:
        images: Iterator[tuple[float, Any, Any | None]]
        if self.depth_topic is None:
            images = ((stamp, image, None) for stamp, image in in_order(self._images(), tally))
        else:
            images = pair_by_stamp(self._images(), self.pairing_tolerance, tally)
        # The bag brings its own message definitions: a damaged one lacks fields, or has others in their place.
        with reading(self.path):
            yield from self.decoder.frames(images, tally)
        if tally.frames == 0 and self.depth_topic is not None:
            raise RecordingError(
                f"recording {self.path}: no image on {self.colour_topic} has a partner on {self.depth_topic} within "
                f"{self.pairing_tolerance * 1000:.0f} ms; are both stamped by one clock? A larger pairing tolerance "
                "can be given"
            )

    def _images(self) -> Iterator[tuple[Kind, float, Any]]:
        topics = {self.colour_topic} if self.depth_topic is None else {self.colour_topic, self.depth_topic}
        for topic, message in self.source.messages(topics):
            yield "depth" if topic == self.depth_topic else "colour", stamp_seconds(message.header), message

    def truth(self) -> GroundTruth | None:
        """See `Recording.truth`."""
        return read_truth(self.path, self.source)


def open_bag(
    path: Path,
    calibration: Camera | None = None,
    *,
    pairing_tolerance: float = PAIRING_TOLERANCE,
    colour_topic: str | None = None,
    depth_topic: str | None = None,
) -> BagRecording:
    """Open a bag; its first images are decoded to prove that they can be used. Arguments: see `open_recording`.

    Raises:
        RecordingError: see `open_recording`.
    """
    source = open_source(path)
    assumptions: list[str] = []
    if depth_topic is None:
        candidates = [name for name, kind in source.types.items() if _is_depth(name, kind)]
        depth_topic = _choose(path, source, "depth", candidates, _PREFERRED_DEPTH)
    elif depth_topic not in source.types:
        raise _no_topic(path, source, "depth", depth_topic)
    if colour_topic is None:
        candidates = [n for n, kind in source.types.items() if kind in (_IMAGE, _COMPRESSED) and not _is_depth(n, kind)]
        colour_topic = _choose(path, source, "colour", candidates, _PREFERRED_COLOUR)
    if colour_topic is None or colour_topic not in source.types:
        raise _no_topic(path, source, "colour", colour_topic)
    if depth_topic is None:
        assumptions.append("The bag has no depth images: it is read as a monocular recording.")
    for topic in filter(None, (colour_topic, depth_topic)):
        if source.counts[topic] == 0:
            raise RecordingError(f"recording {path}: topic {topic} holds no message")
    with reading(path):
        decoder = _decoder(path, source, colour_topic, depth_topic, calibration, assumptions)
    recording = BagRecording(
        path=path,
        camera=decoder.camera,
        has_depth=depth_topic is not None,
        frame_count=min(source.counts[topic] for topic in (colour_topic, depth_topic) if topic is not None),
        duration=source.duration,
        topics=sorted(source.types),
        annotation=load_annotation(path),
        assumptions=assumptions,
        recovered=source.recovered,
        pairing_tolerance=pairing_tolerance,
        source=source,
        decoder=decoder,
        colour_topic=colour_topic,
        depth_topic=depth_topic,
    )
    if next(recording.frames(), None) is None:
        raise RecordingError(f"recording {path}: topic {colour_topic} holds no image that can be used")
    return recording


def _is_depth(topic: str, kind: str) -> bool:
    if kind == _COMPRESSED:
        return topic.endswith("/compressedDepth")
    return kind == _IMAGE and "depth" in topic


def _choose(path: Path, source: BagSource, kind: str, names: list[str], preferred: tuple[str, ...]) -> str | None:
    """The topic to read: raw images before packed ones, those whose name says what is wanted before others."""
    held = [name for name in names if source.counts[name]] or names
    raw = [name for name in held if source.types[name] == _IMAGE]
    candidates = raw or held
    favoured = [name for name in candidates if any(part in name for part in preferred)] or candidates
    if len(favoured) > 1:
        raise RecordingError(
            f"recording {path} has several {kind} topics: {', '.join(sorted(favoured))}; say which with {kind}_topic"
        )
    return favoured[0] if favoured else None


def _no_topic(path: Path, source: BagSource, kind: str, wanted: str | None) -> RecordingError:
    held = ", ".join(sorted(source.types)) or "nothing"
    what = f"no {kind} image topic" if wanted is None else f"no topic {wanted}"
    return RecordingError(
        f"recording {path} has {what}; it holds: {held}. Record /camera/color/image_raw, /camera/color/camera_info and "
        "/camera/aligned_depth_to_color/image_raw"
    )


def _decoder(
    path: Path,
    source: BagSource,
    colour_topic: str,
    depth_topic: str | None,
    calibration: Camera | None,
    assumptions: list[str],
) -> FrameDecoder:
    calibration = calibration or load_calibration(path)
    base = colour_topic.removesuffix("/compressed").rpartition("/")[0]
    infos = [name for name, kind in source.types.items() if kind == _INFO and source.counts[name]]
    wanted = [f"{base}/camera_info"] if f"{base}/camera_info" in infos else [n for n in infos if "depth" not in n]
    if len(wanted) > 1:
        raise RecordingError(
            f"recording {path} has no {base}/camera_info for {colour_topic}, but several others: {', '.join(wanted)}"
        )
    info = next((message for _, message in source.messages(wanted)), None) if wanted else None
    origin, rectifier = f"{wanted[0] if wanted else ''}", None
    if info is not None:
        camera, rectifier = _stated_camera(path, source, colour_topic, info, calibration, assumptions)
    elif calibration is not None:
        camera, origin = calibration, "the calibration file"
        assumptions.append("The recording has no camera_info; the calibration file's intrinsics are used.")
    elif depth_topic is None:
        height, width = colour_image(_first(source, colour_topic)).shape[:2]
        camera, origin = Camera.from_horizontal_fov(width, height, ASSUMED_HORIZONTAL_FOV), "the first image"
        assumptions.append(
            "The bag has no camera_info; a horizontal field of view of "
            f"{np.rad2deg(ASSUMED_HORIZONTAL_FOV):.0f} degrees is assumed (give a camera.yaml)."
        )
    else:
        raise RecordingError(
            f"recording {path} has no camera_info for {colour_topic}; record it, or give a camera.yaml"
        )
    if depth_topic is not None:
        _note_frames(source, colour_topic, depth_topic, assumptions)
    return FrameDecoder(path, camera, origin, rectifier, colour_image, depth_image)


def _stated_camera(
    path: Path,
    source: BagSource,
    colour_topic: str,
    info: Any,
    calibration: Camera | None,
    assumptions: list[str],
) -> tuple[Camera, Lens | None]:
    """The camera of a camera_info, with its pose from the calibration or from /tf_static."""
    rectified = "rect" in colour_topic.removesuffix("/compressed").rpartition("/")[2]
    try:
        # Images that the driver has rectified already belong to P, and have no distortion left.
        matrix = np.asarray(info.p, np.float64).reshape(3, 4)[:, :3] if rectified else np.asarray(info.k, np.float64)
        camera = Camera(matrix.reshape(3, 3), int(info.width), int(info.height))
        if calibration is not None and calibration.transform_camera_to_task is not None:
            camera = camera.with_extrinsics(calibration.transform_camera_to_task)
        else:
            camera = _posed(camera, source, str(info.header.frame_id), assumptions)
        distortion: ArrayLike = [] if rectified else np.asarray(info.d, dtype=np.float64)
        return camera, lens(camera, str(info.distortion_model), distortion)
    except (PadParseError, ValueError) as error:
        raise RecordingError(
            f"recording {path}: camera_info or the camera's pose is not usable: {one_line(error)}"
        ) from error


def _posed(camera: Camera, source: BagSource, camera_frame: str, assumptions: list[str]) -> Camera:
    tree = frame_tree()
    topics = {name for name, kind in source.types.items() if kind == _TF and name.endswith("tf_static")}
    for _, message in source.messages(topics) if topics else ():
        for item in message.transforms:
            pose = pose_matrix(item.transform.translation, item.transform.rotation)
            tree.add(str(item.header.frame_id), str(item.child_frame_id), pose)
    found: NDArray[np.float64] | None = tree.lookup(TASK_FRAME, camera_frame)
    if found is not None:
        return camera.with_extrinsics(found)
    why = "no tf_static"
    if topics:
        why = f"tf_static does not connect {TASK_FRAME} and {camera_frame}; its frames: {', '.join(tree.frames())}"
    assumptions.append(f"The camera's pose in the task frame is not known (no calibration file, {why}).")
    return camera


def _first(source: BagSource, topic: str) -> Any:
    for _, message in source.messages({topic}):
        return message
    raise RecordingError(f"topic {topic} states messages, but none can be read; the bag is damaged")


def _note_frames(source: BagSource, colour_topic: str, depth_topic: str, assumptions: list[str]) -> None:
    """Say so where the driver stamps depth with another frame than colour: then it may not be aligned."""
    frames: dict[str, str] = {}
    for topic, message in source.messages({colour_topic, depth_topic}):
        frames.setdefault(topic, str(message.header.frame_id).lstrip("/"))
        if len(frames) == 2:
            break
    colour, depth = frames.get(colour_topic), frames.get(depth_topic)
    if colour != depth:
        assumptions.append(
            f"Depth is stamped with frame {depth!r}, colour with {colour!r}; it is taken as aligned to colour."
        )
