"""Files that lie beside a recording: its task annotation and its camera calibration."""

from __future__ import annotations

from pathlib import Path

from pad_parse.camera import Camera
from pad_parse.task import TaskSpec


def sidecar_path(recording: Path, name: str) -> Path:
    """`<folder>/<name>` for a bag folder, `<stem>.<name>` beside a file."""
    return recording / name if recording.is_dir() else recording.with_name(f"{recording.stem}.{name}")


def load_annotation(recording: Path) -> TaskSpec | None:
    """The task from `task.yaml` in a bag folder or `<stem>.task.yaml` beside a file; None if there is none."""
    path = sidecar_path(recording, "task.yaml")
    if not path.is_file() and recording.suffix == ".mcap":
        path = recording.parent / "task.yaml"
    return TaskSpec.load(path) if path.is_file() else None


def load_calibration(recording: Path) -> Camera | None:
    """The camera from `camera.yaml` in a bag folder or `<stem>.camera.yaml` beside a file; None if there is none."""
    path = sidecar_path(recording, "camera.yaml")
    if not path.is_file() and recording.suffix == ".mcap":
        path = recording.parent / "camera.yaml"
    return Camera.load(path) if path.is_file() else None
