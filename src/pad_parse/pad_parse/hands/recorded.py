"""Hands that were estimated before: from memory, a topic or an .npz file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pad_parse import geometry
from pad_parse.camera import Camera
from pad_parse.errors import HandError
from pad_parse.hands.estimator import RELATIVE_DEPTH_SCALE, HandObservation


class RecordedHands:
    """A `HandEstimator` that plays back observations by stamp.

    stamps: (T,) s, ascending. observations: T lists of `HandObservation`. tolerance: s; an image further than that
    from every stamp has no hands.
    """

    def __init__(
        self, stamps: np.ndarray, observations: list[list[HandObservation]], *, tolerance: float = 0.02
    ) -> None:
        self._stamps = np.asarray(stamps, dtype=np.float64)
        if self._stamps.ndim != 1 or len(self._stamps) != len(observations):
            raise HandError(f"{len(observations)} sets of hands for {self._stamps.shape} stamps; one set per stamp")
        if np.any(np.diff(self._stamps) <= 0):
            raise HandError("the stamps of recorded hands must ascend")
        self._observations = observations
        self._tolerance = tolerance

    def estimate(self, rgb: np.ndarray, stamp: float) -> list[HandObservation]:
        """The hands recorded at the stamp nearest to `stamp` (s), if within the tolerance."""
        if not len(self._stamps):
            return []
        i = int(np.abs(self._stamps - stamp).argmin())
        return list(self._observations[i]) if abs(self._stamps[i] - stamp) <= self._tolerance else []

    def reset(self) -> None:
        """Nothing to forget: the answer depends on the stamp alone."""

    @classmethod
    def from_landmarks(
        cls, stamps: np.ndarray, landmarks: np.ndarray, camera: Camera, *, tolerance: float = 0.02
    ) -> RecordedHands:
        """From landmarks (T, K, 21, 3) m of K hands in the task frame, nan where a hand was not seen; stamps (T,) s."""
        if camera.transform_camera_to_task is None:
            raise HandError(
                "recorded hands in metres need the camera's pose in the task frame; give a calibration file"
            )
        in_camera = geometry.transform_points(geometry.inverse(camera.transform_camera_to_task), landmarks)
        observations = []
        for frame in in_camera:
            seen = [points for points in frame if np.isfinite(points).all() and (points[:, 2] > 0).all()]
            observations.append([_observation(points, camera) for points in seen])
        return cls(stamps, observations, tolerance=tolerance)

    def save(self, path: Path | str) -> None:
        """Write the observations as .npz (plain arrays)."""
        rows = [(t, o) for t, hands in enumerate(self._observations) for o in hands]
        np.savez_compressed(
            path,
            stamps=self._stamps,
            frame=np.array([t for t, _ in rows], dtype=np.int64),
            landmarks=np.array([o.landmarks for _, o in rows], dtype=np.float64).reshape(-1, 21, 3),
            presence=np.array([o.presence for _, o in rows]),
            handedness=np.array([o.handedness for _, o in rows]),
        )

    @classmethod
    def load(cls, path: Path | str, *, tolerance: float = 0.02) -> RecordedHands:
        """Read what `save` wrote."""
        try:
            with np.load(path, allow_pickle=False) as file:
                stamps, frame, landmarks = file["stamps"], file["frame"], file["landmarks"]
                presence, handedness = file["presence"], file["handedness"]
        except (OSError, KeyError, ValueError) as error:
            raise HandError(f"{path} is not a file of recorded hands: {error}") from error
        observations: list[list[HandObservation]] = [[] for _ in stamps]
        for t, points, p, h in zip(frame, landmarks, presence, handedness, strict=True):
            observations[int(t)].append(HandObservation(points, float(p), float(h)))
        return cls(stamps, observations, tolerance=tolerance)


def _observation(points: np.ndarray, camera: Camera) -> HandObservation:
    """A hand (21, 3) m in the camera's frame as an estimator would have given it."""
    wrist = points[0, 2]
    relative = RELATIVE_DEPTH_SCALE * (points[:, 2] - wrist) * camera.matrix[0, 0] / wrist
    landmarks = np.concatenate([geometry.project(points, camera.matrix), relative[:, None]], axis=1)
    return HandObservation(landmarks, 1.0, 0.5)
