"""Find the named points of a demonstration in a new scene, on RGB-D, with a confidence and a refusal below it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pad_parse import geometry
from pad_parse.camera import Camera
from pad_parse.demonstration import Reference
from pad_parse.errors import LocalisationError
from pad_parse.localisation.hypotheses import Guess, Scene, from_features, from_shape, prepare_scene
from pad_parse.localisation.object_model import ObjectModel, build_models
from pad_parse.localisation.registration import Registration, register

CONFIDENCE_LIMIT = 0.5
"""Below this an object counts as not found."""

_ENOUGH_PATCHES = 12
_LEAST_PATCHES = 5
"""So many agreeing patches speak fully for a place; fewer than the least say nothing."""
_SHAPE_ONLY = 0.7
"""Shape and colours without a single patch say nothing about the angle: their confidence is scaled by this."""


@dataclass(frozen=True, eq=False)
class Localisation:
    """The keypoints in a new scene.

    Attributes:
        points_in_task: (N, 3) metres.
        object_transforms: name -> (4, 4), move of the object from the reference to the new scene, task frame.
        confidence: name -> [0, 1].
    """

    points_in_task: NDArray[np.float64]
    object_transforms: dict[str, NDArray[np.float64]]
    confidence: dict[str, float]


class Localiser:
    """Finds the keypoints of one demonstration; what the reference says is worked out once."""

    def __init__(self, reference: Reference, keypoint_objects: Sequence[str]) -> None:
        """Take the demonstration's annotated first frame, with depth, and the object of each of its N keypoints.

        Raises:
            LocalisationError: the reference cannot be used.
        """
        self._objects = list(keypoint_objects)
        self._points = reference.points_in_task
        if len(self._objects) != len(self._points):
            raise LocalisationError(
                f"{len(self._objects)} keypoint objects are given, the reference has {len(self._points)} keypoints"
            )
        self._models = build_models(reference, self._objects)

    def localise(
        self,
        rgb: NDArray[np.uint8],
        depth: NDArray[np.float32],
        camera: Camera,
        *,
        limit: float = CONFIDENCE_LIMIT,
        rng: np.random.Generator | None = None,
    ) -> Localisation:
        """Find the keypoints on the same objects, which stand upright anywhere on the table; see `localise`."""
        if camera.transform_camera_to_task is None:
            raise LocalisationError("the camera's pose in the task frame is not known; give a calibration file")
        if rgb.shape[:2] != depth.shape or rgb.shape[:2] != (camera.height, camera.width):
            raise LocalisationError(
                f"colour is {rgb.shape[:2]}, depth {depth.shape}, the camera {(camera.height, camera.width)}; "
                "all must agree"
            )
        rng = rng if rng is not None else np.random.default_rng(0)
        scene = prepare_scene(rgb, depth, camera)
        found = {name: _find(model, scene, rng) for name, model in self._models.items()}
        confidence = {name: value for name, (_, value) in found.items()}
        weak = {name: value for name, value in confidence.items() if value < limit}
        if weak:
            listed = ", ".join(f"{name} ({value:.2f})" for name, value in weak.items())
            raise LocalisationError(
                f"not found with enough confidence ({limit:.2f}): {listed}; "
                "is the object in view, upright, unhidden, and the one of the demonstration?",
                confidence,
            )
        moves = {name: move for name, (move, _) in found.items()}
        points = np.stack(
            [geometry.transform_points(moves[o], p) for o, p in zip(self._objects, self._points, strict=True)]
        )
        return Localisation(points, moves, confidence)


def localise(
    reference: Reference,
    rgb: NDArray[np.uint8],
    depth: NDArray[np.float32],
    camera: Camera,
    keypoint_objects: Sequence[str],
    *,
    limit: float = CONFIDENCE_LIMIT,
    rng: np.random.Generator | None = None,
) -> Localisation:
    """Find the reference's keypoints on the same objects, which stand upright anywhere on the table.

    Args:
        reference: the demonstration's annotated first frame, with depth.
        rgb: (H, W, 3) uint8.
        depth: (H, W) float32 metres, aligned, 0 where there is none.
        camera: of the new image, with its pose in the task frame.
        keypoint_objects: object of each of the N keypoints.
        limit: confidence below which an object is refused.
        rng: for the random samples of robust fits; a fixed sequence if not given, so that results repeat.

    Raises:
        LocalisationError: an object was not found with enough confidence, or the images cannot be used.
    """
    return Localiser(reference, keypoint_objects).localise(rgb, depth, camera, limit=limit, rng=rng)


def _find(model: ObjectModel, scene: Scene, rng: np.random.Generator) -> tuple[NDArray[np.float64], float]:
    """Move and confidence of the best explanation of where the object is."""
    guess = from_features(model, scene, rng)
    best: tuple[NDArray[np.float64], float] = (np.eye(4), 0.0)
    if guess is not None:
        best = _judged(model, scene, guess)
    if best[1] >= 0.9:
        return best
    # One round tells which angle is worth refining.
    guesses = [(register(model, scene, g.move, rounds=1), g) for g in from_shape(model, scene)]
    guesses.sort(key=lambda item: -item[0].agreeing if item[0].agreeing >= _LEAST_PATCHES else 0)
    for _, candidate in guesses[:3]:
        judged = _judged(model, scene, candidate)
        if judged[1] > best[1]:
            best = judged
    return best


def _judged(model: ObjectModel, scene: Scene, guess: Guess) -> tuple[NDArray[np.float64], float]:
    result = register(model, scene, guess.move)
    shape_alone = _SHAPE_ONLY * guess.look if np.isfinite(guess.look) else 0.0
    patches = _patch_confidence(result)
    if patches >= shape_alone:
        return result.move, patches
    # Patches that contradict (there were many to compare, few agreed) count against the look of the surface.
    doubt = 0.5 if result.comparable >= 2 * _ENOUGH_PATCHES else 1.0
    return guess.move, max(patches, shape_alone * doubt)


def _patch_confidence(result: Registration) -> float:
    if result.agreeing < _LEAST_PATCHES:
        return 0.0
    many = min(1.0, result.agreeing / _ENOUGH_PATCHES)
    share = min(1.0, result.agreeing / max(0.4 * result.comparable, 1.0))
    sharp = float(np.clip(1.5 - result.error / 2.0, 0.0, 1.0))
    return many * share * sharp
