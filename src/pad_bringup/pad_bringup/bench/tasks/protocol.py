"""Every task from its recording to the paper's protocol: one demonstration each, one policy for each training seed.

In the work folder, per task: `TASK/source.demo.h5`, `TASK/dataset_<demos>`, `TASK/policy_seed<n>`, `TASK/seed<n>.json`
(a `ProtocolResult`), `TASK/clips`. What is finished is kept: the same command goes on where it was stopped.
`summary.json` has the table, the confusion of causes of each task and its three worst clips; `pad gallery` shows the
folder.
"""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from pad_augment.generator import generate
from pad_augment.grounding import ground
from pad_bringup.bench.benchmark import BenchSettings, Say
from pad_bringup.bench.extent import BenchExtent
from pad_bringup.cell.objects import load_objects
from pad_bringup.evaluation.protocol import ProtocolOptions, ProtocolResult, evaluate_by_protocol
from pad_bringup.evaluation.result import EpisodeRecord
from pad_bringup.progress import StageProgress
from pad_bringup.recordings import synthetic_recording
from pad_bringup.resources import named_or_path, share_directory
from pad_bringup.retarget import shown_instance
from pad_bringup.splits import SPLITS
from pad_parse.demonstration import Demonstration
from pad_parse.files import write_atomically
from pad_parse.parser import parse
from pad_parse.recording import open_recording

KEYS = ("tasks", *SPLITS, "trials_per_split", "seeds", "recording_to_policy_max_s")
ROBOT = "ur5e_pair"
WORST = 3


class Extent(BenchExtent):
    """How much is tried; `--set NAME=VALUE`. Smaller figures are not for the record."""

    quick: ClassVar[dict[str, Any]] = {"tasks": ("pour",), "demos": 20, "training_seeds": 1, "trials": 1, "updates": 20}

    tasks: tuple[str, ...] = Field((), description="names; none: all of the package's tasks in the cell")
    demos: int = Field(1000, ge=20, description="augmented demonstrations of each task")
    training_seeds: int = Field(3, ge=1, le=20, description="trainings of each task")
    trials: int = Field(8, ge=1, description="of each split and training seed")
    updates: int = Field(4000, ge=2, description="optimiser steps of a training")
    sides: bool = Field(True, description="whether the objects also stand on the other hand's side (swap_sides)")
    workers: int = Field(2, ge=1, description="processes that generate demonstrations and run trials")

    def task_names(self) -> tuple[str, ...]:
        """The tasks to try."""
        return self.tasks or tuple(sorted(p.stem for p in (share_directory() / "config" / "objects").glob("*.yaml")))


def measure(settings: BenchSettings, say: Say) -> dict[str, float | None]:
    """Mean success of each split over tasks and training seeds, 0 to 1; trials per split of a task over all seeds.

    recording_to_policy_max_s: wall-clock of the slowest task from its recording to its first policy: parsing,
    generating, training.
    """
    extent = Extent.of(settings)
    results: dict[str, list[ProtocolResult]] = {}
    seconds: dict[str, float] = {}
    for task in extent.task_names():
        job = _Task(task, settings, extent, say)
        results[task] = [job.result(settings.seed + k) for k in range(extent.training_seeds)]
        seconds[task] = job.seconds()
    _write_summary(settings.work / "summary.json", results, seconds)
    figures: dict[str, float | None] = {
        split: float(np.mean([one.splits[split].success for found in results.values() for one in found]))
        for split in SPLITS
    }
    for task, found in results.items():
        for result in found:
            say("\n".join(result.table()))
        say(f"{task}: recording to policy {seconds[task]:.0f} s")
    return {
        "tasks": float(len(results)),
        **figures,
        "trials_per_split": float(extent.trials * extent.training_seeds),
        "seeds": float(extent.training_seeds),
        "recording_to_policy_max_s": max(seconds.values()),
    }


class _Task:
    """One task's part of the work folder."""

    def __init__(self, name: str, settings: BenchSettings, extent: Extent, say: Say) -> None:
        self._name, self._extent, self._say = name, extent, say
        self._first_seed = settings.seed
        self._folder = settings.work / name
        self._folder.mkdir(parents=True, exist_ok=True)

    def seconds(self) -> float:
        """Wall-clock s of parsing, generating and the first training; of the last part of one that was interrupted."""
        parts = json.loads((self._folder / "seconds.json").read_text())
        return float(parts["parse"] + parts["dataset"] + parts[f"policy_seed{self._first_seed}"])

    def result(self, seed: int) -> ProtocolResult:
        """The protocol's result of one training seed, from its file or run now."""
        path = self._folder / f"seed{seed}.json"
        if path.exists():
            return ProtocolResult.model_validate_json(path.read_text())
        policy = self._policy(seed)
        options = ProtocolOptions(
            policy,
            trials=self._extent.trials,
            workers=self._extent.workers,
            robot=ROBOT,
            seed=2000 + 1000 * seed,
            clips=self._folder / "clips" / f"seed{seed}",
            demonstration=self._source(),
        )
        with StageProgress() as progress:
            found = evaluate_by_protocol(options, progress)
        found.save(path)
        return found

    def _source(self) -> Path:
        path = self._folder / "source.demo.h5"
        if not path.exists():
            recording, _ = synthetic_recording(self._name, 0, lambda stage, fraction: None)
            began = time.monotonic()
            shown = parse(open_recording(recording), self._name)
            if self._extent.sides:
                shown = replace(shown, task=shown.task.model_copy(update={"swap_sides": True}))
            replace(shown, segments=ground(shown)).save(path)
            self._took("parse", began)
        return path

    def _dataset(self) -> Path:
        path = self._folder / f"dataset_{self._extent.demos}"
        if not path.exists():  # an unfinished one has another name, and is gone on with
            source = Demonstration.load(self._source())
            began = time.monotonic()
            self._say(f"{self._name}: generating {self._extent.demos} demonstrations")
            generate(
                source,
                named_or_path(ROBOT, "config", "robots"),
                path,
                self._extent.demos,
                0,
                planner="roboplan",
                workers=self._extent.workers,
                shapes=shown_instance(source, load_objects(self._name)).shapes,
            )
            self._took("dataset", began)
        return path

    def _policy(self, seed: int) -> Path:
        from pad_policy.bundle import MANIFEST
        from pad_policy.config import TrainingConfig
        from pad_policy.training import train

        path = self._folder / f"policy_seed{seed}"
        if not (path / MANIFEST).exists():
            dataset = self._dataset()
            began = time.monotonic()
            self._say(f"{self._name}: training, seed {seed}")
            config = TrainingConfig.from_options(updates=self._extent.updates, seed=seed)
            train(dataset, path, config, notice=lambda line: None)
            self._took(path.name, began)
        return path

    def _took(self, part: str, began: float) -> None:
        file = self._folder / "seconds.json"
        known = json.loads(file.read_text()) if file.exists() else {}
        write_atomically(file, json.dumps(known | {part: round(time.monotonic() - began, 2)}, indent=1) + "\n")


def worst(records: Sequence[EpisodeRecord], count: int = WORST) -> list[EpisodeRecord]:
    """The filmed failures that went wrong first in the task, then by time."""
    filmed = [record for record in records if not record.success and record.clip is not None]
    return sorted(filmed, key=lambda record: (record.stage != "localisation", _began(record), record.seed))[:count]


def _began(record: EpisodeRecord) -> float:
    """s at which it went wrong, as its detail says; its duration where that says nothing."""
    words = record.detail.split(" after ", 1)
    try:
        return float(words[1].split(" s", 1)[0])
    except (IndexError, ValueError):
        return record.duration


def confusion(found: Sequence[ProtocolResult]) -> dict[str, dict[str, int]]:
    """Cause -> split -> how often, over training seeds; most frequent first."""
    counts: Counter[str] = Counter()
    table: dict[str, Counter[str]] = {}
    for result in found:
        for split, evaluation in result.splits.items():
            for cause, count in evaluation.causes.items():
                counts[cause] += count
                table.setdefault(cause, Counter())[split] += count
    return {cause: {split: table[cause][split] for split in SPLITS} for cause, _ in counts.most_common()}


def _write_summary(path: Path, results: dict[str, list[ProtocolResult]], seconds: dict[str, float]) -> None:
    """Per task: success of each split, lost tracks, causes, the worst clips, copied to `worst/`."""
    summary: dict[str, Any] = {}
    for task, found in results.items():
        lost = [result.tracks_lost for result in found if result.tracks_lost is not None]
        records = [record for result in found for split in result.splits.values() for record in split.results]
        clips = []
        for number, record in enumerate(worst(records)):
            source = Path(str(record.clip))
            if source.is_file():
                target = path.parent / task / "worst" / f"{number + 1}-{source.parent.name}-{source.name}"
                target.parent.mkdir(exist_ok=True)
                shutil.copyfile(source, target)
                clips.append({"clip": str(target), "cause": record.detail})
        summary[task] = {
            **{split: float(np.mean([result.splits[split].success for result in found])) for split in SPLITS},
            "paper": found[0].paper,
            "tracks_lost": float(np.mean(lost)) if lost else None,
            "causes": confusion(found),
            "worst": clips,
            "recording_to_policy_s": seconds[task],
        }
    write_atomically(path, json.dumps(summary, indent=1) + "\n")
