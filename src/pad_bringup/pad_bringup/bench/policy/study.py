"""What the sections share: one dataset, trainings and evaluations, each kept as a file so that a killed run goes on.

In the work folder: `source.demo.h5` (the synthetic human's pour, parsed), `dataset_<variant>` (generated from it),
`policies/<name>`, and `cells/<name>.json`, the result of one training or of one evaluation.
"""

from __future__ import annotations

import json
import resource as usage
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from pad_augment.config import GeneratorConfig
from pad_augment.generator import generate
from pad_augment.grounding import ground
from pad_bringup.bench.benchmark import BenchSettings, Say
from pad_bringup.bench.extent import BenchExtent
from pad_bringup.cell.objects import load_objects
from pad_bringup.evaluation.evaluate import FIRST_UNSEEN, EvaluationOptions, summary
from pad_bringup.evaluation.lock_step import Setting, evaluate_in_lock_step
from pad_bringup.evaluation.result import Evaluation
from pad_bringup.recordings import synthetic_recording
from pad_bringup.resources import named_or_path
from pad_bringup.retarget import shown_instance
from pad_parse.demonstration import Demonstration
from pad_parse.files import write_atomically
from pad_parse.parser import parse
from pad_parse.recording import open_recording

TASK, ROBOT = "pour", "ur5e_pair"
RECOVERY, NO_RECOVERY = "recovery", "no_recovery"


class Extent(BenchExtent):
    """How much is tried; `--set NAME=VALUE`. Smaller figures are not for the record."""

    quick: ClassVar[dict[str, Any]] = {
        "demos": (20,),
        "training_seeds": 1,
        "placements": 2,
        "vision_episodes": 1,
        "updates": 20,
        "ablation_demos": 20,
    }

    demos: tuple[int, ...] = Field((100, 250, 500, 750, 1000), min_length=1, description="points of the curve")
    training_seeds: int = Field(3, ge=1, le=20, description="trainings per point of the curve")
    placements: int = Field(100, ge=1, description="unseen placements per training")
    vision_episodes: int = Field(50, ge=1, description="placements in vision mode, and again with an object moved")
    updates: int = Field(
        8000, ge=2, description="optimiser steps for 1000 demonstrations; in proportion for others, half at the least"
    )
    ablation_demos: int = Field(1000, ge=20, description="demonstrations for each row of the ablations")
    workers: int = Field(1, ge=1, description="processes that run episodes")


class Study:
    """The work folder, and what is in it already."""

    def __init__(self, settings: BenchSettings, say: Say) -> None:
        self.extent = Extent.of(settings)
        self.work = settings.work
        self.seed = settings.seed
        self.say = say

    @property
    def most_demos(self) -> int:
        """How many demonstrations the dataset has."""
        return max(*self.extent.demos, self.extent.ablation_demos)

    def source(self) -> Path:
        """The parsed demonstration."""
        path = self.work / "source.demo.h5"
        if not path.exists():
            recording, _ = synthetic_recording(TASK, self.seed, lambda stage, fraction: None)
            shown = parse(open_recording(recording), TASK)
            replace(shown, segments=ground(shown)).save(path)
        return path

    def dataset(self, variant: str = RECOVERY) -> Path:
        """The dataset, with the generator's defaults or without recovery data; an unfinished one is gone on with."""
        path = self.work / f"dataset_{variant}_{self.most_demos}"
        if not path.exists():
            self.say(f"generating {self.most_demos} demonstrations ({variant})")
            options = {"recovery_probability": 0.0, "displacement_probability": 0.0} if variant == NO_RECOVERY else {}
            demonstration = Demonstration.load(self.source())
            generate(
                demonstration,
                named_or_path(ROBOT, "config", "robots"),
                path,
                self.most_demos,
                self.seed,
                planner="roboplan",
                workers=self.extent.workers,
                shapes=shown_instance(demonstration, load_objects(TASK)).shapes,
                config=GeneratorConfig.from_options(**options),
            )
        return path

    def policy(self, name: str, demos: int, *, variant: str = RECOVERY, **options: object) -> Path:
        """The policy of that name, trained on the first `demos` demonstrations; an unfinished one is gone on with.

        options: of the `TrainingConfig`.
        """
        from pad_policy.bundle import MANIFEST
        from pad_policy.config import TrainingConfig
        from pad_policy.training import train

        path = self.work / "policies" / name
        if not (path / MANIFEST).exists():
            self.say(f"training {name}")
            config = TrainingConfig.from_options(
                **{"updates": self._updates(demos), "episodes": demos, "seed": self.seed, **options}
            )
            began = _cpu_seconds()
            train(self.dataset(variant), path, config, notice=lambda line: None)
            write_atomically(path / "train_cpu_s.json", json.dumps(_cpu_seconds() - began) + "\n")
        return path

    def _updates(self, demos: int) -> int:
        return round(self.extent.updates * max(0.5, demos / 1000))

    def train_seconds(self, policy: Path) -> float:
        """CPU-s of its training; of the last part where it was interrupted."""
        return float(json.loads((policy / "train_cpu_s.json").read_text()))

    def with_steps(self, policy: Path, steps: int) -> Path:
        """The same weights with another number of flow steps."""
        from pad_policy.bundle import MANIFEST

        path = policy.with_name(f"{policy.name}_steps{steps}")
        if not path.exists():
            partial = path.with_name(f".{path.name}")
            shutil.rmtree(partial, ignore_errors=True)
            shutil.copytree(policy, partial)
            manifest = json.loads((partial / MANIFEST).read_text())
            write_atomically(partial / MANIFEST, json.dumps(manifest | {"denoising_steps": steps}, indent=1))
            partial.rename(path)
        return path

    def evaluation(self, name: str, policy: Callable[[], Path], episodes: int, **options: Any) -> Evaluation:
        """The evaluation of that name, from its file or run now.

        policy: makes the policy folder if it has to be run. options: of the `Setting`.
        """
        path = self.work / "cells" / f"{name}.json"
        if path.exists():
            return Evaluation.model_validate_json(path.read_text())
        setting = Setting(policy(), robot=ROBOT, **options)
        seeds = range(FIRST_UNSEEN, FIRST_UNSEEN + episodes)
        records = evaluate_in_lock_step(setting, seeds, workers=self.extent.workers)
        chosen = EvaluationOptions(
            setting.policy,
            mode="vision" if setting.vision else "state",
            robot=ROBOT,
            time_limit=setting.time_limit,
            disturbed=setting.disturbed,
        )
        result = summary(chosen, TASK, setting.baseline or "policy", records)
        result.save(path)
        self.say(f"{name}: {result.words()} {result.causes or ''}")
        return result


def _cpu_seconds() -> float:
    """CPU time of this process and of its ended children, s."""
    own, children = usage.getrusage(usage.RUSAGE_SELF), usage.getrusage(usage.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
