"""Laws of the transfer: what is kept is kept to 1e-9."""

import numpy as np
import pytest

from pad_augment import equivariance
from pad_parse import geometry


def random_poses(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return geometry.make_pose(geometry.rotation_exp(rng.normal(size=(*shape, 3))), rng.uniform(-1, 1, (*shape, 3)))


@pytest.mark.parametrize("seed", range(5))
def test_a_carried_skill_keeps_its_pose_relative_to_the_object(seed: int) -> None:
    rng = np.random.default_rng(seed)
    before, after, grippers = random_poses(rng), random_poses(rng), random_poses(rng, 20)
    moved = equivariance.carry(equivariance.change_of_pose(before, after), grippers)
    np.testing.assert_allclose(geometry.inverse(after) @ moved, geometry.inverse(before) @ grippers, atol=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_one_change_for_both_arms_keeps_one_hand_in_the_other(seed: int) -> None:
    rng = np.random.default_rng(seed)
    change, left, right = random_poses(rng), random_poses(rng, 20), random_poses(rng, 20)
    moved = [equivariance.carry(change, poses) for poses in (left, right)]
    np.testing.assert_allclose(geometry.inverse(moved[0]) @ moved[1], geometry.inverse(left) @ right, atol=1e-9)


def test_no_change_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    pose, grippers = random_poses(rng), random_poses(rng, 20)
    np.testing.assert_allclose(
        equivariance.carry(equivariance.change_of_pose(pose, pose), grippers), grippers, atol=1e-9
    )


def test_held_keypoints_stay_rigid_in_the_gripper() -> None:
    rng = np.random.default_rng(0)
    grippers, offset, points = random_poses(rng, 20), random_poses(rng), rng.uniform(-0.1, 0.1, (7, 3))
    moved = equivariance.keypoints_of(equivariance.held_object(grippers, offset), points)
    in_gripper = geometry.transform_points(geometry.inverse(grippers), moved)
    np.testing.assert_allclose(in_gripper, np.broadcast_to(in_gripper[0], in_gripper.shape), atol=1e-9)


def test_reflecting_twice_is_the_identity_and_keeps_rotations_proper() -> None:
    rng = np.random.default_rng(0)
    left, right = random_poses(rng, 20), random_poses(rng, 20)
    once = equivariance.reflect(left, right)
    assert geometry.is_rigid(once[0]).all() and geometry.is_rigid(once[1]).all()
    np.testing.assert_allclose(once[0][:, :3, 3], right[:, :3, 3] * [1, -1, 1], atol=1e-9)
    twice = equivariance.reflect(*once)
    np.testing.assert_allclose(twice[0], left, atol=1e-9)
    np.testing.assert_allclose(twice[1], right, atol=1e-9)
