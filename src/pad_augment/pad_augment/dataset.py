"""The dataset folder: Zarr, flat arrays over all steps plus `episode_ends`; the package's README.md has its schema."""

from __future__ import annotations

import fcntl
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
from pad_parse import geometry
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
STEPS_PER_CHUNK = 16384
_REJECTED = ("meta/rejected_poses", "meta/rejected_causes")
ROWS_PER_CHUNK = 2048
"""Of the arrays with a row per episode or per rejected scene."""


@dataclass(frozen=True, eq=False)
class Episode:
    """One generated demonstration of T steps at the dataset's rate.

    keypoints (T, N, 3) m, task frame; keypoint_states (T, N) uint8 of KeypointState; ee (T, 20) state; action (T, 20)
    command (see the package's README); joints (T, 2 n) rad of n joints per arm, nan where they were not asked for;
    segments (T, 2) uint8 of SegmentKind; object_poses (O, 4, 4) of the scene at its start.
    """

    keypoints: NDArray[np.floating[Any]]
    keypoint_states: NDArray[np.uint8]
    ee: NDArray[np.floating[Any]]
    action: NDArray[np.floating[Any]]
    joints: NDArray[np.floating[Any]]
    segments: NDArray[np.uint8]
    object_poses: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows to append to a dataset: name of an array, such as `data/ee` or `meta/object_poses`, -> its rows.

    lengths: steps of each episode. attempted: scenes that gave these episodes and rejections.
    """

    arrays: Mapping[str, NDArray[Any]]
    lengths: Sequence[int]
    attempted: int


def ee_vectors(poses: NDArray[np.float64], openings: NDArray[np.float64]) -> NDArray[np.float64]:
    """EE vectors (T, 20) of poses (T, 2, 4, 4) and openings (T, 2): per arm position, rotation 6D, opening."""
    parts = [poses[..., :3, 3], geometry.rotation_6d(poses[..., :3, :3]), openings[..., None]]
    return np.concatenate(parts, axis=-1).reshape(len(poses), 20)


class DatasetWriter:
    """Writes a dataset piece by piece into a hidden folder beside it; it appears whole, at `finish`.

    What was appended is there after a kill at any moment: only whole chunks go into Zarr, and what is left over is in
    one file with all counters, which is replaced as a whole. `blocks` counts the pieces.
    """

    def __init__(self, path: str | os.PathLike[str], identity: str, *, overwrite: bool = False) -> None:
        """Start a dataset, or go on with one that was interrupted.

        identity: says what the dataset is made of; one that was begun with another is not gone on with.
        overwrite: throw away what is there.

        Raises:
            DatasetError: the folder is something else than a dataset, is one of another identity, is written by
                another process, or cannot be written.
        """
        self.path = Path(path)
        self._identity = identity
        self._folder = self.path.with_name(f".{self.path.name}.partial")
        self._store = self._folder / "dataset"
        self._checkpoint = self._folder / "checkpoint.npz"
        self._tails: dict[str, NDArray[Any]] = {}
        self._flushed: dict[str, int] = {}
        self.blocks = self.attempted = self.episodes = self.steps = 0
        self.rejections: dict[str, int] = {}
        if self.path.exists():
            if not (self.path / "zarr.json").is_file():
                raise DatasetError(f"{self.path} exists and is no dataset; choose another place")
            if not overwrite and not self.finished:
                raise DatasetError(
                    f"{self.path} is a dataset made of something else (demonstration, number, seed, options or "
                    "version); choose another place, or say --overwrite"
                )
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock = open(self._folder / "lock", "w")  # noqa: SIM115 - held until `close`
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise DatasetError(f"another process writes {self.path}; wait for it, or choose another place") from None
        except OSError as error:
            raise DatasetError(f"dataset {self.path} cannot be written: {error}") from error
        try:
            self._begin(overwrite)
        except BaseException:
            self.close()
            raise

    @property
    def finished(self) -> bool:
        """Whether the dataset is there, whole, and made of the same."""
        try:
            return bool(zarr.open_group(str(self.path), mode="r").attrs.get("identity") == self._identity)
        except (OSError, ValueError, KeyError):
            return False

    @property
    def resumed(self) -> bool:
        """Whether a part was there already."""
        return self._resumed

    def _begin(self, overwrite: bool) -> None:
        self._resumed = False
        if self._checkpoint.is_file():
            with np.load(self._checkpoint, allow_pickle=False) as saved:
                state = json.loads(str(saved["state"]))
                same = state["identity"] == self._identity
                if same and not overwrite:
                    self._tails = {name[5:]: saved[name] for name in saved.files if name.startswith("tail:")}
                    self._flushed = state["flushed"]
                    self.blocks, self.attempted = state["blocks"], state["attempted"]
                    self.episodes, self.steps = state["episodes"], state["steps"]
                    self.rejections = state["rejections"]
                    self._resumed = True
            if not same and not overwrite:
                raise DatasetError(
                    f"a part of {self.path} is there, made of something else (demonstration, number, seed, options or "
                    "version); choose another place, or say --overwrite to throw it away"
                )
        if not self._resumed:
            shutil.rmtree(self._store, ignore_errors=True)
        self._group = zarr.open_group(str(self._store), mode="a")

    def append(self, rows: Rows, rejections: Mapping[str, int]) -> None:
        """Append one piece. rejections: number of scenes by cause."""
        try:
            ends = self.steps + np.cumsum(rows.lengths, dtype=np.int64)
            for name, values in {**rows.arrays, "meta/episode_ends": ends}.items():
                self._append(name, values)
            self.blocks += 1
            self.attempted += rows.attempted
            self.episodes += len(rows.lengths)
            self.steps = int(ends[-1]) if len(ends) else self.steps
            for cause, count in rejections.items():
                self.rejections[cause] = self.rejections.get(cause, 0) + count
            self._save()
        except OSError as error:
            raise DatasetError(f"dataset {self.path} cannot be written: {error}") from error

    def _append(self, name: str, values: NDArray[Any]) -> None:
        tail = self._tails.get(name)
        rows = values if tail is None else np.concatenate([tail, values.astype(tail.dtype, copy=False)])
        chunk = _chunk(name)
        whole = len(rows) // chunk * chunk
        if whole:
            self._write(name, rows[:whole])
        self._tails[name] = rows[whole:].copy()

    def _write(self, name: str, rows: NDArray[Any]) -> None:
        """Rows after those that are in Zarr already."""
        start = self._flushed.get(name, 0)
        if name not in self._group:
            shape, chunks = (0, *rows.shape[1:]), (_chunk(name), *rows.shape[1:])
            self._group.create_array(name, shape=shape, dtype=rows.dtype, chunks=chunks)
        array = self._group[name]
        assert isinstance(array, zarr.Array)
        array.resize((start + len(rows), *rows.shape[1:]))
        array[start:] = rows
        self._flushed[name] = start + len(rows)

    def _save(self) -> None:
        state = {
            "identity": self._identity,
            "flushed": self._flushed,
            "blocks": self.blocks,
            "attempted": self.attempted,
            "episodes": self.episodes,
            "steps": self.steps,
            "rejections": self.rejections,
        }
        temporary = self._checkpoint.with_suffix(".tmp")
        with open(temporary, "wb") as file:
            arrays: dict[str, Any] = {f"tail:{name}": tail for name, tail in self._tails.items()}
            np.savez(file, state=np.array(json.dumps(state)), **arrays)
        os.replace(temporary, self._checkpoint)

    def finish(self, attributes: Mapping[str, Any]) -> Path:
        """Write what is left and the attributes, and let the dataset appear under its path."""
        if not self.episodes:
            raise DatasetError(f"no episode to write to {self.path}: every attempt was rejected ({self.rejections})")
        old = self._folder / "old"
        try:
            for name, rows in sorted(self._tails.items()):
                flushed = self._flushed.get(name, 0)
                self._write(name, rows)
                self._flushed[name] = flushed  # a kill before the end finds the tail in the checkpoint
            self._group.attrs.update(
                {
                    "schema_version": SCHEMA_VERSION,
                    "identity": self._identity,
                    "attempted": self.attempted,
                    "rejections": dict(sorted(self.rejections.items())),
                    **attributes,
                }
            )
            for leftover in self._store.rglob("*.partial"):  # of a write that was killed
                leftover.unlink()
            shutil.rmtree(old, ignore_errors=True)
            if self.path.exists():
                os.replace(self.path, old)
            os.replace(self._store, self.path)
        except OSError as error:
            raise DatasetError(f"dataset {self.path} cannot be written: {error}") from error
        self.close()
        shutil.rmtree(self._folder, ignore_errors=True)
        return self.path

    def discard(self) -> None:
        """Remove everything that was written, but for a dataset that was there before."""
        self.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def close(self) -> None:
        """Let go of the folder; what was appended stays for the next time."""
        self._lock.close()


def _chunk(name: str) -> int:
    return STEPS_PER_CHUNK if name.startswith("data/") else ROWS_PER_CHUNK


class Dataset:
    """A dataset on disk, checked when opened; arrays are read when asked for."""

    def __init__(self, group: zarr.Group, path: Path) -> None:
        self.path = path
        self._group = group
        self.attributes: dict[str, Any] = dict(group.attrs)
        self.task = TaskSpec.model_validate(json.loads(self.attributes["task"]))
        self.episode_ends: NDArray[np.int64] = np.asarray(group["meta/episode_ends"][:])  # type: ignore[index]
        self.object_poses: NDArray[np.float64] = np.asarray(group["meta/object_poses"][:])  # type: ignore[index]
        rejected = [np.asarray(group[name][:]) for name in _REJECTED if name in group]  # type: ignore[index]
        causes = self.attributes.get("causes", [])
        # (R, objects, 4, 4) places of the objects in scenes that gave no demonstration, and why, (R,)
        self.rejected_poses: NDArray[np.float64] = rejected[0] if rejected else np.empty((0, 0, 4, 4))
        self.rejected_causes = np.array([causes[number] for number in rejected[1]] if rejected else [], dtype=np.str_)

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

    def rows(self, name: str) -> NDArray[Any] | None:
        """An array with a row per episode, such as `mirrored` or `obstacle_poses`; None where this dataset has none."""
        name = f"meta/{name}"
        return np.asarray(self._group[name][:]) if name in self._group else None  # type: ignore[index]

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
