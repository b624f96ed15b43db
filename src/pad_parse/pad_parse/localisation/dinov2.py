"""Find keypoints by learned dense correspondence: each patch of an object looks like its counterpart elsewhere."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pad_parse import geometry
from pad_parse.camera import Camera
from pad_parse.demonstration import Reference
from pad_parse.errors import LocalisationError
from pad_parse.localisation.dense_features import DenseFeatures, Dinov2Features
from pad_parse.localisation.hypotheses import prepare_scene
from pad_parse.localisation.localisation import CONFIDENCE_LIMIT, Localisation
from pad_parse.localisation.localiser import check_images, refuse_weak
from pad_parse.localisation.upright_shape import standing_surfaces
from pad_parse.tracking.object_mask import object_masks, points_of_image

_SIDE = 28
"""Patches along the longer side of a cut-out."""
_MARGIN = 0.25
_TOLERANCE = 0.015
_TRIALS = 300
_LEAST_PAIRS = 8
_STRETCH = (0.6, 1.7)
_CLEAR_LEAD = 0.05


@dataclass(frozen=True, eq=False)
class _Patches:
    """What is known of an object's patches: descriptors (n, d), and points (n, 3) in the task frame."""

    descriptors: NDArray[np.float32]
    points: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Stretch:
    """Upright similarity: turn and scale in the plane, scale of the height, shift on the table."""

    turn: NDArray[np.float64]
    before: NDArray[np.float64]
    after: NDArray[np.float64]
    wide: float
    tall: float

    def apply(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        level = (points[:, :2] - self.before) @ self.turn.T * self.wide + self.after
        return np.column_stack([level, points[:, 2] * self.tall])


class Dinov2Localiser:
    """Finds the keypoints of one demonstration on the same objects or on others of their kind.

    On each thing that stands on the table, the patches that are each other's best counterpart of the object's are
    brought to agreement by an upright move that may stretch width and height; the thing on which most agree is the
    object. The confidence is the share of the object's patches that agree there, times their likeness, less where
    another thing comes near it.
    """

    def __init__(
        self,
        reference: Reference,
        keypoint_objects: Sequence[str],
        *,
        checkpoint: str | os.PathLike[str] | None = None,
        features: DenseFeatures | None = None,
    ) -> None:
        """Take the demonstration's annotated first frame, with depth, and the object of each of its N keypoints.

        checkpoint: folder of a DINOv2 checkpoint, see `Dinov2Features`. features: these instead.

        Raises:
            LocalisationError: neither or both are given, they cannot be used, or the reference cannot.
        """
        if (checkpoint is None) == (features is None):
            raise LocalisationError("the dinov2 localiser needs a checkpoint folder; give checkpoint=DIR")
        if features is None:
            assert checkpoint is not None
            features = Dinov2Features(checkpoint)
        self._features: DenseFeatures = features
        camera = reference.camera
        if reference.depth is None or camera.transform_camera_to_task is None:
            raise LocalisationError("the demonstration's reference image has no depth or no camera pose")
        self._objects, self._points = list(keypoint_objects), reference.points_in_task
        if len(self._objects) != len(self._points):
            raise LocalisationError(
                f"{len(self._objects)} keypoint objects are given, the reference has {len(self._points)} keypoints"
            )
        cloud = points_of_image(reference.depth, camera)
        self._known: dict[str, _Patches] = {}
        masks = object_masks(reference.depth, cloud, reference.keypoint_pixels, reference.points_in_task, self._objects)
        for name, mask in masks.items():
            known = self._patches(reference.rgb, cloud, mask)
            if known is None or len(known.points) < _LEAST_PAIRS:
                raise LocalisationError(
                    f"{name} cannot be cut out of the reference image; annotate the recording again"
                )
            self._known[name] = known

    def localise(
        self,
        rgb: NDArray[np.uint8],
        depth: NDArray[np.float32],
        camera: Camera,
        *,
        limit: float = CONFIDENCE_LIMIT,
    ) -> Localisation:
        """Find the keypoints; see `KeypointLocaliser`."""
        check_images(rgb, depth, camera)
        scene = prepare_scene(rgb, depth, camera)
        masks = standing_surfaces(scene.cloud, scene.above, depth)
        things = [p for mask in masks if (p := self._patches(rgb, scene.cloud, mask)) is not None]
        rng = np.random.default_rng(0)
        points = np.full((len(self._objects), 3), np.nan)
        moves, confidence = {}, {}
        for name, known in self._known.items():
            results = sorted((_match(known, thing, rng) for thing in things), key=lambda item: -item[1])
            stretch, value = results[0] if results else (None, 0.0)
            rival = results[1][1] if len(results) > 1 else 0.0
            confidence[name] = value * float(np.clip((value - rival) / _CLEAR_LEAD, 0.0, 1.0))
            moves[name] = np.eye(4)
            if stretch is not None:
                members = np.array([o == name for o in self._objects])
                points[members] = stretch.apply(self._points[members])
                moves[name][:2, :2] = stretch.turn
                moves[name][:2, 3] = stretch.after - stretch.turn @ stretch.before
        refuse_weak(confidence, limit, "is the object in view, upright and unhidden?")
        return Localisation(points, moves, confidence)

    def _patches(self, rgb: NDArray[np.uint8], cloud: NDArray[np.float64], mask: NDArray[np.bool_]) -> _Patches | None:
        """The patches of what `mask` (H, W) covers, seen in a square cut-out that it fills."""
        v, u = np.nonzero(mask)
        if not len(u):
            return None
        side = (1 + _MARGIN) * max(float(np.ptp(u)), float(np.ptp(v)), 8.0)
        size = _SIDE * self._features.patch
        scale = size / side
        low = np.array([(u.min() + u.max() - side) / 2, (v.min() + v.max() - side) / 2])
        placed = np.array([[scale, 0.0, -scale * low[0]], [0.0, scale, -scale * low[1]]])
        cut = cv2.warpAffine(rgb, placed, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        described = self._features.describe(np.asarray(cut, np.uint8))
        step = (np.arange(_SIDE) + 0.5) * self._features.patch / scale
        grid_v, grid_u = np.meshgrid(
            np.round(step + low[1]).astype(int), np.round(step + low[0]).astype(int), indexing="ij"
        )
        inside = (grid_u >= 0) & (grid_v >= 0) & (grid_u < mask.shape[1]) & (grid_v < mask.shape[0])
        grid_u, grid_v = np.where(inside, grid_u, 0), np.where(inside, grid_v, 0)
        points = cloud[grid_v, grid_u]
        chosen = inside & mask[grid_v, grid_u] & np.all(np.isfinite(points), axis=-1)
        return _Patches(described[chosen], points[chosen]) if chosen.any() else None


def _match(known: _Patches, thing: _Patches, rng: np.random.Generator) -> tuple[_Stretch | None, float]:
    """The stretch on which most mutual best counterparts agree, and the confidence [0, 1] that it is the object."""
    likeness = known.descriptors @ thing.descriptors.T
    forth, back = np.argmax(likeness, axis=1), np.argmax(likeness, axis=0)
    pairs = np.flatnonzero(back[forth] == np.arange(len(forth)))
    if len(pairs) < _LEAST_PAIRS:
        return None, 0.0
    before, after = known.points[pairs], thing.points[forth[pairs]]
    best: tuple[_Stretch | None, NDArray[np.float64]] = (None, np.zeros(len(pairs)))
    for _ in range(_TRIALS):
        sample = rng.choice(len(pairs), size=3, replace=False)
        best = _better(best, _fit(before[sample], after[sample]), before, after)
    for _ in range(3):
        if np.count_nonzero(best[1]) >= 3:
            best = _better(best, _fit(before[best[1] > 0], after[best[1] > 0]), before, after)
    stretch, agree = best[0], best[1] > 0
    if stretch is None or agree.sum() < _LEAST_PAIRS:
        return None, 0.0
    alike = float(np.mean(likeness[pairs, forth[pairs]][agree]))
    return stretch, max(alike, 0.0) * float(agree.sum() / len(pairs))


def _better(
    best: tuple[_Stretch | None, NDArray[np.float64]],
    candidate: _Stretch | None,
    before: NDArray[np.float64],
    after: NDArray[np.float64],
) -> tuple[_Stretch | None, NDArray[np.float64]]:
    """The one on which the pairs agree more: each counts 1 if exact, falling to 0 at the tolerance."""
    if candidate is None:
        return best
    error = np.linalg.norm(candidate.apply(before) - after, axis=1)
    agree = np.maximum(0.0, 1.0 - (error / _TOLERANCE) ** 2)
    return (candidate, agree) if agree.sum() > best[1].sum() else best


def _fit(before: NDArray[np.float64], after: NDArray[np.float64]) -> _Stretch | None:
    """Least squares; None if the points do not determine it or it stretches too much."""
    centre, there = before[:, :2].mean(axis=0), after[:, :2].mean(axis=0)
    p, q = before[:, :2] - centre, after[:, :2] - there
    spread, height = float(np.sum(p * p)), float(np.sum(before[:, 2] ** 2))
    if spread < 1e-5 or height < 1e-6:
        return None
    cosine, sine = float(np.sum(p * q)) / spread, float(np.sum(p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0])) / spread
    wide = float(np.hypot(cosine, sine))
    tall = float(np.sum(before[:, 2] * after[:, 2])) / height
    if not (_STRETCH[0] < wide < _STRETCH[1] and _STRETCH[0] < tall < _STRETCH[1]):
        return None
    turn = geometry.yaw_pose(0.0, 0.0, np.arctan2(sine, cosine))[:2, :2]
    return _Stretch(turn, centre, there, wide, tall)
