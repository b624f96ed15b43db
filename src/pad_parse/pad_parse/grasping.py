"""When a hand holds an object: opening with hysteresis, confirmed by the object beginning to move with the hand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pad_parse import geometry
from pad_parse.smoothing import smooth_scalars

MOTION_WINDOW = 0.2
"""s; the object's displacement over this time decides whether it moves."""


@dataclass(frozen=True)
class Hold:
    """Arm `arm` (0 left, 1 right) holds `object` in frames [start, end); it moves from frame `moves_from` on."""

    arm: int
    object: str
    start: int
    end: int
    moves_from: int


def closed_by_opening(
    openings: np.ndarray, *, close_at: float = 0.2, open_at: float = 0.35, least_range: float = 0.015
) -> np.ndarray:
    """Closed (T,) bool from openings (T,) m alone, with hysteresis relative to their own range; nan keeps the state.

    close_at, open_at: fractions of the range (5th to 95th percentile); least_range: m, below it nothing ever closes.
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
    openings: np.ndarray,
    object_poses: dict[str, np.ndarray],
    object_points: dict[str, np.ndarray],
    arms_of: dict[str, tuple[int, ...]],
    *,
    near: float = 0.10,
    arrival: float = 0.020,
) -> list[Hold]:
    """Which hand holds which object when.

    stamps (T,) s; hand_poses (T, 2, 4, 4) with nan where a hand is not seen; openings (T, 2) m, nan likewise;
    object_poses name -> (T, 4, 4); object_points name -> (M, 3) m in the object's frame; arms_of name -> arms that may
    handle it; near: m from the fingertips' midpoint to the nearest object point; arrival: m, how still a hand stays in
    the object's frame once it has arrived.
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
        for start, end in _motions(stamps, is_moving, distance, near):
            arm = _holder(distance[start:end], arms_of[name], near)
            if arm is None:
                continue
            onset = motion_onset(stamps, poses, lever, start) if start > 0 else 0
            first = _grasp_frame(stamps, hand_poses[:, arm], openings[:, arm], poses, onset, end, arrival)
            last = _release_frame(stamps, openings[:, arm], distance[:, arm], onset, end, near)
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


def _motions(stamps: np.ndarray, is_moving: np.ndarray, distance: np.ndarray, near: float) -> list[tuple[int, int]]:
    """Runs of motion, joined across pauses in which a hand stays with the object."""
    joined: list[tuple[int, int]] = []
    for start, end in runs(is_moving):
        if joined:
            before = joined[-1][1]
            pause = distance[before:start]
            nearest = pause[np.isfinite(pause).any(axis=1)]
            away = len(nearest) > 0 and bool((np.nanmin(nearest, axis=1) > 1.3 * near).mean() > 0.3)
            if not away:
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


def _grasp_frame(
    stamps: np.ndarray,
    hand: np.ndarray,
    openings: np.ndarray,
    poses: np.ndarray,
    onset: int,
    end: int,
    arrival: float,
) -> int:
    """First frame of the grasp: the hand has stopped closing and stands still relative to the object."""
    if onset == 0:
        return 0
    begin = int(np.searchsorted(stamps, stamps[onset] - 1.5))
    window = slice(begin, onset + 1)
    spread = 0.004
    smooth = smooth_scalars(stamps[window], openings[window, None], half_window=0.12, order=1, spread=spread)[:, 0]
    held = openings[onset : min(end, onset + 60)]
    held = held[np.isfinite(held)]
    seen = np.isfinite(smooth)
    first = begin
    if len(held) >= 3 and seen.any():
        closed_at = float(np.median(held))
        widest = float(np.nanmax(smooth))
        if widest - closed_at > 0.010:
            threshold = closed_at + 0.2 * (widest - closed_at)
            open_frames = np.nonzero(seen & (smooth > threshold))[0]
            first = begin + int(open_frames[-1]) + 1 if len(open_frames) else begin
    # A hand that closes on its way is not a grasp yet: it must have arrived at the object.
    relative = geometry.transform_points(geometry.inverse(poses[window]), hand[window, None, :3, 3])[:, 0]
    relative = smooth_scalars(stamps[window], relative, half_window=0.12, order=1, spread=0.006)
    known = np.nonzero(np.isfinite(relative).all(axis=1))[0]
    if not len(known):
        return onset
    arrived = np.median(relative[known[-3:]], axis=0)
    away = np.nonzero(np.linalg.norm(relative - arrived, axis=1) > arrival)[0]
    if len(away):
        first = max(first, begin + int(away[-1]) + 1)
    return min(first, onset)


def _release_frame(
    stamps: np.ndarray, openings: np.ndarray, distance: np.ndarray, onset: int, end: int, near: float
) -> int:
    """Frame after the last one of the hold: the hand opens or leaves after the object came to rest."""
    count = len(stamps)
    if end >= count:
        return count
    held = openings[onset:end]
    held = held[np.isfinite(held)]
    closed_at = float(np.median(held)) if len(held) else np.nan
    after = openings[end:]
    widest = np.nanmax(after) if np.isfinite(after).any() else np.nan
    if np.isfinite(closed_at) and np.isfinite(widest) and widest - closed_at > 0.015:
        threshold = closed_at + 0.35 * (widest - closed_at)
        wide = np.nonzero(np.nan_to_num(after) > threshold)[0]
        sustained = [i for i in wide if np.nanmean(after[i : i + 5]) > threshold]
        gone = np.nonzero(np.nan_to_num(distance[end:]) > 1.3 * near)[0]
        # The opening alone is noisy: the hand must also leave in the end.
        if sustained and len(gone):
            return end + min(int(sustained[0]), int(gone[0]))
    gone = np.nonzero(np.nan_to_num(distance[end:]) > 1.3 * near)[0]
    return end + int(gone[0]) if len(gone) else count


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
