"""A demonstration's keypoints in a live scene: found in one image, then followed from there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pad_parse.camera import Camera
from pad_parse.demonstration import Demonstration
from pad_parse.errors import DemonstrationError
from pad_parse.localisation import KeypointLocaliser, make_localiser
from pad_parse.tracking import KeypointFrame, ObjectTracker


@dataclass(frozen=True, eq=False)
class Following:
    """What was started. frame: the keypoints in the first image. confidence: of each object, 0 to 1."""

    tracker: ObjectTracker
    frame: KeypointFrame
    confidence: dict[str, float]


def demonstration_localiser(
    demonstration: Demonstration, backend: str = "classical", *, other_instances: bool = False, checkpoint: str = ""
) -> KeypointLocaliser:
    """What finds a demonstration's keypoints.

    Args:
        backend: one of `pad_parse.localisation.BACKENDS`.
        other_instances: classical: also objects of the same kind in other sizes and looks.
        checkpoint: dinov2: folder of the checkpoint.

    Raises:
        DemonstrationError: it has no image with depth to find them by.
        LocalisationError: no such backend, or it cannot be used here.
    """
    if demonstration.reference is None or demonstration.reference.depth is None:
        raise DemonstrationError(
            f"the demonstration of {demonstration.source or demonstration.task.name} has no reference image with "
            "depth, so its keypoints cannot be found in a live image; parse an RGB-D recording"
        )
    options: dict[str, dict[str, Any]] = {
        "classical": {"other_instances": other_instances},
        "by_hand": {
            "keypoint_names": demonstration.keypoint_names,
            "keypoint_groups": demonstration.keypoint_groups,
        },
        "dinov2": {"checkpoint": checkpoint or None},
    }
    return make_localiser(backend, demonstration.reference, demonstration.keypoint_objects, **options.get(backend, {}))


def start_following(
    localiser: KeypointLocaliser,
    demonstration: Demonstration,
    camera: Camera,
    rgb: NDArray[np.uint8],
    depth: NDArray[np.float32],
    stamp: float,
    limit: float,
) -> Following:
    """Find the keypoints in an image and start a tracker on them.

    Args:
        camera: of the image, with its pose in the task frame.
        rgb, depth: (H, W, 3) and (H, W) m, aligned, 0 where there is none.
        stamp: of the image, s.
        limit: confidence below which an object is refused.

    Raises:
        LocalisationError: an object was not found.
        TrackingError: it was found but cannot be followed, for instance at the image's border.
    """
    found = localiser.localise(rgb, depth, camera, limit=limit)
    shown = demonstration.object_poses
    poses = {name: move @ shown[name][0] for name, move in found.object_transforms.items() if name in shown}
    tracker = ObjectTracker(camera, demonstration.keypoint_objects)
    frame = tracker.start(rgb, depth, points_in_task=found.points_in_task, object_poses=poses, stamp=stamp)
    return Following(tracker, frame, found.confidence)
