"""One demonstration becomes many, each proved on the robot: reach, limits, collisions; what fails is counted by cause."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pad_augment import __version__
from pad_augment.choreography import ArmPlan, Pace, choreograph
from pad_augment.collisions import CollisionScene, Shape
from pad_augment.dataset import Episode, write_dataset
from pad_augment.equivariance import keypoints_of
from pad_augment.errors import ConfigError, DatasetError, IkError, PadAugmentError
from pad_augment.executor import run_in_order
from pad_augment.kinematics import ARMS, Robot, RobotProfile
from pad_augment.sampling import Placement, SceneSampler
from pad_augment.skills import SkillSet, learn_skills
from pad_parse import geometry
from pad_parse.demonstration import Demonstration, KeypointState

FloatArray = NDArray[np.float64]
Progress = Callable[[int, int, dict[str, int]], None]
"""Called with (accepted, attempted, rejections by cause)."""

# The meeting place is the demonstration's while both arms reach it, else the nearest of these shifts towards the robots (x, z; m).
_MEETING_SHIFTS = [
    (0.0, 0.0),
    (-0.05, 0.0),
    (0.0, 0.05),
    (-0.10, 0.05),
    (-0.15, 0.05),
    (0.05, 0.0),
    (0.0, 0.10),
    (-0.10, 0.12),
]

# Tried in turn when an arm would be too fast.
_SLOWER = (1.0, 1.25, 1.6, 2.0)


class GeneratorConfig(BaseModel):
    """How demonstrations are generated; every field changes the result."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rate_hz: float = Field(10.0, ge=2, le=100, description="steps per second of the dataset")
    speed: float = Field(0.20, gt=0, le=1.0, description="m/s, mean speed of free motions of the TCP")
    turn_rate: float = Field(1.0, gt=0, le=4.0, description="rad/s, mean rate of turn of free motions")
    approach_distance: float = Field(
        0.10, ge=0.0, le=0.3, description="m back along the approach axis to the pre-grasp"
    )
    approach_time: float = Field(0.8, gt=0, le=5.0, description="s from the pre-grasp to the grasp")
    settle_time: float = Field(0.2, ge=0, le=2.0, description="s of stillness before the gripper closes")
    close_time: float = Field(0.5, gt=0, le=3.0, description="s for the gripper to close")
    lift_height: float = Field(0.05, ge=0.0, le=0.3, description="m straight up before the transport")
    end_time: float = Field(0.8, ge=0, le=5.0, description="s of stillness at the end")
    corner_time: float = Field(0.15, ge=0.01, le=1.0, description="s, standard deviation of the rounding of corners")
    finger_thickness: float = Field(
        0.014, ge=0, le=0.05, description="m that the distance of the fingertip joints exceeds the object's width"
    )
    squeeze: float = Field(
        0.025, ge=0, le=0.08, description="m by which the closing command undercuts the object's width"
    )
    start_position_noise: float = Field(0.04, ge=0, le=0.2, description="m, start pose of each TCP about home, uniform")
    start_rotation_noise: float = Field(
        0.15, ge=0, le=1.0, description="rad, start pose of each TCP about home, uniform"
    )
    recovery_probability: float = Field(
        0.35, ge=0, le=1, description="share of the episodes that begin mid-way with the arms pushed off their path"
    )
    recovery_position: float = Field(0.03, ge=0, le=0.1, description="m, largest push")
    recovery_rotation: float = Field(0.15, ge=0, le=1.0, description="rad, largest push")
    recovery_time: float = Field(1.0, gt=0.1, le=5.0, description="s until a pushed arm is back on its path")
    fine_steps: int = Field(4, ge=1, le=50, description="collision checks per step of the dataset")
    largest_attempts: int = Field(30, ge=1, description="attempts per wanted demonstration before giving up")

    @classmethod
    def from_options(cls, **options: object) -> GeneratorConfig:
        """Build a config from loose options; an unknown or wrong one is a `ConfigError` in one line."""
        try:
            return cls.model_validate(options)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "options"
            raise ConfigError(f"{where}: {first['msg']}; known: {', '.join(cls.model_fields)}") from error


@dataclass(frozen=True)
class Rejection:
    """Why a scene gave no demonstration; `cause` is one of CAUSES."""

    cause: str


CAUSES = (
    "unreachable_left",
    "unreachable_right",
    "joint_limit",
    "collision",
    "velocity",
    "acceleration",
)


@dataclass(frozen=True)
class GenerationReport:
    """accepted of attempted scenes became demonstrations; rejections by cause; wall-clock seconds."""

    accepted: int
    attempted: int
    rejections: dict[str, int]
    seconds: float


@dataclass(frozen=True, eq=False)
class Generator:
    """Everything that one worker needs; the robot and its collision scene are made on first use, in the worker.

    shapes: object -> cylinder, for collisions; by default the upright cylinder about each object's keypoints.
    """

    demonstration: Demonstration
    profile: RobotProfile
    config: GeneratorConfig
    seed: int
    points_in_object: dict[str, FloatArray] | None = None
    shapes: dict[str, Shape] | None = None
    planner: str = "roboplan"

    def __getstate__(self) -> dict[str, object]:
        return {name: self.__dict__[name] for name in self.__dataclass_fields__}

    @cached_property
    def robot(self) -> Robot:
        """Kinematics of the arm pair."""
        return Robot(self.profile)

    @cached_property
    def skills(self) -> SkillSet:
        """What the demonstration teaches."""
        return learn_skills(self.demonstration, self.config.rate_hz, self.points_in_object)

    @cached_property
    def scenes(self) -> SceneSampler:
        """Placement by index."""
        return SceneSampler(self.demonstration.task, self.seed)

    @cached_property
    def collision_scene(self) -> CollisionScene | None:
        """None for the planner `straight_line`, which plans in the end-effector space only, as the paper does."""
        if self.planner == "straight_line":
            return None
        return CollisionScene(self.robot, self.shapes or default_shapes(self.skills))

    @cached_property
    def pace(self) -> Pace:
        """The part of the config that shapes the motion."""
        shared = {name: getattr(self.config, name) for name in Pace.__dataclass_fields__ if name != "max_opening"}
        return Pace(**shared, max_opening=min(arm.max_opening for arm in self.robot.arms))

    def attempt(self, index: int) -> Episode | Rejection:
        """Scene `index`: a demonstration, or why there is none. Depends on (seed, index) alone."""
        return self.generate_one(self.scenes(index), np.random.default_rng([self.seed, 2, index]))

    def generate_one(
        self, placement: Placement, rng: np.random.Generator, *, variation: bool = True
    ) -> Episode | Rejection:
        """One scene: object name -> pose (4, 4). `variation` off: from home, undisturbed."""
        poses = {name: np.asarray(pose, dtype=np.float64) for name, pose in placement.items()}
        starts = np.array([self.robot.fk(arm, self.robot.home[arm]) for arm in (0, 1)])
        if variation:
            starts = np.array(
                [
                    self._pushed(pose, rng, self.config.start_position_noise, self.config.start_rotation_noise)
                    for pose in starts
                ]
            )
        refused: Rejection | None = None
        for x, z in _MEETING_SHIFTS:
            change = geometry.make_pose(np.eye(3), [x, 0.0, z])
            for slower in _SLOWER:
                plans = choreograph(self.skills, poses, starts, change, self.pace, slower)
                joints = self._solve(plans)
                if not isinstance(joints, Rejection) or joints.cause not in ("velocity", "acceleration"):
                    break
            if not isinstance(joints, Rejection):
                break
            refused = refused or joints
            if joints.cause in ("velocity", "acceleration") or not self._sync_is_why(plans):
                return refused
        else:
            assert refused is not None
            return refused
        return self._episode(plans, joints, poses, rng, variation)

    def _sync_is_why(self, plans: list[ArmPlan]) -> bool:
        """Whether the part before the skill can be reached, so that another meeting place may help."""
        try:
            for arm, plan in enumerate(plans):
                self.robot.ik_path(arm, plan.poses[: plan.grasped + 2])
        except IkError:
            return False
        return True

    def _episode(
        self, plans: list[ArmPlan], joints: FloatArray, placement: Placement, rng: np.random.Generator, variation: bool
    ) -> Episode | Rejection:
        poses = np.stack([plan.poses for plan in plans], axis=1)
        first = 0
        if variation and rng.random() < self.config.recovery_probability:
            first, poses = self._disturbed(plans, poses, rng)
            solved = self._solve_poses(poses[first:])
            if isinstance(solved, Rejection):
                return solved
            joints = np.concatenate([joints[:first], solved])
        openings = np.stack([plan.opening for plan in plans], axis=1)
        refused = self._check(plans, poses, joints, openings, first, placement)
        if refused is not None:
            return refused
        span = slice(first, None)
        command = np.stack([plan.command for plan in plans], axis=1)
        keypoints = self._keypoints(plans, poses, placement)[span]
        return Episode(
            keypoints=keypoints,
            keypoint_states=np.full(keypoints.shape[:2], KeypointState.VISIBLE, np.uint8),
            ee=_ee(poses[span], openings[span]),
            action=_ee(poses[span], command[span]),
            joints=joints[span],
            segments=np.stack([plan.kinds for plan in plans], axis=1)[span],
            object_poses=np.array([placement[name] for name in self.demonstration.task.object_names]),
        )

    def _solve(self, plans: list[ArmPlan]) -> FloatArray | Rejection:
        return self._solve_poses(np.stack([plan.poses for plan in plans], axis=1))

    def _solve_poses(self, poses: FloatArray) -> FloatArray | Rejection:
        """Joints (T, 12) along poses (T, 2, 4, 4), within limits of position, velocity and acceleration."""
        out = np.empty((len(poses), 12))
        for arm in (0, 1):
            try:
                out[:, 6 * arm : 6 * arm + 6] = self.robot.ik_path(arm, poses[:, arm])
            except IkError as error:
                return Rejection("joint_limit" if "joint limits" in str(error) else f"unreachable_{ARMS[arm]}")
        velocity = np.diff(out, axis=0) * self.config.rate_hz
        if (np.abs(velocity) > self.robot.velocity_limits.ravel()).any():
            return Rejection("velocity")
        acceleration = np.diff(velocity, axis=0) * self.config.rate_hz
        if (np.abs(acceleration) > self.robot.acceleration_limits.ravel()).any():
            return Rejection("acceleration")
        return out

    def _check(
        self,
        plans: list[ArmPlan],
        poses: FloatArray,
        joints: FloatArray,
        openings: FloatArray,
        first: int,
        placement: Placement,
    ) -> Rejection | None:
        """Collisions along the joint path, the objects standing until they are grasped and carried from then on."""
        scene = self.collision_scene
        if scene is None:
            return None
        scene.place(placement)
        borders = sorted(
            {
                first,
                len(poses),
                *(min(max(k, first), len(poses)) for plan in plans for k in (plan.closing[0], plan.grasped)),
            }
        )
        for start, end in zip(borders[:-1], borders[1:], strict=True):
            for arm, plan in enumerate(plans):
                skill = self.skills.arms[arm]
                if start >= plan.grasped:
                    scene.attach(arm, skill.object, geometry.inverse(skill.gripper_in_object))
                elif start >= plan.closing[0]:
                    scene.allow_grasp(arm, skill.object)
            fine_joints = _finer(joints[start : end + 1], self.config.fine_steps)
            fine_openings = _finer(openings[start : end + 1], self.config.fine_steps)
            if scene.first_collision(fine_joints, fine_openings) is not None:
                return Rejection("collision")
        return None

    def _disturbed(self, plans: list[ArmPlan], poses: FloatArray, rng: np.random.Generator) -> tuple[int, FloatArray]:
        """A step to begin at, and poses (T, 2, 4, 4) whose arms are pushed off there and come back smoothly."""
        back = max(2, round(self.config.recovery_time * self.config.rate_hz))
        approach = round(self.config.approach_time * self.config.rate_hz)
        free = np.ones(len(poses), bool)
        for plan in plans:
            low, high = plan.closing
            free[max(0, low - back) : high + round(0.3 * self.config.rate_hz)] = False
            free[max(0, low - back - approach // 2) : low] = False
        free[-back:] = False
        candidates = np.flatnonzero(free)
        if not len(candidates):
            return 0, poses
        first = int(rng.choice(candidates))
        s = np.clip((np.arange(len(poses)) - first) / back, 0.0, 1.0)
        fade = 1 - s**3 * (10 - 15 * s + 6 * s**2)
        out = poses.copy()
        in_skill = first >= min(plan.skill for plan in plans)
        for arm in (0, 1):
            scale = 0.5 if in_skill else 1.0
            shift = rng.uniform(-1, 1, 3) * self.config.recovery_position * scale
            turn = rng.uniform(-1, 1, 3) * self.config.recovery_rotation * scale
            if first >= plans[arm].grasped:
                shift[2] = abs(shift[2])  # a carried object is not pushed into the table
            out[first:, arm, :3, 3] += fade[first:, None] * shift
            out[first:, arm, :3, :3] = geometry.rotation_exp(fade[first:, None] * turn) @ poses[first:, arm, :3, :3]
        return first, out

    def _keypoints(self, plans: list[ArmPlan], poses: FloatArray, placement: Placement) -> FloatArray:
        """(T, N, 3): at rest until the grasp, then rigid with the gripper."""
        moved: dict[str, FloatArray] = {}
        holders = {self.skills.arms[arm].object: arm for arm in (0, 1)}
        for name, pose in placement.items():
            path = np.repeat(np.asarray(pose)[None], len(poses), axis=0)
            if name in holders:
                arm = holders[name]
                grasped = plans[arm].grasped
                offset = geometry.inverse(self.skills.arms[arm].gripper_in_object)
                path[grasped:] = poses[grasped:, arm] @ offset
            moved[name] = keypoints_of(path, self.skills.points_in_object[name])
        return np.stack([moved[name][:, k] for name, k in self.skills.order], axis=1)

    @staticmethod
    def _pushed(pose: FloatArray, rng: np.random.Generator, distance: float, angle: float) -> FloatArray:
        turn = geometry.rotation_exp(rng.uniform(-1, 1, 3) * angle)
        return geometry.make_pose(turn @ pose[:3, :3], pose[:3, 3] + rng.uniform(-1, 1, 3) * distance)


def default_shapes(skills: SkillSet) -> dict[str, Shape]:
    """Upright cylinders about the keypoints of each object, for objects whose size nobody stated."""
    out = {}
    for name, points in skills.points_in_object.items():
        radius = float(np.linalg.norm(points[:, :2] - points[:, :2].mean(0), axis=1).max())
        out[name] = Shape(max(radius, 0.02), max(float(points[:, 2].max()), 0.03))
    return out


def generate(
    demonstration: Demonstration,
    profile_path: str | Path,
    out: str | Path,
    n: int,
    seed: int,
    planner: str = "roboplan",
    workers: int = 1,
    config: GeneratorConfig | None = None,
    progress: Progress | None = None,
    keypoints_in_object: Mapping[str, FloatArray] | None = None,
    shapes: Mapping[str, Shape] | None = None,
) -> GenerationReport:
    """Write a dataset of `n` demonstrations to the folder `out`; the same seed gives the same one for any `workers`.

    planner: "roboplan" proves every demonstration on the robot; "straight_line" leaves collisions out, as the paper does.
    keypoints_in_object: object -> (n, 3) m, to teach another instance than the demonstrated one.
    shapes: object -> cylinder for collisions.

    Raises:
        PadAugmentError: the demonstration does not fit its template, or too few scenes can be carried out.
    """
    if planner not in PLANNERS:
        raise ConfigError(f"there is no planner {planner!r}; known: {', '.join(PLANNERS)}")
    if n < 1:
        raise ConfigError(f"{n} demonstrations are asked for; ask for at least 1")
    begin = time.monotonic()
    points = (
        None if keypoints_in_object is None else {k: np.asarray(v, np.float64) for k, v in keypoints_in_object.items()}
    )
    config = config or GeneratorConfig()
    generator = Generator(
        demonstration,
        RobotProfile.load(profile_path),
        config,
        seed,
        points,
        None if shapes is None else dict(shapes),
        planner,
    )
    generator.skills  # noqa: B018  a demonstration that does not fit is refused before any worker starts
    episodes: list[Episode] = []
    rejections: Counter[str] = Counter()
    attempted = 0
    for result in run_in_order(generator.attempt, n * config.largest_attempts, workers):
        attempted += 1
        if isinstance(result, Rejection):
            rejections[result.cause] += 1
        else:
            episodes.append(result)
        if progress is not None:
            progress(len(episodes), attempted, dict(rejections))
        if len(episodes) == n:
            break
        if attempted >= 200 and not episodes:
            raise PadAugmentError(
                f"none of {attempted} scenes can be carried out by {generator.profile.name} ({_counts(rejections)}); "
                "check the task's regions and the demonstration's grasps"
            )
    if len(episodes) < n:
        raise DatasetError(
            f"only {len(episodes)} of {n} demonstrations after {attempted} attempts ({_counts(rejections)})"
        )
    task = demonstration.task
    write_dataset(
        out,
        episodes,
        task=task,
        keypoint_names=demonstration.keypoint_names,
        keypoint_groups=demonstration.keypoint_groups,
        keypoint_objects=demonstration.keypoint_objects,
        rate_hz=config.rate_hz,
        seed=seed,
        attempted=attempted,
        rejections=rejections,
        robot=generator.profile.name,
        code_version=__version__,
    )
    return GenerationReport(len(episodes), attempted, dict(rejections), time.monotonic() - begin)


PLANNERS = ("roboplan", "straight_line")


def _counts(rejections: Mapping[str, int]) -> str:
    return ", ".join(f"{cause} {count}" for cause, count in sorted(rejections.items())) or "no rejections"


def _finer(values: FloatArray, factor: int) -> FloatArray:
    """Rows (K, m) with `factor - 1` interpolated rows between each two."""
    if len(values) < 2:
        return values
    k = np.arange((len(values) - 1) * factor + 1) / factor
    low = np.minimum(k.astype(int), len(values) - 2)
    share = (k - low)[:, None]
    return np.asarray((1 - share) * values[low] + share * values[low + 1])


def _ee(poses: FloatArray, openings: FloatArray) -> FloatArray:
    """EE vectors (T, 20) of poses (T, 2, 4, 4) and openings (T, 2)."""
    parts = [poses[..., :3, 3], geometry.rotation_6d(poses[..., :3, :3]), openings[..., None]]
    return np.concatenate(parts, axis=-1).reshape(len(poses), 20)
