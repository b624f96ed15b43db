"""Gathers what a run has left in its folder into the content of a report."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import numpy as np

from pad_augment.dataset import Dataset
from pad_bringup.report.content import Path3D, ReportContent, StageRecord
from pad_bringup.run_record import RunFolder
from pad_bringup.success import EpisodeResult
from pad_parse.demonstration import Demonstration
from pad_parse.report.media import Media
from pad_parse.visibility import worst_by_group
from pad_policy.bundle import LOSSES, Manifest, PolicyBundle

_SHOWN_EPISODES = 20
_PACKAGES = (
    *("pad_parse", "pad_augment", "pad_policy", "pad_bringup", "rclpy", "mujoco", "torch", "onnxruntime"),
    *("opencv-python-headless", "roboplan", "numpy"),
)


def collect(
    run: RunFolder,
    task: str,
    *,
    recording: str = "",
    notes: Sequence[str] = (),
    episodes: Sequence[EpisodeResult] = (),
    clip_label: str = "",
) -> ReportContent:
    """The report of a run, of whatever stages are finished."""
    demonstration = Demonstration.load(run.demonstration) if run.demonstration.is_file() else None
    dataset = Dataset.open(run.dataset) if run.dataset.is_dir() else None
    policy = PolicyBundle.load(run.policy) if run.policy.is_dir() else None
    losses = run.policy / LOSSES
    return ReportContent(
        task=task,
        created=run.created.strftime("%Y-%m-%d %H:%M"),
        stages=[StageRecord(name, stage.seconds, stage.note) for name, stage in run.stages.items()],
        notes=list(notes),
        recording=recording,
        overlay=Media.load(run.overlay) if run.overlay.is_file() else None,
        stamps=None if demonstration is None else demonstration.stamps,
        segments=[] if demonstration is None else list(demonstration.segments),
        visibility={}
        if demonstration is None
        else worst_by_group(demonstration.keypoint_states, demonstration.keypoint_groups),
        gripper_closed=None if demonstration is None else demonstration.gripper_closed,
        paths=_paths(demonstration, dataset),
        keypoints=None if demonstration is None else demonstration.keypoints[0],
        keypoint_groups=[] if demonstration is None else list(demonstration.keypoint_groups),
        accepted=0 if dataset is None else len(dataset),
        attempted=0 if dataset is None else int(dataset.attributes["attempted"]),
        rejections={} if dataset is None else dict(dataset.attributes["rejections"]),
        losses=np.loadtxt(losses, delimiter=",", skiprows=1, ndmin=2) if losses.is_file() else None,
        policy_measures={} if policy is None else _policy_measures(policy.manifest),
        episodes=list(episodes),
        clip=Media.load(run.clip) if run.clip.is_file() else None,
        clip_label=clip_label,
        versions=versions(),
        machine=machine(),
    )


def _policy_measures(manifest: Manifest) -> dict[str, float]:
    error = manifest.held_out_action_error
    held_out = {} if error is None else error.values()
    return manifest.measures | {f"held_out_action_error (not success), {name}": v for name, v in held_out.items()}


def versions() -> dict[str, str]:
    """Versions of our packages and of what decides the results; "source" for a package that runs from its sources."""
    found = {"Python": platform.python_version(), "ROS": os.environ.get("ROS_DISTRO", "jazzy (wheels)")}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "source"
    return found


def machine() -> str:
    """One line about the computer."""
    model = platform.machine()
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        names = (line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name"))
        model = next(names, model)
    except OSError:
        pass
    return f"{len(os.sched_getaffinity(0))} cores, {model}, {platform.system()} {platform.release()}"


def _paths(demonstration: Demonstration | None, dataset: Dataset | None) -> list[Path3D]:
    paths = []
    if dataset is not None:
        for index in np.unique(np.linspace(0, len(dataset) - 1, _SHOWN_EPISODES).round().astype(int)):
            ee = dataset.episode(int(index)).ee
            paths += [Path3D(ee[:, 10 * arm : 10 * arm + 3].astype(np.float64), arm, False) for arm in range(2)]
    if demonstration is not None:
        paths += [Path3D(demonstration.gripper_poses[:, arm, :3, 3], arm, True) for arm in range(2)]
    return paths


def save_episodes(path: Path, episodes: Sequence[EpisodeResult]) -> None:
    """Write episode results as JSON."""
    from pad_parse.files import write_atomically

    write_atomically(path, json.dumps([vars(episode) for episode in episodes], indent=1) + "\n")
