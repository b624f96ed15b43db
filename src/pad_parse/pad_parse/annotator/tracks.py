"""The course of clicked points over the whole recording, as the tracker sees it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pad_parse.demonstration import KeypointState
from pad_parse.errors import TrackingError
from pad_parse.recording import Recording
from pad_parse.task import KeypointSpec
from pad_parse.tracking import ObjectTracker
from pad_parse.visibility import state_spans, worst_by_group


def preview_tracks(
    recording: Recording, keypoints: Sequence[KeypointSpec], progress: Callable[[str, float], None]
) -> dict[str, Any]:
    """Follow keypoints (with pixels in the first frame) through the recording.

    Returns what JSON can say: `stamps` (s after the first frame), `pixels` (T, N, 2; null where lost), `states` (T, N)
    of KeypointState, `groups` name -> (T,) worst state, `spans` group -> [{state, begin, end}] of those that are not
    VISIBLE (seconds), `visible` group -> share of the points that were seen.

    Raises:
        TrackingError: no points, or they cannot be tracked.
        RecordingError: the recording turns out to be damaged.
    """
    if not keypoints:
        raise TrackingError("there is no point yet; click at least one in the first frame")
    pixels_at_start = np.array([keypoint.pixel for keypoint in keypoints], np.float64)
    objects = [keypoint.object for keypoint in keypoints]
    groups = [keypoint.group for keypoint in keypoints]
    tracker = ObjectTracker(recording.camera, objects)
    stamps, pixels, states = [], [], []
    expected = max(1, recording.frame_count)
    for number, frame in enumerate(recording.frames()):
        if number == 0:
            found = tracker.start(frame.rgb, frame.depth, pixels_at_start, stamp=frame.stamp)
        else:
            found = tracker.step(frame.rgb, frame.depth, frame.stamp)
        stamps.append(frame.stamp)
        pixels.append(np.where((found.states == KeypointState.LOST)[:, None], np.nan, found.pixels))
        states.append(found.states)
        progress("follow the points", min(1.0, number / expected))
    times, all_states = np.array(stamps), np.array(states, np.uint8)
    worst = worst_by_group(all_states, groups)
    member = {group: np.array([g == group for g in groups]) for group in worst}
    return {
        "stamps": np.round(times - times[0], 4).tolist(),
        "pixels": [[_pair(p) for p in row] for row in pixels],
        "states": all_states.tolist(),
        "groups": {group: values.tolist() for group, values in worst.items()},
        "spans": {
            group: [
                {"state": int(span.state), "begin": round(span.begin_s, 3), "end": round(span.end_s, 3)}
                for span in state_spans(values, times)
                if span.state != KeypointState.VISIBLE
            ]
            for group, values in worst.items()
        },
        "visible": {
            group: round(float((all_states[:, mine] == KeypointState.VISIBLE).mean()), 4)
            for group, mine in member.items()
        },
    }


def _pair(pixel: np.ndarray) -> list[float] | None:
    return [round(float(pixel[0]), 1), round(float(pixel[1]), 1)] if np.isfinite(pixel).all() else None
