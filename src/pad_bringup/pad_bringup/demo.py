"""The main job: a recording becomes a policy that runs in the cell, stage by stage, each saved as it finishes."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pad_augment.generator import generate
from pad_augment.grounding import ground
from pad_bringup import store
from pad_bringup.cell.objects import load_objects
from pad_bringup.errors import DemoError, EpisodeError, SupervisorError
from pad_bringup.progress import StageProgress, Update
from pad_bringup.recordings import synthetic_recording
from pad_bringup.report import write_report
from pad_bringup.report.collect import collect, save_episodes
from pad_bringup.resources import named_or_path, resource
from pad_bringup.retarget import Instance, retarget, shown_instance
from pad_bringup.run_record import RunFolder
from pad_bringup.success import EpisodeResult, summarise
from pad_bringup.video import write_webm
from pad_parse.demonstration import Demonstration
from pad_parse.parser import parse
from pad_parse.recording import Recording, open_recording
from pad_parse.report import judge
from pad_parse.task import TaskSpec

if TYPE_CHECKING:
    from pad_bringup.episodes import Clip

_TRUTH_TOPIC = "/ground_truth/objects"
_FIRST_UNSEEN = 1000  # seeds of placements to test on start here


@dataclass(frozen=True)
class DemoOptions:
    """What can be chosen.

    Attributes:
        task: name of the task.
        recording: rosbag2 or video of a human; None: the synthetic human's.
        episodes: rollouts through the node graph.
        seed: decides placements, demonstrations and initial weights.
        demos: augmented demonstrations.
        updates: optimiser steps; None: the training's default.
        out: folder of the run; None: a new one in runs/.
        viewer: whether to serve the live viewer.
        robot: robot profile, by name or path.
        planner: planner of the augmentation.
        time_limit: simulated seconds after which an episode has failed.
    """

    task: str = "pour"
    recording: Path | None = None
    episodes: int = 10
    seed: int = 0
    demos: int = 300
    updates: int | None = None
    out: Path | None = None
    viewer: bool = True
    robot: str = "ur5e_pair"
    planner: str = "roboplan"
    time_limit: float = 30.0

    def as_json(self) -> dict[str, Any]:
        """The options with JSON types only."""
        return {k: str(v) if isinstance(v, Path) else v for k, v in vars(self).items()}


def run_demo(options: DemoOptions, progress: StageProgress) -> dict[str, Any]:
    """Run all stages; returns the figures that `--json` prints.

    Raises:
        PadBringupError, PadParseError, PadAugmentError, PolicyError: bad input, or a stage that cannot go on. What was
            finished stays in the run's folder.
    """
    recording = _check(options)  # everything that can be wrong with the input, before anything is written
    run = RunFolder.fresh(options.task, options.out, options.as_json())
    if recording is None:
        recording = _synthetic(options, run, progress)
    demonstration = _parse(options, recording, run, progress)
    reference, instance, notes = _place_in_cell(options, recording, demonstration, run)
    _augment(options, demonstration, instance, run, progress)
    _distill(options, run, progress)
    calibration = resource("config", "cameras", "cell.yaml")
    files = {"demonstration": reference, "policy": run.policy, "calibration": calibration}
    store.remember(options.task, store.Results(**{name: str(path.resolve()) for name, path in files.items()}))
    results, clip_label, accidents = _roll_out(options, files, run, progress)
    began = time.monotonic()
    with progress.stage("report") as update:
        content = collect(
            run,
            options.task,
            recording=str(recording.path),
            notes=[*recording.assumptions, *notes, *accidents],
            episodes=results,
            clip_label=clip_label,
        )
        write_report(content, run.report)
        update(1.0, str(run.report))
    run.finish("report", began)
    summary = summarise(results)
    return {
        "setup_s": float(os.environ.get("PAD_SETUP_SECONDS") or 0),
        **{f"{name}_s": round(run.stages[name].seconds, 2) for name in ("parse", "augment", "distill", "rollout")},
        "demos": run.stages["augment"].values["accepted"],
        "success": round(summary.rate, 4),
        "episodes": summary.episodes,
        "report": str(run.report.resolve()),
    }


def _check(options: DemoOptions) -> Recording | None:
    TaskSpec.load(options.task)
    load_objects(options.task)
    named_or_path(options.robot, "config", "robots")
    for name in ("episodes", "demos", "updates"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise DemoError(f"--{name} must be at least 1; got {value}")
    if not options.time_limit > 0:
        raise DemoError(f"--time-limit must be above 0; got {options.time_limit:g}")
    if options.seed < 0:
        raise DemoError(f"--seed must not be negative; got {options.seed}")
    return None if options.recording is None else open_recording(options.recording)


def _synthetic(options: DemoOptions, run: RunFolder, progress: StageProgress) -> Recording:
    began = time.monotonic()
    with progress.stage("recording") as update:
        path, made = synthetic_recording(options.task, options.seed, lambda stage, fraction: update(fraction, stage))
        update(1.0, f"synthetic human{'' if made else ' (cached)'}: {path}")
    run.finish("recording", began, "synthetic human, made now" if made else "synthetic human, from the cache")
    return open_recording(path)


def _parse(options: DemoOptions, recording: Recording, run: RunFolder, progress: StageProgress) -> Demonstration:
    began = time.monotonic()
    run.path.mkdir(parents=True, exist_ok=True)
    with progress.stage("parse") as update:
        demonstration = parse(
            recording,
            options.task,
            progress=lambda stage, fraction: update(fraction, stage),
            overlay_path=run.overlay,
        )
        demonstration.save(run.demonstration)
        demonstration = replace(demonstration, segments=ground(demonstration))
        demonstration.save(run.demonstration)
        trust = judge(demonstration).level.words
        note = f"{len(demonstration.stamps)} frames, {len(demonstration.segments)} segments, {trust}"
        update(1.0, note)
    run.finish("parse", began, note, measures=demonstration.measures)
    return demonstration


def _place_in_cell(
    options: DemoOptions, recording: Recording, demonstration: Demonstration, run: RunFolder
) -> tuple[Path, Instance | None, list[str]]:
    """The demonstration to localise by, the objects to augment for, and what a reader must know."""
    if _TRUTH_TOPIC in recording.topics:
        objects = load_objects(options.task)
        return run.demonstration, shown_instance(demonstration, objects), []
    moved, instance = retarget(demonstration, options.robot)
    moved.save(run.in_cell)
    note = (
        "The recording shows other objects than the cell's. The motion is the human's; the keypoints are annotated on "
        "the cell's own objects, and found by an image of them."
    )
    return run.in_cell, instance, [note]


def _augment(
    options: DemoOptions, demonstration: Demonstration, instance: Instance, run: RunFolder, progress: StageProgress
) -> None:
    began = time.monotonic()
    with progress.stage("augment") as update:
        report = generate(
            demonstration,
            named_or_path(options.robot, "config", "robots"),
            run.dataset,
            options.demos,
            options.seed,
            planner=options.planner,
            workers=len(os.sched_getaffinity(0)),
            progress=lambda p: update(
                p.accepted / options.demos,
                f"{p.accepted} of {options.demos} demonstrations, {p.attempted} attempts, {p.rate:.0f} a second",
            ),
            keypoints_in_object=instance.keypoints_in_object,
            shapes=instance.shapes,
        )
    note = f"{report.accepted} demonstrations from {report.attempted} attempts"
    run.finish(
        "augment", began, note, accepted=report.accepted, attempted=report.attempted, rejections=report.rejections
    )


def _distill(options: DemoOptions, run: RunFolder, progress: StageProgress) -> None:
    from pad_policy.config import TrainingConfig
    from pad_policy.training import train

    began = time.monotonic()
    chosen: dict[str, object] = {"seed": options.seed}
    if options.updates is not None:
        chosen["updates"] = options.updates
    config = TrainingConfig.from_options(**chosen)
    with progress.stage("distill") as update:
        train(
            run.dataset,
            run.policy,
            config,
            progress=lambda done, total, loss, left: update(
                done / total, f"update {done} of {total}, loss {loss:.4f}, {left:.0f} s left"
            ),
        )
    run.finish("distill", began, f"{config.updates} updates", updates=config.updates)


def _roll_out(
    options: DemoOptions, files: dict[str, Path], run: RunFolder, progress: StageProgress
) -> tuple[list[EpisodeResult], str, list[str]]:
    """Episodes through the running node graph; returns their results, what the clip shows, and what went wrong.

    A graph that falls silent or loses a node is started again once: that is no verdict on the policy.
    """
    began = time.monotonic()
    values = {
        "task": options.task,
        "robot": options.robot,
        "viewer": "true" if options.viewer else "false",
        **{name: str(path) for name, path in files.items()},
    }
    first = _FIRST_UNSEEN * (options.seed + 1)
    rollouts = _Rollouts(seeds=list(range(first, first + options.episodes)), run=run)
    starts: list[float] = []
    notes: list[str] = []
    with progress.stage("rollout") as update:
        while rollouts.seeds:
            update(rollouts.fraction, "starting the nodes")
            logs = run.logs if not notes else run.path / f"logs_{len(notes) + 1}"
            try:
                _run_graph(options, values, logs, rollouts, progress, update, starts)
            except (EpisodeError, SupervisorError) as error:
                # Without a first finished episode it is no accident but a graph that does not work here.
                if notes or not rollouts.results:
                    raise
                notes.append(f"The node graph had to be started again after {len(rollouts.results)} episodes: {error}.")
                progress.say(notes[-1])
    summary = summarise(rollouts.results)
    note = f"{summary.successes} of {summary.episodes} episodes succeeded"
    run.finish("rollout", began, note, graph_up_s=starts, restarts=len(notes), **vars(summary))
    return rollouts.results, rollouts.clip_label, notes


@dataclass
class _Rollouts:
    """Episodes to run and those that are done; saved one by one."""

    seeds: list[int]
    run: RunFolder
    results: list[EpisodeResult] = field(default_factory=list)
    clip_label: str = ""

    @property
    def fraction(self) -> float:
        return len(self.results) / (len(self.results) + len(self.seeds))

    def add(self, result: EpisodeResult, clip: Clip) -> None:
        first_success = result.success and not any(earlier.success for earlier in self.results)
        self.seeds.remove(result.seed)
        self.results.append(result)
        save_episodes(self.run.episodes, self.results)
        if clip.frames and (first_success or not self.clip_label):
            write_webm(clip.frames, 2 * clip.rate, self.run.clip)
            verdict = "success" if result.success else f"failure ({result.cause})"
            self.clip_label = f"Episode {result.seed} as the camera saw it, twice as fast: {verdict}"


def _run_graph(
    options: DemoOptions,
    values: dict[str, str],
    logs: Path,
    rollouts: _Rollouts,
    progress: StageProgress,
    update: Update,
    starts: list[float],
) -> None:
    """Run the remaining episodes in one graph."""
    from pad_bringup.episodes import EpisodeLimits, EpisodeRunner
    from pad_bringup.running import running_graph

    limits = EpisodeLimits(time_limit=options.time_limit)
    with running_graph(values, logs, tell=progress.say) as running:
        starts.append(round(running.start_seconds, 2))
        if url := running.viewer_url():
            progress.say(f"live viewer: {url}")
        runner = EpisodeRunner(running.session, limits=limits, still_wanted=running.supervisor.check)
        for seed in list(rollouts.seeds):
            try:
                result, clip = runner.run(seed)
            except EpisodeError:
                running.supervisor.dump_stacks()
                raise
            rollouts.add(result, clip)
            good = sum(r.success for r in rollouts.results)
            update(rollouts.fraction, f"{good} of {len(rollouts.results)} episodes succeeded")
