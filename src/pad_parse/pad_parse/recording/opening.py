"""Find out what kind of recording a path is, and open it."""

from __future__ import annotations

import os
from pathlib import Path

from pad_parse.camera import Camera
from pad_parse.errors import RecordingError
from pad_parse.recording.bag import open_bag
from pad_parse.recording.recording import Recording
from pad_parse.recording.video import VIDEO_SUFFIXES, open_video

BAG_SUFFIXES = (".mcap", ".db3")


def open_recording(path: str | os.PathLike[str], calibration: Camera | None = None) -> Recording:
    """Open a rosbag2 (folder, .mcap or .db3) or a video file (.mp4, .mov, .mkv, .avi, .webm, .m4v).

    Args:
        calibration: overrides the camera's pose (bag) or the whole camera (video); else the sidecar file
            (`camera.yaml`, `<stem>.camera.yaml`), then `/tf_static` is used.

    Raises:
        RecordingError: missing, empty, truncated, corrupt, of an unknown kind, or without the streams that are
        needed.
    """
    path = Path(path)
    if not path.exists():
        raise RecordingError(f"recording {path} does not exist; give a rosbag2 folder, an .mcap file or a video file")
    suffix = path.suffix.lower()
    if path.is_dir():
        if not any(path.iterdir()):
            raise RecordingError(f"recording {path} is an empty folder")
        if not (path / "metadata.yaml").is_file():
            inside = sorted(p.name for p in path.iterdir() if p.suffix.lower() in BAG_SUFFIXES)
            if len(inside) != 1:
                raise RecordingError(
                    f"folder {path} is no rosbag2: it has no metadata.yaml and not exactly one .mcap file"
                )
            path = path / inside[0]
        return open_bag(path, calibration)
    if path.stat().st_size == 0:
        raise RecordingError(f"recording {path} is empty (0 bytes)")
    if suffix in BAG_SUFFIXES:
        return open_bag(path, calibration)
    if suffix in VIDEO_SUFFIXES:
        return open_video(path, calibration)
    raise RecordingError(
        f"recording {path} is of an unknown kind {suffix!r}; known: a rosbag2 folder, "
        f"{', '.join(BAG_SUFFIXES + VIDEO_SUFFIXES)}"
    )
