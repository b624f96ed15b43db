"""Video files: colour only, read frame by frame."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from pad_parse.camera import ASSUMED_HORIZONTAL_FOV, Camera
from pad_parse.errors import RecordingError
from pad_parse.native_output import silenced_stderr
from pad_parse.recording.encoded import MAX_PIXELS
from pad_parse.recording.recording import Frame, Recording
from pad_parse.recording.report import Tally
from pad_parse.recording.sidecar import load_annotation, load_calibration

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v")

# FFmpeg writes to stderr by itself; the one clear line of a RecordingError says it instead.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")


@dataclass(eq=False)
class VideoRecording(Recording):
    """A video file. Without a `<stem>.camera.yaml` its intrinsics are assumed and said so in `assumptions`."""

    fps: float = 30.0

    def _read(self, tally: Tally) -> Iterator[Frame]:
        capture = _open(self.path)
        index, last = 0, -np.inf
        try:
            while True:
                ok, image = capture.read()
                if not ok:
                    break
                stamp = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
                # Some containers give no or constant times; the frame rate then has to do.
                if not np.isfinite(stamp) or stamp <= last:
                    stamp = index / self.fps if index / self.fps > last else last + 1 / self.fps
                if image.shape[:2] != (self.camera.height, self.camera.width):
                    raise RecordingError(
                        f"video {self.path} changes its size at frame {index} to {image.shape[1]} x {image.shape[0]}"
                    )
                index, last = index + 1, stamp
                yield Frame(float(stamp), np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8), None)
        finally:
            capture.release()
        if index < 0.8 * self.frame_count:
            raise RecordingError(
                f"video {self.path} is truncated or corrupt: only {index} of its {self.frame_count} frames "
                "can be decoded"
            )


def open_video(path: Path, calibration: Camera | None = None) -> VideoRecording:
    """Open a video file; one frame is decoded to prove that it can be read.

    Raises:
        RecordingError: no video, empty, truncated, or a calibration of another image size.
    """
    capture = _open(path)
    try:
        ok, image = capture.read()
        count = int(max(0, min(capture.get(cv2.CAP_PROP_FRAME_COUNT), 1e7)))
        fps = float(capture.get(cv2.CAP_PROP_FPS))
    finally:
        capture.release()
    if not ok or image is None or image.ndim != 3:
        raise RecordingError(f"video {path} has no frame that can be decoded; it is empty, truncated or corrupt")
    assumptions = []
    if not (1.0 <= fps <= 1000.0):
        fps = 30.0
        assumptions.append("The video states no frame rate; 30 frames/s are assumed.")
    height, width = image.shape[:2]
    if height * width > MAX_PIXELS:
        raise RecordingError(f"video {path} states {width} x {height} pixels; at most {MAX_PIXELS} are read")
    camera = calibration or load_calibration(path)
    if camera is None:
        camera = Camera.from_horizontal_fov(width, height, ASSUMED_HORIZONTAL_FOV)
        assumptions.append(
            "The video has no camera calibration; a horizontal field of view of "
            f"{np.rad2deg(ASSUMED_HORIZONTAL_FOV):.0f} "
            f"degrees is assumed (give {path.stem}.camera.yaml beside it)."
        )
    elif (camera.width, camera.height) != (width, height):
        raise RecordingError(
            f"the calibration of {path} is for {camera.width} x {camera.height} pixels; the video has "
            f"{width} x {height}"
        )
    return VideoRecording(
        path=path,
        camera=camera,
        has_depth=False,
        frame_count=count,
        duration=count / fps,
        topics=[],
        annotation=load_annotation(path),
        assumptions=assumptions,
        fps=fps,
    )


def _open(path: Path) -> cv2.VideoCapture:
    try:
        # OpenCV writes a warning of its own before the clear error below
        with silenced_stderr():
            capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    except cv2.error as error:
        raise RecordingError(f"video {path} cannot be opened: {error.err}") from error
    if not capture.isOpened():
        capture.release()
        raise RecordingError(f"video {path} cannot be opened; it is no video, or truncated or corrupt")
    return capture
