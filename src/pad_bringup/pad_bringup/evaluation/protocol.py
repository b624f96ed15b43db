"""`pad evaluate --protocol paper`: the paper's three splits, each counted with causes, beside the paper's figures."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from pad_bringup import store
from pad_bringup.errors import EvaluationError
from pad_bringup.evaluation import paper
from pad_bringup.evaluation.evaluate import EvaluationOptions, demonstration_of, summary
from pad_bringup.evaluation.lock_step import Setting, evaluate_in_lock_step
from pad_bringup.evaluation.result import MODES, EpisodeRecord, Evaluation, Mode
from pad_bringup.progress import StageProgress
from pad_bringup.splits import SPLITS, Split
from pad_parse.files import write_atomically
from pad_policy.bundle import PolicyBundle

PROTOCOLS = ("paper",)
TRIALS = paper.TRIALS
FIRST_TRIAL = 2000
"""Seed of the first trial: neither the demonstrations' nor those of `pad evaluate` without a protocol."""
CAMERA_RATE = 15.0
"""Images per simulated second, as the node graph's camera has by default."""
LONG_LOSS = 1.0
"""s without a break for which a keypoint may be lost."""


@dataclass(frozen=True)
class ProtocolOptions:
    """What can be chosen.

    Attributes:
        policy: folder.
        trials: of each split.
        mode: vision, graph, or state (the true keypoints: what the policy alone does).
        seed: of the first trial; all splits have the same seeds.
        workers: processes in the lock-step modes.
        robot: robot profile, by name or path.
        time_limit: s, simulated, after which a trial has failed.
        clips: folder for videos of every failure and of each split's first success.
        demonstration: whose keypoints are looked for; None: the one of the policy's own run.
        splits: which of them.
    """

    policy: Path
    trials: int = TRIALS
    mode: Mode = "vision"
    seed: int = FIRST_TRIAL
    workers: int = 1
    robot: str = "ur5e_pair"
    time_limit: float = 30.0
    clips: Path | None = None
    demonstration: Path | None = None
    splits: tuple[Split, ...] = SPLITS


class ProtocolResult(BaseModel):
    """What came out.

    Attributes:
        protocol: its name.
        task: by name. mode: where the keypoints come from and what carries the policy out. trials: of each split.
        both_sides: whether the spatial trials also had the objects on the other hand's side.
        tracks_lost: share of the trials in which a keypoint was lost for over `LONG_LOSS` s without a break; None where
            nothing was tracked.
        splits: the evaluations. paper: its real robot's successes of 12, by split; None where it has no such task.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    protocol: Literal["paper"] = "paper"
    task: str
    mode: Mode
    trials: int
    both_sides: bool
    tracks_lost: float | None
    splits: dict[Split, Evaluation]
    paper: dict[str, int] | None

    def save(self, path: Path) -> None:
        """Write as JSON, as a whole."""
        write_atomically(path, self.model_dump_json(indent=1) + "\n")

    def table(self) -> list[str]:
        """Lines for people: a table, the causes, and what must be known to read them."""
        lines = [f"{self.task}, {self.mode} mode", f"{'split':<12}{'ours':>8}{'95 % interval':>16}   paper's robot"]
        for name, found in self.splits.items():
            good = round(found.success * found.episodes)
            low, high = (round(100 * bound) for bound in found.wilson95)
            theirs = "-" if self.paper is None else f"{self.paper[name]}/{paper.TRIALS}"
            lines.append(f"{name:<12}{f'{good}/{found.episodes}':>8}{f'{low} to {high} %':>16}   {theirs}")
            lines += [f"  {count} x {cause}" for cause, count in found.causes.items()]
        if self.tracks_lost is not None:
            lines.append(f"trials with a keypoint lost for over {LONG_LOSS:g} s: {100 * self.tracks_lost:.0f} %")
        if not self.both_sides:
            lines.append("sides: as demonstrated; the policy's task does not swap them (swap_sides)")
        return [*lines, paper.NOTE]


def evaluate_by_protocol(
    options: ProtocolOptions, progress: StageProgress, keep: Callable[[ProtocolResult], None] = lambda result: None
) -> ProtocolResult:
    """Run all splits.

    keep: called with the result so far after every trial.

    Raises:
        EvaluationError: options that do not go together, or something is missing.
        PolicyError, PadAugmentError, PadParseError, PadBringupError: what is loaded is wrong or does not fit together.
    """
    if options.mode not in MODES:
        raise EvaluationError(f"there is no mode {options.mode!r}; there are: {', '.join(MODES)}")
    if options.trials < 1 or options.workers < 1:
        raise EvaluationError(f"--trials and --workers must be at least 1; got {options.trials} and {options.workers}")
    task = PolicyBundle.load(options.policy).task
    if options.mode != "state":
        known = options.demonstration or demonstration_of(task.name, options.policy, progress)
        options = replace(options, demonstration=known)
    found: dict[Split, Evaluation] = {}

    def so_far() -> ProtocolResult:
        counts = paper.SUCCESSES.get(task.name)
        return ProtocolResult(
            task=task.name,
            mode=options.mode,
            trials=options.trials,
            both_sides=task.swap_sides,
            tracks_lost=tracks_lost([record for split in found.values() for record in split.results]),
            splits=dict(found),
            paper=None if counts is None else counts._asdict(),
        )

    for split in options.splits:
        with progress.stage(split) as update:

            def told(done: int, good: int) -> None:
                update(done / options.trials, f"{good} of {done} trials succeeded")

            def take(records: list[EpisodeRecord], name: Split = split) -> None:
                found[name] = summary(_evaluation_options(options), task.name, "policy", records)
                keep(so_far())

            take(run_split(options, task.name, split, told, progress.say, take))
    return so_far()


def run_split(
    options: ProtocolOptions,
    task: str,
    split: Split,
    progress: Callable[[int, int], None],
    tell: Callable[[str], None],
    keep: Callable[[list[EpisodeRecord]], None],
) -> list[EpisodeRecord]:
    """All trials of one split.

    progress: called with the number of trials done and of successes. keep: with the records so far after every trial.
    """
    seeds = range(options.seed, options.seed + options.trials)
    clips = None if options.clips is None else options.clips / split
    if options.mode == "graph":
        from pad_bringup.evaluation.in_graph import evaluate_in_graph

        assert options.demonstration is not None
        return evaluate_in_graph(
            options.policy,
            options.demonstration,
            task,
            options.robot,
            seeds,
            store.cache_home() / "logs" / f"protocol-{os.getpid()}" / split,
            time_limit=options.time_limit,
            clips=clips,
            progress=progress,
            tell=tell,
            split=split,
            keep=keep,
        )
    setting = Setting(
        policy=options.policy,
        vision=options.mode == "vision",
        robot=options.robot,
        time_limit=options.time_limit,
        demonstration=options.demonstration,
        split=split,
        camera_rate=CAMERA_RATE,
    )
    return evaluate_in_lock_step(setting, seeds, workers=options.workers, clips=clips, progress=progress, keep=keep)


def tracks_lost(records: Sequence[EpisodeRecord]) -> float | None:
    """Share of the trials in which a keypoint was lost for over `LONG_LOSS` s; None where nothing was tracked.

    A trial without localisation has no tracks that could be lost, and does not count.
    """
    tracked = [record.longest_loss for record in records if record.longest_loss is not None]
    return round(sum(loss > LONG_LOSS for loss in tracked) / len(tracked), 4) if tracked else None


def _evaluation_options(options: ProtocolOptions) -> EvaluationOptions:
    return EvaluationOptions(
        options.policy, mode=options.mode, robot=options.robot, time_limit=options.time_limit, seed=options.seed
    )
