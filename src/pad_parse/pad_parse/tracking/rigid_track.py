"""One rigid object followed through RGB-D images."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pad_parse import geometry
from pad_parse.tracking import anchors
from pad_parse.tracking.depth_window import depth_windows, median_depth
from pad_parse.tracking.object_mask import Hull
from pad_parse.tracking.rigid_groups import PoseFit, fit_pose, fit_pose_from_scratch
from pad_parse.tracking.support import Support, View, find_features, surface_normals

TARGET_SUPPORT = 36
"""Number of support features that are looked for on an object."""
_MOST_SUPPORT = 80
_LEAST_SEEN = 6
"""Fewer agreeing points than this do not carry a pose."""
_AGREEMENT = 0.7
_OCCLUDED = 0.015
"""Something this much (m) in front of a point hides it."""
_AT_ITS_PLACE = 0.008
_STEADY = 0.7
"""With this share of the points that were seen last, the prediction was good enough."""
_REACH = 7.0
"""Refined pixels further than this from the prediction are no match."""
_WEAK_FRAMES = 12
"""So many frames in a row may rest on frame-to-frame flow alone."""
_DRIFT = 0.001
"""Error (m) that each image adds which rests on flow alone."""
_REPLENISH_EVERY = 4
_SEARCH_EVERY = 4
_SEARCH_MARGIN = 110
_SEARCH_GROWTH = 15
"""The search begins around the last place (px) and widens with every image (px)."""
_MOST_STEP = (0.25, 1.2)
"""A pose change beyond (m, rad) between two images is not believed."""


@dataclass(frozen=True, eq=False)
class Image:
    """What all objects need from one image: grey (H, W) and depth (H, W) in metres."""

    grey: NDArray[np.uint8]
    depth: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class _Found:
    """Points that were found by their patches: `compared` (m,) and `kept` (k,) indices, pixels (k, 2), and the pose."""

    compared: NDArray[np.intp]
    kept: NDArray[np.intp]
    pixels: NDArray[np.float64]
    fit: PoseFit

    @property
    def count(self) -> int:
        return int(np.count_nonzero(self.fit.inliers))


class RigidTrack:
    """Follows one object; poses are object frame -> optical frame.

    Each image: from the constant-velocity prediction all points that face the camera are compared with the patch they
    were defined by, warped to that pose, which removes drift; the pose rests on those that agree. Where the prediction
    was not good enough, optical flow from the last image and a robust pose from it give a better one to start from.
    With too few points the object is lost: its pose is held and it is searched for.
    """

    def __init__(
        self,
        matrix: NDArray[np.float64],
        hull: Hull,
        rest: NDArray[np.float64],
        support: Support,
        pose: NDArray[np.float64],
        stamp: float,
        landmarks: tuple[NDArray[np.float64], NDArray[np.float32]],
        centre: NDArray[np.float64],
        rng: np.random.Generator,
    ) -> None:
        """Begin; support is then given by `define`.

        Args:
            matrix: (3, 3) intrinsics.
            hull: of the object as it stands at the start, task frame.
            rest: (4, 4) object frame -> task frame at the start.
            pose: (4, 4) object frame -> optical frame at the start.
            landmarks: points (k, 3) in the object frame and their SIFT descriptors (k, 128), for finding it again.
            centre: (3,) middle of the object, object frame.
        """
        self._matrix = matrix
        self._hull, self._rest = hull, rest
        self.support = support
        self.pose = pose.copy()
        self.lost = False
        self.confidence = 1.0
        self.seen = np.zeros(0, bool)
        self._pixels = np.zeros((0, 2))
        self._linear = np.zeros(3)
        self._angular = np.zeros(3)
        self._stamp = stamp
        self._weak = 0
        self._fit: PoseFit | None = None
        self._frames = 0
        self._frames_lost = 0
        self._last_replenished = 0
        self._rng = rng
        self._landmarks = landmarks
        self._centre = centre

    def predicted_pose(self, stamp: float) -> NDArray[np.float64]:
        """Where the object would be at `stamp` with constant velocity."""
        dt = float(np.clip(stamp - self._stamp, 0.0, 0.2))
        if self.lost:
            return self.pose
        return _moved(self.pose, self._at(self.pose), self._angular * dt, self._linear * dt)

    def flow_points(self, predicted: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """Indices of the points to follow by flow (m,), and a guess of where they go (m, 2)."""
        chosen = np.flatnonzero(self.seen)
        shift = self._project(predicted, chosen) - self._project(self.pose, chosen)
        return chosen, self._pixels[chosen] + np.nan_to_num(shift)

    def last_pixels(self, chosen: NDArray[np.intp]) -> NDArray[np.float64]:
        """Pixels (m, 2) of the chosen points in the last image."""
        return self._pixels[chosen]

    def follow(self, image: Image, stamp: float, predicted: NDArray[np.float64]) -> bool:
        """Take one image if the prediction leads to nearly all points that were seen last; else change nothing."""
        if self.lost or self._weak:
            return False
        found = self._found(image, predicted)
        if found is None or found.count < _STEADY * np.count_nonzero(self.seen):
            return False
        if not self._plausible(found.fit.pose, stamp):
            return False
        self._frames += 1
        self._adopt(found, predicted, stamp)
        return True

    def update(
        self,
        image: Image,
        stamp: float,
        predicted: NDArray[np.float64],
        chosen: NDArray[np.intp],
        flowed: NDArray[np.float64],
        found: NDArray[np.bool_],
    ) -> None:
        """Take one image: `flowed` (m, 2) px and `found` (m,) say where the `chosen` points went."""
        self._frames += 1
        coarse = None if self.lost else self._coarse(image, predicted, chosen[found], flowed[found])
        best = self._found(image, predicted if coarse is None else coarse.pose)
        if coarse is not None:
            other = self._found(image, predicted)
            if best is None or (other is not None and other.count > best.count):
                best = other
        if best is None and self.lost:
            self._frames_lost += 1
            if self._frames_lost % _SEARCH_EVERY == 1:
                searched = self._search(image)
                best = None if searched is None else self._found(image, searched)
        if best is not None and (self.lost or self._plausible(best.fit.pose, stamp)):
            self._adopt(best, predicted, stamp)
        elif (
            coarse is not None
            and self._weak < _WEAK_FRAMES
            and np.count_nonzero(coarse.inliers) >= _LEAST_SEEN
            and np.mean(coarse.inliers) > 0.6
            and self._plausible(coarse.pose, stamp)
        ):
            self._weak, self._fit = self._weak + 1, coarse
            self._accept(coarse.pose, predicted, stamp)
            self.seen = np.zeros(len(self.support), bool)
            self.seen[chosen[found][coarse.inliers]] = True
            self._pixels[chosen[found]] = flowed[found]
            self.confidence = 0.3
        else:
            self._lose(stamp)

    def _adopt(self, found: _Found, predicted: NDArray[np.float64], stamp: float) -> None:
        fit = found.fit
        self.seen = np.zeros(len(self.support), bool)
        self.seen[found.kept[fit.inliers]] = True
        self._pixels = self._project(fit.pose, np.arange(len(self.support)))
        self._pixels[found.kept] = found.pixels
        self.support.misses[found.compared] += 1
        self.support.misses[self.seen] = 0
        self._accept(fit.pose, predicted, stamp)
        self._weak, self._fit = 0, fit
        expected = max(_LEAST_SEEN, 0.5 * np.count_nonzero(self.support.facing(self.pose)))
        self.confidence = float(np.clip(np.count_nonzero(self.seen) / expected, 0.0, 1.0))

    def replenish(self, image: Image) -> None:
        """Define new support features where the object has turned a new side to the camera."""
        self._forget_useless()
        if self.lost or self._weak or self._frames - self._last_replenished < _REPLENISH_EVERY:
            return
        seen = np.count_nonzero(self.seen)
        if seen >= 0.55 * TARGET_SUPPORT or seen < _LEAST_SEEN + 2 or len(self.support) >= _MOST_SUPPORT:
            return
        self._last_replenished = self._frames
        window = self._window(image.grey.shape)
        if window is None:
            return
        depth = image.depth[window]
        v, u = np.mgrid[window]
        pixels = np.stack([u, v], -1).reshape(-1, 2)
        cloud = geometry.unproject(pixels, depth.reshape(-1), self._matrix).reshape(*depth.shape, 3)
        in_object = geometry.transform_points(geometry.inverse(self.pose), cloud.reshape(-1, 3)).reshape(cloud.shape)
        at_rest = geometry.transform_points(self._rest, in_object.reshape(-1, 3)).reshape(cloud.shape)
        mask = self._hull.contains(at_rest, margin=0.004) & ~_depth_steps(depth)
        corner = np.array([window[1].start, window[0].start])
        visible = self._project(self.pose, np.flatnonzero(self.seen)) - corner
        features = find_features(image.grey[window], mask, int(TARGET_SUPPORT - seen), visible)
        if len(features) < 3:
            return
        index = np.round(features).astype(int)
        points = in_object[index[:, 1], index[:, 0]]
        good = np.all(np.isfinite(points), axis=1)
        self.define(image.grey, features[good] + corner, points[good], in_object, features[good])

    def define(
        self,
        grey: NDArray[np.uint8],
        pixels: NDArray[np.float64],
        points: NDArray[np.float64],
        cloud: NDArray[np.float64],
        cloud_pixels: NDArray[np.float64],
    ) -> None:
        """Add support at `pixels` (m, 2) of the image, with object-frame points (m, 3); `cloud` (h, w, 3)
        gives the normals.
        """
        towards = geometry.inverse(self.pose)[:3, 3] - points
        towards /= np.linalg.norm(towards, axis=1, keepdims=True)
        self.support.add(View(grey, self.pose.copy()), points, surface_normals(cloud, cloud_pixels, towards), pixels)
        self.seen = np.concatenate([self.seen, np.ones(len(points), bool)])
        self._pixels = np.concatenate([self._pixels, pixels])

    def keypoints(
        self, depth: NDArray[np.float32]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
        """Keypoints now: optical-frame points (n, 3), pixels (n, 2), and whether each is seen at its place (n,)."""
        count = self.support.keypoint_count
        points = geometry.transform_points(self.pose, self.support.points[:count])
        pixels = geometry.project(points, self._matrix)
        windows = depth_windows(depth, pixels, 1)
        with np.errstate(invalid="ignore"):
            close = np.any(np.abs(windows - points[:, 2:]) < _AT_ITS_PLACE, axis=1)
        visible = self.seen[:count] | (close & self.support.facing(self.pose)[:count])
        return points, pixels, np.asarray(visible & (not self.lost))

    def spread(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Standard deviation (n,) m of points (n, 3) of the optical frame, from that of the pose; inf where lost."""
        if self.lost:
            return np.full(len(points), np.inf)
        if self._fit is None:
            return np.zeros(len(points))
        return self._fit.spread(points) + _DRIFT * self._weak

    def _coarse(
        self,
        image: Image,
        predicted: NDArray[np.float64],
        chosen: NDArray[np.intp],
        flowed: NDArray[np.float64],
    ) -> PoseFit | None:
        if len(chosen) < 4:
            return None
        points = self.support.points[chosen]
        depth = median_depth(image.depth, flowed, 1)
        fit = fit_pose(points, flowed, depth, self._matrix, predicted)
        if np.mean(fit.inliers) < 0.55:
            lifted = geometry.unproject(flowed, depth, self._matrix)
            scratch = fit_pose_from_scratch(points, lifted, self._rng)
            if scratch is not None:
                other = fit_pose(points, flowed, depth, self._matrix, scratch[0])
                if np.count_nonzero(other.inliers) > np.count_nonzero(fit.inliers):
                    fit = other
        return fit if np.count_nonzero(fit.inliers) >= 4 else None

    def _found(self, image: Image, start: NDArray[np.float64]) -> _Found | None:
        """Pose from the anchored patches around `start`, if enough of them agree."""
        pose, found = start, None
        support = self.support
        for _ in range(2):
            p = geometry.transform_points(pose, support.points)
            pixels = geometry.project(p, self._matrix)
            chosen = np.flatnonzero(support.facing(pose) & ~_hidden(image.depth, pixels, p[:, 2]))
            warps = support.warps(pose, self._matrix, chosen)
            fine = anchors.comparable(warps)
            chosen, warps = chosen[fine], warps[fine]
            if chosen.size < _LEAST_SEEN:
                return None
            refined, score = anchors.compare(support.patches(chosen, warps), image.grey, pixels[chosen])
            agrees = (score > _AGREEMENT) & (np.linalg.norm(refined - pixels[chosen], axis=1) < _REACH)
            if np.count_nonzero(agrees) < _LEAST_SEEN:
                return None
            kept, refined = chosen[agrees], refined[agrees]
            depth = median_depth(image.depth, refined, 1)
            fit = fit_pose(support.points[kept], refined, depth, self._matrix, pose, tolerance=2.0, reach=_REACH)
            if np.count_nonzero(fit.inliers) < max(_LEAST_SEEN, 0.4 * kept.size):
                return None
            found = _Found(chosen, kept, refined, fit)
            moved = self._project(fit.pose, kept)
            pose = fit.pose
            if np.nanmax(np.linalg.norm(moved - pixels[kept], axis=1)) < 2.5:
                break
        return found

    def _plausible(self, pose: NDArray[np.float64], stamp: float) -> bool:
        shift, turn = self._between(self.pose, pose)
        scale = max(1.0, (stamp - self._stamp) / 0.1)
        return bool(
            np.linalg.norm(shift) < _MOST_STEP[0] * scale and np.linalg.norm(turn) < min(_MOST_STEP[1] * scale, np.pi)
        )

    def _accept(self, pose: NDArray[np.float64], predicted: NDArray[np.float64], stamp: float) -> None:
        if self.lost:
            self._linear[:], self._angular[:] = 0.0, 0.0
        else:
            # Small differences to the prediction are mostly noise, large ones are motion.
            shift, turn = self._between(predicted, pose)
            surprise = float(np.linalg.norm(shift) + 0.05 * np.linalg.norm(turn))
            share = float(np.clip(0.4 + surprise / 0.004, 0.0, 1.0))
            pose = _moved(predicted, self._at(predicted), share * turn, share * shift)
            dt = max(stamp - self._stamp, 1e-3)
            shift, turn = self._between(self.pose, pose)
            self._linear += 0.6 * (shift / dt - self._linear)
            self._angular += 0.6 * (turn / dt - self._angular)
        self.pose = pose
        self.lost = False
        self._frames_lost = 0
        self._stamp = stamp

    def _at(self, pose: NDArray[np.float64]) -> NDArray[np.float64]:
        """(3,) where the object's middle is."""
        return np.asarray(pose[:3, :3] @ self._centre + pose[:3, 3])

    def _between(
        self, a: NDArray[np.float64], b: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Shift (3,) of the object's middle and rotation vector (3,) that lead from pose a to b."""
        return self._at(b) - self._at(a), cv2.Rodrigues(b[:3, :3] @ a[:3, :3].T)[0][:, 0]

    def _lose(self, stamp: float) -> None:
        self.lost = True
        self.confidence = 0.0
        self.seen = np.zeros(len(self.support), bool)
        self._linear[:], self._angular[:] = 0.0, 0.0
        self._stamp = stamp
        self._weak = 0

    def _search(self, image: Image) -> NDArray[np.float64] | None:
        """Pose of the lost object from local features near its last place, or None."""
        window = self._window(image.grey.shape, _SEARCH_MARGIN + _SEARCH_GROWTH * self._frames_lost)
        if window is None:
            return None
        known_points, known = self._landmarks
        keys, described = cv2.SIFT_create(400).detectAndCompute(image.grey[window], None)
        if described is None or len(keys) < 4 or len(known) < 4:
            return None
        matches = cv2.BFMatcher().knnMatch(known, described, k=2)
        pairs = [m[0] for m in matches if len(m) == 2 and m[0].distance < 0.85 * m[1].distance]
        if len(pairs) < 4:
            return None
        pixels = np.array([keys[m.trainIdx].pt for m in pairs]) + [window[1].start, window[0].start]
        points = known_points[[m.queryIdx for m in pairs]]
        measured = geometry.unproject(pixels, median_depth(image.depth, pixels, 1), self._matrix)
        result = fit_pose_from_scratch(points, measured, self._rng, trials=200)
        return None if result is None else result[0]

    def _forget_useless(self) -> None:
        if len(self.support) < _MOST_SUPPORT * 0.8:
            return
        useless = (self.support.misses > 20) & (self.support.view > 0)
        if np.any(useless):
            useless[: self.support.keypoint_count] = False
            self.support.drop(useless)
            self.seen, self._pixels = self.seen[~useless], self._pixels[~useless]

    def _window(self, shape: tuple[int, ...], margin: int = 4) -> tuple[slice, slice] | None:
        """The image region (rows, columns) that the object covers at its current pose."""
        h = self._hull
        angle = np.linspace(0, 2 * np.pi, 8, endpoint=False)
        ring = np.stack([h.x + h.radius * np.cos(angle), h.y + h.radius * np.sin(angle)], 1)
        corners = np.concatenate([np.c_[ring, np.full(8, h.bottom)], np.c_[ring, np.full(8, h.top)]])
        in_object = geometry.transform_points(geometry.inverse(self._rest), corners)
        pixels = geometry.project(geometry.transform_points(self.pose, in_object), self._matrix)
        if not np.all(np.isfinite(pixels)):
            return None
        low = np.clip(np.floor(pixels.min(axis=0)).astype(int) - margin, 0, [shape[1], shape[0]])
        high = np.clip(np.ceil(pixels.max(axis=0)).astype(int) + margin, 0, [shape[1], shape[0]])
        if np.any(high - low < 16):
            return None
        return slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))

    def _project(self, pose: NDArray[np.float64], chosen: NDArray[np.intp]) -> NDArray[np.float64]:
        return geometry.project(geometry.transform_points(pose, self.support.points[chosen]), self._matrix)


def _hidden(depth: NDArray[np.float32], pixels: NDArray[np.float64], z: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(M,) bool: something is in front of points at `pixels` (M, 2) and depth z (M,)."""
    # The farthest sample of a small window: a neighbouring edge in front hides nothing yet.
    farthest = np.fmax.reduce(depth_windows(depth, pixels, 1), axis=1)
    with np.errstate(invalid="ignore"):
        return np.asarray(farthest < z - _OCCLUDED)


def _moved(
    pose: NDArray[np.float64],
    centre: NDArray[np.float64],
    angle: NDArray[np.float64],
    shift: NDArray[np.float64],
) -> NDArray[np.float64]:
    rotation = cv2.Rodrigues(angle)[0]
    moved = np.eye(4)
    moved[:3, :3] = rotation @ pose[:3, :3]
    moved[:3, 3] = rotation @ (pose[:3, 3] - centre) + centre + shift
    return moved


def _depth_steps(depth: NDArray[np.float32], limit: float = 0.02) -> NDArray[np.bool_]:
    kernel = np.ones((3, 3), np.uint8)
    return np.asarray(cv2.dilate(depth, kernel) - cv2.erode(depth, kernel) > limit)
