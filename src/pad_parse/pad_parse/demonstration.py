"""The parsed demonstration and its file (`*.demo.h5`)."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, TypeAdapter

from pad_parse import geometry
from pad_parse.camera import Camera
from pad_parse.errors import CameraError, DemonstrationError, TaskError
from pad_parse.task import TaskSpec

SCHEMA_VERSION = 2
"""Version 1 had no uncertainties; it still loads, with them unknown."""
FILE_SUFFIX = ".demo.h5"

SEAL_SIZE = 512
"""Bytes before the HDF5 content (its user block), which hold the content's digest."""

_SEAL = b"PAD demonstration\nsha256 "
_MAX_FRAMES = 200_000
_MAX_ELEMENTS = 200_000_000
_MAX_TEXT = 4_000_000


class KeypointState(IntEnum):
    """How a point of one frame came about."""

    LOST = 0
    VISIBLE = 1
    FILLED = 2


class SegmentKind(IntEnum):
    """What one arm does during a segment."""

    MOTION = 0
    IDLE = 1
    ASYNC_SKILL = 2
    SYNC_SKILL = 3


@dataclass(frozen=True)
class Segment:
    """One arm's part of the timeline.

    Attributes:
        arm: 0 left, 1 right.
        kind: what the arm does.
        start: first frame.
        end: frame after the last one.
        stage: name of the task's stage ("" between stages).
        object: the object that the arm handles or holds ("" for none).
        reference: the object that the motion is relative to ("" for none).
        confidence: of the grounding, in [0, 1].
        evidence: why the borders lie where they lie, for people.
    """

    arm: int
    kind: SegmentKind
    start: int
    end: int
    stage: str = ""
    object: str = ""
    reference: str = ""
    confidence: float = 1.0
    evidence: str = ""

    def __post_init__(self) -> None:
        if self.arm not in (0, 1):
            raise DemonstrationError(f"segment arm is {self.arm!r}; it must be 0 (left) or 1 (right)")
        if not 0 <= self.start < self.end:
            raise DemonstrationError(f"segment of frames [{self.start}, {self.end}) is empty or negative")
        object.__setattr__(self, "kind", SegmentKind(self.kind))


@dataclass(frozen=True, eq=False)
class Reference:
    """The annotated first frame, from which the keypoints are found again in a new scene.

    Attributes:
        rgb: (H, W, 3) uint8.
        depth: (H, W) float32 metres, 0 where there is none; None for a recording without depth.
        camera: intrinsics and, where known, pose of the camera.
        keypoint_pixels: (N, 2) float64 (u, v).
        points_in_task: (N, 3) float64 metres.
    """

    rgb: NDArray[np.uint8]
    depth: NDArray[np.float32] | None
    camera: Camera
    keypoint_pixels: NDArray[np.float64]
    points_in_task: NDArray[np.float64]

    def __post_init__(self) -> None:
        rgb = np.asarray(self.rgb)
        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
            raise DemonstrationError(f"reference rgb must be (H, W, 3) uint8; got {rgb.shape} {rgb.dtype}")
        _freeze(self, "rgb", rgb, np.uint8)
        if self.depth is not None:
            if np.shape(self.depth) != rgb.shape[:2]:
                raise DemonstrationError(f"reference depth is {np.shape(self.depth)}, rgb is {rgb.shape[:2]}")
            _freeze(self, "depth", self.depth, np.float32)
        _freeze(self, "keypoint_pixels", self.keypoint_pixels, np.float64)
        _freeze(self, "points_in_task", self.points_in_task, np.float64)
        count = len(self.keypoint_pixels)
        if self.keypoint_pixels.shape != (count, 2) or self.points_in_task.shape != (count, 3):
            raise DemonstrationError(
                "reference needs keypoint_pixels (N, 2) and points_in_task (N, 3); "
                f"got {self.keypoint_pixels.shape} and {self.points_in_task.shape}"
            )
        if (self.camera.height, self.camera.width) != rgb.shape[:2]:
            raise DemonstrationError(
                f"reference image is {rgb.shape[1]} x {rgb.shape[0]}, its camera {self.camera.width} x "
                f"{self.camera.height}"
            )


@dataclass(frozen=True, eq=False)
class Demonstration:
    """One human demonstration in the task frame: T frames, N keypoints, two arms (0 left, 1 right).

    Arrays are copied and made read-only. Attributes:
        stamps: (T,) float64 seconds, strictly increasing.
        keypoints: (T, N, 3) float64 metres; nan only where the state is LOST.
        keypoint_states: (T, N) uint8 of KeypointState.
        keypoint_names, keypoint_groups, keypoint_objects: N strings each.
        gripper_poses: (T, 2, 4, 4) float64; finite and rigid unless the state is LOST.
        gripper_openings: (T, 2) float64 metres between the pads (thumb tip to index tip).
        gripper_closed: (T, 2) bool.
        gripper_states: (T, 2) uint8 of KeypointState.
        object_poses: name -> (T, 4, 4) float64, object frame (centre of the base, z up at rest) -> task frame.
        landmarks: (T, 2, 21, 3) float64 metres, nan where a hand was not seen.
        keypoint_uncertainty: (T, N) float64 metres, one standard deviation of the keypoint's distance from its true
            place; nan where it is LOST, or not known. None when made means not known.
        gripper_uncertainty: (T, 2) float64 metres, likewise of the gripper's position.
        task: the annotated task.
        source: where the recording came from, for people.
        reference: the annotated first frame, None if it was not kept.
        segments: the grounded timeline, empty before grounding.
        measures: name -> value of quality measures (units in the name, e.g. `rigidity_mm`).
    """

    stamps: NDArray[np.float64]
    keypoints: NDArray[np.float64]
    keypoint_states: NDArray[np.uint8]
    keypoint_names: Sequence[str]
    keypoint_groups: Sequence[str]
    keypoint_objects: Sequence[str]
    gripper_poses: NDArray[np.float64]
    gripper_openings: NDArray[np.float64]
    gripper_closed: NDArray[np.bool_]
    gripper_states: NDArray[np.uint8]
    object_poses: dict[str, NDArray[np.float64]]
    landmarks: NDArray[np.float64]
    task: TaskSpec
    source: str = ""
    reference: Reference | None = None
    segments: Sequence[Segment] = ()
    measures: dict[str, float] = field(default_factory=dict)
    keypoint_uncertainty: NDArray[np.float64] | None = None
    gripper_uncertainty: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        for name in ("keypoint_names", "keypoint_groups", "keypoint_objects"):
            object.__setattr__(self, name, [str(text) for text in getattr(self, name)])
        count, points = np.shape(self.stamps)[0] if np.ndim(self.stamps) == 1 else 0, len(self.keypoint_names)
        if count < 2:
            raise DemonstrationError(
                f"a demonstration needs at least 2 frames; stamps have shape {np.shape(self.stamps)}"
            )
        shapes: dict[str, tuple[tuple[int, ...], Any]] = {
            "stamps": ((count,), np.float64),
            "keypoints": ((count, points, 3), np.float64),
            "keypoint_states": ((count, points), np.uint8),
            "gripper_poses": ((count, 2, 4, 4), np.float64),
            "gripper_openings": ((count, 2), np.float64),
            "gripper_closed": ((count, 2), np.bool_),
            "gripper_states": ((count, 2), np.uint8),
            "landmarks": ((count, 2, 21, 3), np.float64),
            "keypoint_uncertainty": ((count, points), np.float64),
            "gripper_uncertainty": ((count, 2), np.float64),
        }
        for name in _UNCERTAINTIES:
            if getattr(self, name) is None:
                object.__setattr__(self, name, np.full(shapes[name][0], np.nan))
        for name, (shape, dtype) in shapes.items():
            value = getattr(self, name)
            if np.shape(value) != shape:
                raise DemonstrationError(f"{name} has shape {np.shape(value)}; it must be {shape}")
            _freeze(self, name, value, dtype)
        poses = {}
        for name, value in self.object_poses.items():
            array = np.array(value, dtype=np.float64)
            if array.shape != (count, 4, 4) or not np.all(geometry.is_rigid(array, 1e-4)):
                raise DemonstrationError(
                    f"object_poses[{name!r}] must be rigid ({count}, 4, 4); got shape {array.shape}"
                )
            array.flags.writeable = False
            poses[str(name)] = array
        object.__setattr__(self, "object_poses", poses)
        object.__setattr__(self, "segments", list(self.segments))
        object.__setattr__(self, "measures", {str(k): float(v) for k, v in self.measures.items()})
        self._check_values()

    def _check_values(self) -> None:
        if not np.all(np.isfinite(self.stamps)) or np.any(np.diff(self.stamps) <= 0):
            raise DemonstrationError("stamps must be finite and strictly increasing")
        if len(self.keypoint_groups) != len(self.keypoint_names) or len(self.keypoint_objects) != len(
            self.keypoint_names
        ):
            raise DemonstrationError(
                f"{len(self.keypoint_names)} keypoint names, {len(self.keypoint_groups)} groups and "
                f"{len(self.keypoint_objects)} objects; the three must be equally many"
            )
        known = self.task.objects
        for name in {*self.keypoint_objects, *self.object_poses}:
            if name not in known:
                raise DemonstrationError(
                    f"object {name!r} is not in task {self.task.name!r}; known: {', '.join(known)}"
                )
        for name, states in (("keypoint", self.keypoint_states), ("gripper", self.gripper_states)):
            if states.size and states.max() > max(KeypointState):
                raise DemonstrationError(f"{name}_states holds {states.max()}; valid: 0 LOST, 1 VISIBLE, 2 FILLED")
        seen = self.keypoint_states != KeypointState.LOST
        if not np.all(np.isfinite(self.keypoints[seen])):
            raise DemonstrationError("keypoints must be finite wherever their state is not LOST")
        held = self.gripper_states != KeypointState.LOST
        if not np.all(geometry.is_rigid(self.gripper_poses[held], 1e-4)):
            raise DemonstrationError("gripper_poses must be rigid wherever the gripper state is not LOST")
        openings = self.gripper_openings[held]
        if not np.all(np.isfinite(openings)) or np.any(openings < 0):
            raise DemonstrationError(
                "gripper_openings must be finite and not negative wherever the gripper is not LOST"
            )
        for name in _UNCERTAINTIES:
            values = getattr(self, name)
            if np.any(values < 0) or np.any(np.isinf(values)):
                raise DemonstrationError(f"{name} must be metres, 0 or more, or nan where it is not known")
        for segment in self.segments:
            if segment.end > self.frame_count:
                raise DemonstrationError(
                    f"segment [{segment.start}, {segment.end}) ends after frame {self.frame_count}"
                )
        if self.reference is not None and len(self.reference.keypoint_pixels) != self.keypoint_count:
            raise DemonstrationError(
                f"reference has {len(self.reference.keypoint_pixels)} keypoints, the demonstration "
                f"{self.keypoint_count}"
            )

    @property
    def frame_count(self) -> int:
        """T."""
        return len(self.stamps)

    @property
    def keypoint_count(self) -> int:
        """N."""
        return len(self.keypoint_names)

    @property
    def duration(self) -> float:
        """Seconds from the first to the last frame."""
        return float(self.stamps[-1] - self.stamps[0])

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the demonstration as HDF5; the file appears as a whole or not at all.

        Raises:
            DemonstrationError: the file cannot be written.
        """
        path = Path(path)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with h5py.File(temporary, "w", userblock_size=SEAL_SIZE) as file:
                self._write(file)
            seal(temporary)
            os.replace(temporary, path)
        except OSError as error:
            raise DemonstrationError(f"demonstration {path} cannot be written: {_one_line(error)}") from error
        finally:
            temporary.unlink(missing_ok=True)
        return path

    def _write(self, file: h5py.File) -> None:
        file.attrs["format"] = "pad_demonstration"
        file.attrs["schema_version"] = SCHEMA_VERSION
        file.attrs["source"] = self.source
        for name in _ARRAYS:
            file.create_dataset(name, data=getattr(self, name), compression="gzip", compression_opts=1)
        objects = file.create_group("object_poses")
        for name, poses in self.object_poses.items():
            objects.create_dataset(name, data=poses, compression="gzip", compression_opts=1)
        for name, value in {
            "keypoint_names": self.keypoint_names,
            "keypoint_groups": self.keypoint_groups,
            "keypoint_objects": self.keypoint_objects,
            "task": self.task.model_dump(mode="json"),
            "segments": [vars(segment) | {"kind": segment.kind.name} for segment in self.segments],
            "measures": self.measures,
        }.items():
            # JSON in a byte dataset: attributes are limited to 64 kB.
            file.create_dataset(name, data=np.frombuffer(json.dumps(value).encode(), dtype=np.uint8))
        if self.reference is not None:
            group = file.create_group("reference")
            camera = self.reference.camera
            group.create_dataset("rgb", data=self.reference.rgb, compression="gzip", compression_opts=4)
            if self.reference.depth is not None:
                group.create_dataset("depth", data=self.reference.depth, compression="gzip", compression_opts=4)
            group.create_dataset("keypoint_pixels", data=self.reference.keypoint_pixels)
            group.create_dataset("points_in_task", data=self.reference.points_in_task)
            group.create_dataset("camera_matrix", data=camera.matrix)
            if camera.transform_camera_to_task is not None:
                group.create_dataset("transform_camera_to_task", data=camera.transform_camera_to_task)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Demonstration:
        """Read and validate a `.demo.h5` file.

        Raises:
            DemonstrationError: missing, truncated, corrupt, of another format or version, or inconsistent.
        """
        path = Path(path)
        if not path.is_file():
            raise DemonstrationError(f"demonstration {path} does not exist; make one with `pad parse RECORDING`")
        try:
            _check_seal(path)
            with h5py.File(path, "r") as file:
                return cls._read(file)
        except DemonstrationError as error:
            raise DemonstrationError(f"demonstration {path}: {error}") from error
        except (TaskError, CameraError) as error:
            raise DemonstrationError(f"demonstration {path}: {error}") from error
        except (
            OSError,
            RuntimeError,
            ArithmeticError,
            LookupError,
            ValueError,
            TypeError,
            AttributeError,
            MemoryError,
        ) as error:
            raise DemonstrationError(
                f"demonstration {path} is truncated, corrupt or no demonstration file "
                f"({_one_line(error)}); parse it again"
            ) from error

    @classmethod
    def _read(cls, file: h5py.File) -> Demonstration:
        if file.attrs.get("format") != "pad_demonstration":
            raise DemonstrationError("this HDF5 file is no demonstration (its attribute `format` differs)")
        version = int(file.attrs["schema_version"])
        if not 1 <= version <= SCHEMA_VERSION:
            raise DemonstrationError(
                f"schema_version {version} is not known; this code reads 1 to {SCHEMA_VERSION}: parse it again"
            )
        later = _UNCERTAINTIES if version == 1 else ()
        arrays = {name: _array(file, name, dtype) for name, dtype in _ARRAYS.items() if name not in later}
        if len(arrays["stamps"]) > _MAX_FRAMES:
            raise DemonstrationError(f"{len(arrays['stamps'])} frames; at most {_MAX_FRAMES} are read")
        objects = _group(file, "object_poses")
        segments = [
            Segment(**(dict(item) | {"kind": SegmentKind[item.kind]}))
            for item in _STORED_SEGMENTS.validate_python(_json(file, "segments"))
        ]
        reference = None
        if "reference" in file:
            group = _group(file, "reference")
            rgb = _array(group, "rgb", np.uint8)
            pose = (
                _array(group, "transform_camera_to_task", np.float64) if "transform_camera_to_task" in group else None
            )
            camera = Camera(_array(group, "camera_matrix", np.float64), rgb.shape[1], rgb.shape[0], pose)
            reference = Reference(
                rgb=rgb,
                depth=_array(group, "depth", np.float32) if "depth" in group else None,
                camera=camera,
                keypoint_pixels=_array(group, "keypoint_pixels", np.float64),
                points_in_task=_array(group, "points_in_task", np.float64),
            )
        return cls(
            **arrays,
            keypoint_names=_NAMES.validate_python(_json(file, "keypoint_names")),
            keypoint_groups=_NAMES.validate_python(_json(file, "keypoint_groups")),
            keypoint_objects=_NAMES.validate_python(_json(file, "keypoint_objects")),
            object_poses={name: _array(objects, name, np.float64) for name in objects},
            task=TaskSpec.from_yaml(json.dumps(_json(file, "task")), source="in the file"),
            source=str(file.attrs.get("source", "")),
            reference=reference,
            segments=segments,
            measures=_MEASURES.validate_python(_json(file, "measures")),
        )


class _StoredSegment(BaseModel):
    """A segment in the file; the kind by its name."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    arm: int
    kind: str
    start: int
    end: int
    stage: str
    object: str
    reference: str
    confidence: float
    evidence: str


_STORED_SEGMENTS = TypeAdapter(list[_StoredSegment])
_NAMES = TypeAdapter(list[str])
_MEASURES = TypeAdapter(dict[str, float])


def seal(path: str | os.PathLike[str]) -> None:
    """Write the digest of an HDF5 file's content into its user block, where `Demonstration.load` looks for it.

    The HDF5 library may hang or crash on a damaged file, so damage must be found before it sees one.
    """
    with Path(path).open("r+b") as file:
        file.seek(SEAL_SIZE)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0)
        file.write((_SEAL + digest.encode()).ljust(SEAL_SIZE, b"\0"))


def _check_seal(path: Path) -> None:
    with path.open("rb") as file:
        block = file.read(SEAL_SIZE)
        if not block.startswith(_SEAL):
            raise DemonstrationError(
                "this is no demonstration file, or one of a version before files had a digest; parse it again"
            )
        stated = block.removeprefix(_SEAL).rstrip(b"\0")
        if len(block) < SEAL_SIZE or hashlib.file_digest(file, "sha256").hexdigest().encode() != stated:
            raise DemonstrationError("its content does not fit its digest: it is truncated or corrupt; parse it again")


_ARRAYS: dict[str, Any] = {
    "stamps": np.float64,
    "keypoints": np.float64,
    "keypoint_states": np.uint8,
    "gripper_poses": np.float64,
    "gripper_openings": np.float64,
    "gripper_closed": np.bool_,
    "gripper_states": np.uint8,
    "landmarks": np.float64,
    "keypoint_uncertainty": np.float64,
    "gripper_uncertainty": np.float64,
}
_UNCERTAINTIES = ("keypoint_uncertainty", "gripper_uncertainty")


def _hard(parent: h5py.Group, name: str) -> Any:
    # A file from elsewhere must not make us open other files through links.
    if name not in parent:
        raise DemonstrationError(f"{parent.name.rstrip('/')}/{name} is missing")
    if not isinstance(parent.get(name, getlink=True), h5py.HardLink):
        raise DemonstrationError(f"{name} is a link; only plain data is read")
    return parent[name]


def _group(parent: h5py.Group, name: str) -> h5py.Group:
    item = _hard(parent, name)
    if not isinstance(item, h5py.Group):
        raise DemonstrationError(f"{name} must be a group")
    return item


def _array(parent: h5py.Group, name: str, dtype: Any) -> NDArray[Any]:
    item = _hard(parent, name)
    if not isinstance(item, h5py.Dataset) or item.is_virtual or item.external:
        raise DemonstrationError(f"{name} must be a plain dataset")
    if item.dtype != np.dtype(dtype) or item.shape is None:
        raise DemonstrationError(f"{name} has type {item.dtype}; it must be {np.dtype(dtype)}")
    if item.size > _MAX_ELEMENTS:
        raise DemonstrationError(f"{name} has {item.size} elements; at most {_MAX_ELEMENTS} are read")
    return np.asarray(item[()])


def _json(parent: h5py.Group, name: str) -> Any:
    item = _array(parent, name, np.uint8)
    if item.ndim != 1 or item.size > _MAX_TEXT:
        raise DemonstrationError(f"{name} must be at most {_MAX_TEXT} bytes of JSON")
    try:
        return json.loads(item.tobytes().decode())
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise DemonstrationError(f"{name} is no JSON: {_one_line(error)}") from error


def _freeze(owner: object, name: str, value: Any, dtype: Any) -> None:
    try:
        array = np.array(value, dtype=dtype)
    except (TypeError, ValueError) as error:
        raise DemonstrationError(f"{name} cannot be used as {np.dtype(dtype)}: {_one_line(error)}") from error
    array.flags.writeable = False
    object.__setattr__(owner, name, array)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
