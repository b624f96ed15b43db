"""The same named points, clicked by a person in the image of a new scene."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from pad_parse.annotator.pictures import encode_png
from pad_parse.annotator.server import Answer, PageServer, open_in_browser
from pad_parse.colours import PALETTE, as_hex
from pad_parse.demonstration import Demonstration, Reference
from pad_parse.errors import AnnotationError, RecordingError
from pad_parse.recording import Recording
from pad_parse.recording.sidecar import sidecar_path
from pad_parse.task import KeypointSpec


class _Clicked(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    pixels: dict[str, tuple[float, float]]


def ask_for_pixels(
    reference: Reference,
    names: Sequence[str],
    groups: Sequence[str],
    rgb: NDArray[np.uint8],
    *,
    start: NDArray[np.float64] | None = None,
    port: int = 0,
    browser: bool = True,
    seconds: float | None = None,
    tell: Callable[[str], None] = print,
) -> NDArray[np.float64]:
    """Show the demonstration's annotated first frame beside a new scene, and let a person click the same N points.

    Args:
        reference: with keypoint_pixels (N, 2).
        names, groups: N strings each.
        rgb: (H, W, 3) uint8, the new scene.
        start: (N, 2) px in the new scene to begin with, nan where there is none, e.g. from automatic localisation.
        port: first port to try on 127.0.0.1; 0: any free one.
        browser: open the page where there is a screen.
        seconds: give up after this time; None waits for ever.
        tell: is given the address.

    Returns (N, 2) float64 pixels (u, v) in `rgb`.

    Raises:
        AnnotationError: the person gave up, or time ran out.
    """
    height, width = rgb.shape[:2]
    done = threading.Event()
    found: list[NDArray[np.float64]] = []
    pictures = {"reference": encode_png(reference.rgb), "scene": encode_png(rgb)}
    given = np.full((len(names), 2), np.nan) if start is None else np.asarray(start, np.float64)

    def state(_: str) -> Answer:
        return Answer.json(
            {
                "names": list(names),
                "groups": list(groups),
                "reference": reference.keypoint_pixels.tolist(),
                "referenceSize": [reference.rgb.shape[1], reference.rgb.shape[0]],
                "size": [width, height],
                "colours": [as_hex(colour) for colour in PALETTE],
                "start": [p.tolist() if np.isfinite(p).all() else None for p in given],
            }
        )

    def finish(content: Any) -> None:
        found.append(_checked(content, names, width, height))
        done.set()

    def picture(name: str) -> Answer | None:
        return Answer("image/png", pictures[name]) if name in pictures else None

    server = PageServer(
        "by_hand.html",
        get={"state": state, "picture": picture},
        post={"finish": finish, "give-up": lambda _: done.set()},
        port=port,
    )
    try:
        tell(f"click the {len(names)} points in the new scene: {server.url}")
        if browser:
            open_in_browser(server.url)
        done.wait(seconds)
    finally:
        server.close()
    if not found:
        raise AnnotationError("the points of the new scene were not clicked; open the page again and press Done")
    return found[-1]


def annotate_like(
    recording: Recording,
    demonstration: Demonstration,
    *,
    port: int = 0,
    browser: bool = True,
    seconds: float | None = None,
    tell: Callable[[str], None] = print,
) -> Path:
    """Let a person click a demonstration's points in the first frame of another recording, and save that recording's
    annotation: the demonstration's task with the new pixels. An annotation of the same task that is there already is
    begun with. The other arguments are those of `ask_for_pixels`.

    Returns the file that was saved.

    Raises:
        AnnotationError: the demonstration has no first frame, the recording is annotated for another task, or the
            person gave up.
        RecordingError: the recording has no frame.
    """
    reference, task = demonstration.reference, demonstration.task
    if reference is None:
        raise AnnotationError("the demonstration keeps no first frame; parse its recording again")
    before = recording.annotation
    path = sidecar_path(recording.path, "task.yaml")
    if before is not None and before.name != task.name:
        raise AnnotationError(
            f"{recording.path} is annotated for task {before.name!r}, the demonstration for {task.name!r}; move "
            f"{path.name} away to annotate it anew"
        )
    frame = next(iter(recording.frames()), None)
    if frame is None:
        raise RecordingError(f"recording {recording.path} has no frame to annotate")
    known = {} if before is None else {k.name: k.pixel for k in before.keypoints if k.pixel is not None}
    names = demonstration.keypoint_names
    start = np.array([known.get(name, (np.nan, np.nan)) for name in names])
    groups = demonstration.keypoint_groups
    pixels = ask_for_pixels(
        reference, names, groups, frame.rgb, start=start, port=port, browser=browser, seconds=seconds, tell=tell
    )
    keypoints = tuple(
        KeypointSpec(name=name, object=owner, group=group, pixel=(float(pixel[0]), float(pixel[1])))
        for name, owner, group, pixel in zip(names, demonstration.keypoint_objects, groups, pixels, strict=True)
    )
    # The timeline belongs to the demonstration's recording.
    task.model_copy(update={"keypoints": keypoints, "segments": ()}).save(path)
    return path


def _checked(content: Any, names: Sequence[str], width: int, height: int) -> NDArray[np.float64]:
    try:
        pixels = _Clicked.model_validate(content).pixels
    except ValidationError as error:
        raise AnnotationError(f"the page sent no points: {error.errors()[0]['msg']}") from error
    missing = [name for name in names if name not in pixels]
    unknown = [name for name in pixels if name not in names]
    if missing or unknown:
        raise AnnotationError(
            f"points are missing: {', '.join(missing) or 'none'}; unknown: {', '.join(unknown) or 'none'}"
        )
    result = np.array([pixels[name] for name in names], np.float64)
    outside = ((result < 0) | (result > [width - 1, height - 1])).any(axis=1)
    if outside.any():
        raise AnnotationError(f"{names[int(np.argmax(outside))]} lies outside the image of {width} x {height} pixels")
    return result
