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
from pad_bringup.cell.environment import CellEnvironment, TrackerErrors, VisionEnvironment
from pad_bringup.errors import EvaluationError
from pad_bringup.evaluation.baselines import Baseline, Library, Replay
from pad_bringup.evaluation.result import EpisodeRecord, clip_path
from pad_bringup.video import write_webm
from pad_parse.demonstration import Demonstration
from pad_parse.errors import PadParseError
from pad_parse.following import demonstration_localiser
from pad_policy.bundle import PolicyBundle
from pad_policy.environment import JointMeasurement
from pad_policy.inference import OnnxPolicy
from pad_policy.robot_limits import command_joint_names, gate_limits
from pad_policy.rollout import EpisodeResult, Planner, check_matches, rollout
from pad_policy.runner import PolicyRunner
from pad_policy.safety import CommandGate, SafetyReport

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


class World:
    """One cell, and what acts in it; built once per process."""

    def __init__(self, setting: Setting) -> None:
        """Raises the errors of what it loads; `EvaluationError` where something is missing."""
        self._setting = setting
        bundle = PolicyBundle.load(setting.policy)
        source = None if setting.demonstration is None else Demonstration.load(setting.demonstration)
        self._cell = Cell(bundle.task.name, profile=setting.robot)
        bundle.check_matches(robot=self._cell.profile.name)
        self._robot = Robot(self._cell.profile)
        self._names = command_joint_names(self._robot)
        self._limits = gate_limits(self._robot)
        self._environment: CellEnvironment
        if setting.vision:
            if source is None:
                raise EvaluationError("vision mode needs the demonstration to localise by; give --demonstration")
            localiser = demonstration_localiser(source)
            self._environment = VisionEnvironment(self._cell, source, localiser, disturbed=setting.disturbed)
        else:
            self._environment = CellEnvironment(self._cell, setting.errors, disturbed=setting.disturbed)
        check_matches(bundle, self._environment)
        self._policy = OnnxPolicy(setting.policy)
        self._replay: Replay | None = None
        if setting.baseline is not None:
            if setting.dataset is None:
                raise EvaluationError("baselines replay generated demonstrations; give --dataset")
            library = Library.open(setting.dataset)
            self._replay = Replay(setting.baseline, library, source, self._robot, self._names)

    def run(self, seed: int, clip: Path | None = None) -> EpisodeRecord:
        """One episode; with `clip` it is also filmed."""
        planner: Planner
        if self._replay is not None:
            planner = self._replay
        else:
            planner = PolicyRunner(self._policy, self._robot, self._names, np.random.default_rng([seed, 7]))
        gate = CommandGate(self._names, self._limits)
        film = None if clip is None else _Film(self._environment)
        try:
            result = rollout(planner, gate, film or self._environment, seed, time_limit=self._setting.time_limit)
        except PadParseError as error:
            return EpisodeRecord(
                seed=seed,
                success=False,
                cause="not localised",
                detail=str(error),
                stage="localisation",
                duration=0.0,
                chunks=0,
                clip=_written(film, clip),
            )
        return _record(result, _written(film, clip))

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
        image, _ = self._environment.cell.render()
        size = (_CLIP_WIDTH, round(image.shape[0] * _CLIP_WIDTH / image.shape[1]))
        self.images.append(cv2.resize(image, size, interpolation=cv2.INTER_AREA))


def _written(film: _Film | None, path: Path | None) -> str | None:
    if film is None or path is None:
        return None
    return str(write_webm(film.images, 2 * CLIP_RATE, path).resolve())


def _record(result: EpisodeResult, clip: str | None) -> EpisodeRecord:
    return EpisodeRecord(
        seed=result.seed,
        success=result.success,
        cause=result.cause,
        detail=result.detail,
        stage=result.stage,
        duration=round(result.duration, 3),
        chunks=result.chunks,
        interventions=interventions(result.safety),
        clip=clip,
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
        """The record of each (seed, clip to write or None), in that order.

        Raises:
            EvaluationError: a process has died.
        """
        if self._pool is None:
            assert self._world is not None
            for seed, clip in jobs:
                yield self._world.run(seed, clip)
            return
        futures: list[Future[EpisodeRecord]] = [self._pool.submit(_run, seed, clip) for seed, clip in jobs]
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
) -> list[EpisodeRecord]:
    """Run one episode per seed.

    clips: folder for a video of every failure and of the first success; those episodes are run again and filmed.
    progress: called with the number of episodes done and of successes.

    Raises:
        EvaluationError: nothing to run, something is missing, a process died, or a filmed episode ended otherwise.
        PolicyError, PadAugmentError, PadParseError, CellError: what is loaded is wrong or does not fit together.
    """
    if not seeds or workers < 1:
        raise EvaluationError(f"there must be at least one episode and one worker; got {len(seeds)} and {workers}")
    if workers > 1:
        World(setting).close()  # what is wrong with the input is said here, in words, before processes start
    with Episodes(setting, min(workers, len(seeds))) as episodes:
        records = []
        for record in episodes.run([(seed, None) for seed in seeds]):
            records.append(record)
            progress(len(records), sum(r.success for r in records))
        if clips is None:
            return records
        first = next((r.seed for r in records if r.success), None)
        filmed = {r.seed: clip_path(clips, r.seed, r.cause) for r in records if not r.success or r.seed == first}
        again = {record.seed: record for record in episodes.run(list(filmed.items()))}
    for record in records:
        if record.seed in again and again[record.seed].model_copy(update={"clip": None}) != record:
            raise EvaluationError(f"episode {record.seed} ended otherwise when it was filmed; it must repeat exactly")
    return [again.get(record.seed, record) for record in records]


_here: World | None = None  # of a worker process


def _prepare(setting: Setting) -> None:
    global _here
    _here = World(setting)


def _run(seed: int, clip: Path | None) -> EpisodeRecord:
    assert _here is not None
    return _here.run(seed, clip)
