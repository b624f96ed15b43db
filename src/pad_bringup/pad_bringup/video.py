"""Small videos for the report, which every browser plays."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pad_bringup.errors import ReportError
from pad_parse.native_output import silenced_stderr


def write_webm(frames: Sequence[NDArray[np.uint8]], rate: float, path: str | os.PathLike[str]) -> Path:
    """Write frames (H, W, 3) uint8 RGB as VP8 in WebM; an existing file is replaced as a whole.

    rate: frames per second of the video.

    Raises:
        ReportError: no frames, frames of different sizes, or no encoder.
    """
    path = Path(path)
    if not frames:
        raise ReportError(f"there are no frames to write {path} from")
    height, width = frames[0].shape[:2]
    if any(frame.shape != (height, width, 3) for frame in frames):
        raise ReportError(f"the frames of {path} have different sizes")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.webm")
    with silenced_stderr():
        writer = cv2.VideoWriter(str(temporary), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"VP80"), rate, (width, height))
    if not writer.isOpened():
        raise ReportError("this OpenCV cannot write VP8 video; install opencv-python-headless from PyPI")
    try:
        for frame in frames:
            writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        writer.release()
        os.replace(temporary, path)
    except BaseException:
        writer.release()
        temporary.unlink(missing_ok=True)
        raise
    return path
