"""Keypoints on rigid objects, followed through RGB-D images (in 3-D) or colour images (in pixels)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pad_parse import geometry
from pad_parse.camera import Camera
from pad_parse.demonstration import KeypointState
from pad_parse.errors import TrackingError
from pad_parse.tracking import flow
from pad_parse.tracking.depth_window import depth_noise, depth_windows
from pad_parse.tracking.object_mask import Hull, base_height, object_masks, points_of_image, upright_hull
from pad_parse.tracking.planar_track import PlanarTrack
from pad_parse.tracking.rigid_track import TARGET_SUPPORT, Image, RigidTrack
from pad_parse.tracking.support import Support, find_features

FILLED_TRUST = 0.7
"""Confidence of a filled keypoint, of that of its object."""
FILLED_DOUBT = 1.5
"""Uncertainty of a filled keypoint, of that of a visible one."""
_CLICK = 1.0
"""Standard deviation (px), over both directions, of the pixel at which a keypoint was defined."""


@dataclass(frozen=True, eq=False)
class KeypointFrame:
    """The keypoints in one image.

    Attributes:
        stamp: of the image, seconds.
        points_in_task: (N, 3) metres, task frame; nan where there is no depth camera.
        states: (N,) uint8 of KeypointState. VISIBLE: seen at its place, by its own patch or by the depth there.
            FILLED: from the pose of its object. LOST: its object is lost; the values are those of the last known
            pose.
        pixels: (N, 2) (u, v), also of points that are hidden.
        object_poses: name -> (4, 4) object frame -> task frame; empty without a depth camera.
        confidence: (N,) in [0, 1].
        uncertainty: (N,) metres, root mean square length of the error of `points_in_task`: from the depth noise and the
            pixel at which a point was defined, and from the covariance of its object's pose (larger where few points
            carry it, and where a point is filled). inf where LOST, nan without a depth camera.
    """

    stamp: float
    points_in_task: NDArray[np.float64]
    states: NDArray[np.uint8]
    pixels: NDArray[np.float64]
    object_poses: dict[str, NDArray[np.float64]]
    confidence: NDArray[np.float64]
    uncertainty: NDArray[np.float64]


class ObjectTracker:
    """Follows N keypoints on rigid objects; the same class for a recording and for a live camera.

    Each object carries about 40 further support features, so that its pose stands when hands hide its keypoints. With
    depth the result is metric and in the task frame. Without depth the points of an object move together by an affine
    map, and only pixels are given.
    """

    def __init__(self, camera: Camera, keypoint_objects: Sequence[str], rng: np.random.Generator | None = None) -> None:
        """Prepare for one camera.

        Args:
            keypoint_objects: name of the object that carries each of the N keypoints.
            rng: for the random samples of robust fits; a fixed sequence if not given, so that results repeat.
        """
        if not keypoint_objects:
            raise TrackingError("there is no keypoint to track; annotate the recording first")
        self._camera = camera
        self._objects = list(keypoint_objects)
        self._names = list(dict.fromkeys(self._objects))
        self._members = {n: np.flatnonzero([o == n for o in self._objects]) for n in self._names}
        self._rng = rng if rng is not None else np.random.default_rng(0)
        self._last: NDArray[np.uint8] | None = None
        self._rigid: dict[str, RigidTrack] = {}
        self._planar: dict[str, PlanarTrack] = {}
        self._to_task = np.eye(4)
        self._defined = np.zeros(len(self._objects))

    @property
    def tracks(self) -> Mapping[str, RigidTrack]:
        """Object name -> its track; empty without a depth camera."""
        return self._rigid

    @property
    def definition_spread(self) -> NDArray[np.float64]:
        """(N,) metres: the part of the uncertainty that a keypoint has from how it was defined."""
        return self._defined

    def start(
        self,
        rgb: NDArray[np.uint8],
        depth: NDArray[np.float32] | None,
        keypoints_px: NDArray[np.float64] | None = None,
        points_in_task: NDArray[np.float64] | None = None,
        object_poses: Mapping[str, NDArray[np.float64]] | None = None,
        stamp: float = 0.0,
    ) -> KeypointFrame:
        """Begin anew in this image.

        Args:
            rgb: (H, W, 3) uint8.
            depth: (H, W) float32 metres, aligned, 0 = none; None tracks in pixels only.
            keypoints_px: (N, 2) pixels; needed unless `points_in_task` is given.
            points_in_task: (N, 3) metres; trusted as they are. Without them the pixels are lifted by depth.
            object_poses: name -> (4, 4) pose of each object frame now. By default the object frame is upright at the
                mean x, y of the object's keypoints, on the table (z = 0).

        Raises:
            TrackingError: wrong shapes, points outside the image, no depth at a keypoint, too little texture, no
            camera pose.
        """
        count = len(self._objects)
        self._check_image(rgb, depth)
        grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
        self._rigid, self._planar, self._last = {}, {}, None
        if keypoints_px is None and points_in_task is None:
            raise TrackingError("start needs keypoints_px (N, 2) or points_in_task (N, 3)")
        if keypoints_px is None:
            assert points_in_task is not None
            keypoints_px = self._camera.task_to_pixels(_shaped(points_in_task, (count, 3), "points_in_task"))
        pixels = _shaped(keypoints_px, (count, 2), "keypoints_px")
        inside = np.all((pixels >= 0) & (pixels <= [rgb.shape[1] - 1, rgb.shape[0] - 1]), axis=1)
        if not np.all(inside):
            bad = int(np.argmin(inside))
            raise TrackingError(f"keypoint {bad} of {self._objects[bad]} at pixel {pixels[bad]} is outside the image")
        if depth is None:
            self._planar = {n: PlanarTrack(grey, pixels[m]) for n, m in self._members.items()}
        else:
            points = None if points_in_task is None else _shaped(points_in_task, (count, 3), "points_in_task")
            self._start_rigid(grey, depth, pixels, points, object_poses or {}, stamp)
        self._last = grey
        return self._frame(stamp, depth)

    def step(self, rgb: NDArray[np.uint8], depth: NDArray[np.float32] | None, stamp: float) -> KeypointFrame:
        """Take the next image (H, W, 3) and, if started with depth, its depth (H, W).

        Raises:
            TrackingError: not started, or an image of another size or without depth.
        """
        if self._last is None:
            raise TrackingError("the tracker was not started; call start(rgb, depth, ...) first")
        self._check_image(rgb, depth)
        if (depth is None) != bool(self._planar):
            raise TrackingError("the tracker was started " + ("without depth" if self._planar else "with depth"))
        grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
        if depth is None:
            self._step_planar(grey)
        else:
            self._step_rigid(Image(grey, depth), stamp)
        self._last = grey
        return self._frame(stamp, depth)

    def _start_rigid(
        self,
        grey: NDArray[np.uint8],
        depth: NDArray[np.float32],
        pixels: NDArray[np.float64],
        given: NDArray[np.float64] | None,
        object_poses: Mapping[str, NDArray[np.float64]],
        stamp: float,
    ) -> None:
        if self._camera.transform_camera_to_task is None:
            raise TrackingError(
                "the camera's pose in the task frame is not known; give a calibration file or record /tf_static"
            )
        self._to_task = self._camera.transform_camera_to_task
        cloud = points_of_image(depth, self._camera)
        points = self._lifted(depth, pixels) if given is None else given
        away = np.linalg.norm(points - self._to_task[:3, 3], axis=1)
        across = _CLICK / self._camera.matrix[0, 0] * away
        self._defined = np.hypot(across, depth_noise(away)) if given is None else across
        masks = object_masks(depth, cloud, pixels, points, self._objects)
        hulls: dict[str, Hull] = {}
        for name, mask in masks.items():
            surface = cloud[mask]
            if len(surface) < 60:
                raise TrackingError(
                    f"around the keypoints of {name} only {len(surface)} pixels have depth above the table; "
                    "are the keypoints on the object, and is the camera's pose right?"
                )
            hulls[name] = upright_hull(surface, self._to_task[:3, 3])
        for name, members in self._members.items():
            x, y = points[members, :2].mean(axis=0)
            standing = geometry.yaw_pose(x, y, 0.0, base_height(name, hulls))
            rest = np.array(object_poses.get(name, standing), dtype=np.float64)
            self._rigid[name] = self._new_track(
                grey, cloud, masks[name], hulls[name], rest, pixels[members], points[members], stamp
            )

    def _new_track(
        self,
        grey: NDArray[np.uint8],
        cloud: NDArray[np.float64],
        mask: NDArray[np.bool_],
        hull: Hull,
        rest: NDArray[np.float64],
        pixels: NDArray[np.float64],
        points: NDArray[np.float64],
        stamp: float,
    ) -> RigidTrack:
        to_object = geometry.inverse(rest)
        features = find_features(grey, mask, TARGET_SUPPORT, pixels)
        index = np.round(features).astype(int)
        lifted = cloud[index[:, 1], index[:, 0]]
        good = np.all(np.isfinite(lifted), axis=1)
        anchors = np.concatenate([pixels, features[good]])
        in_object = geometry.transform_points(to_object, np.concatenate([points, lifted[good]]))
        landmarks = _landmarks(grey, mask, cloud, to_object)
        pose = geometry.inverse(self._to_task) @ rest
        track = RigidTrack(
            self._camera.matrix,
            hull,
            rest,
            Support(len(pixels)),
            pose,
            stamp,
            landmarks,
            in_object.mean(axis=0),
            self._rng,
        )
        cloud_in_object = geometry.transform_points(to_object, cloud.reshape(-1, 3)).reshape(cloud.shape)
        track.define(grey, anchors, in_object, cloud_in_object, anchors)
        return track

    def _lifted(self, depth: NDArray[np.float32], pixels: NDArray[np.float64]) -> NDArray[np.float64]:
        windows = np.sort(depth_windows(depth, pixels, 2), axis=1)
        # At an edge the window holds two surfaces; a keypoint is on the nearer one.
        count = np.sum(np.isfinite(windows), axis=1)
        if np.any(count < 3):
            bad = int(np.argmin(count))
            u, v = pixels[bad]
            raise TrackingError(
                f"keypoint {bad} of {self._objects[bad]} at pixel ({u:.0f}, {v:.0f}) has no depth; click it elsewhere"
            )
        near = windows[np.arange(len(windows)), count // 5]
        nearby = np.where(windows < near[:, None] + 0.015, windows, np.nan)
        return self._camera.pixels_to_task(pixels, np.nanmedian(nearby, axis=1))

    def _step_rigid(self, image: Image, stamp: float) -> None:
        assert self._last is not None
        waiting = []
        for track in self._rigid.values():
            guess = track.predicted_pose(stamp)
            if track.follow(image, stamp, guess):
                track.replenish(image)
            else:
                waiting.append((track, guess))
        if not waiting:
            return
        tracks, predicted = zip(*waiting, strict=True)
        chosen, guesses = zip(*(t.flow_points(p) for t, p in zip(tracks, predicted, strict=True)), strict=True)
        last = [t.last_pixels(c) for t, c in zip(tracks, chosen, strict=True)]
        flowed, found = flow.track(self._last, image.grey, np.concatenate(last), np.concatenate(guesses))
        ends = np.cumsum([len(c) for c in chosen])[:-1]
        for track, guess, index, moved, ok in zip(
            tracks, predicted, chosen, np.split(flowed, ends), np.split(found, ends), strict=True
        ):
            track.update(image, stamp, guess, index, moved, ok)
            track.replenish(image)

    def _step_planar(self, grey: NDArray[np.uint8]) -> None:
        assert self._last is not None
        for track in self._planar.values():
            chosen, last, guess = track.flow_points()
            flowed, found = flow.track(self._last, grey, last, guess)
            back, returned = flow.track(grey, self._last, flowed, last)
            found &= returned & (np.linalg.norm(back - last, axis=1) < 1.5)
            track.update(grey, chosen, flowed, found)

    def _frame(self, stamp: float, depth: NDArray[np.float32] | None) -> KeypointFrame:
        count = len(self._objects)
        points, pixels = np.full((count, 3), np.nan), np.full((count, 2), np.nan)
        states, confidence, uncertainty = np.zeros(count, np.uint8), np.zeros(count), np.full(count, np.nan)
        poses = {}
        for name, members in self._members.items():
            if depth is None:
                planar = self._planar[name]
                pixels[members], visible = planar.keypoints()
                lost, trust = planar.lost, planar.confidence
            else:
                track = self._rigid[name]
                in_camera, pixels[members], visible = track.keypoints(depth)
                points[members] = geometry.transform_points(self._to_task, in_camera)
                poses[name] = self._to_task @ track.pose
                lost, trust = track.lost, track.confidence
                spread = np.hypot(self._defined[members], track.spread(in_camera))
                uncertainty[members] = np.where(visible, 1.0, FILLED_DOUBT) * spread
            if not lost:
                states[members] = np.where(visible, KeypointState.VISIBLE, KeypointState.FILLED)
                confidence[members] = trust * np.where(visible, 1.0, FILLED_TRUST)
        return KeypointFrame(stamp, points, states, pixels, poses, confidence, uncertainty)

    def _check_image(self, rgb: NDArray[np.uint8], depth: NDArray[np.float32] | None) -> None:
        size = (self._camera.height, self._camera.width)
        if rgb.shape != (*size, 3) or rgb.dtype != np.uint8:
            raise TrackingError(f"images must be {(*size, 3)} uint8, as the camera says; got {rgb.shape} {rgb.dtype}")
        if depth is not None and depth.shape != size:
            raise TrackingError(f"depth must be {size}, aligned to the colour image; got {depth.shape}")


def _landmarks(
    grey: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    cloud: NDArray[np.float64],
    to_object: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    keys, described = cv2.SIFT_create(300).detectAndCompute(grey, mask.astype(np.uint8))
    if described is None:
        return np.zeros((0, 3)), np.zeros((0, 128), np.float32)
    index = np.round([key.pt for key in keys]).astype(int)
    points = geometry.transform_points(to_object, cloud[index[:, 1], index[:, 0]])
    good = np.all(np.isfinite(points), axis=1)
    return points[good], described[good]


def _shaped(value: NDArray[np.float64], shape: tuple[int, ...], name: str) -> NDArray[np.float64]:
    array = np.array(value, dtype=np.float64)
    if array.shape != shape or not np.all(np.isfinite(array)):
        raise TrackingError(f"{name} must be finite with shape {shape}; got {array.shape}")
    return array
