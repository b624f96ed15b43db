"""The folder of one run: where everything is, and what has been finished, written as it happens."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from pad_bringup.errors import DemoError
from pad_parse.files import write_atomically

SCHEMA_VERSION = 1


@dataclass
class StageResult:
    """One finished stage.

    Attributes:
        seconds: how long it took.
        note: its outcome in a few words.
        values: its figures, JSON types only.
    """

    seconds: float
    note: str = ""
    values: dict[str, Any] = field(default_factory=dict)


class RunFolder:
    """Paths and `run.json` of one run. The folder is made with the first thing that is written."""

    def __init__(self, path: str | os.PathLike[str], options: dict[str, Any]) -> None:
        self.path = Path(path)
        self.options = options
        self.created = datetime.now().astimezone()
        self.stages: dict[str, StageResult] = {}
        self.demonstration = self.path / "demonstration.demo.h5"
        self.in_cell = self.path / "in_cell.demo.h5"
        self.overlay = self.path / "overlay.webm"
        self.dataset = self.path / "dataset"
        self.policy = self.path / "policy"
        self.logs = self.path / "logs"
        self.episodes = self.path / "episodes.json"
        self.clip = self.path / "clip.webm"
        self.report = self.path / "report.html"

    @classmethod
    def fresh(cls, task: str, out: str | os.PathLike[str] | None, options: dict[str, Any]) -> RunFolder:
        """A folder for a new run: `out`, or runs/<task>-<time>.

        Raises:
            DemoError: `out` holds something, or cannot be written.
        """
        path = Path(out) if out is not None else Path("runs") / f"{task}-{datetime.now():%Y%m%d-%H%M%S}-{os.getpid()}"
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise DemoError(f"{path} exists already and is not empty; choose another folder with --out")
        parent = next(p for p in path.absolute().parents if p.exists())
        if not os.access(parent, os.W_OK):
            raise DemoError(f"{path} cannot be made: {parent} is not writable; choose another folder with --out")
        return cls(path, options)

    def finish(self, stage: str, began: float, note: str = "", **values: Any) -> StageResult:
        """Note that a stage is finished.

        began: `time.monotonic()` at its start.
        """
        result = StageResult(time.monotonic() - began, note, values)
        self.stages[stage] = result
        content = {
            "schema_version": SCHEMA_VERSION,
            "created": self.created.isoformat(timespec="seconds"),
            "options": self.options,
            "stages": {name: asdict(stage_result) for name, stage_result in self.stages.items()},
        }
        write_atomically(self.path / "run.json", json.dumps(content, indent=1) + "\n")
        return result
