"""One pass over a recording: what was seen in each frame, before it is made into a demonstration."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Self

import cv2
import numpy as np

from pad_parse import geometry
from pad_parse.camera import Camera
from pad_parse.demonstration import KeypointState, Reference
from pad_parse.errors import ParseError
from pad_parse.grasping import Body
from pad_parse.hands.estimator import LANDMARK_COUNT, HandEstimator, HandObservation
from pad_parse.hands.identity import HandIdentities
from pad_parse.lifting.depth import landmark_depth, palm_distance
from pad_parse.lifting.hand_fit import palm_depth
from pad_parse.lifting.monocular import ASSUMED_PITCH, build_scene, object_poses
from pad_parse.lifting.planar import PlanarTracker
from pad_parse.proposal import Proposal, arms_of_objects
from pad_parse.recording import Frame, Recording
from pad_parse.task import TaskSpec
from pad_parse.tracking import KeypointFrame, ObjectTracker, PointTracker
from pad_parse.tracking.object_mask import object_masks, points_of_image, upright_hull, widths
from pad_parse.tracking.tracked_points import TrackedPoints

Progress = Callable[[str, float], None]
_STAGE = "watch hands and objects"
_LEAST_SURFACE = 60
"""Pixels of an object that must have depth for its shape to be known."""
_MASK_MARGIN = 1.5
"""Pixels by which an object's mask is too small on each side."""
_GRAY_WIDTH = 960
"""Colour-only recordings are tracked at this width."""

_MOST_READ_AGAIN = 2**30
"""Bytes of frames."""


@dataclass
class Observed:
    """stamps (T,) s; camera with its pose; hands (T, 2, 21, 3) px, presence (T, 2), hand_depths (T, 2, 21) m or None;
    object_poses name -> (T, 4, 4), nan where lost; points_in_object name -> (n, 3) m in the keypoints' order;
    keypoint_states (T, N) of KeypointState; reference: the first frame; bodies: the objects' shapes where depth tells.
    """

    stamps: np.ndarray
    camera: Camera
    hands: np.ndarray
    presence: np.ndarray
    hand_depths: np.ndarray | None
    object_poses: dict[str, np.ndarray]
    points_in_object: dict[str, np.ndarray]
    keypoint_states: np.ndarray
    reference: Reference
    bodies: dict[str, Body] = field(default_factory=dict)
    measures: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class HandLog:
    """Collects the hands of each frame under the two identities."""

    def __init__(self, camera: Camera) -> None:
        self._identities = HandIdentities(camera.width, focal=camera.matrix[0, 0])
        self._landmarks: list[np.ndarray] = []
        self._presence: list[list[float]] = []
        self._depths: list[np.ndarray] = []

    def add(self, observations: list[HandObservation], frame: Frame) -> list[np.ndarray | None]:
        """Log one frame; landmarks (21, 3) px of the left and right hand, None where not seen."""
        both = self._identities.assign(observations, frame.stamp, _distances(observations, frame))
        self._landmarks.append(np.full((2, LANDMARK_COUNT, 3), np.nan))
        self._depths.append(np.full((2, LANDMARK_COUNT), np.nan))
        self._presence.append([0.0, 0.0])
        for side, hand in enumerate(both):
            if hand is not None:
                self._put(-1, side, hand, frame)
        return [None if hand is None else hand.landmarks for hand in both]

    def complete_beginning(
        self, recording: Recording, estimator: HandEstimator, stamps: Sequence[float], longest: float = 2.5
    ) -> None:
        """Look for a hand that the detector found late once more, backwards in time from where it found it.

        At most the first `longest` s of the recording are read again, and no more than `_MOST_READ_AGAIN`; a hand that
        comes later was not there before. stamps: (T,) s of the frames.
        """
        seen = np.isfinite(self.landmarks).all(axis=(2, 3))
        late = [int(np.argmax(seen[:, side])) for side in (0, 1) if seen[:, side].any()]
        last = max(late, default=0)
        if last == 0 or stamps[last] - stamps[0] > longest:
            return
        frames: list[Frame] = []
        size = 0
        for i, frame in enumerate(recording.frames()):
            size += frame.rgb.nbytes + (0 if frame.depth is None else frame.depth.nbytes)
            if size > _MOST_READ_AGAIN:
                return
            frames.append(frame)
            if i == last:
                break
        estimator.reset()
        identities = HandIdentities(recording.camera.width, focal=recording.camera.matrix[0, 0])
        # Both hands are named as the forward pass named them, each from where it is first known.
        for side in (0, 1):
            at = max(last, int(np.argmax(seen[:, side])))
            if seen[at, side]:
                identities.know(side, HandObservation(self._landmarks[at][side], 1.0, 0.5), frames[last].stamp)
        for t in range(last, -1, -1):
            seen_now = estimator.estimate(frames[t].rgb, frames[t].stamp)
            for side, hand in enumerate(identities.assign(seen_now, frames[t].stamp, _distances(seen_now, frames[t]))):
                if hand is not None and not seen[t, side]:
                    self._put(t, side, hand, frames[t])
        estimator.reset()

    def _put(self, t: int, side: int, hand: HandObservation, frame: Frame) -> None:
        self._landmarks[t][side] = hand.landmarks
        self._presence[t][side] = hand.presence
        if frame.depth is not None:
            self._depths[t][side] = landmark_depth(frame.depth, hand.landmarks)

    @property
    def landmarks(self) -> np.ndarray:
        """(T, 2, 21, 3) px."""
        return np.array(self._landmarks)

    @property
    def presence(self) -> np.ndarray:
        """(T, 2)."""
        return np.array(self._presence)

    @property
    def depths(self) -> np.ndarray:
        """(T, 2, 21) m."""
        return np.array(self._depths)


def _distances(hands: list[HandObservation], frame: Frame) -> list[float] | None:
    """Distance (m) of each hand; None without depth."""
    return None if frame.depth is None else [palm_distance(frame.depth, hand.landmarks) for hand in hands]


class HandsAlongside:
    """Runs a hand estimator in a second thread, so that it overlaps with reading and tracking. Use as a context."""

    def __init__(self, estimator: HandEstimator) -> None:
        self._estimator = estimator
        self.seconds = 0.0

    def __enter__(self) -> Self:
        self._estimator.reset()
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="hands")
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def submit(self, frame: Frame) -> Future[list[HandObservation]]:
        """Begin with one frame; frames are handled in order."""
        return self._pool.submit(self._estimate, frame)

    def _estimate(self, frame: Frame) -> list[HandObservation]:
        start = time.thread_time()
        found = self._estimator.estimate(frame.rgb, frame.stamp)
        self.seconds += time.thread_time() - start
        return found


def observe_with_depth(
    recording: Recording,
    task: TaskSpec,
    estimator: HandEstimator,
    progress: Progress | None,
    point_tracker: PointTracker | None = None,
) -> Observed:
    """Watch an RGB-D recording whose `task` has keypoints at pixels of the first frame.

    With a `point_tracker` the objects follow its points (`TrackedPoints`), else `ObjectTracker` follows them.
    """
    camera = recording.camera
    if camera.transform_camera_to_task is None:
        raise ParseError(
            f"{recording.path} has depth but no camera pose in the task frame; put a calibration file beside it"
        )
    pixels = _keypoint_pixels(task)
    names = task.object_names
    owners = np.array([names.index(name) for name in task.keypoint_objects])
    tracker = (
        ObjectTracker(camera, task.keypoint_objects)
        if point_tracker is None
        else TrackedPoints(camera, task.keypoint_objects, point_tracker)
    )
    log = HandLog(camera)
    stamps: list[float] = []
    states: list[np.ndarray] = []
    poses: dict[str, list[np.ndarray]] = {name: [] for name in names}

    def keep(found: KeypointFrame) -> None:
        states.append(found.states)
        for i, name in enumerate(names):
            # The tracker repeats the last pose of an object that it has lost.
            lost = bool(np.all(found.states[owners == i] == KeypointState.LOST))
            poses[name].append(np.full((4, 4), np.nan) if lost else found.object_poses[name])

    reference = None
    with HandsAlongside(estimator) as hands:
        for frame in _reported(recording, progress):
            pending = hands.submit(frame)
            if reference is None:
                started = tracker.start(frame.rgb, frame.depth, pixels, stamp=frame.stamp)
                keep(started)
                reference = Reference(frame.rgb, frame.depth, camera, pixels, started.points_in_task)
            else:
                found = tracker.step(frame.rgb, frame.depth, frame.stamp)
                for late in found if isinstance(found, list) else [found]:
                    keep(late)
            stamps.append(frame.stamp)
            log.add(pending.result(), frame)
        if isinstance(tracker, TrackedPoints):
            for late in tracker.flush():
                keep(late)
        seconds = hands.seconds
    if reference is None or len(stamps) < 2:
        raise ParseError(f"{recording.path} has {len(stamps)} frames; a demonstration needs at least 2")
    log.complete_beginning(recording, estimator, stamps)
    first = {name: np.array(poses[name])[_first_known(poses[name], name)] for name in names}
    in_task = np.array(reference.points_in_task)
    return Observed(
        stamps=np.array(stamps),
        camera=camera,
        hands=log.landmarks,
        presence=log.presence,
        hand_depths=log.depths,
        object_poses={name: np.array(poses[name]) for name in names},
        points_in_object={
            name: geometry.transform_points(geometry.inverse(first[name]), in_task[owners == i])
            for i, name in enumerate(names)
        },
        keypoint_states=np.array(states, dtype=np.uint8),
        reference=reference,
        bodies=_bodies(reference, task, first),
        measures={"hands_ms": 1e3 * seconds / len(stamps)},
    )


@dataclass
class ColourTracks:
    """Objects and hands followed through a recording without depth, in pixels.

    stamps (T,) s; first: the first frame; hands: what was seen of them; motions: object -> (T, 2, 3) affine map of the
    first frame's pixels; found: object -> (T,) bool; states (T, N) of KeypointState; hands_s: CPU time of the hands.
    """

    stamps: np.ndarray
    first: Frame
    hands: HandLog
    motions: dict[str, np.ndarray]
    found: dict[str, np.ndarray]
    states: np.ndarray
    hands_s: float


def follow_colour(
    recording: Recording,
    task: TaskSpec,
    proposal: Proposal | None,
    estimator: HandEstimator,
    progress: Progress | None,
) -> ColourTracks:
    """Follow the keypoints of `task` through a recording without depth; `proposal` adds the corners that were found
    on the objects.
    """
    pixels = _keypoint_pixels(task)
    names = task.object_names
    owners = np.array([names.index(name) for name in task.keypoint_objects])
    log = HandLog(recording.camera)
    trackers = {name: PlanarTracker() for name in names}
    shrink = min(1.0, _GRAY_WIDTH / recording.camera.width)
    stamps: list[float] = []
    motions: dict[str, list[np.ndarray]] = {name: [] for name in names}
    found: dict[str, list[bool]] = {name: [] for name in names}
    first: Frame | None = None
    to_gray = np.diag([shrink, shrink, 1.0])
    with HandsAlongside(estimator) as hands:
        for frame in _reported(recording, progress):
            pending = hands.submit(frame)
            gray = _shrunk_gray(frame.rgb, shrink)
            seen = log.add(pending.result(), frame)
            if first is None:
                first = frame
                for i, name in enumerate(names):
                    extra = proposal.corners[name] if proposal is not None else np.zeros((0, 2))
                    trackers[name].start(gray, shrink * np.concatenate([pixels[owners == i], extra]))
            for name in names:
                if frame is first:
                    motion, ok = np.eye(2, 3), True
                else:
                    avoid = _hulls(seen, shrink)
                    step = trackers[name].step(gray, avoid)
                    motion, ok = step.similarity, step.found
                full = np.linalg.inv(to_gray) @ np.vstack([motion, [0, 0, 1]]) @ to_gray
                motions[name].append(full[:2])
                found[name].append(ok)
            stamps.append(frame.stamp)
        seconds = hands.seconds
    if first is None or len(stamps) < 2:
        raise ParseError(f"{recording.path} has {len(stamps)} frames; a demonstration needs at least 2")
    log.complete_beginning(recording, estimator, stamps)
    states = np.zeros((len(stamps), len(pixels)), dtype=np.uint8)
    all_motions = {name: np.array(values) for name, values in motions.items()}
    all_found = {name: np.array(values) for name, values in found.items()}
    for i, name in enumerate(names):
        states[:, owners == i] = _colour_states(
            all_motions[name], all_found[name], pixels[owners == i], log.landmarks, recording.camera
        )
    return ColourTracks(np.array(stamps), first, log, all_motions, all_found, states, seconds)


def observe_colour(
    recording: Recording,
    task: TaskSpec,
    proposal: Proposal | None,
    estimator: HandEstimator,
    progress: Progress | None,
) -> Observed:
    """Watch a recording without depth; `proposal` adds the corners that were found on the objects."""
    tracks = follow_colour(recording, task, proposal, estimator, progress)
    pixels = _keypoint_pixels(task)
    names = task.object_names
    owners = np.array([names.index(name) for name in task.keypoint_objects])
    log, times = tracks.hands, tracks.stamps
    arms = arms_of_objects(task)
    early = times - times[0] < 1.0
    hand_depths = {}
    for name in names:
        # Without depth an object's distance is that of the hand that holds it when the recording begins.
        hand = log.landmarks[early][:, list(arms[name])].reshape(-1, LANDMARK_COUNT, 3)
        seen_hand = hand[np.isfinite(hand).all(axis=(1, 2))]
        hand_depths[name] = palm_depth(seen_hand, recording.camera.matrix)
    pixels_of = {name: pixels[owners == i] for i, name in enumerate(names)}
    outline = {
        name: np.concatenate([pixels_of[name], proposal.corners[name]]) if proposal is not None else pixels_of[name]
        for name in names
    }
    scene = build_scene(recording.camera, outline, hand_depths)
    in_task = np.zeros((len(pixels), 3))
    poses, in_object = {}, {}
    for i, name in enumerate(names):
        points = scene.camera.pixels_to_task(pixels_of[name], np.full(len(pixels_of[name]), scene.depth_of[name]))
        start = geometry.make_pose(np.eye(3), [*points[:, :2].mean(axis=0), 0.0])
        centre = outline[name].mean(axis=0)
        poses[name] = object_poses(scene, name, times, tracks.motions[name], tracks.found[name], start, centre)
        in_object[name] = points - start[:3, 3]
        in_task[owners == i] = points
    measures = {
        "hands_ms": 1e3 * tracks.hands_s / len(times),
        "scale_error": scene.scale_error,
        **{f"assumed_depth_{name}_m": depth for name, depth in scene.depth_of.items()},
    }
    if recording.camera.transform_camera_to_task is None:
        measures["assumed_pitch_deg"] = float(np.rad2deg(ASSUMED_PITCH))
    return Observed(
        stamps=times,
        camera=scene.camera,
        hands=log.landmarks,
        presence=log.presence,
        hand_depths=None,
        object_poses=poses,
        points_in_object=in_object,
        keypoint_states=tracks.states,
        reference=Reference(tracks.first.rgb, None, scene.camera, pixels, in_task),
        measures=measures,
        notes=list(scene.assumptions),
    )


def _keypoint_pixels(task: TaskSpec) -> np.ndarray:
    """(N, 2) px of the annotated keypoints."""
    missing = [k.name for k in task.keypoints if k.pixel is None]
    if not task.keypoints or missing:
        raise ParseError(
            f"task {task.name!r} has no pixel for keypoints {', '.join(missing) or '(none annotated)'}; "
            "annotate them in the recording's first frame"
        )
    return np.array([k.pixel for k in task.keypoints], dtype=np.float64)


def _reported(recording: Recording, progress: Progress | None) -> Iterator[Frame]:
    count = max(recording.frame_count, 1)
    for i, frame in enumerate(recording.frames()):
        if progress is not None:
            progress(_STAGE, min(1.0, i / count))
        yield frame
    if progress is not None:
        progress(_STAGE, 1.0)


def _bodies(reference: Reference, task: TaskSpec, poses: dict[str, np.ndarray]) -> dict[str, Body]:
    """The upright cylinders round the objects, in their frames, from the first frame's depth."""
    camera, depth = reference.camera, reference.depth
    if depth is None or camera.transform_camera_to_task is None:
        return {}
    cloud = points_of_image(depth, camera)
    masks = object_masks(depth, cloud, reference.keypoint_pixels, reference.points_in_task, task.keypoint_objects)
    camera_place = np.asarray(camera.transform_camera_to_task)[:3, 3]
    bodies = {}
    for name, pose in poses.items():
        mask = masks[name]
        if mask.sum() < _LEAST_SURFACE:
            continue
        hull = upright_hull(cloud[mask], camera_place)
        x, y, top = geometry.transform_points(geometry.inverse(pose), np.array([hull.x, hull.y, hull.top]))
        away = np.linalg.norm(cloud[mask].mean(axis=0) - camera_place)
        # The mask ends before the depth steps at the silhouette.
        radius = hull.radius + _MASK_MARGIN * float(away) / camera.matrix[0, 0]
        margin, base = radius - hull.radius, hull.top - float(top)
        profile = tuple((z - base, min(half + margin, radius)) for z, half in widths(cloud[mask], camera_place))
        bodies[name] = Body(float(x), float(y), radius, float(top), profile)
    return bodies


def _first_known(poses: list[np.ndarray], name: str) -> int:
    for i, pose in enumerate(poses):
        if np.isfinite(pose).all():
            return i
    raise ParseError(f"object {name!r} was never found; check its keypoints in the first frame and its depth there")


def _shrunk_gray(rgb: np.ndarray, shrink: float) -> np.ndarray:
    gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    if shrink < 1:
        size = (round(rgb.shape[1] * shrink), round(rgb.shape[0] * shrink))
        gray = cv2.resize(gray, size, interpolation=cv2.INTER_AREA)
    return gray


def _hulls(seen: list[np.ndarray | None], shrink: float) -> list[np.ndarray]:
    """Outlines (K, 2) px of the hands in the shrunk image."""
    return [cv2.convexHull((shrink * h[:, :2]).astype(np.float32))[:, 0] for h in seen if h is not None]


def _colour_states(
    motions: np.ndarray, found: np.ndarray, pixels: np.ndarray, hands: np.ndarray, camera: Camera
) -> np.ndarray:
    """(T, n) of KeypointState: VISIBLE in the image and not under a hand, FILLED otherwise, LOST where not found."""
    now = np.einsum("tij,nj->tni", motions[:, :, :2], pixels) + motions[:, None, :, 2]
    inside = ((now >= 0) & (now < [camera.width, camera.height])).all(axis=2)
    for t in range(len(now)):
        for hand in hands[t]:
            if np.isfinite(hand).all():
                hull = cv2.convexHull(hand[:, :2].astype(np.float32))
                for n in np.nonzero(inside[t])[0]:
                    point = (float(now[t, n, 0]), float(now[t, n, 1]))
                    inside[t, n] = cv2.pointPolygonTest(hull, point, False) < 0
    states = np.where(inside, int(KeypointState.VISIBLE), int(KeypointState.FILLED))
    states[~found] = int(KeypointState.LOST)
    return states
