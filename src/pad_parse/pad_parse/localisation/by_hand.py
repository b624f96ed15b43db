"""Keypoints that a person clicks in the image of the new scene."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from pad_parse import geometry
from pad_parse.camera import Camera
from pad_parse.demonstration import Reference
from pad_parse.errors import LocalisationError
from pad_parse.localisation.localisation import CONFIDENCE_LIMIT, Localisation
from pad_parse.localisation.localiser import check_images
from pad_parse.tracking.depth_window import depth_windows

_WINDOW = 3
_STEP = 0.02
"""m; depths in a window that lie further behind its front belong to what is behind."""
_ON_TABLE = 0.004
_LEAST_LEVEL = 1e-3

Ask = Callable[[NDArray[np.uint8]], NDArray[np.float64]]
"""Image (H, W, 3) in, pixels (N, 2) of all keypoints out, in the order of the reference."""


class ByHandLocaliser:
    """Asks a person for every point's pixel; depth and the camera do the rest."""

    def __init__(
        self,
        reference: Reference,
        keypoint_objects: Sequence[str],
        *,
        keypoint_names: Sequence[str],
        keypoint_groups: Sequence[str],
        ask: Ask | None = None,
    ) -> None:
        """Take the demonstration's annotated first frame, and object, name and group of each of its N keypoints.

        ask: gets the pixels; by default a page on this machine shows the reference beside the new scene.

        Raises:
            LocalisationError: the numbers do not agree.
        """
        self._points = reference.points_in_task
        self._objects, self._names = list(keypoint_objects), list(keypoint_names)
        if not len(self._objects) == len(self._names) == len(keypoint_groups) == len(self._points):
            raise LocalisationError(
                f"{len(self._objects)} objects, {len(self._names)} names, {len(keypoint_groups)} groups of keypoints "
                f"are given, the reference has {len(self._points)} keypoints"
            )
        self._ask = ask or _browser(reference, self._names, list(keypoint_groups))

    def localise(
        self,
        rgb: NDArray[np.uint8],
        depth: NDArray[np.float32],
        camera: Camera,
        *,
        limit: float = CONFIDENCE_LIMIT,
    ) -> Localisation:
        """Ask for the pixels and lift them; see `KeypointLocaliser`. Waits for the person.

        The confidence of every object is 1: the person's word is not doubted, so `limit` refuses nothing.

        Raises:
            pad_parse.errors.AnnotationError: the person gave up.
        """
        check_images(rgb, depth, camera)
        return self.lift(self._ask(rgb), depth, camera)

    def lift(self, pixels: NDArray[np.float64], depth: NDArray[np.float32], camera: Camera) -> Localisation:
        """The localisation that clicked pixels (N, 2) mean.

        A pixel on an edge means the nearer surface. Each object's move is the upright one (yaw, shift on the table)
        that fits its points best; with a single point, or points above each other, the yaw stays.

        Raises:
            LocalisationError: a pixel has no depth near it or shows the table; the message names the points.
        """
        pixels = np.asarray(pixels, dtype=np.float64)
        if pixels.shape != (len(self._names), 2):
            raise LocalisationError(f"{len(self._names)} pixels (u, v) are needed, got an array of {pixels.shape}")
        points = camera.pixels_to_task(pixels, _front_depth(depth, pixels))
        blind = [n for n, p in zip(self._names, points, strict=True) if not np.all(np.isfinite(p))]
        if blind:
            raise LocalisationError(f"no depth near {', '.join(blind)}; click a little further inside the object")
        low = [n for n, p in zip(self._names, points, strict=True) if p[2] < _ON_TABLE]
        if low:
            raise LocalisationError(f"{', '.join(low)} lies on the table, not on an object; click on the object")
        moves = {}
        for name in dict.fromkeys(self._objects):
            members = np.array([o == name for o in self._objects])
            moves[name] = _upright_move(self._points[members], points[members])
        return Localisation(points, moves, dict.fromkeys(moves, 1.0))


def _browser(reference: Reference, names: list[str], groups: list[str]) -> Ask:
    def ask(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
        # The page is for those who click; nothing else needs its server.
        from pad_parse.annotator import ask_for_pixels

        return ask_for_pixels(reference, names, groups, rgb)

    return ask


def _front_depth(depth: NDArray[np.float32], pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Median (n,) in m of those depths round each pixel that belong to the nearest surface; nan without any."""
    windows = depth_windows(depth, pixels, _WINDOW)
    some = np.isfinite(windows).any(axis=1)
    windows[~some] = 0.0
    # Not the least of all: single samples may fly.
    front = np.nanpercentile(windows, 15, axis=1, keepdims=True)
    median = np.nanmedian(np.where(windows < front + _STEP, windows, np.nan), axis=1)
    return np.where(some, median, np.nan)


def _upright_move(before: NDArray[np.float64], after: NDArray[np.float64]) -> NDArray[np.float64]:
    """Least squares move (4, 4) about the vertical and on the table that takes `before` (n, 3) to `after`."""
    p, q = before[:, :2] - before[:, :2].mean(axis=0), after[:, :2] - after[:, :2].mean(axis=0)
    cross, dot = float(np.sum(p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0])), float(np.sum(p * q))
    yaw = np.arctan2(cross, dot) if np.linalg.norm(p) > _LEAST_LEVEL else 0.0
    turn = geometry.yaw_pose(0.0, 0.0, yaw)[:3, :3]
    shift = after.mean(axis=0) - turn @ before.mean(axis=0)
    shift[2] = 0.0
    return geometry.make_pose(turn, shift)
