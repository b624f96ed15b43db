"""Whether a demonstration can be trusted: usable, usable with care, or to be recorded again, and why."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from pad_parse.demonstration import Demonstration, KeypointState
from pad_parse.report.statistics import RecordingStatistics
from pad_parse.report.strips import true_runs
from pad_parse.visibility import state_spans, worst_by_group


class Level(IntEnum):
    """How far a demonstration can be trusted; the larger the worse."""

    USABLE = 0
    WITH_CARE = 1
    RE_RECORD = 2

    @property
    def words(self) -> str:
        """For people."""
        return ("usable", "usable with care", "re-record")[self]


@dataclass(frozen=True)
class Limit:
    """One thing that is judged.

    Attributes:
        what: the quantity, for people.
        unit: of the values; "%" values are shares of 1.
        care: above this the demonstration is usable with care only.
        redo: above this it should be recorded again.
        advice: what to do about it.
    """

    what: str
    unit: str
    care: float
    redo: float
    advice: str


LIMITS: dict[str, Limit] = {
    "lost": Limit(
        "share of the frames in which a point of the group is lost",
        "%",
        0.02,
        0.20,
        "Keep the object in view and turn its textured side to the camera, or click points that stay visible.",
    ),
    "longest_loss": Limit(
        "longest time for which a point of the group is lost",
        "s",
        0.2,
        1.5,
        "Do not cover an object wholly while it moves; put the camera where the hands hide less.",
    ),
    "unseen": Limit(
        "share of the group's points that were not seen (filled in or lost)",
        "%",
        0.40,
        0.85,
        "Grasp where no points are, or click points on the side that the camera sees throughout.",
    ),
    "hand_lost": Limit(
        "share of the frames at work in which the gripper pose is not known",
        "%",
        0.05,
        0.30,
        "Keep the whole hand in the image and well lit; show thumb and index finger to the camera.",
    ),
    "hand_unseen": Limit(
        "share of the frames in which the hand was not found in the image",
        "%",
        0.30,
        0.80,
        "Keep the whole hand in the image; avoid gloves, long sleeves over the wrist and a busy background.",
    ),
    "missing_grasp": Limit(
        "grasps that the task asks of this hand and that were not seen",
        "",
        0,
        0,
        "Open the hand wide before and after each grasp, and close it clearly on the object.",
    ),
    "reprojection": Limit(
        "median distance between optical flow and the points of the object",
        "px",
        1.0,
        4.0,
        "Move more slowly, light the scene better; check in the overlay whether the points stay on the object.",
    ),
    "surface": Limit(
        "median distance of the object's points from the measured surface",
        "mm",
        10.0,
        30.0,
        "Look in the overlay whether the points have slid off the object; click points on textured, matt places.",
    ),
    "rigidity": Limit(
        "median distance of the measured depths from the rigid object",
        "mm",
        8.0,
        25.0,
        "Check the depth at the points in the hole map; move the camera nearer or avoid shiny surfaces.",
    ),
    "uncertainty": Limit(
        "median uncertainty of the group's points",
        "mm",
        8.0,
        25.0,
        "Record with a depth camera, nearer to the objects.",
    ),
    "depth_holes": Limit(
        "share of the seen points that have no depth",
        "%",
        0.20,
        0.60,
        "Turn the camera away from reflections, keep within its range, or click the points on matt parts.",
    ),
    "scale": Limit(
        "estimated error of the scale, recorded without depth",
        "%",
        0.0,
        0.30,
        "Record with a depth camera: without it all lengths rest on the size of a hand.",
    ),
    "camera_pose": Limit(
        "degrees by which the camera's tilt had to be assumed",
        "°",
        0.0,
        90.0,
        "Calibrate the camera's pose and put camera.yaml beside the recording.",
    ),
    "proposed": Limit(
        "keypoints that nobody has clicked",
        "",
        0,
        math.inf,
        "Look at the proposed points in the overlay; click them with `pad annotate` if they are not what you mean.",
    ),
    "missing_frames": Limit(
        "share of the frames that are missing",
        "%",
        0.02,
        0.25,
        "Record to a faster disk, or with a smaller image.",
    ),
    "longest_gap": Limit(
        "longest time without a frame", "s", 0.2, 1.0, "Record to a faster disk; close other programs."
    ),
    "period": Limit("time between frames", "s", 0.067, 0.2, "Record at 15 frames/s or more, better at 30."),
    "damaged": Limit("images that could not be decoded", "", 0, 20, "Copy the recording again, or record again."),
}
"""Every threshold of the verdict. A value at a limit is still within it."""


@dataclass(frozen=True)
class Finding:
    """One judged value.

    Attributes:
        check: key in LIMITS.
        subject: the group, arm or object that it is about; "" for the whole.
        value: in the limit's unit (shares of 1 for "%").
        level: what the value alone allows.
    """

    check: str
    subject: str
    value: float
    level: Level

    @property
    def limit(self) -> Limit:
        """What it is judged by."""
        return LIMITS[self.check]

    @property
    def reason(self) -> str:
        """One sentence for people."""
        about = f"{self.subject}: " if self.subject else ""
        bound = self.limit.redo if self.level == Level.RE_RECORD else self.limit.care
        return (
            f"{about}{self.limit.what}: {shown(self.value, self.limit.unit)} (limit {shown(bound, self.limit.unit)})."
        )


@dataclass(frozen=True)
class Verdict:
    """findings: every judged value, the worst first."""

    findings: tuple[Finding, ...]

    @property
    def level(self) -> Level:
        """The worst of all findings."""
        return max((finding.level for finding in self.findings), default=Level.USABLE)

    @property
    def reasons(self) -> list[Finding]:
        """The findings that speak against the demonstration."""
        return [finding for finding in self.findings if finding.level > Level.USABLE]

    def summary(self) -> str:
        """One line for people."""
        return " ".join([f"{self.level.words}.", *(finding.reason for finding in self.reasons[:3])])


def judge(demonstration: Demonstration, statistics: RecordingStatistics | None = None) -> Verdict:
    """Judge a demonstration by LIMITS; what was not measured (nan, no statistics) is not judged.

    A pure function: the same demonstration and statistics give the same verdict.
    """
    values = [*_of_keypoints(demonstration), *_of_hands(demonstration), *_of_measures(demonstration)]
    if statistics is not None:
        values += [*_of_recording(statistics), *_of_images(demonstration, statistics)]
    findings = [
        Finding(check, subject, float(value), _level(LIMITS[check], float(value)))
        for check, subject, value in values
        if not math.isnan(value)
    ]
    return Verdict(tuple(sorted(findings, key=lambda finding: -finding.level)))


def shown(value: float, unit: str) -> str:
    """A value with its unit, for people."""
    if unit == "%":
        return f"{100 * value:.0f} %" if value >= 0.1 or value == 0 else f"{100 * value:.1f} %"
    places = {"s": 2, "px": 2, "mm": 1}.get(unit)
    number = f"{value:.3g}" if places is None else f"{value:.{places}f}"
    return f"{number} {unit}".strip()


def _level(limit: Limit, value: float) -> Level:
    if value > limit.redo:
        return Level.RE_RECORD
    return Level.WITH_CARE if value > limit.care else Level.USABLE


_Values = Iterator[tuple[str, str, float]]


def _of_keypoints(demonstration: Demonstration) -> _Values:
    groups = np.array(demonstration.keypoint_groups)
    for group, worst in worst_by_group(demonstration.keypoint_states, demonstration.keypoint_groups).items():
        lost = [s.seconds for s in state_spans(worst, demonstration.stamps) if s.state == KeypointState.LOST]
        yield "lost", group, float((worst == KeypointState.LOST).mean())
        yield "longest_loss", group, max(lost, default=0.0)
        yield (
            "unseen",
            group,
            float((demonstration.keypoint_states[:, groups == group] != KeypointState.VISIBLE).mean()),
        )


def _of_hands(demonstration: Demonstration) -> _Values:
    stages = demonstration.task.stages
    for arm, side in enumerate(("left", "right")):
        if stages and not any(stage.arm in (side, "both") for stage in stages):
            continue
        closed = demonstration.gripper_closed[:, arm]
        work = at_work(closed, demonstration.stamps)
        yield "hand_lost", f"{side} hand", float((demonstration.gripper_states[work, arm] == KeypointState.LOST).mean())
        seen = np.isfinite(demonstration.landmarks[:, arm]).all(axis=(1, 2))
        yield "hand_unseen", f"{side} hand", float(1 - seen.mean())
        wanted = sum(stage.kind == "grasp" and stage.arm in (side, "both") for stage in stages)
        yield "missing_grasp", f"{side} hand", max(0, wanted - len(true_runs(closed)))


def at_work(closed: NDArray[np.bool_], stamps: NDArray[np.float64]) -> slice:
    """The frames from one second before a gripper (T,) first closes to one second after it was last closed; all if it
    never does.
    """
    index = np.flatnonzero(closed)
    if not len(index):
        return slice(0, len(closed))
    start, end = np.searchsorted(stamps, [stamps[index[0]] - 1.0, stamps[index[-1]] + 1.0])
    return slice(int(start), max(int(end), int(index[-1]) + 1))


def _of_measures(demonstration: Demonstration) -> _Values:
    measures = demonstration.measures
    yield "scale", "", measures.get("scale_error", math.nan)
    yield "camera_pose", "", abs(measures.get("assumed_pitch_deg", math.nan))
    yield "proposed", "", measures.get("keypoints_proposed", 0.0) * demonstration.keypoint_count
    yield "period", "", float(np.median(np.diff(demonstration.stamps)))
    groups = np.array(demonstration.keypoint_groups)
    uncertainty = np.asarray(demonstration.keypoint_uncertainty)
    for group in dict.fromkeys(demonstration.keypoint_groups):
        yield "uncertainty", group, 1000 * nan_median(uncertainty[:, groups == group])


def _of_recording(statistics: RecordingStatistics) -> _Values:
    report = statistics.report
    if report.frames:
        yield "missing_frames", "", report.dropped / (report.frames + report.dropped)
        yield "longest_gap", "", max((gap.seconds for gap in report.gaps), default=0.0)
        yield "damaged", "", report.damaged


def _of_images(demonstration: Demonstration, statistics: RecordingStatistics) -> _Values:
    visible = demonstration.keypoint_states == KeypointState.VISIBLE
    objects = np.array(demonstration.keypoint_objects)
    for name in dict.fromkeys(demonstration.keypoint_objects):
        mine = objects == name
        if statistics.reprojection is not None:
            yield "reprojection", name, nan_median(statistics.reprojection[:, mine])
        if statistics.surface is not None:
            yield "surface", name, 1000 * nan_median(statistics.surface[:, mine])
        if name in statistics.rigidity:
            yield "rigidity", name, 1000 * nan_median(statistics.rigidity[name])
        if statistics.measurable is not None and visible[:, mine].any():
            yield "depth_holes", name, float(1 - statistics.measurable[:, mine][visible[:, mine]].mean())


def nan_median(values: NDArray[np.float64]) -> float:
    """The median of what is finite; nan if nothing is."""
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else math.nan
