"""Parses of the synthetic human's recordings against their truth: objects, hands, grasps, identities, time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pad_bringup.bench.benchmark import BenchSettings
from pad_bringup.cell.human.recorder import record_demonstration
from pad_bringup.cell.objects import load_objects
from pad_bringup.cell.pour_motion import HELD_OBJECTS
from pad_parse import geometry
from pad_parse.demonstration import Demonstration, KeypointState
from pad_parse.hands import PALM
from pad_parse.parser import parse
from pad_parse.recording import GroundTruth, open_recording
from pad_parse.task import TaskSpec

KEYS = (
    "keypoint_median_mm",
    "keypoint_p95_mm",
    "gripper_median_mm",
    "gripper_p95_mm",
    "gripper_median_deg",
    "grasp_event_max_frames",
    "identity_swaps",
    "offline_10s_s",
    "hands_cpu_ms",
)

RECORDINGS, QUICK_RECORDINGS = 3, 1
_CLOSED = 0.001
"""m; a true grasp begins when the true opening is this close to that of the hold, and ends when it has left it."""
_CARRIED = 0.002
"""m; and while the true gripper stays this close to its place on the object."""
_SPREAD = np.array([0.03, 0.03, 0.15])
"""m, m, rad that an object is placed off its home."""
_MISSED_EVENT = 300.0
"""Frames that an event counts that was not found at all, or a hold that is not there."""

FloatArray = NDArray[np.float64]


@dataclass
class Errors:
    """What was measured, over all recordings: m, rad, frames, s."""

    keypoints: list[FloatArray] = field(default_factory=list)
    positions: list[FloatArray] = field(default_factory=list)
    angles: list[FloatArray] = field(default_factory=list)
    events: list[float] = field(default_factory=list)
    swaps: int = 0
    seconds_per_10: list[float] = field(default_factory=list)
    hands_ms: list[float] = field(default_factory=list)
    lost: list[float] = field(default_factory=list)


def measure(settings: BenchSettings, say: Callable[[str], None]) -> dict[str, float | None]:
    """The figures over a few recordings, each with its own placements, tremor, clicks and depth noise.

    A frame in which a keypoint or gripper is LOST has no error; the share of such frames is said. `offline_10s_s` is
    the time of the whole parse without the overlay video, for 10 s of recording.
    """
    errors = Errors()
    for k in range(QUICK_RECORDINGS if settings.quick else RECORDINGS):
        seed = settings.seed + k
        folder = settings.work / f"human-{seed}"
        fps = 15.0 if settings.quick else 30.0
        record_demonstration(folder, seed=seed, fps=fps, placements=placements(seed), put_down=True)
        said = compare(folder, errors)
        say(f"synthetic human, seed {seed}: {said}")
    keypoints, positions = 1e3 * np.concatenate(errors.keypoints), 1e3 * np.concatenate(errors.positions)
    angles = np.degrees(np.concatenate(errors.angles))
    return {
        "keypoint_median_mm": float(np.median(keypoints)),
        "keypoint_p95_mm": float(np.percentile(keypoints, 95)),
        "gripper_median_mm": float(np.median(positions)),
        "gripper_p95_mm": float(np.percentile(positions, 95)),
        "gripper_median_deg": float(np.median(angles)),
        "grasp_event_max_frames": float(np.max(errors.events)),
        "identity_swaps": float(errors.swaps),
        "offline_10s_s": float(np.max(errors.seconds_per_10)),
        "hands_cpu_ms": float(np.max(errors.hands_ms)),
    }


def placements(seed: int) -> dict[str, tuple[float, float, float]]:
    """Object -> (x, y, yaw), m and rad, near its home."""
    rng = np.random.default_rng([seed, 11])
    return {
        name: tuple(np.array(model.home) + rng.uniform(-1, 1, 3) * _SPREAD)
        for name, model in load_objects("pour").models.items()
    }


def compare(folder: Path, errors: Errors) -> str:
    """Parse one recording, add its errors to `errors`, and return a line for people."""
    recording = open_recording(folder)
    truth, task = recording.truth(), recording.annotation
    assert truth is not None and task is not None, "the synthetic human writes both"
    found = parse(recording, task)
    keypoints = keypoint_errors(found, truth)
    positions, angles = gripper_errors(found, truth)
    events = event_errors(found, truth, task)
    swaps = identity_swaps(found, truth)
    lost = float((found.gripper_states == KeypointState.LOST).mean())
    errors.keypoints.append(keypoints)
    errors.positions.append(positions)
    errors.angles.append(angles)
    errors.events += [abs(e) for e in events.values()]
    errors.swaps += swaps
    errors.seconds_per_10.append(found.measures["parse_s"] * 10 / found.duration)
    errors.hands_ms.append(found.measures["hands_ms"])
    errors.lost.append(lost)
    return (
        f"keypoints {1e3 * np.median(keypoints):.1f} mm, grippers {1e3 * np.median(positions):.1f} mm "
        f"(p95 {1e3 * np.percentile(positions, 95):.1f}) {np.degrees(np.median(angles)):.1f} deg "
        f"(p95 {np.degrees(np.percentile(angles, 95)):.1f}), lost {100 * lost:.1f} %, swaps {swaps}, events "
        + ", ".join(f"{name} {error:+.0f}" for name, error in events.items())
    )


def keypoint_errors(found: Demonstration, truth: GroundTruth) -> FloatArray:
    """Distances (K,) m of all keypoints that are not LOST, in all frames."""
    order = [truth.keypoint_names.index(name) for name in found.keypoint_names]
    rows = _rows(found.stamps, truth.keypoint_stamps)
    distance = np.linalg.norm(found.keypoints - truth.keypoints[rows][:, order], axis=2)
    return distance[np.isfinite(distance)]


def gripper_errors(found: Demonstration, truth: GroundTruth) -> tuple[FloatArray, FloatArray]:
    """Distances (K,) m and angles (K,) rad of both grippers in all frames in which they are not LOST."""
    true = truth.gripper_poses[_rows(found.stamps, truth.hand_stamps)]
    known = found.gripper_states != KeypointState.LOST
    distance = np.linalg.norm(found.gripper_poses[known][:, :3, 3] - true[known][:, :3, 3], axis=1)
    return distance, geometry.rotation_angle(found.gripper_poses[known], true[known])


def event_errors(found: Demonstration, truth: GroundTruth, task: TaskSpec) -> dict[str, float]:
    """Event -> frames that it was found too late (negative: too early), for every grasp and release of both arms."""
    rows = _rows(found.stamps, truth.hand_stamps)
    events = {}
    for arm, name in enumerate(HELD_OBJECTS):
        true = true_hold(
            truth.gripper_poses[rows, arm],
            truth.gripper_openings[rows, arm],
            truth.object_poses[name][_rows(found.stamps, truth.object_stamps)],
        )
        for kind, at in zip(("grasp", "release"), true, strict=True):
            if kind == "release" and at == len(found.stamps):
                continue  # held to the end
            closed = np.diff(found.gripper_closed[:, arm].astype(int), prepend=0)
            frames = np.nonzero(closed == (1 if kind == "grasp" else -1))[0]
            nearest = frames[np.abs(frames - at).argmin()] - at if len(frames) == 1 else _MISSED_EVENT
            events[f"{kind} {name}"] = float(nearest)
    return events


def true_hold(grippers: FloatArray, openings: FloatArray, objects: FloatArray) -> tuple[int, int]:
    """[first, end) frame of the one hold: the opening and the gripper's place on the object are those of the hold.

    grippers, objects (T, 4, 4); openings (T,) m. The hold is what is done when the object is highest.
    """
    middle = int(objects[:, 2, 3].argmax())
    relative = geometry.inverse(objects) @ grippers
    away = np.linalg.norm(relative[:, :3, 3] - relative[middle, :3, 3], axis=1)
    held = (np.abs(openings - openings[middle]) < _CLOSED) & (away < _CARRIED)
    before, after = np.nonzero(~held[:middle])[0], np.nonzero(~held[middle:])[0]
    return int(before[-1]) + 1 if len(before) else 0, middle + int(after[0]) if len(after) else len(held)


def identity_swaps(found: Demonstration, truth: GroundTruth) -> int:
    """How often one hand's name begins to be given to the other hand."""
    true = truth.landmarks[_rows(found.stamps, truth.hand_stamps)]
    swaps = 0
    for side in (0, 1):
        own, other = (
            np.linalg.norm(
                found.landmarks[:, side, list(PALM)].mean(axis=1) - true[:, s, list(PALM)].mean(axis=1), axis=1
            )
            for s in (side, 1 - side)
        )
        wrong = other < own  # nan, a hand that is not seen, is not wrong
        swaps += int((np.diff(wrong.astype(int), prepend=0) > 0).sum())
    return swaps


def _rows(stamps: FloatArray, known: FloatArray) -> NDArray[np.int64]:
    """(T,) index of the truth nearest in time to each stamp (T,)."""
    return np.abs(known[None] - stamps[:, None]).argmin(axis=1)
