"""Made-up demonstrations from key positions of two hands: whatever a closed hand takes moves rigidly with it."""

from collections.abc import Mapping, Sequence

import numpy as np
import pour_scene
from scipy.interpolate import PchipInterpolator

from pad_parse import geometry
from pad_parse.demonstration import Demonstration, KeypointState
from pad_parse.task import TaskSpec

RATE = 30.0
Key = tuple[float, tuple[float, float, float], str]
"""Time in s, place of the TCP in m, and the object that the hand holds from then on ("" for none)."""
TABLE = {"x": [-0.05, 0.05], "yaw": [-0.3, 0.3]}


def task(name: str, regions: Mapping[str, tuple[float, float]], stages: Sequence[Mapping[str, object]]) -> TaskSpec:
    """regions: object -> interval of y in m; each object has four keypoints."""
    objects = {n: {"groups": {f"{n}_body": 4}, "region": {**TABLE, "y": list(y)}} for n, y in regions.items()}
    return TaskSpec.model_validate({"name": name, "objects": objects, "stages": list(stages)})


def demonstration(
    spec: TaskSpec,
    places: Mapping[str, tuple[float, ...]],
    sizes: Mapping[str, tuple[float, float]],
    keys: tuple[Sequence[Key], Sequence[Key]],
    *,
    falls: Sequence[str] = (),
) -> Demonstration:
    """places: object -> x, y and perhaps z of its base. sizes: object -> radius, height. falls: those that drop to the
    table plane when they are let go.
    """
    end = max(keys[0][-1][0], keys[1][-1][0])
    stamps = np.arange(int(end * RATE) + 1) / RATE
    count = len(stamps)
    poses, openings, closed = np.empty((count, 2, 4, 4)), np.full((count, 2), 0.11), np.zeros((count, 2), bool)
    objects = {
        n: np.repeat(geometry.yaw_pose(*places[n][:2], 0.0, *places[n][2:])[None], count, axis=0) for n in places
    }
    for arm, timeline in enumerate(keys):
        times = [key[0] for key in timeline]
        path = PchipInterpolator(times, np.array([key[1] for key in timeline]))(np.clip(stamps, times[0], times[-1]))
        poses[:, arm] = geometry.make_pose(pour_scene.grasp(arm, 0.0)[:3, :3], path)
    for arm, timeline in enumerate(keys):
        for key, after in zip(timeline, [*timeline[1:], (np.inf, (0, 0, 0), "")], strict=True):
            if key[2]:
                held = (stamps >= key[0]) & (stamps < after[0])
                closed[held, arm] = True
                openings[held, arm] = 2 * sizes[key[2]][0] + 0.01
                first = int(np.argmax(held))
                offset = geometry.inverse(poses[first, arm]) @ objects[key[2]][first]
                objects[key[2]][held] = poses[held, arm] @ offset
                last = int(np.flatnonzero(held)[-1])
                objects[key[2]][last + 1 :] = objects[key[2]][last]
                if key[2] in falls and after[2] != key[2]:
                    height = objects[key[2]][last, 2, 3]
                    drop = np.minimum(4.9 * (stamps[last + 1 :] - stamps[last]) ** 2, height)
                    objects[key[2]][last + 1 :, 2, 3] -= drop
    points = {n: _ring(*sizes[n]) for n in places}
    keypoints = np.concatenate([geometry.transform_points(objects[n], points[n]) for n in spec.object_names], axis=1)
    return Demonstration(
        stamps=stamps,
        keypoints=keypoints,
        keypoint_states=np.full(keypoints.shape[:2], KeypointState.VISIBLE, np.uint8),
        keypoint_names=spec.keypoint_names,
        keypoint_groups=spec.keypoint_groups,
        keypoint_objects=spec.keypoint_objects,
        gripper_poses=poses,
        gripper_openings=openings,
        gripper_closed=closed,
        gripper_states=np.full((count, 2), KeypointState.VISIBLE, np.uint8),
        object_poses=objects,
        landmarks=np.full((count, 2, 21, 3), np.nan),
        task=spec,
        source="made up",
    )


def _ring(radius: float, height: float) -> np.ndarray:
    angle = np.radians([-60.0, 0.0, 60.0, 150.0])
    z = np.array([0.9, 0.5, 0.9, 0.3]) * height
    return np.c_[radius * np.cos(angle), radius * np.sin(angle), z]


def stir() -> Demonstration:
    """The left hand keeps the bowl where it stands; the right one takes a spoon and stirs in the bowl."""
    spec = task(
        "stir",
        {"bowl": (0.06, 0.16), "spoon": (-0.26, -0.16)},
        [
            {"name": "hold_bowl", "arm": "left", "object": "bowl", "reference": "bowl", "kind": "grasp"},
            {"name": "take_spoon", "arm": "right", "object": "spoon", "reference": "spoon", "kind": "grasp"},
            {"name": "stir", "arm": "right", "object": "spoon", "reference": "bowl", "kind": "skill"},
        ],
    )
    left: list[Key] = [
        (0.0, (-0.12, 0.28, 0.15), ""),
        (1.5, (0.0, 0.15, 0.04), "bowl"),
        (8.0, (0.0, 0.15, 0.04), "bowl"),
    ]
    right: list[Key] = [
        (0.0, (-0.15, -0.35, 0.2), ""),
        (1.5, (0.0, -0.2, 0.12), "spoon"),
        (1.7, (0.0, -0.2, 0.12), "spoon"),
        (3.5, (0.0, 0.10, 0.27), "spoon"),
        (4.2, (0.0, 0.14, 0.185), "spoon"),
        (5.0, (0.01, 0.15, 0.18), "spoon"),
        (5.8, (0.0, 0.16, 0.18), "spoon"),
        (6.6, (-0.01, 0.15, 0.18), "spoon"),
        (8.0, (0.0, 0.14, 0.185), "spoon"),
    ]
    return demonstration(
        spec, {"bowl": (0, 0.15), "spoon": (0, -0.2)}, {"bowl": (0.04, 0.08), "spoon": (0.015, 0.16)}, (left, right)
    )


def clear() -> Demonstration:
    """The right hand drops two blocks behind each other beside a box; the left hand rests."""
    stages = []
    for name in ("one", "two"):
        stages.append({"name": f"take_{name}", "arm": "right", "object": name, "reference": name, "kind": "grasp"})
        stages.append({"name": f"drop_{name}", "arm": "right", "object": name, "reference": "box", "kind": "skill"})
    spec = task("clear", {"one": (-0.28, -0.20), "two": (-0.12, -0.04), "box": (0.10, 0.2)}, stages)
    left: list[Key] = [(0.0, (-0.2, 0.35, 0.2), ""), (9.0, (-0.2, 0.35, 0.2), "")]
    right: list[Key] = [
        (0.0, (-0.2, -0.35, 0.2), ""),
        (1.2, (0.0, -0.24, 0.06), "one"),
        (1.4, (0.0, -0.24, 0.06), "one"),
        (3.0, (0.0, 0.0, 0.19), "one"),
        (3.8, (0.0, 0.03, 0.17), ""),
        (4.2, (-0.06, -0.04, 0.2), ""),
        (5.2, (0.0, -0.1, 0.06), "two"),
        (5.4, (0.0, -0.1, 0.06), "two"),
        (7.0, (-0.06, 0.0, 0.19), "two"),
        (7.8, (-0.06, 0.03, 0.17), ""),
        (9.0, (-0.1, -0.1, 0.2), ""),
    ]
    return demonstration(
        spec,
        {"one": (0, -0.24), "two": (0, -0.1), "box": (0, 0.15)},
        {"one": (0.02, 0.1), "two": (0.02, 0.1), "box": (0.05, 0.06)},
        (left, right),
        falls=("one", "two"),
    )


def open_container() -> Demonstration:
    """The left hand keeps a container where it stands; the right one takes its lid off and sets it down beside it."""
    spec = task(
        "open_container",
        {"container": (0.04, 0.12), "lid": (0.04, 0.12)},
        [
            {"name": "hold", "arm": "left", "object": "container", "reference": "container", "kind": "grasp"},
            {"name": "take_lid", "arm": "right", "object": "lid", "reference": "lid", "kind": "grasp"},
            {"name": "lid_off", "arm": "right", "object": "lid", "reference": "container", "kind": "skill"},
        ],
    )
    left: list[Key] = [
        (0.0, (-0.12, 0.28, 0.15), ""),
        (1.5, (0.0, 0.08, 0.04), "container"),
        (7.0, (0.0, 0.08, 0.04), "container"),
    ]
    right: list[Key] = [
        (0.0, (-0.15, -0.25, 0.2), ""),
        (2.0, (0.0, 0.08, 0.16), "lid"),
        (2.2, (0.0, 0.08, 0.16), "lid"),
        (3.2, (0.0, 0.07, 0.23), "lid"),
        (4.4, (0.0, -0.06, 0.20), "lid"),
        (5.6, (0.0, -0.12, 0.05), "lid"),
        (6.0, (0.0, -0.12, 0.05), ""),
        (7.0, (-0.1, -0.22, 0.15), ""),
    ]
    return demonstration(
        spec,
        {"container": (0, 0.08), "lid": (0, 0.08, 0.11)},
        {"container": (0.035, 0.11), "lid": (0.03, 0.08)},
        (left, right),
    )
