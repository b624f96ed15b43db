"""Which pixels belong to an object, from the depth around its keypoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pad_parse.camera import Camera

_TABLE_CLEARANCE = 0.008
_DEPTH_EDGE = 0.02
_REACH = 0.07
_SLICE = 0.02
"""m of height."""
_LEAST_IN_SLICE = 20
_ABOVE = 0.03
"""m between the lowest visible points of an object and of one that it is on or in."""


@dataclass(frozen=True)
class Hull:
    """An upright cylinder around an object, in the task frame when the object stands: metres."""

    x: float
    y: float
    radius: float
    bottom: float
    top: float

    def contains(self, points: NDArray[np.float64], margin: float = 0.006) -> NDArray[np.bool_]:
        """(...,) bool for points (..., 3) in the frame of the hull."""
        with np.errstate(invalid="ignore"):
            radial = np.hypot(points[..., 0] - self.x, points[..., 1] - self.y)
            return (
                (radial <= self.radius + margin)
                & (points[..., 2] >= self.bottom - margin)
                & (points[..., 2] <= self.top + margin)
            )


def points_of_image(depth: NDArray[np.float32], camera: Camera) -> NDArray[np.float64]:
    """Task-frame points (H, W, 3) of a depth image (H, W); nan where there is no depth."""
    v, u = np.mgrid[: depth.shape[0], : depth.shape[1]]
    pixels = np.stack([u, v], axis=-1).reshape(-1, 2)
    return camera.pixels_to_task(pixels, depth.reshape(-1)).reshape(*depth.shape, 3)


def object_mask(
    depth: NDArray[np.float32],
    points: NDArray[np.float64],
    pixels: NDArray[np.float64],
    anchors: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """Pixels (H, W) of the surface that carries the keypoints: above the table, near them, and without a
    depth step between.

    Args:
        depth: (H, W) metres.
        points: (H, W, 3) task frame, from `points_of_image`.
        pixels: (n, 2) keypoints of the object in this image.
        anchors: (n, 3) the same in the task frame.
    """
    centre = np.nanmedian(anchors, axis=0)
    reach = float(np.nanmax(np.linalg.norm(anchors - centre, axis=1))) + _REACH
    with np.errstate(invalid="ignore"):
        near = (points[..., 2] > _TABLE_CLEARANCE) & (np.linalg.norm(points - centre, axis=-1) < reach)
    kernel = np.ones((3, 3), np.uint8)
    step = cv2.dilate(depth, kernel) - cv2.erode(depth, kernel)
    smooth = (near & (step < _DEPTH_EDGE)).astype(np.uint8)
    _, labels = cv2.connectedComponents(smooth, connectivity=4)
    height, width = depth.shape
    found: set[int] = set()
    for u, v in np.round(pixels).astype(int):
        window = labels[max(v - 4, 0) : v + 5, max(u - 4, 0) : u + 5]
        names, counts = np.unique(window[window > 0], return_counts=True)
        if counts.size:
            found.add(int(names[np.argmax(counts)]))
    mask = np.isin(labels, list(found)) if found else np.zeros((height, width), bool)
    return np.asarray(mask, dtype=bool)


def object_masks(
    depth: NDArray[np.float32],
    points: NDArray[np.float64],
    pixels: NDArray[np.float64],
    anchors: NDArray[np.float64],
    owners: Sequence[str],
) -> dict[str, NDArray[np.bool_]]:
    """`object_mask` of every object, none over another: where they touch, a pixel belongs to the nearest keypoint.

    owners: object of each of the n keypoints; the rest as in `object_mask`, for all objects together.
    """
    names = np.array(owners)
    members = {name: np.flatnonzero(names == name) for name in dict.fromkeys(owners)}
    masks = {name: object_mask(depth, points, pixels[own], anchors[own]) for name, own in members.items()}
    shared = np.sum(list(masks.values()), axis=0) > 1
    if shared.any():
        gaps = {
            name: np.linalg.norm(points[shared][:, None] - anchors[own], axis=-1).min(axis=1)
            for name, own in members.items()
        }
        # Only between those that claim a pixel: a third object may be nearer, behind a depth step.
        claimed = np.array([np.where(masks[name][shared], gaps[name], np.inf) for name in members])
        nearest = np.argmin(claimed, axis=0)
        for k, name in enumerate(members):
            masks[name][shared] &= nearest == k
    return masks


def base_height(name: str, hulls: Mapping[str, Hull]) -> float:
    """m of an object's base above the table: 0, unless it is on, or in, another one whose outline it is within."""
    return 0.0 if pile_bottoms(hulls)[name] == name else hulls[name].bottom


def pile_bottoms(hulls: Mapping[str, Hull]) -> dict[str, str]:
    """Object -> the lowest one whose outline it is within; itself, if it stands on the table."""
    out = {}
    for name, own in hulls.items():
        below = [
            other
            for other, hull in hulls.items()
            if own.bottom > hull.bottom + _ABOVE
            and np.hypot(own.x - hull.x, own.y - hull.y) < max(own.radius, hull.radius)
        ]
        out[name] = min(below, key=lambda other: hulls[other].bottom, default=name)
    return out


def widths(points: NDArray[np.float64], camera_position: NDArray[np.float64]) -> list[tuple[float, float]]:
    """(height, half the width) m of the visible surface (M, 3) of an upright object, in overlapping slices upwards."""
    towards = camera_position[:2] - np.median(points[:, :2], axis=0)
    sideways = points[:, :2] @ (np.array([-towards[1], towards[0]]) / max(float(np.linalg.norm(towards)), 1e-9))
    bottom, top = np.percentile(points[:, 2], [0.5, 99.5])
    out = []
    for height in np.arange(bottom + _SLICE / 2, top, _SLICE / 2):
        inside = np.abs(points[:, 2] - height) < _SLICE / 2
        if inside.sum() >= _LEAST_IN_SLICE:
            low, high = np.percentile(sideways[inside], [1, 99])
            out.append((float(height), float(high - low) / 2))
    return out


def upright_hull(points: NDArray[np.float64], camera_position: NDArray[np.float64]) -> Hull:
    """The cylinder around the visible surface (M, 3) of an object, seen from `camera_position` (3,): task frame."""
    middle = np.median(points, axis=0)
    towards = camera_position[:2] - middle[:2]
    towards = towards / max(float(np.linalg.norm(towards)), 1e-9)
    across = np.array([-towards[1], towards[0]])
    sideways = points[:, :2] @ across
    low, high = np.percentile(sideways, [1, 99])
    radius = float(high - low) / 2
    # Only the near side is seen: the axis lies one radius behind its front.
    front = float(np.percentile(points[:, :2] @ towards, 97))
    x, y = across * (low + high) / 2 + towards * (front - radius)
    bottom, top = np.percentile(points[:, 2], [0.5, 99.5])
    return Hull(float(x), float(y), radius, float(bottom), float(top))
