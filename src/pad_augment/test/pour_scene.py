"""A made-up demonstration of pouring: two upright objects, two hands that grasp, lift, meet and tilt."""

from pathlib import Path

import numpy as np
from scipy.interpolate import PchipInterpolator

from pad_augment.kinematics import Robot, RobotProfile
from pad_parse import geometry
from pad_parse.demonstration import Demonstration, KeypointState
from pad_parse.task import TaskSpec

BRINGUP = Path(__file__).parents[2] / "pad_bringup"
ROBOTS = BRINGUP / "config" / "robots"
PROFILE = ROBOTS / "ur5e_pair.yaml"
TASK = BRINGUP / "tasks" / "pour.yaml"
RATE = 30.0
OBJECTS = ("cup", "bottle")  # of the left and the right hand
START = {"bottle": geometry.yaw_pose(0.0, -0.18, 0.0), "cup": geometry.yaw_pose(0.0, 0.18, 0.0)}
SIZE = {"bottle": (0.032, 0.19, 0.075), "cup": (0.040, 0.10, 0.05)}  # radius, height, height of the grasp; m


def robot(name: str = "ur5e_pair") -> Robot:
    """A pair of arms by the name of its profile; by default the cell's own."""
    return Robot(RobotProfile.load(ROBOTS / f"{name}.yaml"))


def grasp(arm: int, height: float) -> np.ndarray:
    """(4, 4) gripper in the object's frame: from behind and outside, a little downwards, closing axis level."""
    side = 1.0 if arm == 0 else -1.0
    direction, pitch = -side * np.pi / 4, 0.21
    z = np.array([np.cos(direction) * np.cos(pitch), np.sin(direction) * np.cos(pitch), -np.sin(pitch)])
    y = side * np.array([-np.sin(direction), np.cos(direction), 0.0])
    return geometry.make_pose(np.column_stack([np.cross(y, z), y, z]), [0.0, 0.0, height])


def object_paths(stamps: np.ndarray) -> dict[str, np.ndarray]:
    """Object -> (T, 4, 4): at rest until 2.5 s, lifted, brought together, the bottle tilted and brought back."""
    times = [0.0, 2.5, 3.5, 4.5, 6.5, 8.0, 9.0]
    cup = [(0, 0.18, 0), (0, 0.18, 0), (0, 0.15, 0.06), (0, 0.06, 0.06), (0, 0.06, 0.06), (-0.03, 0.14, 0.08)]
    bottle = [(0, -0.18, 0), (0, -0.18, 0), (0, -0.16, 0.08), (0, -0.12, 0.18), (0, -0.13, 0.29), (-0.08, -0.18, 0.13)]
    tilt = [0, 0, 0, np.radians(40), np.radians(110), 0, 0]
    out = {}
    for name, places in (("cup", cup), ("bottle", bottle)):
        position = PchipInterpolator(times, np.array([*places, places[-1]], dtype=float))(stamps)
        angle = PchipInterpolator(times, tilt if name == "bottle" else np.zeros(7))(stamps)
        rotation = geometry.rotation_exp(-angle[:, None] * np.array([1.0, 0.0, 0.0]))
        out[name] = geometry.make_pose(rotation, position)
    return out


def demonstration(*, hands: tuple[int, int] = (0, 1), first_frame: int = 0) -> Demonstration:
    """Hand `hands[0]` takes the cup, `hands[1]` the bottle; frames before `first_frame` are cut off."""
    stamps = np.arange(int(9.0 * RATE) + 1) / RATE
    task = TaskSpec.load(TASK)
    paths = object_paths(stamps)
    poses = np.empty((len(stamps), 2, 4, 4))
    openings = np.empty((len(stamps), 2))
    for arm, name in zip(hands, OBJECTS, strict=True):
        radius, _, height = SIZE[name]
        held = paths[name] @ grasp(arm, height)
        away = held[0].copy()
        away[:3, 3] -= 0.2 * away[:3, 2]
        share = np.clip(stamps / 1.8, 0, 1)
        poses[:, arm] = np.where((stamps < 1.8)[:, None, None], geometry.interpolate_pose(away, held[0], share), held)
        shut = np.clip((stamps - 1.8) / 0.4, 0, 1)
        openings[:, arm] = 0.11 * (1 - shut) + (2 * radius + 0.014) * shut
    points, groups, objects = _points(task)
    keypoints = np.stack(
        [geometry.transform_points(paths[o], p[None])[:, 0] for o, p in zip(objects, points, strict=True)], axis=1
    )
    span = slice(first_frame, None)
    count = len(stamps[span])
    return Demonstration(
        stamps=stamps[span] - stamps[first_frame],
        keypoints=keypoints[span],
        keypoint_states=np.full((count, len(points)), KeypointState.VISIBLE, np.uint8),
        keypoint_names=task.keypoint_names,
        keypoint_groups=groups,
        keypoint_objects=objects,
        gripper_poses=poses[span],
        gripper_openings=openings[span],
        gripper_closed=np.repeat((stamps >= 2.1)[span, None], 2, axis=1),
        gripper_states=np.full((count, 2), KeypointState.VISIBLE, np.uint8),
        object_poses={name: path[span] for name, path in paths.items()},
        landmarks=np.full((count, 2, 21, 3), np.nan),
        task=task,
        source="made up",
    )


def _points(task: TaskSpec) -> tuple[np.ndarray, list[str], list[str]]:
    """(N, 3) m on the objects' surfaces, in their frames, on the side at +x."""
    points = []
    for name, group in zip(task.keypoint_objects, task.keypoint_groups, strict=True):
        radius, height, _ = SIZE[name]
        index = len(points)
        angle = np.radians(-60 + 37 * (index % 4))
        z = 0.95 * height if group.endswith(("cap", "rim")) else 0.2 * height + 0.15 * height * (index % 3)
        points.append([radius * np.cos(angle), radius * np.sin(angle), z])
    return np.array(points), task.keypoint_groups, task.keypoint_objects
