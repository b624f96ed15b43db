"""A calibrated pinhole camera and its YAML file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import yaml
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pad_parse import geometry
from pad_parse.errors import CameraError
from pad_parse.files import write_atomically
from pad_parse.plain_yaml import PlainYamlError, load_plain_yaml

ASSUMED_HORIZONTAL_FOV = float(np.deg2rad(60.0))
"""Of a camera about which nothing is known, radians: a phone's or a webcam's, give or take 10 degrees."""

_Row3 = tuple[float, float, float]
_Row4 = tuple[float, float, float, float]


class CameraFile(BaseModel):
    """The layout of a camera file: sizes in pixels, the pose maps the optical frame to the task frame, metres."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    width: Annotated[int, Field(gt=0, le=16384)]
    height: Annotated[int, Field(gt=0, le=16384)]
    matrix: tuple[_Row3, _Row3, _Row3]
    transform_camera_to_task: tuple[_Row4, _Row4, _Row4, _Row4] | None = None


@dataclass(frozen=True, eq=False)
class Camera:
    """A rectified pinhole camera (lens distortion must be removed before).

    Attributes:
        matrix: (3, 3) float64 intrinsics in pixels.
        width: image width in pixels.
        height: image height in pixels.
        transform_camera_to_task: (4, 4) float64, optical frame -> task frame, metres; None where it is not known.
    """

    matrix: NDArray[np.float64]
    width: int
    height: int
    transform_camera_to_task: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        matrix = np.array(self.matrix, dtype=np.float64)
        if matrix.shape != (3, 3) or not np.all(np.isfinite(matrix)):
            raise CameraError(f"camera matrix must be a finite (3, 3) array; got shape {matrix.shape}")
        if matrix[0, 0] <= 0 or matrix[1, 1] <= 0:
            raise CameraError(
                f"camera matrix has focal lengths {matrix[0, 0]:g}, {matrix[1, 1]:g}; they must be positive "
                "(is the camera_info topic filled in?)"
            )
        if np.any(np.abs(matrix[[1, 2, 2], [0, 0, 1]]) > 1e-9) or abs(matrix[2, 2] - 1) > 1e-9:
            raise CameraError("camera matrix must be upper triangular with 1 in the corner: [fx s cx; 0 fy cy; 0 0 1]")
        if self.width <= 0 or self.height <= 0:
            raise CameraError(f"camera size {self.width} x {self.height} must be positive")
        matrix.flags.writeable = False
        object.__setattr__(self, "matrix", matrix)
        object.__setattr__(self, "width", int(self.width))
        object.__setattr__(self, "height", int(self.height))
        if self.transform_camera_to_task is not None:
            pose = np.array(self.transform_camera_to_task, dtype=np.float64)
            if pose.shape != (4, 4) or not bool(geometry.is_rigid(pose, 1e-4)):
                raise CameraError("transform_camera_to_task must be a rigid (4, 4) transform")
            pose.flags.writeable = False
            object.__setattr__(self, "transform_camera_to_task", pose)

    @classmethod
    def from_horizontal_fov(
        cls, width: int, height: int, fov: float, transform_camera_to_task: NDArray[np.float64] | None = None
    ) -> Camera:
        """A camera with square pixels and a centred axis, from its horizontal field of view in radians."""
        focal = width / 2 / np.tan(fov / 2)
        matrix = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
        return cls(matrix, width, height, transform_camera_to_task)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Camera:
        """Read a camera YAML file (keys: width, height, matrix, transform_camera_to_task).

        Raises:
            CameraError: missing file, no YAML, unknown or missing keys, values that are no camera.
        """
        path = Path(path)
        if not path.is_file():
            raise CameraError(f"camera file {path} does not exist; give the calibration YAML of your camera")
        try:
            content = load_plain_yaml(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, PlainYamlError) as error:
            raise CameraError(f"camera file {path} cannot be read: {_one_line(error)}") from error
        try:
            data = CameraFile.model_validate(content)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "file"
            raise CameraError(
                f"camera file {path}: {where}: {first['msg']}; known keys: {', '.join(CameraFile.model_fields)}"
            ) from error
        pose = None if data.transform_camera_to_task is None else np.array(data.transform_camera_to_task)
        try:
            return cls(np.array(data.matrix), data.width, data.height, pose)
        except CameraError as error:
            raise CameraError(f"camera file {path}: {error}") from None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the camera as YAML; an existing file is replaced as a whole."""
        path = Path(path)
        pose = self.transform_camera_to_task
        content = {
            "width": self.width,
            "height": self.height,
            "matrix": self.matrix.tolist(),
            "transform_camera_to_task": None if pose is None else pose.tolist(),
        }
        try:
            write_atomically(path, yaml.safe_dump(content, sort_keys=False))
        except OSError as error:
            raise CameraError(f"camera file {path} cannot be written: {_one_line(error)}") from error

    def with_extrinsics(self, transform_camera_to_task: ArrayLike) -> Camera:
        """The same camera with another pose (4, 4), optical frame -> task frame."""
        return Camera(self.matrix, self.width, self.height, np.asarray(transform_camera_to_task, dtype=np.float64))

    def pixels_to_task(self, pixels: ArrayLike, depth: ArrayLike) -> NDArray[np.float64]:
        """Task-frame points (..., N, 3) from pixels (..., N, 2) and depths (..., N) in metres; nan: no depth."""
        return geometry.transform_points(self._extrinsics(), geometry.unproject(pixels, depth, self.matrix))

    def task_to_pixels(self, points: ArrayLike) -> NDArray[np.float64]:
        """Pixels (..., N, 2) of task-frame points (..., N, 3); nan for points behind the camera."""
        in_camera = geometry.transform_points(geometry.inverse(self._extrinsics()), points)
        return geometry.project(in_camera, self.matrix)

    def _extrinsics(self) -> NDArray[np.float64]:
        if self.transform_camera_to_task is None:
            raise CameraError("the camera's pose in the task frame is not known; give a calibration file or tf_static")
        return self.transform_camera_to_task


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
