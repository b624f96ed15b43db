"""Stated uncertainties against the errors that points really have."""

from __future__ import annotations

import numpy as np
import pytest
from hands_at_work import make
from hypothesis import given, settings
from hypothesis import strategies as st

from pad_parse import geometry
from pad_parse.demonstration import Demonstration, KeypointState
from pad_parse.lifting.depth import landmark_depth, point_depth
from pad_parse.lifting.uncertainty import (
    POINT_PIXELS,
    STEREO_NOISE,
    gripper_uncertainty,
    keypoint_uncertainty,
    point_uncertainty,
    time_unseen,
)
from pad_parse.parser import parse

MATRIX = np.array([[600.0, 0, 320], [0, 600.0, 240], [0, 0, 1]])


@settings(max_examples=20, deadline=None)
@given(distance=st.floats(0.4, 2.5), seed=st.integers(0, 1000))
def test_points_are_as_far_off_as_said(distance: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pixel = np.array([400.0, 200.0])
    truth = geometry.unproject(pixel[None], np.array([distance]), MATRIX)
    pixels = pixel + rng.normal(0, POINT_PIXELS, (2000, 2))
    depths = distance + rng.normal(0, STEREO_NOISE * distance**2, 2000)
    error = np.linalg.norm(geometry.unproject(pixels, depths, MATRIX) - truth, axis=1)
    assert np.sqrt((error**2).mean()) == pytest.approx(point_uncertainty(distance, 600.0), rel=0.12)


@given(distance=st.floats(0.3, 3.0), nearer=st.floats(0.1, 0.99), unseen=st.floats(0.0, 5.0))
def test_uncertainty_grows_with_distance_time_and_scale(distance: float, nearer: float, unseen: float) -> None:
    here = keypoint_uncertainty(distance, 600.0, unseen)
    assert here > keypoint_uncertainty(nearer * distance, 600.0, unseen) > 0
    assert keypoint_uncertainty(distance, 600.0, unseen + 1) > here
    assert keypoint_uncertainty(distance, 600.0, unseen, 0.08) >= 0.08 * distance
    free = gripper_uncertainty(distance, 600.0, 640, False, unseen)
    assert gripper_uncertainty(distance, 600.0, 640, False, unseen + 1) > free > point_uncertainty(distance, 600.0) / 2


def test_time_unseen_is_to_the_nearest_look() -> None:
    stamps = np.array([0.0, 0.1, 0.2, 0.5])
    np.testing.assert_allclose(time_unseen(stamps, np.array([True, False, False, True])), [0, 0.1, 0.2, 0])
    assert np.isinf(time_unseen(stamps, np.zeros(4, bool))).all()


def test_a_parse_states_what_it_errs(tmp_path) -> None:
    recording, hands, in_task = make(tmp_path / "bag", seconds=2.2)
    rng = np.random.default_rng(2)
    clicked = [
        k.model_copy(update={"pixel": tuple(np.array(k.pixel) + rng.normal(0, POINT_PIXELS, 2))})
        for k in recording.annotation.keypoints
    ]
    found = parse(recording, recording.annotation.model_copy(update={"keypoints": tuple(clicked)}), estimator=hands)
    truth = np.stack(
        [
            geometry.transform_points(
                recording.object_truth[o] @ geometry.inverse(recording.object_truth[o][0]), in_task[n][None]
            )[:, 0]
            for n, o in enumerate(found.keypoint_objects)
        ],
        axis=1,
    )
    for error, sigma, states in (
        (np.linalg.norm(found.keypoints - truth, axis=2), found.keypoint_uncertainty, found.keypoint_states),
        (
            np.linalg.norm(found.gripper_poses[..., :3, 3] - recording.hand_truth[..., :3, 3], axis=2),
            found.gripper_uncertainty,
            found.gripper_states,
        ),
    ):
        known = states != KeypointState.LOST
        np.testing.assert_array_equal(np.isfinite(sigma), known)
        ratio = np.sqrt((error[known] ** 2).mean() / (sigma[known] ** 2).mean())
        assert 0.3 < ratio < 1.6
        assert (error[known] < 2.5 * sigma[known]).mean() > 0.9
    again = Demonstration.load(found.save(tmp_path / "d.demo.h5"))
    np.testing.assert_array_equal(again.keypoint_uncertainty, found.keypoint_uncertainty)
    np.testing.assert_array_equal(again.gripper_uncertainty, found.gripper_uncertainty)


def bleeding_edge(rng: np.random.Generator, width: int = 9) -> np.ndarray:
    """A finger at 0.6 m, `width` px wide, before a table at 0.9 m: holes and depths in between along its edges."""
    depth = np.full((60, 80), 0.9, np.float32)
    left, right = 40 - width // 2, 40 + width // 2 + 1
    depth[:, left:right] = 0.6
    for column in (left - 1, left, right - 1, right):
        depth[:, column] = rng.uniform(0.6, 0.9, 60)
        depth[rng.random(60) < 0.4, column] = 0.0
    return depth + np.where(depth > 0, rng.normal(0, 0.0008, depth.shape), 0).astype(np.float32)


@given(seed=st.integers(0, 10_000))
def test_depth_bleed_at_a_fingertip_does_not_move_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    depth = bleeding_edge(rng)
    at = np.array([[40.0 + rng.uniform(-3, 3), rng.uniform(8, 52)]])
    assert landmark_depth(depth, at)[0] == pytest.approx(0.6, abs=0.008)


def test_the_median_ignores_holes_and_flying_pixels() -> None:
    rng = np.random.default_rng(3)
    depth = np.full((20, 20), 0.7, np.float32)
    depth[rng.random(depth.shape) < 0.3] = 0.0
    depth[10, 10], depth[9, 9], depth[11, 10] = 1.9, 0.2, 2.5
    assert point_depth(depth, np.array([[10.0, 10.0]]))[0] == pytest.approx(0.7)
