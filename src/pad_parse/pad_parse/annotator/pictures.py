"""The recording's frames as picture files that a page may ask for in any order."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path

import cv2
import numpy as np

from pad_parse.errors import PadParseError, RecordingError
from pad_parse.recording import Frame, Recording

WIDTH = 960
"""px; pictures for looking at the course of a recording are no wider."""
MOST = 3000
"""A longer recording is shown in steps, so that its pictures stay below about 300 MB of disk."""


class Pictures:
    """Reads a recording once, in the background, into a temporary folder.

    The first frame is there at once, in full size and without loss; the others follow, shrunk.
    """

    def __init__(self, recording: Recording) -> None:
        """Read the first frame.

        Raises:
            RecordingError: there is none.
        """
        self._recording = recording
        self.every = max(1, -(-recording.frame_count // MOST))
        first = next(iter(recording.frames()), None)
        if first is None:
            raise RecordingError(f"recording {recording.path} has no frame to annotate")
        self.first: Frame = first
        self._folder = tempfile.TemporaryDirectory(prefix="pad-annotate-")
        self._lock = threading.Lock()
        self._stamps: list[float] = []
        self._error = ""
        self._complete = False
        self._stop = threading.Event()
        _write(self._path(0), first.rgb, ".png", [cv2.IMWRITE_PNG_COMPRESSION, 1])
        self._thread = threading.Thread(target=self._read, daemon=True, name="annotator-pictures")
        self._thread.start()

    def close(self) -> None:
        """Stop reading and remove the folder."""
        self._stop.set()
        self._thread.join()
        self._folder.cleanup()

    def status(self) -> dict[str, object]:
        """`stamps` (s after the first frame) of the pictures that are there, `every` (frames from one to the next),
        `complete`, `error`.
        """
        with self._lock:
            return {
                "stamps": [round(stamp - self.first.stamp, 4) for stamp in self._stamps],
                "every": self.every,
                "complete": self._complete,
                "error": self._error,
            }

    def picture(self, index: int) -> tuple[str, bytes] | None:
        """Media type and bytes of picture `index`; None if it is not there (yet)."""
        with self._lock:
            known = index == 0 or 0 <= index < len(self._stamps)
        if not known:
            return None
        return ("image/png" if index == 0 else "image/jpeg"), self._path(index).read_bytes()

    def _path(self, index: int) -> Path:
        return Path(self._folder.name) / str(index)

    def _read(self) -> None:
        try:
            for number, frame in enumerate(self._recording.frames()):
                if self._stop.is_set():
                    return
                if number % self.every:
                    continue
                index = number // self.every
                if index:
                    _write(self._path(index), _shrunk(frame.rgb), ".jpg", [cv2.IMWRITE_JPEG_QUALITY, 82])
                with self._lock:
                    self._stamps.append(frame.stamp)
        except PadParseError as error:
            with self._lock:
                self._error = str(error)
        except OSError as error:
            with self._lock:
                self._error = f"the recording's pictures cannot be kept: {error}; is the disk full?"
        with self._lock:
            self._complete = True


def encode_png(rgb: np.ndarray) -> bytes:
    """(H, W, 3) uint8 as a PNG file."""
    _, data = cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 1])
    return bytes(data)


def _shrunk(rgb: np.ndarray) -> np.ndarray:
    height, width = rgb.shape[:2]
    if width <= WIDTH:
        return rgb
    return np.asarray(cv2.resize(rgb, (WIDTH, round(height * WIDTH / width)), interpolation=cv2.INTER_AREA))


def _write(path: Path, rgb: np.ndarray, kind: str, options: list[int]) -> None:
    _, data = cv2.imencode(kind, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), options)
    path.write_bytes(bytes(data))
