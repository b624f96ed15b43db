"""The closed form of the UR arms against its own forward kinematics, and at the edges of reach."""

import numpy as np
import pytest

from pad_augment.ur_closed_form import UR5E, forward, inverse


def turns(angle: np.ndarray) -> np.ndarray:
    """Angles brought to (-pi, pi]."""
    return np.pi - (np.pi - angle) % (2 * np.pi)


def test_zero_position_is_the_makers() -> None:
    """Stretched along -x of the base frame, flange facing -y: the published table at zero."""
    pose = forward(UR5E, np.zeros(6))
    np.testing.assert_allclose(pose[:3, 3], [-0.8172, -0.2329, 0.0628], atol=1e-12)
    np.testing.assert_allclose(pose[:3, 2], [0.0, -1.0, 0.0], atol=1e-12)


def test_every_solution_reaches_and_the_original_is_among_them() -> None:
    q = np.random.default_rng(3).uniform(-np.pi, np.pi, (500, 6))
    poses = forward(UR5E, q)
    solutions = inverse(UR5E, poses)
    assert solutions.shape == (500, 8, 6)
    found = np.isfinite(solutions).all(-1)
    assert (found == np.isfinite(solutions).any(-1)).all()
    assert found.any(1).all()
    reached = forward(UR5E, np.nan_to_num(solutions))
    error = np.abs(reached - poses[:, None]).max((-1, -2))
    assert error[found].max() < 1e-6
    assert np.abs(solutions[found]).max() <= np.pi
    distance = np.abs(turns(np.where(found[..., None], solutions, 9.0) - q[:, None])).max(-1)
    distance[~found] = np.inf
    assert distance.min(1).max() < 1e-5


def test_solutions_of_one_pose_differ() -> None:
    q = np.array([0.3, -1.2, 1.6, -0.9, 1.1, 0.4])
    solutions = inverse(UR5E, forward(UR5E, q))
    assert np.isfinite(solutions).all()
    for first in range(8):
        for second in range(first):
            assert np.abs(turns(solutions[first] - solutions[second])).max() > 1e-3


def test_a_row_is_followed_along_a_path() -> None:
    start, end = np.array([0.2, -1.3, 1.5, -1.0, 1.2, 0.1]), np.array([0.5, -1.0, 1.2, -0.6, 0.9, 0.6])
    path = start + np.linspace(0, 1, 60)[:, None] * (end - start)
    solutions = inverse(UR5E, forward(UR5E, path))
    row = np.abs(solutions[0] - start).max(-1).argmin()
    np.testing.assert_allclose(solutions[:, row], path, atol=1e-8)


@pytest.mark.parametrize("position", [(1.5, 0.0, 0.3), (0.0, 0.05, 0.5)])
def test_out_of_reach_is_nan(position: tuple[float, float, float]) -> None:
    pose = np.eye(4)
    pose[:3, 3] = position
    assert np.isnan(inverse(UR5E, pose)).all()


def test_wrist_singularity_still_reaches() -> None:
    pose = forward(UR5E, np.array([0.3, -1.2, 1.6, -0.9, 0.0, 0.4]))
    solutions = inverse(UR5E, pose)
    found = np.isfinite(solutions).all(-1)
    assert found.any()
    np.testing.assert_allclose(forward(UR5E, solutions[found]), np.broadcast_to(pose, (found.sum(), 4, 4)), atol=1e-6)
