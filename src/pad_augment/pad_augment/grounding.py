"""From the task's template to segments with timestamps: when each arm moves, grasps and works (method: Augment)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pad_augment.errors import GroundingError
from pad_augment.kinematics import ARMS
from pad_parse import geometry
from pad_parse.demonstration import Demonstration, Segment, SegmentKind
from pad_parse.task import StageSpec

APPROACH_DISTANCE = 0.10
"""m; the grasp skill begins when the gripper comes this close to where it will close."""
REACH = 0.15
"""m; a hand that closes farther from all of an object's keypoints does not take it."""
MOTION_ONSET = 0.006
"""m; displacement that counts as the object having begun to move."""
SKILL_TURN = np.radians(10.0)
"""rad; turn of the held object against its reference that tells the skill from the transport before it."""
SKILL_NEARNESS = 0.03
"""m; for skills without such a turn: how close to the least distance the skill begins."""
UNMENTIONED_MOTION = 0.05
"""m by which an object that no stage handles may end elsewhere."""
STEADY_HOLD = 0.3
"""s for which a hand must stay closed on an object that it does not move."""
LOOK_BACK = 0.25
"""s; how far before that the calm moment is sought at which the skill begins."""


@dataclass(frozen=True)
class Grasp:
    """One arm takes one object. Frames: `start` of the approach, `close`, `onset` of motion, `end` of holding."""

    arm: int
    object: str
    stage: str
    start: int
    close: int
    onset: int
    end: int
    confidence: float
    evidence: str


@dataclass(frozen=True)
class Skill:
    """What one arm, or both in sync, do with held objects relative to a reference; frames [start, end)."""

    arms: tuple[int, ...]
    object: str
    reference: str
    stage: str
    sync: bool
    start: int
    end: int
    confidence: float
    evidence: str


@dataclass(frozen=True)
class Grounding:
    """A template found in a demonstration: grasps and skills in the template's order, and the whole timeline."""

    grasps: tuple[Grasp, ...]
    skills: tuple[Skill, ...]
    segments: tuple[Segment, ...]


def ground(demonstration: Demonstration) -> list[Segment]:
    """Split a demonstration into MOTION, IDLE, ASYNC_SKILL and SYNC_SKILL segments per arm, by its task's template.

    Returns the segments of both arms, sorted by arm, then time; each arm's cover all frames without gap or overlap.

    Raises:
        GroundingError: the demonstration does not do what the template says; the message names the difference.
    """
    return list(ground_stages(demonstration).segments)


def ground_stages(demonstration: Demonstration) -> Grounding:
    """Find every stage of the template in the demonstration.

    Segments that the demonstration already has are taken as they are: a person may have edited them. A stage without
    one is looked for.

    Raises:
        GroundingError: see `ground`.
    """
    task = demonstration.task
    if not task.stages:
        raise GroundingError(f"task {task.name!r} has no stages; add a template to its YAML")
    _refuse_unmentioned(demonstration)
    given = _given(demonstration)
    grasps: list[Grasp] = []
    skills: list[Skill] = []
    free_from = [0, 0]
    for stage in task.stages:
        if stage.kind == "grasp":
            grasp = find_grasp(demonstration, stage, free_from, given)
            grasps.append(grasp)
            free_from[grasp.arm] = grasp.end
            skills = [_until_taken_over(demonstration, skill, grasp) for skill in skills]
        else:
            skill = _find_skill(demonstration, stage, grasps, skills, given)
            if skills:
                skills = [*skills[:-1], _ended(demonstration, skills[-1], skill)]
            skills.append(skill)
    found: dict[int, list[Segment]] = {0: [], 1: []}
    for g in grasps:
        kind = SegmentKind.ASYNC_SKILL
        found[g.arm].append(
            Segment(g.arm, kind, g.start, g.onset, g.stage, g.object, g.object, g.confidence, g.evidence)
        )
    for s in skills:
        kind = SegmentKind.SYNC_SKILL if s.sync else SegmentKind.ASYNC_SKILL
        for arm in s.arms:
            found[arm].append(
                Segment(arm, kind, s.start, s.end, s.stage, s.object, s.reference, s.confidence, s.evidence)
            )
    segments = [segment for arm in (0, 1) for segment in _filled(demonstration, arm, found[arm])]
    return Grounding(tuple(grasps), tuple(skills), tuple(segments))


def find_grasp(
    demonstration: Demonstration,
    stage: StageSpec,
    free_from: Sequence[int] = (0, 0),
    given: Mapping[tuple[str, int], Segment] | None = None,
) -> Grasp:
    """Find where one arm takes the object of a grasp stage.

    free_from: frame per arm from which on it may take something. given: segments by stage and arm that are to be kept.

    Raises:
        GroundingError: that hand never closes on that object, or nothing moves with it.
    """
    if stage.arm == "both":
        raise GroundingError(f"stage {stage.name!r}: a grasp is done by one arm; write one stage per arm")
    arm = ARMS.index(stage.arm)
    stamps = demonstration.stamps
    place = demonstration.object_poses[stage.object][:, :3, 3]
    gripper = demonstration.gripper_poses[:, arm, :3, 3]
    every = _runs(demonstration.gripper_closed[:, arm])
    if given is not None and (stage.name, arm) in given:
        return _given_grasp(demonstration, given[stage.name, arm], every)
    runs = [run for run in every if run[0] >= free_from[arm]]
    wanted = (
        f"stage {stage.name!r} wants the {stage.arm} hand to take the {stage.object!r}; in the demonstration that hand"
    )
    if not runs:
        after = f" again after {stamps[free_from[arm] - 1]:.2f} s" if every else ""
        raise GroundingError(f"{wanted} never closes{after}")
    displaced = {run: _displaced(place, run) for run in runs}
    gaps = {run: _gap(demonstration, stage.object, gripper[run[0]], run[0]) for run in runs}
    near = [run for run in runs if gaps[run] <= REACH]
    moving = [run for run in near if displaced[run].any()]
    steady = not moving and stage.object not in {s.object for s in demonstration.task.stages if s.kind == "skill"}
    if steady:  # held still for the other hand, as a bowl is that is stirred in
        moving = [run for run in near if stamps[min(run[1], len(stamps) - 1)] - stamps[run[0]] >= STEADY_HOLD]
    if not np.isfinite(list(gaps.values())).any():
        raise GroundingError(
            f"{wanted} is never seen while it is closed; record it in view, or set the segment by hand"
        )
    if not near:
        raise GroundingError(f"{wanted} closes {np.nanmin(list(gaps.values())) * 100:.0f} cm away from it")
    if not moving:
        raise GroundingError(f"{wanted} closes, but the object does not move with it")
    twice = [s for s in demonstration.task.stages if (s.kind, s.arm, s.object) == ("grasp", stage.arm, stage.object)]
    if len(twice) > 1:
        run = moving[0]
    else:
        run = max(moving, key=lambda run: int(displaced[run].sum()) if not steady else run[1] - run[0])
    close, end = run
    onset = close + int(np.argmax(displaced[run])) if not steady else close + 1
    onset = min(max(onset, close + 1), end)
    far = np.nonzero(np.linalg.norm(gripper[:close] - gripper[close], axis=-1) > APPROACH_DISTANCE)[0]
    start = min(max(int(far[-1]) if len(far) else 0, free_from[arm]), close)
    confidence = float(np.clip(1.2 - gaps[run] / REACH, 0.1, 1.0)) * (0.5 if steady else 1.0)
    moves = "it is held still" if steady else f"it moves from {stamps[min(onset, len(stamps) - 1)]:.2f} s"
    if close == 0:
        evidence = f"the {stage.object} is held in the first frame, {moves}; its approach is to be added"
    else:
        evidence = (
            f"hand closes at {stamps[close]:.2f} s, {gaps[run] * 100:.1f} cm from the {stage.object}'s points; {moves}"
        )
    if end < len(stamps):
        evidence += f"; the hand opens at {stamps[end]:.2f} s"
    return Grasp(arm, stage.object, stage.name, start, close, onset, end, confidence, evidence)


def _displaced(place: NDArray[np.float64], run: tuple[int, int]) -> NDArray[np.bool_]:
    """Frames of a run in which an object at `place` (T, 3) is off from where it was as the hand closed."""
    before = np.median(place[max(0, run[0] - 4) : run[0] + 1], axis=0)
    return np.asarray(np.linalg.norm(place[run[0] : run[1]] - before, axis=-1) > MOTION_ONSET)


def _given(demonstration: Demonstration) -> dict[tuple[str, int], Segment]:
    """The demonstration's own segments by stage and arm.

    Raises:
        GroundingError: they do not fit the template.
    """
    stages = {stage.name: stage for stage in demonstration.task.stages}
    out: dict[tuple[str, int], Segment] = {}
    for segment in demonstration.segments:
        if not segment.stage:
            continue
        stage = stages.get(segment.stage)
        if stage is None:
            raise GroundingError(
                f"a segment is marked as stage {segment.stage!r}, which task {demonstration.task.name!r} has not; "
                f"known: {', '.join(stages)}"
            )
        if segment.arm not in _arms(stage):
            raise GroundingError(
                f"a segment of stage {stage.name!r} is marked for the {ARMS[segment.arm]} arm; the template says "
                f"{stage.arm}"
            )
        if (segment.stage, segment.arm) in out:
            raise GroundingError(f"stage {stage.name!r} has two segments of the {ARMS[segment.arm]} arm")
        out[segment.stage, segment.arm] = segment
    return out


def _given_grasp(demonstration: Demonstration, segment: Segment, runs: list[tuple[int, int]]) -> Grasp:
    """The grasp of a segment that is to be kept: its end is where the object begins to move."""
    inside = [run for run in runs if run[0] < segment.end <= run[1]]
    if inside:
        close, end = max(inside[0][0], segment.start), inside[0][1]
    else:  # the person knows better than the hand's estimated opening
        later = [run[0] for run in runs if run[0] >= segment.end]
        close, end = max(segment.end - 1, segment.start), min([*later, len(demonstration.stamps)])
    return Grasp(
        segment.arm,
        segment.object,
        segment.stage,
        segment.start,
        close,
        segment.end,
        end,
        segment.confidence,
        segment.evidence,
    )


def _refuse_unmentioned(demonstration: Demonstration) -> None:
    task = demonstration.task
    staged = {name for stage in task.stages for name in (stage.object, stage.reference)}
    for name, poses in demonstration.object_poses.items():
        away = np.linalg.norm(poses[:, :3, 3] - poses[0, :3, 3], axis=-1)
        if name not in staged and np.median(away[-5:]) > UNMENTIONED_MOTION:
            at = demonstration.stamps[int(np.argmax(away > UNMENTIONED_MOTION))]
            raise GroundingError(
                f"the {name!r} is moved by {away[-1] * 100:.0f} cm (from {at:.2f} s on), but no stage of task "
                f"{task.name!r} handles it; add its stages, or leave it out of the task's objects"
            )


def _gap(demonstration: Demonstration, name: str, place: NDArray[np.float64], frame: int) -> float:
    """m from a place (3,) to the nearest known keypoint of an object, or to its origin if none is known."""
    mine = np.array(demonstration.keypoint_objects) == name
    points = demonstration.keypoints[frame][mine]
    points = points[np.isfinite(points).all(axis=1)]
    if not len(points):
        points = demonstration.object_poses[name][frame, None, :3, 3]
    return float(np.linalg.norm(points - place, axis=1).min())


def _find_skill(
    demonstration: Demonstration,
    stage: StageSpec,
    grasps: Sequence[Grasp],
    before: Sequence[Skill],
    given: Mapping[tuple[str, int], Segment],
) -> Skill:
    arms = _arms(stage)
    kept = [given[stage.name, arm] for arm in arms if (stage.name, arm) in given]
    if kept:
        if len({(s.start, s.end) for s in kept}) > 1 or len(kept) < len(arms):
            raise GroundingError(f"the segments of stage {stage.name!r} must begin and end together for both arms")
        one = kept[0]
        return Skill(
            arms,
            stage.object,
            stage.reference,
            stage.name,
            stage.sync,
            one.start,
            one.end,
            one.confidence,
            one.evidence,
        )
    holders = {grasp.object: grasp for grasp in grasps}
    if stage.object not in holders:
        raise GroundingError(f"stage {stage.name!r} moves the {stage.object!r}, but no grasp stage takes it before")
    holder = holders[stage.object]
    if holder.arm not in arms:
        raise GroundingError(
            f"stage {stage.name!r} is done by the {stage.arm} hand, but the {stage.object!r} is held by the "
            f"{ARMS[holder.arm]} one"
        )
    both = [holders[name] for name in dict.fromkeys((stage.object, stage.reference)) if name in holders]
    # An arm that works alone needs its own object only; the reference may stand, or be let go.
    involved = both if len(arms) == 2 else [holder]
    earlier = [skill for skill in before if skill.object == stage.object and skill.start >= holder.onset]
    first = max([*(g.onset for g in involved), *(skill.start + 1 for skill in earlier)])
    end = min(g.end for g in involved)
    if first + 2 >= end:
        raise GroundingError(
            f"stage {stage.name!r} needs {' and '.join(g.object for g in involved)} held at the same time; "
            "in the demonstration they are not"
        )
    if any(skill.reference == stage.reference for skill in earlier):
        raise GroundingError(
            f"stages {earlier[-1].stage!r} and {stage.name!r} both move the {stage.object!r} against the "
            f"{stage.reference!r} in one grasp and cannot be told apart; mark their segments by hand"
        )
    stamps = demonstration.stamps
    if stage.reference == stage.object:  # relative to where it stood
        reference = np.repeat(demonstration.object_poses[stage.object][holder.close][None], len(stamps), axis=0)
    else:
        reference = demonstration.object_poses[stage.reference]
    relative = geometry.inverse(reference) @ demonstration.object_poses[stage.object]
    turn = geometry.rotation_angle(relative, relative[first])
    turned = np.nonzero(turn[first:end] > SKILL_TURN)[0]
    single = sum(1 for s in demonstration.task.stages if s.kind == "skill" and s.object == stage.object) == 1
    if len(turned) and single:
        border = first + int(turned[0])
        evidence = f"the {stage.object} turns against the {stage.reference} from {stamps[border]:.2f} s"
        confidence = float(np.clip(turn[first:end].max() / np.radians(45), 0.3, 1.0))
    else:
        distance = np.linalg.norm(relative[first:end, :3, 3], axis=-1)
        if stage.reference == stage.object:
            distance = -distance  # the skill is to bring it to its farthest place
        border = first + int(np.argmax(distance < distance.min() + SKILL_NEARNESS))
        near = f"within {SKILL_NEARNESS * 100:.0f} cm of its least distance"
        evidence = f"the {stage.object} comes {near} to the {stage.reference} at {stamps[border]:.2f} s"
        confidence = float(np.clip(1.0 - np.abs(distance).min() / (3 * REACH), 0.3, 1.0))
    window = max(first, int(np.searchsorted(stamps, stamps[border] - LOOK_BACK)))
    speed = np.linalg.norm(np.gradient(relative[:, :3, 3], stamps, axis=0), axis=-1)
    start = min(window + int(np.argmin(speed[window : border + 1])), end - 2)
    if end < len(stamps):
        evidence += f"; ends as the hand opens at {stamps[end]:.2f} s"
    return Skill(arms, stage.object, stage.reference, stage.name, stage.sync, start, end, confidence, evidence)


def _ended(demonstration: Demonstration, skill: Skill, following: Skill) -> Skill:
    """A skill that is over before the next one with the same hand: as its object leaves the reference."""
    if following.start >= skill.end or not set(skill.arms) & set(following.arms):
        return skill
    poses = demonstration.object_poses
    relative = geometry.inverse(poses[skill.reference]) @ poses[skill.object]
    distance = np.linalg.norm(relative[skill.start : following.start, :3, 3], axis=-1)
    near = np.flatnonzero(distance <= distance.min() + SKILL_NEARNESS)
    end = max(skill.start + int(near[-1]) + 1, skill.start + 2)
    leaves = f"; the {skill.object} leaves the {skill.reference} at {demonstration.stamps[end]:.2f} s"
    return replace(skill, end=end, evidence=skill.evidence + leaves)


def _until_taken_over(demonstration: Demonstration, skill: Skill, grasp: Grasp) -> Skill:
    """A skill that ends where its object waits for the other hand to take it over."""
    if grasp.object != skill.object or grasp.arm in skill.arms or not skill.start < grasp.close < skill.end:
        return skill
    place = demonstration.object_poses[skill.object][skill.start : grasp.close + 1, :3, 3]
    away = np.flatnonzero(np.linalg.norm(place - place[-1], axis=-1) > MOTION_ONSET)
    end = max(skill.start + (int(away[-1]) + 1 if len(away) else 0), skill.start + 2)
    waits = f"; from {demonstration.stamps[end]:.2f} s on the {skill.object} waits for the other hand"
    return replace(skill, end=end, evidence=skill.evidence + waits)


def _arms(stage: StageSpec) -> tuple[int, ...]:
    return (0, 1) if stage.arm == "both" else (ARMS.index(stage.arm),)


def _filled(demonstration: Demonstration, arm: int, segments: list[Segment]) -> list[Segment]:
    """The arm's segments with MOTION or IDLE in the gaps; overlapping skills are refused."""
    out: list[Segment] = []
    cursor, total = 0, len(demonstration.stamps)
    for segment in sorted(segments, key=lambda s: s.start):
        if segment.start < cursor:
            raise GroundingError(
                f"stages {out[-1].stage!r} and {segment.stage!r} of the {ARMS[arm]} arm overlap at "
                f"{demonstration.stamps[segment.start]:.2f} s; the template's order does not fit the demonstration"
            )
        if segment.start > cursor:
            out.append(_between(demonstration, arm, cursor, segment.start))
        out.append(segment)
        cursor = segment.end
    if cursor < total:
        out.append(_between(demonstration, arm, cursor, total))
    return out


def _between(demonstration: Demonstration, arm: int, start: int, end: int) -> Segment:
    path = demonstration.gripper_poses[start:end, arm, :3, 3]
    moved = float(np.linalg.norm(path - path[0], axis=-1).max()) if len(path) else 0.0
    kind = SegmentKind.MOTION if moved > 0.02 else SegmentKind.IDLE
    return Segment(arm, kind, start, end, evidence=f"the hand moves {moved * 100:.0f} cm")


def _runs(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.r_[False, mask, False].astype(np.int8)))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]
