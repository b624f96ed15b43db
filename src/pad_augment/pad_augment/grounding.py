"""From the task's template to segments with timestamps: when each arm moves, grasps and works (method: Augment)."""

from __future__ import annotations

from dataclasses import dataclass

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


def ground(demonstration: Demonstration) -> list[Segment]:
    """Split a demonstration into MOTION, IDLE, ASYNC_SKILL and SYNC_SKILL segments per arm, by its task's template.

    Returns the segments of both arms, sorted by arm, then time; each arm's cover all frames without gap or overlap.

    Raises:
        GroundingError: the demonstration does not do what the template says; the message names the difference.
    """
    task = demonstration.task
    if not task.stages:
        raise GroundingError(f"task {task.name!r} has no stages; add a template to its YAML")
    grasps = [find_grasp(demonstration, stage) for stage in task.stages if stage.kind == "grasp"]
    found: dict[int, list[Segment]] = {0: [], 1: []}
    for grasp in grasps:
        found[grasp.arm].append(
            Segment(
                grasp.arm,
                SegmentKind.ASYNC_SKILL,
                grasp.start,
                grasp.onset,
                grasp.stage,
                grasp.object,
                grasp.object,
                grasp.confidence,
                grasp.evidence,
            )
        )
    holders = {grasp.object: grasp for grasp in grasps}
    for stage in task.stages:
        if stage.kind == "skill":
            start, end, confidence, evidence = _find_skill(demonstration, stage, holders)
            kind = SegmentKind.SYNC_SKILL if stage.sync else SegmentKind.ASYNC_SKILL
            for arm in _arms(stage):
                found[arm].append(
                    Segment(arm, kind, start, end, stage.name, stage.object, stage.reference, confidence, evidence)
                )
    return [segment for arm in (0, 1) for segment in _filled(demonstration, arm, found[arm])]


def find_grasp(demonstration: Demonstration, stage: StageSpec) -> Grasp:
    """Find where one arm takes the object of a grasp stage.

    Raises:
        GroundingError: that hand never closes on that object, or nothing moves with it.
    """
    if stage.arm == "both":
        raise GroundingError(f"stage {stage.name!r}: a grasp is done by one arm; write one stage per arm")
    arm = ARMS.index(stage.arm)
    stamps = demonstration.stamps
    poses = demonstration.object_poses[stage.object]
    gripper = demonstration.gripper_poses[:, arm, :3, 3]
    displaced = np.linalg.norm(poses[:, :3, 3] - poses[0, :3, 3], axis=-1) > MOTION_ONSET
    runs = [run for run in _runs(demonstration.gripper_closed[:, arm]) if displaced[run[0] : run[1]].any()]
    wanted = (
        f"stage {stage.name!r} wants the {stage.arm} hand to take the {stage.object!r}; in the demonstration that hand"
    )
    if not demonstration.gripper_closed[:, arm].any():
        raise GroundingError(f"{wanted} never closes")
    if not runs:
        raise GroundingError(f"{wanted} closes, but the object does not move with it")
    gaps = [_gap(demonstration, stage.object, gripper[run[0]], run[0]) for run in runs]
    near = [(run, gap) for run, gap in zip(runs, gaps, strict=True) if gap <= REACH]
    if not near:
        raise GroundingError(f"{wanted} closes {min(gaps) * 100:.0f} cm away from it")
    (close, end), gap = max(near, key=lambda item: displaced[item[0][0] : item[0][1]].sum())
    onset = close + int(np.argmax(displaced[close:end]))
    onset = min(max(onset, close + 1), end)
    far = np.nonzero(np.linalg.norm(gripper[:close] - gripper[close], axis=-1) > APPROACH_DISTANCE)[0]
    start = int(far[-1]) if len(far) else 0
    confidence = float(np.clip(1.2 - gap / REACH, 0.1, 1.0))
    moves = f"it moves from {stamps[min(onset, len(stamps) - 1)]:.2f} s"
    if close == 0:
        evidence = f"the {stage.object} is held in the first frame, {moves}; its approach is to be added"
        start = 0
    else:
        evidence = f"hand closes at {stamps[close]:.2f} s, {gap * 100:.1f} cm from the {stage.object}'s points; {moves}"
    return Grasp(arm, stage.object, stage.name, start, close, onset, end, confidence, evidence)


def _gap(demonstration: Demonstration, name: str, place: NDArray[np.float64], frame: int) -> float:
    """m from a place (3,) to the nearest known keypoint of an object, or to its origin if none is known."""
    mine = np.array(demonstration.keypoint_objects) == name
    points = demonstration.keypoints[frame][mine]
    points = points[np.isfinite(points).all(axis=1)]
    if not len(points):
        points = demonstration.object_poses[name][frame, None, :3, 3]
    return float(np.linalg.norm(points - place, axis=1).min())


def _find_skill(
    demonstration: Demonstration, stage: StageSpec, holders: dict[str, Grasp]
) -> tuple[int, int, float, str]:
    if stage.object not in holders:
        raise GroundingError(f"stage {stage.name!r} moves the {stage.object!r}, but no grasp stage takes it before")
    involved = [holders[name] for name in dict.fromkeys((stage.object, stage.reference)) if name in holders]
    first, end = max(g.onset for g in involved), min(g.end for g in involved)
    if first + 2 >= end:
        raise GroundingError(
            f"stage {stage.name!r} needs {' and '.join(g.object for g in involved)} held at the same time; "
            "in the demonstration they are not"
        )
    stamps = demonstration.stamps
    reference = demonstration.object_poses[stage.reference]
    relative = geometry.inverse(reference) @ demonstration.object_poses[stage.object]
    turn = geometry.rotation_angle(relative, relative[first])
    turned = np.nonzero(turn[first:end] > SKILL_TURN)[0]
    if len(turned):
        border = first + int(turned[0])
        evidence = f"the {stage.object} turns against the {stage.reference} from {stamps[border]:.2f} s"
    else:
        distance = np.linalg.norm(relative[first:end, :3, 3], axis=-1)
        border = first + int(np.argmax(distance < distance.min() + SKILL_NEARNESS))
        near = f"within {SKILL_NEARNESS * 100:.0f} cm of its least distance"
        evidence = f"the {stage.object} comes {near} at {stamps[border]:.2f} s"
    window = max(first, int(np.searchsorted(stamps, stamps[border] - LOOK_BACK)))
    speed = np.linalg.norm(np.gradient(relative[:, :3, 3], stamps, axis=0), axis=-1)
    start = window + int(np.argmin(speed[window : border + 1]))
    confidence = float(np.clip(turn[first:end].max() / np.radians(45), 0.3, 1.0))
    return start, end, confidence, evidence


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
