"""Find keypoints by local features, colours and shape on RGB-D, with a confidence and a refusal below it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pad_parse import geometry
from pad_parse.camera import Camera
from pad_parse.demonstration import Reference
from pad_parse.errors import LocalisationError
from pad_parse.localisation.hypotheses import Guess, Scene, from_features, from_shape, prepare_scene
from pad_parse.localisation.localisation import CONFIDENCE_LIMIT, Localisation
from pad_parse.localisation.localiser import check_images, refuse_weak
from pad_parse.localisation.object_model import ObjectModel, build_models, pile_shape
from pad_parse.localisation.registration import Registration, register
from pad_parse.localisation.shape_transfer import Fit, assign, transfer
from pad_parse.localisation.upright_shape import UprightShape, standing_surfaces, upright_shape
from pad_parse.tracking.object_mask import pile_bottoms

_ENOUGH_PATCHES = 12
_LEAST_PATCHES = 5
"""So many agreeing patches speak fully for a place; fewer than the least say nothing."""
_SHAPE_ONLY = 0.7
"""Shape and colours without a single patch say nothing about the angle: their confidence is scaled by this."""


class ClassicalLocaliser:
    """Finds the keypoints of one demonstration; what the reference says is worked out once.

    Objects stand upright on the table, anywhere and at any place among other things. The same objects are recognised by
    local features and patches of their surface, or by shape and colours where they have none. With `other_instances`,
    an object that is not recognised so is taken to be another of its kind and found by the shape of its outline, see
    `shape_transfer`; any other thing of that shape then counts as one too, and of two such things neither is taken.
    """

    def __init__(self, reference: Reference, keypoint_objects: Sequence[str], *, other_instances: bool = False) -> None:
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
        # By the object at the bottom: what stands on or in it belongs to its shape.
        self._shapes: dict[str, UprightShape] | None = None
        self._bottoms = pile_bottoms({name: model.hull for name, model in self._models.items()})
        if other_instances:
            self._shapes = {}
            for bottom in dict.fromkeys(self._bottoms.values()):
                piled = [name for name in self._models if self._bottoms[name] == bottom]
                shape = self._models[bottom].shape if len(piled) == 1 else pile_shape(reference, self._objects, piled)
                if shape is None:
                    raise LocalisationError(
                        f"too little of {bottom} is seen in the reference image to know the shape of another one; "
                        "annotate a frame in which nothing hides it"
                    )
                self._shapes[bottom] = shape

    def localise(
        self,
        rgb: NDArray[np.uint8],
        depth: NDArray[np.float32],
        camera: Camera,
        *,
        limit: float = CONFIDENCE_LIMIT,
        rng: np.random.Generator | None = None,
    ) -> Localisation:
        """Find the keypoints; see `KeypointLocaliser`.

        rng: for the samples of robust fits; by default a fixed sequence, so that results repeat.
        """
        check_images(rgb, depth, camera)
        rng = rng if rng is not None else np.random.default_rng(0)
        scene = prepare_scene(rgb, depth, camera)
        found = {name: _find(model, scene, rng) for name, model in self._models.items()}
        moves = {name: move for name, (move, _) in found.items()}
        confidence = {name: value for name, (_, value) in found.items()}
        if self._shapes is None:
            fits: dict[str, Fit] = {}
            advice = "is the object in view, upright, unhidden, and the one of the demonstration?"
        else:
            fits = self._other_instances(scene, moves, confidence)
            advice = "is one such object in view, upright and unhidden, and only one?"
        refuse_weak(confidence, limit, advice)
        points = np.empty((len(self._objects), 3))
        for i, (name, point) in enumerate(zip(self._objects, self._points, strict=True)):
            bottom = self._bottoms[name]
            if bottom in fits:
                assert self._shapes is not None
                points[i] = transfer(point[None], self._shapes[bottom], fits[bottom])[0]
            else:
                points[i] = geometry.transform_points(moves[name], point)
        return Localisation(points, moves, confidence)

    def _other_instances(
        self, scene: Scene, moves: dict[str, NDArray[np.float64]], confidence: dict[str, float]
    ) -> dict[str, Fit]:
        """Fits of the objects whose own surface was not recognised, by what is at the bottom of their piles.

        The `moves` and `confidence` of the whole pile are replaced.
        """
        assert self._shapes is not None and scene.camera.transform_camera_to_task is not None
        piles = {b: [name for name in moves if self._bottoms[name] == b] for b in self._shapes}
        least = {bottom: min(confidence[name] for name in pile) for bottom, pile in piles.items()}
        missing = {bottom: shape for bottom, shape in self._shapes.items() if least[bottom] <= _SHAPE_ONLY}
        if not missing:
            return {}
        eye = scene.camera.transform_camera_to_task[:3, 3]
        masks = standing_surfaces(scene.cloud, scene.above, scene.depth)
        shapes = [upright_shape(scene.cloud, mask, eye) for mask in masks]
        recognised = [
            (geometry.transform_points(moves[name], [*shape.axis, 0.0])[:2], shape.width)
            for name, shape in self._shapes.items()
            if name not in missing
        ]
        free = [
            shape
            for shape in shapes
            if shape is not None and all(np.linalg.norm(shape.axis - place) > width for place, width in recognised)
        ]
        fits = {}
        for bottom, (fit, value) in assign(missing, free).items():
            if fit is not None:
                fits[bottom] = fit
            for name in piles[bottom]:
                confidence[name], moves[name] = value, np.eye(4)
                if fit is not None:
                    moves[name][:2, 3] = fit.shape.axis - missing[bottom].axis
        return fits


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
