"""Workspace, distances and keypoints: what the gate lets through keeps them, whatever it is asked for."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pad_augment.kinematics import Robot, RobotProfile
from pad_policy.chunking import JointChunk
from pad_policy.clearance import ArmClearance, _segment_distance
from pad_policy.environment import JointMeasurement
from pad_policy.errors import ChunkError, ConfigError
from pad_policy.guard import MotionGuard, Workspace
from pad_policy.keypoint_health import HealthLimits, KeypointHealth
from pad_policy.robot_limits import command_joint_names, gate_limits
from pad_policy.safety import CommandGate, GateState, GateTiming

PROFILE = Path(__file__).parents[2] / "pad_bringup" / "config" / "robots" / "ur5e_pair.yaml"
PERIOD = 0.008
BOXES = Workspace(np.tile([-0.6, -0.8, 0.0], (2, 1)), np.tile([0.6, 0.8, 0.9], (2, 1)))


@pytest.fixture(scope="module")
def robot() -> Robot:
    return Robot(RobotProfile.load(PROFILE))


@pytest.fixture(scope="module")
def guard(robot: Robot) -> MotionGuard:
    return MotionGuard(BOXES, ArmClearance(robot))


def home(robot: Robot) -> np.ndarray:
    return np.concatenate([robot.home.ravel(), [0.1, 0.1]])


def test_poses_are_those_of_the_kinematics(robot: Robot) -> None:
    clearance = ArmClearance(robot)
    rng = np.random.default_rng(0)
    joints = rng.uniform(-2, 2, (5, 12))
    tcps = clearance.tcps(clearance.poses(np.concatenate([joints, np.full((5, 2), 0.05)], axis=1)))
    for arm in range(2):
        expected = robot.fk(arm, joints[:, 6 * arm : 6 * arm + 6])[:, :3, 3]
        np.testing.assert_allclose(tcps[:, arm], expected, atol=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_segment_distance_is_the_smallest_of_many_points(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = rng.normal(size=(2, 1, 2, 3))
    t = np.linspace(0, 1, 60)[:, None]
    a = first[0, 0] + t * (first[0, 1] - first[0, 0])
    b = second[0, 0] + t * (second[0, 1] - second[0, 0])
    sampled = np.linalg.norm(a[:, None] - b[None], axis=-1).min()
    exact = float(_segment_distance(first, second)[0])
    assert exact <= sampled + 1e-9 and sampled - exact < 0.15


def test_arms_that_meet_have_no_room(robot: Robot, guard: MotionGuard) -> None:
    apart = guard.look(home(robot)[None])
    assert apart.room[0] > 0.02 and not apart.outside.any()
    together = home(robot)
    target = robot.fk(0, robot.home[0])
    target[:3, 3] = robot.fk(1, robot.home[1])[:3, 3]
    together[:6] = robot.ik(0, target)
    assert guard.look(together[None]).room[0] < 0


def test_workspace_needs_boxes() -> None:
    with pytest.raises(ConfigError, match="lower < upper"):
        Workspace(BOXES.upper, BOXES.lower)
    with pytest.raises(ConfigError, match="2 x 3"):
        Workspace(np.zeros(3), np.ones(3))


def enabled(robot: Robot, guard: MotionGuard | None, health: KeypointHealth | None = None) -> CommandGate:
    timing = GateTiming(largest_jump=10.0, largest_start=10.0, largest_lag=6.3)  # the robot stands still
    gate = CommandGate(command_joint_names(robot), gate_limits(robot), timing, guard, health)
    gate.tick(0.0, JointMeasurement(0.0, home(robot)[:12], home(robot)[12:]))
    assert gate.enable(0.0) == ""
    return gate


def send(gate: CommandGate, robot: Robot, stamp: float, targets: np.ndarray) -> None:
    times = 0.2 * np.arange(1, len(targets) + 1)
    gate.accept(JointChunk(stamp, command_joint_names(robot), times, targets, np.full((len(targets), 2), 0.1)), stamp)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10**6))
def test_nothing_leaves_the_workspace_or_comes_too_close(robot: Robot, guard: MotionGuard, seed: int) -> None:
    rng = np.random.default_rng(seed)
    gate = enabled(robot, guard)
    emitted, now = [], 0.0
    for k in range(120):
        now += PERIOD
        if k % 30 == 0:
            goal = home(robot)[:12] + rng.normal(0, 1.2, 12)
            send(gate, robot, now, np.linspace(0.3, 1.0, 4)[:, None] * (goal - home(robot)[:12]) + home(robot)[:12])
        out = gate.tick(now, JointMeasurement(now, home(robot)[:12], home(robot)[12:]))
        assert out.joints is not None and out.openings is not None
        emitted.append(np.concatenate([out.joints, out.openings]))
    seen = guard.look(np.array(emitted), exact=True)
    assert seen.room.min() >= 0 and seen.outside.max() == 0


def test_arms_sent_into_each_other_stop_short_and_it_is_counted(robot: Robot, guard: MotionGuard) -> None:
    gate = enabled(robot, guard)
    goal = home(robot)[:12].copy()
    for arm, y in enumerate((-0.1, 0.1)):  # hands past each other
        pose = robot.fk(arm, robot.home[arm])
        pose[:3, 3] = [0.0, y, 0.25]
        goal[6 * arm : 6 * arm + 6] = robot.ik(arm, pose)
    now, emitted = 0.0, []
    send(gate, robot, 0.0, np.linspace(0.1, 1, 12)[:, None] * (goal - home(robot)[:12]) + home(robot)[:12])
    while now < 2.6:
        now += PERIOD
        out = gate.tick(now, JointMeasurement(now, home(robot)[:12], home(robot)[12:]))
        emitted.append(np.concatenate([out.joints, out.openings]))
    assert out.report.distance_limited > 0 and out.report.state == GateState.RUNNING
    assert guard.look(np.array(emitted), exact=True).room.min() >= 0
    assert np.abs(emitted[-1][:12] - home(robot)[:12]).max() > 0.2  # went as far as it could


def test_a_start_far_away_is_refused(robot: Robot) -> None:
    gate = CommandGate(command_joint_names(robot), gate_limits(robot))
    gate.tick(0.0, JointMeasurement(0.0, home(robot)[:12], home(robot)[12:]))
    assert gate.enable(0.0) == ""
    with pytest.raises(ChunkError, match="far from where the policy starts"):
        send(gate, robot, 0.0, np.tile(home(robot)[:12] + 0.6, (3, 1)))


def test_late_ticks_give_the_same_motion(robot: Robot) -> None:
    goal = home(robot)[:12] + 0.3
    rows = np.linspace(0.2, 1, 5)[:, None] * (goal - home(robot)[:12]) + home(robot)[:12]
    ends = []
    for steps in (np.full(96, 1), np.tile([3, 1, 4, 2, 2], 8)):  # beats between ticks; both make 96
        gate = enabled(robot, None)
        send(gate, robot, 0.0, rows)
        now = 0.0
        for step in steps:
            now += step * PERIOD
            out = gate.tick(now, JointMeasurement(now, home(robot)[:12], home(robot)[12:]))
        ends.append(out.joints)
    np.testing.assert_allclose(ends[0], ends[1], atol=1e-9)


def test_a_pause_is_made_up_from_rest(robot: Robot) -> None:
    gate = enabled(robot, None)
    send(gate, robot, 0.0, np.tile(home(robot)[:12] + 0.3, (4, 1)))
    still = home(robot)
    before = [gate.tick(k * PERIOD, JointMeasurement(k * PERIOD, still[:12], still[12:])) for k in range(20)]
    late = 20 * PERIOD + 0.15
    after = gate.tick(late, JointMeasurement(late, home(robot)[:12], home(robot)[12:]))
    np.testing.assert_allclose(after.joints, before[-1].joints)
    assert after.report.pauses == 1
    follows = gate.tick(late + PERIOD, JointMeasurement(late, home(robot)[:12], home(robot)[12:]))
    assert np.abs(follows.joints - after.joints).max() < 1e-3  # gathers speed anew


def test_keypoints_that_are_old_lost_or_jumping_hold_the_arms(robot: Robot) -> None:
    limits = HealthLimits(timeout=0.3, lost_timeout=0.5, largest_jump=0.1)
    for share, jump, until, reason in (
        (1.0, 0.0, 0.1, "no keypoints"),
        (0.0, 0.0, 9.0, "group cup has been lost"),
        (1.0, 0.2, 9.0, "jumped by 0.20 m"),
    ):
        gate = enabled(robot, None, KeypointHealth(limits))
        gate.see_keypoints(0.0, {"cup": 1.0}, 0.0)
        send(gate, robot, 0.0, np.tile(home(robot)[:12], (8, 1)))
        now, states = 0.0, []
        while now < 0.9:
            now += PERIOD
            if now < until and round(now / PERIOD) % 8 == 0:
                gate.see_keypoints(now, {"cup": share}, jump)
            out = gate.tick(now, JointMeasurement(now, home(robot)[:12], home(robot)[12:]))
            states.append(out.report.state)
        assert states[0] == GateState.RUNNING and states[-1] == GateState.HOLDING
        assert reason in out.report.cause and out.report.keypoint_holds == 1
