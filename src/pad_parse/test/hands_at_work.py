"""A recording for tests: two hands, drawn as dots, lift and tilt a bottle and a cup in the ray-cast scene."""

from __future__ import annotations

import cv2
import numpy as np
from scene_of_cylinders import pour_scene

from pad_parse import geometry
from pad_parse.camera import Camera
from pad_parse.hands import HandObservation, RecordedHands
from pad_parse.recording import Frame, Recording
from pad_parse.task import KeypointSpec, ObjectSpec, Region, StageSpec, TaskSpec

FPS = 15
REGION = Region(x=(-0.1, 0.1), y=(-0.3, 0.3))
FINGERS = (
    (0.080, 0.040, 0.024, 0.019),
    (0.077, 0.044, 0.027, 0.020),
    (0.071, 0.041, 0.026, 0.020),
    (0.069, 0.033, 0.019, 0.017),
)


def template(keypoints=()) -> TaskSpec:
    """The pour task, without or with annotated keypoints."""
    return TaskSpec(
        name="pour",
        objects={
            "bottle": ObjectSpec(groups={"bottle_cap": 1, "bottle_body": 3}, region=REGION),
            "cup": ObjectSpec(groups={"cup_rim": 4, "cup_body": 3}, region=REGION),
        },
        stages=(
            StageSpec(name="grasp_bottle", arm="right", object="bottle", reference="bottle", kind="grasp"),
            StageSpec(name="grasp_cup", arm="left", object="cup", reference="cup", kind="grasp"),
        ),
        keypoints=tuple(keypoints),
    )


def pinch(opening: float) -> np.ndarray:
    """(21, 3) m in the gripper's frame: an anatomically sized hand whose thumb and index tips are `opening` apart."""
    wrist = np.array([0.01, 0.0, -0.13])
    landmarks = np.tile(wrist, (21, 1))
    for finger, lengths in enumerate(FINGERS):
        knuckle = wrist + np.array([-0.045, 0.030 - 0.02 * finger, 0.0]) / 0.055 * 0.03 + [0, 0.0, 0.062]
        tip = np.array([0.0, opening / 2 - 0.002 * finger, -0.012 * finger])
        for k, s in enumerate(np.linspace(0, 1, 4)):
            bulge = np.array([-0.030, 0.012, 0.0]) * np.sin(np.pi * s)
            landmarks[5 + 4 * finger + k] = (1 - s) * knuckle + s * tip + bulge
        del lengths
    thumb = np.array([0.0, -opening / 2, 0.0])
    for k, s in enumerate((0.25, 0.5, 0.75, 1.0)):
        landmarks[1 + k] = (1 - s) * wrist + s * thumb + np.array([0.0, -0.02, 0.0]) * np.sin(np.pi * s)
    return landmarks


class HandsAtWork(Recording):
    """See `make`. Keeps the truth: object_truth name -> (T, 4, 4), hand_truth (T, 2, 4, 4), grasp_frame."""

    def _read(self, tally):
        """Frames rendered on the fly."""
        for t, stamp in enumerate(self.stamps):
            rgb, depth = self.scene.render(
                [(self.scene.bottle, self.object_truth["bottle"][t]), (self.scene.cup, self.object_truth["cup"][t])],
                np.random.default_rng(t),
                0.001,
            )
            for points in self.hand_points[t]:
                pixels = np.round(geometry.project(points, self.camera.matrix)).astype(int)
                for (u, v), z in sorted(zip(pixels.tolist(), points[:, 2] - 0.009, strict=True), key=lambda p: -p[1]):
                    cv2.circle(depth, (u, v), 7, float(z), -1)
                    cv2.circle(rgb, (u, v), 7, (205, 150, 118), -1)
            yield Frame(float(stamp), rgb, depth if self.has_depth else None)


def make(path, *, seconds: float = 3.0, has_depth: bool = True, held_from_start: bool = False, annotate: bool = True):
    """A recording, the landmarks of its hands as `RecordedHands`, and its keypoints in task (11, 3) at the start."""
    rng = np.random.default_rng(5)
    scene, points, owners = pour_scene(rng)
    count = round(seconds * FPS)
    stamps = np.arange(count) / FPS
    begin = 0.0 if held_from_start else 1.2
    rise = np.clip((stamps - begin) / (seconds - begin - 0.2), 0, 1)
    rise = rise * rise * (3 - 2 * rise)
    zero = np.zeros(count)
    start = {"bottle": [0.02, -0.16, 0.0], "cup": [0.0, 0.15, 0.0]}
    truth, hands = {}, np.zeros((count, 2, 4, 4))
    for name, arm, tilt in (("bottle", 1, -0.6), ("cup", 0, 0.1)):
        turn = geometry.rotation_exp(np.stack([tilt * rise, zero, zero], 1))
        shift = np.array(start[name]) + np.stack([zero, 0.05 * rise * (1 if arm else -1), 0.10 * rise], 1)
        truth[name] = geometry.make_pose(turn, shift)
        side = -1.0 if arm else 1.0
        approach = np.array([0.3, -side * 0.9, -0.2]) / np.linalg.norm([0.3, 0.9, 0.2])
        closing = np.cross([0.0, 0.0, 1.0], approach)
        closing /= np.linalg.norm(closing)
        grasp = geometry.make_pose(
            np.stack([np.cross(closing, approach), closing, approach], 1), [0.0, 0.0, 0.08 if arm else 0.05]
        )
        away = np.zeros(count) if held_from_start else np.clip(1 - stamps / 0.9, 0, 1)
        hands[:, arm] = truth[name] @ grasp @ geometry.make_pose(np.eye(3), np.stack([zero, zero, -0.12 * away], 1))
    camera = scene.camera
    to_camera = geometry.inverse(camera.transform_camera_to_task)
    observations, hand_points = [], []
    for t in range(count):
        seen, drawn = [], []
        for arm in (0, 1):
            width = (0.064, 0.080)[1 - arm] + (
                0.0 if held_from_start else 0.03 * np.clip((1.0 - stamps[t]) / 0.2, 0, 1)
            )
            in_camera = geometry.transform_points(to_camera @ hands[t, arm], pinch(width))
            pixels = geometry.project(in_camera, camera.matrix) + rng.normal(0, 1.0, (21, 2))
            drawn.append(in_camera)
            relative = (in_camera[:, 2] - in_camera[0, 2]) * camera.matrix[0, 0] / in_camera[0, 2]
            relative += rng.normal(0, 3.0, 21)
            seen.append(HandObservation(np.concatenate([pixels, relative[:, None]], axis=1), 0.9, 0.5))
        observations.append(seen)
        hand_points.append(drawn)
    in_task = np.stack([truth[o][0, :3, :3] @ p + truth[o][0, :3, 3] for o, p in zip(owners, points, strict=True)])
    pixels = camera.task_to_pixels(in_task)
    groups = ["bottle_cap"] + ["bottle_body"] * 3 + ["cup_rim"] * 4 + ["cup_body"] * 3
    specs = [
        KeypointSpec(name=f"k{i}", object=o, group=g, pixel=(float(p[0]), float(p[1])))
        for i, (o, g, p) in enumerate(zip(owners, groups, pixels, strict=True))
    ]
    recording = HandsAtWork(
        path=path,
        camera=camera if has_depth else Camera(camera.matrix, camera.width, camera.height),
        has_depth=has_depth,
        frame_count=count,
        duration=float(stamps[-1]),
        topics=[],
        annotation=template(specs) if annotate else None,
    )
    recording.scene, recording.stamps, recording.hand_points = scene, stamps, hand_points
    recording.object_truth, recording.hand_truth, recording.grasp_frame = truth, hands, round(1.0 * FPS)
    return recording, RecordedHands(stamps, observations), in_task
