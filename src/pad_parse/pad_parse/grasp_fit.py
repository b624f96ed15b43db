"""Where a gripper holds an object, from a hand that the object itself hides.

While a hand holds something its thumb and palm are mostly out of sight, and a hand model then invents them. What stays
reliable: the palm shortly before the grasp, the index finger that lies on the visible side, and the object. A
two-finger grasp of an upright, roughly round body encloses its axis: the gripper's centre lies on that axis, its
closing axis is level, and its approach axis points from the palm to the axis. Anything else (a handle, a flat thing)
keeps the mean of what was observed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pad_parse import geometry
from pad_parse.grasping import Body, Hold
from pad_parse.hands.estimator import INDEX_MCP, INDEX_TIP, MIDDLE_MCP, WRIST
from pad_parse.smoothing import mean_pose

LONGEST_BLIND = 2.5
"""s that may pass between the last good look at a hand and its grasp."""
BEFORE = 0.8
"""s before that last look from which observations still count."""
_DECAY = 0.2
_BEFORE_SHARE = 0.5
_ENOUGH = 5.0
"""Summed weight of observations during the hold that makes earlier ones unnecessary."""
_PALM_DISTANCE = 0.082
_PALM_SIDEWAYS = 0.005
"""Where the palm's centre lies in the gripper's frame: this far behind, and this far towards the index finger (m)."""
_FLESH = 0.0075
"""From the landmark inside a fingertip to the surface that it touches (m)."""
_WIDEST = 0.065
_OFF_SURFACE = 0.030
_HELD_PALM = 0.05
"""What a palm seen during the hold, half hidden by the object, is worth beside one seen before it."""


@dataclass(frozen=True)
class GraspFit:
    """gripper_in_object (4, 4), opening m (nan if unknown), enclosing: whether the body's axis gave the pose."""

    gripper_in_object: np.ndarray
    opening: float
    enclosing: bool


def fit_grasp(
    stamps: np.ndarray,
    landmarks: np.ndarray,
    grippers: np.ndarray,
    openings: np.ndarray,
    weights: np.ndarray,
    pinch_weights: np.ndarray,
    object_poses: np.ndarray,
    hold: Hold,
    body: Body | None,
) -> GraspFit | None:
    """The constant pose of the gripper in the object during a hold; None if the hand was seen neither in nor before it.

    stamps (T,) s; landmarks (T, 21, 3) m, grippers (T, 4, 4), openings (T,) m as observed, nan = not seen; weights and
    pinch_weights (T,) 0..1: how far the hand, and its two pinching tips, are to be trusted; object_poses (T, 4, 4).
    """
    seen = np.isfinite(grippers).all(axis=(1, 2))
    during = np.zeros(len(stamps), dtype=bool)
    during[hold.start : hold.end] = True
    gap = stamps[hold.start] - stamps
    earlier = seen & (gap > 0) & (gap < LONGEST_BLIND) & (weights > 0.5)
    # The object may have hidden the hand some time before it was held: the last good look counts most.
    age = stamps[np.nonzero(earlier)[0][-1]] - stamps if earlier.any() else gap
    before = np.where(seen & (gap > 0) & (age >= 0) & (age < BEFORE), weights * np.exp(-np.abs(age) / _DECAY), 0.0)
    held = np.where(seen & during, weights, 0.0)
    trust = held + (_BEFORE_SHARE * before if held.sum() < _ENOUGH else 0.0)
    if not (trust > 0).any():
        return None
    if body is not None and (seen & during).any():
        index = geometry.transform_points(geometry.inverse(object_poses), landmarks[:, [INDEX_TIP]])[:, 0]
        index = np.median(index[seen & during], axis=0)
        if _encloses(index, body):
            palms = landmarks[:, [WRIST, INDEX_MCP, MIDDLE_MCP]].mean(axis=1)
            palms = geometry.transform_points(geometry.inverse(object_poses), palms[:, None])[:, 0]
            trust = before + _HELD_PALM * held
            used = trust > 0
            pose = _enclosing_pose(palms[used], trust[used], index, body)
            return GraspFit(pose, 2 * (float(body.radius_at(index[2])) + _FLESH), True)
    trust = np.minimum(trust, pinch_weights) if np.minimum(trust, pinch_weights).sum() > 0 else trust
    used = trust > 0
    relative = geometry.inverse(object_poses[used]) @ grippers[used]
    mean = mean_pose(relative, trust[used], position_spread=0.015, rotation_spread=0.25)
    return GraspFit(mean, _weighted_median(openings[used], trust[used]), False)


def _encloses(index: np.ndarray, body: Body) -> bool:
    """Whether an index fingertip at `index` (3,) m, object's frame, lies on a body that fits between the fingers."""
    away = float(np.hypot(index[0] - body.x, index[1] - body.y))
    radius = float(body.radius_at(index[2]))
    return radius < _WIDEST and abs(away - radius) < _OFF_SURFACE and -0.02 < index[2] < body.top + 0.02


def _enclosing_pose(palms: np.ndarray, trust: np.ndarray, index: np.ndarray, body: Body) -> np.ndarray:
    """Gripper pose (4, 4) on the body's axis, as high as the index fingertip (3,), approaching from palms (K, 3)."""
    height = float(np.clip(index[2], 0.01, body.top))
    towards = np.array([body.x, body.y]) - palms[:, :2]
    distance = np.maximum(np.linalg.norm(towards, axis=1), 0.02)
    yaw = np.arctan2(towards[:, 1], towards[:, 0])
    middle = _weighted_angle(yaw, trust)
    side = 1.0 if np.array([-np.sin(middle), np.cos(middle)]) @ (index[:2] - [body.x, body.y]) > 0 else -1.0
    # The palm's centre sits a little towards the index finger of the line through the gripper.
    middle += side * _weighted_median(np.arcsin(np.clip(_PALM_SIDEWAYS / distance, -0.3, 0.3)), trust)
    rise = float(np.clip((height - _weighted_median(palms[:, 2], trust)) / _PALM_DISTANCE, -0.6, 0.6))
    flat = np.sqrt(1 - rise**2)
    z = np.array([flat * np.cos(middle), flat * np.sin(middle), rise])
    y = side * np.array([-np.sin(middle), np.cos(middle), 0.0])
    return geometry.make_pose(np.stack([np.cross(y, z), y, z], axis=1), [body.x, body.y, height])


def _weighted_angle(angles: np.ndarray, weights: np.ndarray) -> float:
    """Robust mean direction: the weighted median of the deviations from the mean direction."""
    first = float(np.arctan2((weights * np.sin(angles)).sum(), (weights * np.cos(angles)).sum()))
    deviation = (angles - first + np.pi) % (2 * np.pi) - np.pi
    return first + _weighted_median(deviation, weights)


def _weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, total[-1] / 2)])
