"""Taking lens distortion out of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from pad_parse.camera import Camera
from pad_parse.errors import CameraError

DISTORTION_MODELS = ("plumb_bob", "rational_polynomial", "equidistant")
_SIZES = {"plumb_bob": (4, 5), "rational_polynomial": (8, 12, 14), "equidistant": (4,)}


@dataclass(frozen=True, eq=False)
class Lens:
    """Maps (H, W) float32 that take the lens distortion out of an image; the camera's matrix stays as it is."""

    map_x: NDArray[np.float32]
    map_y: NDArray[np.float32]

    def rectify_colour(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 without distortion; black where nothing was seen."""
        return np.asarray(cv2.remap(rgb, self.map_x, self.map_y, cv2.INTER_LINEAR), dtype=np.uint8)

    def rectify_depth(self, depth: NDArray[np.float32]) -> NDArray[np.float32]:
        """(H, W) float32 metres without distortion; 0 where nothing was seen. Depths are never mixed."""
        return np.asarray(cv2.remap(depth, self.map_x, self.map_y, cv2.INTER_NEAREST), dtype=np.float32)


def lens(camera: Camera, model: str, distortion: ArrayLike | Sequence[float]) -> Lens | None:
    """The lens with the ROS distortion model and coefficients of a camera_info; None if it does not distort.

    Raises:
        CameraError: an unknown model, or coefficients that do not fit it.
    """
    numbers: NDArray[Any] = np.asarray(distortion, dtype=np.float64).ravel()
    if numbers.size == 0 or np.all(numbers == 0):
        return None
    if model not in _SIZES:
        raise CameraError(f"distortion model {model!r} is not known; known: {', '.join(DISTORTION_MODELS)}")
    if numbers.size not in _SIZES[model] or not np.all(np.isfinite(numbers)):
        raise CameraError(
            f"distortion model {model} takes {' or '.join(map(str, _SIZES[model]))} finite numbers, not "
            f"{numbers.tolist()}"
        )
    size = (camera.width, camera.height)
    undistort = cv2.fisheye.initUndistortRectifyMap if model == "equidistant" else cv2.initUndistortRectifyMap
    try:
        maps = undistort(camera.matrix, numbers, np.eye(3), camera.matrix, size, cv2.CV_32FC1)
    except cv2.error as error:
        raise CameraError(f"the distortion {numbers.tolist()} of model {model} is not usable: {error.err}") from error
    return Lens(np.asarray(maps[0], np.float32), np.asarray(maps[1], np.float32))
