"""`pad evaluate`: one policy, one mode, many placements, and the baselines on the same ones."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from pad_bringup import store
from pad_bringup.errors import EvaluationError
from pad_bringup.evaluation.baselines import BASELINES, Baseline
from pad_bringup.evaluation.lock_step import Setting, evaluate_in_lock_step
from pad_bringup.evaluation.result import MODES, EpisodeRecord, Evaluation, Mode, Totals
from pad_bringup.progress import StageProgress
from pad_policy.bundle import PolicyBundle
from pad_policy.smoothing import SMOOTHINGS, Smoothing

FIRST_UNSEEN = 1000
"""Seed of the first placement: the demonstrations of the augmentation are drawn otherwise."""


@dataclass(frozen=True)
class EvaluationOptions:
    """What can be chosen.

    Attributes:
        policy: folder.
        mode: state, vision or graph.
        episodes: placements to try.
        seed: of the first placement; the others follow.
        workers: processes in the lock-step modes.
        robot: robot profile, by name or path.
        time_limit: s, simulated, after which an episode has failed.
        disturbed: whether an object is moved by hand while the arms reach for it; not in the graph.
        clips: folder for a video of every failure and of the first success.
        demonstration: whose keypoints are looked for (vision, graph), and the source of open-loop replay.
        baselines: what else to run on the same placements, from `dataset`.
        dataset: of generated demonstrations, which baselines replay.
        smoothing: of chunks, see `ChunkSmoother`.
    """

    policy: Path
    mode: Mode = "state"
    episodes: int = 20
    seed: int = FIRST_UNSEEN
    workers: int = 1
    robot: str = "ur5e_pair"
    time_limit: float = 30.0
    disturbed: bool = False
    clips: Path | None = None
    demonstration: Path | None = None
    baselines: tuple[Baseline, ...] = ()
    dataset: Path | None = None
    smoothing: Smoothing = "none"


def evaluate(
    options: EvaluationOptions, progress: StageProgress, keep: Callable[[Evaluation], None] = lambda result: None
) -> Evaluation:
    """Run all episodes.

    keep: called with the result so far after every episode.

    Raises:
        EvaluationError: options that do not go together, or something is missing.
        PolicyError, PadAugmentError, PadParseError, PadBringupError: what is loaded is wrong or does not fit together.
    """
    options = _checked(options)
    bundle = PolicyBundle.load(options.policy)
    if options.mode != "state" and options.demonstration is None:
        options = replace(options, demonstration=demonstration_of(bundle.task.name, options.policy, progress))
    task = bundle.task.name

    def keep_main(records: list[EpisodeRecord]) -> None:
        keep(summary(options, task, "policy", records))

    with progress.stage("evaluate") as update:

        def report(done: int, good: int) -> None:
            update(done / options.episodes, f"{good} of {done} episodes succeeded")

        if options.mode == "graph":
            records = _in_graph(options, task, report, progress, keep_main)
        else:
            records = evaluate_in_lock_step(
                _setting(options),
                _seeds(options),
                workers=options.workers,
                clips=options.clips,
                progress=report,
                keep=keep_main,
            )
    main = summary(options, task, "policy", records)
    keep(main)
    others: list[Evaluation] = []
    for baseline in options.baselines:
        with progress.stage(baseline) as update:

            def told(done: int, good: int) -> None:
                update(done / options.episodes, f"{good} of {done} episodes succeeded")

            def as_baseline(records: list[EpisodeRecord], name: Baseline = baseline) -> Evaluation:
                return summary(replace(options, mode="state"), task, name, records)

            def keep_baseline(records: list[EpisodeRecord]) -> None:
                keep(main.model_copy(update={"baselines": [*others, as_baseline(records)]}))

            setting = replace(_setting(options), baseline=baseline, vision=False)
            results = evaluate_in_lock_step(
                setting, _seeds(options), workers=options.workers, progress=told, keep=keep_baseline
            )
        others.append(as_baseline(results))
    return main.model_copy(update={"baselines": others})


def _checked(options: EvaluationOptions) -> EvaluationOptions:
    if options.mode not in MODES:
        raise EvaluationError(f"there is no mode {options.mode!r}; there are: {', '.join(MODES)}")
    if options.episodes < 1 or options.workers < 1:
        raise EvaluationError(
            f"--episodes and --workers must be at least 1; got {options.episodes} and {options.workers}"
        )
    if options.time_limit <= 0:
        raise EvaluationError(f"--time-limit must be above 0; got {options.time_limit:g}")
    if options.mode == "graph" and options.disturbed:
        raise EvaluationError("--disturb works in lock-step only; choose --mode state or vision")
    if options.smoothing not in SMOOTHINGS:
        raise EvaluationError(f"there is no smoothing {options.smoothing!r}; there are: {', '.join(SMOOTHINGS)}")
    for name in options.baselines:
        if name not in BASELINES:
            raise EvaluationError(f"there is no baseline {name!r}; there are: {', '.join(BASELINES)}")
    if options.baselines and options.dataset is None:
        raise EvaluationError("baselines replay generated demonstrations; give --dataset")
    return options


def demonstration_of(task: str, policy: Path, progress: StageProgress) -> Path:
    """The demonstration that the last demo localised with, if this policy is that demo's."""
    results = store.newest(task)
    if results is None or Path(results.policy).resolve() != policy.resolve():
        raise EvaluationError(
            f"which demonstration was policy {policy} made from? Its keypoints are looked for in the images; give "
            "--demonstration FILE.demo.h5"
        )
    progress.say(f"keypoints as in {results.demonstration}")
    return Path(results.demonstration)


def _seeds(options: EvaluationOptions) -> list[int]:
    return list(range(options.seed, options.seed + options.episodes))


def _setting(options: EvaluationOptions) -> Setting:
    return Setting(
        policy=options.policy,
        vision=options.mode == "vision",
        robot=options.robot,
        time_limit=options.time_limit,
        disturbed=options.disturbed,
        demonstration=options.demonstration,
        dataset=options.dataset,
        smoothing=options.smoothing,
    )


def _in_graph(
    options: EvaluationOptions,
    task: str,
    report: Callable[[int, int], None],
    progress: StageProgress,
    keep: Callable[[list[EpisodeRecord]], None],
) -> list[EpisodeRecord]:
    from pad_bringup.evaluation.in_graph import evaluate_in_graph

    assert options.demonstration is not None
    return evaluate_in_graph(
        options.policy,
        options.demonstration,
        task,
        options.robot,
        _seeds(options),
        store.cache_home() / "logs" / f"evaluate-{os.getpid()}",
        time_limit=options.time_limit,
        clips=options.clips,
        progress=report,
        tell=progress.say,
        smoothing=options.smoothing,
        keep=keep,
    )


def summary(options: EvaluationOptions, task: str, method: str, records: list[EpisodeRecord]) -> Evaluation:
    """The result of one way of acting ("policy" or a baseline's name)."""
    return Evaluation(
        **Totals.of(records).model_dump(),
        mode=options.mode,
        method=method,
        task=task,
        robot=options.robot,
        policy=str(options.policy.resolve()),
        disturbed=options.disturbed,
        smoothing=options.smoothing,
        time_limit=options.time_limit,
        results=records,
    )
