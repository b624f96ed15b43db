"""Real clips of people's hands against labels made by looking at their frames.

The clips are not part of the project: `hand_open_close.mp4` (dex-retargeting, human_hand_video.mp4, MIT),
`cups_two_hands.mp4` and `pour_kettle.mp4` (sam2 demo gallery, 02_cups.mp4 and 04_coffee.mp4). Colour only, no
intrinsics.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pad_bringup.bench.benchmark import BenchSettings
from pad_parse.demonstration import KeypointState
from pad_parse.grasping import closed_by_opening
from pad_parse.gripper import gripper_opening
from pad_parse.hands import PALM, HandIdentities, OnnxHandEstimator
from pad_parse.lifting.hand_fit import fit_hands
from pad_parse.parser import parse
from pad_parse.recording import open_recording

KEYS = ("open_close_f1", "clip_identity_swaps", "clip_gripper_lost", "clip_keypoint_lost")

OPEN_CLOSE, CUPS, KETTLE = "hand_open_close.mp4", "cups_two_hands.mp4", "pour_kettle.mp4"

EVENTS: tuple[tuple[int, bool], ...] = ((254, True), (281, False), (310, True), (334, False), (606, True))
"""Frames of `hand_open_close` in which the thumb meets (True) or leaves (False) the index finger: a fist, a pinch of
thumb and index finger, a fist to the end. Folding other fingers, or the thumb's pinches with them, is not an event."""
EVENT_TOLERANCE = 5
"""Frames (0.17 s) that an event may be off: the fingers take about 4 frames from open to touching."""

_LABEL_SCALE = 1280 / 261.33
"""The hands were marked in a contact sheet whose pictures are this much smaller than the clip."""
HANDS: dict[int, tuple[tuple[int, int] | None, tuple[int, int] | None]] = {
    # frame: palm of the person's left hand, of the right hand
    30: (None, (61, 70)),
    40: ((205, 55), (70, 52)),
    50: ((204, 80), (119, 72)),
    60: ((230, 80), (25, 58)),
    70: ((229, 80), (57, 75)),
    80: ((208, 85), (108, 53)),
    90: ((196, 75), (65, 85)),
    110: ((189, 75), (139, 33)),
    120: ((205, 70), (78, 60)),
    130: ((209, 70), (64, 50)),
    140: ((213, 70), (118, 65)),
    150: ((161, 55), (121, 55)),
    160: ((200, 50), (105, 45)),
    170: ((214, 65), (52, 75)),
    180: ((220, 68), (140, 84)),
    190: ((229, 68), (119, 55)),
    200: ((223, 75), (78, 60)),
    210: ((196, 70), (61, 60)),
    220: ((145, 60), (83, 55)),
    230: ((194, 80), (119, 60)),
    240: ((210, 72), (135, 55)),
    250: ((184, 70), (91, 72)),
    260: ((133, 70), (43, 72)),
    270: ((181, 75), (46, 72)),
    280: ((195, 62), (62, 72)),
    290: ((189, 20), (62, 72)),
}
"""Where the hands are in every tenth frame of `cups_two_hands`, px of the contact sheet, to about 10 px; None where a
hand cannot be seen. Both are hidden before frame 30 or out of the image, and the left one in frame 100."""


def measure(settings: BenchSettings, say: Callable[[str], None]) -> dict[str, float | None]:
    """F1 of the open / close events; identity swaps; shares of LOST gripper poses and keypoints while pouring."""
    figures: dict[str, float | None] = dict.fromkeys(KEYS)
    folder = settings.clips
    if folder is None:
        say("real clips: no folder was given, so nothing is measured; name it with --clips or PAD_REAL_CLIPS")
        return figures
    missing = [name for name in (OPEN_CLOSE, CUPS, KETTLE) if not (folder / name).is_file()]
    if missing:
        say(f"real clips: {folder} has no {', '.join(missing)}; what needs it is not measured")
    if OPEN_CLOSE not in missing:
        found = open_close_events(folder / OPEN_CLOSE)
        figures["open_close_f1"] = f1(found, EVENTS, EVENT_TOLERANCE)
        say(f"{OPEN_CLOSE}: events {_words(found)}; labelled {_words(EVENTS)}")
    if CUPS not in missing:
        swaps, checked = identity_swaps(folder / CUPS)
        figures["clip_identity_swaps"] = float(swaps)
        say(f"{CUPS}: {swaps} of {checked} hands under the wrong name, in {len(HANDS)} labelled frames")
    if KETTLE not in missing:
        found_kettle = parse(open_recording(folder / KETTLE), "pour")
        figures["clip_gripper_lost"] = float((found_kettle.gripper_states == KeypointState.LOST).mean())
        figures["clip_keypoint_lost"] = float((found_kettle.keypoint_states == KeypointState.LOST).mean())
        visible = (found_kettle.keypoint_states == KeypointState.VISIBLE).mean()
        say(f"{KETTLE}: {100 * visible:.0f} % of the keypoints visible, the rest filled or lost")
    return figures


def open_close_events(path: Path) -> list[tuple[int, bool]]:
    """(frame, closes) of the one hand of a clip, from the opening between thumb tip and index tip."""
    recording = open_recording(path)
    estimator = OnnxHandEstimator(hands=1)
    stamps, landmarks = [], []
    for frame in recording.frames():
        hands = estimator.estimate(frame.rgb, frame.stamp)
        stamps.append(frame.stamp)
        landmarks.append(hands[0].landmarks if hands else np.full((21, 3), np.nan))
    pixels = np.array(landmarks)
    seen = np.isfinite(pixels).all(axis=(1, 2))
    openings = np.full(len(pixels), np.nan)
    openings[seen] = gripper_opening(fit_hands(pixels[seen], None, recording.camera.matrix).points_in_camera)
    changes = np.diff(closed_by_opening(np.array(stamps), openings).astype(int))
    return [(int(t) + 1, bool(changes[t] > 0)) for t in np.nonzero(changes)[0]]


def f1(found: list[tuple[int, bool]], labels: tuple[tuple[int, bool], ...], tolerance: int) -> float:
    """F1 of events matched one to one, of the same kind, at most `tolerance` frames apart."""
    free = list(found)
    hits = 0
    for frame, closes in labels:
        near = [event for event in free if event[1] == closes and abs(event[0] - frame) <= tolerance]
        if near:
            free.remove(min(near, key=lambda event: abs(event[0] - frame)))
            hits += 1
    return 2 * hits / max(len(found) + len(labels), 1)


def identity_swaps(path: Path) -> tuple[int, int]:
    """(hands under the wrong name, hands compared) in the labelled frames of `cups_two_hands`."""
    recording = open_recording(path)
    estimator, identities = OnnxHandEstimator(), HandIdentities(recording.camera.width)
    wrong = compared = 0
    for t, frame in enumerate(recording.frames()):
        both = identities.assign(estimator.estimate(frame.rgb, frame.stamp), frame.stamp)
        labels = HANDS.get(t, (None, None))
        for side, hand in enumerate(both):
            own, other = labels[side], labels[1 - side]
            if hand is None or own is None or other is None:
                continue
            palm = hand.landmarks[list(PALM), :2].mean(axis=0)
            compared += 1
            wrong += _away(palm, other) < _away(palm, own)
    return wrong, compared


def _away(palm: NDArray[np.float64], label: tuple[int, int]) -> float:
    return float(np.linalg.norm(palm - _LABEL_SCALE * np.array(label)))


def _words(events: list[tuple[int, bool]] | tuple[tuple[int, bool], ...]) -> str:
    return ", ".join(f"{'close' if closes else 'open'} {frame}" for frame, closes in events) or "none"
