"""The course of clicked points over the whole recording, as the parser will see it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pad_parse.demonstration import KeypointState
from pad_parse.hands.estimator import HandEstimator
from pad_parse.hands.onnx import OnnxHandEstimator
from pad_parse.observing import follow_colour
from pad_parse.proposal import corners_round_keypoints
from pad_parse.recording import Recording
from pad_parse.task import TaskSpec
from pad_parse.tracking import ObjectTracker
from pad_parse.visibility import state_spans, worst_by_group

Progress = Callable[[str, float], None]


def preview_tracks(
    recording: Recording, task: TaskSpec, progress: Progress, estimator: HandEstimator | None = None
) -> dict[str, Any]:
    """Follow the keypoints of `task` (with pixels in the first frame) through the recording, with the tracker that the
    parser uses: by rigid objects with depth; without depth by what moves with the hands round the points.

    estimator: finds hands in recordings without depth; the default is the ONNX hand model.

    Returns what JSON can say: `stamps` (s after the first frame), `pixels` (T, N, 2; null where lost), `states` (T, N)
    of KeypointState, `groups` name -> (T,) worst state, `spans` group -> [{state, begin, end}] of those that are not
    VISIBLE (seconds), `visible` group -> share of the points that were seen, `notes` (sentences).

    Raises:
        PadParseError: the points cannot be tracked, or the recording turns out to be damaged.
    """
    if recording.has_depth:
        stamps, pixels, states = _with_depth(recording, task, progress)
        notes: list[str] = []
    else:
        stamps, pixels, states, notes = _colour(recording, task, progress, estimator or OnnxHandEstimator())
    pixels = np.where((states == KeypointState.LOST)[..., None], np.nan, pixels)
    groups = task.keypoint_groups
    worst = worst_by_group(states, groups)
    member = {group: np.array([g == group for g in groups]) for group in worst}
    return {
        "stamps": np.round(stamps - stamps[0], 4).tolist(),
        "pixels": [[_pair(p) for p in row] for row in pixels],
        "states": states.tolist(),
        "groups": {group: values.tolist() for group, values in worst.items()},
        "spans": {
            group: [
                {"state": int(span.state), "begin": round(span.begin_s, 3), "end": round(span.end_s, 3)}
                for span in state_spans(values, stamps)
                if span.state != KeypointState.VISIBLE
            ]
            for group, values in worst.items()
        },
        "visible": {
            group: round(float((states[:, mine] == KeypointState.VISIBLE).mean()), 4) for group, mine in member.items()
        },
        "notes": notes,
    }


def _with_depth(recording: Recording, task: TaskSpec, progress: Progress) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    tracker = ObjectTracker(recording.camera, task.keypoint_objects)
    stamps, pixels, states = [], [], []
    expected = max(1, recording.frame_count)
    for number, frame in enumerate(recording.frames()):
        if number == 0:
            found = tracker.start(frame.rgb, frame.depth, _clicked(task), stamp=frame.stamp)
        else:
            found = tracker.step(frame.rgb, frame.depth, frame.stamp)
        stamps.append(frame.stamp)
        pixels.append(found.pixels)
        states.append(found.states)
        progress("follow the points", min(1.0, number / expected))
    return np.array(stamps), np.array(pixels), np.array(states, np.uint8)


def _colour(
    recording: Recording, task: TaskSpec, progress: Progress, estimator: HandEstimator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
    proposal, notes = corners_round_keypoints(recording, task, estimator, progress)
    tracks = follow_colour(recording, task, proposal, estimator, progress)
    start = _clicked(task)
    motions = np.stack([tracks.motions[name] for name in task.keypoint_objects], axis=1)
    pixels = np.einsum("tnij,nj->tni", motions[..., :2], start) + motions[..., 2]
    return tracks.stamps, pixels, tracks.states, notes


def _clicked(task: TaskSpec) -> np.ndarray:
    """(N, 2) px in the first frame."""
    return np.array([keypoint.pixel for keypoint in task.keypoints], np.float64)


def _pair(pixel: np.ndarray) -> list[float] | None:
    return [round(float(pixel[0]), 1), round(float(pixel[1]), 1)] if np.isfinite(pixel).all() else None
