"""What a report shows, as plain data; every part may be missing, because a run may have been cut short."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pad_bringup.success import EpisodeResult
from pad_parse.demonstration import Segment
from pad_parse.report.media import Media


@dataclass(frozen=True)
class StageRecord:
    """One stage of the run.

    Attributes:
        name: e.g. "parse".
        seconds: how long it took.
        note: its outcome in a few words.
    """

    name: str
    seconds: float
    note: str = ""


@dataclass(frozen=True)
class Path3D:
    """One line of the 3-D view.

    Attributes:
        points: (K, 3) metres, task frame.
        arm: 0 left, 1 right.
        demonstrated: part of the human demonstration rather than an augmented one.
    """

    points: NDArray[np.float64]
    arm: int
    demonstrated: bool


@dataclass(frozen=True)
class ReportContent:
    """Everything on the page.

    Attributes:
        task: name of the task.
        created: when the run started, for people.
        stages: in the order in which they ran.
        notes: things a reader must know, e.g. assumptions; one sentence each.
        recording: where the recording came from.
        overlay: the recording with tracks and hands drawn on.
        stamps: (T,) s, the demonstration's frames.
        segments: the grounded segments of both arms.
        visibility: group -> (T,) worst KeypointState of its points.
        gripper_closed: (T, 2) bool.
        paths: lines of the 3-D view.
        keypoints: (N, 3) m, task frame: keypoints in the demonstration's first frame.
        keypoint_groups: N names.
        accepted, attempted: augmented demonstrations.
        rejections: cause -> how often.
        losses: (U, 2) update, training loss.
        policy_measures: name -> value.
        episodes: the rollouts.
        clip: camera images of one rollout.
        clip_label: what the clip shows.
        versions: name -> version.
        machine: one line about the computer.
    """

    task: str
    created: str
    stages: list[StageRecord] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    recording: str = ""
    overlay: Media | None = None
    stamps: NDArray[np.float64] | None = None
    segments: list[Segment] = field(default_factory=list)
    visibility: dict[str, NDArray[np.uint8]] = field(default_factory=dict)
    gripper_closed: NDArray[np.bool_] | None = None
    paths: list[Path3D] = field(default_factory=list)
    keypoints: NDArray[np.float64] | None = None
    keypoint_groups: list[str] = field(default_factory=list)
    accepted: int = 0
    attempted: int = 0
    rejections: dict[str, int] = field(default_factory=dict)
    losses: NDArray[np.float64] | None = None
    policy_measures: dict[str, float] = field(default_factory=dict)
    episodes: list[EpisodeResult] = field(default_factory=list)
    clip: Media | None = None
    clip_label: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    machine: str = ""
