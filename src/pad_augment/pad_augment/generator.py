"""One demonstration becomes many, each proved on the robot; what fails is counted by cause."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pad_augment import __version__
from pad_augment.config import GeneratorConfig
from pad_augment.dataset import Episode, write_dataset
from pad_augment.errors import ConfigError, GenerationError
from pad_augment.executor import make_executor
from pad_augment.grasp_choice import AS_SHOWN, Turns, choose_turns, turned
from pad_augment.kinematics import Robot, RobotProfile
from pad_augment.planning import PLANNERS, make_planner
from pad_augment.planning.interface import BimanualPlanner, Failure, PlanFailure, Shape
from pad_augment.sampling import Placement, SceneSampler
from pad_augment.scene_plan import ScenePlanner
from pad_augment.skills import SkillSet, learn_skills
from pad_parse.demonstration import Demonstration

FloatArray = NDArray[np.float64]
Progress = Callable[[int, int, dict[str, int]], None]
"""Called with (accepted, attempted, rejections by cause)."""

CAUSES = tuple(failure.value for failure in Failure)
"""Every cause that a rejection can have."""

TRIAL_SCENES = 16
"""Scenes on which the grasps are tried."""
_HOPELESS = 100
"""Attempts without any success after which generation gives up."""


@dataclass(frozen=True)
class Rejection:
    """Why a scene gave no demonstration; `cause` is one of CAUSES, `message` says where."""

    cause: str
    message: str = ""


@dataclass(frozen=True)
class GenerationReport:
    """accepted of attempted scenes became demonstrations; rejections by cause; wall-clock seconds.

    grasp_turns: how the grasps differ from the demonstrated ones, where the robot could not carry those out.
    """

    accepted: int
    attempted: int
    rejections: dict[str, int]
    seconds: float
    grasp_turns: Turns = AS_SHOWN


def generate_one(
    demonstration: Demonstration,
    robot: Robot,
    planner: str | BimanualPlanner,
    placement: Placement,
    rng: np.random.Generator,
    config: GeneratorConfig | None = None,
) -> Episode | Rejection:
    """One scene, with varied start poses and, now and then, a push (see `GeneratorConfig`).

    placement: object -> pose (4, 4) in the task frame.

    Raises:
        GroundingError: the demonstration does not fit its template.
        ConfigError, PlanningError: an object or the planner is not known.
    """
    config = config or GeneratorConfig()
    skills = learn_skills(demonstration, level_grasps=config.level_grasps)
    if isinstance(planner, str):
        planner = make_planner(planner, robot, skills.shapes, config.rate_hz)
    return _vary(ScenePlanner(skills, robot, planner, config), placement, rng, config)


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
) -> GenerationReport:
    """Write a dataset of `n` demonstrations to the folder `out`; the same seed gives the same one for any `workers`.

    planner: "roboplan" proves every demonstration; "straight_line" leaves collisions out, as the paper does.
    keypoints_in_object: object -> (n, 3) m, to teach another instance than the demonstrated one.
    shapes: object -> cylinder for collisions; by default estimated from grasps and keypoints.

    Raises:
        GroundingError: the demonstration does not fit its template.
        GenerationError: too few scenes can be carried out.
        ConfigError, RobotError, DatasetError: a wrong choice, robot profile or output folder.
    """
    if planner not in PLANNERS:
        raise ConfigError(f"there is no planner {planner!r}; known: {', '.join(PLANNERS)}")
    if n < 1 or seed < 0:
        raise ConfigError(
            f"{n} demonstrations with seed {seed} are asked for; at least 1, and a seed from 0 on, are needed"
        )
    begin = time.monotonic()
    config = config or GeneratorConfig()
    task = SceneWork(
        demonstration=demonstration,
        profile=RobotProfile.load(profile_path),
        config=config,
        seed=seed,
        planner=planner,
        points_in_object=None if keypoints_in_object is None else dict(keypoints_in_object),
        shapes=None if shapes is None else dict(shapes),
    )
    # Also refuses a demonstration that does not fit, before any worker starts.
    task = replace(task, turns=task.chosen_turns())
    episodes: list[Episode] = []
    rejections: Counter[str] = Counter()
    attempted = 0
    results = make_executor(workers).run(task.attempt, n * config.attempts_per_episode)
    # Closing ends the workers, also when the caller is interrupted.
    with contextlib.closing(results):
        for result in results:
            attempted += 1
            if isinstance(result, Rejection):
                rejections[result.cause] += 1
            else:
                episodes.append(result)
            if progress is not None:
                progress(len(episodes), attempted, dict(rejections))
            if len(episodes) == n:
                break
            if attempted >= _HOPELESS and not episodes:
                raise GenerationError(
                    f"none of {attempted} scenes can be carried out by {task.profile.name} ({_counts(rejections)}; "
                    f"for example {result.message}); check the task's regions and the demonstration's grasps"
                )
    if len(episodes) < n:
        raise GenerationError(
            f"only {len(episodes)} of {n} demonstrations after {attempted} attempts ({_counts(rejections)})"
        )
    write_dataset(
        out,
        episodes,
        task=demonstration.task,
        keypoint_names=demonstration.keypoint_names,
        keypoint_groups=demonstration.keypoint_groups,
        keypoint_objects=demonstration.keypoint_objects,
        rate_hz=config.rate_hz,
        seed=seed,
        attempted=attempted,
        rejections=rejections,
        robot=task.profile.name,
        planner=planner,
        grasp_turns=asdict(task.turns),
        code_version=__version__,
    )
    return GenerationReport(len(episodes), attempted, dict(rejections), time.monotonic() - begin, task.turns)


@dataclass(frozen=True, eq=False)
class SceneWork:
    """Everything that one worker needs; the robot and its collision scene are made on first use, in the worker."""

    demonstration: Demonstration
    profile: RobotProfile
    config: GeneratorConfig
    seed: int
    planner: str
    points_in_object: dict[str, FloatArray] | None = None
    shapes: dict[str, Shape] | None = None
    turns: Turns = AS_SHOWN

    def __getstate__(self) -> dict[str, object]:
        return {name: self.__dict__[name] for name in self.__dataclass_fields__}

    @cached_property
    def skills(self) -> SkillSet:
        """What the demonstration teaches, with the grasps turned by `turns`."""
        skills = learn_skills(
            self.demonstration,
            points_in_object=self.points_in_object,
            shapes=self.shapes,
            level_grasps=self.config.level_grasps,
        )
        return turned(skills, self.turns)

    def chosen_turns(self) -> Turns:
        """The turns with which the robot can carry out the task; see `choose_turns`."""
        skills = replace(self, turns=AS_SHOWN).skills
        quick, thorough = (self._planner(name, skills) for name in ("straight_line", self.planner))
        return choose_turns(
            skills,
            lambda turned_skills: ScenePlanner(turned_skills, self._robot, quick, self.config),
            lambda turned_skills: ScenePlanner(turned_skills, self._robot, thorough, self.config),
            [self.scenes(index) for index in range(TRIAL_SCENES)],
            self.config.grasp_turn_limit,
        )

    @cached_property
    def scenes(self) -> SceneSampler:
        """Placement by index."""
        return SceneSampler(self.demonstration.task, self.seed)

    @cached_property
    def scene_planner(self) -> ScenePlanner:
        """Plans scenes; one per process."""
        planner = self._planner(self.planner, self.skills)
        return ScenePlanner(self.skills, self._robot, planner, self.config)

    @cached_property
    def _robot(self) -> Robot:
        return Robot(self.profile)

    def _planner(self, name: str, skills: SkillSet) -> BimanualPlanner:
        return make_planner(name, self._robot, skills.shapes, self.config.rate_hz)

    def attempt(self, index: int) -> Episode | Rejection:
        """Scene `index`: a demonstration, or why there is none. Depends on (seed, index) alone."""
        rng = np.random.default_rng([self.seed, 2, index])
        return _vary(self.scene_planner, self.scenes(index), rng, self.config)


def _vary(
    scenes: ScenePlanner, placement: Placement, rng: np.random.Generator, config: GeneratorConfig
) -> Episode | Rejection:
    try:
        scene = scenes.plan(placement, rng, scenes.random_starts(rng))
    except PlanFailure as failure:
        return Rejection(failure.code.value, str(failure))
    if rng.random() < config.recovery_probability:
        pushed = scenes.pushed(scene, rng)
        # A scene whose pushes all fail is still good as it is.
        if pushed is not None:
            scene = pushed[1]
    return scenes.episode(scene)


def _counts(rejections: Mapping[str, int]) -> str:
    return ", ".join(f"{cause} {count}" for cause, count in sorted(rejections.items())) or "no rejections"
