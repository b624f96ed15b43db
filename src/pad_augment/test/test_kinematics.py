"""Kinematics of the arm pair: forward and inverse agree, paths are continuous, bad input is refused."""

from pathlib import Path

import numpy as np
import pour_scene
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pad_augment.errors import IkError, JointLimitError, RobotError
from pad_augment.kinematics import Robot, RobotProfile
from pad_parse import geometry


@pytest.fixture(scope="module")
def robot() -> Robot:
    return pour_scene.robot()


@pytest.fixture(scope="module")
def numeric_robot() -> Robot:
    profile = RobotProfile.load(pour_scene.PROFILE)
    arms = {n: getattr(profile.arms, n).model_copy(update={"ik": "numeric"}) for n in ("left", "right")}
    return Robot(profile.model_copy(update={"arms": profile.arms.model_copy(update=arms)}))


@pytest.mark.parametrize("arm", [0, 1])
def test_forward_of_inverse_is_identity(robot: Robot, arm: int) -> None:
    rng = np.random.default_rng(arm)
    poses = robot.fk(arm, rng.uniform(-2.5, 2.5, (200, 6)))
    for pose in poses:
        for q in robot.solutions(arm, pose):
            np.testing.assert_allclose(robot.fk(arm, q), pose, atol=1e-9)


@pytest.mark.parametrize("arm", [0, 1])
def test_inverse_finds_the_joints_that_it_is_near_to(robot: Robot, arm: int) -> None:
    rng = np.random.default_rng(arm)
    for _ in range(50):
        q = robot.home[arm] + rng.uniform(-0.4, 0.4, 6)
        np.testing.assert_allclose(robot.ik(arm, robot.fk(arm, q), q + 0.01), q, atol=1e-8)


@pytest.mark.parametrize("arm", [0, 1])
def test_a_path_is_followed_without_jumps(robot: Robot, arm: int) -> None:
    s = np.linspace(0, 1, 120)[:, None]
    q = robot.home[arm] + s * np.array([0.5, -0.4, 0.3, 0.6, -0.3, 2.0])
    np.testing.assert_allclose(robot.ik_path(arm, robot.fk(arm, q), robot.home[arm]), q, atol=1e-8)


def test_a_joint_goes_past_half_a_turn_but_not_past_its_limit(robot: Robot) -> None:
    s = np.linspace(0, 1, 300)[:, None]
    turning = np.array([0.0, 0, 0, 0, 0, 1.0])
    to_the_limit = robot.upper_limits[0, 5] - robot.home[0, 5]
    inside = robot.home[0] + s * turning * (to_the_limit - 0.1)
    np.testing.assert_allclose(robot.ik_path(0, robot.fk(0, inside)), inside, atol=1e-8)
    # Beyond the limit there is only a jump to another turn left, which the path takes if no other posture reaches it.
    beyond = robot.ik_path(0, robot.fk(0, robot.home[0] + s * turning * (to_the_limit + 0.5)))
    assert (beyond <= robot.upper_limits[0]).all()


def test_out_of_reach_names_the_pose(robot: Robot) -> None:
    poses = np.repeat(robot.fk(1, robot.home[1])[None], 5, axis=0)
    poses[3, 0, 3] += 3.0
    with pytest.raises(IkError, match="right arm cannot reach pose 3") as caught:
        robot.ik_path(1, poses)
    assert (caught.value.arm, caught.value.index) == (1, 3)
    assert not isinstance(caught.value, JointLimitError)


def test_numeric_inverse_agrees_with_the_closed_form(robot: Robot, numeric_robot: Robot) -> None:
    s = np.linspace(0, 1, 15)[:, None]
    q = robot.home[0] + s * np.array([0.3, -0.2, 0.2, 0.1, -0.2, 0.4])
    np.testing.assert_allclose(numeric_robot.ik_path(0, robot.fk(0, q)), q, atol=1e-5)


def test_home_is_within_limits_and_both_arms_mirror_their_poses(robot: Robot) -> None:
    assert ((robot.home > robot.lower_limits) & (robot.home < robot.upper_limits)).all()
    left, right = (robot.fk(arm, robot.home[arm])[:3, 3] for arm in (0, 1))
    np.testing.assert_allclose(left * [1, -1, 1], right, atol=0.02)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"unknown": 1}, "known keys"),
        ({"arms.left.max_opening": -1}, "max_opening"),
        ({"arms.left.joints": ["a"] * 6}, "not the description's|is not in the profile"),
        ({"arms.right.tcp_link": "nothing"}, "no link 'nothing'"),
        ({"description": "missing.xacro"}, "does not exist"),
        ({"arms.left.home": [0.0] * 7}, "home has 7 values for 6 joints"),
        ({"arms.right.jerk_limits": [1.0]}, "jerk_limits has 1 values for 6 joints"),
        ({"arms.right.velocity_limits": [0.0] * 6}, "velocity_limits must be positive"),
        ({"arms.left.finger_joint": "thumb"}, "no joint 'thumb'"),
    ],
)
def test_a_wrong_profile_is_refused_in_one_line(tmp_path: Path, change: dict, message: str) -> None:
    content = yaml.safe_load(pour_scene.PROFILE.read_text())
    for key in ("description", "srdf"):
        content[key] = str((pour_scene.PROFILE.parent / content[key]).resolve())
    for key, value in change.items():
        *path, last = key.split(".")
        place = content
        for part in path:
            place = place[part]
        place[last] = value
    path = tmp_path / "robot.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(RobotError, match=message) as caught:
        Robot(RobotProfile.load(path))
    assert "\n" not in str(caught.value)


def test_a_missing_profile_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RobotError, match="cannot be read"):
        RobotProfile.load(tmp_path / "none.yaml")


def test_a_posture_changes_where_elbow_or_wrist_are_straight() -> None:
    robot = pour_scene.robot()
    for arm in (0, 1):
        home = robot.home[arm]
        for joint in (2, 4):
            q = np.tile(home, (2, 1))
            q[:, joint] = [-0.1, 0.1]  # to both sides of straight
            assert np.prod(robot.postures(arm, q)) == -1.0
        turned = home + np.array([1.0, 0, 0, 0, 0, 2.0])  # about the pedestal and about the tool: the same posture
        assert robot.postures(arm, turned) == robot.postures(arm, home)


def test_seven_joints_have_one_posture() -> None:
    robot = pour_scene.robot("franka_pair")
    q = np.random.default_rng(0).uniform(robot.lower_limits[0], robot.upper_limits[0], (20, 7))
    np.testing.assert_array_equal(robot.postures(0, q), 1.0)


SEVEN = pour_scene.robot("franka_pair")


@given(
    arm=st.integers(0, 1),
    shift=st.tuples(*[st.floats(-0.12, 0.12)] * 3),
    turn=st.tuples(*[st.floats(-0.3, 0.3)] * 3),
)
@settings(max_examples=15)
def test_seven_joints_go_one_way(arm: int, shift: tuple, turn: tuple) -> None:
    """Poses are reached within the limits, rest is rest, and the way does not depend on its number of steps."""
    start = SEVEN.fk(arm, SEVEN.home[arm])
    goal = geometry.make_pose(geometry.rotation_exp(np.array(turn)) @ start[:3, :3], start[:3, 3] + shift)
    ends = []
    for count in (15, 60):
        poses = geometry.interpolate_pose(start, goal, np.r_[np.linspace(0, 1, count), np.ones(3)])
        path = SEVEN.ik_path(arm, poses)
        np.testing.assert_allclose(SEVEN.fk(arm, path), poses, atol=1e-5)
        assert ((path >= SEVEN.lower_limits[arm]) & (path <= SEVEN.upper_limits[arm])).all()
        np.testing.assert_array_equal(path[-3:], path[-4:-1])
        ends.append(path[-1])
    np.testing.assert_allclose(ends[0], ends[1], atol=0.02)


@pytest.mark.parametrize("arm", [0, 1])
def test_the_seventh_joint_leans_towards_home(arm: int) -> None:
    """Elbows that stood apart come together while the hand goes to and fro, and the hand does not notice."""
    aside = SEVEN.home[arm] + np.array([0.0, 0.0, 0.5, 0.0, 0.0, 0.0, 0.0])
    there = SEVEN.fk(arm, aside)
    poses = np.repeat(there[None], 81, axis=0)
    poses[:, 0, 3] += 0.1 * np.sin(np.linspace(0, 8 * np.pi, 81))
    paths = [SEVEN.ik_path(arm, poses, first) for first in (aside, SEVEN.ik(arm, there))]
    before, after = (np.linalg.norm(paths[0][k] - paths[1][k]) for k in (0, -1))
    assert before > 0.1 and after < 0.1 * before
    for path in paths:
        np.testing.assert_allclose(SEVEN.fk(arm, path), poses, atol=1e-5)


def test_a_seventh_joint_at_its_limit_stays_there_and_the_hand_goes_on() -> None:
    robot = pour_scene.robot("franka_pair")
    robot.lower_limits[0, 2] = lowest = robot.home[0, 2] - 0.05
    poses = np.repeat(robot.fk(0, robot.home[0])[None], 20, axis=0)
    poses[:, 1, 3] += np.linspace(0.0, -0.15, 20)
    free, held = SEVEN.ik_path(0, poses), robot.ik_path(0, poses)
    np.testing.assert_allclose(robot.fk(0, held), poses, atol=1e-5)
    assert (held[:, 2] >= lowest).all() and (free[:, 2] < lowest - 0.05).any()
