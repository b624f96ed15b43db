"""Find out what kind of recording a path is, and open it."""

from __future__ import annotations

import os
from pathlib import Path

from pad_parse.camera import Camera
from pad_parse.errors import RecordingError
from pad_parse.recording.bag import open_bag
from pad_parse.recording.bag_source import BAG_SUFFIXES, data_files
from pad_parse.recording.folder import CAMERA_FILE, open_folder
from pad_parse.recording.pairing import PAIRING_TOLERANCE, checked_tolerance
from pad_parse.recording.recording import Recording
from pad_parse.recording.video import VIDEO_SUFFIXES, open_video


def open_recording(
    path: str | os.PathLike[str],
    calibration: Camera | None = None,
    *,
    pairing_tolerance: float = PAIRING_TOLERANCE,
    colour_topic: str | None = None,
    depth_topic: str | None = None,
) -> Recording:
    """Open a rosbag2 (folder, .mcap, .db3), an RGB-D folder or a video (.mp4, .mov, .mkv, .avi, .webm, .m4v).

    The layout of an RGB-D folder is in the module `pad_parse.recording.folder`. A bag or folder without depth is read
    as a monocular recording, and says so in `assumptions`. What reading meets (drops, disorder, images without a
    partner, damage) is counted in `report`.

    Args:
        calibration: overrides the camera's pose (bag, RGB-D folder) or the whole camera (video); else the sidecar file
            (`camera.yaml`, `<stem>.camera.yaml`), then `/tf_static` or camera.json is used.
        pairing_tolerance: colour and depth images whose stamps lie further apart than this are no pair; seconds, 0 to
            1, default 0.02.
        colour_topic, depth_topic: image topics of a bag; without them the bag's own are found by type and name.

    Raises:
        RecordingError: missing, empty, truncated, corrupt, of an unknown kind, without the streams that are needed, or
        a tolerance out of range.
        CameraError, TaskError: a sidecar file (`camera.yaml`, `task.yaml`) is there but cannot be used.
    """
    path = Path(path)
    tolerance = checked_tolerance(pairing_tolerance)
    try:
        return _open(path, calibration, tolerance, colour_topic, depth_topic)
    except OSError as error:
        raise RecordingError(f"recording {path} cannot be read: {error.strerror or error}") from error


def _open(
    path: Path, calibration: Camera | None, tolerance: float, colour_topic: str | None, depth_topic: str | None
) -> Recording:
    if not path.exists():
        raise RecordingError(
            f"recording {path} does not exist; give a rosbag2 folder, an .mcap or .db3 file, an RGB-D folder or a video"
        )
    suffix = path.suffix.lower()
    if path.is_dir():
        if not any(path.iterdir()):
            raise RecordingError(f"recording {path} is an empty folder")
        if not (path / "metadata.yaml").is_file() and not data_files(path):
            if (path / CAMERA_FILE).is_file():
                return open_folder(path, calibration, pairing_tolerance=tolerance)
            raise RecordingError(
                f"folder {path} is no recording: a rosbag2 has metadata.yaml or {' or '.join(BAG_SUFFIXES)} files, an "
                f"RGB-D folder has {CAMERA_FILE}"
            )
    elif not path.is_file():
        raise RecordingError(f"recording {path} is neither a file nor a folder")
    elif path.stat().st_size == 0:
        raise RecordingError(f"recording {path} is empty (0 bytes)")
    elif suffix in VIDEO_SUFFIXES:
        return open_video(path, calibration)
    elif suffix not in BAG_SUFFIXES:
        raise RecordingError(
            f"recording {path} is of an unknown kind {suffix!r}; known: a rosbag2 folder, an RGB-D folder, "
            f"{', '.join(BAG_SUFFIXES + VIDEO_SUFFIXES)}"
        )
    return open_bag(path, calibration, pairing_tolerance=tolerance, colour_topic=colour_topic, depth_topic=depth_topic)
