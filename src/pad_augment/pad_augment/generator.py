"""One demonstration becomes many, each proved on the robot; what fails is counted by cause."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pad_augment import __version__
from pad_augment.config import GeneratorConfig
from pad_augment.dataset import STEP_ARRAYS, Dataset, DatasetWriter, Episode, Rows
from pad_augment.description import urdf_text
from pad_augment.ee_space import ee_demonstrations
from pad_augment.errors import ConfigError, GenerationError, WorkerLostError
from pad_augment.executor import make_executor
from pad_augment.grasp_choice import choose_turns
from pad_augment.grasp_turns import AS_SHOWN, Turns, turned
from pad_augment.kinematics import Robot, RobotProfile
from pad_augment.planning import choose_planner, make_planner
from pad_augment.planning.interface import BimanualPlanner, Failure, PlanFailure, Shape
from pad_augment.planning.proving import ProvingPlanner
from pad_augment.planning.sized import SizedPlanner
from pad_augment.sampling import Placement, SceneSampler
from pad_augment.scene_plan import Disturbance, ScenePlan, ScenePlanner, pace_of
from pad_augment.skills import SkillSet, learn_skills, reflected
from pad_parse import geometry
from pad_parse.demonstration import Demonstration

FloatArray = NDArray[np.float64]

CAUSES = tuple(failure.value for failure in Failure)
"""Every cause that a rejection can have."""
EE_SPACE = "straight_line"
"""The planner of generation without a robot."""

TRIAL_SCENES = 16
"""Scenes on which the grasps are tried."""
TRIAL_CORNERS = 12
"""Scenes at the regions' corners on which they are tried besides."""
_HOPELESS = 100
"""Attempts without any success after which generation gives up."""
_LARGEST_BLOCK = 32
"""Scenes that are planned together; smaller for few demonstrations. It decides what is in a dataset's checkpoint, not
what is in its arrays."""
_EE_BLOCK = 256


@dataclass(frozen=True)
class Rejection:
    """Why a scene gave no demonstration; `cause` is one of CAUSES, `message` says where."""

    cause: str
    message: str = ""


@dataclass(frozen=True)
class GenerationProgress:
    """How far generation is. rate: demonstrations per second of this run; remaining: s, None until it is known."""

    accepted: int
    attempted: int
    rejections: Mapping[str, int]
    rate: float
    remaining: float | None


Progress = Callable[[GenerationProgress], None]


@dataclass(frozen=True)
class GenerationReport:
    """accepted of attempted scenes became demonstrations; rejections by cause; wall-clock seconds of this run.

    grasp_turns: how the grasps differ from the demonstrated ones, where the robot could not carry those out.
    resumed: demonstrations that were there from an earlier, interrupted run.
    """

    accepted: int
    attempted: int
    rejections: dict[str, int]
    seconds: float
    grasp_turns: Turns = AS_SHOWN
    resumed: int = 0


def generate_one(
    demonstration: Demonstration,
    robot: Robot,
    planner: str | BimanualPlanner,
    placement: Placement,
    rng: np.random.Generator,
    config: GeneratorConfig | None = None,
) -> Episode | Rejection:
    """One scene, with varied start poses and, now and then, a disturbance (see `GeneratorConfig`).

    placement: object -> pose (4, 4) in the task frame.

    Raises:
        GroundingError: the demonstration does not fit its template.
        ConfigError, PlanningError: an object or the planner is not known.
    """
    config = config or GeneratorConfig()
    skills = learn_skills(demonstration, level_grasps=config.level_grasps)
    if isinstance(planner, str):
        planner = _planner_for(planner, robot, skills, config)
    scenes = ScenePlanner(skills, robot, planner, config)
    (result,) = scenes.run([scenes.varied(placement, rng)])
    return _rejection(result) if isinstance(result, PlanFailure) else scenes.episode(result)


def generate(
    demonstration: Demonstration,
    profile_path: str | Path,
    out: str | Path,
    n: int,
    seed: int,
    planner: str = "roboplan",
    workers: int = 1,
    progress: Progress | None = None,
    keypoints_in_object: Mapping[str, FloatArray] | None = None,
    *,
    shapes: Mapping[str, Shape] | None = None,
    config: GeneratorConfig | None = None,
    executor: str | None = None,
    overwrite: bool = False,
) -> GenerationReport:
    """Write a dataset of `n` demonstrations to the folder `out`; the same seed gives the same one for any `workers`.

    A run that was interrupted is gone on with where it ended; a dataset that is there, made of the same, is left as it
    is. One made of something else is an error unless `overwrite`.

    planner: "roboplan" proves every demonstration; "straight_line" is the paper's own setting: end-effector poses and
    keypoints without a robot, joints are nan.
    keypoints_in_object: object -> (n, 3) m, to teach another instance than the demonstrated one.
    shapes: object -> cylinder for collisions; by default estimated from grasps and keypoints.
    executor: "local", "processes" or "ray"; None: local for one worker, else processes.

    Raises:
        GroundingError: the demonstration does not fit its template.
        GenerationError: too few scenes can be carried out.
        ConfigError, RobotError, DatasetError: a wrong choice, robot profile or output folder.
    """
    planner, _ = choose_planner(planner)
    if n < 1 or seed < 0:
        raise ConfigError(
            f"{n} demonstrations with seed {seed} are asked for; at least 1, and a seed from 0 on, are needed"
        )
    begin = time.monotonic()
    config = config or GeneratorConfig()
    pool = make_executor(workers, executor)
    task = SceneWork(
        demonstration=demonstration,
        profile=RobotProfile.load(profile_path),
        config=config,
        seed=seed,
        planner=planner,
        points_in_object=None if keypoints_in_object is None else dict(keypoints_in_object),
        shapes=None if shapes is None else dict(shapes),
        block=_EE_BLOCK if planner == EE_SPACE else min(_LARGEST_BLOCK, max(4, -(-n // 8))),
    )
    task.skills  # noqa: B018 - refuses a demonstration that does not fit, before anything is written
    with contextlib.closing(DatasetWriter(out, task.identity(n), overwrite=overwrite)) as writer:
        if writer.finished and not overwrite:
            writer.discard()
            return _report_of(Dataset.open(out), time.monotonic() - begin)
        try:
            # Which grasps are turned how follows from the same things as all else: it need not be kept.
            task = task.with_chosen_turns()
            before = writer.episodes
            results = pool.run(task.run_block, writer.blocks, -(-n * config.attempts_per_episode // task.block))
            # Closing ends the workers, also when the caller is interrupted.
            with contextlib.closing(results):
                _collect(task, writer, results, n, progress, begin)
            if writer.episodes < n:
                raise GenerationError(
                    f"only {writer.episodes} of {n} demonstrations after {writer.attempted} attempts "
                    f"({_counts(writer.rejections)})"
                )
        except WorkerLostError:
            raise
        except (GenerationError, ConfigError):
            writer.discard()  # going on would fail in the same way
            raise
        report = GenerationReport(
            writer.episodes,
            writer.attempted,
            dict(writer.rejections),
            time.monotonic() - begin,
            task.turns,
            before,
        )
        writer.finish(task.attributes())
    return report


def _collect(
    task: SceneWork, writer: DatasetWriter, results: Any, n: int, progress: Progress | None, begin: float
) -> None:
    before = writer.episodes
    if before >= n:
        return
    for block in results:
        piece = block.first(n - writer.episodes)
        writer.append(piece.rows(), Counter(cause for cause in piece.causes if cause is not None))
        if progress is not None:
            seconds = time.monotonic() - begin
            rate = (writer.episodes - before) / max(seconds, 1e-9)
            left = (n - writer.episodes) / rate if rate > 0 else None
            progress(GenerationProgress(writer.episodes, writer.attempted, dict(writer.rejections), rate, left))
        if writer.episodes == n:
            break
        if writer.attempted >= _HOPELESS and not writer.episodes:
            sizes = f", and object_scale ({task.config.object_scale:g})" if task.config.object_scale else ""
            raise GenerationError(
                f"none of {writer.attempted} scenes can be carried out by {task.profile.name} "
                f"({_counts(writer.rejections)}; for example {block.example}); check the task's regions, the "
                f"demonstration's grasps{sizes}"
            )


@dataclass(frozen=True, eq=False)
class Block:
    """Scenes that were planned together. causes: per scene None or why there is no demonstration.

    lengths: steps per demonstration. arrays: steps, and rows per demonstration, one after the other. rejected: (R,
    objects, 4, 4) poses of the scenes without one.
    """

    causes: list[str | None]
    lengths: list[int]
    arrays: dict[str, NDArray[Any]]
    rejected: FloatArray
    example: str

    def first(self, count: int) -> Block:
        """The scenes up to the demonstration number `count`."""
        if len(self.lengths) <= count:
            return self
        last = [index for index, cause in enumerate(self.causes) if cause is None][count - 1] + 1
        steps = sum(self.lengths[:count])
        cut = {name: values[: steps if name.startswith("data/") else count] for name, values in self.arrays.items()}
        causes = self.causes[:last]
        return Block(causes, self.lengths[:count], cut, self.rejected[: last - count], self.example)

    def rows(self) -> Rows:
        """What a dataset stores of it."""
        causes = np.array([CAUSES.index(cause) for cause in self.causes if cause is not None], np.uint8)
        arrays = {**self.arrays, "meta/rejected_poses": self.rejected, "meta/rejected_causes": causes}
        return Rows(arrays, self.lengths, len(self.causes))


@dataclass(frozen=True, eq=False)
class SceneWork:
    """Everything that a scene depends on; what is heavy is made once per process, when first needed.

    turns: of the grasps. mirrored_turns: of those of hands that have changed their parts; None: mirror images of them.
    """

    demonstration: Demonstration
    profile: RobotProfile
    config: GeneratorConfig
    seed: int
    planner: str
    turns: Turns = AS_SHOWN
    mirrored_turns: Turns | None = None
    points_in_object: dict[str, FloatArray] | None = None
    shapes: dict[str, Shape] | None = None
    block: int = _LARGEST_BLOCK

    def __post_init__(self) -> None:
        if self.planner == EE_SPACE and self.config.motion_timing != "gentle":
            raise ConfigError(
                f"motion_timing={self.config.motion_timing}: planner {EE_SPACE} follows motions as they are asked for; "
                "choose planner roboplan or moveit, or motion_timing=gentle"
            )

    def __getstate__(self) -> dict[str, object]:
        return {name: self.__dict__[name] for name in self.__dataclass_fields__}

    @cached_property
    def _learnt(self) -> SkillSet:
        return learn_skills(
            self.demonstration,
            points_in_object=self.points_in_object,
            shapes=self.shapes,
            level_grasps=self.config.level_grasps,
        )

    @cached_property
    def skills(self) -> SkillSet:
        """What the demonstration teaches, with the grasps turned by `turns`."""
        return turned(self._learnt, self.turns)

    def chosen_turns(self, *, mirrored: bool = False) -> Turns:
        """The turns with which the robot can carry out the task; see `choose_turns`.

        mirrored: of hands that have changed their parts, for objects that stand on the other sides.
        """
        if self.planner == EE_SPACE:
            return AS_SHOWN
        skills = reflected(self._learnt) if mirrored else self._learnt
        calm = self.config.model_copy(
            update={"obstacles": 0, "swap_hands": False, "motion_timing": "gentle", "object_scale": 0.0}
        )
        empty = replace(self, config=calm)
        quick, thorough, direct = (
            empty._planner(name, skills) for name in ("straight_line", self.planner, self.planner)
        )
        if isinstance(direct, ProvingPlanner):
            direct.searches = False
        task = self.demonstration.task.model_copy(update={"swap_sides": False})
        sampler = SceneSampler(task, self.seed, self.config.minimum_distance, stack=skills.stack)
        scenes, corners = [sampler(index) for index in range(TRIAL_SCENES)], sampler.corners(TRIAL_CORNERS)
        if mirrored:
            scenes, corners = ([_reflected(one) for one in some] for some in (scenes, corners))
        return choose_turns(
            skills,
            lambda turned_skills: ScenePlanner(turned_skills, empty._robot, quick, calm),
            lambda turned_skills: ScenePlanner(turned_skills, empty._robot, thorough, calm),
            lambda turned_skills: ScenePlanner(turned_skills, empty._robot, direct, calm),
            scenes,
            corners,
            self.config.grasp_turn_limit,
        )

    def with_chosen_turns(self) -> SceneWork:
        """The same work with `chosen_turns`."""
        turns, mirrored = self.chosen_turns(), None
        # A robot's two arms are no mirror images of each other: what one can do so, the other may have to do otherwise.
        if self.demonstration.task.swap_sides and self.config.swap_hands and self.planner != EE_SPACE:
            mirrored = self.chosen_turns(mirrored=True)
        return replace(self, turns=turns, mirrored_turns=mirrored)

    @cached_property
    def scenes(self) -> SceneSampler:
        """Placement by index."""
        obstacles = list(self.config.obstacle_shapes())
        task, config = self.demonstration.task, self.config
        stack, margin = self.skills.stack, config.region_margin
        return SceneSampler(task, self.seed, config.minimum_distance, obstacles, stack, margin)

    @cached_property
    def scene_planner(self) -> ScenePlanner:
        """Plans scenes; one per process."""
        planner = self._planner(self.planner, self.skills)
        mirrored = None if self.mirrored_turns is None else turned(reflected(self._learnt), self.mirrored_turns)
        return ScenePlanner(self.skills, self._robot, planner, self.config, mirrored)

    @cached_property
    def _robot(self) -> Robot:
        return Robot(self.profile)

    def _planner(self, name: str, skills: SkillSet) -> BimanualPlanner:
        return _planner_for(name, self._robot, skills, self.config)

    def rng(self, index: int) -> np.random.Generator:
        """What is drawn in scene `index`, besides the objects' places."""
        return np.random.default_rng([self.seed, 2, index])

    def attempt(self, indices: Sequence[int]) -> list[ScenePlan | PlanFailure]:
        """Scenes: a proved trajectory, or why there is none. One depends on (seed, index) alone."""
        planner = self.scene_planner
        poses = self.scenes.many(indices)
        places = [{name: pose[i] for name, pose in poses.items()} for i in range(len(indices))]
        return planner.run([planner.varied(p, self.rng(index)) for p, index in zip(places, indices, strict=True)])

    def run_block(self, number: int) -> Block:
        """The scenes of block `number`."""
        indices = range(number * self.block, (number + 1) * self.block)
        if self.planner == EE_SPACE:
            return self._ee_block(indices)
        planner = self.scene_planner
        results = self.attempt(indices)
        good = [(index, r) for index, r in zip(indices, results, strict=True) if isinstance(r, ScenePlan)]
        episodes = [planner.episode(result) for _, result in good]
        arrays: dict[str, NDArray[Any]] = {}
        for name, dtype in STEP_ARRAYS.items() if episodes else ():
            arrays[f"data/{name}"] = np.concatenate([getattr(e, name) for e in episodes]).astype(dtype)
        if episodes:
            mirrored = np.array([result.mirrored for _, result in good], np.uint8)
            disturbances = np.array([result.disturbance for _, result in good], np.uint8)
            arrays |= self._meta([index for index, _ in good], mirrored, disturbances)
        failures = [(index, r) for index, r in zip(indices, results, strict=True) if isinstance(r, PlanFailure)]
        return Block(
            [result.code.value if isinstance(result, PlanFailure) else None for result in results],
            [len(episode.ee) for episode in episodes],
            arrays,
            self._poses([index for index, _ in failures], list(self.skills.object_poses)),
            str(failures[0][1]) if failures else "",
        )

    def _ee_block(self, indices: Sequence[int]) -> Block:
        pace = pace_of(self.config, min(arm.max_opening for arm in self._robot.arms))
        home = np.stack([self._robot.fk(arm, self._robot.home[arm]) for arm in (0, 1)])
        arrays, lengths, pushed = ee_demonstrations(
            self.skills,
            home,
            len(self._robot.joint_names),
            pace,
            self.config,
            self.scenes.many(indices),
            [self.rng(index) for index in indices],
        )
        named: dict[str, NDArray[Any]] = {f"data/{name}": arrays[name] for name in STEP_ARRAYS}
        disturbances = np.where(pushed, Disturbance.ARMS_PUSHED, Disturbance.NONE).astype(np.uint8)
        named |= self._meta(indices, np.zeros(len(indices), np.uint8), disturbances)
        return Block([None] * len(indices), lengths, named, self._poses([], list(self.skills.object_poses)), "")

    def _meta(
        self, indices: Sequence[int], mirrored: NDArray[np.uint8], disturbances: NDArray[np.uint8]
    ) -> dict[str, NDArray[Any]]:
        """Rows per demonstration."""
        out: dict[str, NDArray[Any]] = {
            "meta/scenes": np.array(indices, np.int64),
            "meta/mirrored": mirrored,
            "meta/disturbances": disturbances,
            "meta/object_poses": self._poses(indices, list(self.skills.object_poses)),
        }
        if self.config.obstacles:
            out["meta/obstacle_poses"] = self._poses(indices, list(self.config.obstacle_shapes()))
        return out

    def _poses(self, indices: Sequence[int], names: Sequence[str]) -> FloatArray:
        """(scenes, names, 4, 4)."""
        poses = self.scenes.many(indices)
        return np.stack([poses[name] for name in names], axis=1)

    def attributes(self) -> dict[str, Any]:
        """What a dataset says about itself, besides its counters."""
        demonstration = self.demonstration
        return {
            "task": demonstration.task.model_dump_json(),
            "keypoint_names": list(demonstration.keypoint_names),
            "keypoint_groups": list(demonstration.keypoint_groups),
            "keypoint_objects": list(demonstration.keypoint_objects),
            "rate_hz": self.config.rate_hz,
            "seed": self.seed,
            "robot": self.profile.name,
            "planner": self.planner,
            "grasp_turns": asdict(self.turns),
            "mirrored_grasp_turns": None if self.mirrored_turns is None else asdict(self.mirrored_turns),
            "causes": list(CAUSES),
            "config": self.config.model_dump_json(),
            "code_version": __version__,
        }

    def identity(self, n: int) -> str:
        """A digest of all that decides a dataset of `n` demonstrations, in this version."""
        demo, digest = self.demonstration, hashlib.sha256()
        said = {
            "version": __version__,
            "n": n,
            "seed": self.seed,
            "planner": self.planner,
            "config": self.config.model_dump_json(),
            "profile": self.profile.model_dump_json(exclude={"description", "srdf", "moveit"}),
            "task": demo.task.model_dump_json(),
            "names": [demo.keypoint_names, demo.keypoint_objects],
            "segments": [vars(segment) | {"evidence": ""} for segment in demo.segments],
            "shapes": {name: asdict(shape) for name, shape in (self.shapes or {}).items()},
        }
        digest.update(json.dumps(said, sort_keys=True).encode())
        digest.update(urdf_text(self.profile.description).encode())
        digest.update(self.profile.srdf.read_bytes())
        arrays = [demo.stamps, demo.keypoints, demo.gripper_poses, demo.gripper_openings, demo.gripper_closed]
        arrays += [demo.object_poses[name] for name in sorted(demo.object_poses)]
        arrays += [points for _, points in sorted((self.points_in_object or {}).items())]
        for array in arrays:
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


def collision_shapes(skills: SkillSet, config: GeneratorConfig) -> dict[str, Shape]:
    """Cylinders of all objects as they were shown, and of the obstacles."""
    return {**skills.shapes, **config.obstacle_shapes()}


def _planner_for(name: str, robot: Robot, skills: SkillSet, config: GeneratorConfig) -> BimanualPlanner:
    """A planner for the demonstrated instances, or for all those that the scenes may have."""

    def make(shapes: Mapping[str, Shape]) -> BimanualPlanner:
        return make_planner(name, robot, shapes, config.rate_hz)

    shapes = collision_shapes(skills, config)
    return SizedPlanner(shapes, make) if config.object_scale else make(shapes)


def _reflected(placement: Placement) -> Placement:
    return {name: geometry.reflect_pose(pose) for name, pose in placement.items()}


def _rejection(failure: PlanFailure) -> Rejection:
    return Rejection(failure.code.value, str(failure))


def _report_of(dataset: Dataset, seconds: float) -> GenerationReport:
    said = dataset.attributes
    turns = Turns(**said["grasp_turns"])
    return GenerationReport(
        len(dataset), said["attempted"], dict(said["rejections"]), seconds, turns, resumed=len(dataset)
    )


def _counts(rejections: Mapping[str, int]) -> str:
    return ", ".join(f"{cause} {count}" for cause, count in sorted(rejections.items())) or "no rejections"
