"""Where the newest results of each task are: what `up` and the launch files run when nothing else is named."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from pad_parse.files import write_atomically


@dataclass(frozen=True)
class Results:
    """Files of one finished training: the localisation's demonstration, the policy folder, the camera file."""

    demonstration: str
    policy: str
    calibration: str


def data_home() -> Path:
    """The user's data folder of PAD ($XDG_DATA_HOME/pad, else ~/.local/share/pad); not created."""
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "pad"


def cache_home() -> Path:
    """The user's cache folder of PAD ($XDG_CACHE_HOME/pad, else ~/.cache/pad); not created."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "pad"


def calibration_file() -> Path:
    """The camera file of this machine's real camera, which `pad calibrate` writes; it need not exist."""
    return data_home() / "camera.yaml"


def remember(task: str, results: Results) -> Path:
    """Make `results` the newest ones of `task`; returns the file that says so."""
    path = data_home() / "results" / f"{task}.json"
    write_atomically(path, json.dumps(asdict(results), indent=1) + "\n")
    return path


def newest(task: str) -> Results | None:
    """The newest results of `task` whose files still exist, or None."""
    path = data_home() / "results" / f"{task}.json"
    try:
        results = Results(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    files = (Path(results.demonstration), Path(results.calibration))
    return results if all(path.is_file() for path in files) and Path(results.policy).is_dir() else None
