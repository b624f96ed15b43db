"""What the reference image says about one object: its shape, its colours, its features and patches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pad_parse import geometry
from pad_parse.camera import Camera
from pad_parse.demonstration import Reference
from pad_parse.errors import LocalisationError
from pad_parse.localisation.upright_shape import UprightShape, upright_shape
from pad_parse.tracking.object_mask import Hull, object_masks, points_of_image, upright_hull
from pad_parse.tracking.support import Support, View, find_features, surface_normals

_PATCHES = 48
_LEAST_SURFACE = 60


@dataclass(frozen=True, eq=False)
class ObjectModel:
    """One object in the reference image; points in the task frame of that image.

    Attributes:
        hull: the upright cylinder around it.
        shape: its outline; None if too little is seen.
        colours: its hue-saturation histogram, see `colour_histogram`.
        landmarks: (k, 3) points of its local features.
        descriptors: (k, 128) of these.
        support: patches with their points and normals; no keypoints among them.
        camera: of the reference image.
    """

    hull: Hull
    shape: UprightShape | None
    colours: NDArray[np.float32]
    landmarks: NDArray[np.float64]
    descriptors: NDArray[np.float32]
    support: Support
    camera: Camera


def build_models(reference: Reference, keypoint_objects: list[str]) -> dict[str, ObjectModel]:
    """A model of every object that carries a keypoint.

    Raises:
        LocalisationError: the reference has no depth or no camera pose, or an object cannot be cut out of it.
    """
    camera = reference.camera
    if reference.depth is None or camera.transform_camera_to_task is None:
        raise LocalisationError(
            "the demonstration's reference image has no depth or no camera pose, so its objects cannot be "
            "found by shape; use a demonstration from an RGB-D recording"
        )
    grey = cv2.cvtColor(reference.rgb, cv2.COLOR_RGB2GRAY)
    cloud = points_of_image(reference.depth, camera)
    models = {}
    masks = object_masks(reference.depth, cloud, reference.keypoint_pixels, reference.points_in_task, keypoint_objects)
    for name, mask in masks.items():
        if np.count_nonzero(mask) < _LEAST_SURFACE:
            raise LocalisationError(
                f"{name} cannot be cut out of the reference image: only {np.count_nonzero(mask)} of its "
                "pixels have depth above the table; annotate the recording again"
            )
        models[name] = _build(reference.rgb, grey, cloud, mask, camera)
    return models


def pile_shape(reference: Reference, keypoint_objects: Sequence[str], piled: Sequence[str]) -> UprightShape | None:
    """The shape of objects that stand on or in one another, taken together; None where too little is seen.

    `reference` has depth and a camera pose, as for `build_models`.
    """
    camera = reference.camera
    assert reference.depth is not None and camera.transform_camera_to_task is not None
    cloud = points_of_image(reference.depth, camera)
    masks = object_masks(reference.depth, cloud, reference.keypoint_pixels, reference.points_in_task, keypoint_objects)
    together = np.any([masks[name] for name in piled], axis=0)
    return upright_shape(cloud, together, camera.transform_camera_to_task[:3, 3])


def colour_histogram(rgb: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Hue-saturation histogram (16, 6), sum 1, of the pixels in `mask` (H, W)."""
    hsv = cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV)
    histogram = cv2.calcHist([hsv], [0, 1], mask.astype(np.uint8), [16, 6], [0, 180, 0, 256])
    return np.asarray(histogram / max(float(histogram.sum()), 1.0), dtype=np.float32)


def _build(
    rgb: NDArray[np.uint8],
    grey: NDArray[np.uint8],
    cloud: NDArray[np.float64],
    mask: NDArray[np.bool_],
    camera: Camera,
) -> ObjectModel:
    pose = camera.transform_camera_to_task
    assert pose is not None
    keys, described = cv2.SIFT_create(500, contrastThreshold=0.02).detectAndCompute(grey, mask.astype(np.uint8))
    landmarks, descriptors = np.zeros((0, 3)), np.zeros((0, 128), np.float32)
    if described is not None:
        index = np.round([key.pt for key in keys]).astype(int)
        landmarks = cloud[index[:, 1], index[:, 0]]
        known = np.all(np.isfinite(landmarks), axis=1)
        landmarks, descriptors = landmarks[known], described[known]
    pixels = find_features(grey, mask, _PATCHES, np.zeros((0, 2)))
    index = np.round(pixels).astype(int)
    points = cloud[index[:, 1], index[:, 0]]
    known = np.all(np.isfinite(points), axis=1)
    pixels, points = pixels[known], points[known]
    towards = pose[:3, 3] - points
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    support = Support(0)
    support.add(View(grey, geometry.inverse(pose)), points, surface_normals(cloud, pixels, towards), pixels)
    return ObjectModel(
        hull=upright_hull(cloud[mask], pose[:3, 3]),
        shape=upright_shape(cloud, mask, pose[:3, 3]),
        colours=colour_histogram(rgb, mask),
        landmarks=landmarks,
        descriptors=descriptors,
        support=support,
        camera=camera,
    )
