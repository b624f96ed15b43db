"""The cell without physics: commands come back with a lag, within the speed limits; objects stay."""

import numpy as np
import pytest

from pad_bringup.cell.mock import MockCell
from pad_bringup.errors import CellError

LAG = 0.05


@pytest.fixture(scope="module")
def cell():
    return MockCell(camera_size=(64, 48), lag=LAG)


def test_joints_follow_with_the_lag(cell):
    cell.reset()
    start = cell.joint_positions
    cell.command(start + 0.01, [0.04, 0.06])
    fingers = cell.finger_positions
    for _ in range(5):
        cell.step(LAG / 5)
    share = 1 - np.exp(-1)
    np.testing.assert_allclose(cell.joint_positions - start, 0.01 * share, atol=1e-9)
    np.testing.assert_allclose(cell.finger_positions, fingers + share * (np.array([0.02, 0.03]) - fingers), atol=1e-9)
    np.testing.assert_allclose(cell.openings, 2 * cell.finger_positions, atol=1e-9)
    assert cell.time == pytest.approx(LAG)


def test_no_joint_is_faster_than_its_limit(cell):
    cell.reset()
    limits = np.concatenate([cell.profile.arms.left.velocity_limits, cell.profile.arms.right.velocity_limits])
    before = cell.joint_positions
    cell.command(before + np.tile([1.0, -1.0], 6), [0.1, 0.1])
    cell.step(0.008)
    np.testing.assert_allclose(np.abs(cell.joint_positions - before), 0.008 * limits, rtol=1e-9)
    np.testing.assert_allclose(np.abs(cell.joint_velocities), limits, rtol=1e-9)


def test_objects_stay_and_the_tcp_follows(cell):
    cell.reset({"cup": (0.02, 0.2, 0.1)})
    poses = {name: cell.object_pose(name) for name in cell.objects.models}
    tcp = cell.tcp_pose(0)
    cell.command(cell.joint_positions + 0.1, [0.0, 0.0])
    for _ in range(100):
        cell.step(0.008)
    for name, pose in poses.items():
        np.testing.assert_array_equal(cell.object_pose(name), pose)
    assert np.linalg.norm(cell.tcp_pose(0)[:3, 3] - tcp[:3, 3]) > 0.02
    assert not cell.outcome().success


def test_bad_values_are_refused(cell):
    with pytest.raises(CellError, match="lag must be above 0"):
        MockCell(lag=0.0)
    with pytest.raises(CellError, match="time cannot go back"):
        cell.step(-0.1)
