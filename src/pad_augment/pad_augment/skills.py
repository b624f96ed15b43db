"""What a grounded demonstration teaches: each arm's grasp and the skill that follows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from pad_augment.errors import GroundingError
from pad_augment.grounding import Grasp, find_grasp, ground
from pad_augment.kinematics import ARMS
from pad_augment.planning.interface import Shape
from pad_parse import geometry
from pad_parse.demonstration import Demonstration, Segment, SegmentKind

FloatArray = NDArray[np.float64]


SMOOTHING = 0.08
"""s; standard deviation of the filter over the objects' tracked poses, which an arm could not follow otherwise."""


@dataclass(frozen=True, eq=False)
class ArmSkill:
    """One arm's part of a demonstration.

    object: the object that it takes and holds.
    gripper_in_object: (4, 4) the grasp, fixed while it holds.
    opening: m between thumb and index tip while it holds.
    skill_poses: (K, 4, 4) TCP in the task frame during the skill, at the skill's stamps.
    """

    object: str
    gripper_in_object: FloatArray
    opening: float
    skill_poses: FloatArray


@dataclass(frozen=True, eq=False)
class SkillSet:
    """Both arms' skills (0 left, 1 right), and where the objects stood: name -> (4, 4).

    skill_stamps: (K,) s from 0, on the demonstration's frames.
    points_in_object: name -> (n, 3) m, keypoints in their objects' frames; `order` gives (object, index) of each of
    the N keypoints.
    shapes: name -> the cylinder that is taken for the object.
    """

    arms: tuple[ArmSkill, ArmSkill]
    skill_stamps: FloatArray
    object_poses: dict[str, FloatArray]
    points_in_object: dict[str, FloatArray]
    order: list[tuple[str, int]]
    shapes: dict[str, Shape]


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
        GroundingError: the template is not what `generate` knows how to carry out: one grasp per arm, then one
            SYNC_SKILL of both; or keypoints are missing.
    """
    grasps, sync = _parts(demonstration)
    stamps = demonstration.stamps
    span = slice(sync.start, sync.end)
    sigma = SMOOTHING / float(np.median(np.diff(stamps)))
    arms = []
    for grasp in grasps:
        held = slice(grasp.onset, grasp.end)
        objects = demonstration.object_poses[grasp.object]
        offset = _mean_pose(geometry.inverse(objects[held]) @ demonstration.gripper_poses[held, grasp.arm])
        if level_grasps:
            offset = levelled(offset)
        # The object's pose is more precise than the hand's: the gripper follows it through the fixed grasp.
        carried = geometry.smooth_poses(objects, sigma)[span] @ offset
        opening = float(np.median(demonstration.gripper_openings[held, grasp.arm]))
        arms.append(ArmSkill(grasp.object, offset, opening, carried))
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
    holders = {arm.object: arm for arm in arms}
    estimated = {name: estimate_shape(points[name], holders.get(name)) for name in first}
    return SkillSet(
        arms=(arms[0], arms[1]),
        skill_stamps=stamps[span] - stamps[sync.start],
        object_poses=first,
        points_in_object=points,
        order=order,
        shapes={**estimated, **dict(shapes or {})},
    )


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


def estimate_shape(points: FloatArray, arm: ArmSkill | None) -> Shape:
    """A cylinder for an object with keypoints (n, 3) m on its surface, in its frame.

    arm: who grasps it. Where the fingers reach around the object, the middle between them is on its axis; where they
    pinch a part of it (less than half its width), or nobody grasps it, the middle of the keypoints is all there is.
    """
    height = max(float(points[:, 2].max()), 0.03)
    if arm is not None:
        centre = arm.gripper_in_object[:2, 3]
        radius = float(np.median(np.linalg.norm(points[:, :2] - centre, axis=1)))
        if arm.opening > radius:
            return Shape(float(np.clip(radius, 0.015, 0.10)), height, (float(centre[0]), float(centre[1])))
    centre = np.median(points[:, :2], axis=0)
    radius = float(np.linalg.norm(points[:, :2] - centre, axis=1).max())
    return Shape(float(np.clip(radius, 0.015, 0.10)), height, (float(centre[0]), float(centre[1])))


def _parts(demonstration: Demonstration) -> tuple[list[Grasp], Segment]:
    """Each arm's grasp, and the segment of the skill in sync."""
    task = demonstration.task
    segments = demonstration.segments or ground(demonstration)
    grasps: dict[int, Grasp] = {}
    for stage in task.stages:
        if stage.kind == "grasp":
            grasp = find_grasp(demonstration, stage)
            if grasp.arm in grasps:
                raise GroundingError(
                    f"the {ARMS[grasp.arm]} arm grasps twice in task {task.name!r}; one grasp per arm is supported"
                )
            grasps[grasp.arm] = grasp
    syncs = {s.arm: s for s in segments if s.kind == SegmentKind.SYNC_SKILL}
    if set(grasps) != {0, 1} or set(syncs) != {0, 1}:
        raise GroundingError(
            f"task {task.name!r} needs one grasp per arm and one stage in sync; other templates are not supported yet"
        )
    if syncs[0].end - syncs[0].start < 2:
        raise GroundingError(f"the stage in sync of task {task.name!r} is a single frame long")
    return [grasps[0], grasps[1]], syncs[0]


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
