"""Keypoints for a recording that nobody annotated, found by what the hands move.

Corners of the first frame are followed for a few seconds. Those that move the way a hand moves, near it but not on it,
lie on the object which that hand holds; the task says which arm handles which object. The result is a proposal: it
knows nothing of what a cap or a rim is beyond "near the top", and it is marked so.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from pad_parse.errors import ParseError, RecordingError
from pad_parse.hands.estimator import INDEX_TIP, THUMB_TIP, WRIST, HandEstimator
from pad_parse.hands.identity import HandIdentities
from pad_parse.lifting.depth import landmark_depth
from pad_parse.recording import Recording
from pad_parse.task import KeypointSpec, TaskSpec

WIDTH = 640
"""Images are shrunk to this many pixels for looking at motion."""
PAIR = 10
"""Frames between the two images in which motions are compared."""
_SURFACE = 0.03
"""m; more depth difference than this round a corner means that it lies on an edge."""
_DEEPEST = 0.10
"""m; corners of one object are no further from its middle than this, along the line of sight."""
_ROUND_KEYPOINTS = 0.5
"""Corners this far round an object's clicked points, in parts of their extent, may be on the object."""
_BETWEEN = 60
"""Corners taken up between the clicked points of an object at most."""
_TOP_WORDS = ("cap", "rim", "lid", "mouth", "top", "spout", "handle")


@dataclass(frozen=True)
class Proposal:
    """task: with keypoints at pixels of the first frame. corners: object -> (M, 2) px, all corners found on it.

    objects_held: objects that are in a hand when the recording begins. notes: sentences for the report.
    """

    task: TaskSpec
    corners: dict[str, np.ndarray]
    objects_held: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default_factory=tuple)


def arms_of_objects(task: TaskSpec) -> dict[str, tuple[int, ...]]:
    """Object -> arms (0 left, 1 right) that grasp it in the task's stages; both where no stage says."""
    arms: dict[str, tuple[int, ...]] = {}
    for name in task.object_names:
        grasps = [s.arm for s in task.stages if s.kind == "grasp" and s.object == name]
        single = {"left": (0,), "right": (1,), "both": (0, 1)}
        found = sorted({arm for side in grasps for arm in single[side]})
        arms[name] = tuple(found) or (0, 1)
    return arms


def propose_keypoints(
    recording: Recording,
    task: TaskSpec,
    estimator: HandEstimator,
    *,
    look_ahead: float = 5.0,
    corners: int = 900,
    progress: Callable[[str, float], None] | None = None,
) -> Proposal:
    """Find keypoints on the objects of `task` from the first `look_ahead` seconds of a recording.

    Raises ParseError if an object of the task cannot be found near a hand.
    """
    clip = _look(recording, estimator, look_ahead, corners, progress)
    arms = arms_of_objects(task)
    found: dict[str, np.ndarray] = {}
    notes, held = [], []
    for name in task.object_names:
        needed = max(3, sum(task.objects[name].groups.values()))
        arm, moved = max(((arm, clip.on_object(arm)) for arm in arms[name]), key=lambda c: len(c[1]))
        points = clip.tracks[0][moved]
        if len(points) >= needed:
            if clip.holds_at_start(arm, moved):
                held.append(name)
            notes.append(f"Keypoints of {name} were proposed from what moves with the {('left', 'right')[arm]} hand.")
        else:
            arm, points = max(((a, clip.near_hand(a, needed)) for a in arms[name]), key=lambda c: len(c[1]))
            if len(points) < needed:
                raise ParseError(
                    f"no object was found in the {' or '.join(('left', 'right')[a] for a in arms[name])} hand for "
                    f"{name!r} ({len(points)} points, {needed} needed) in the first {look_ahead:g} s of "
                    f"{recording.path}; annotate its keypoints in a task file beside the recording"
                )
            notes.append(f"Keypoints of {name} were proposed from what lies next to the {('left', 'right')[arm]} hand.")
            held.append(name)
        found[name] = clip.on_one_surface(points * clip.enlarge, needed)
    keypoints = [k for name in task.object_names for k in _choose(task, name, found[name])]
    notes.append(
        "Proposed keypoints are not clicked by a person: check them in the overlay, or annotate the recording."
    )
    return Proposal(task.model_copy(update={"keypoints": tuple(keypoints)}), found, tuple(held), tuple(notes))


def corners_round_keypoints(
    recording: Recording,
    task: TaskSpec,
    estimator: HandEstimator,
    progress: Callable[[str, float], None] | None = None,
) -> tuple[Proposal, list[str]]:
    """Corners on the objects of a colour-only recording whose keypoints are annotated, and notes for the report.

    Without depth a few clicked points are too little to follow an object by: the corners between them, and those near
    them that move with the hands, carry them.

    Raises RecordingError if the recording has no frame.
    """
    pixels = np.array([keypoint.pixel for keypoint in task.keypoints], np.float32)
    owners = np.array(task.keypoint_objects)
    outlines = {name: cv2.convexHull(pixels[owners == name]) for name in task.object_names}
    corners = _corners_within(recording, outlines)
    try:
        proposal = propose_keypoints(recording, task.model_copy(update={"keypoints": ()}), estimator, progress=progress)
    except ParseError as error:
        note = f"The objects are followed by what lies between their clicked points alone: {error}."
        return Proposal(task, corners), [note]
    for name, moving in proposal.corners.items():
        reach = _ROUND_KEYPOINTS * float(np.ptp(pixels[owners == name], axis=0).max())
        away = [cv2.pointPolygonTest(outlines[name], (float(u), float(v)), True) for u, v in moving]
        corners[name] = np.concatenate([corners[name], moving[np.array(away, np.float64) > -reach]])
    return replace(proposal, task=task, corners=corners), []


def _corners_within(recording: Recording, outlines: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Name -> (M, 2) px corners of the first frame within outlines name -> (K, 1, 2) px."""
    frame = next(iter(recording.frames()), None)
    if frame is None:
        raise RecordingError(f"recording {recording.path} has no frame")
    gray = cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2GRAY)
    apart = max(3, round(6 * gray.shape[1] / WIDTH))
    found = {}
    for name, outline in outlines.items():
        mask = np.zeros(gray.shape, np.uint8)
        cv2.fillConvexPoly(mask, np.round(outline).astype(np.int32), 255)
        inside = cv2.goodFeaturesToTrack(gray, _BETWEEN, 0.01, apart, mask=mask)
        found[name] = np.zeros((0, 2)) if inside is None else inside[:, 0].astype(np.float64)
    return found


@dataclass(frozen=True)
class _Clip:
    """The frames looked at: tracks (T, M, 2) px of the first frame's corners, nan once lost; hands (T, 2, 21, 2) px."""

    tracks: np.ndarray
    hands: np.ndarray
    first_gray: np.ndarray
    first_depth: np.ndarray | None
    enlarge: float

    def on_object(self, arm: int) -> np.ndarray:
        """Indices (K,) of corners that move with a hand and are not on it or its arm."""
        pairs: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        for t in range(0, len(self.tracks) - PAIR, 2):
            before, after = self.hands[t, arm], self.hands[t + PAIR, arm]
            if not (np.isfinite(before).all() and np.isfinite(after).all()):
                continue
            size = float(np.ptp(before, axis=0).max())
            if np.linalg.norm(after.mean(axis=0) - before.mean(axis=0)) < max(4.0, 0.06 * size):
                continue
            motion, _ = cv2.estimateAffinePartial2D(
                before.astype(np.float32), after.astype(np.float32), method=cv2.LMEDS
            )
            if motion is None:
                continue
            p, q = self.tracks[t], self.tracks[t + PAIR]
            middle = (before[THUMB_TIP] + before[INDEX_TIP]) / 2
            known = np.isfinite(q[:, 0]) & (np.linalg.norm(p - middle, axis=1) < 2.5 * size)
            with_hand = np.linalg.norm(q - (p @ motion[:, :2].T + motion[:, 2]), axis=1)
            at_rest = np.linalg.norm(q - p, axis=1)
            agree = with_hand < 0.5 * at_rest
            on_hand = known & _on_hand(p, before)
            pairs.append((known & agree, known & ~agree & (at_rest < with_hand), on_hand))
        # A hand on its way to an object moves alone: only the pairs in which much moves with it can speak.
        carried = [int((agree & ~on_hand).sum()) for agree, _, on_hand in pairs]
        carrying = [pair for pair, count in zip(pairs, carried, strict=True) if count >= max(6, 0.3 * max(carried))]
        if len(carrying) < 3:
            return np.zeros(0, dtype=np.int64)
        votes, against, covered = (np.sum([pair[i] for pair in carrying], axis=0) for i in range(3))
        total = votes + against
        good = (votes >= 3) & (votes > 0.7 * total) & (covered < 0.3 * np.maximum(total, 1))
        return np.nonzero(good)[0][_cluster(self.tracks[0][good])]

    def on_one_surface(self, points: np.ndarray, needed: int) -> np.ndarray:
        """Corners (K, 2) px of the recording that are on the object's surface, where at least `needed` are left."""
        if self.first_depth is None:
            return points
        near = landmark_depth(self.first_depth, points, radius=4, quantile=0.1)
        far = landmark_depth(self.first_depth, points, radius=4, quantile=0.9)
        flat = far - near < _SURFACE
        if not flat.any():
            return points
        # A window that follows an object's rim also holds what is behind: those corners lie further away.
        good = points[flat & (np.abs(near - np.median(near[flat])) < _DEEPEST)]
        return good if len(good) >= needed else points

    def near_hand(self, arm: int, needed: int) -> np.ndarray:
        """The strongest corners (K, 2) px of the first frame next to a hand that hardly moves."""
        seen = np.nonzero(np.isfinite(self.hands[:, arm]).all(axis=(1, 2)))[0]
        if not len(seen):
            return np.zeros((0, 2))
        if (
            np.ptp(self.hands[seen, arm].mean(axis=1), axis=0).max()
            > 0.5 * np.ptp(self.hands[seen[0], arm], axis=0).max()
        ):
            return np.zeros((0, 2))  # it moved, and nothing moved with it: what was next to it says nothing
        hand = self.hands[seen[0], arm]
        size = float(np.ptp(hand, axis=0).max())
        middle = (hand[THUMB_TIP] + hand[INDEX_TIP]) / 2
        mask = np.zeros(self.first_gray.shape, np.uint8)
        cv2.circle(mask, (round(float(middle[0])), round(float(middle[1]))), round(0.9 * size), 255, -1)
        points = cv2.goodFeaturesToTrack(self.first_gray, 4 * needed, 0.01, 4, mask=mask)
        if points is None:
            return np.zeros((0, 2))
        points = points[:, 0].astype(np.float64)
        return points[~_on_hand(points, hand)]

    def holds_at_start(self, arm: int, moved: np.ndarray) -> bool:
        """Whether a hand is where it will carry the corners `moved` (K,) from already when it is first seen."""
        seen = np.nonzero(np.isfinite(self.hands[:, arm]).all(axis=(1, 2)))[0]
        if not len(seen) or seen[0] > len(self.hands) / 8:
            return False
        middle = (self.hands[seen, arm, THUMB_TIP] + self.hands[seen, arm, INDEX_TIP]) / 2
        corners = self.tracks[seen][:, moved]
        kept = np.isfinite(corners[..., 0]).all(axis=0)
        if not kept.any():
            return False
        offset = middle - corners[:, kept].mean(axis=1)
        size = float(np.ptp(self.hands[seen[0], arm], axis=0).max())
        travelled = np.linalg.norm(corners[:, kept].mean(axis=1) - corners[0, kept].mean(axis=0), axis=1)
        begins = int(np.argmax(travelled > 0.1 * size)) if (travelled > 0.1 * size).any() else 0
        return bool(np.linalg.norm(offset[begins] - offset[0]) < 0.3 * size)


def _look(
    recording: Recording,
    estimator: HandEstimator,
    look_ahead: float,
    corners: int,
    progress: Callable[[str, float], None] | None,
) -> _Clip:
    estimator.reset()
    tracks: list[np.ndarray] = []
    hands: list[np.ndarray] = []
    stamps: list[float] = []
    last = first = first_depth = None
    identities = HandIdentities(WIDTH)
    enlarge = 1.0
    for frame in recording.frames():
        if stamps and frame.stamp - stamps[0] > look_ahead:
            break
        enlarge = max(1.0, frame.rgb.shape[1] / WIDTH)
        rgb = frame.rgb
        if enlarge > 1:
            rgb = cv2.resize(rgb, (WIDTH, round(rgb.shape[0] / enlarge)), interpolation=cv2.INTER_AREA)
        gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
        both = identities.assign(estimator.estimate(rgb, frame.stamp), frame.stamp)
        hands.append(np.stack([np.full((21, 2), np.nan) if h is None else h.landmarks[:, :2] for h in both]))
        if last is None:
            first, first_depth = gray, frame.depth
            points = cv2.goodFeaturesToTrack(gray, corners, 0.005, 4)
            tracks.append(np.zeros((0, 2)) if points is None else points[:, 0].astype(np.float64))
        else:
            tracks.append(_follow(last, gray, tracks[-1]))
        stamps.append(frame.stamp)
        last = gray
        if progress is not None:
            progress("propose keypoints", min(1.0, (frame.stamp - stamps[0]) / look_ahead))
    estimator.reset()
    if first is None or len(stamps) <= PAIR:
        raise ParseError(f"{recording.path} has {len(stamps)} frames; too few to propose keypoints: annotate it")
    return _Clip(np.stack(tracks), _bridge(np.stack(hands)), first, first_depth, enlarge)


def _follow(before: np.ndarray, after: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The points (M, 2) in the next image; nan where the way back does not lead home."""
    result = np.full_like(points, np.nan)
    alive = np.nonzero(np.isfinite(points[:, 0]))[0]
    if not len(alive):
        return result
    start = points[alive].astype(np.float32)
    there, ok_there, _ = cv2.calcOpticalFlowPyrLK(before, after, start, None, winSize=(21, 21), maxLevel=3)
    back, ok_back, _ = cv2.calcOpticalFlowPyrLK(after, before, there, None, winSize=(21, 21), maxLevel=3)
    good = (ok_there[:, 0] > 0) & (ok_back[:, 0] > 0) & (np.linalg.norm(back - start, axis=1) < 1.0)
    result[alive[good]] = there[good]
    return result


def _bridge(hands: np.ndarray, longest: int = 15) -> np.ndarray:
    """Hands (T, 2, 21, 2) with gaps of at most `longest` frames interpolated."""
    result = hands.copy()
    for arm in (0, 1):
        seen = np.nonzero(np.isfinite(hands[:, arm]).all(axis=(1, 2)))[0]
        for a, b in itertools.pairwise(seen):
            if 1 < b - a <= longest:
                s = (np.arange(a + 1, b) - a)[:, None, None] / (b - a)
                result[a + 1 : b, arm] = (1 - s) * hands[a, arm] + s * hands[b, arm]
    return result


def _on_hand(points: np.ndarray, hand: np.ndarray) -> np.ndarray:
    """(M,) bool: whether points (M, 2) lie on the hand (21, 2) px or on the forearm behind its wrist."""
    size = float(np.ptp(hand, axis=0).max())
    hull = cv2.convexHull(hand.astype(np.float32))
    middle = (hand[THUMB_TIP] + hand[INDEX_TIP]) / 2
    along = middle - hand[WRIST]
    reach = (points - hand[WRIST]) @ along / max(float(along @ along), 1e-9)
    result = reach < 0.15
    for i in np.nonzero(np.isfinite(points[:, 0]))[0]:
        if not result[i]:
            inside = cv2.pointPolygonTest(hull, (float(points[i, 0]), float(points[i, 1])), True)
            result[i] = inside > -0.10 * size
    return result


def _cluster(points: np.ndarray) -> np.ndarray:
    """(K,) bool: the largest group of points (K, 2) whose neighbours lie close by; strays elsewhere are left out."""
    if len(points) < 3:
        return np.ones(len(points), dtype=bool)
    distance = np.linalg.norm(points[:, None] - points[None], axis=2)
    nearest = np.sort(distance, axis=1)[:, 1:3].max(axis=1)
    link = distance < max(25.0, 3 * float(np.median(nearest)))
    reached = np.zeros(len(points), dtype=bool)
    best = reached
    for i in range(len(points)):
        if reached[i] or best[i]:
            continue
        group = np.zeros(len(points), dtype=bool)
        group[i] = True
        while True:
            grown = link[group].any(axis=0)
            if (grown == group).all():
                break
            group = grown
        reached |= group
        if group.sum() > best.sum():
            best = group
    return best


def _choose(task: TaskSpec, name: str, points: np.ndarray) -> list[KeypointSpec]:
    """As many of the points (M, 2) px as the object's groups need, well apart; top groups from the upper part."""
    left = np.ones(len(points), dtype=bool)
    chosen: list[np.ndarray] = []
    height = points[:, 1]
    keypoints = []
    groups = sorted(task.objects[name].groups.items(), key=lambda g: not any(word in g[0] for word in _TOP_WORDS))
    for group, count in groups:
        is_top = any(word in group for word in _TOP_WORDS)
        border = np.quantile(height, 0.3)
        allowed = left & (height <= border if is_top else height > border)
        for i in range(count):
            pool = np.nonzero(allowed & left)[0]
            if not len(pool):
                pool = np.nonzero(left)[0]
            if chosen:
                apart = np.linalg.norm(points[pool, None] - np.array(chosen)[None], axis=2).min(axis=1)
            else:
                apart = -np.linalg.norm(points[pool] - points[pool].mean(axis=0), axis=1)
            pick = int(pool[apart.argmax()])
            left[pick] = False
            chosen.append(points[pick])
            keypoints.append(
                KeypointSpec(
                    name=group if count == 1 else f"{group}_{i}",
                    object=name,
                    group=group,
                    pixel=(float(points[pick, 0]), float(points[pick, 1])),
                )
            )
    order = list(task.objects[name].groups)
    return sorted(keypoints, key=lambda k: order.index(k.group))
