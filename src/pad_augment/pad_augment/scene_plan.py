"""Scenes: from object placements to proved trajectories of both arms with their keypoints.

One scene's decisions (slower, another way, another meeting place, the hands changed, a push) are a coroutine that asks
for choreographies and plans. `ScenePlanner.run` advances many of them together, so that what all of them ask for is
computed at once; what one scene becomes does not depend on the others.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from enum import IntEnum
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pad_augment.choreography import Pace, Phase, Scenes, choreograph, object_path
from pad_augment.config import GeneratorConfig
from pad_augment.dataset import Episode, ee_vectors
from pad_augment.equivariance import keypoints_of
from pad_augment.errors import ConfigError
from pad_augment.grasp_turns import AS_SHOWN, Turns, turned
from pad_augment.kinematics import ARMS, Robot
from pad_augment.planning.collisions import CollisionScene
from pad_augment.planning.dynamics import limit_ratios
from pad_augment.planning.interface import (
    BimanualPlanner,
    Body,
    Failure,
    Plan,
    PlanFailure,
    PlanRequest,
    Stretch,
)
from pad_augment.planning.sized import grown
from pad_augment.round_objects import unturned
from pad_augment.skills import SkillSet, Take, Work, reflected
from pad_augment.stacking import in_stacks
from pad_parse import geometry
from pad_parse.demonstration import KeypointState, SegmentKind

FloatArray = NDArray[np.float64]
Result = TypeVar("Result")
Asking = Generator["Ask | PlanRequest", Any, Result]

MEETING_SHIFTS = ((0.0, 0.0), (-0.05, 0.0), (0.0, 0.05), (-0.10, 0.05), (-0.15, 0.05), (0.0, 0.10), (-0.10, 0.12))
"""The meeting place is the demonstration's while both arms can be there, else the first of these shifts (x, z; m)."""
_TOO_FAST = (Failure.VELOCITY, Failure.ACCELERATION)
_OUT_OF_REACH = (Failure.UNREACHABLE_LEFT, Failure.UNREACHABLE_RIGHT)
_IN_THE_WAY = (Failure.SELF_COLLISION, Failure.ARMS_COLLISION, Failure.OBJECT_COLLISION, Failure.NO_PATH)
_OBSTACLE_TURN_STEP = np.radians(20.0)
_MOST_TURNS = 16
_TRIES_TO_SLOW = 6
_TRIES_TO_PUSH = 3
_CROSSED = 0.02
"""m; one thing upon another is on both sides."""
_MOVING_TIME = (0.3, 0.8)
"""s that an object takes when it is moved to another place, from and to."""
_STOPPING_TIME = 0.6
"""s that the arms take to stand when an object is moved."""
_REACHING = 2
"""Phases of a demonstration until the first objects are held: towards them, and the approach."""
_SAME_POSTURE = 1e-3
"""rad."""


@dataclass(frozen=True)
class Variant:
    """mirrored: whether the hands have changed their parts. turns: how grasps differ from those learnt."""

    mirrored: bool = False
    turns: Turns = AS_SHOWN


_AS_LEARNT = Variant()


@dataclass(frozen=True, eq=False)
class Scene:
    """placement: object -> (4, 4) at the start. starts: (2, 4, 4) TCP poses. scale: object -> size of the instance.

    turns: round object -> (4, 4), by which it is turned while its pose says that it is not; see `unturned`.
    """

    placement: Mapping[str, FloatArray]
    starts: FloatArray
    scale: Mapping[str, float] = field(default_factory=dict)
    turns: Mapping[str, FloatArray] = field(default_factory=dict)

    def standing(self, name: str) -> FloatArray:
        """(4, 4) of an object at the start, as it is turned."""
        pose = self.placement[name]
        return pose @ self.turns[name] if name in self.turns else pose


@dataclass(frozen=True, eq=False)
class Ask:
    """A choreography with its plan: at another meeting place, slower, with stops, or of a variant of the skills.

    start: (2 n,) rad to begin near; None: the robot's home. phases: how many are planned, from the first; None: all.
    """

    scene: Scene
    rng: np.random.Generator
    meeting: FloatArray
    motion: float = 1.0
    skill: float = 1.0
    stops: bool = False
    variant: Variant = _AS_LEARNT
    start: FloatArray | None = None
    phases: int | None = None


class Disturbance(IntEnum):
    """What happens in an episode besides the task."""

    NONE = 0
    ARMS_PUSHED = 1
    OBJECT_MOVED = 2


@dataclass(frozen=True, eq=False)
class ScenePlan:
    """A proved trajectory of T steps.

    plan: joints, poses, resulting openings; its lengths are those of `stretches`. command: (T, 2) m. kinds: (T, 2) of
    SegmentKind. yields: (T,) whether a push may happen. objects: object -> (T, 4, 4).
    """

    plan: Plan
    stretches: tuple[Stretch, ...]
    command: FloatArray
    kinds: NDArray[np.uint8]
    yields: NDArray[np.bool_]
    objects: dict[str, FloatArray]
    scene: Scene
    variant: Variant = _AS_LEARNT
    disturbance: Disturbance = Disturbance.NONE

    def __len__(self) -> int:
        return len(self.command)

    @property
    def mirrored(self) -> bool:
        """Whether the hands have changed their parts."""
        return self.variant.mirrored

    @property
    def placement(self) -> Mapping[str, FloatArray]:
        """Object -> (4, 4) at the start, as it is turned."""
        turns = self.scene.turns
        return {n: path[0] @ turns[n] if n in turns else path[0] for n, path in self.objects.items()}


@dataclass(frozen=True, eq=False)
class _Refused:
    """Why an `Ask` gave no plan, and the phase in which it failed."""

    failure: PlanFailure
    phase: Phase


class ScenePlanner:
    """Plans scenes of one demonstration for one robot."""

    def __init__(
        self,
        skills: SkillSet,
        robot: Robot,
        planner: BimanualPlanner,
        config: GeneratorConfig,
        mirrored: SkillSet | None = None,
    ) -> None:
        """mirrored: the skills of hands that have changed their parts; None: the mirror image of `skills`."""
        self._skills = {_AS_LEARNT: skills}
        if mirrored is not None:
            self._skills[Variant(mirrored=True)] = mirrored
        self._robot = robot
        self._planner = planner
        self._config = config
        self._shortest = config.motion_timing == "shortest"
        self._checkers: tuple[tuple[tuple[str, float], ...], CollisionScene] | None = None
        self._pace = pace_of(config, min(arm.max_opening for arm in robot.arms))
        self._home = np.stack([robot.fk(arm, robot.home[arm]) for arm in (0, 1)])
        parts = [part for beat in skills.beats if isinstance(beat, Work) for part in beat.parts]
        self._meets = any(part is not None and part.reference is None for part in parts)

    # --- one scene at a time -------------------------------------------------------------------------------------

    def plan(
        self, placement: Mapping[str, FloatArray], rng: np.random.Generator, starts: FloatArray | None = None
    ) -> ScenePlan:
        """The whole way for objects at `placement`, name -> (4, 4) in the task frame.

        starts: (2, 4, 4) TCP poses to start from; None: the robot's home.

        Raises:
            PlanFailure: with the cause.
            ConfigError: an object is missing or not known.
        """
        (result,) = self.run([self.planned(self.scene(placement, starts), rng)])
        if isinstance(result, PlanFailure):
            raise result
        return result

    def pushed(self, scene: ScenePlan, rng: np.random.Generator) -> tuple[int, ScenePlan] | None:
        """The scene from a random step on, with both arms pushed off their path there and led back to it.

        Returns the step and the trajectory from there, or None where no push that was tried could be carried out.
        """
        (result,) = self.run([self._pushed(scene, rng)])
        return result

    def scene(self, placement: Mapping[str, FloatArray], starts: FloatArray | None = None) -> Scene:
        """A scene of the demonstrated instances.

        Raises:
            ConfigError: an object is missing or not known.
        """
        known = set(self._skills[_AS_LEARNT].object_poses)
        given = set(placement)
        if not known <= given:
            raise ConfigError(
                f"poses are given for {', '.join(sorted(given)) or 'nothing'}; needed: {', '.join(sorted(known))}"
            )
        poses = {name: np.asarray(pose, dtype=np.float64) for name, pose in placement.items()}
        poses, turns = unturned(self._skills[_AS_LEARNT], poses)
        return Scene(poses, self._home if starts is None else starts, turns=turns)

    def varied(self, placement: Mapping[str, FloatArray], rng: np.random.Generator) -> Asking[ScenePlan | PlanFailure]:
        """A scene as it goes into a dataset: other start poses and instances, now and then a disturbance."""
        config = self._config
        starts = self.random_starts(rng)
        scene = replace(self.scene(placement, starts), scale=random_scale(self._skills[_AS_LEARNT], config, rng))
        if config.displacement_probability > 0 and rng.random() < config.displacement_probability:
            moved = yield from self._displaced(scene, rng)
            if moved is not None:
                return replace(moved, disturbance=Disturbance.OBJECT_MOVED)
        result = yield from self.planned(scene, rng)
        if isinstance(result, PlanFailure):
            return result
        if rng.random() < config.recovery_probability:
            pushed = yield from self._pushed(result, rng)
            # A scene whose pushes all fail is still good as it is.
            if pushed is not None:
                return replace(pushed[1], disturbance=Disturbance.ARMS_PUSHED)
        return result

    def collides_again(self, scene: ScenePlan, step: float) -> bool:
        """Check a whole scene anew for collisions, at most `step` rad between two checks, whoever planned it."""
        checker = self._checker(tuple(sorted(scene.scene.scale.items())))
        ends = np.cumsum(scene.plan.lengths)
        for stretch, end, length in zip(scene.stretches, ends, scene.plan.lengths, strict=True):
            # The step into the next stretch belongs to this one's contacts.
            rows = slice(end - length, end + 1)
            checker.arrange(stretch.bodies)
            if checker.first_collision(scene.plan.joints[rows], scene.plan.openings[rows], step) is not None:
                return True
        return False

    def _checker(self, sizes: tuple[tuple[str, float], ...]) -> CollisionScene:
        if self._checkers is None or self._checkers[0] != sizes:
            shapes = grown(self._skills[_AS_LEARNT].shapes, dict(sizes)) | self._config.obstacle_shapes()
            self._checkers = sizes, CollisionScene(self._robot, shapes)
        return self._checkers[1]

    def _variant(self, variant: Variant) -> SkillSet:
        if variant not in self._skills:
            skills = turned(self._skills[_AS_LEARNT], variant.turns)
            self._skills[variant] = reflected(skills) if variant.mirrored else skills
        return self._skills[variant]

    # --- decisions of one scene ----------------------------------------------------------------------------------

    def planned(
        self, scene: Scene, rng: np.random.Generator, phases: int | None = None
    ) -> Asking[ScenePlan | PlanFailure]:
        """The scene, if need be with the hands changed, or with grasps turned out of the way of obstacles.

        phases: as in `Ask`.
        """
        first, swapped = _AS_LEARNT, Variant(mirrored=True)
        if self._config.swap_hands and self._crossed(scene):
            first, swapped = swapped, first  # each hand takes what is on its side
        result = yield from self._anywhere(scene, rng, first, phases=phases)
        if not isinstance(result, PlanFailure):
            return result
        others: list[Variant] = []
        if self._config.swap_hands and (result.code in _OUT_OF_REACH or first.mirrored):
            others = [swapped]
        elif self._config.obstacles and result.code in _IN_THE_WAY:
            others = [Variant(turns=turns) for turns in self._turns]
        for variant in others:
            other = yield from self._anywhere(scene, rng, variant, phases=phases)
            if not isinstance(other, PlanFailure):
                return other
        return result

    def _crossed(self, scene: Scene) -> bool:
        """Whether what the left arm takes first stands clearly to the right of what the right arm takes first."""
        places: list[float | None] = [None, None]
        for beat in self._skills[_AS_LEARNT].beats:
            for arm, grip in enumerate(beat.grips if isinstance(beat, Take) else ()):
                if grip is not None and places[arm] is None:
                    places[arm] = float(scene.placement[grip.object][1, 3])
        return places[0] is not None and places[1] is not None and places[0] < places[1] - _CROSSED

    @cached_property
    def _turns(self) -> list[Turns]:
        """Turns of one grasp or both that are tried among obstacles, the smallest first."""
        steps = int(self._config.obstacle_turn / _OBSTACLE_TURN_STEP + 1e-9)
        angles = [_OBSTACLE_TURN_STEP * k for k in range(-steps, steps + 1)]
        every = [Turns(left, right) for left in angles for right in angles]
        return sorted(every, key=lambda turns: turns.effort)[1 : _MOST_TURNS + 1]

    def _anywhere(
        self,
        scene: Scene,
        rng: np.random.Generator,
        variant: Variant,
        start: FloatArray | None = None,
        phases: int | None = None,
    ) -> Asking[ScenePlan | PlanFailure]:
        """The scene at the demonstration's meeting place, or else at another. start, phases: as in `Ask`."""
        first_failure: PlanFailure | None = None
        for x, z in MEETING_SHIFTS if self._meets else MEETING_SHIFTS[:1]:
            meeting = geometry.make_pose(np.eye(3), [x, 0.0, z])
            ask = Ask(scene, rng, meeting, variant=variant, start=start, phases=phases)
            result = yield from self._at_some_pace(ask)
            if isinstance(result, ScenePlan):
                return self._turned_over(result) or result
            first_failure = first_failure or result.failure
            if not result.phase.to_meeting or result.failure.code in _TOO_FAST:
                return result.failure
        assert first_failure is not None
        return first_failure

    def _turned_over(self, scene: ScenePlan) -> PlanFailure | None:
        """Which arm has changed its posture on the way, and by which stretch; None where that may be."""
        if not self._config.keep_posture:
            return None
        ends = np.cumsum(scene.plan.lengths) - 1
        for arm in (0, 1):
            rows = np.concatenate([[0], ends])
            signs = self._robot.postures(arm, scene.plan.joints[rows, self._robot.columns(arm)])
            changed = np.flatnonzero(signs != signs[0])
            if len(changed):
                stretch = int(changed[0]) - 1
                return PlanFailure(_OUT_OF_REACH[arm], stretch, f"the {ARMS[arm]} arm turns over in stretch {stretch}")
        return None

    def _at_some_pace(self, ask: Ask) -> Asking[ScenePlan | _Refused]:
        if self._shortest:
            ask = replace(ask, stops=True)
        first, tries = ask, 0
        while True:
            result = yield ask
            if isinstance(result, ScenePlan):
                return result
            tries += 1
            slower = self._slower(ask, result) if tries <= _TRIES_TO_SLOW else None
            if slower is not None:
                ask = slower
            elif self._planner.finds_ways and result.phase.free and not ask.stops:
                ask, tries = replace(first, stops=True, skill=ask.skill), 0
            else:
                assert isinstance(result, _Refused)
                return result

    def _slower(self, ask: Ask, refused: _Refused) -> Ask | None:
        """The pace at which the failed phase keeps the limits; None if that is too slow, or not the matter."""
        failure = refused.failure
        if failure.code not in _TOO_FAST:
            return None
        factor = 1.08 * (failure.excess if failure.code is Failure.VELOCITY else np.sqrt(failure.excess))
        name = refused.phase.slowed_as
        slower = getattr(ask, name) * factor
        return replace(ask, **{name: slower}) if slower <= getattr(self._config, f"slowest_{name}") else None

    def _pushed(self, scene: ScenePlan, rng: np.random.Generator) -> Asking[tuple[int, ScenePlan] | None]:
        back = max(2, round(self._config.recovery_time * self._config.rate_hz))
        candidates = np.flatnonzero(pushable(scene.yields, scene.kinds, back))
        if not len(candidates):
            return None
        for _ in range(_TRIES_TO_PUSH):
            step = int(rng.choice(candidates))
            poses = self._pushed_poses(scene, step, back, rng)
            stretches = _sliced(scene, step, poses)
            plan = yield PlanRequest(stretches, start=scene.plan.joints[step], moving=True, sizes=scene.scene.scale)
            if isinstance(plan, Plan):
                return step, self._from(scene, step, plan, stretches)
        return None

    def _pushed_poses(self, scene: ScenePlan, step: int, back: int, rng: np.random.Generator) -> FloatArray:
        kinds = scene.kinds[step]
        scale = 0.5 if SegmentKind.SYNC_SKILL in kinds or SegmentKind.ASYNC_SKILL in kinds else 1.0
        poses = scene.plan.poses[step:].copy()
        fade = faded(np.arange(len(poses)), back)
        bodies = scene.stretches[int(np.searchsorted(np.cumsum(scene.plan.lengths), step, side="right"))].held
        for arm in (0, 1):
            shift = rng.uniform(-1, 1, 3) * self._config.recovery_position * scale
            turn = rng.uniform(-1, 1, 3) * self._config.recovery_rotation * scale
            if kinds[arm] == SegmentKind.IDLE:
                continue  # a hand that keeps still, keeps what it holds still
            if bodies[arm] is not None:
                shift[2] = abs(shift[2])  # what is carried is not pushed into the table
            poses[:, arm, :3, 3] += fade[:, None] * shift
            poses[:, arm, :3, :3] = geometry.rotation_exp(fade[:, None] * turn) @ poses[:, arm, :3, :3]
        return poses

    def _displaced(self, placed: Scene, rng: np.random.Generator) -> Asking[ScenePlan | None]:
        """The scene with an object that somebody moves while the arms reach for it; they stop and are led there anew.

        None where nothing is reached for first, or the object cannot be followed.
        """
        config, first = self._config, self._skills[_AS_LEARNT].beats[0]
        if not isinstance(first, Take):
            return None
        name = str(rng.choice([grip.object for grip in first.grips if grip is not None]))
        if name in in_stacks(self._skills[_AS_LEARNT].stack):
            return None  # nobody moves a container from under its lid
        angle, far = rng.uniform(0, 2 * np.pi), config.displacement_distance * rng.uniform(0.4, 1.0)
        place = np.array(placed.placement[name])
        place[:2, 3] += far * np.array([np.cos(angle), np.sin(angle)])
        others = [pose[:2, 3] for other, pose in placed.placement.items() if other != name]
        if others and min(np.linalg.norm(place[:2, 3] - other) for other in others) < config.minimum_distance:
            return None
        scene = yield from self.planned(placed, rng, _REACHING)
        if not isinstance(scene, ScenePlan) or not scene.stretches[0].free:
            return None
        stop = 2 * max(1, round(_STOPPING_TIME * config.rate_hz / 2))
        # While the arms come near, and up to the middle of the approach.
        latest = scene.plan.lengths[0] + scene.plan.lengths[1] // 2 - stop // 2
        if latest < 2:
            return None
        step = 1 + int((latest - 1) * np.sqrt(rng.uniform()))  # the nearer the hands are, the more there is to learn
        halt = step + stop // 2
        starts, joints = scene.plan.poses[halt], scene.plan.joints[halt]
        after = replace(placed, placement={**placed.placement, name: place}, starts=starts)
        later = yield from self._anywhere(after, rng, scene.variant, joints)
        if not isinstance(later, ScenePlan) or np.abs(later.plan.joints[0] - joints).max() > _SAME_POSTURE:
            return None
        # The old path, more and more slowly until the arms stand; from there they are led anew.
        time = np.arange(stop + 1)
        clock = step + time - time**2 / (2 * stop)
        before = np.minimum(clock.astype(np.intp), halt - 1)
        share = (clock - before)[:, None]
        poses = geometry.interpolate_pose(scene.plan.poses[before], scene.plan.poses[before + 1], share)
        halting = Stretch(poses, scene.plan.openings[before], False, later.stretches[0].bodies)
        plan = yield PlanRequest([halting], start=scene.plan.joints[step], moving=True, sizes=scene.scene.scale)
        if not isinstance(plan, Plan):
            return None
        moving = rng.uniform(*_MOVING_TIME) * config.rate_hz
        return self._joined(scene, step, plan, later, name, max(2, round(moving)))

    def _joined(
        self, scene: ScenePlan, step: int, halting: Plan, later: ScenePlan, name: str, moving: int
    ) -> ScenePlan | None:
        """`scene` up to a step before the grasp, the arms' halt, then `later`.

        From that step on the object `name` is moved, which takes `moving` steps. `halting` ends where `later` begins.
        """
        stop = len(halting.joints) - 1
        joints = np.concatenate([scene.plan.joints[:step], halting.joints[:-1], later.plan.joints])
        if max(ratio.max() for ratio in limit_ratios(self._robot, joints, self._config.rate_hz)) > 1.0:
            return None
        poses = np.concatenate([scene.plan.poses[:step], halting.poses[:-1], later.plan.poses])
        openings = np.concatenate([scene.plan.openings[:step], halting.openings[:-1], later.plan.openings])
        first = min(step, scene.plan.lengths[0])  # the step may be in the approach already
        parts = [(slice(0, first), scene.stretches[0]), (slice(first, step), scene.stretches[1])]
        before = [
            Stretch(poses[rows], openings[rows], of.free, of.bodies) for rows, of in parts if rows.start < rows.stop
        ]
        halt = slice(step, step + stop)
        stretches = (*before, Stretch(poses[halt], openings[halt], False, later.stretches[0].bodies), *later.stretches)
        lengths = (*(len(part) for part in before), stop, *later.plan.lengths)
        ways = (*("line" for _ in before), "line", *later.plan.ways)

        def along(old: NDArray[Any], new: NDArray[Any]) -> NDArray[Any]:
            return np.concatenate([old[:step], np.repeat(old[step : step + 1], stop, axis=0), new])

        objects = {
            n: np.concatenate([scene.objects[n][:step], np.repeat(path[:1], stop, axis=0), path])
            for n, path in later.objects.items()
        }
        moving = min(moving, len(joints) - step)
        share = 1 - faded(np.arange(moving), moving)
        way = objects[name][step : step + moving]
        way = geometry.interpolate_pose(scene.objects[name][0], way, share)
        objects[name][step : step + moving] = way
        bodies = later.stretches[0].bodies
        if self._swept(bodies, name, way, joints[step : step + moving], openings[step], scene.scene.scale):
            return None
        return ScenePlan(
            Plan(joints, poses, openings, lengths, ways),
            stretches,
            along(scene.command, later.command),
            along(scene.kinds, later.kinds),
            along(scene.yields, later.yields),
            objects,
            scene.scene,
            scene.variant,
        )

    def _swept(
        self,
        bodies: Mapping[str, Body],
        name: str,
        way: FloatArray,
        joints: FloatArray,
        openings: FloatArray,
        scale: Mapping[str, float],
    ) -> bool:
        """Whether an object that is moved along `way` (K, 4, 4) meets the arms at `joints` (K, 2 n) rad meanwhile."""
        checker = self._checker(tuple(sorted(scale.items())))
        between = np.linspace(0, len(way) - 1, 2 * len(way) - 1)
        before = np.minimum(between.astype(np.intp), max(len(way) - 2, 0))
        after, share = np.minimum(before + 1, len(way) - 1), between - before
        poses = geometry.interpolate_pose(way[before], way[after], share)
        postures = joints[before] + share[:, None] * (joints[after] - joints[before])
        for pose, posture in zip(poses, postures, strict=True):
            checker.arrange({**bodies, name: replace(bodies[name], pose=pose, touching=frozenset())})
            if checker.collides(posture, openings):
                return True
        return False

    def _from(self, scene: ScenePlan, step: int, plan: Plan, stretches: Sequence[Stretch]) -> ScenePlan:
        """The scene from a step on, along another plan."""
        ends = np.cumsum([len(s) for s in stretches])
        objects = {}
        for name, path in scene.objects.items():
            moved = path[step:].copy()
            for stretch, end in zip(stretches, ends, strict=True):
                body = stretch.bodies[name]
                if body.holder is not None:
                    rows = slice(end - len(stretch), end)
                    moved[rows] = plan.poses[rows, body.holder] @ body.pose
            objects[name] = moved
        return ScenePlan(
            plan,
            tuple(stretches),
            scene.command[step:],
            scene.kinds[step:],
            scene.yields[step:],
            objects,
            scene.scene,
            scene.variant,
        )

    # --- many scenes at once -------------------------------------------------------------------------------------

    def run(self, scenes: Sequence[Asking[Result]]) -> list[Result]:
        """Advance the coroutines of many scenes until all have a result."""
        out: dict[int, Result] = {}
        waiting: dict[int, Ask | PlanRequest] = {}

        def advance(index: int, answer: Any) -> None:
            try:
                waiting[index] = scenes[index].send(answer)
            except StopIteration as end:
                out[index] = end.value

        for index in range(len(scenes)):
            advance(index, None)
        while waiting:
            asked, waiting = waiting, {}
            for index, answer in self._answered(asked).items():
                advance(index, answer)
        return [out[index] for index in range(len(scenes))]

    def _answered(self, asked: Mapping[int, Ask | PlanRequest]) -> dict[int, Any]:
        # Phases that are as many belong together: with stops there are more.
        groups: dict[tuple[Variant, bool], list[int]] = {}
        for index, ask in asked.items():
            if isinstance(ask, Ask):
                groups.setdefault((ask.variant, ask.stops), []).append(index)
        phases: dict[int, tuple[list[Phase], int]] = {}
        for (variant, stops), members in groups.items():
            asks = [ask for ask in (asked[index] for index in members) if isinstance(ask, Ask)]
            made = choreograph(self._variant(variant), _together(asks), replace(self._pace, stops=stops))
            phases.update({index: (made, number) for number, index in enumerate(members)})
        requests = []
        for index, ask in asked.items():
            if isinstance(ask, Ask):
                made, number = phases[index]
                shortest = ask.motion if self._shortest else None
                asked_for = [phase.stretch(number) for phase in made[: ask.phases]]
                requests.append(
                    PlanRequest(asked_for, ask.stops, start=ask.start, shortest=shortest, sizes=ask.scene.scale)
                )
            else:
                requests.append(ask)
        # Only ways around are drawn, and only an `Ask` with stops leads to them.
        rngs = [ask.rng if isinstance(ask, Ask) else np.random.default_rng(0) for ask in asked.values()]
        answers: dict[int, Any] = {}
        for request, (index, ask), plan in zip(
            requests, asked.items(), self._planner.plan_many(requests, rngs), strict=True
        ):
            if not isinstance(ask, Ask):
                answers[index] = plan
                continue
            made, number = phases[index]
            if isinstance(plan, PlanFailure):
                answers[index] = _Refused(plan, made[plan.stretch])
            else:
                answers[index] = _scene_plan(made[: ask.phases], number, request.stretches, plan, ask)
        return answers

    # --- what a scene looks like ---------------------------------------------------------------------------------

    def random_starts(self, rng: np.random.Generator) -> FloatArray:
        """(2, 4, 4) TCP poses about the home, as far off as the config says."""
        return start_poses(self._home, self._config, rng.uniform(-1, 1, (2, 2, 3)))

    def keypoints(self, scene: ScenePlan) -> FloatArray:
        """(T, N, 3) m in the task frame: at rest, rigid with the gripper that holds them, settling when let go."""
        skills, turns = self._skills[_AS_LEARNT], scene.scene.turns

        def turned_points(name: str, points: FloatArray) -> FloatArray:
            return geometry.transform_points(turns[name], points) if name in turns else points

        moved = {
            name: keypoints_of(scene.objects[name], scene.scene.scale.get(name, 1.0) * turned_points(name, points))
            for name, points in skills.points_in_object.items()
        }
        return np.stack([moved[name][:, index] for name, index in skills.order], axis=1)

    def episode(self, scene: ScenePlan) -> Episode:
        """The scene as the dataset stores it."""
        keypoints = self.keypoints(scene)
        return Episode(
            keypoints=keypoints,
            keypoint_states=np.full(keypoints.shape[:2], KeypointState.VISIBLE, np.uint8),
            ee=ee_vectors(scene.plan.poses, scene.plan.openings),
            action=ee_vectors(scene.plan.poses, scene.command),
            joints=scene.plan.joints,
            segments=scene.kinds,
            object_poses=np.array([scene.scene.standing(name) for name in self._skills[_AS_LEARNT].object_poses]),
        )


def pace_of(config: GeneratorConfig, widest: float) -> Pace:
    """The pace of a config for grippers that open `widest` m."""
    shared = {f.name: getattr(config, f.name) for f in fields(Pace) if f.name in type(config).model_fields}
    shared["start_opening"] = min(config.start_opening, widest)
    return Pace(**shared)


def start_poses(home: FloatArray, config: GeneratorConfig, draws: FloatArray) -> FloatArray:
    """(..., 2, 4, 4) TCP poses about the home (2, 4, 4), as far off as the config says.

    draws: (..., 2, 2, 3) in [-1, 1], per arm a turn and a shift.
    """
    turn = geometry.rotation_exp(draws[..., 0, :] * config.start_rotation_noise)
    shift = draws[..., 1, :] * config.start_position_noise
    return geometry.make_pose(turn @ home[:, :3, :3], home[:, :3, 3] + shift)


def random_scale(skills: SkillSet, config: GeneratorConfig, rng: np.random.Generator) -> dict[str, float]:
    """Object -> size of the instance; nothing is drawn where all are alike. What is in a stack keeps its size."""
    if config.object_scale == 0:
        return {}
    drawn = {name: float(1 + rng.uniform(-1, 1) * config.object_scale) for name in skills.object_poses}
    return drawn | dict.fromkeys(in_stacks(skills.stack), 1.0)


def pushable(yields: NDArray[np.bool_], kinds: NDArray[np.uint8], back: int) -> NDArray[np.bool_]:
    """(T,) at which steps of an episode a push may happen that has faded `back` steps later."""
    out = yields.copy()
    out[max(len(out) - back, 0) :] = False
    # A push must have faded before contact is made, or the gripper would come in askew.
    rest = (kinds == SegmentKind.IDLE).all(axis=1)
    for first in np.flatnonzero(yields[:-1] & ~yields[1:] & ~rest[1:]) + 1:
        out[max(first - back, 0) : first] = False
    return out


def faded(steps: NDArray[np.int64], back: int) -> FloatArray:
    """What is left of a push, 1 at step 0 and 0 from step `back` on, smoothly."""
    s = np.clip(steps / back, 0.0, 1.0)
    return np.asarray(1 - s**3 * (10 - 15 * s + 6 * s**2))


def _together(asks: Sequence[Ask]) -> Scenes:
    names = asks[0].scene.placement
    return Scenes(
        placement={name: np.stack([ask.scene.placement[name] for ask in asks]) for name in names},
        starts=np.stack([ask.scene.starts for ask in asks]),
        meeting=np.stack([ask.meeting for ask in asks]),
        motion=np.array([ask.motion for ask in asks]),
        skill=np.array([ask.skill for ask in asks]),
        scale={name: np.array([ask.scene.scale.get(name, 1.0) for ask in asks]) for name in names},
    )


def _sliced(scene: ScenePlan, step: int, poses: FloatArray) -> list[Stretch]:
    """The scene's stretches from a step on, along other poses (T - step, 2, 4, 4)."""
    out = []
    for stretch, end in zip(scene.stretches, np.cumsum(scene.plan.lengths), strict=True):
        first = max(end - len(stretch), step)
        if first < end:
            openings = scene.plan.openings[first:end]
            out.append(Stretch(poses[first - step : end - step], openings, False, stretch.bodies))
    return out


def _scene_plan(phases: list[Phase], number: int, stretches: Sequence[Stretch], plan: Plan, ask: Ask) -> ScenePlan:
    command, kinds, yields, driven = [], [], [], []
    objects: dict[str, list[FloatArray]] = {name: [] for name in ask.scene.placement}
    end = 0
    for phase, stretch, length in zip(phases, stretches, plan.lengths, strict=True):
        rows, end = slice(end, end + length), end + length
        asked = phase.command[phase.rows(number)]
        # Where the planner went another way, the command is that of the whole free motion: it does not change there.
        command.append(asked if length == len(asked) else np.repeat(asked[:1], length, axis=0))
        kinds.append(np.tile(np.array(phase.kinds, np.uint8), (length, 1)))
        yields.append(np.full(length, phase.yields))
        driven.append(Stretch(plan.poses[rows], plan.openings[rows], stretch.free, stretch.bodies))
        for name, track in phase.tracks.items():
            path = None if track.path is None else track.path[phase.rows(number)]
            alone = replace(track, pose=track.pose[number : number + 1], path=path)
            objects[name].append(object_path(alone, plan.poses[rows], np.zeros(length, np.intp)))
    return ScenePlan(
        plan,
        tuple(driven),
        np.concatenate(command),
        np.concatenate(kinds),
        np.concatenate(yields),
        {name: np.concatenate(parts) for name, parts in objects.items()},
        ask.scene,
        ask.variant,
    )
