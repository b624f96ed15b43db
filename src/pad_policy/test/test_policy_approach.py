"""The way to where a policy starts: where it begins, what it keeps clear of, and that it waits for the arms."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("roboplan", reason="needs the planner")

from pad_augment.kinematics import Robot, RobotProfile
from pad_policy.actions import from_poses
from pad_policy.approach import (
    RATE_HZ,
    Approach,
    Obstacle,
    TouchingError,
    away_from_start,
    obstacles_of,
    plan_approach,
    start_posture,
)
from pad_policy.environment import JointMeasurement
from pad_policy.robot_limits import command_joint_names, gate_limits
from pad_policy.safety import CommandGate, GateState

PROFILE = Path(__file__).parents[2] / "pad_bringup/config/robots/ur5e_pair.yaml"
OPENINGS = np.array([0.05, 0.05])
#: rad, another place from which the straight line to home is free
AWAY = np.array([0.8, 0, -0.4, 0, 0.9, 0, 0, 0, 0.6, 0, 0, 0])


@pytest.fixture(scope="module")
def robot() -> Robot:
    return Robot(RobotProfile.load(PROFILE))


def tcps(robot: Robot, joints: np.ndarray) -> np.ndarray:
    return np.stack([robot.fk(arm, joints[robot.columns(arm)]) for arm in range(2)])


def test_far_from_the_start_is_said_and_near_is_not(robot: Robot) -> None:
    home = robot.home.ravel()
    start_ee = from_poses(tcps(robot, home), OPENINGS)
    assert away_from_start(tcps(robot, home), start_ee, 0.2, 0.8) == ""
    moved = tcps(robot, home + AWAY)
    said = away_from_start(moved, start_ee, 0.2, 0.8)
    assert "far from where the policy starts" in said and "left TCP" in said and "/pad/approach" in said
    assert away_from_start(moved, start_ee, 5.0, 3.2) == ""
    assert "rad" in away_from_start(moved, start_ee, 5.0, 0.1)


def test_the_start_posture_reaches_the_end_effectors_near_home(robot: Robot) -> None:
    home = robot.home.ravel()
    posture = start_posture(robot, from_poses(tcps(robot, home + 0.1), OPENINGS))
    np.testing.assert_allclose(posture, home + 0.1, atol=1e-6)


def test_a_slower_way_takes_longer_and_ends_where_it_should(robot: Robot) -> None:
    home = robot.home.ravel()
    slow, quick = (plan_approach(robot, home + AWAY, home, OPENINGS, {}, speed) for speed in (0.2, 1.0))
    for way in (slow, quick):
        np.testing.assert_allclose(way[[0, -1]], [home + AWAY, home], atol=1e-9)
    assert len(slow) > 3 * len(quick)
    assert np.all(np.abs(np.diff(slow, axis=0)) * RATE_HZ <= 0.2 * robot.velocity_limits.ravel() * 1.01)


def test_a_way_goes_around_what_is_in_it(robot: Robot) -> None:
    home = robot.home.ravel()
    start = home + 1.6 * np.eye(12)[0]
    straight = plan_approach(robot, start, home, OPENINGS, {}, 1.0)
    middle = robot.fk(0, straight[len(straight) // 2][:6])[:2, 3]
    around = plan_approach(robot, start, home, OPENINGS, {"post": Obstacle(middle, 0.03, 0.3)}, 1.0)
    assert len(around) > len(straight)
    tcp = robot.fk(0, around[:, :6])[:, :3, 3]
    over_it = np.linalg.norm(tcp[:, :2] - middle, axis=1) < 0.03
    assert np.all(tcp[over_it, 2] > 0.3)


def test_arms_that_touch_something_are_refused(robot: Robot) -> None:
    home = robot.home.ravel()
    here = robot.fk(0, (home + AWAY)[:6])[:2, 3]
    with pytest.raises(TouchingError, match="start of stretch 0 collides"):
        plan_approach(robot, home + AWAY, home, OPENINGS, {"post": Obstacle(here, 0.05, 0.9)}, 1.0)


def test_obstacles_enclose_the_keypoints_that_are_known() -> None:
    points = np.array([[0.1, 0.0, 0.2], [0.2, 0.0, 0.0], [9.0, 9.0, 9.0], [0.0, 0.5, 0.1]])
    found = obstacles_of(points, np.array([True, True, False, False]), ["cup", "cup", "cup", "lost"])
    assert list(found) == ["cup"]
    np.testing.assert_allclose(found["cup"].centre, [0.15, 0.0])
    assert found["cup"].radius > 0.05 and found["cup"].height > 0.2


def test_the_gate_leads_the_arms_there_and_the_way_waits_for_them(robot: Robot) -> None:
    home = robot.home.ravel()
    names = command_joint_names(robot)
    gate = CommandGate(names, gate_limits(robot))
    way = plan_approach(robot, home + AWAY, home, OPENINGS, {}, 0.5)
    approach = Approach(way, OPENINGS, names)
    joints, now, stuck = home + AWAY, 0.0, 0
    gate.tick(now, JointMeasurement(now, joints, OPENINGS))
    assert gate.enable(now) == ""
    while not approach.arrived(joints) and now < 60.0:
        if round(now / 0.008) % 12 == 0:
            gate.accept(approach.chunk(now, joints), now, by_sight=False)
        now += 0.008
        out = gate.tick(now, JointMeasurement(now, joints, OPENINGS))
        assert out.report.state == GateState.RUNNING
        if 1.0 < now < 3.0:  # held back by somebody
            before = approach.fraction
            stuck += 1
        else:
            assert out.joints is not None
            joints = out.joints
    assert approach.arrived(joints) and stuck
    assert before < 1.0
