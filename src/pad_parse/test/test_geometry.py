"""Group axioms, round trips and recovery under noise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pad_parse import geometry as g
from pad_parse.errors import GeometryError

seeds = st.integers(0, 2**32 - 1)


def random_pose(rng, *shape):
    return g.make_pose(g.rotation_exp(rng.normal(size=(*shape, 3))), rng.normal(size=(*shape, 3)))


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_se3_axioms(seed):
    a, b, c = random_pose(np.random.default_rng(seed), 3)
    assert np.allclose(g.compose(a, g.inverse(a)), np.eye(4))
    assert np.allclose(g.compose(g.compose(a, b), c), g.compose(a, g.compose(b, c)))
    assert np.allclose(g.inverse(g.compose(a, b)), g.compose(g.inverse(b), g.inverse(a)))
    assert g.is_rigid(g.compose(a, b, c))


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_rotation_representations_round_trip(seed):
    pose = random_pose(np.random.default_rng(seed), 2, 3)
    r = pose[..., :3, :3]
    assert np.allclose(g.from_rotation_6d(g.rotation_6d(r)), r)
    q = g.quaternion_xyzw(pose)
    assert q.shape == (2, 3, 4) and np.all(q[..., 3] >= 0)
    assert np.allclose(g.from_quaternion_xyzw(-3 * q), r)
    assert np.allclose(g.rotation_exp(g.rotation_log(r)), r)


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_projection_round_trip(seed):
    rng = np.random.default_rng(seed)
    k = np.array([[rng.uniform(200, 900), rng.normal(), 320.0], [0, rng.uniform(200, 900), 240.0], [0, 0, 1]])
    points = rng.uniform([-1, -1, 0.1], [1, 1, 5], (2, 7, 3))
    assert np.allclose(g.unproject(g.project(points, k), points[..., 2], k), points)
    assert np.all(np.isnan(g.project([[0, 0, -1.0]], k)))
    assert np.all(np.isnan(g.unproject([[1.0, 2.0]], [0.0], k)))


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(3, 30))
def test_kabsch_recovers_under_noise_and_ignores_zero_weight(seed, count):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(count, 3))
    pose = random_pose(rng)
    assert np.allclose(g.kabsch(a, g.transform_points(pose, a)), pose, atol=1e-6)
    b = g.transform_points(pose, a) + rng.normal(size=a.shape) * 1e-3
    fit = g.kabsch(a, b)
    assert g.is_rigid(fit)
    error = np.linalg.norm(g.transform_points(fit, a) - b, axis=1)
    assert np.sqrt((error**2).mean()) <= np.sqrt(((g.transform_points(pose, a) - b) ** 2).sum(1).mean()) + 1e-12
    weights = np.r_[np.ones(count), 0.0]
    far = np.r_[b, [[100.0, 100, 100]]]
    assert np.allclose(g.kabsch(np.r_[a, [[0.0, 0, 0]]], far, weights), fit)


def test_kabsch_never_mirrors_a_plane():
    rng = np.random.default_rng(0)
    a = np.c_[rng.normal(size=(8, 2)), np.zeros(8)]
    assert g.is_rigid(g.kabsch(a, a * [1, -1, 1]))


@settings(max_examples=30, deadline=None)
@given(seeds, st.floats(0, 1))
def test_interpolation_is_geodesic(seed, s):
    a, b = random_pose(np.random.default_rng(seed), 2)
    assert np.allclose(g.interpolate_pose(a, b, 0.0), a) and np.allclose(g.interpolate_pose(a, b, 1.0), b)
    middle = g.interpolate_pose(a, b, s)
    assert g.is_rigid(middle)
    assert np.isclose(g.rotation_angle(a, middle), s * g.rotation_angle(a, b), atol=1e-6)
    assert g.interpolate_pose(a, b, np.linspace(0, 1, 5)).shape == (5, 4, 4)


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_reflection_is_an_involution_and_a_homomorphism(seed):
    a, b = random_pose(np.random.default_rng(seed), 2)
    assert np.allclose(g.reflect_pose(g.reflect_pose(a)), a) and g.is_rigid(g.reflect_pose(a))
    assert np.allclose(g.reflect_pose(a @ b), g.reflect_pose(a) @ g.reflect_pose(b))


def test_smoothing_reduces_noise_and_keeps_ends():
    rng = np.random.default_rng(1)
    true = g.interpolate_pose(np.eye(4), g.make_pose(g.rotation_exp([0, 2.0, 0]), [0.3, 0, 0]), np.linspace(0, 1, 60))
    noisy = true @ g.make_pose(g.rotation_exp(rng.normal(size=(60, 3)) * 0.05), rng.normal(size=(60, 3)) * 0.005)
    smooth = g.smooth_poses(noisy, 2.0)
    assert np.all(g.is_rigid(smooth))
    assert np.linalg.norm((smooth - true)[:, :3, 3]) < 0.7 * np.linalg.norm((noisy - true)[:, :3, 3])
    assert g.rotation_angle(smooth, true).mean() < 0.7 * g.rotation_angle(noisy, true).mean()
    assert np.allclose(smooth[[0, -1]], noisy[[0, -1]])
    assert np.allclose(g.smooth_poses(noisy, 0.0), noisy)


def test_yaw_pose_broadcasts():
    poses = g.yaw_pose([0.1, 0.2], 0.3, [0.0, np.pi / 2])
    assert poses.shape == (2, 4, 4)
    assert np.allclose(g.transform_points(poses[1], [1.0, 0, 0]), [0.2, 1.3, 0])


@pytest.mark.parametrize(
    "call",
    [
        lambda: g.inverse(np.eye(3)),
        lambda: g.kabsch(np.zeros((2, 3)), np.zeros((2, 3))),
        lambda: g.kabsch(np.zeros((4, 3)), np.zeros((4, 3)), np.zeros(4)),
        lambda: g.from_rotation_6d([1, 0, 0, 2, 0, 0]),
        lambda: g.from_rotation_6d(np.full(6, np.nan)),
        lambda: g.from_quaternion_xyzw(np.zeros(4)),
        lambda: g.compose(),
        lambda: g.smooth_poses(np.eye(4), 1.0),
    ],
)
def test_wrong_input_is_a_typed_error(call):
    with pytest.raises(GeometryError):
        call()
