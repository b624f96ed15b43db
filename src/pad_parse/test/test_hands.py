"""Hands: the networks on pictures, identities through crossings, recorded hands."""

from __future__ import annotations

import numpy as np
import pytest

from pad_parse.errors import HandError
from pad_parse.hands import HandIdentities, HandObservation, OnnxHandEstimator, RecordedHands


def hand(u: float, v: float, size: float = 80.0, handedness: float = 0.5, presence: float = 0.9) -> HandObservation:
    """A rough hand round (u, v) px."""
    rng = np.random.default_rng(0)
    landmarks = np.concatenate([rng.uniform(-0.5, 0.5, (21, 2)) * size + [u, v], np.zeros((21, 1))], axis=1)
    return HandObservation(landmarks, presence, handedness)


def test_two_hands_start_by_side_of_the_image() -> None:
    left, right = HandIdentities(640).assign([hand(150, 200), hand(500, 200)], 0.0)
    # The person faces the camera: their left hand, the robot's left arm, is on the right of the image.
    assert left is not None and right is not None
    assert left.centre[0] > right.centre[0]


def test_identities_survive_a_crossing_whatever_the_labels_say() -> None:
    identities = HandIdentities(640)
    rng = np.random.default_rng(1)
    for i in range(60):
        t = i / 30
        a = hand(500 - 300 * t / 2, 180, handedness=float(rng.random()))  # the left one wanders to the left
        b = hand(140 + 300 * t / 2, 320, handedness=float(rng.random()))
        seen = [a, b] if rng.random() < 0.5 else [b, a]
        left, right = identities.assign(seen, t)
        assert left is a and right is b


def test_a_hand_that_returns_keeps_its_name() -> None:
    identities = HandIdentities(640)
    identities.assign([hand(150, 200), hand(500, 200)], 0.0)
    for i in range(1, 20):
        left, right = identities.assign([hand(150, 200)], i / 30)
        assert left is None and right is not None
    left, right = identities.assign([hand(480, 230), hand(160, 205)], 20 / 30)
    assert left is not None and right is not None and left.centre[0] > 400


def test_one_hand_found_twice_is_one_hand() -> None:
    left, right = HandIdentities(640).assign([hand(150, 200), hand(153, 202, presence=0.6)], 0.0)
    assert (left is None) != (right is None)


def test_recorded_hands_play_back_by_stamp(tmp_path) -> None:
    hands = RecordedHands(np.array([0.0, 0.1]), [[hand(100, 100)], []])
    hands.save(tmp_path / "hands.npz")
    loaded = RecordedHands.load(tmp_path / "hands.npz")
    image = np.zeros((4, 4, 3), np.uint8)
    assert len(loaded.estimate(image, 0.005)) == 1
    assert loaded.estimate(image, 0.1) == []
    assert loaded.estimate(image, 5.0) == []
    np.testing.assert_allclose(loaded.estimate(image, 0.0)[0].landmarks, hand(100, 100).landmarks)


def test_recorded_hands_refuse_what_is_not_theirs(tmp_path) -> None:
    (tmp_path / "x.npz").write_bytes(b"PK nonsense")
    with pytest.raises(HandError, match="not a file of recorded hands"):
        RecordedHands.load(tmp_path / "x.npz")
    with pytest.raises(HandError, match="ascend"):
        RecordedHands(np.array([0.1, 0.0]), [[], []])


def test_networks_find_nothing_in_noise_and_check_the_image() -> None:
    estimator = OnnxHandEstimator()
    assert estimator.estimate(np.full((120, 160, 3), 127, np.uint8), 0.0) == []
    with pytest.raises(HandError, match="uint8"):
        estimator.estimate(np.zeros((120, 160), np.float32), 0.0)


def test_a_wrong_model_folder_is_named(tmp_path) -> None:
    with pytest.raises(HandError, match=r"palm_detection_full\.onnx does not exist"):
        OnnxHandEstimator(tmp_path)
