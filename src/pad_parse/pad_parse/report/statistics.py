"""A second look at a recording, to check what the demonstration says against the images themselves."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from pad_parse import geometry
from pad_parse.camera import Camera
from pad_parse.demonstration import Demonstration, KeypointState
from pad_parse.overlay import demonstration_frame
from pad_parse.recording import Frame, Recording
from pad_parse.recording.report import RecordingReport
from pad_parse.tracking.depth_window import depth_windows

_FLOW_WINDOW = (15, 15)
_RETURN = 1.0
"""px; a flow that does not come back to where it began, this closely, measures nothing."""
_LEAST_DEPTHS = 3
"""Valid depths in a window of 5 x 5 px that make a measurement."""
_RIGID_POINTS = 3


@dataclass(frozen=True, eq=False)
class RecordingStatistics:
    """What the images say about a demonstration of T frames and N keypoints.

    Attributes:
        report: drops, gaps, disorder of the recording.
        without_depth: (H, W) float32, share of the frames in which a pixel has no depth; None for colour only.
        measurable: (T, N) bool, the keypoint is VISIBLE and its place in the image has depth; None for colour only.
        reprojection: (T, N) px between where optical flow takes a VISIBLE keypoint from the frame before, and where
            the demonstration puts it; nan where it could not be measured.
        surface: (T, N) m along the line of sight between a VISIBLE keypoint and the surface that is measured at its
            place; nan where it could not be measured; None for colour only.
        rigidity: object -> (T,) m, root mean square distance of the depths measured at its VISIBLE keypoints from the
            rigid object; nan with fewer than three of them.
    """

    report: RecordingReport = field(default_factory=RecordingReport)
    without_depth: NDArray[np.float32] | None = None
    measurable: NDArray[np.bool_] | None = None
    reprojection: NDArray[np.float64] | None = None
    surface: NDArray[np.float64] | None = None
    rigidity: dict[str, NDArray[np.float64]] = field(default_factory=dict)


class StatisticsCollector:
    """Takes the frames of a demonstration's recording one by one; memory does not grow with the images."""

    def __init__(self, demonstration: Demonstration, camera: Camera) -> None:
        """camera: with its pose in the task frame."""
        count, points = demonstration.keypoints.shape[:2]
        self._demonstration = demonstration
        self._camera = camera
        self._pixels = camera.task_to_pixels(demonstration.keypoints)
        owners = np.array(demonstration.keypoint_objects)
        self._members = {name: np.flatnonzero(owners == name) for name in demonstration.object_poses}
        self._holes: NDArray[np.float32] | None = None
        self._frames = 0
        self._measurable = np.zeros((count, points), bool)
        self._reprojection = np.full((count, points), np.nan)
        self._surface = np.full((count, points), np.nan)
        self._rigidity = {name: np.full(count, np.nan) for name in self._members}
        self._last: tuple[int, NDArray[np.uint8]] | None = None

    def add(self, t: int, frame: Frame) -> None:
        """Take the frame that is the demonstration's frame `t`; frames come in order."""
        grey = cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2GRAY)
        visible = self._demonstration.keypoint_states[t] == KeypointState.VISIBLE
        visible &= np.isfinite(self._pixels[t]).all(axis=1)
        if self._last is not None:
            self._compare_flow(t, grey, visible)
        if frame.depth is not None:
            self._look_at_depth(t, frame.depth, visible)
        self._last = (t, grey)
        self._frames += 1

    def result(self, report: RecordingReport) -> RecordingStatistics:
        """What was found; `report` is the recording's own."""
        if self._holes is None:
            return RecordingStatistics(report, reprojection=self._reprojection)
        shares = self._holes / np.float32(max(1, self._frames))
        return RecordingStatistics(report, shares, self._measurable, self._reprojection, self._surface, self._rigidity)

    def _compare_flow(self, t: int, grey: NDArray[np.uint8], visible: NDArray[np.bool_]) -> None:
        assert self._last is not None
        before, last = self._last
        chosen = visible & (self._demonstration.keypoint_states[before] == KeypointState.VISIBLE)
        chosen &= np.isfinite(self._pixels[before]).all(axis=1)
        if not chosen.any():
            return
        start = self._pixels[before][chosen].astype(np.float32)
        ahead, ok, _ = cv2.calcOpticalFlowPyrLK(last, grey, start, None, winSize=_FLOW_WINDOW, maxLevel=3)
        back, returned, _ = cv2.calcOpticalFlowPyrLK(grey, last, ahead, None, winSize=_FLOW_WINDOW, maxLevel=3)
        good = (ok[:, 0] > 0) & (returned[:, 0] > 0) & (np.linalg.norm(back - start, axis=1) < _RETURN)
        away = np.linalg.norm(ahead - self._pixels[t][chosen], axis=1)
        self._reprojection[t, chosen] = np.where(good, away, np.nan)

    def _look_at_depth(self, t: int, depth: NDArray[np.float32], visible: NDArray[np.bool_]) -> None:
        if self._holes is None:
            self._holes = np.zeros(depth.shape, np.float32)
        self._holes += ~(depth > 0)
        pixels = self._pixels[t]
        inside = visible & ((pixels >= 0) & (pixels <= np.array(depth.shape[::-1]) - 1)).all(axis=1)
        index = np.flatnonzero(inside)
        if not len(index):
            return
        windows = depth_windows(depth, pixels[index], 2)
        enough = np.isfinite(windows).sum(axis=1) >= _LEAST_DEPTHS
        index, windows = index[enough], windows[enough]
        self._measurable[t, index] = True
        depths = np.nanmedian(windows, axis=1)
        measured = self._camera.pixels_to_task(pixels[index], depths)
        self._surface[t, index] = np.linalg.norm(measured - self._demonstration.keypoints[t, index], axis=1)
        for name, members in self._members.items():
            mine = np.isin(index, members)
            if mine.sum() < _RIGID_POINTS:
                continue
            model, seen = self._demonstration.keypoints[t, index[mine]], measured[mine]
            fitted = geometry.transform_points(geometry.kabsch(model, seen), model)
            self._rigidity[name][t] = np.sqrt(np.mean(np.sum((fitted - seen) ** 2, axis=1)))


def collect_statistics(recording: Recording, demonstration: Demonstration) -> RecordingStatistics:
    """Read `recording` once more and check `demonstration`, which was parsed from it, against the images.

    Without the demonstration's camera pose only the recording's own report is given.
    """
    camera = posed_camera(demonstration)
    if camera is None:
        for _ in recording.frames():
            pass
        return RecordingStatistics(recording.report)
    collector = StatisticsCollector(demonstration, camera)
    for frame in recording.frames():
        t = demonstration_frame(demonstration, frame.stamp)
        if t is not None:
            collector.add(t, frame)
    return collector.result(recording.report)


def posed_camera(demonstration: Demonstration) -> Camera | None:
    """The demonstration's camera, if its pose in the task frame is known."""
    camera = None if demonstration.reference is None else demonstration.reference.camera
    return camera if camera is not None and camera.transform_camera_to_task is not None else None
