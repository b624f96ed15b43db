"""Pictures of a parse: the recording with tracks and hands drawn on, as a video and as a sheet of frames."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from pad_parse.colours import group_colours
from pad_parse.demonstration import Demonstration, KeypointState
from pad_parse.errors import ParseError
from pad_parse.hands.estimator import BONES
from pad_parse.native_output import silenced_stderr
from pad_parse.recording import Frame, Recording

_CODECS = {".webm": "VP80", ".mp4": "mp4v"}
_HAND_COLOURS = ((90, 230, 90), (240, 90, 90))
_FINGER_BONES = BONES[:20]
_AXIS = 0.05
_TRAIL = 15


def write_overlay(
    recording: Recording,
    demonstration: Demonstration,
    path: str | os.PathLike[str],
    *,
    width: int = 640,
    every: int = 1,
    look: Callable[[int, Frame], None] | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> Path:
    """Write a video (.webm or .mp4) of `recording` with what `demonstration` says drawn on.

    Keypoints: dots where visible, rings where filled in, with a short trail. Grippers: approach axis blue, closing axis
    green, thick while closed, dim while filled in. Hands: the bones of the landmarks.
    width: px of the video; every: draw each n-th frame only; look: is given each frame of the demonstration, with its
    index, whether drawn or not.
    """
    path = Path(path)
    if path.suffix not in _CODECS:
        raise ParseError(f"an overlay must end in {' or '.join(_CODECS)}, got {path.name}")
    camera = None if demonstration.reference is None else demonstration.reference.camera
    if camera is None or camera.transform_camera_to_task is None:
        raise ParseError("an overlay needs the demonstration's camera and its pose; parse the recording again")
    path.parent.mkdir(parents=True, exist_ok=True)
    stamps = demonstration.stamps
    rate = float(np.clip(1 / np.median(np.diff(stamps)) / every, 1, 60))
    scale = width / camera.width
    size = (width, 2 * round(camera.height * scale / 2))
    pixels = camera.task_to_pixels(demonstration.keypoints)
    hands = camera.task_to_pixels(demonstration.landmarks)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    with silenced_stderr():
        writer = cv2.VideoWriter(str(temporary), cv2.VideoWriter_fourcc(*_CODECS[path.suffix]), rate, size)
    if not writer.isOpened():
        raise ParseError(
            f"this OpenCV cannot write {_CODECS[path.suffix]} video; install opencv-python-headless from PyPI"
        )
    try:
        for frame in recording.frames():
            t = demonstration_frame(demonstration, frame.stamp)
            if t is None:
                continue
            if look is not None:
                look(t, frame)
            if t % every:
                continue
            image = cv2.resize(cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2BGR), size, interpolation=cv2.INTER_AREA)
            _draw_hands(image, hands[t], scale)
            _draw_keypoints(image, demonstration, pixels, t, scale)
            for arm in (0, 1):
                _draw_gripper(image, demonstration, t, arm, scale)
            _draw_caption(image, demonstration, t)
            writer.write(image)
            if progress is not None:
                progress("draw overlay", (t + 1) / len(stamps))
        writer.release()
        os.replace(temporary, path)
    finally:
        writer.release()
        temporary.unlink(missing_ok=True)
    return path


def write_contact_sheet(
    video: str | os.PathLike[str], path: str | os.PathLike[str], *, columns: int = 4, rows: int = 4, width: int = 400
) -> Path:
    """Write evenly spaced frames of a video as one picture (.png); `width` px per frame."""
    capture = cv2.VideoCapture(str(video))
    images = []
    try:
        while True:
            ok, image = capture.read()
            if not ok:
                break
            images.append(cv2.resize(image, (width, round(image.shape[0] * width / image.shape[1]))))
    finally:
        capture.release()
    if not images:
        raise ParseError(f"{video} has no frame to make a contact sheet of")
    chosen = [images[i] for i in np.linspace(0, len(images) - 1, columns * rows).round().astype(int)]
    sheet = np.vstack([np.hstack(chosen[r * columns : (r + 1) * columns]) for r in range(rows)])
    path = Path(path)
    if not cv2.imwrite(str(path), sheet):
        raise ParseError(f"cannot write the contact sheet {path}; does its folder exist?")
    return path


def demonstration_frame(demonstration: Demonstration, stamp: float) -> int | None:
    """The demonstration's frame at a stamp (s) of its recording; None if it has none there."""
    stamps = demonstration.stamps
    t = int(np.searchsorted(stamps, stamp - 1e-6))
    return t if t < len(stamps) and abs(stamps[t] - stamp) <= 1e-3 else None


def _point(pixel: np.ndarray) -> tuple[int, int] | None:
    if not np.isfinite(pixel).all() or np.abs(pixel).max() > 10000:
        return None
    return round(float(pixel[0])), round(float(pixel[1]))


def _draw_hands(image: np.ndarray, hands: np.ndarray, scale: float) -> None:
    for hand, colour in zip(hands, _HAND_COLOURS, strict=True):
        points = [_point(p[:2] * scale) for p in hand]
        for a, b in _FINGER_BONES:
            if points[a] is not None and points[b] is not None:
                cv2.line(image, points[a], points[b], colour, 1, cv2.LINE_AA)


def _draw_keypoints(image: np.ndarray, demonstration: Demonstration, pixels: np.ndarray, t: int, scale: float) -> None:
    colours = group_colours(demonstration.keypoint_groups)
    for n, group in enumerate(demonstration.keypoint_groups):
        colour = colours[group][::-1]  # OpenCV wants blue first
        trail = [_point(p * scale) for p in pixels[max(0, t - _TRAIL) : t + 1, n]]
        for a, b in itertools.pairwise(trail):
            if a is not None and b is not None:
                cv2.line(image, a, b, colour, 1, cv2.LINE_AA)
        here = trail[-1]
        if here is None:
            continue
        if demonstration.keypoint_states[t, n] == KeypointState.VISIBLE:
            cv2.circle(image, here, 4, colour, -1, cv2.LINE_AA)
            cv2.circle(image, here, 4, (30, 30, 30), 1, cv2.LINE_AA)
        else:
            cv2.circle(image, here, 4, colour, 1, cv2.LINE_AA)


def _draw_gripper(image: np.ndarray, demonstration: Demonstration, t: int, arm: int, scale: float) -> None:
    state = demonstration.gripper_states[t, arm]
    reference = demonstration.reference
    if state == KeypointState.LOST or reference is None:
        return
    pose = demonstration.gripper_poses[t, arm]
    half = demonstration.gripper_openings[t, arm] / 2
    axes = pose[:3, :3]
    origin = pose[:3, 3]
    points = np.stack([origin, origin + _AXIS * axes[:, 2], origin - half * axes[:, 1], origin + half * axes[:, 1]])
    here, ahead, thumb, index = (_point(p * scale) for p in reference.camera.task_to_pixels(points))
    bright = 255 if state == KeypointState.VISIBLE else 140
    thick = 3 if demonstration.gripper_closed[t, arm] else 1
    if here is not None and ahead is not None:
        cv2.arrowedLine(image, here, ahead, (bright, 80, 80), 2, cv2.LINE_AA, tipLength=0.3)
    if thumb is not None and index is not None:
        cv2.line(image, thumb, index, (80, bright, 80), thick, cv2.LINE_AA)


def _draw_caption(image: np.ndarray, demonstration: Demonstration, t: int) -> None:
    words = []
    for arm, side in enumerate(("L", "R")):
        state = KeypointState(int(demonstration.gripper_states[t, arm])).name.lower()
        grip = "closed" if demonstration.gripper_closed[t, arm] else "open"
        words.append(f"{side}: {state} {grip}")
    text = f"{demonstration.stamps[t] - demonstration.stamps[0]:5.2f} s  " + "   ".join(words)
    (width, height), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.45, 1)
    cv2.rectangle(image, (0, 0), (width + 16, height + below + 12), (30, 30, 30), -1)
    cv2.putText(image, text, (8, height + 6), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1, cv2.LINE_AA)
