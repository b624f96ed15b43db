"""From a hand to a two-finger gripper: pose, opening, and a complete trajectory through occlusion.

The gripper's origin is the midpoint of thumb tip and index tip; its closing axis y runs from the thumb tip to the
index tip; its approach axis z runs out of the palm through the midpoint, orthogonal to y; x = y cross z.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from pad_parse import geometry
from pad_parse.demonstration import KeypointState
from pad_parse.errors import ParseError
from pad_parse.grasp_fit import GraspFit, fit_grasp
from pad_parse.grasping import Body, Hold, find_holds, runs
from pad_parse.hands.estimator import FINGER_ENDS, INDEX_MCP, INDEX_TIP, MIDDLE_MCP, THUMB_TIP, WRIST
from pad_parse.lifting.uncertainty import time_unseen
from pad_parse.smoothing import mean_pose, smooth_scalars, smooth_trajectory

BELIEVED = 0.5
"""The least weight of an observation that may shape a trajectory."""
_WAY = 0.03
"""m; on a shorter way fingertips tell nothing about progress."""
_ROUND = 0.03
"""m off a body's surface within which fingers are about to hold it."""
_LONG_BLINDNESS, _BRINK, _SUPPORT = 0.3, 0.17, 0.05
"""s: how long a hand must be out of sight for the looks on the brink, this close to it, to be left out; how far
smoothing reaches beyond an observation."""


def gripper_pose(landmarks: np.ndarray) -> np.ndarray:
    """Gripper poses (..., 4, 4) from landmarks (..., 21, 3) in m, in the landmarks' frame; nan where they are nan."""
    thumb, index = landmarks[..., THUMB_TIP, :], landmarks[..., INDEX_TIP, :]
    middle = (thumb + index) / 2
    palm = (landmarks[..., WRIST, :] + landmarks[..., INDEX_MCP, :] + landmarks[..., MIDDLE_MCP, :]) / 3
    y = _unit(index - thumb)
    approach = middle - palm
    z = _unit(approach - (approach * y).sum(axis=-1, keepdims=True) * y)
    x = np.cross(y, z)
    return geometry.make_pose(np.stack([x, y, z], axis=-1), middle)


def gripper_opening(landmarks: np.ndarray) -> np.ndarray:
    """Opening (...) in m: distance from thumb tip to index tip of landmarks (..., 21, 3) in m."""
    return np.linalg.norm(landmarks[..., INDEX_TIP, :] - landmarks[..., THUMB_TIP, :], axis=-1)


@dataclass(frozen=True)
class GripperTrack:
    """poses (T, 2, 4, 4), openings (T, 2) m, closed (T, 2), states (T, 2) of KeypointState; nan where LOST.

    object_poses: name -> (T, 4, 4), completed through the hands that held them. holds: who held what when.
    fits: per hold, how the object is held; None if that hand was never seen.
    """

    poses: np.ndarray
    openings: np.ndarray
    closed: np.ndarray
    states: np.ndarray
    object_poses: dict[str, np.ndarray]
    holds: list[Hold]
    fits: list[GraspFit | None]


def track_grippers(
    stamps: np.ndarray,
    landmarks: np.ndarray,
    weights: np.ndarray,
    pinch_weights: np.ndarray,
    object_poses: dict[str, np.ndarray],
    object_points: dict[str, np.ndarray],
    arms_of: dict[str, tuple[int, ...]],
    *,
    longest_gap: float = 0.7,
    longest_approach: float = 2.5,
    half_window: float = 0.25,
    object_half_window: float = 0.12,
    near: float = 0.10,
    arrival: float = 0.020,
    held_from_start: tuple[str, ...] = (),
    bodies: dict[str, Body] | None = None,
) -> GripperTrack:
    """Both grippers over a whole recording.

    stamps (T,) s; landmarks (T, 2, 21, 3) m in the task frame, nan where a hand was not seen; weights and
    pinch_weights (T, 2) 0 to 1: how far each hand, and its thumb and index tips, are to be trusted; object_poses
    name -> (T, 4, 4) with nan where an object was lost; object_points name -> (M, 3) m in the object's frame; arms_of
    name -> arms that may handle it; longest_gap s: a hand that holds nothing is interpolated over at most this long,
    and longest_approach s: one that is about to hold or has held something;
    near, arrival m: see `find_holds`; held_from_start: objects known to be in a hand when the recording begins;
    bodies: shapes of objects, in their frames, where they are known.
    """
    count = len(stamps)
    if landmarks.shape != (count, 2, 21, 3) or weights.shape != (count, 2):
        raise ParseError(f"landmarks {landmarks.shape}, weights {weights.shape} do not fit {count} frames of two hands")
    seen = np.isfinite(landmarks).all(axis=(2, 3))
    believed = seen & (np.minimum(weights, pinch_weights) >= BELIEVED)
    for arm in (0, 1):
        believed[:, arm] = _without_brinks(stamps, believed[:, arm])
    raw = np.full((count, 2, 4, 4), np.nan)
    raw[seen] = gripper_pose(landmarks[seen])
    width = np.where(seen, gripper_opening(landmarks), np.nan)
    trusted = np.where(believed[..., None, None], raw, np.nan)
    complete = {name: _bridged(stamps, poses) for name, poses in object_poses.items()}
    holds = find_holds(
        stamps,
        trusted,
        landmarks[:, :, FINGER_ENDS],
        complete,
        object_points,
        arms_of,
        bodies=bodies,
        near=near,
        arrival=arrival,
    )
    for name in held_from_start:
        holds = _from_start(holds, name, arms_of[name][0], count)
    poses = np.full((count, 2, 4, 4), np.nan)
    openings = np.full((count, 2), np.nan)
    tips = np.stack(
        [
            smooth_scalars(stamps, landmarks[:, arm, FINGER_ENDS].mean(axis=1), half_window=0.1, order=1, spread=0.01)
            for arm in (0, 1)
        ],
        axis=1,
    )
    for arm in (0, 1):
        free = believed[:, arm] & ~_around(tips[:, arm], complete, bodies or {})
        weight = np.where(free, pinch_weights[:, arm], 0.0)
        supported = _near_sample(stamps, free)
        poses[supported, arm] = smooth_trajectory(stamps, raw[:, arm], weight, half_window=half_window)[supported]
        openings[:, arm] = np.maximum(
            smooth_scalars(stamps, width[:, arm, None], weight, half_window=0.15, order=1, spread=0.005)[:, 0], 0.0
        )
        openings[~supported, arm] = np.nan
        _fill_gaps(stamps, poses[:, arm], openings[:, arm], tips[:, arm], longest_gap)
    closed = np.zeros((count, 2), dtype=bool)
    fits: list[GraspFit | None] = []
    for hold in holds:
        span = slice(hold.start, hold.end)
        closed[span, hold.arm] = True
        _through_hand(
            stamps, object_poses[hold.object], complete[hold.object], raw[:, hold.arm], weights[:, hold.arm], hold
        )
    for name, lost in object_poses.items():
        found = np.isfinite(lost).all(axis=(1, 2)).astype(float)
        complete[name] = smooth_trajectory(
            stamps,
            complete[name],
            0.05 + found,
            half_window=object_half_window,
            position_spread=0.003,
            rotation_spread=0.05,
        )
    for i, hold in enumerate(holds):
        span = slice(hold.start, hold.end)
        fit = fit_grasp(
            stamps,
            landmarks[:, hold.arm],
            raw[:, hold.arm],
            width[:, hold.arm],
            weights[:, hold.arm],
            pinch_weights[:, hold.arm],
            complete[hold.object],
            hold,
            (bodies or {}).get(hold.object),
        )
        if fit is None and i > 0 and holds[i - 1].arm == hold.arm and holds[i - 1].object == hold.object:
            fit = fits[-1]  # out of sight throughout: the grasp is the one before
        fits.append(fit)
        if fit is None:
            continue
        offset = fit.gripper_in_object
        held = complete[hold.object][span] @ offset
        _blend(stamps, poses[:, hold.arm], held, hold)
        poses[span, hold.arm] = held
        _blend_scalar(stamps, openings[:, hold.arm], fit.opening, hold)
    for arm in {hold.arm for hold in holds}:
        # A hand that disappears behind what it is about to hold, or comes out behind what it has let go.
        _fill_gaps(stamps, poses[:, arm], openings[:, arm], tips[:, arm], longest_approach)
    states = np.where(believed, int(KeypointState.VISIBLE), int(KeypointState.FILLED)).astype(np.uint8)
    lost = ~(np.isfinite(poses).all(axis=(2, 3)) & np.isfinite(openings))
    states[lost] = int(KeypointState.LOST)
    poses[lost], openings[lost] = np.nan, np.nan
    return GripperTrack(poses, openings, closed, states, complete, holds, fits)


def _without_brinks(stamps: np.ndarray, believed: np.ndarray) -> np.ndarray:
    """(T,) bool without the last and first looks around a longer blindness: there a hand is already half hidden."""
    result = believed.copy()
    for start, end in runs(~believed):
        if stamps[min(end, len(stamps) - 1)] - stamps[start] > _LONG_BLINDNESS:
            near = (stamps > stamps[start] - _BRINK) & (stamps < stamps[end - 1] + _BRINK)
            result &= ~near
    return result


def _around(tips: np.ndarray, object_poses: dict[str, np.ndarray], bodies: dict[str, Body]) -> np.ndarray:
    """(T,) bool: fingertips (T, 3) lie round a body, which then hides the thumb or is hidden by it."""
    result = np.zeros(len(tips), dtype=bool)
    for name, body in bodies.items():
        local = geometry.transform_points(geometry.inverse(object_poses[name]), tips[:, None])[:, 0]
        result |= (body.off_axis(local) < body.radius + _ROUND) & (local[:, 2] < body.top + _ROUND)
    return result


def _near_sample(stamps: np.ndarray, believed: np.ndarray) -> np.ndarray:
    """(T,) bool: close enough to a believed observation for smoothing not to be a guess."""
    return np.asarray(time_unseen(stamps, believed) < _SUPPORT)


def _from_start(holds: list[Hold], name: str, arm: int, count: int) -> list[Hold]:
    """The holds with the first one of `name` begun at frame 0; one over the whole recording if there is none."""
    first = next((i for i, hold in enumerate(holds) if hold.object == name), None)
    if first is None:
        return [*holds, Hold(arm, name, 0, count, 0)]
    return [
        Hold(hold.arm, hold.object, 0, hold.end, hold.moves_from) if i == first else hold
        for i, hold in enumerate(holds)
    ]


def _unit(vector: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vector, axis=-1, keepdims=True)
    return vector / np.maximum(length, 1e-9)


def _bridged(stamps: np.ndarray, poses: np.ndarray) -> np.ndarray:
    """Poses (T, 4, 4) with gaps interpolated and ends held."""
    known = np.nonzero(np.isfinite(poses).all(axis=(1, 2)))[0]
    if not len(known):
        raise ParseError("an object was never found in the recording; annotate other points on it")
    after = np.searchsorted(known, np.arange(len(poses))).clip(0, len(known) - 1)
    right = known[after]
    left = known[np.where(right > np.arange(len(poses)), np.maximum(after - 1, 0), after)]
    gap = stamps[right] - stamps[left]
    s = np.where(gap > 0, (stamps - stamps[left]) / np.where(gap > 0, gap, 1), 0.0).clip(0, 1)
    return geometry.interpolate_pose(poses[left], poses[right], s)


def _fill_gaps(stamps: np.ndarray, poses: np.ndarray, openings: np.ndarray, tips: np.ndarray, longest: float) -> None:
    """Fill gaps no longer than `longest` s, in place; ends are not extrapolated.

    Where fingertips (T, 3) are in sight the gripper follows them, with the offsets that it has at both ends.
    """
    known = np.nonzero(np.isfinite(poses).all(axis=(1, 2)) & np.isfinite(openings))[0]
    for a, b in itertools.pairwise(known):
        if b - a > 1 and stamps[b] - stamps[a] <= longest:
            between = np.arange(a + 1, b)
            s = _progress(stamps[a : b + 1], tips[a : b + 1])[1:-1]
            filled = geometry.interpolate_pose(poses[a], poses[b], s)
            # The fingertips' place in the gripper's frame changes from one end to the other as little as it can.
            at_a, at_b = (geometry.transform_points(geometry.inverse(poses[t]), tips[t]) for t in (a, b))
            place = np.einsum("tij,tj->ti", filled[:, :3, :3], at_a + s[:, None] * (at_b - at_a))
            seen = np.isfinite(tips[between] - place).all(axis=1)
            filled[seen, :3, 3] = (tips[between] - place)[seen]
            poses[between] = filled
            openings[between] = openings[a] + s * (openings[b] - openings[a])


def _progress(stamps: np.ndarray, tips: np.ndarray) -> np.ndarray:
    """(K,) 0 to 1: how much of their way the fingertips (K, 3) have gone; by the time where they are not seen."""
    by_time = (stamps - stamps[0]) / (stamps[-1] - stamps[0])
    way = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(tips, axis=0), axis=1))])
    return way / way[-1] if np.isfinite(way).all() and way[-1] > _WAY else by_time


def _through_hand(
    stamps: np.ndarray, found: np.ndarray, complete: np.ndarray, hand: np.ndarray, weights: np.ndarray, hold: Hold
) -> None:
    """Where a held object was lost but its hand was seen, it moves with the hand; in place on `complete` (T, 4, 4)."""
    span = np.arange(hold.start, hold.end)
    known = np.isfinite(found[span]).all(axis=(1, 2))
    seen = np.isfinite(hand[span]).all(axis=(1, 2)) & (weights[span] > 0)
    if known.all() or not (known & seen).any():
        return
    both = span[known & seen]
    offset = mean_pose(geometry.inverse(found[both]) @ hand[both], weights[both])
    lost = span[~known & seen]
    if not len(lost):
        return
    through = hand[lost] @ geometry.inverse(offset)
    # Short losses are bridged better by interpolation than by a hand, which is ten times less precise.
    gap = _gap_length(stamps, np.isfinite(found).all(axis=(1, 2)))[lost]
    complete[lost] = geometry.interpolate_pose(complete[lost], through, np.clip((gap - 0.2) / 0.3, 0, 1))


def _gap_length(stamps: np.ndarray, known: np.ndarray) -> np.ndarray:
    """(T,) s: time between the known frames on either side of each frame; infinite beyond the ends."""
    index = np.nonzero(known)[0]
    result = np.full(len(stamps), np.inf)
    for a, b in itertools.pairwise(index):
        result[a + 1 : b] = stamps[b] - stamps[a]
    result[known] = 0.0
    return result


def _blend(stamps: np.ndarray, poses: np.ndarray, held: np.ndarray, hold: Hold, reach: float = 0.5) -> None:
    """Lead the free trajectory into the first held pose and out of the last one, in place."""
    for at, pose, before in ((hold.start, held[0], True), (hold.end - 1, held[-1], False)):
        if not np.isfinite(poses[at]).all():
            continue
        difference = geometry.inverse(poses[at]) @ pose
        span = np.arange(0, at) if before else np.arange(at + 1, len(poses))
        fade = 1 - np.abs(stamps[span] - stamps[at]) / reach
        span, fade = span[fade > 0], fade[fade > 0]
        usable = np.isfinite(poses[span]).all(axis=(1, 2))
        span, fade = span[usable], fade[usable]
        smooth = fade * fade * (3 - 2 * fade)
        poses[span] = poses[span] @ geometry.interpolate_pose(np.eye(4), difference, smooth)


def _blend_scalar(stamps: np.ndarray, openings: np.ndarray, held: float, hold: Hold, reach: float = 0.2) -> None:
    for at, span in ((hold.start, np.arange(0, hold.start)), (hold.end - 1, np.arange(hold.end, len(openings)))):
        if not np.isfinite(openings[at]):
            continue
        fade = np.clip(1 - np.abs(stamps[span] - stamps[at]) / reach, 0, 1)
        openings[span] = np.maximum(openings[span] + fade * (held - openings[at]), 0.0)
    openings[hold.start : hold.end] = held
