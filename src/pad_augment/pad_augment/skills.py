"""What a grounded demonstration teaches: what the hands take, what they do with it, and what they let go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from pad_augment.errors import GroundingError
from pad_augment.grounding import Grasp, Grounding, Skill, ground_stages
from pad_augment.kinematics import ARMS
from pad_augment.planning.interface import Shape
from pad_augment.stacking import Stack, standing_on
from pad_parse import geometry
from pad_parse.demonstration import Demonstration, SegmentKind

FloatArray = NDArray[np.float64]


SMOOTHING = 0.08
"""s; standard deviation of the filter over the objects' tracked poses, which an arm could not follow otherwise."""
CARRIED = 0.02
"""m; an object that the other hand holds has been brought somewhere if it is farther than this from where it was."""
STANDS = 0.012
"""m; an object this near to the height at which it began stands at the end of the demonstration."""
LONGEST_SETTLING = 1.5
"""s after the hand has opened in which an object may still move: fall, roll or tip."""
_INSIDE = 0.004


@dataclass(frozen=True, eq=False)
class Grip:
    """How an arm holds an object.

    gripper_in_object: (4, 4) fixed while it holds. opening: m between thumb and index tip while it holds.
    """

    object: str
    gripper_in_object: FloatArray
    opening: float


@dataclass(frozen=True, eq=False)
class Take:
    """Arms that take an object, at the same time; the other one keeps still.

    grips: left, right. giver: the arm that holds the object until then, and lets go as soon as it has been taken over.
    """

    grips: tuple[Grip | None, Grip | None]
    giver: int | None = None


@dataclass(frozen=True, eq=False)
class Part:
    """One arm's part in `Work`.

    poses: (K, 4, 4) TCP in the task frame as demonstrated, at the work's stamps.
    reference: the object whose change of pose the poses go along with; None: they stay where they were shown.
    reference_pose: (4, 4) of it in the demonstration; of no use without a reference.
    """

    poses: FloatArray
    reference: str | None
    reference_pose: FloatArray


@dataclass(frozen=True, eq=False)
class Settling:
    """How an object moves once it has been let go: (M, 4, 4) `dT` in the demonstration's task frame, M at `stamps`."""

    stamps: FloatArray
    changes: FloatArray


@dataclass(frozen=True, eq=False)
class Work:
    """A skill of one arm or of both, on one clock; a part of None keeps still.

    kind: SYNC_SKILL or ASYNC_SKILL. stamps: (K,) s from 0. release: arms that let go at the end. touching: pairs of
    objects, or of an arm and an object, that touch in the demonstration. early: those of them that touch at the start.
    settling: how objects move that are let go.
    """

    stage: str
    kind: SegmentKind
    stamps: FloatArray
    parts: tuple[Part | None, Part | None]
    active: tuple[bool, bool]
    release: tuple[bool, bool]
    touching: frozenset[tuple[str, str]]
    early: frozenset[tuple[str, str]]
    settling: Mapping[str, Settling]


@dataclass(frozen=True, eq=False)
class SkillSet:
    """What the arms do one after the other, and where the objects stood: name -> (4, 4).

    points_in_object: name -> (n, 3) m, keypoints in their objects' frames; `order` gives (object, index) of each of
    the N keypoints. shapes: name -> the cylinder that is taken for the object. mirrored: whether the hands have changed
    their parts. stack: what stands on something else at the start. round: objects that are the same from all sides.
    """

    beats: tuple[Take | Work, ...]
    object_poses: dict[str, FloatArray]
    points_in_object: dict[str, FloatArray]
    order: list[tuple[str, int]]
    shapes: dict[str, Shape]
    mirrored: bool = False
    stack: Stack = field(default_factory=dict)
    round: frozenset[str] = frozenset()


def learn_skills(
    demonstration: Demonstration,
    *,
    points_in_object: Mapping[str, FloatArray] | None = None,
    shapes: Mapping[str, Shape] | None = None,
    level_grasps: bool = True,
) -> SkillSet:
    """Take the skills out of a demonstration.

    points_in_object: keypoints (n, 3) m per object of another instance; by default the demonstration's own.
    shapes: cylinder per object; by default `estimate_shape`.
    level_grasps: turn each grasp so that the closing axis is level in the object's frame: parallel jaws hold an
    upright object best so, and a hand's estimated pose is some degrees off.

    Raises:
        GroundingError: the demonstration does not fit its template, nothing is done with what is taken, or keypoints
            are missing.
    """
    grounding = ground_stages(demonstration)
    if not grounding.skills:
        raise GroundingError(f"task {demonstration.task.name!r} has no stage of kind skill: nothing to do is shown")
    first = {
        n: demonstration.object_poses[n][0] for n in demonstration.task.object_names if n in demonstration.object_poses
    }
    order: list[tuple[str, int]] = []
    for name in demonstration.keypoint_objects:
        order.append((name, sum(1 for other, _ in order if other == name)))
    points = _own_points(demonstration, first) if points_in_object is None else dict(points_in_object)
    for name in first:
        count = demonstration.keypoint_objects.count(name)
        known = np.asarray(points.get(name, np.empty((0, 3))), dtype=np.float64)
        if known.shape != (count, 3) or not np.isfinite(known).all():
            raise GroundingError(
                f"{name!r} has {count} keypoints whose places on it must be known; "
                f"{np.isfinite(known).all(-1).sum()} are"
            )
        points[name] = known
    grips = {grasp: _grip(demonstration, grasp, level_grasps) for grasp in grounding.grasps}
    holders = {grip.object: grip for grip in reversed(grips.values())}
    estimated = {name: estimate_shape(points[name], holders.get(name)) for name in first}
    every_shape = {**estimated, **dict(shapes or {})}
    return SkillSet(
        beats=_Score(demonstration, grounding, grips, every_shape).beats(),
        object_poses=first,
        points_in_object=points,
        order=order,
        shapes=every_shape,
        stack=standing_on(first, every_shape),
        round=frozenset(name for name in first if demonstration.task.objects[name].round),
    )


def reflected(skills: SkillSet) -> SkillSet:
    """The skills mirrored in the task frame's x-z plane, the arms swapped: each object is taken by the other hand.

    With S = diag(1, -1, 1) a pose (R, x) becomes (S R S, S x), a proper rotation again. Objects keep their keypoints
    and shapes: each is mirrored across a plane through its axis. Where that lies beside its origin, the origin moves
    by D: an object's pose T becomes S T S D, and a grasp G in it inv(D) S G S. Its own inverse.
    """
    mirror = geometry.reflect_pose

    def beside(name: str | None) -> FloatArray:
        across = 0.0 if name is None else skills.shapes[name].centre[1]
        return geometry.make_pose(np.eye(3), [0.0, -2 * across, 0.0])

    def grip(value: Grip | None) -> Grip | None:
        if value is None:
            return None
        in_object = geometry.inverse(beside(value.object)) @ mirror(value.gripper_in_object)
        return replace(value, gripper_in_object=in_object)

    def part(value: Part | None) -> Part | None:
        if value is None:
            return None
        reference = mirror(value.reference_pose) @ beside(value.reference)
        return replace(value, poses=mirror(value.poses), reference_pose=reference)

    def pairs(values: frozenset[tuple[str, str]]) -> frozenset[tuple[str, str]]:
        other = {ARMS[0]: ARMS[1], ARMS[1]: ARMS[0]}
        return frozenset((other.get(a, a), b) for a, b in values)

    beats: list[Take | Work] = []
    for beat in skills.beats:
        if isinstance(beat, Take):
            giver = None if beat.giver is None else 1 - beat.giver
            beats.append(Take((grip(beat.grips[1]), grip(beat.grips[0])), giver))
            continue
        settling = {n: replace(s, changes=mirror(s.changes)) for n, s in beat.settling.items()}
        beats.append(
            replace(
                beat,
                parts=(part(beat.parts[1]), part(beat.parts[0])),
                active=(beat.active[1], beat.active[0]),
                release=(beat.release[1], beat.release[0]),
                touching=pairs(beat.touching),
                early=pairs(beat.early),
                settling=settling,
            )
        )
    poses = {name: mirror(pose) @ beside(name) for name, pose in skills.object_poses.items()}
    return replace(skills, beats=tuple(beats), object_poses=poses, mirrored=not skills.mirrored)


class _Score:
    """Grasps and skills of a demonstration, in an order in which two arms can carry them out."""

    def __init__(
        self,
        demonstration: Demonstration,
        grounding: Grounding,
        grips: Mapping[Grasp, Grip],
        shapes: Mapping[str, Shape],
    ) -> None:
        self._demo = demonstration
        self._grounding = grounding
        self._grips = grips
        self._shapes = shapes
        sigma = SMOOTHING / float(np.median(np.diff(demonstration.stamps)))
        self._smooth = {n: geometry.smooth_poses(p, sigma) for n, p in demonstration.object_poses.items()}

    def beats(self) -> tuple[Take | Work, ...]:
        events: list[Grasp | Skill] = [*self._grounding.grasps, *self._grounding.skills]
        events.sort(key=lambda e: e.close if isinstance(e, Grasp) else e.start)
        out: list[Take | Work] = []
        holds: list[Grasp | None] = [None, None]
        places = {name: poses[0] for name, poses in self._smooth.items()}
        while events:
            event = events.pop(0)
            other = events[0] if events else None
            if isinstance(event, Grasp):
                group = [event]
                if isinstance(other, Grasp) and other.arm != event.arm and other.object != event.object:
                    group.append(other)
                    events.pop(0)
                out.append(self._take(group, holds))
                for grasp in group:
                    holds[grasp.arm] = grasp
                continue
            together = [event]
            if isinstance(other, Skill) and self._beside(event, other, holds):
                together.append(other)
                events.pop(0)
            following = events[0] if events else None
            out.append(self._work(together, holds, places, following))
        return tuple(out)

    def _beside(self, one: Skill, other: Skill, holds: Sequence[Grasp | None]) -> bool:
        """Whether two skills of one arm each are shown at the same time and have nothing to do with each other."""
        if one.sync or other.sync or len(one.arms) != 1 or len(other.arms) != 1 or one.arms == other.arms:
            return False
        apart = {one.object, one.reference}.isdisjoint({other.object, other.reference})
        return apart and other.start < one.end and holds[other.arms[0]] is not None

    def _take(self, group: Sequence[Grasp], holds: list[Grasp | None]) -> Take:
        grips: list[Grip | None] = [None, None]
        giver = None
        for grasp in group:
            before = holds[grasp.arm]
            if before is not None:
                raise GroundingError(
                    f"stage {grasp.stage!r}: the {ARMS[grasp.arm]} hand takes the {grasp.object!r} while it holds "
                    f"the {before.object!r}, which no skill stage puts down"
                )
            other = holds[1 - grasp.arm]
            if other is not None and other.object == grasp.object:
                if other.end >= grasp.end:
                    raise GroundingError(
                        f"stage {grasp.stage!r}: the {ARMS[grasp.arm]} hand takes the {grasp.object!r} over, but the "
                        f"{ARMS[other.arm]} hand does not let go of it; show that it does"
                    )
                giver = other.arm
            grips[grasp.arm] = self._grips[grasp]
        if giver is not None:
            holds[giver] = None
        return Take((grips[0], grips[1]), giver)

    def _work(
        self,
        skills: Sequence[Skill],
        holds: list[Grasp | None],
        places: dict[str, FloatArray],
        following: Grasp | Skill | None,
    ) -> Work:
        stamps = self._demo.stamps
        start, end = min(s.start for s in skills), max(s.end for s in skills)
        if end - start < 2:
            raise GroundingError(f"stage {skills[0].stage!r} is a single frame long")
        span = np.arange(start, end)
        parts: list[Part | None] = [None, None]
        for arm in (0, 1):
            skill = next((s for s in skills if arm in s.arms), None)
            if skill is not None:
                parts[arm] = self._part(arm, skill, span, holds, following)
            elif holds[arm] is not None:
                parts[arm] = self._kept(arm, start, len(span), holds, places)
        active = tuple(any(arm in s.arms for s in skills) for arm in (0, 1))
        # Before the next stage, or at the end, a hand that has opened has let go.
        until = len(stamps)
        if following is not None:
            until = following.close + 1 if isinstance(following, Grasp) else following.start + 1
        release = [grasp is not None and grasp.end < until for grasp in holds]
        for arm, grasp in enumerate(holds):
            if grasp is not None and following is None and grasp.end == len(stamps):
                release[arm] = self._stands(grasp.object)
        held = [grasp.object for grasp in holds if grasp is not None]
        touching, early = self._touching(span, holds, held)
        settling = {}
        for arm, grasp in enumerate(holds):
            if grasp is None:
                continue
            places[grasp.object] = self._smooth[grasp.object][end - 1]
            if release[arm]:
                settled = self._settling(grasp, grasp.end - 1)
                if settled is not None:
                    settling[grasp.object] = settled
                    places[grasp.object] = settled.changes[-1] @ places[grasp.object]
                holds[arm] = None
        both = any(s.sync for s in skills)
        return Work(
            " and ".join(s.stage for s in skills),
            SegmentKind.SYNC_SKILL if both else SegmentKind.ASYNC_SKILL,
            stamps[start:end] - stamps[start],
            (parts[0], parts[1]),
            (bool(active[0]), bool(active[1])),
            (release[0], release[1]),
            touching,
            early,
            settling,
        )

    def _part(
        self,
        arm: int,
        skill: Skill,
        span: NDArray[np.intp],
        holds: Sequence[Grasp | None],
        following: Grasp | Skill | None,
    ) -> Part:
        rows = np.clip(span, skill.start, skill.end - 1)
        grasp = holds[arm]
        if grasp is None:
            raise GroundingError(
                f"stage {skill.stage!r} uses the {ARMS[arm]} hand, which holds nothing then; "
                "add the grasp stage, or name the arm that does it"
            )
        # The object's pose is more precise than the hand's: the gripper follows it through the fixed grasp.
        path = self._smooth[grasp.object][rows]
        offset = self._grips[grasp].gripper_in_object
        handed_over = isinstance(following, Grasp) and following.object == skill.object and following.arm != arm
        if len(skill.arms) == 2 or handed_over:  # where the hands meet does not go along with an object
            return Part(path @ offset, None, np.eye(4))
        name = skill.reference
        if name == grasp.object:  # relative to where it stood when it was taken
            return Part(path @ offset, name, self._smooth[name][grasp.close])
        before = self._smooth[name][skill.start]
        if any(g is not None and g.object == name for g in holds):  # the other hand holds it, and wavers
            path = before @ geometry.inverse(self._smooth[name][rows]) @ path
        return Part(path @ offset, name, before)

    def _kept(
        self, arm: int, start: int, count: int, holds: Sequence[Grasp | None], places: Mapping[str, FloatArray]
    ) -> Part | None:
        """What a hand does with its object while the other one works: holds it where it was shown, or keeps still."""
        grasp = holds[arm]
        assert grasp is not None
        now = self._smooth[grasp.object][start]
        if np.linalg.norm(now[:3, 3] - places[grasp.object][:3, 3]) < CARRIED:
            return None
        pose = now @ self._grips[grasp].gripper_in_object
        return Part(np.repeat(pose[None], count, axis=0), None, np.eye(4))

    def _stands(self, name: str) -> bool:
        poses = self._demo.object_poses[name]
        upright = poses[-1, 2, 2] > np.cos(np.radians(10)) * poses[0, 2, 2]
        calm = np.linalg.norm(poses[-3:, :3, 3] - poses[-1, :3, 3], axis=1).max() < STANDS
        return bool(upright and calm and abs(poses[-1, 2, 3] - poses[0, 2, 3]) < STANDS)

    def _settling(self, grasp: Grasp, frame: int) -> Settling | None:
        """The object's motion after the last frame in which it was held; None if it stays."""
        stamps, poses = self._demo.stamps, self._smooth[grasp.object]
        again = [g.close for g in self._grounding.grasps if g.object == grasp.object and g.close > frame]
        last = min([*again, len(stamps)])
        last = min(last, int(np.searchsorted(stamps, stamps[frame] + LONGEST_SETTLING)))
        rows = slice(frame, max(last, frame + 1))
        changes = poses[rows] @ geometry.inverse(poses[frame])
        if np.linalg.norm(poses[rows][-1, :3, 3] - poses[frame, :3, 3]) < CARRIED / 2:
            return None
        return Settling(stamps[rows] - stamps[frame], changes)

    def _touching(
        self, span: NDArray[np.intp], holds: Sequence[Grasp | None], held: Sequence[str]
    ) -> tuple[frozenset[tuple[str, str]], frozenset[tuple[str, str]]]:
        """Contacts of what is held, and of the hands, with other objects; and those at the first frame."""
        touching, early = set(), set()
        rows = span[:: max(1, len(span) // 40)]
        for arm, grasp in enumerate(holds):
            if grasp is None:
                continue
            mine = _surface(self._shapes[grasp.object])
            for other, poses in self._smooth.items():
                if other == grasp.object or (other in held and held.index(other) < held.index(grasp.object)):
                    continue
                relative = geometry.inverse(poses[rows]) @ self._smooth[grasp.object][rows]
                meets = _inside(relative, mine, self._shapes[other], _INSIDE)
                back = _inside(geometry.inverse(relative), _surface(self._shapes[other]), self._shapes[grasp.object])
                hand = relative @ self._grips[grasp].gripper_in_object
                fingers = _inside(hand, _gripper_points(self._grips[grasp].opening), self._shapes[other], -0.02)
                for pair, when in (((grasp.object, other), meets | back), ((ARMS[arm], other), fingers)):
                    if when.any():
                        touching.add(pair)
                    if when[0]:
                        early.add(pair)
        return frozenset(touching), frozenset(early)


def _surface(shape: Shape) -> FloatArray:
    """(n, 3) m, points on a cylinder in its object's frame."""
    angle = 2 * np.pi * np.arange(8) / 8
    ring = shape.radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    rings = [np.c_[share * ring, np.full(8, z)] for z in np.linspace(0, shape.height, 5) for share in (0.5, 1.0)]
    return np.concatenate(rings) + [*shape.centre, 0.0]


def _gripper_points(opening: float) -> FloatArray:
    """(n, 3) m along both fingers, in the TCP frame."""
    return np.array([[0.0, side * opening / 2, z] for side in (-1, 1) for z in (-0.06, -0.03, 0.0, 0.02)])


def _inside(relative: FloatArray, points: FloatArray, shape: Shape, depth: float = _INSIDE) -> NDArray[np.bool_]:
    """(T,) whether any of the points (n, 3), moved by poses (T, 4, 4) into the object's frame, is `depth` m in it."""
    moved = geometry.transform_points(relative, points) - [*shape.centre, 0.0]
    away = np.hypot(moved[..., 0], moved[..., 1])
    z = moved[..., 2]
    return np.asarray(((away < shape.radius - depth) & (z > depth) & (z < shape.height - depth)).any(-1))


def _grip(demonstration: Demonstration, grasp: Grasp, level: bool) -> Grip:
    held = slice(grasp.onset, max(grasp.end, grasp.onset + 1))
    objects = demonstration.object_poses[grasp.object]
    offset = _mean_pose(geometry.inverse(objects[held]) @ demonstration.gripper_poses[held, grasp.arm])
    opening = float(np.median(demonstration.gripper_openings[held, grasp.arm]))
    return Grip(grasp.object, levelled(offset) if level else offset, opening)


def levelled(gripper_in_object: FloatArray) -> FloatArray:
    """The grasp (4, 4) turned by the least angle that makes its closing axis y level in the object's frame."""
    y = gripper_in_object[:3, 1]
    level = np.array([y[0], y[1], 0.0])
    norm = np.linalg.norm(level)
    if norm < 0.5:
        return gripper_in_object  # a grasp from top to bottom, which is not meant
    level /= norm
    axis = np.cross(y, level)
    angle = np.arctan2(np.linalg.norm(axis), y @ level)
    turn = geometry.rotation_exp(axis / max(float(np.linalg.norm(axis)), 1e-12) * angle)
    return geometry.make_pose(turn @ gripper_in_object[:3, :3], gripper_in_object[:3, 3])


def estimate_shape(points: FloatArray, grip: Grip | None) -> Shape:
    """A cylinder for an object with keypoints (n, 3) m on its surface, in its frame.

    grip: how it is held. Where the fingers reach around the object, the middle between them is on its axis; where they
    pinch a part of it (less than half its width), or nobody grasps it, the middle of the keypoints is all there is.
    """
    height = max(float(points[:, 2].max()), 0.03)
    if grip is not None:
        centre = grip.gripper_in_object[:2, 3]
        radius = float(np.median(np.linalg.norm(points[:, :2] - centre, axis=1)))
        if grip.opening > radius:
            return Shape(float(np.clip(radius, 0.015, 0.10)), height, (float(centre[0]), float(centre[1])))
    centre = np.median(points[:, :2], axis=0)
    radius = float(np.linalg.norm(points[:, :2] - centre, axis=1).max())
    return Shape(float(np.clip(radius, 0.015, 0.10)), height, (float(centre[0]), float(centre[1])))


def _own_points(demonstration: Demonstration, first: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """Object -> (n, 3) m, the demonstration's keypoints in their objects' frames, from the first frame."""
    objects = np.array(demonstration.keypoint_objects)
    return {
        name: geometry.transform_points(geometry.inverse(pose), demonstration.keypoints[0][objects == name])
        for name, pose in first.items()
    }


def _mean_pose(poses: FloatArray) -> FloatArray:
    """Robust mean (4, 4) of poses (T, 4, 4): median position, mean rotation of the nearer half."""
    position = np.median(poses[:, :3, 3], axis=0)
    rotations = Rotation.from_matrix(poses[:, :3, :3])
    mean = rotations.mean()
    angle = (mean.inv() * rotations).magnitude()
    mean = rotations[angle <= np.median(angle) + 1e-9].mean()
    return geometry.make_pose(mean.as_matrix(), position)
