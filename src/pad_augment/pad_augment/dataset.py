"""The dataset folder: Zarr, flat arrays over all steps plus `episode_ends`; the package's README.md has its schema."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from pad_augment.errors import DatasetError
from pad_parse.task import TaskSpec

SCHEMA_VERSION = 1
STEP_ARRAYS = {
    "keypoints": np.float32,
    "keypoint_states": np.uint8,
    "ee": np.float32,
    "action": np.float32,
    "joints": np.float32,
    "segments": np.uint8,
}


@dataclass(frozen=True, eq=False)
class Episode:
    """One generated demonstration of T steps at the dataset's rate.

    keypoints (T, N, 3) m, task frame; keypoint_states (T, N) uint8 of KeypointState; ee (T, 20) state; action (T, 20)
    command (see the room's README); joints (T, 12) rad; segments (T, 2) uint8 of SegmentKind; object_poses (O, 4, 4) of
    the scene at its start.
    """

    keypoints: NDArray[np.float64]
    keypoint_states: NDArray[np.uint8]
    ee: NDArray[np.float64]
    action: NDArray[np.float64]
    joints: NDArray[np.float64]
    segments: NDArray[np.uint8]
    object_poses: NDArray[np.float64]


def write_dataset(
    path: str | os.PathLike[str],
    episodes: Sequence[Episode],
    *,
    task: TaskSpec,
    keypoint_names: Sequence[str],
    keypoint_groups: Sequence[str],
    keypoint_objects: Sequence[str],
    rate_hz: float,
    seed: int,
    attempted: int,
    rejections: Mapping[str, int],
    robot: str,
    planner: str,
    grasp_turns: Mapping[str, float],
    code_version: str,
) -> Path:
    """Write a whole dataset; it appears under `path` complete or not at all. An existing dataset there is replaced.

    Raises:
        DatasetError: no episode, or the folder is something else than a dataset, or cannot be written.
    """
    path = Path(path)
    if not episodes:
        raise DatasetError(f"no episode to write to {path}: every attempt was rejected ({dict(rejections)})")
    if path.exists() and not (path / "zarr.json").is_file():
        raise DatasetError(f"{path} exists and is no dataset; choose another place")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    old = path.with_name(f".{path.name}.{os.getpid()}.old")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        group = zarr.open_group(str(temporary), mode="w")
        data, meta = group.create_group("data"), group.create_group("meta")
        for name, dtype in STEP_ARRAYS.items():
            values = np.concatenate([getattr(episode, name) for episode in episodes]).astype(dtype)
            data.create_array(name, data=values, chunks=(min(len(values), 16384), *values.shape[1:]))
        meta.create_array("episode_ends", data=np.cumsum([len(e.ee) for e in episodes]).astype(np.int64))
        meta.create_array("object_poses", data=np.array([e.object_poses for e in episodes]))
        group.attrs.update(
            {
                "schema_version": SCHEMA_VERSION,
                "task": task.model_dump_json(),
                "keypoint_names": list(keypoint_names),
                "keypoint_groups": list(keypoint_groups),
                "keypoint_objects": list(keypoint_objects),
                "rate_hz": rate_hz,
                "seed": seed,
                "attempted": attempted,
                "rejections": dict(sorted(rejections.items())),
                "robot": robot,
                "planner": planner,
                "grasp_turns": dict(grasp_turns),
                "code_version": code_version,
            }
        )
        if path.exists():
            os.replace(path, old)
        os.replace(temporary, path)
    except OSError as error:
        raise DatasetError(f"dataset {path} cannot be written: {error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
    return path


class Dataset:
    """A dataset on disk, checked when opened; arrays are read when asked for."""

    def __init__(self, group: zarr.Group, path: Path) -> None:
        self.path = path
        self._group = group
        self.attributes: dict[str, Any] = dict(group.attrs)
        self.task = TaskSpec.model_validate(json.loads(self.attributes["task"]))
        self.episode_ends: NDArray[np.int64] = np.asarray(group["meta/episode_ends"][:])  # type: ignore[index]
        self.object_poses: NDArray[np.float64] = np.asarray(group["meta/object_poses"][:])  # type: ignore[index]

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Dataset:
        """Open a dataset folder.

        Raises:
            DatasetError: missing, no dataset, another schema, or arrays that do not fit together.
        """
        path = Path(path)
        if not (path / "zarr.json").is_file():
            raise DatasetError(f"{path} is no dataset folder; make one with `pad augment`")
        try:
            group = zarr.open_group(str(path), mode="r")
            version = group.attrs["schema_version"]
            if version != SCHEMA_VERSION:
                raise DatasetError(f"dataset {path} has schema {version}; this version reads {SCHEMA_VERSION}")
            dataset = cls(group, path)
            steps = {name: group[f"data/{name}"].shape[0] for name in STEP_ARRAYS}  # type: ignore[union-attr]
        except (KeyError, ValueError, OSError) as error:
            raise DatasetError(f"dataset {path} is damaged: {' '.join(str(error).split())}") from error
        ends = dataset.episode_ends
        if not len(ends) or set(steps.values()) != {int(ends[-1])} or (np.diff(ends, prepend=0) < 1).any():
            raise DatasetError(f"dataset {path} is damaged: episode_ends and array lengths {steps} disagree")
        return dataset

    def __len__(self) -> int:
        return len(self.episode_ends)

    def array(self, name: str) -> NDArray[Any]:
        """One step array, whole; `name` is one of STEP_ARRAYS."""
        if name not in STEP_ARRAYS:
            raise DatasetError(f"there is no array {name!r}; known: {', '.join(STEP_ARRAYS)}")
        return np.asarray(self._group[f"data/{name}"][:])  # type: ignore[index]

    def episode(self, index: int) -> Episode:
        """Episode `index` as arrays."""
        start = int(self.episode_ends[index - 1]) if index else 0
        span = slice(start, int(self.episode_ends[index]))
        arrays = {name: np.asarray(self._group[f"data/{name}"][span]) for name in STEP_ARRAYS}  # type: ignore[index]
        return Episode(**arrays, object_poses=self.object_poses[index])
