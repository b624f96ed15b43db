"""Who is who: synthetic tracks of two hands through crossings, flipped labels and absences, with the truth known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pad_parse.hands import HandIdentities, HandObservation

WIDTH, FOCAL, RATE = 640, 610.0, 30
SHAPE = np.random.default_rng(0).uniform(-0.5, 0.5, (21, 2))
SHAPE -= SHAPE[[0, 5, 9, 13, 17]].mean(axis=0)


def seen(point: np.ndarray, rng: np.random.Generator, label: float) -> HandObservation:
    """A hand whose palm is at `point` (3,) m in the camera's frame, as a detector finds it."""
    pixel = FOCAL * point[:2] / point[2] + [320, 240] + rng.normal(0, 1.5, 2)
    landmarks = np.concatenate([SHAPE * 0.16 * FOCAL / point[2] + pixel, np.zeros((21, 1))], axis=1)
    return HandObservation(landmarks, float(rng.uniform(0.7, 1.0)), label)


def wrong_names(
    paths: np.ndarray, rng: np.random.Generator, *, present: np.ndarray | None = None, flips: float = 0.5, depth=True
) -> int:
    """How many hands get the other's name. paths (T, 2, 3) m, left then right; present (T, 2) bool; flips: share of
    the labels that are those of the other hand.
    """
    identities = HandIdentities(WIDTH, focal=FOCAL)
    present = np.ones(paths.shape[:2], bool) if present is None else present
    wrong = 0
    for t, points in enumerate(paths):
        hands = [seen(p, rng, float(side ^ (rng.random() < flips))) for side, p in enumerate(points)]
        order = [side for side in rng.permutation(2) if present[t, side]]
        distances = [points[side][2] + rng.normal(0, 0.004) for side in order] if depth else None
        answer = identities.assign([hands[side] for side in order], t / RATE, distances)
        for side, hand in enumerate(answer):
            wrong += hand is not None and hand is not hands[side]
    return wrong


def crossing(apart: float, seconds: float = 2.0, z: float = 0.9) -> np.ndarray:
    """The hands change places along the image's rows, one `apart` m behind the other."""
    t = np.linspace(0, 1, round(seconds * RATE))
    s = t * t * (3 - 2 * t)
    left = np.stack([0.2 - 0.4 * s, 0 * s, z + 0 * s], axis=1)
    right = np.stack([-0.2 + 0.4 * s, 0.01 + 0 * s, z + apart + 0 * s], axis=1)
    return np.stack([left, right], axis=1)


@settings(max_examples=60, deadline=None)
@given(apart=st.floats(0.08, 0.25), seconds=st.floats(0.8, 4.0), seed=st.integers(0, 10_000))
def test_hands_that_pass_behind_each_other_keep_their_names(apart: float, seconds: float, seed: int) -> None:
    assert wrong_names(crossing(apart, seconds), np.random.default_rng(seed)) == 0


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), flips=st.floats(0.0, 1.0), depth=st.booleans())
def test_labels_decide_nothing(seed: int, flips: float, depth: bool) -> None:
    rng = np.random.default_rng(seed)
    t = np.arange(90) / RATE
    wander = np.stack([0.05 * np.sin(3 * t), 0.08 * np.sin(2 * t + 1), 0.9 + 0.05 * np.sin(t)], axis=1)
    paths = np.stack([wander + [0.14, 0, 0], wander * [-1, 1, 1] - [0.14, 0, 0]], axis=1)
    assert wrong_names(paths, rng, flips=flips, depth=depth) == 0


@settings(max_examples=30, deadline=None)
@given(gone=st.integers(0, 1), start=st.integers(10, 40), seed=st.integers(0, 10_000))
def test_a_hand_that_is_gone_for_a_second_comes_back_as_itself(gone: int, start: int, seed: int) -> None:
    t = np.arange(100) / RATE
    drift = np.stack([0.06 * np.sin(t), 0.03 * t, 0 * t], axis=1)
    paths = np.stack([drift + [0.15, 0, 0.9], drift + [-0.15, 0.02, 0.95]], axis=1)
    present = np.ones((100, 2), bool)
    present[start : start + RATE, gone] = False
    assert wrong_names(paths, np.random.default_rng(seed), present=present) == 0


def test_one_hand_hidden_during_the_crossing_does_not_take_the_others_name() -> None:
    paths = crossing(0.2)
    present = np.ones(paths.shape[:2], bool)
    present[25:36, 1] = False  # behind the other
    for seed in range(20):
        assert wrong_names(paths, np.random.default_rng(seed), present=present) == 0


def test_depth_is_what_tells_hands_apart_that_meet_in_the_image() -> None:
    """Both stop in front of each other for a moment and turn back, or go on: in the image alone it looks the same."""
    t = np.linspace(0, 1, 60)
    approach = 0.2 * np.abs(1 - 2 * t)
    back = np.stack(
        [np.stack([approach, 0 * t, 0.8 + 0 * t], axis=1), np.stack([-approach, 0 * t, 1.0 + 0 * t], axis=1)], axis=1
    )
    for seed in range(20):
        assert wrong_names(back, np.random.default_rng(seed)) == 0


def test_holes_in_depth_do_no_harm() -> None:
    rng = np.random.default_rng(4)
    identities = HandIdentities(WIDTH, focal=FOCAL)
    for t, points in enumerate(crossing(0.15)):
        hands = [seen(p, rng, 0.5) for p in points]
        distances = [np.nan if rng.random() < 0.4 else p[2] for p in points]
        left, right = identities.assign(hands, t / RATE, distances)
        # Where they meet in the image without depth they look like one hand found twice.
        assert (left is hands[0] or left is None) and (right is hands[1] or right is None)
        assert left is not None or right is not None


def test_distances_must_be_as_many_as_hands() -> None:
    with pytest.raises(ValueError, match="zip"):
        HandIdentities(WIDTH).assign([seen(np.array([0.1, 0, 0.9]), np.random.default_rng(0), 0.5)], 0.0, [])
