"""The pipeline: a recording of two hands at work -> a Demonstration."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from pad_parse import geometry
from pad_parse.demonstration import Demonstration, KeypointState
from pad_parse.errors import ParseError
from pad_parse.gripper import GripperTrack, track_grippers
from pad_parse.hands.estimator import INDEX_TIP, THUMB_TIP, HandEstimator
from pad_parse.hands.onnx import OnnxHandEstimator
from pad_parse.lifting.hand_fit import fit_hands
from pad_parse.lifting.uncertainty import gripper_uncertainty, keypoint_uncertainty, time_unseen
from pad_parse.observing import Observed, observe_colour, observe_with_depth
from pad_parse.overlay import write_contact_sheet, write_overlay
from pad_parse.proposal import arms_of_objects, corners_round_keypoints, propose_keypoints
from pad_parse.recording import Recording
from pad_parse.task import TaskSpec
from pad_parse.timeline import to_segments
from pad_parse.tracking import PointTracker

Progress = Callable[[str, float], None]
_INVENTED, _WHOLE = 0.55, 0.75
"""Apparent sizes of a hand at and below which it is not believed, and from which on it is."""
_GUESSED, _SEEN = 0.1, 0.5
"""Weight of a fingertip's measured depth in the fit at and below which it is a guess, and from which on it is seen."""
LONGEST_LOSS = 0.5
"""s; an object out of sight for longer than this, and in no visible hand, is LOST."""


def parse(
    recording: Recording,
    task: TaskSpec | str,
    *,
    progress: Progress | None = None,
    estimator: HandEstimator | None = None,
    overlay_path: str | os.PathLike[str] | None = None,
    point_tracker: PointTracker | None = None,
) -> Demonstration:
    """Make a demonstration of `task` from a recording.

    Keypoints come from `task` if it has them at pixels, else from the annotation beside the recording, else they are
    proposed from what the hands move (measure `keypoints_proposed` is then 1). progress is called with a stage and a
    fraction. estimator: the default is the ONNX hand model. overlay_path: where to write the overlay video (.webm);
    a contact sheet of the same name (.png) is written beside it. point_tracker: follows the objects instead of the
    default, in recordings with depth; see `pad_parse.tracking.make_point_tracker`.

    Raises a PadParseError if the recording cannot be made into a demonstration.
    """
    began = time.monotonic()
    if point_tracker is not None and not recording.has_depth:
        raise ParseError(f"{recording.path} has no depth, which another point tracker needs; leave the tracker away")
    estimator = estimator or OnnxHandEstimator()
    spec = TaskSpec.load(task) if isinstance(task, str) else task
    spec = _annotated(recording, spec)
    proposal, looks = None, []
    annotated = bool(spec.keypoints)
    if not annotated:
        proposal = propose_keypoints(recording, spec, estimator, progress=progress)
        spec, looks = proposal.task, list(proposal.notes)
    elif not recording.has_depth:
        proposal, looks = corners_round_keypoints(recording, spec, estimator, progress)
    if recording.has_depth:
        observed = observe_with_depth(recording, spec, estimator, progress, point_tracker)
    else:
        observed = observe_colour(recording, spec, proposal, estimator, progress)
    if progress is not None:
        progress("fit hands and grippers", 0.0)
    landmarks, weights, pinch_weights = _hands_in_task(observed)
    held = () if proposal is None else proposal.objects_held
    if not recording.has_depth:
        _beside_objects(landmarks, observed, {arms_of_objects(spec)[name][0]: name for name in held})
    grippers = track_grippers(
        observed.stamps,
        landmarks,
        weights,
        pinch_weights,
        observed.object_poses,
        observed.points_in_object,
        arms_of_objects(spec),
        bodies=observed.bodies,
        held_from_start=held,
        **(
            {}
            if recording.has_depth
            else {"near": 0.30, "arrival": 0.05, "half_window": 0.4, "object_half_window": 0.2}
        ),
    )
    keypoints, states = _keypoints(observed, grippers, spec)
    met = recording.report
    notes = [*met.problems(), *met.assumptions, *observed.notes, *looks]
    demonstration = Demonstration(
        stamps=observed.stamps,
        keypoints=keypoints,
        keypoint_states=states,
        keypoint_names=spec.keypoint_names,
        keypoint_groups=spec.keypoint_groups,
        keypoint_objects=spec.keypoint_objects,
        gripper_poses=grippers.poses,
        gripper_openings=grippers.openings,
        gripper_closed=grippers.closed,
        gripper_states=grippers.states,
        object_poses=grippers.object_poses,
        landmarks=landmarks,
        task=spec,
        source="\n".join([str(recording.path), *notes]),
        reference=observed.reference,
        segments=to_segments(spec.segments, observed.stamps),
        keypoint_uncertainty=_keypoint_uncertainty(observed, grippers, keypoints, spec),
        gripper_uncertainty=_gripper_uncertainty(observed, grippers),
        measures={
            **observed.measures,
            **_measures(observed, grippers, states, spec),
            "keypoints_proposed": float(not annotated),
            "parse_s": time.monotonic() - began,
        },
    )
    if progress is not None:
        progress("fit hands and grippers", 1.0)
    if overlay_path is not None:
        path = Path(overlay_path)
        write_overlay(recording, demonstration, path, progress=progress)
        write_contact_sheet(path, path.with_suffix(".png"))
    return demonstration


def _annotated(recording: Recording, task: TaskSpec) -> TaskSpec:
    """The task with keypoints at pixels of this recording, where somebody annotated them."""
    if task.keypoints and all(k.pixel is not None for k in task.keypoints):
        return task
    annotation = recording.annotation
    if annotation is None:
        return task.model_copy(update={"keypoints": ()})
    if annotation.name != task.name:
        raise ParseError(
            f"{recording.path} is annotated for task {annotation.name!r}, not {task.name!r}; "
            f"parse it with `{annotation.name}` or annotate it anew"
        )
    missing = [k.name for k in annotation.keypoints if k.pixel is None]
    if missing:
        raise ParseError(f"the annotation of {recording.path} has no pixel for {', '.join(missing)}; click them")
    return annotation


def _hands_in_task(observed: Observed) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Landmarks (T, 2, 21, 3) m in the task frame; how far each hand, and its two pinching fingertips, are to be
    trusted (T, 2), 0..1.
    """
    seen = np.isfinite(observed.hands).all(axis=(2, 3))
    landmarks = np.full(observed.hands.shape, np.nan)
    weights = np.zeros(seen.shape)
    depths = None if observed.hand_depths is None else observed.hand_depths[seen]
    fit = fit_hands(observed.hands[seen], depths, observed.camera.matrix)
    pose = observed.camera.transform_camera_to_task
    if pose is None:
        raise ParseError("the camera's pose in the task frame is not known")
    landmarks[seen] = geometry.transform_points(pose, fit.points_in_camera)
    # A hand that looks too small for its distance is one that the network made up round a few visible fingers.
    weights[seen] = np.clip((fit.apparent_size - _INVENTED) / (_WHOLE - _INVENTED), 0.0, 1.0) * observed.presence[seen]
    pinch = weights.copy()
    if depths is not None:
        # A fingertip whose measured depth is another one lies behind something: the network guessed it.
        used = fit.depth_used
        tips = [np.maximum(used[:, tip], 0.7 * used[:, tip - 1]) for tip in (THUMB_TIP, INDEX_TIP)]
        pinch[seen] *= np.clip((np.minimum(*tips) - _GUESSED) / (_SEEN - _GUESSED), 0.0, 1.0)
    return landmarks, weights, pinch


def _beside_objects(landmarks: np.ndarray, observed: Observed, held: dict[int, str]) -> None:
    """Without depth a hand is only roughly as far away as its size says: move each arm's hand (T, 2, 21, 3), in place,
    along its line of sight to the distance of the object that it holds.
    """
    pose = np.asarray(observed.camera.transform_camera_to_task)
    eye, forward = pose[:3, 3], pose[:3, 2]
    for arm, name in held.items():
        points = geometry.transform_points(observed.object_poses[name], observed.points_in_object[name][None])
        distance = (points.mean(axis=1) - eye) @ forward
        ray = (landmarks[:, arm, THUMB_TIP] + landmarks[:, arm, INDEX_TIP]) / 2 - eye
        shift = (distance / (ray @ forward) - 1)[:, None] * ray
        landmarks[:, arm] += np.where(np.isfinite(shift), shift, 0.0)[:, None]


def _keypoints(observed: Observed, grippers: GripperTrack, task: TaskSpec) -> tuple[np.ndarray, np.ndarray]:
    """Keypoints (T, N, 3) m on their rigid objects and their states (T, N), nan where LOST."""
    owners = np.array(task.keypoint_objects)
    count = len(observed.stamps)
    keypoints = np.full((count, len(owners), 3), np.nan)
    states = observed.keypoint_states.copy()
    for name, poses in grippers.object_poses.items():
        mine = np.nonzero(owners == name)[0]
        keypoints[:, mine] = geometry.transform_points(poses, observed.points_in_object[name][None])
        found = np.isfinite(observed.object_poses[name]).all(axis=(1, 2))
        known = _known(observed.stamps, found, poses)
        for hold in grippers.holds:
            if hold.object == name:
                span = slice(hold.start, hold.end)
                known[span] |= grippers.states[span, hold.arm] == KeypointState.VISIBLE
        lost = states[:, mine] == KeypointState.LOST
        states[:, mine] = np.where(lost & known[:, None], int(KeypointState.FILLED), states[:, mine])
    keypoints[states == KeypointState.LOST] = np.nan
    return keypoints, states


def _keypoint_uncertainty(
    observed: Observed, grippers: GripperTrack, keypoints: np.ndarray, task: TaskSpec
) -> np.ndarray:
    """(T, N) m, nan where keypoints (T, N, 3) are LOST."""
    owners = np.array(task.keypoint_objects)
    unseen = np.zeros(keypoints.shape[:2])
    for name, poses in observed.object_poses.items():
        away = time_unseen(observed.stamps, np.isfinite(poses).all(axis=(1, 2)))
        unseen[:, owners == name] = away[:, None]
    camera = observed.camera.matrix
    distance = _distance(observed, keypoints)
    found = keypoint_uncertainty(distance, camera[0, 0], unseen, observed.measures.get("scale_error", 0.0))
    for hold in grippers.holds:
        # What the camera does not see but a visible hand holds is where the hand is.
        span, mine = slice(hold.start, hold.end), owners == hold.object
        by_hand = gripper_uncertainty(
            distance[span, mine],
            camera[0, 0],
            observed.camera.width,
            False,
            0.0,
            observed.measures.get("scale_error", 0.0),
        )
        seen = (grippers.states[span, hold.arm] == KeypointState.VISIBLE)[:, None]
        found[span, mine] = np.where(seen, np.minimum(found[span, mine], by_hand), found[span, mine])
    return np.where(np.isfinite(keypoints).all(axis=2), found, np.nan)


def _gripper_uncertainty(observed: Observed, grippers: GripperTrack) -> np.ndarray:
    """(T, 2) m, nan where LOST."""
    seen = grippers.states == KeypointState.VISIBLE
    unseen = np.stack([time_unseen(observed.stamps, seen[:, arm]) for arm in (0, 1)], axis=1)
    found = gripper_uncertainty(
        _distance(observed, grippers.poses[..., :3, 3]),
        observed.camera.matrix[0, 0],
        observed.camera.width,
        grippers.closed,
        unseen,
        observed.measures.get("scale_error", 0.0),
    )
    return np.where(grippers.states == KeypointState.LOST, np.nan, found)


def _distance(observed: Observed, points: np.ndarray) -> np.ndarray:
    """(T, K) m along the optical axis of points (T, K, 3) in the task frame."""
    pose = np.asarray(observed.camera.transform_camera_to_task)
    return (points - pose[:3, 3]) @ pose[:3, 2]


def _known(stamps: np.ndarray, found: np.ndarray, poses: np.ndarray) -> np.ndarray:
    """(T,) bool: an object's pose is found, or bridged over a short loss, or over one during which it did not move."""
    known = found.copy()
    index = np.nonzero(found)[0]
    for a, b in itertools.pairwise(index):
        short = stamps[b] - stamps[a] <= LONGEST_LOSS
        still = np.linalg.norm(poses[b, :3, 3] - poses[a, :3, 3]) < 0.01
        known[a:b] |= short or still
    return known


def _measures(observed: Observed, grippers: GripperTrack, states: np.ndarray, task: TaskSpec) -> dict[str, float]:
    seen = np.isfinite(observed.hands).all(axis=(2, 3))
    measures = {
        "frames": float(len(observed.stamps)),
        "duration_s": float(observed.stamps[-1] - observed.stamps[0]),
        "hand_seen_left": float(seen[:, 0].mean()),
        "hand_seen_right": float(seen[:, 1].mean()),
        "gripper_lost_left": float((grippers.states[:, 0] == KeypointState.LOST).mean()),
        "gripper_lost_right": float((grippers.states[:, 1] == KeypointState.LOST).mean()),
        "grasps": float(len(grippers.holds)),
    }
    groups = np.array(task.keypoint_groups)
    for group in task.group_names:
        mine = states[:, groups == group]
        measures[f"visible_{group}"] = float((mine == KeypointState.VISIBLE).mean())
        measures[f"lost_{group}"] = float((mine == KeypointState.LOST).mean())
    return measures
