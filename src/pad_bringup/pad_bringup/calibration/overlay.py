"""The task frame drawn on the camera's image: where it is wrong, everybody sees it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pad_bringup.errors import CalibrationError
from pad_parse.camera import Camera
from pad_parse.files import write_atomically

AXIS_LENGTH = 0.10  # m
_GRID, _GRID_STEP = 0.3, 0.1  # m: half the side of the grid on the table, and its pitch
_AXES = (("x", (230, 60, 60)), ("y", (60, 190, 60)), ("z", (70, 120, 255)))
_SHIFT = 4  # sub-pixel bits that cv2 draws with


def draw_task_axes(rgb: NDArray[np.uint8], camera: Camera) -> NDArray[np.uint8]:
    """A copy of an image (H, W, 3) uint8 RGB with the axes (x red, y green, z blue; 0.1 m) and a grid at z = 0.

    Raises:
        CameraError: the camera's pose in the task frame is not known.
    """
    drawn = rgb.copy()
    ticks = np.arange(-_GRID, _GRID + _GRID_STEP / 2, _GRID_STEP)
    for tick in ticks:
        for line in ([(tick, -_GRID, 0), (tick, _GRID, 0)], [(-_GRID, tick, 0), (_GRID, tick, 0)]):
            _line(drawn, camera, np.array(line), (235, 235, 235), 1)
    for axis, (name, colour) in enumerate(_AXES):
        end = np.zeros(3)
        end[axis] = AXIS_LENGTH
        _line(drawn, camera, np.stack([np.zeros(3), end]), colour, 2)
        tip = camera.task_to_pixels((1.15 * end)[None])[0]
        if np.all(np.isfinite(tip)):
            place = (int(tip[0]) - 5, int(tip[1]) + 5)
            cv2.putText(drawn, name, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, 1, cv2.LINE_AA)
    return drawn


def save_picture(rgb: NDArray[np.uint8], path: Path) -> None:
    """Write an image (H, W, 3) uint8 RGB as PNG.

    Raises:
        CalibrationError: it cannot be written.
    """
    done, data = cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    assert done
    try:
        write_atomically(path, data.tobytes())
    except OSError as error:
        raise CalibrationError(f"picture {path} cannot be written: {error.strerror or error}") from error


def _line(
    rgb: NDArray[np.uint8], camera: Camera, ends: NDArray[np.float64], colour: tuple[int, int, int], width: int
) -> None:
    """A line (2, 3) m in pieces, so that only what lies behind the camera is left out."""
    points = camera.task_to_pixels(np.linspace(ends[0], ends[1], 25))
    limit = 8 * max(rgb.shape[:2])
    for a, b in zip(points[:-1], points[1:], strict=True):
        if np.all(np.isfinite([a, b])) and np.abs([a, b]).max() < limit:
            start, stop = (tuple(np.rint(p * 2**_SHIFT).astype(int).tolist()) for p in (a, b))
            cv2.line(rgb, start, stop, colour, width, cv2.LINE_AA, _SHIFT)
