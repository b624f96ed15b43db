"""RGB-D folders: colour and depth images as files, and a camera.json.

Layout::

    folder/
      camera.json       width, height, matrix [[fx, 0, cx], [0, fy, cy], [0, 0, 1]] in pixels; may add:
                        transform_camera_to_task  4x4, optical frame -> task frame, metres
                        depth_scale               metres per unit of the depth images (default 0.001)
                        distortion_model, distortion  as in ROS's camera_info (default: none)
                        stamp_unit                what the numbers in file names are: s (default), ms, us, ns
                        rate                      frames/s; the numbers in file names are then frame numbers
      colour/           JPEG or PNG (or: color/, rgb/)
      depth/            PNG, one channel of 16 bit, aligned to colour, 0 = no depth; left out: a monocular recording
      colour.txt, depth.txt   may be left out: lines `<stamp in s> <file, relative to the folder>`, # begins a comment
                        (or: color.txt, rgb.txt)
      task.yaml         may be left out: the annotated task

Without the lists, the number at the end of a file's name is its stamp: `colour/12.345.jpg`, `depth/frame_12.351.png`.
Files may be listed in any order.
"""

from __future__ import annotations

import heapq
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from pad_parse.camera import Camera, CameraFile
from pad_parse.errors import CameraError, RecordingError
from pad_parse.recording.decoding import FrameDecoder
from pad_parse.recording.encoded import DamagedImageError, decode_colour, decode_png_16
from pad_parse.recording.lens import lens
from pad_parse.recording.pairing import PAIRING_TOLERANCE, Kind, in_order, pair_by_stamp
from pad_parse.recording.recording import Frame, Recording
from pad_parse.recording.report import Tally
from pad_parse.recording.sidecar import load_annotation, load_calibration

CAMERA_FILE = "camera.json"
_COLOUR = ("colour", "color", "rgb")
_DEPTH = ("depth",)
_SUFFIXES: dict[Kind, tuple[str, ...]] = {"colour": (".png", ".jpg", ".jpeg"), "depth": (".png",)}
_UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_NUMBER = re.compile(r"\d+(?:\.\d+)?$")
_MAX_BYTES = 256 * 1024 * 1024  # of one image file
_MAX_LIST = 64 * 1024 * 1024  # of one list of files


class FolderCamera(CameraFile):
    """The layout of camera.json; see the module."""

    depth_scale: Annotated[float, Field(gt=0, le=1)] = 0.001
    distortion_model: Literal["plumb_bob", "rational_polynomial", "equidistant"] = "plumb_bob"
    distortion: tuple[float, ...] = Field(default=(), max_length=14)
    stamp_unit: Literal["s", "ms", "us", "ns"] = "s"
    rate: Annotated[float, Field(gt=0, le=1000)] | None = None


@dataclass(eq=False)
class FolderRecording(Recording):
    """A folder of images. Only file names are held; images are read one at a time."""

    decoder: FrameDecoder = field(kw_only=True)
    colour: list[tuple[float, Path]] = field(kw_only=True)
    depth: list[tuple[float, Path]] = field(kw_only=True)

    def _read(self, tally: Tally) -> Iterator[Frame]:
        images: Iterator[tuple[float, Any, Any | None]]
        if self.has_depth:
            images = pair_by_stamp(self._images(), self.pairing_tolerance, tally)
        else:
            images = ((stamp, path, None) for stamp, path in in_order(self._images(), tally))
        yield from self.decoder.frames(images, tally)
        if tally.frames == 0 and self.has_depth:
            raise RecordingError(
                f"recording {self.path}: no colour image has a depth image within "
                f"{self.pairing_tolerance * 1000:.0f} ms; check the stamps, or give a larger pairing tolerance"
            )

    def _images(self) -> Iterator[tuple[Kind, float, Path]]:
        colour: Iterator[tuple[Kind, float, Path]] = (("colour", stamp, path) for stamp, path in self.colour)
        depth: Iterator[tuple[Kind, float, Path]] = (("depth", stamp, path) for stamp, path in self.depth)
        return heapq.merge(colour, depth, key=lambda item: item[1])


def open_folder(
    path: Path, calibration: Camera | None = None, *, pairing_tolerance: float = PAIRING_TOLERANCE
) -> FolderRecording:
    """Open an RGB-D folder; its first images are decoded to prove that they can be used.

    Raises:
        RecordingError: see `open_recording`.
    """
    stated = _stated(path / CAMERA_FILE)
    assumptions: list[str] = []
    pose = stated.transform_camera_to_task
    try:
        camera = Camera(np.array(stated.matrix), stated.width, stated.height, None if pose is None else np.array(pose))
        rectifier = lens(camera, stated.distortion_model, stated.distortion)
    except CameraError as error:
        raise RecordingError(f"{path / CAMERA_FILE}: {error}") from error
    calibration = calibration or load_calibration(path)
    if calibration is not None and calibration.transform_camera_to_task is not None:
        camera = camera.with_extrinsics(calibration.transform_camera_to_task)
    colour, depth = _files(path, "colour", _COLOUR, stated), _files(path, "depth", _DEPTH, stated)
    if not colour:
        raise RecordingError(f"folder {path} has no colour images; put JPEG or PNG files into {path / _COLOUR[0]}")
    if not depth:
        assumptions.append("The folder has no depth images: it is read as a monocular recording.")
    if camera.transform_camera_to_task is None:
        assumptions.append("The camera's pose in the task frame is not known (camera.json states none).")
    scale = np.float32(stated.depth_scale)

    def metres(file: Path) -> NDArray[np.float32]:
        return decode_png_16(_content(file), file.name).astype(np.float32) * scale

    recording = FolderRecording(
        path=path,
        camera=camera,
        has_depth=bool(depth),
        frame_count=min(len(colour), len(depth)) if depth else len(colour),
        duration=colour[-1][0] - colour[0][0],
        topics=[],
        annotation=load_annotation(path),
        assumptions=assumptions,
        pairing_tolerance=pairing_tolerance,
        decoder=FrameDecoder(
            path, camera, CAMERA_FILE, rectifier, lambda file: decode_colour(_content(file), file.name), metres
        ),
        colour=colour,
        depth=depth,
    )
    if next(recording.frames(), None) is None:
        raise RecordingError(f"folder {path} has no colour image that can be used")
    return recording


def _stated(file: Path) -> FolderCamera:
    try:
        if file.stat().st_size > 1_000_000:
            raise RecordingError(f"{file} has {file.stat().st_size} bytes; it must be a small JSON file")
        content = json.loads(file.read_text(encoding="utf-8"))
        return FolderCamera.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "file"
        known = ", ".join(FolderCamera.model_fields)
        raise RecordingError(f"{file}: {where}: {first['msg']}; known keys: {known}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise RecordingError(f"{file} cannot be read as JSON: {' '.join(str(error).split())}") from error


def _files(folder: Path, kind: Kind, names: tuple[str, ...], stated: FolderCamera) -> list[tuple[float, Path]]:
    """(stamp in s, file) of one stream in order of time; empty if the folder does not have it."""
    for name in names:
        if (folder / f"{name}.txt").is_file():
            return sorted(_listed(folder, folder / f"{name}.txt"))
    there = [folder / name for name in names if (folder / name).is_dir()]
    if len(there) > 1:
        raise RecordingError(f"folder {folder} has {' and '.join(item.name for item in there)}; keep one")
    found = []
    for file in there[0].iterdir() if there else ():
        if file.suffix.lower() not in _SUFFIXES[kind] or not file.is_file():
            continue
        number = _NUMBER.search(file.stem)
        if number is None:
            raise RecordingError(f"{file} has no stamp at the end of its name; rename it, or list it in {names[0]}.txt")
        value = float(number.group()[:32])
        found.append((value / stated.rate if stated.rate else value * _UNITS[stated.stamp_unit], file))
    return sorted(found)


def _listed(folder: Path, file: Path) -> Iterator[tuple[float, Path]]:
    if file.stat().st_size > _MAX_LIST:
        raise RecordingError(f"{file} has {file.stat().st_size} bytes; at most {_MAX_LIST} are read")
    root = folder.resolve()
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RecordingError(f"{file} cannot be read: {error}") from error
    for number, line in enumerate(lines, 1):
        parts = line.partition("#")[0].split(maxsplit=1)
        if not parts:
            continue
        try:
            stamp = float(parts[0])
            # A list from elsewhere must not make us open files outside its folder.
            target = (root / parts[1].strip()).resolve()
            if not (np.isfinite(stamp) and target.is_relative_to(root) and target.is_file()):
                raise ValueError("no stamp in s, or no file inside the folder")
        except (IndexError, OSError, RuntimeError, ValueError) as error:
            raise RecordingError(f"{file}, line {number}: {line[:80]!r}: {error}") from error
        yield stamp, target


def _content(file: Path) -> bytes:
    try:
        if file.stat().st_size > _MAX_BYTES:
            raise DamagedImageError(f"{file.name} has {file.stat().st_size} bytes; at most {_MAX_BYTES} are read")
        return file.read_bytes()
    except OSError as error:
        raise DamagedImageError(f"{file.name} cannot be read: {error.strerror}") from error
