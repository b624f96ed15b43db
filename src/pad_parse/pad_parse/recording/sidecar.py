"""Files that lie beside a recording: its task annotation and its camera calibration."""

from __future__ import annotations

from pathlib import Path

from pad_parse.camera import Camera
from pad_parse.recording.bag_source import BAG_SUFFIXES
from pad_parse.task import TaskSpec


def sidecar_path(recording: Path, name: str) -> Path:
    """`<folder>/<name>` for a folder, `<stem>.<name>` beside a file."""
    return recording / name if recording.is_dir() else recording.with_name(f"{recording.stem}.{name}")


def load_annotation(recording: Path) -> TaskSpec | None:
    """The task from `task.yaml` in a folder or `<stem>.task.yaml` beside a file; None if there is none.

    A bag's data file given by itself also takes the `task.yaml` of its folder.

    Raises:
        TaskError: the file is there but cannot be used.
    """
    path = _existing(recording, "task.yaml")
    return None if path is None else TaskSpec.load(path)


def load_calibration(recording: Path) -> Camera | None:
    """The camera from `camera.yaml` in a folder or `<stem>.camera.yaml` beside a file; None if there is none.

    A bag's data file given by itself also takes the `camera.yaml` of its folder.

    Raises:
        CameraError: the file is there but cannot be used.
    """
    path = _existing(recording, "camera.yaml")
    return None if path is None else Camera.load(path)


def _existing(recording: Path, name: str) -> Path | None:
    candidates = [sidecar_path(recording, name)]
    if recording.suffix.lower() in BAG_SUFFIXES:
        candidates.append(recording.parent / name)
    return next((path for path in candidates if path.is_file()), None)
