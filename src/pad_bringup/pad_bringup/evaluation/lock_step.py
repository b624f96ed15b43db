"""Episodes in lock-step with the cell: seeded, in parallel, the same whatever the number of processes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, fields
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pad_augment.kinematics import Robot
from pad_bringup.cell import Cell
from pad_bringup.cell.environment import CAMERA_RATE, CellEnvironment, TrackerErrors, VisionEnvironment
from pad_bringup.errors import EvaluationError
from pad_bringup.evaluation.baselines import Baseline, Library, Replay
from pad_bringup.evaluation.result import EpisodeRecord, clip_path
from pad_bringup.splits import Split
from pad_bringup.video import write_webm
from pad_parse.demonstration import Demonstration
from pad_parse.errors import PadParseError
from pad_parse.following import demonstration_localiser
from pad_parse.localisation import KeypointLocaliser
from pad_policy.bundle import PolicyBundle
from pad_policy.environment import JointMeasurement
from pad_policy.inference import OnnxPolicy
from pad_policy.robot_limits import command_joint_names, gate_limits
from pad_policy.rollout import EpisodeResult, Planner, check_matches, rollout
from pad_policy.runner import PolicyRunner
from pad_policy.safety import CommandGate, SafetyReport
from pad_policy.smoothing import ChunkSmoother, Smoothing

CLIP_RATE = 8.0
"""Images per simulated second of a clip, which plays twice as fast."""
_CLIP_WIDTH = 480


@dataclass(frozen=True)
class Setting:
    """What a process needs to run episodes.

    Attributes:
        policy: folder.
        vision: through the camera; else the true keypoints with `errors`.
        robot: robot profile, by name or path.
        time_limit: s, simulated.
        disturbed: whether an object is moved by hand.
        errors: of the keypoints in state mode.
        demonstration: whose keypoints are looked for (vision), and what open-loop replay replays.
        baseline: acts instead of the policy. dataset: what it replays.
        split: of the paper's protocol: each episode has a scene of its own; None: the task's own scene.
        camera_rate: images per simulated second (vision).
        smoothing: of chunks, see `ChunkSmoother`.
    """

    policy: Path
    vision: bool = False
    robot: str = "ur5e_pair"
    time_limit: float = 30.0
    disturbed: bool = False
    errors: TrackerErrors = field(default_factory=TrackerErrors)
    demonstration: Path | None = None
    baseline: Baseline | None = None
    dataset: Path | None = None
    split: Split | None = None
    camera_rate: float = CAMERA_RATE
    smoothing: Smoothing = "none"


class World:
    """One cell, and what acts in it; built once per process, the cell once per episode where each has its own."""

    def __init__(self, setting: Setting) -> None:
        """Raises the errors of what it loads; `EvaluationError` where something is missing."""
        self._setting = setting
        self._bundle = bundle = PolicyBundle.load(setting.policy)
        self._source = None if setting.demonstration is None else Demonstration.load(setting.demonstration)
        self._localiser: KeypointLocaliser | None = None
        if setting.vision:
            if self._source is None:
                raise EvaluationError("vision mode needs the demonstration to localise by; give --demonstration")
            self._localiser = demonstration_localiser(self._source, other_instances=setting.split == "object")
        self._cell = Cell(bundle.task.name, profile=setting.robot)
        bundle.check_matches(robot=self._cell.profile.name)
        self._robot = Robot(self._cell.profile)
        self._names = command_joint_names(self._robot)
        self._limits = gate_limits(self._robot)
        self._environment = self._environment_of(self._cell)
        check_matches(bundle, self._environment)
        self._policy = OnnxPolicy(setting.policy)
        self._replay: Replay | None = None
        if setting.baseline is not None:
            if setting.dataset is None:
                raise EvaluationError("baselines replay generated demonstrations; give --dataset")
            library = Library.open(setting.dataset)
            self._replay = Replay(setting.baseline, library, self._source, self._robot, self._names)

    def run(self, seed: int, clips: Path | None = None) -> EpisodeRecord:
        """One episode; with a folder for `clips` it is also filmed."""
        planner: Planner
        if self._replay is not None:
            planner = self._replay
        else:
            planner = PolicyRunner(self._policy, self._robot, self._names, np.random.default_rng([seed, 7]))
        gate = CommandGate(self._names, self._limits)
        if self._setting.split is not None:
            self.close()
            variation = (self._setting.split, seed)
            self._cell = Cell(self._bundle.task.name, profile=self._setting.robot, variation=variation)
            self._environment = self._environment_of(self._cell)
        film = None if clips is None else _Film(self._environment)
        try:
            result = rollout(
                planner,
                gate,
                film or self._environment,
                seed,
                time_limit=self._setting.time_limit,
                smoother=ChunkSmoother(self._setting.smoothing),
            )
        except PadParseError as error:
            record = EpisodeRecord(
                seed=seed,
                success=False,
                cause="not localised",
                detail=str(error),
                stage="localisation",
                duration=0.0,
                chunks=0,
            )
        else:
            record = _record(result, self._environment.longest_loss)
        if film is None or clips is None or (record.success and any(clips.glob("*-success.webm"))):
            return record
        path = write_webm(film.images, 2 * CLIP_RATE, clip_path(clips, seed, record.cause))
        return record.model_copy(update={"clip": str(path.resolve())})

    def _environment_of(self, cell: Cell) -> CellEnvironment:
        setting = self._setting
        # In the protocol objects also stand on the other side, if the policy has been taught that.
        both_sides = setting.split == "spatial" and self._bundle.task.swap_sides
        if self._localiser is None:
            return CellEnvironment(cell, setting.errors, disturbed=setting.disturbed, both_sides=both_sides)
        assert self._source is not None
        return VisionEnvironment(
            cell,
            self._source,
            self._localiser,
            disturbed=setting.disturbed,
            both_sides=both_sides,
            camera_rate=setting.camera_rate,
        )

    def close(self) -> None:
        """Free the graphics context."""
        self._cell.close()


class _Film:
    """An environment that keeps images of the cell; what happens in it stays the same."""

    def __init__(self, environment: CellEnvironment) -> None:
        self._environment = environment
        self.task = environment.task
        self.keypoint_names, self.keypoint_groups = environment.keypoint_names, environment.keypoint_groups
        self.observe_keypoints, self.outcome = environment.observe_keypoints, environment.outcome
        self.images: list[NDArray[np.uint8]] = []

    def reset(self, seed: int) -> None:
        self.images = []
        try:
            self._environment.reset(seed)
        finally:
            self._shoot()

    def advance(
        self, joints: NDArray[np.float64] | None, openings: NDArray[np.float64] | None, seconds: float
    ) -> JointMeasurement:
        measured = self._environment.advance(joints, openings, seconds)
        if measured.stamp >= len(self.images) / CLIP_RATE:
            self._shoot()
        return measured

    def _shoot(self) -> None:
        image = self._environment.image()
        size = (_CLIP_WIDTH, round(image.shape[0] * _CLIP_WIDTH / image.shape[1]))
        self.images.append(cv2.resize(image, size, interpolation=cv2.INTER_AREA))


def _record(result: EpisodeResult, longest_loss: float | None) -> EpisodeRecord:
    return EpisodeRecord(
        seed=result.seed,
        success=result.success,
        cause=result.cause,
        detail=result.detail,
        stage=result.stage,
        duration=round(result.duration, 3),
        chunks=result.chunks,
        interventions=interventions(result.safety),
        longest_loss=None if longest_loss is None else round(longest_loss, 3),
    )


def interventions(report: SafetyReport) -> dict[str, int]:
    """How often a gate stepped in, by kind."""
    values = {item.name: getattr(report, item.name) for item in fields(report)}
    return {name: value for name, value in values.items() if type(value) is int}


class Episodes:
    """Runs episodes, in `workers` processes or here; a context manager."""

    def __init__(self, setting: Setting, workers: int) -> None:
        """workers: 1 runs them in this process."""
        self._setting = setting
        self._pool: ProcessPoolExecutor | None = None
        self._world: World | None = None
        if workers > 1:
            self._pool = ProcessPoolExecutor(
                workers, mp_context=multiprocessing.get_context("spawn"), initializer=_prepare, initargs=(setting,)
            )

    def __enter__(self) -> Episodes:
        if self._pool is None:
            self._world = World(self._setting)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        if self._world is not None:
            self._world.close()

    def run(self, jobs: Sequence[tuple[int, Path | None]]) -> Iterator[EpisodeRecord]:
        """The record of each (seed, folder for its clip or None), in that order.

        Raises:
            EvaluationError: a process has died.
        """
        if self._pool is None:
            assert self._world is not None
            for seed, clips in jobs:
                yield self._world.run(seed, clips)
            return
        futures: list[Future[EpisodeRecord]] = [self._pool.submit(_run, seed, clips) for seed, clips in jobs]
        for future in futures:
            try:
                yield future.result()
            except BrokenProcessPool as error:
                raise EvaluationError("a worker process has died; try fewer --workers (memory?)") from error


def evaluate_in_lock_step(
    setting: Setting,
    seeds: Sequence[int],
    *,
    workers: int = 1,
    clips: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, good: None,
    keep: Callable[[list[EpisodeRecord]], None] = lambda records: None,
) -> list[EpisodeRecord]:
    """Run one episode per seed.

    clips: folder for a video of every failure and of the first success (with several workers: of an
        early one). Without a camera those episodes are run again to be filmed.
    progress: called with the number of episodes done and of successes.
    keep: called with the records so far after every episode.

    Raises:
        EvaluationError: nothing to run, something is missing, a process died, or a filmed episode ended otherwise.
        PolicyError, PadAugmentError, PadParseError, CellError: what is loaded is wrong or does not fit together.
    """
    if not seeds or workers < 1:
        raise EvaluationError(f"there must be at least one episode and one worker; got {len(seeds)} and {workers}")
    if workers > 1:
        World(setting).close()  # what is wrong with the input is said here, in words, before processes start
    # What a camera sees anyway costs little to keep; otherwise only what is to be looked at is filmed, in a second run.
    at_once = clips is not None and setting.vision
    with Episodes(setting, min(workers, len(seeds))) as episodes:
        records = []
        for record in episodes.run([(seed, clips if at_once else None) for seed in seeds]):
            records.append(record)
            keep(records)
            progress(len(records), sum(r.success for r in records))
        if clips is None:
            return records
        first = next((r.seed for r in records if r.success and (r.clip is not None or not at_once)), None)
        wanted = [r.seed for r in records if not r.success or r.seed == first]
        if at_once:
            return [record if record.seed in wanted else _without_clip(record) for record in records]
        again = {record.seed: record for record in episodes.run([(seed, clips) for seed in wanted])}
    for record in records:
        if record.seed in again and again[record.seed].model_copy(update={"clip": None}) != record:
            raise EvaluationError(f"episode {record.seed} ended otherwise when it was filmed; it must repeat exactly")
    return [again.get(record.seed, record) for record in records]


def _without_clip(record: EpisodeRecord) -> EpisodeRecord:
    if record.clip is not None:
        Path(record.clip).unlink(missing_ok=True)
    return record.model_copy(update={"clip": None})


_here: World | None = None  # of a worker process


def _prepare(setting: Setting) -> None:
    global _here
    _here = World(setting)


def _run(seed: int, clips: Path | None) -> EpisodeRecord:
    assert _here is not None
    return _here.run(seed, clips)
