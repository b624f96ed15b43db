"""The cell in motion: resets repeat, servos follow, and physics lets a scripted pour succeed."""

import numpy as np
import pytest

from pad_augment.kinematics import Robot
from pad_bringup.cell import Cell
from pad_bringup.cell.environment import CellEnvironment
from pad_bringup.cell.open_loop import replay_action
from pad_bringup.cell.pour_motion import HELD_OBJECTS, default_grasps, pour_motion
from pad_bringup.cell.scripted import SQUEEZE, scripted_run
from pad_parse import geometry
from pad_policy.environment import Environment


@pytest.fixture(scope="module")
def cell() -> Cell:
    return Cell()


@pytest.fixture(scope="module")
def robot(cell: Cell) -> Robot:
    return Robot(cell.profile)


def _motion(robot: Robot, rate: float = 60.0):
    objects = {"bottle": geometry.yaw_pose(0.02, -0.2, 0.3), "cup": geometry.yaw_pose(-0.03, 0.15, -0.2)}
    start = np.stack([robot.fk(arm, robot.home[arm]) for arm in range(2)])
    return objects, pour_motion(objects, default_grasps(), start, rate=rate)


def test_reset_repeats_and_the_drink_is_in_the_bottle(cell: Cell) -> None:
    states = []
    for _ in range(2):
        cell.reset(cell.sample_placements(np.random.default_rng(4)), np.random.default_rng(4))
        states.append(cell.data.qpos.copy())
    np.testing.assert_array_equal(*states)
    from pad_bringup.cell.outcome import contained

    assert contained(cell.drink(), cell.object_pose("bottle"), cell.objects.models["bottle"]).all()
    outcome = cell.outcome()
    assert not outcome.success and outcome.bottle_upright and outcome.cup_upright
    assert outcome.cause == "0 of 25 balls are in the cup"
    assert cell.time == 0.0


def test_servos_follow_with_little_lag(cell: Cell, robot: Robot) -> None:
    cell.reset()
    speed, step = 0.5, 0.008
    lag = 0.0
    for k in range(125):
        q = robot.home.ravel() + speed * step * (k + 1)
        cell.command(q, [0.1, 0.1])
        cell.step(step)
        lag = float(np.max((q - cell.joint_positions) / speed))
    assert lag < 0.04
    cell.step(0.5)
    np.testing.assert_allclose(cell.joint_positions, q, atol=1e-3)


def test_grippers_reach_their_opening_and_keep_to_their_range(cell: Cell) -> None:
    cell.reset()
    cell.command(cell.commanded[0], [0.03, 0.5])
    cell.step(0.7)
    np.testing.assert_allclose(cell.openings, [0.03, 0.11], atol=1e-3)
    np.testing.assert_allclose(2 * cell.finger_positions, cell.openings, atol=1e-3)


def test_motion_is_smooth_and_tells_its_phase(robot: Robot) -> None:
    objects, motion = _motion(robot)
    rate = 60.0
    speed = np.linalg.norm(np.diff(motion.gripper_poses[:, :, :3, 3], axis=0), axis=-1) * rate
    assert speed.max() < 0.6
    turn = geometry.rotation_angle(motion.gripper_poses[1:], motion.gripper_poses[:-1]) * rate
    assert turn.max() < 2.5
    for name in HELD_OBJECTS:
        np.testing.assert_allclose(motion.object_poses[name][0], objects[name], atol=1e-9)
    tilt = np.degrees(np.arccos(np.clip(motion.object_poses["bottle"][:, 2, 2], -1, 1)))
    assert 115 < tilt.max() < 125
    # No dwell at the end of the tilt: within 2 degrees of it for less than 0.4 s.
    assert np.sum(tilt > tilt.max() - 2) / rate < 0.4
    assert tilt[-1] < 1
    still = motion.stamps > motion.stamps[-1] - 0.4
    assert np.ptp(motion.gripper_poses[still, :, :3, 3], axis=0).max() < 0.002
    assert list(dict.fromkeys(motion.phases)) == [
        "wait",
        "reach",
        "approach",
        "close",
        "lift",
        "meet",
        "pour",
        "return",
        "hold",
    ]


def test_motion_does_not_depend_on_the_rate(robot: Robot) -> None:
    _, slow = _motion(robot, 30.0)
    _, fast = _motion(robot, 60.0)
    np.testing.assert_allclose(slow.gripper_poses, fast.gripper_poses[::2], atol=1e-9)


def test_scripted_run_fills_the_cup(cell: Cell, robot: Robot) -> None:
    cell.reset({"bottle": (0.03, -0.21, 0.2), "cup": (-0.02, 0.16, -0.2)})
    run = scripted_run(cell, robot)
    assert run.outcome.success, run.outcome.cause
    assert run.slip < 0.012
    assert run.tracking_error.max() < 0.02


def test_commands_at_ten_hertz_pour_as_well(cell: Cell, robot: Robot) -> None:
    places = {"bottle": (-0.02, -0.16, -0.1), "cup": (0.04, 0.2, 0.1)}
    cell.reset(places, joints=robot.home.ravel() + 0.02)
    start = np.stack([robot.fk(arm, robot.home[arm]) for arm in range(2)])
    poses = {name: cell.object_pose(name) for name in HELD_OBJECTS}
    motion = pour_motion(poses, default_grasps(), start, rate=10.0)
    squeezed = np.where(motion.held, motion.openings - SQUEEZE, motion.openings)
    action = np.concatenate(
        [
            np.concatenate([pose[:, :3, 3], geometry.rotation_6d(pose[:, :3, :3]), opening[:, None]], axis=1)
            for pose, opening in zip(np.moveaxis(motion.gripper_poses, 1, 0), squeezed.T, strict=True)
        ],
        axis=1,
    )
    outcome = replay_action(cell, robot, action, 10.0)
    assert outcome.success, outcome.cause


def test_environment_is_what_the_policy_expects(cell: Cell) -> None:
    environment = CellEnvironment(cell)
    assert isinstance(environment, Environment)
    environment.reset(3)
    first = environment.observe_keypoints()
    environment.reset(3)
    np.testing.assert_array_equal(first.points_in_task, environment.observe_keypoints().points_in_task)
    assert first.points_in_task.shape == (len(environment.keypoint_names), 3)
    assert np.linalg.norm(first.points_in_task - cell.keypoints(), axis=1).max() < 0.03
    measured = environment.advance(None, np.array([0.05, 0.05]), 0.3)
    assert measured.stamp == pytest.approx(0.3)
    assert measured.openings.max() < 0.09
    assert not environment.outcome().success
