"""What every kind of recording offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pad_parse.camera import Camera
from pad_parse.recording.pairing import PAIRING_TOLERANCE
from pad_parse.recording.report import RecordingReport, Tally
from pad_parse.task import TaskSpec


@dataclass(frozen=True, eq=False)
class Frame:
    """One image of a recording.

    Attributes:
        stamp: seconds, strictly increasing within a recording.
        rgb: (H, W, 3) uint8.
        depth: (H, W) float32 metres along the optical axis, aligned to `rgb`, 0 where there is none; None without a
            depth camera.
    """

    stamp: float
    rgb: NDArray[np.uint8]
    depth: NDArray[np.float32] | None


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """What the `/ground_truth/*` topics say; each kind has its own stamps (seconds). Task frame, metres.

    Attributes:
        keypoint_names: N names, in the order of `keypoints`.
        keypoint_stamps: (T,).
        keypoints: (T, N, 3), nan where a message lacks the point.
        object_stamps: (T',).
        object_poses: name -> (T', 4, 4), nan where a message lacks the object.
        hand_stamps: (T'',).
        gripper_poses: (T'', 2, 4, 4), 0 left, 1 right; nan where a hand is missing.
        gripper_openings: (T'', 2) metres.
        landmarks: (T'', 2, 21, 3), nan where missing.
    """

    keypoint_names: list[str]
    keypoint_stamps: NDArray[np.float64]
    keypoints: NDArray[np.float64]
    object_stamps: NDArray[np.float64]
    object_poses: dict[str, NDArray[np.float64]]
    hand_stamps: NDArray[np.float64]
    gripper_poses: NDArray[np.float64]
    gripper_openings: NDArray[np.float64]
    landmarks: NDArray[np.float64]


@dataclass(eq=False)
class Recording(ABC):
    """A recording on disk. Nothing is held open between calls; `frames()` may be called again and again.

    Attributes:
        path: the bag folder or file.
        camera: intrinsics, and the pose in the task frame where it is known.
        has_depth: whether every frame has depth.
        frame_count: number of frames; an estimate where the format does not say.
        duration: seconds.
        topics: topic names ([] for a video).
        annotation: the task with annotated keypoints from the sidecar file; None if there is none.
        assumptions: what had to be assumed, one sentence each, for the report.
        recovered: what had to be done to read damaged files, one sentence each.
        pairing_tolerance: colour and depth images whose stamps (s) lie further apart are no pair.
    """

    path: Path
    camera: Camera
    has_depth: bool
    frame_count: int
    duration: float
    topics: list[str]
    annotation: TaskSpec | None
    assumptions: list[str] = field(default_factory=list)
    recovered: list[str] = field(default_factory=list)
    pairing_tolerance: float = PAIRING_TOLERANCE
    _report: RecordingReport | None = field(default=None, init=False, repr=False)

    def frames(self) -> Iterator[Frame]:
        """Frames in order of time, one in memory at a time. What is left out is counted in `report`.

        Raises:
            RecordingError: the data turns out to be truncated, corrupt, or to change its format.
        """
        tally = Tally()
        try:
            for frame in self._read(tally):
                tally.frame(frame.stamp)
                yield frame
            tally.complete = True
        finally:
            # A short look at the beginning does not replace what a whole pass has found.
            if tally.complete or self._report is None or not self._report.complete:
                self._report = tally.report(self.assumptions, self.recovered)

    @property
    def report(self) -> RecordingReport:
        """What the latest whole pass of `frames()` met; before one, what was met so far."""
        return self._report or RecordingReport(assumptions=tuple(self.assumptions), recovered=tuple(self.recovered))

    @abstractmethod
    def _read(self, tally: Tally) -> Iterator[Frame]:
        """The frames with strictly increasing stamps; whatever is left out is counted in `tally`."""

    def truth(self) -> GroundTruth | None:
        """The ground-truth topics; None where there are none.

        Raises:
            RecordingError: they are there but cannot be read.
        """
        return None
