"""Shows a file in the browser viewer: a demonstration or a dataset, with a slider over time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pad_augment.dataset import Dataset
from pad_bringup.errors import ViewerError
from pad_bringup.resources import named_or_path
from pad_bringup.robot_scene import robot_scene
from pad_bringup.viewer import Viewer
from pad_parse import geometry
from pad_parse.demonstration import FILE_SUFFIX, Demonstration


@dataclass(frozen=True, eq=False)
class Motion:
    """What is played, K instants.

    Attributes:
        label: what it is, for people.
        rate: instants per second.
        keypoints: (K, N, 3) m, task frame.
        states: (K, N) uint8 of KeypointState.
        groups: N names.
        grippers: (K, 2, 4, 4) in the task frame.
        joints: (K, 12) rad, or None without a robot.
        openings: (K, 2) m.
        image: (H, W, 3) uint8 beside it, or None.
    """

    label: str
    rate: float
    keypoints: NDArray[np.float64]
    states: NDArray[np.uint8]
    groups: list[str]
    grippers: NDArray[np.float64]
    openings: NDArray[np.float64]
    joints: NDArray[np.float64] | None = None
    image: NDArray[np.uint8] | None = None


def load_motions(path: Path) -> list[Motion]:
    """The motions in a demonstration (one) or a dataset (one per episode).

    Raises:
        ViewerError: neither of the two.
        PadParseError, PadAugmentError: damaged.
    """
    if path.name.endswith(FILE_SUFFIX):
        demo = Demonstration.load(path)
        rate = (len(demo.stamps) - 1) / float(demo.stamps[-1] - demo.stamps[0])
        motion = Motion(
            label=demo.source.splitlines()[0] if demo.source else path.name,
            rate=rate,
            keypoints=demo.keypoints,
            states=demo.keypoint_states,
            groups=list(demo.keypoint_groups),
            grippers=demo.gripper_poses,
            openings=demo.gripper_openings,
            image=None if demo.reference is None else demo.reference.rgb,
        )
        return [motion]
    if (path / "zarr.json").is_file():
        dataset = Dataset.open(path)
        return [_episode_motion(dataset, index) for index in range(len(dataset))]
    raise ViewerError(f"{path} cannot be shown; known: a demonstration (*{FILE_SUFFIX}), a dataset folder")


def _episode_motion(dataset: Dataset, index: int) -> Motion:
    episode = dataset.episode(index)
    arms = np.asarray(episode.ee, np.float64).reshape(-1, 2, 10)
    return Motion(
        label=f"episode {index}",
        rate=float(dataset.attributes["rate_hz"]),
        keypoints=np.asarray(episode.keypoints, np.float64),
        states=np.asarray(episode.keypoint_states, np.uint8),
        groups=list(dataset.attributes["keypoint_groups"]),
        grippers=geometry.make_pose(geometry.from_rotation_6d(arms[..., 3:9]), arms[..., :3]),
        openings=arms[..., 9],
        joints=np.asarray(episode.joints, np.float64),
    )


def run_view(path: Path, *, robot: str, port: int, tell: Callable[[str], None], seconds: float | None = None) -> None:
    """Serve the file on 127.0.0.1 until Ctrl-C, or for `seconds`.

    robot: robot profile that a dataset's joints move.

    Raises:
        ViewerError: nothing that can be shown, or no free port.
    """
    if not path.exists():
        raise ViewerError(f"{path} does not exist")
    motions = load_motions(path)
    joint_names: list[str] = []
    viewer = Viewer(port, f"PAD: {path.name}")
    try:
        if motions[0].joints is not None:
            joint_names = _add_robot(viewer, robot)
        tell(f"{path}: {viewer.url} (Ctrl-C ends it)")
        chosen = viewer.add_slider("episode", len(motions)) if len(motions) > 1 else None
        longest = max(len(motion.keypoints) for motion in motions)
        instant = viewer.add_slider("instant", longest)
        playing = viewer.add_switch("play", True)
        shown: tuple[int, int] | None = None
        end = None if seconds is None else time.monotonic() + seconds
        while end is None or time.monotonic() < end:
            motion = motions[0 if chosen is None else int(chosen.value)]
            k = min(int(instant.value), len(motion.keypoints) - 1)
            number = 0 if chosen is None else int(chosen.value)
            if shown is None or shown[0] != number:
                _show_whole(viewer, motion)
            if shown != (number, k):
                _show_instant(viewer, motion, k, joint_names)
                shown = (number, k)
            time.sleep(1.0 / min(15.0, motion.rate))
            if playing.value:
                step = max(1, round(motion.rate / 15.0))
                instant.value = (k + step) % len(motion.keypoints)
    finally:
        viewer.close()


def _add_robot(viewer: Viewer, robot: str) -> list[str]:
    from pad_augment.kinematics import RobotProfile

    profile_path = named_or_path(robot, "config", "robots")
    viewer.add_robot(robot_scene(profile_path))
    arms = RobotProfile.load(profile_path).arms
    return [*arms.left.joints, *arms.right.joints, arms.left.finger_joint, arms.right.finger_joint]


def _show_whole(viewer: Viewer, motion: Motion) -> None:
    for arm, (name, colour) in enumerate((("left", (0, 114, 178)), ("right", (213, 94, 0)))):
        viewer.set_lines(f"path/{name}", motion.grippers[:, arm, :3, 3], colour)
    if motion.image is not None:
        viewer.set_image(motion.image)


def _show_instant(viewer: Viewer, motion: Motion, k: int, joint_names: list[str]) -> None:
    viewer.set_keypoints(motion.keypoints[k], motion.states[k], motion.groups)
    for arm, name in enumerate(("left", "right")):
        if np.isfinite(motion.grippers[k, arm]).all():
            viewer.set_frame(f"gripper/{name}", motion.grippers[k, arm])
    if motion.joints is not None:
        values = [*motion.joints[k], *(motion.openings[k] / 2)]
        viewer.set_joints(dict(zip(joint_names, values, strict=True)))
    openings = ", ".join(f"{1000 * value:.0f}" for value in motion.openings[k])
    viewer.set_text(f"**{motion.label}**  \n{k / motion.rate:.1f} s, openings {openings} mm")
