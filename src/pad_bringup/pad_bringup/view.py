"""Shows a file in the browser viewer: a demonstration or a dataset, with a slider over time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pad_augment.dataset import Dataset
from pad_augment.scene_plan import Disturbance
from pad_bringup.dataset_view import coverage_html, failures_html, statistics, statistics_html
from pad_bringup.errors import ViewerError
from pad_bringup.resources import named_or_path
from pad_bringup.robot_scene import robot_scene
from pad_bringup.viewer import Viewer
from pad_parse import geometry
from pad_parse.colours import group_colours
from pad_parse.demonstration import FILE_SUFFIX, Demonstration, KeypointState, SegmentKind

_HAPPENS = {Disturbance.ARMS_PUSHED: ", begins with pushed arms", Disturbance.OBJECT_MOVED: ", an object is moved"}


_KINDS = {
    SegmentKind.MOTION: "moves",
    SegmentKind.IDLE: "waits",
    SegmentKind.ASYNC_SKILL: "skill",
    SegmentKind.SYNC_SKILL: "skill together",
}
_TRAIL = 2.0  # s


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
        openings: (K, 2) m.
        joints: (K, 2 n) rad, or None without a robot.
        activities: K pairs of what the left and the right arm do, for people; empty: unknown.
        objects: name -> (4, 4) in the task frame, where it stood at first.
        obstacles: upright cylinders: (4, 4) in the task frame, radius and height in m.
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
    activities: Sequence[tuple[str, str]] = ()
    objects: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    obstacles: Sequence[tuple[NDArray[np.float64], float, float]] = ()
    image: NDArray[np.uint8] | None = None


def demonstration_motion(path: Path) -> Motion:
    """The motion in a demonstration.

    Raises:
        PadParseError: damaged.
    """
    demo = Demonstration.load(path)
    return Motion(
        label=demo.source.splitlines()[0] if demo.source else path.name,
        rate=(len(demo.stamps) - 1) / float(demo.stamps[-1] - demo.stamps[0]),
        keypoints=demo.keypoints,
        states=demo.keypoint_states,
        groups=list(demo.keypoint_groups),
        grippers=demo.gripper_poses,
        openings=demo.gripper_openings,
        activities=_activities(demo),
        image=None if demo.reference is None else demo.reference.rgb,
    )


def _activities(demo: Demonstration) -> list[tuple[str, str]]:
    """What each arm does in each frame."""
    said = [["", ""] for _ in demo.stamps]
    for segment in demo.segments:
        what = _KINDS[segment.kind]
        if segment.kind in (SegmentKind.ASYNC_SKILL, SegmentKind.SYNC_SKILL):
            about = f" on {segment.reference}" if segment.reference else ""
            what = f"{what} {segment.stage}, {segment.object}{about}"
        for k in range(segment.start, min(segment.end, len(said))):
            said[k][segment.arm] = what
    return [(left, right) for left, right in said] if demo.segments else []


class Episodes:
    """The motions of a dataset, read from it when they are asked for."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._obstacle_poses = dataset.rows("obstacle_poses")
        disturbances, mirrored = dataset.rows("disturbances"), dataset.rows("mirrored")
        unknown = np.zeros(len(dataset), np.uint8)
        self._disturbances = unknown if disturbances is None else disturbances
        self._mirrored = unknown if mirrored is None else mirrored

    def __len__(self) -> int:
        return len(self._dataset)

    @property
    def longest(self) -> int:
        """Instants of the longest."""
        return int(np.diff(self._dataset.episode_ends, prepend=0).max())

    def __getitem__(self, index: int) -> Motion:
        """The motion of episode `index`."""
        said, episode = self._dataset.attributes, self._dataset.episode(index)
        arms = np.asarray(episode.ee, np.float64).reshape(-1, 2, 10)
        joints = np.asarray(episode.joints, np.float64)
        label = f"episode {index}{_HAPPENS.get(self._disturbances[index], '')}"
        return Motion(
            label=label + (", hands changed" if self._mirrored[index] else ""),
            rate=float(said["rate_hz"]),
            keypoints=np.asarray(episode.keypoints, np.float64),
            states=np.asarray(episode.keypoint_states, np.uint8),
            groups=list(said["keypoint_groups"]),
            grippers=geometry.make_pose(geometry.from_rotation_6d(arms[..., 3:9]), arms[..., :3]),
            openings=arms[..., 9],
            joints=joints if np.isfinite(joints).all() else None,
            activities=[(_KINDS[SegmentKind(a)], _KINDS[SegmentKind(b)]) for a, b in episode.segments.tolist()],
            objects=dict(zip(self._dataset.task.objects, episode.object_poses, strict=True)),
            obstacles=self._obstacles(index),
        )

    def _obstacles(self, index: int) -> list[tuple[NDArray[np.float64], float, float]]:
        if self._obstacle_poses is None:
            return []
        config = json.loads(self._dataset.attributes["config"])
        return [(pose, config["obstacle_radius"], config["obstacle_height"]) for pose in self._obstacle_poses[index]]


def run_view(path: Path, *, robot: str, port: int, tell: Callable[[str], None], seconds: float | None = None) -> None:
    """Serve a demonstration or a dataset on 127.0.0.1 until Ctrl-C, or for `seconds`.

    robot: robot profile that a dataset's joints move.

    Raises:
        ViewerError: nothing that can be shown, or no free port.
        PadParseError, PadAugmentError: damaged.
    """
    if path.name.endswith(FILE_SUFFIX) and path.is_file():
        motion = demonstration_motion(path)
        with closing(Viewer(port, f"PAD: {path.name}")) as viewer:
            tell(f"{path}: {viewer.url} (Ctrl-C ends it)")
            _play(viewer, [motion], len(motion.keypoints), [], seconds)
    elif (path / "zarr.json").is_file():
        dataset = Dataset.open(path)
        episodes, figures = Episodes(dataset), statistics(dataset)
        with closing(Viewer(port, f"PAD: {path.name}")) as viewer:
            joint_names = [] if episodes[0].joints is None else _add_robot(viewer, robot)
            for line in figures.lines():
                tell(line)
            tell(f"{path}: {viewer.url} (Ctrl-C ends it)")
            playing, numbers, coverage, failures = viewer.add_tabs("episodes", "statistics", "coverage", "failures")
            for tab, html in (
                (numbers, statistics_html(figures)),
                (coverage, coverage_html(dataset)),
                (failures, failures_html(dataset)),
            ):
                with tab:
                    viewer.add_html(html)
            with playing:
                _play(viewer, episodes, episodes.longest, joint_names, seconds)
    elif path.exists():
        raise ViewerError(f"{path} cannot be shown; known: a demonstration (*{FILE_SUFFIX}), a dataset folder")
    else:
        raise ViewerError(f"{path} does not exist")


def _play(
    viewer: Viewer, motions: Sequence[Motion] | Episodes, longest: int, joint_names: list[str], seconds: float | None
) -> None:
    viewer.set_text("")
    chosen = viewer.add_slider("episode", len(motions)) if len(motions) > 1 else None
    instant = viewer.add_slider("instant", longest)
    playing = viewer.add_switch("play", True)
    motion, shown = motions[0], (-1, -1)
    end = None if seconds is None else time.monotonic() + seconds
    while end is None or time.monotonic() < end:
        number = 0 if chosen is None else int(chosen.value)
        if shown[0] != number:
            motion = motions[number]
            _show_whole(viewer, motion)
        k = min(int(instant.value), len(motion.keypoints) - 1)
        if shown != (number, k):
            with viewer.at_once():
                _show_instant(viewer, motion, k, joint_names)
            shown = (number, k)
        time.sleep(1.0 / min(15.0, motion.rate))
        if playing.value:
            step = max(1, round(motion.rate / 15.0))
            instant.value = (k + step) % len(motion.keypoints)


def _add_robot(viewer: Viewer, robot: str) -> list[str]:
    from pad_augment.kinematics import RobotProfile

    profile_path = named_or_path(robot, "config", "robots")
    viewer.add_robot(robot_scene(profile_path))
    arms = RobotProfile.load(profile_path).arms
    return [*arms.left.joints, *arms.right.joints, arms.left.finger_joint, arms.right.finger_joint]


def _show_whole(viewer: Viewer, motion: Motion) -> None:
    for arm, (name, colour) in enumerate((("left", (0, 114, 178)), ("right", (213, 94, 0)))):
        viewer.set_lines(f"path/{name}", motion.grippers[:, arm, :3, 3], colour)
    for name, pose in motion.objects.items():
        viewer.set_frame(f"object/{name}", pose)
        viewer.set_label(f"object/{name}/label", name, np.zeros(3))
    for i, (pose, radius, height) in enumerate(motion.obstacles):
        viewer.set_cylinder(f"obstacle/{i}", pose, radius, height)
    if motion.image is not None:
        viewer.set_image(motion.image)


def _show_instant(viewer: Viewer, motion: Motion, k: int, joint_names: list[str]) -> None:
    viewer.set_keypoints(motion.keypoints[k], motion.states[k], motion.groups)
    for group, colour in group_colours(motion.groups).items():
        viewer.set_lines(f"trail/{group}", trail(motion, group, k), colour)
    for arm, name in enumerate(("left", "right")):
        if np.isfinite(motion.grippers[k, arm]).all():
            viewer.set_frame(f"gripper/{name}", motion.grippers[k, arm])
    if motion.joints is not None:
        values = [*motion.joints[k], *(motion.openings[k] / 2)]
        viewer.set_joints(dict(zip(joint_names, values, strict=True)))
    openings = ", ".join(f"{1000 * value:.0f}" for value in motion.openings[k])
    doing = (
        "".join(f"  \n{arm}: {what}" for arm, what in zip(("left", "right"), motion.activities[k], strict=True) if what)
        if motion.activities
        else ""
    )
    viewer.set_text(f"**{motion.label}**  \n{k / motion.rate:.1f} s, openings {openings} mm{doing}")


def trail(motion: Motion, group: str, k: int) -> NDArray[np.float64]:
    """(n, 3) m; where the middle of a group's keypoints was lately. Instants at which all were lost repeat the next."""
    members = [i for i, name in enumerate(motion.groups) if name == group]
    count = max(2, round(_TRAIL * motion.rate))
    instants = np.clip(np.arange(k - count + 1, k + 1), 0, None)
    points = motion.keypoints[instants][:, members].astype(np.float64)
    points[motion.states[instants][:, members] == KeypointState.LOST] = np.nan
    seen = np.isfinite(points).all(axis=-1)
    weight = seen.sum(axis=1)
    middle = np.where(seen[..., None], points, 0.0).sum(axis=1) / np.maximum(weight, 1)[:, None]
    known = np.flatnonzero(weight)
    if not len(known):
        return np.zeros((0, 3))
    return middle[known[np.minimum(np.searchsorted(known, np.arange(count)), len(known) - 1)]]
