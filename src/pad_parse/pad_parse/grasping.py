"""When a hand holds an object: opening with hysteresis, confirmed by the object beginning to move with the hand."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.signal import medfilt

from pad_parse import geometry

_IN_THE_AIR = 0.015
"""m above its first place, where an object does not stay without a hand."""
_LONGEST_WAIT = 2.0
"""s between the closing of the fingers and the object's motion, and between its rest and their opening."""
_HELD_FOR = 0.5
"""s of the object's motion that show where the fingers rest."""
_SLOPE = 5
"""Frames over which the fingers' last approach is taken to be straight."""
MOTION_WINDOW = 0.2
"""s; the object's displacement over this time decides whether it moves."""


@dataclass(frozen=True)
class Body:
    """An upright round body in the object's frame: axis at (x, y), largest radius and top in m.

    profile: (height, radius) in m from the bottom up; empty: the radius is the same at all heights.
    """

    x: float
    y: float
    radius: float
    top: float
    profile: tuple[tuple[float, float], ...] = ()

    def radius_at(self, height: ArrayLike) -> NDArray[np.float64]:
        """(...,) m at heights (...,) m; beyond the profile that of its ends."""
        if not self.profile:
            return np.full(np.shape(height), self.radius)
        heights, radii = zip(*self.profile, strict=True)
        return np.asarray(np.interp(np.asarray(height, dtype=np.float64), heights, radii))

    def off_axis(self, points: np.ndarray) -> np.ndarray:
        """(...,) m from the axis of points (..., 3) in the object's frame."""
        return np.hypot(points[..., 0] - self.x, points[..., 1] - self.y)

    def encloses(self, points: np.ndarray) -> np.ndarray:
        """(...,) bool: points (..., 3) in the object's frame that lie well inside, where no fingertip can be."""
        return np.asarray((self.off_axis(points) < 0.75 * self.radius_at(points[..., 2])) & (points[..., 2] < self.top))


@dataclass(frozen=True)
class Hold:
    """Arm `arm` (0 left, 1 right) holds `object` in frames [start, end); it moves from frame `moves_from` on."""

    arm: int
    object: str
    start: int
    end: int
    moves_from: int


def closed_by_opening(
    stamps: np.ndarray,
    openings: np.ndarray,
    *,
    close_at: float = 0.2,
    open_at: float = 0.35,
    least_range: float = 0.015,
    shortest: float = 0.1,
) -> np.ndarray:
    """Closed (T,) bool from openings (T,) m alone, with hysteresis relative to their own range; nan keeps the state.

    stamps (T,) s; close_at, open_at: fractions of the range (5th to 95th percentile); least_range: m, below it nothing
    ever closes; shortest: s, a change that is taken back sooner is none (fingers that pass each other).
    """
    values = np.asarray(openings, dtype=np.float64)
    closed = np.zeros(len(values), dtype=bool)
    seen = values[np.isfinite(values)]
    if not len(seen):
        return closed
    low, high = np.percentile(seen, [5, 95])
    if high - low < least_range:
        return closed
    state = bool(seen[0] < low + close_at * (high - low))
    for t, value in enumerate(values):
        if np.isfinite(value):
            state = value < low + (open_at if state else close_at) * (high - low)
        closed[t] = state
    for kind in (True, False):
        for start, end in runs(closed == kind):
            # At the ends nobody knows how long it lasts.
            if start > 0 and end < len(closed) and stamps[end] - stamps[start] < shortest:
                closed[start:end] = not kind
    return closed


def moving(stamps: np.ndarray, poses: np.ndarray, lever: np.ndarray, threshold: float = 0.006) -> np.ndarray:
    """(T,) bool: whether an object (T, 4, 4) moves; `lever` (M, 3) m are points of it, in its own frame.

    It moves where any of the points is displaced by `threshold` m within MOTION_WINDOW.
    """
    points = np.einsum("tij,mj->tmi", poses[:, :3, :3], lever) + poses[:, None, :3, 3]
    later = np.searchsorted(stamps, stamps + MOTION_WINDOW / 2).clip(0, len(stamps) - 1)
    earlier = np.searchsorted(stamps, stamps - MOTION_WINDOW / 2).clip(0, len(stamps) - 1)
    displacement = np.linalg.norm(points[later] - points[earlier], axis=2).mean(axis=1)
    result = displacement > threshold
    for start, end in runs(~result):
        # A pause of a moment inside a motion is part of it.
        if start > 0 and end < len(result) and stamps[min(end, len(stamps) - 1)] - stamps[start] < 0.15:
            result[start:end] = True
    for start, end in runs(result):
        if stamps[end - 1] - stamps[start] < 0.1:
            result[start:end] = False
    return result


def motion_onset(stamps: np.ndarray, poses: np.ndarray, lever: np.ndarray, first: int, least: float = 0.003) -> int:
    """The frame in which the motion detected at `first` really began: the window of `moving` looks ahead."""
    start = max(0, int(np.searchsorted(stamps, stamps[first] - 0.5)))
    end = min(len(stamps), int(np.searchsorted(stamps, stamps[first] + 0.3)) + 1)
    points = np.einsum("tij,mj->tmi", poses[start:end, :3, :3], lever) + poses[start:end, None, :3, 3]
    rest = points[: max(1, (first - start) // 2 + 1)].mean(axis=0)
    away = np.linalg.norm(points - rest, axis=2).mean(axis=1) > least
    later = np.nonzero(~away)[0]
    return start + int(later[-1]) + 1 if len(later) and later[-1] + 1 < len(away) else first


def find_holds(
    stamps: np.ndarray,
    hand_poses: np.ndarray,
    tips: np.ndarray,
    object_poses: dict[str, np.ndarray],
    object_points: dict[str, np.ndarray],
    arms_of: dict[str, tuple[int, ...]],
    *,
    bodies: dict[str, Body] | None = None,
    near: float = 0.10,
    arrival: float = 0.012,
) -> list[Hold]:
    """Which hand holds which object when.

    stamps (T,) s; hand_poses (T, 2, 4, 4) with nan where a hand is not well seen; tips (T, 2, F, 3) m, outer joints of
    the fingers of each, badly seen ones too; object_poses name -> (T, 4, 4); object_points name -> (M, 3) m in the
    object's frame; arms_of name -> arms that may handle it; bodies: shapes of objects in their frames, where known;
    near: m from the gripper's origin to the nearest object point; arrival: m, how still fingertips rest in the object's
    frame once they hold it.
    """
    holds: list[Hold] = []
    for name, poses in object_poses.items():
        points = object_points[name]
        lever = np.concatenate([points, np.zeros((1, 3))])
        is_moving = moving(stamps, poses, lever)
        if not is_moving.any():
            continue
        distance = np.stack(
            [_distance(hand_poses[:, arm, :3, 3], poses, points) for arm in (0, 1)], axis=1
        )  # (T, 2), nan where unseen
        motions = _motions(is_moving, poses, distance, near)
        for start, end in motions:
            arm = _holder(distance[start:end], arms_of[name], near)
            if arm is None:
                continue
            onset = motion_onset(stamps, poses, lever, start) if start > 0 else 0
            relative = geometry.transform_points(geometry.inverse(poses), tips[:, arm])
            body = None if bodies is None else bodies.get(name)
            if body is not None:
                relative = np.where(body.encloses(relative)[..., None], np.nan, relative)
            first = _grasp_frame(stamps, relative, onset, end, arrival, body)
            following = next((a for a, _ in motions if a > end), len(stamps))
            last = _release_frame(stamps, relative, end, following, arrival, body)
            holds.append(Hold(arm, name, first, last, onset))
    return _without_overlap(holds)


def runs(mask: np.ndarray) -> list[tuple[int, int]]:
    """[start, end) of every run of True in (T,) bool."""
    edges = np.diff(np.concatenate([[0], mask.astype(np.int8), [0]]))
    return list(zip(np.nonzero(edges == 1)[0].tolist(), np.nonzero(edges == -1)[0].tolist(), strict=True))


def _distance(positions: np.ndarray, poses: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(T,) m from fingertip midpoints (T, 3) to the nearest point, or the points' middle, of an object."""
    local = geometry.transform_points(geometry.inverse(poses), positions[:, None])[:, 0]
    reference = np.concatenate([points, points.mean(axis=0, keepdims=True)])
    return np.linalg.norm(local[:, None] - reference, axis=2).min(axis=1)


def _motions(is_moving: np.ndarray, poses: np.ndarray, distance: np.ndarray, near: float) -> list[tuple[int, int]]:
    """Runs of motion, joined across pauses in which a hand stays with the object or the object is in the air."""
    joined: list[tuple[int, int]] = []
    for start, end in runs(is_moving):
        if joined:
            before = joined[-1][1]
            pause = distance[before:start]
            nearest = pause[np.isfinite(pause).any(axis=1)]
            away = len(nearest) > 0 and bool((np.nanmin(nearest, axis=1) > 1.3 * near).mean() > 0.3)
            in_the_air = float(poses[before:start, 2, 3].mean() - poses[0, 2, 3]) > _IN_THE_AIR
            if not away or in_the_air:
                joined[-1] = (joined[-1][0], end)
                continue
        joined.append((start, end))
    return joined


def _holder(distance: np.ndarray, arms: tuple[int, ...], near: float) -> int | None:
    """The arm of `arms` that is near for longest; None if one was seen there but never near."""
    best, best_share = None, 0.0
    for arm in arms:
        seen = distance[np.isfinite(distance[:, arm]), arm]
        share = float((seen < near).mean()) if len(seen) else 0.0
        if share > best_share:
            best, best_share = arm, share
    if best is None and len(arms) == 1 and not np.isfinite(distance[:, arms[0]]).any():
        return arms[0]  # the only arm that may hold it, out of sight
    return best if best is None or best_share > 0.2 else None


def _grasp_frame(stamps: np.ndarray, tips: np.ndarray, onset: int, end: int, settle: float, body: Body | None) -> int:
    """First frame of the grasp: from there on the fingertips (T, F, 3), in the object's frame, rest where they hold it.

    onset: the frame in which the object begins to move, by when the hand holds it.
    """
    if onset == 0:
        return 0
    begin = int(np.searchsorted(stamps, stamps[onset] - _LONGEST_WAIT))
    rest = slice(onset, min(end, int(np.searchsorted(stamps, stamps[onset] + _HELD_FOR))))
    came = _came_to_rest(stamps, tips, begin, onset, rest, settle, body)
    return onset if came is None else min(onset, came)


def _release_frame(
    stamps: np.ndarray, tips: np.ndarray, end: int, following: int, settle: float, body: Body | None
) -> int:
    """Frame after the last one of the hold: the fingertips (T, F, 3), object's frame, leave it after it came to rest.

    end: frame after the object's motion; following: frame in which the object moves again, or T.
    """
    count = len(stamps)
    if end >= count:
        return count
    # A release is a grasp seen backwards.
    back = -stamps[::-1]
    last = min(following, int(np.searchsorted(stamps, stamps[end] + _LONGEST_WAIT)))
    held = slice(count - end, count - max(0, int(np.searchsorted(stamps, stamps[end] - _HELD_FOR))))
    begin = count - last
    came = _came_to_rest(back, tips[::-1], begin, count - end, held, settle, body)
    return following if came is None or came == begin else count - came


def _came_to_rest(
    stamps: np.ndarray, tips: np.ndarray, begin: int, edge: int, held: slice, settle: float, body: Body | None
) -> int | None:
    """First frame in [begin, edge] from which the fingertips (T, F, 3) stay where they are in frames `held`; `begin` if
    they were never elsewhere, None if they are not seen in `held`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # fingers that are never seen
        rest = np.nanmedian(tips[held], axis=0)
        if body is None:
            away = np.nanmedian(np.linalg.norm(tips - rest, axis=2), axis=1)
        else:
            # Fingers open outwards; one that is taken for its neighbour moves along the body or into it.
            outwards = body.off_axis(tips) - body.off_axis(rest)
            away = np.maximum(np.nanmedian(outwards, axis=1), 0.0)
        floor = float(np.nanmedian(away[held]))
    known = begin + np.nonzero(np.isfinite(away[begin:edge]))[0]
    if not np.isfinite(floor):
        return None
    if len(known) < _SLOPE:
        return begin
    seen = medfilt(away[known], 5)
    far = seen > max(floor + 0.25 * settle, 2 * floor)
    # The split that most frames agree with: far before it, near after it. A hand that the model misreads for a moment
    # is neither.
    votes = np.cumsum(np.where(far, 1, -1))
    if votes.max() <= 0:
        return begin
    last = int(len(votes) - 1 - votes[::-1].argmax())
    left = int(known[last])
    # Straight down to the noise: the last of a movement is too slow to be seen in it.
    span = slice(max(0, last - _SLOPE), last + 1)
    if span.stop - span.start < 3:
        return left + 1
    slope, height = np.polyfit(stamps[known[span]] - stamps[left], seen[span], 1)
    if slope >= 0:
        return left + 1
    ends = stamps[left] + (floor - height) / slope
    return int(np.clip(np.searchsorted(stamps, ends), left + 1, min(edge, left + _SLOPE)))


def _without_overlap(holds: list[Hold]) -> list[Hold]:
    """One hand holds one object at a time: a later hold ends the one before."""
    result: list[Hold] = []
    for hold in sorted(holds, key=lambda h: h.start):
        for i, other in enumerate(result):
            if other.arm == hold.arm and other.end > hold.start:
                result[i] = Hold(
                    other.arm, other.object, other.start, max(other.start + 1, hold.start), other.moves_from
                )
        result.append(hold)
    return result
