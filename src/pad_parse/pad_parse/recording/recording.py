"""What every kind of recording offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pad_parse.camera import Camera
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


@dataclass
class FrameCounts:
    """What reading the frames met; filled while `frames()` runs and reset when it starts."""

    frames: int = 0
    without_depth: int = 0
    out_of_order: int = 0

    def summary(self) -> str:
        """One line for people; empty if nothing was dropped."""
        parts = []
        if self.without_depth:
            parts.append(f"{self.without_depth} colour images without a depth image near them were dropped")
        if self.out_of_order:
            parts.append(f"{self.out_of_order} images with a repeated or older stamp were dropped")
        return "; ".join(parts)


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
        counts: what the latest run of `frames()` dropped.
    """

    path: Path
    camera: Camera
    has_depth: bool
    frame_count: int
    duration: float
    topics: list[str]
    annotation: TaskSpec | None
    assumptions: list[str] = field(default_factory=list)
    counts: FrameCounts = field(default_factory=FrameCounts)

    @abstractmethod
    def frames(self) -> Iterator[Frame]:
        """Frames in order of time, one in memory at a time.

        Raises:
            RecordingError: the data turns out to be truncated, corrupt, or to change its format.
        """

    def truth(self) -> GroundTruth | None:
        """The ground-truth topics; None where there are none.

        Raises:
            RecordingError: they are there but cannot be read.
        """
        return None
