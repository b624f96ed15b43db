"""Keypoints on rigid objects from the points of any point tracker, for recordings with depth."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pad_parse import geometry
from pad_parse.camera import Camera
from pad_parse.demonstration import KeypointState
from pad_parse.errors import TrackingError
from pad_parse.tracking.depth_window import median_depth
from pad_parse.tracking.object_tracker import FILLED_DOUBT, FILLED_TRUST, KeypointFrame, ObjectTracker
from pad_parse.tracking.point_tracker import PointTracker, TrackResult
from pad_parse.tracking.rigid_groups import PoseFit, fit_pose, fit_pose_from_scratch

_LEAST_SEEN = 4
_LEAST_SHARE = 0.4


class TrackedPoints:
    """What `ObjectTracker` does, with a `PointTracker` that says where the points are.

    The keypoints and about 36 corners on each object are given to the point tracker in the first image. In every later
    image the visible ones of an object, with the depth there, give its pose (robust Gauss-Newton from the last pose;
    else RANSAC and weighted Kabsch); points that do not fit have no say, hidden keypoints are filled from the pose, and
    with fewer than four that agree the object is lost. Nothing is re-anchored and no new corner is taken up: how far
    the points drift is up to their tracker. Results may come late and several at a time, so this is for recordings.
    """

    def __init__(
        self,
        camera: Camera,
        keypoint_objects: Sequence[str],
        tracker: PointTracker,
        rng: np.random.Generator | None = None,
    ) -> None:
        """See `ObjectTracker`."""
        self._camera = camera
        self._tracker = tracker
        self._rng = rng if rng is not None else np.random.default_rng(0)
        self._objects = ObjectTracker(camera, keypoint_objects, rng=self._rng)
        self._owners = list(keypoint_objects)
        self._depths: deque[tuple[float, NDArray[np.float32]]] = deque()

    def start(
        self,
        rgb: NDArray[np.uint8],
        depth: NDArray[np.float32] | None,
        keypoints_px: NDArray[np.float64],
        stamp: float = 0.0,
        object_poses: Mapping[str, NDArray[np.float64]] | None = None,
    ) -> KeypointFrame:
        """See `ObjectTracker.start`."""
        if depth is None:
            raise TrackingError("points are tracked into poses by their depth; this recording has none")
        first = self._objects.start(rgb, depth, keypoints_px, object_poses=object_poses, stamp=stamp)
        tracks = self._objects.tracks
        self._names = list(tracks)
        self._points = {name: track.support.points.copy() for name, track in tracks.items()}
        self._counts = {name: track.support.keypoint_count for name, track in tracks.items()}
        self._poses = {name: track.pose.copy() for name, track in tracks.items()}
        size = [rgb.shape[1] - 1, rgb.shape[0] - 1]
        pixels = [np.clip(tracks[name].support.anchors, 0, size) for name in self._names]
        self._ends = np.cumsum([len(p) for p in pixels])[:-1]
        self._tracker.start(rgb, np.concatenate(pixels))
        self._depths.clear()
        return first

    def step(self, rgb: NDArray[np.uint8], depth: NDArray[np.float32] | None, stamp: float) -> list[KeypointFrame]:
        """Take the next image; the frames that are ready, in order."""
        if depth is None:
            raise TrackingError(f"the image at {stamp:.3f} s has no depth, which the tracker was started with")
        self._depths.append((stamp, depth))
        return [self._frame(result) for result in self._tracker.step(rgb, stamp)]

    def flush(self) -> list[KeypointFrame]:
        """The frames that are still owed, at the end of the recording."""
        return [self._frame(result) for result in self._tracker.flush()]

    def _frame(self, result: TrackResult) -> KeypointFrame:
        stamp, depth = self._depths.popleft()
        if stamp != result.stamp:
            raise TrackingError(f"the point tracker answered for {result.stamp:.3f} s instead of {stamp:.3f} s")
        to_task = self._camera.transform_camera_to_task
        assert to_task is not None
        count = len(self._owners)
        points, pixels = np.full((count, 3), np.nan), np.full((count, 2), np.nan)
        states, confidence, uncertainty = np.zeros(count, np.uint8), np.zeros(count), np.full(count, np.inf)
        poses = {}
        places = np.split(result.points, self._ends)
        seen = np.split(result.visible, self._ends)
        for name, at, visible in zip(self._names, places, seen, strict=True):
            members = np.flatnonzero([owner == name for owner in self._owners])
            found = self._fit(name, at, visible, depth)
            n = self._counts[name]
            if found is not None:
                self._poses[name] = found[0].pose
            pose = self._poses[name]
            in_camera = geometry.transform_points(pose, self._points[name][:n])
            points[members] = geometry.transform_points(to_task, in_camera)
            pixels[members] = geometry.project(in_camera, self._camera.matrix)
            poses[name] = to_task @ pose
            if found is None:
                continue
            fit, agreeing = found
            shown = agreeing[:n]
            states[members] = np.where(shown, KeypointState.VISIBLE, KeypointState.FILLED)
            confidence[members] = np.mean(agreeing) * np.where(shown, 1.0, FILLED_TRUST)
            spread = np.hypot(self._objects.definition_spread[members], fit.spread(in_camera))
            uncertainty[members] = np.where(shown, 1.0, FILLED_DOUBT) * spread
        return KeypointFrame(stamp, points, states, pixels, poses, confidence, uncertainty)

    def _fit(
        self, name: str, places: NDArray[np.float64], visible: NDArray[np.bool_], depth: NDArray[np.float32]
    ) -> tuple[PoseFit, NDArray[np.bool_]] | None:
        """The pose of one object, and which of its points agree with it (M,)."""
        index = np.flatnonzero(visible)
        if index.size < _LEAST_SEEN:
            return None
        points, matrix = self._points[name][index], self._camera.matrix
        z = median_depth(depth, places[index], 1)
        fit = fit_pose(points, places[index], z, matrix, self._poses[name])
        if np.mean(fit.inliers) < 0.6:
            scratch = fit_pose_from_scratch(points, geometry.unproject(places[index], z, matrix), self._rng)
            if scratch is not None:
                other = fit_pose(points, places[index], z, matrix, scratch[0])
                fit = other if np.count_nonzero(other.inliers) > np.count_nonzero(fit.inliers) else fit
        if np.count_nonzero(fit.inliers) < max(_LEAST_SEEN, _LEAST_SHARE * index.size):
            return None
        agreeing = np.zeros(len(places), bool)
        agreeing[index[fit.inliers]] = True
        return fit, agreeing
