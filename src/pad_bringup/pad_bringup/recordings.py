"""The recording that a run starts from: the one that is named, or the synthetic human's, generated once and kept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from pad_bringup import store
from pad_bringup.resources import share_directory
from pad_parse.task import user_tasks

_SOURCES = ("config/objects", "config/demonstrations", "config/cameras", "config/robots", "description", "tasks")


def synthetic_recording(
    task: str, seed: int, progress: Callable[[str, float], None] | None = None
) -> tuple[Path, bool]:
    """The synthetic human's recording of `task`, from the cache or made now; with whether it was made now.

    The recorder writes whole or not at all, so an interrupted run leaves nothing that looks finished.
    progress: called with (stage, fraction).
    """
    place = store.cache_home() / "recordings" / f"{task}-{seed}-{_fingerprint(task)}"
    if (place / "metadata.yaml").is_file():
        return place, False
    from pad_bringup.cell.human.recorder import record_demonstration

    record_demonstration(place, seed=seed, task=task, progress=progress)
    return place, True


def _fingerprint(task: str) -> str:
    """Changes with everything that decides what the recording looks like."""
    digest = hashlib.sha256()
    share = share_directory()
    folders = [Path(__file__).parent / "cell", *(share / name for name in _SOURCES)]
    own = user_tasks().get(task)
    if own is not None:
        folders.append(own.parent)
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.suffix in (".py", ".yaml", ".xacro", ".urdf"):
                digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]
