"""What the sections generate from: the scripted pour at the cell's home places, known exactly."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pad_augment.config import GeneratorConfig
from pad_augment.generator import SceneWork
from pad_augment.kinematics import Robot, RobotProfile
from pad_bringup.cell.objects import TaskObjects, load_objects
from pad_bringup.cell.pour_motion import HELD_OBJECTS, default_grasps, pour_motion
from pad_bringup.resources import named_or_path
from pad_bringup.retarget import cell_instance
from pad_parse import geometry
from pad_parse.demonstration import Demonstration, KeypointState
from pad_parse.task import TaskSpec

_FINGER = 0.014
"""m that the fingertip joints of a hand are farther apart than what it holds is wide."""


def profile_path() -> Path:
    """The dual UR5e of the cell."""
    return named_or_path("ur5e_pair", "config", "robots")


def demonstration() -> Demonstration:
    """The pour of the scripted robot, as a parse without any error would give it."""
    robot = Robot(RobotProfile.load(profile_path()))
    task, objects = TaskSpec.load("pour"), load_objects("pour")
    starts = np.stack([robot.fk(arm, robot.home[arm]) for arm in (0, 1)])
    places = {name: geometry.yaw_pose(*objects.models[name].home) for name in HELD_OBJECTS}
    motion = pour_motion(places, default_grasps(), starts)
    points = objects.keypoint_positions
    keypoints = np.stack(
        [
            motion.object_poses[name] @ np.append(p, 1.0)
            for name, p in zip(objects.keypoint_objects, points, strict=True)
        ],
        axis=1,
    )[..., :3]
    count = len(motion.stamps)
    return Demonstration(
        stamps=motion.stamps,
        keypoints=keypoints,
        keypoint_states=np.full(keypoints.shape[:2], KeypointState.VISIBLE, np.uint8),
        keypoint_names=objects.keypoint_names,
        keypoint_groups=objects.keypoint_groups,
        keypoint_objects=objects.keypoint_objects,
        gripper_poses=motion.gripper_poses,
        gripper_openings=motion.openings + _FINGER,
        gripper_closed=motion.held,
        gripper_states=np.full((count, 2), KeypointState.VISIBLE, np.uint8),
        object_poses=dict(motion.object_poses),
        landmarks=np.full((count, 2, 21, 3), np.nan),
        task=task,
        source="scripted",
    )


def scene_work(planner: str, seed: int, **options: object) -> SceneWork:
    """Scenes of the scripted pour with the cell's objects; the grasps are turned as the robot needs it."""
    objects: TaskObjects = load_objects("pour")
    work = SceneWork(
        demonstration(),
        RobotProfile.load(profile_path()),
        GeneratorConfig.from_options(**options),
        seed,
        planner,
        shapes=cell_instance(objects).shapes,
    )
    return work.with_chosen_turns()
