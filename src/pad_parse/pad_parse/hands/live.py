"""Hands in a live stream: landmarks in metres and gripper poses, one image at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pad_parse import geometry
from pad_parse.camera import Camera
from pad_parse.errors import CameraError
from pad_parse.gripper import gripper_opening, gripper_pose
from pad_parse.hands.estimator import HandEstimator
from pad_parse.hands.identity import HandIdentities
from pad_parse.lifting.depth import landmark_depth, palm_distance
from pad_parse.lifting.hand_fit import fit_hands


@dataclass(frozen=True)
class LiveHand:
    """One hand in one image: side (0 left, 1 right), gripper_pose (4, 4) and landmarks (21, 3) m in the task frame,
    opening m, presence 0..1.
    """

    side: int
    gripper_pose: np.ndarray
    opening: float
    presence: float
    landmarks: np.ndarray


class LiveHands:
    """Follows both hands of one person."""

    def __init__(self, camera: Camera, estimator: HandEstimator) -> None:
        """camera must have its pose in the task frame."""
        if camera.transform_camera_to_task is None:
            raise CameraError("the camera's pose in the task frame is not known; give a calibration file")
        self._camera = camera
        self._pose = camera.transform_camera_to_task
        self._estimator = estimator
        self._identities = HandIdentities(camera.width, focal=camera.matrix[0, 0])

    def step(self, rgb: np.ndarray, depth: np.ndarray | None, stamp: float) -> list[LiveHand]:
        """The hands in rgb (H, W, 3) uint8 with depth (H, W) m, 0 = none, or None; stamp s."""
        hands = self._estimator.estimate(rgb, stamp)
        distances = None if depth is None else [palm_distance(depth, hand.landmarks) for hand in hands]
        both = self._identities.assign(hands, stamp, distances)
        seen = [(side, hand) for side, hand in enumerate(both) if hand is not None]
        if not seen:
            return []
        pixels = np.stack([hand.landmarks for _, hand in seen])
        depths = None
        if depth is not None:
            depths = np.stack([landmark_depth(depth, hand.landmarks) for _, hand in seen])
        fit = fit_hands(pixels, depths, self._camera.matrix)
        landmarks = geometry.transform_points(self._pose, fit.points_in_camera)
        return [
            LiveHand(side, gripper_pose(points), float(gripper_opening(points)), hand.presence, points)
            for (side, hand), points in zip(seen, landmarks, strict=True)
        ]
