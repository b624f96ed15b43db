"""One scene: from object placements to a proved trajectory of both arms with its keypoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from pad_augment.choreography import Pace, Phase, choreograph
from pad_augment.config import GeneratorConfig
from pad_augment.dataset import Episode
from pad_augment.equivariance import held_object, keypoints_of
from pad_augment.errors import ConfigError
from pad_augment.kinematics import Robot
from pad_augment.planning.collisions import CollisionScene
from pad_augment.planning.interface import (
    BimanualPlanner,
    Failure,
    Holding,
    Plan,
    PlanFailure,
    PlanRequest,
    Stretch,
    World,
)
from pad_augment.skills import SkillSet
from pad_parse import geometry
from pad_parse.demonstration import KeypointState, SegmentKind

FloatArray = NDArray[np.float64]

MEETING_SHIFTS = ((0.0, 0.0), (-0.05, 0.0), (0.0, 0.05), (-0.10, 0.05), (-0.15, 0.05), (0.0, 0.10), (-0.10, 0.12))
"""The meeting place is the demonstration's while both arms can be there, else the first of these shifts (x, z; m)."""
_TOO_FAST = (Failure.VELOCITY, Failure.ACCELERATION)
_TRIES_TO_SLOW = 4
_TRIES_TO_PUSH = 3


@dataclass(frozen=True, eq=False)
class ScenePlan:
    """A proved trajectory of T steps.

    plan: joints, poses, resulting openings. command: (T, 2) m. kinds: (T,) of SegmentKind. closing: first step at which
    the grippers may touch their objects. grasped: first step from which the objects move with the grippers.
    placement: object -> (4, 4) at the start.
    """

    plan: Plan
    command: FloatArray
    kinds: NDArray[np.uint8]
    closing: int
    grasped: int
    placement: dict[str, FloatArray]


class ScenePlanner:
    """Plans scenes of one demonstration for one robot."""

    def __init__(self, skills: SkillSet, robot: Robot, planner: BimanualPlanner, config: GeneratorConfig) -> None:
        self._skills = skills
        self._robot = robot
        self._planner = planner
        self._config = config
        shared = {f.name: getattr(config, f.name) for f in fields(Pace) if f.name in type(config).model_fields}
        shared["start_opening"] = min(config.start_opening, *(arm.max_opening for arm in robot.arms))
        self._pace = Pace(**shared)
        self._in_gripper = {arm.object: geometry.inverse(arm.gripper_in_object) for arm in skills.arms}

    def plan(
        self, placement: Mapping[str, FloatArray], rng: np.random.Generator, starts: FloatArray | None = None
    ) -> ScenePlan:
        """The whole way for objects at `placement`, name -> (4, 4) in the task frame.

        starts: (2, 4, 4) TCP poses to start from; None: the robot's home.

        Raises:
            PlanFailure: with the cause.
            ConfigError: an object is missing or not known.
        """
        known = set(self._skills.object_poses)
        if set(placement) != known:
            raise ConfigError(
                f"poses are given for {', '.join(sorted(placement)) or 'nothing'}; needed: {', '.join(sorted(known))}"
            )
        poses = {name: np.asarray(pose, dtype=np.float64) for name, pose in placement.items()}
        if starts is None:
            starts = np.stack([self._robot.fk(arm, self._robot.home[arm]) for arm in (0, 1)])
        first_failure: PlanFailure | None = None
        for x, z in MEETING_SHIFTS:
            try:
                return self._plan_at(poses, starts, geometry.make_pose(np.eye(3), [x, 0.0, z]), rng)
            except _MeetingFailure as failure:
                first_failure = first_failure or failure.cause
        assert first_failure is not None
        raise first_failure

    def _plan_at(
        self, placement: dict[str, FloatArray], starts: FloatArray, change: FloatArray, rng: np.random.Generator
    ) -> ScenePlan:
        pace = self._pace
        tries = 0
        while True:
            phases = choreograph(self._skills, placement, starts, change, pace)
            request = PlanRequest(
                World(placement, self._in_gripper), [phase.stretch for phase in phases], at_rest=pace.stops
            )
            try:
                return _scene_plan(phases, self._planner.plan(request, rng), placement)
            except PlanFailure as failure:
                tries += 1
                phase = phases[failure.stretch]
                slower = self._slower(pace, phase.kind, failure) if tries <= _TRIES_TO_SLOW else None
                if slower is not None:
                    pace = slower
                elif self._planner.finds_ways and phase.stretch.free and not pace.stops:
                    pace = replace(self._pace, stops=True)
                    tries = 0
                elif phase.kind in (SegmentKind.SYNC_SKILL, SegmentKind.IDLE) and failure.code not in _TOO_FAST:
                    raise _MeetingFailure(failure) from failure
                else:
                    raise

    def _slower(self, pace: Pace, kind: SegmentKind, failure: PlanFailure) -> Pace | None:
        """The pace at which the failed phase keeps the limits; None if that is too slow, or not the matter."""
        if failure.code not in _TOO_FAST:
            return None
        factor = 1.08 * (failure.excess if failure.code is Failure.VELOCITY else np.sqrt(failure.excess))
        name = "skill" if kind in (SegmentKind.SYNC_SKILL, SegmentKind.IDLE) else "motion"
        slower = getattr(pace, name) * factor
        return replace(pace, **{name: slower}) if slower <= getattr(self._config, f"slowest_{name}") else None

    def pushed(self, scene: ScenePlan, rng: np.random.Generator) -> tuple[int, ScenePlan] | None:
        """The scene from a random step on, with both arms pushed off their path there and led back to it.

        Returns the step and the trajectory from there, or None where no push that was tried could be carried out.
        """
        config, total = self._config, len(scene.kinds)
        back = max(2, round(config.recovery_time * config.rate_hz))
        movable = np.isin(scene.kinds, (SegmentKind.MOTION, SegmentKind.SYNC_SKILL))
        movable[max(total - back, 0) :] = False
        # A push must have faded before an approach begins, or the gripper would come in askew.
        for first in np.flatnonzero(np.diff(scene.kinds.astype(int)) != 0) + 1:
            if scene.kinds[first] == SegmentKind.ASYNC_SKILL:
                movable[max(first - back, 0) : first] = False
        candidates = np.flatnonzero(movable)
        if not len(candidates):
            return None
        for _ in range(_TRIES_TO_PUSH):
            step = int(rng.choice(candidates))
            poses = self._pushed_poses(scene, step, back, rng)
            try:
                return step, self._replanned(scene, step, poses, rng)
            except PlanFailure:
                continue
        return None

    def _pushed_poses(self, scene: ScenePlan, step: int, back: int, rng: np.random.Generator) -> FloatArray:
        scale = 0.5 if scene.kinds[step] == SegmentKind.SYNC_SKILL else 1.0
        poses = scene.plan.poses[step:].copy()
        s = np.clip(np.arange(len(poses)) / back, 0.0, 1.0)
        fade = 1 - s**3 * (10 - 15 * s + 6 * s**2)
        for arm in (0, 1):
            shift = rng.uniform(-1, 1, 3) * self._config.recovery_position * scale
            turn = rng.uniform(-1, 1, 3) * self._config.recovery_rotation * scale
            if step >= scene.grasped:
                shift[2] = abs(shift[2])  # what is carried is not pushed into the table
            poses[:, arm, :3, 3] += fade[:, None] * shift
            poses[:, arm, :3, :3] = geometry.rotation_exp(fade[:, None] * turn) @ poses[:, arm, :3, :3]
        return poses

    def _replanned(self, scene: ScenePlan, step: int, poses: FloatArray, rng: np.random.Generator) -> ScenePlan:
        stretches = []
        for span, held, touched in self._contacts(scene):
            first = max(span.start, step)
            if first < span.stop:
                rows = slice(first - step, span.stop - step)
                openings = scene.plan.openings[first : span.stop]
                stretches.append(Stretch(poses[rows], openings, free=False, held=held, touched=touched))
        request = PlanRequest(
            World(scene.placement, self._in_gripper), stretches, start=scene.plan.joints[step], moving=True
        )
        plan = self._planner.plan(request, rng)
        return ScenePlan(
            plan,
            scene.command[step:],
            scene.kinds[step:],
            max(scene.closing - step, 0),
            max(scene.grasped - step, 0),
            scene.placement,
        )

    def collides_again(self, scene: ScenePlan, step: float) -> bool:
        """Check a whole scene anew for collisions, at most `step` rad between two checks, whoever planned it."""
        checker = CollisionScene(self._robot, self._skills.shapes)
        world = World(scene.placement, self._in_gripper)
        for span, held, touched in self._contacts(scene):
            checker.arrange(world, held, touched)
            if checker.first_collision(scene.plan.joints[span], scene.plan.openings[span], step) is not None:
                return True
        return False

    def _contacts(self, scene: ScenePlan) -> list[tuple[slice, Holding, Holding]]:
        """Steps with what is held and what is touched in them."""
        nothing: Holding = (None, None)
        names: Holding = (self._skills.arms[0].object, self._skills.arms[1].object)
        parts = [
            (slice(0, scene.closing), nothing, nothing),
            (slice(scene.closing, scene.grasped), nothing, names),
            (slice(scene.grasped, len(scene.kinds)), names, nothing),
        ]
        return [part for part in parts if part[0].start < part[0].stop]

    def random_starts(self, rng: np.random.Generator) -> FloatArray:
        """(2, 4, 4) TCP poses about the home, as far off as the config says."""
        out = np.stack([self._robot.fk(arm, self._robot.home[arm]) for arm in (0, 1)])
        for arm in (0, 1):
            turn = geometry.rotation_exp(rng.uniform(-1, 1, 3) * self._config.start_rotation_noise)
            out[arm, :3, :3] = turn @ out[arm, :3, :3]
            out[arm, :3, 3] += rng.uniform(-1, 1, 3) * self._config.start_position_noise
        return out

    def keypoints(self, scene: ScenePlan) -> FloatArray:
        """(T, N, 3) m in the task frame: at rest until the grasp, then rigid with the gripper."""
        total = len(scene.kinds)
        moved: dict[str, FloatArray] = {}
        for name, pose in scene.placement.items():
            path = np.repeat(pose[None], total, axis=0)
            for arm in (0, 1):
                if self._skills.arms[arm].object == name:
                    carried = scene.plan.poses[scene.grasped :, arm]
                    path[scene.grasped :] = held_object(carried, self._in_gripper[name])
            moved[name] = keypoints_of(path, self._skills.points_in_object[name])
        return np.stack([moved[name][:, index] for name, index in self._skills.order], axis=1)

    def episode(self, scene: ScenePlan) -> Episode:
        """The scene as the dataset stores it."""
        keypoints = self.keypoints(scene)
        return Episode(
            keypoints=keypoints,
            keypoint_states=np.full(keypoints.shape[:2], KeypointState.VISIBLE, np.uint8),
            ee=_ee(scene.plan.poses, scene.plan.openings),
            action=_ee(scene.plan.poses, scene.command),
            joints=scene.plan.joints,
            segments=np.repeat(scene.kinds[:, None], 2, axis=1),
            object_poses=np.array([scene.placement[name] for name in self._skills.object_poses]),
        )


class _MeetingFailure(Exception):
    """The arms cannot be where the demonstration's hands met."""

    def __init__(self, cause: PlanFailure) -> None:
        super().__init__(str(cause))
        self.cause = cause


def _scene_plan(phases: list[Phase], plan: Plan, placement: dict[str, FloatArray]) -> ScenePlan:
    command, kinds = [], []
    for phase, length in zip(phases, plan.lengths, strict=True):
        # Where the planner went another way, the command is that of the whole free motion: it does not change there.
        same = length == len(phase.command)
        command.append(phase.command if same else np.repeat(phase.command[:1], length, axis=0))
        kinds.append(np.full(length, phase.kind, np.uint8))
    contacts = [(phase.stretch, length) for phase, length in zip(phases, plan.lengths, strict=True)]
    closing = sum(length for stretch, length in contacts if stretch.held == stretch.touched == (None, None))
    grasped = sum(length for stretch, length in contacts if stretch.held == (None, None))
    return ScenePlan(plan, np.concatenate(command), np.concatenate(kinds), closing, grasped, placement)


def _ee(poses: FloatArray, openings: FloatArray) -> FloatArray:
    """EE vectors (T, 20) of poses (T, 2, 4, 4) and openings (T, 2)."""
    parts = [poses[..., :3, 3], geometry.rotation_6d(poses[..., :3, :3]), openings[..., None]]
    return np.concatenate(parts, axis=-1).reshape(len(poses), 20)
