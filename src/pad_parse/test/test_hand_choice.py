"""Choosing the hands of a parse by name: files, topics, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hands_at_work import make

from pad_parse import geometry
from pad_parse.camera import Camera
from pad_parse.errors import HandError
from pad_parse.hands import OnnxHandEstimator, RecordedHands
from pad_parse.hands.choice import choose_estimator
from pad_parse.lifting.hand_fit import fit_hands

IMAGE = np.zeros((4, 4, 3), np.uint8)


def test_names_choose_and_files_are_read(tmp_path) -> None:
    recording, hands, _ = make(tmp_path / "bag", seconds=1.2)
    assert isinstance(choose_estimator("onnx", recording), OnnxHandEstimator)
    hands.save(tmp_path / "hands.npz")
    again = choose_estimator(f"recorded:{tmp_path / 'hands.npz'}", recording)
    np.testing.assert_allclose(again.estimate(IMAGE, 0.0)[0].landmarks, hands.estimate(IMAGE, 0.0)[0].landmarks)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("mediapipe", r"no hands 'mediapipe'; choose one of: onnx .*recorded:FILE\.npz"),
        ("recorded", "is no rosbag2, so it has no topic /pad/hands"),
        ("recorded:/somewhere/hands", "no rosbag2, so it has no topic /somewhere/hands"),
        ("recorded:missing.npz", r"missing\.npz is not a file of recorded hands"),
    ],
)
def test_what_is_not_there_is_named_with_the_choices(tmp_path, choice: str, message: str) -> None:
    recording, _, _ = make(tmp_path / "bag", seconds=1.2)
    with pytest.raises(HandError, match=message):
        choose_estimator(choice, recording)


def test_landmarks_in_metres_come_back_through_the_lifting(tmp_path) -> None:
    recording, _, _ = make(tmp_path / "bag", seconds=1.2)
    to_task = recording.camera.transform_camera_to_task
    in_camera = np.array(recording.hand_points)  # (T, 2, 21, 3)
    landmarks = geometry.transform_points(to_task, in_camera.reshape(-1, 3)).reshape(in_camera.shape)
    landmarks[3, 1] = np.nan
    hands = RecordedHands.from_landmarks(recording.stamps, landmarks, recording.camera)
    assert [len(hands.estimate(IMAGE, t)) for t in recording.stamps[2:5]] == [2, 1, 2]
    pixels = np.stack([hand.landmarks for hand in hands.estimate(IMAGE, recording.stamps[0])])
    depths = in_camera[0, :, :, 2] - 0.008
    fit = fit_hands(pixels, depths, recording.camera.matrix)
    assert np.median(np.linalg.norm(fit.points_in_camera - in_camera[0], axis=2)) < 0.006


def test_metres_without_a_camera_pose_are_refused() -> None:
    camera = Camera(np.diag([600.0, 600.0, 1.0]), 640, 480)
    with pytest.raises(HandError, match="calibration file"):
        RecordedHands.from_landmarks(np.arange(2.0), np.zeros((2, 1, 21, 3)), camera)
