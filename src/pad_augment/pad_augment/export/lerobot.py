"""A dataset as a LeRobot dataset (format v3), written by the LeRobot library itself."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pad_augment.dataset import Dataset, Episode
from pad_augment.errors import ExportError

STATE, JOINTS, KEYPOINTS, KEYPOINT_STATES, ACTION = (
    "observation.state",
    "observation.joints",
    "observation.environment_state",
    "observation.keypoint_states",
    "action",
)
_ARMS = ("left", "right")
_EE = ("x", "y", "z", "x_axis.x", "x_axis.y", "x_axis.z", "y_axis.x", "y_axis.y", "y_axis.z", "opening")
_LIBRARY = "lerobot.datasets.lerobot_dataset"


@dataclass(frozen=True)
class ExportReport:
    """What was written: `features` are the names of the arrays, `version` that of the other library's format."""

    episodes: int
    steps: int
    features: tuple[str, ...]
    version: str


def export_lerobot(
    dataset: Dataset, out: str | os.PathLike[str], progress: Callable[[int, int], None] | None = None
) -> ExportReport:
    """Write `dataset` to the folder `out`, episode by episode; the folder appears when it is whole.

    Features, all with names, units as in the dataset (m, rad, task frame):
        observation.state (20,) f32: state of both end effectors, as `ee`.
        observation.environment_state (3 N,) f32: x, y, z of each keypoint, where LeRobot's policies look for what is
            no camera image; a lost keypoint is 0, 0, 0.
        observation.keypoint_states (N,) u8: LOST 0, VISIBLE 1, FILLED 2.
        observation.joints (2 n,) f32: rad; left out where the dataset has none (planner straight_line).
        action (20,) f32: the command of the *next* step, as LeRobot has it: the action of a frame is what is done after
            having seen it. The last frame repeats the last command.
    The task text is the task's description, or its name. `fps` is the dataset's rate.

    progress: called with (episodes done, of how many).

    Raises:
        ExportError: LeRobot is not installed, `out` exists or cannot be written, or the rate is no whole number.
    """
    out = Path(out)
    rate = float(dataset.attributes["rate_hz"])
    if not rate.is_integer():
        raise ExportError(
            f"LeRobot counts whole frames per second, and {dataset.path} has {rate:g}; generate one with --set rate_hz="
            f"{max(5, round(rate))}"
        )
    if out.exists() or out.is_symlink():
        raise ExportError(f"{out} exists already; choose another folder")
    library = _library()
    joints = dataset.episode(0).joints
    with_joints = bool(np.isfinite(joints).all())
    features = _features(list(dataset.attributes["keypoint_names"]), joints.shape[1] if with_joints else 0)
    text = dataset.task.description.strip() or dataset.task.name
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".partial", dir=out.parent))
    except OSError as error:
        raise ExportError(f"{out} cannot be written: {error}") from error
    try:
        library.datasets.disable_progress_bars()  # one bar per episode otherwise
        written = library.LeRobotDataset.create(
            repo_id=f"pad/{out.name}",
            fps=int(rate),
            features=features,
            root=folder / "dataset",
            robot_type=str(dataset.attributes["robot"]),
            use_videos=False,
        )
        for index in range(len(dataset)):
            columns = _columns(dataset.episode(index), with_joints)
            for step in range(len(columns[STATE])):
                written.add_frame({name: values[step] for name, values in columns.items()} | {"task": text})
            written.save_episode()
            if progress is not None:
                progress(index + 1, len(dataset))
        written.finalize()
        os.rename(folder / "dataset", out)
    except OSError as error:
        raise ExportError(f"{out} cannot be written: {error}") from error
    finally:
        library.datasets.enable_progress_bars()
        shutil.rmtree(folder, ignore_errors=True)
    return ExportReport(len(dataset), int(dataset.episode_ends[-1]), tuple(features), str(library.CODEBASE_VERSION))


def _library() -> Any:
    try:
        return import_module(_LIBRARY)
    except ImportError as error:
        raise ExportError(
            "LeRobot's dataset library cannot be imported ("
            f"{error}); install it where pad runs: pip install 'lerobot>=0.4.4' (with its dataset extra from 0.5 on: "
            "'lerobot[dataset]')"
        ) from error


def _features(keypoint_names: list[str], joint_count: int) -> dict[str, dict[str, Any]]:
    ee = [f"{arm}.{part}" for arm in _ARMS for part in _EE]
    names = {
        STATE: ee,
        KEYPOINTS: [f"{name}.{axis}" for name in keypoint_names for axis in "xyz"],
        KEYPOINT_STATES: keypoint_names,
        ACTION: ee,
    }
    if joint_count:
        names[JOINTS] = [f"{arm}.joint_{joint}" for arm in _ARMS for joint in range(joint_count // 2)]
    return {
        feature: {
            "dtype": "uint8" if feature == KEYPOINT_STATES else "float32",
            "shape": (len(parts),),
            "names": parts,
        }
        for feature, parts in names.items()
    }


def _columns(episode: Episode, with_joints: bool) -> dict[str, NDArray[Any]]:
    """The exported arrays of one episode, T rows each; see `export_lerobot`."""
    steps = len(episode.ee)
    following = np.minimum(np.arange(1, steps + 1), steps - 1)
    columns: dict[str, NDArray[Any]] = {
        STATE: episode.ee.astype(np.float32, copy=False),
        KEYPOINTS: np.nan_to_num(episode.keypoints, nan=0.0).reshape(steps, -1).astype(np.float32, copy=False),
        KEYPOINT_STATES: episode.keypoint_states,
        ACTION: episode.action[following].astype(np.float32, copy=False),
    }
    if with_joints:
        columns[JOINTS] = episode.joints.astype(np.float32, copy=False)
    return columns
