"""Exact warps: the images really move as their truth says."""

import cv2
import numpy as np
import pytest

from pad_bringup.bench.parse import warps


@pytest.mark.parametrize("motion", [warps.MILD, warps.STRONG])
def test_a_dot_is_where_the_truth_says(motion):
    rng = np.random.default_rng(4)
    warp = warps.random_warp(motion, rng, 12)
    dot = np.array([[400.0, 200.0]])
    picture = np.zeros((600, 800, 3), np.uint8)
    cv2.circle(picture, (400 + 80, 200 + 60), 4, (255, 255, 255), -1)
    quiet = warps.Warp(warp.homographies, np.ones(12), np.zeros(12), 0.0)
    truth = quiet.truth(dot)[:, 0]
    assert np.allclose(truth[0], dot)
    for image, (u, v) in zip(quiet.images(picture, rng), truth, strict=True):
        weight = image[..., 0].astype(float)
        row, column = np.mgrid[: weight.shape[0], : weight.shape[1]]
        found = np.array([np.sum(column * weight), np.sum(row * weight)]) / weight.sum()
        assert np.linalg.norm(found - [u, v]) < 0.3


def test_the_extent_of_the_motion_is_as_stated():
    for seed in range(5):
        warp = warps.random_warp(warps.STRONG, np.random.default_rng(seed))
        a = warp.homographies[:, :2, :2] - warp.homographies[:, :2, 2:] * warp.homographies[:, 2:, :2]
        assert np.abs(np.arctan2(a[:, 1, 0], a[:, 0, 0])).max() < np.deg2rad(40)
        assert np.sqrt(np.linalg.det(a)).min() > 0.6 and np.sqrt(np.linalg.det(a)).max() < 1.6
        assert warp.gains.min() >= 0.75 - 1e-9 and np.allclose(warp.homographies[0], np.eye(3))


def test_the_band_hides_what_it_covers():
    cover = warps.Cover(np.full((480, 50, 3), 9, np.uint8), np.array([-20, 100]))
    points = np.array([[[20.0, 5.0], [40.0, 5.0]], [[120.0, 5.0], [99.0, 5.0]]])
    assert cover.hides(points).tolist() == [[True, False], [True, False]]
    image = np.zeros((480, 640, 3), np.uint8)
    cover.draw(image, 1)
    assert image[:, 100:150].min() == 9 and image[:, :100].max() == 0 and image[:, 150:].max() == 0


def test_delta_average_of_known_errors():
    truth = np.zeros((1, 4, 2))
    points = np.array([[[0.0, 0], [3.75, 0], [7.5, 0], [500, 0]]])  # 0, 1.5, 3 and 200 px at 256 x 256
    visible = np.ones((1, 4), bool)
    assert warps.delta_average(points, truth, visible) == pytest.approx(100 * np.mean([0.25, 0.5, 0.75, 0.75, 0.75]))
