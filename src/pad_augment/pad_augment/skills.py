"""What a grounded demonstration teaches: each arm's grasp, and the skills that follow, free of where the objects stood."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation, Slerp

from pad_augment.errors import GroundingError
from pad_augment.grounding import Grasp, find_grasp, ground
from pad_augment.kinematics import ARMS
from pad_parse import geometry
from pad_parse.demonstration import Demonstration, SegmentKind

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ArmSkill:
    """One arm's part of a demonstration.

    object: the object that it takes and holds.
    gripper_in_object: (4, 4) the grasp, fixed while it holds.
    opening: m between thumb and index tip while it holds.
    skill_poses: (K, 4, 4) TCP in the task frame during the skill, at the dataset's rate.
    """

    object: str
    gripper_in_object: FloatArray
    opening: float
    skill_poses: FloatArray


@dataclass(frozen=True, eq=False)
class SkillSet:
    """Both arms' skills (0 left, 1 right), and where the objects stood: name -> (4, 4).

    points_in_object: name -> (n, 3) m, keypoints in their objects' frames; `order` gives (object, index) of each of
    the N keypoints.
    """

    arms: tuple[ArmSkill, ArmSkill]
    object_poses: dict[str, FloatArray]
    points_in_object: dict[str, FloatArray]
    order: list[tuple[str, int]]


def learn_skills(
    demonstration: Demonstration, rate_hz: float, points_in_object: dict[str, FloatArray] | None = None
) -> SkillSet:
    """Take the skills out of a demonstration, resampled to `rate_hz`.

    points_in_object: keypoints (n, 3) m per object of another instance; by default the demonstration's own.

    Raises:
        GroundingError: the template is not what `generate` knows how to carry out: one grasp per arm, then one
            SYNC_SKILL of both.
    """
    segments = demonstration.segments or ground(demonstration)
    grasps: dict[int, Grasp] = {}
    for stage in demonstration.task.stages:
        if stage.kind == "grasp":
            grasp = find_grasp(demonstration, stage)
            if grasp.arm in grasps:
                raise GroundingError(
                    f"the {ARMS[grasp.arm]} arm grasps twice in task {demonstration.task.name!r}; one grasp per arm is supported"
                )
            grasps[grasp.arm] = grasp
    syncs = {s.arm: s for s in segments if s.kind == SegmentKind.SYNC_SKILL}
    if set(grasps) != {0, 1} or set(syncs) != {0, 1}:
        raise GroundingError(
            f"task {demonstration.task.name!r} needs one grasp per arm and one stage in sync; other templates are not supported yet"
        )
    start, end = syncs[0].start, syncs[0].end
    stamps = demonstration.stamps
    times = np.arange(stamps[start], stamps[end - 1] + 1e-9, 1.0 / rate_hz)
    arms = []
    for arm in (0, 1):
        grasp = grasps[arm]
        held = slice(grasp.onset, grasp.end)
        objects = demonstration.object_poses[grasp.object]
        offset = _mean_pose(geometry.inverse(objects[held]) @ demonstration.gripper_poses[held, arm])
        # the object's pose is more precise than the hand's: the gripper follows it through the fixed grasp
        carried = _resample(stamps, objects, times) @ offset
        opening = float(np.median(demonstration.gripper_openings[held, arm]))
        arms.append(ArmSkill(grasp.object, offset, opening, carried))
    first = {name: poses[0] for name, poses in demonstration.object_poses.items()}
    seen: dict[str, int] = {}
    order = []
    for name in demonstration.keypoint_objects:
        order.append((name, seen.get(name, 0)))
        seen[name] = seen.get(name, 0) + 1
    own = {
        name: geometry.transform_points(
            geometry.inverse(first[name]),
            demonstration.keypoints[0][[o == name for o in demonstration.keypoint_objects]],
        )
        for name in first
    }
    points = (
        own
        if points_in_object is None
        else {name: np.asarray(points_in_object[name], dtype=np.float64) for name in first}
    )
    for name, count in seen.items():
        if points[name].shape != (count, 3) or not np.isfinite(points[name]).all():
            raise GroundingError(f"{name!r} needs {count} keypoints with known places; got {points[name].shape}")
    return SkillSet((arms[0], arms[1]), first, points, order)


def _mean_pose(poses: FloatArray) -> FloatArray:
    """Robust mean (4, 4) of poses (T, 4, 4): median position, mean rotation of the nearer half."""
    position = np.median(poses[:, :3, 3], axis=0)
    rotations = Rotation.from_matrix(poses[:, :3, :3])
    mean = rotations.mean()
    angle = (mean.inv() * rotations).magnitude()
    mean = rotations[angle <= np.median(angle) + 1e-9].mean()
    return geometry.make_pose(mean.as_matrix(), position)


def _resample(stamps: FloatArray, poses: FloatArray, times: FloatArray) -> FloatArray:
    """Poses (T, 4, 4) at `stamps`, interpolated at `times` (K,)."""
    times = np.clip(times, stamps[0], stamps[-1])
    position = np.stack([np.interp(times, stamps, poses[:, i, 3]) for i in range(3)], axis=-1)
    rotation = Slerp(stamps, Rotation.from_matrix(poses[:, :3, :3]))(times).as_matrix()
    return geometry.make_pose(rotation, position)
