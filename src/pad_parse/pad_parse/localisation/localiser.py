"""Ways to find a demonstration's keypoints in a new scene, behind one protocol."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pad_parse.camera import Camera
from pad_parse.demonstration import Reference
from pad_parse.errors import LocalisationError
from pad_parse.localisation.localisation import CONFIDENCE_LIMIT, Localisation

BACKENDS = ("classical", "by_hand", "dinov2")
"""`classical`: features, colours and shape on RGB-D. `by_hand`: a person clicks the points. `dinov2`: learned dense
correspondence, for which the user installs a package and gives a checkpoint."""


class KeypointLocaliser(Protocol):
    """Finds the keypoints of one demonstration."""

    def localise(
        self,
        rgb: NDArray[np.uint8],
        depth: NDArray[np.float32],
        camera: Camera,
        *,
        limit: float = CONFIDENCE_LIMIT,
    ) -> Localisation:
        """Find all keypoints in a new image.

        Args:
            rgb: (H, W, 3).
            depth: (H, W) metres, aligned to `rgb`, 0 where there is none.
            camera: of this image, with its pose in the task frame.
            limit: confidence below which an object is refused.

        Raises:
            LocalisationError: an object was not found with enough confidence, or the images cannot be used.
        """
        ...


def make_localiser(
    backend: str, reference: Reference, keypoint_objects: Sequence[str], **options: Any
) -> KeypointLocaliser:
    """The localiser of that name.

    Args:
        backend: one of `BACKENDS`.
        reference: the demonstration's annotated first frame, with depth.
        keypoint_objects: object of each of the N keypoints.
        options: further arguments of the backend's class: `other_instances` of `ClassicalLocaliser`, `keypoint_names`,
            `keypoint_groups` and `ask` of `ByHandLocaliser`, `checkpoint` of `Dinov2Localiser`.

    Raises:
        LocalisationError: no such backend, wrong options, or the backend cannot be used here.
    """
    kind: Callable[..., KeypointLocaliser]
    # Imported when chosen: each needs packages of its own.
    if backend == "classical":
        from pad_parse.localisation.classical import ClassicalLocaliser

        kind = ClassicalLocaliser
    elif backend == "by_hand":
        from pad_parse.localisation.by_hand import ByHandLocaliser

        kind = ByHandLocaliser
    elif backend == "dinov2":
        from pad_parse.localisation.dinov2 import Dinov2Localiser

        kind = Dinov2Localiser
    else:
        raise LocalisationError(f"there is no way to localise called {backend!r}; there are: {', '.join(BACKENDS)}")
    try:
        inspect.signature(kind).bind(reference, keypoint_objects, **options)
    except TypeError as error:
        raise LocalisationError(f"localiser {backend!r}: {error}") from error
    return kind(reference, keypoint_objects, **options)


def check_images(rgb: NDArray[np.uint8], depth: NDArray[np.float32], camera: Camera) -> None:
    """Raise LocalisationError unless images and camera fit together and the camera's pose is known."""
    if camera.transform_camera_to_task is None:
        raise LocalisationError("the camera's pose in the task frame is not known; give a calibration file")
    if rgb.shape[:2] != depth.shape or rgb.shape[:2] != (camera.height, camera.width):
        raise LocalisationError(
            f"colour is {rgb.shape[:2]}, depth {depth.shape}, the camera {(camera.height, camera.width)}; "
            "all must agree"
        )


def refuse_weak(confidence: dict[str, float], limit: float, advice: str) -> None:
    """Raise LocalisationError that names the objects below the limit, if there are any."""
    weak = {name: value for name, value in confidence.items() if value < limit}
    if weak:
        listed = ", ".join(f"{name} ({value:.2f})" for name, value in weak.items())
        raise LocalisationError(f"not found with enough confidence ({limit:.2f}): {listed}; {advice}", confidence)
