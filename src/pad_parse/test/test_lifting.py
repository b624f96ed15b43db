"""Depth at pixels, metric hands from landmarks, and colour-only scenes."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pad_parse import geometry
from pad_parse.camera import Camera
from pad_parse.errors import LiftingError
from pad_parse.lifting.depth import landmark_depth, point_depth
from pad_parse.lifting.hand_fit import HandShape, fit_hands, palm_depth
from pad_parse.lifting.monocular import build_scene, camera_rotation, object_poses
from pad_parse.lifting.planar import PlanarTracker

CAMERA = Camera.from_horizontal_fov(640, 480, np.deg2rad(55))


def flat_hand(scale: float = 1.0) -> np.ndarray:
    """An open hand (21, 3) m in its own plane, wrist at the origin, with the average lengths along each finger."""
    angles = np.deg2rad([-12, -3, 6, 16])
    points = [np.zeros(2)]
    for angle, lengths in ((np.deg2rad(-45), (0.030, 0.044, 0.032, 0.025)),):
        points += [np.cumsum(lengths)[i] * np.array([np.sin(angle), -np.cos(angle)]) for i in range(4)]
    fingers = ((0.080, 0.040, 0.024, 0.019), (0.077, 0.044, 0.027, 0.020), (0.071, 0.041, 0.026, 0.020))
    for angle, lengths in zip(angles, (*fingers, (0.069, 0.033, 0.019, 0.017)), strict=True):
        points += [np.cumsum(lengths)[i] * np.array([np.sin(angle), -np.cos(angle)]) for i in range(4)]
    return scale * np.concatenate([np.array(points), np.zeros((21, 1))], axis=1)


def hands_in_camera(count: int, rng: np.random.Generator, scale: float = 1.0) -> np.ndarray:
    """(count, 21, 3) m: the flat hand turned and placed in front of the camera."""
    turn = geometry.rotation_exp(rng.normal(0, 0.4, (count, 3)))
    place = np.stack([rng.uniform(-0.15, 0.15, count), rng.uniform(-0.1, 0.1, count), rng.uniform(0.6, 0.9, count)], 1)
    return geometry.transform_points(geometry.make_pose(turn, place), flat_hand(scale)[None])


def seen(points: np.ndarray, rng: np.random.Generator, pixel_noise: float = 1.5) -> np.ndarray:
    """Landmarks (F, 21, 3) px as a network would give them."""
    pixels = geometry.project(points, CAMERA.matrix) + rng.normal(0, pixel_noise, (*points.shape[:2], 2))
    focal = CAMERA.matrix[0, 0]
    relative = (points[..., 2] - points[:, :1, 2]) * focal / points[:, :1, 2]
    return np.concatenate([pixels, (0.6 * relative + rng.normal(0, 4, relative.shape))[..., None]], axis=2)


def test_depth_ignores_holes_and_says_so_where_there_is_none() -> None:
    depth = np.full((40, 60), 0.8, np.float32)
    depth[10:14, 10:14] = 0.0
    depth[:, 40:] = 0.0
    found = point_depth(depth, np.array([[12, 12], [50, 20], [-5, 3], [np.nan, 2], [30, 30]]))
    np.testing.assert_allclose(found[[0, 4]], 0.8, atol=1e-6)
    assert np.isnan(found[[1, 2, 3]]).all()


def test_landmark_depth_stays_on_a_finger() -> None:
    depth = np.full((40, 40), 1.2, np.float32)
    depth[:, 18:22] = 0.7  # four pixels wide, background all round
    assert landmark_depth(depth, np.array([[20.0, 20.0]]))[0] == pytest.approx(0.7)


def test_hands_with_depth_are_metric_despite_occlusion_and_bleed() -> None:
    rng = np.random.default_rng(2)
    truth = hands_in_camera(80, rng, scale=1.06)
    depths = truth[..., 2] - 0.009 + rng.normal(0, 0.003, truth.shape[:2])
    bad = rng.random(depths.shape) < 0.3
    depths[bad] += rng.choice([-0.06, 0.25], bad.sum())
    depths[rng.random(depths.shape) < 0.1] = np.nan
    fit = fit_hands(seen(truth, rng), depths, CAMERA.matrix)
    error = np.linalg.norm(fit.points_in_camera - truth, axis=2)
    assert np.median(error) < 0.006
    assert np.percentile(error, 95) < 0.022
    assert 0.8 < np.median(fit.apparent_size) < 1.2


def test_an_invented_small_hand_is_told_by_its_size() -> None:
    rng = np.random.default_rng(6)
    truth = hands_in_camera(20, rng)
    pixels = seen(truth, rng)
    middle = pixels[:, 9:10, :2]
    pixels[..., :2] = middle + 0.45 * (pixels[..., :2] - middle)
    pixels[..., 2] *= 0.45
    fit = fit_hands(pixels, truth[..., 2] - 0.009, CAMERA.matrix)
    assert np.median(fit.apparent_size) < 0.6


def test_hands_without_depth_take_their_distance_from_their_size() -> None:
    rng = np.random.default_rng(3)
    truth = hands_in_camera(40, rng)
    pixels = seen(truth, rng, pixel_noise=1.0)
    fit = fit_hands(pixels, None, CAMERA.matrix)
    ratio = fit.points_in_camera[..., 2].mean(axis=1) / truth[..., 2].mean(axis=1)
    assert np.abs(np.median(ratio) - 1) < 0.05
    double = pixels.copy()
    double[..., :2] = CAMERA.matrix[:2, 2] + 2 * (double[..., :2] - CAMERA.matrix[:2, 2])
    double[..., 2] *= 2
    near = palm_depth(double, CAMERA.matrix) / palm_depth(pixels, CAMERA.matrix)
    np.testing.assert_allclose(near, 0.5, rtol=1e-6)


def test_fit_refuses_wrong_shapes_and_takes_no_hands() -> None:
    with pytest.raises(LiftingError, match="21"):
        fit_hands(np.zeros((2, 20, 3)), None, CAMERA.matrix)
    assert fit_hands(np.zeros((0, 21, 3)), None, CAMERA.matrix, HandShape.average()).points_in_camera.shape == (
        0,
        21,
        3,
    )


def test_camera_rotation_looks_at_the_robots_and_down() -> None:
    rotation = camera_rotation(np.deg2rad(30))
    np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-12)
    assert rotation[:, 2] @ [-1, 0, 0] > 0.8 and rotation[2, 2] < 0
    np.testing.assert_allclose(rotation[:, 0], [0, 1, 0])
    assert rotation[2, 1] < -0.8  # image down is down


def planar_scene(angle: float, shift: tuple[float, float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A textured patch before and after a turn about its middle, and the similarity between."""
    rng = np.random.default_rng(4)
    first = np.full((240, 320), 120, np.uint8)
    first[60:160, 100:200] = cv2.resize(rng.integers(0, 255, (25, 25), dtype=np.uint8), (100, 100))
    matrix = cv2.getRotationMatrix2D((150.0, 110.0), np.rad2deg(angle), 1.0)
    matrix[:, 2] += shift
    return first, cv2.warpAffine(first, matrix, (320, 240), borderValue=120), matrix


def test_planar_tracker_follows_turn_and_shift() -> None:
    first, _, _ = planar_scene(0.0, (0.0, 0.0))
    points = cv2.goodFeaturesToTrack(first, 30, 0.01, 8)[:, 0]
    tracker = PlanarTracker()
    tracker.start(first, points)
    for i in range(1, 16):
        _, image, matrix = planar_scene(-0.05 * i, (2.0 * i, -1.0 * i))
        motion = tracker.step(image)
        assert motion.found
    assert motion.angle == pytest.approx(0.75, abs=0.04)
    middle = np.array([[150.0, 110.0]])
    np.testing.assert_allclose(motion.apply(middle), middle @ matrix[:, :2].T + matrix[:, 2], atol=1.5)
    lost = tracker.step(np.full_like(first, 120))
    assert not lost.found


def test_colour_only_scene_turns_an_object_about_the_line_of_sight() -> None:
    pixels = {"bottle": np.array([[200.0, 300], [220, 340]]), "cup": np.array([[420.0, 300], [440, 330]])}
    scene = build_scene(CAMERA, pixels, {"bottle": np.array([0.7, 0.72]), "cup": np.array([np.nan])})
    assert scene.scale_error == pytest.approx(0.1)
    points = scene.camera.pixels_to_task(pixels["bottle"], np.full(2, scene.depth_of["bottle"]))
    start = geometry.make_pose(np.eye(3), [*points[:, :2].mean(axis=0), 0.0])
    stamps = np.arange(10) / 30
    angle = np.linspace(0, 0.5, 10)
    turn = np.stack([np.stack([np.cos(angle), -np.sin(angle)], 1), np.stack([np.sin(angle), np.cos(angle)], 1)], 1)
    middle = pixels["bottle"].mean(axis=0)
    motion = np.concatenate([turn, (middle - np.einsum("tij,j->ti", turn, middle))[..., None]], axis=2)
    poses = object_poses(scene, "bottle", stamps, motion, np.ones(10, bool), start, middle)
    assert geometry.is_rigid(poses, 1e-9).all()
    np.testing.assert_allclose(geometry.rotation_angle(poses[0], poses[-1]), 0.5, atol=1e-6)
    in_object = points - start[:3, 3]
    again = scene.camera.task_to_pixels(geometry.transform_points(poses[-1], in_object))
    expected = pixels["bottle"] @ motion[-1, :, :2].T + motion[-1, :, 2]
    np.testing.assert_allclose(again, expected, atol=2.0)


def test_colour_only_scene_without_a_hand_says_what_to_do() -> None:
    with pytest.raises(LiftingError, match="record with depth"):
        build_scene(CAMERA, {"cup": np.ones((2, 2))}, {"cup": np.zeros(0)})
