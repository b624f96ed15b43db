"""Targets to joints, the runner's history, and the lock-step rollout with a robot that obeys."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import policy_toy
import pytest

from pad_augment.kinematics import Robot, RobotProfile
from pad_parse.geometry import make_pose
from pad_policy import actions
from pad_policy.config import TrainingConfig
from pad_policy.environment import Environment, JointMeasurement, KeypointObservation
from pad_policy.errors import MismatchError, PolicyError, RolloutError
from pad_policy.inference import OnnxPolicy
from pad_policy.reaching import LARGEST_STEP, reach
from pad_policy.robot_limits import command_joint_names, gate_limits
from pad_policy.rollout import check_matches, rollout, wilson_interval
from pad_policy.runner import PolicyRunner
from pad_policy.safety import CommandGate
from pad_policy.smoothing import SMOOTHINGS, ChunkSmoother
from pad_policy.training import train

PROFILE = Path(__file__).parents[2] / "pad_bringup/config/robots/ur5e_pair.yaml"


@pytest.fixture(scope="module")
def robot() -> Robot:
    return Robot(RobotProfile.load(PROFILE))


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> OnnxPolicy:
    dataset = policy_toy.write_dataset(tmp_path_factory.mktemp("data") / "toy.zarr", 6, seed=0, robot="ur5e_pair")
    config = TrainingConfig(updates=6, batch_size=16, warmup_updates=1, threads=1)
    return OnnxPolicy(train(dataset, tmp_path_factory.mktemp("policy"), config))


class Verdict:
    """What the obedient world says of itself."""

    def __init__(self, success: bool) -> None:
        self.success = success
        self.cause = "" if success else "too early"
        self.detail = "" if success else "too early by far"
        self.stage = "" if success else "pour"


class ObedientWorld:
    """Joints are where they were commanded; it succeeds by itself at a given time."""

    task = "pour"
    keypoint_names = tuple(f"{g}_{i}" for i, g in enumerate(policy_toy.GROUPS))
    keypoint_groups = tuple(policy_toy.GROUPS)

    def __init__(self, robot: Robot, success_at: float = np.inf) -> None:
        self._robot = robot
        self._success_at = success_at
        self.commands: list[np.ndarray] = []

    def reset(self, seed: int) -> None:
        self.time = 100.0
        self.joints = self._robot.home.ravel().copy()
        self.openings = np.array([0.1, 0.1])
        self.points = policy_toy.ToyWorld(np.random.default_rng(seed)).keypoints()
        self.commands.clear()

    def advance(self, joints, openings, seconds: float) -> JointMeasurement:
        if joints is not None:
            self.joints, self.openings = joints, openings
            self.commands.append(np.concatenate([joints, openings]))
        self.time += seconds
        return JointMeasurement(self.time, self.joints.copy(), self.openings.copy())

    def observe_keypoints(self) -> KeypointObservation:
        return KeypointObservation(self.time, self.points, np.ones(len(self.points), np.uint8))

    def outcome(self) -> Verdict:
        return Verdict(self.time - 100.0 >= self._success_at)


def make_runner(policy: OnnxPolicy, robot: Robot, seed: int = 0) -> PolicyRunner:
    return PolicyRunner(policy, robot, command_joint_names(robot), np.random.default_rng(seed))


def make_gate(robot: Robot) -> CommandGate:
    return CommandGate(command_joint_names(robot), gate_limits(robot))


def test_reachable_targets_are_reached_on_one_branch(robot: Robot) -> None:
    for arm in range(2):
        start = robot.fk(arm, robot.home[arm])
        targets = np.array([make_pose(start[:3, :3], start[:3, 3] + [0.01 * k, 0, 0.005 * k]) for k in range(1, 9)])
        reached = reach(robot, arm, targets, robot.home[arm])
        assert not reached.unreachable.any()
        np.testing.assert_allclose(robot.fk(arm, reached.joints), targets, atol=1e-6)
        assert np.abs(np.diff(np.vstack([robot.home[arm], reached.joints]), axis=0)).max() < 0.2


def test_targets_out_of_reach_become_the_nearest_on_the_way(robot: Robot) -> None:
    start = robot.fk(0, robot.home[0])
    targets = np.array([make_pose(start[:3, :3], start[:3, 3] + [0.25 * k, 0, 0.1 * k]) for k in range(1, 9)])
    reached = reach(robot, 0, targets, robot.home[0])
    assert reached.unreachable[-1] and np.all(np.isfinite(reached.joints))
    assert np.abs(np.diff(np.vstack([robot.home[0], reached.joints]), axis=0)).max() <= LARGEST_STEP + 1e-9
    distances = np.linalg.norm(robot.fk(0, reached.joints)[:, :3, 3] - start[:3, 3], axis=-1)
    assert distances.max() > 0.05


def test_runner_keeps_time(policy: OnnxPolicy, robot: Robot) -> None:
    runner = make_runner(policy, robot)
    world = ObedientWorld(robot)
    world.reset(0)
    with pytest.raises(PolicyError, match="observation first"):
        runner.plan()
    planned = []
    for tick in range(60):
        stamp = 100.0 + tick / 15
        if runner.due(stamp, tolerance=1 / 30):
            world.time = stamp
            runner.observe(world.observe_keypoints(), world.advance(None, None, 0.0))
            if runner.should_plan:
                plan = runner.plan()
                planned.append(plan.chunk.stamp)
                assert plan.chunk.stamp == stamp
                np.testing.assert_allclose(plan.chunk.times, 0.2 * np.arange(1, 9))
    np.testing.assert_allclose(np.diff(planned), 0.4, atol=1 / 15 + 1e-6)
    assert len(planned) == 10
    with pytest.raises(PolicyError, match="11 keypoints"):
        runner.observe(KeypointObservation(200.0, np.zeros((3, 3)), np.ones(3, np.uint8)), world.advance(None, None, 0))


@pytest.mark.parametrize(
    ("points", "shift", "opening", "at_once"),
    [
        (0, 0.0, 0.1, False),
        (2, 0.05, 0.1, False),  # points that are wrong
        (4, 0.010, 0.1, False),
        (4, 0.02, 0.1, True),
        (4, 0.02, 0.05, False),  # it is held, and moves with the gripper
    ],
)
def test_while_an_object_moves_by_itself_the_arms_stand(
    policy: OnnxPolicy, robot: Robot, points: int, shift: float, opening: float, at_once: bool
) -> None:
    runner, world = make_runner(policy, robot), ObedientWorld(robot)
    world.reset(0)
    runner.observe(world.observe_keypoints(), world.advance(None, None, 0.0))
    runner.plan()
    world.points = world.points.copy()
    world.points[:points, 0] += shift
    world.openings = np.array([0.1, opening])
    measured = world.advance(None, None, 0.2)
    runner.observe(world.observe_keypoints(), measured)
    assert runner.should_plan is at_once
    if at_once:
        # Whoever moves it may be near the arms: they stand where they are, until it rests.
        standing = runner.plan()
        joints = measured.positions.ravel()
        np.testing.assert_array_equal(standing.chunk.positions, np.tile(joints, (len(standing.ee), 1)))
        np.testing.assert_array_equal(standing.chunk.openings, np.tile(measured.openings, (len(standing.ee), 1)))
        assert not standing.unreachable.any()
        measured = world.advance(None, None, 0.2)
        runner.observe(world.observe_keypoints(), measured)
        assert runner.should_plan
        assert np.abs(runner.plan().chunk.positions - joints).max() > 1e-3
        runner.observe(world.observe_keypoints(), world.advance(None, None, 0.2))
        assert not runner.should_plan  # it has been seen


def test_rollout_is_lock_step_and_repeatable(policy: OnnxPolicy, robot: Robot) -> None:
    world = ObedientWorld(robot)
    assert isinstance(world, Environment)
    tracks = []
    for _ in range(2):
        result = rollout(make_runner(policy, robot, 3), make_gate(robot), world, 7, time_limit=1.9)
        tracks.append(np.array(world.commands))
    np.testing.assert_array_equal(tracks[0], tracks[1])
    assert not result.success
    assert (result.cause, result.detail, result.stage) == ("too early", "too early by far", "pour")
    assert result.chunks == 5 and result.duration == pytest.approx(1.9, abs=0.02)
    limits = gate_limits(robot)
    velocity = np.diff(tracks[0], axis=0) / 0.008
    assert np.all(np.abs(velocity) <= limits.velocity + 1e-6)
    assert np.all(np.abs(np.diff(velocity, axis=0)) / 0.008 <= limits.acceleration + 1e-4)


def test_chunks_are_smoothed_on_their_way_to_the_gate(policy: OnnxPolicy, robot: Robot) -> None:
    world = ObedientWorld(robot)
    tracks = {}
    for smoothing in SMOOTHINGS:
        rollout(
            make_runner(policy, robot, 3), make_gate(robot), world, 7, time_limit=1.9, smoother=ChunkSmoother(smoothing)
        )
        tracks[smoothing] = np.array(world.commands)
    rollout(make_runner(policy, robot, 3), make_gate(robot), world, 7, time_limit=1.9)
    np.testing.assert_array_equal(tracks["none"], np.array(world.commands))
    assert not np.array_equal(tracks["blend"], tracks["none"])
    assert not np.array_equal(tracks["ensemble"], tracks["blend"])


def test_success_must_be_stable(policy: OnnxPolicy, robot: Robot) -> None:
    world = ObedientWorld(robot, success_at=0.5)
    result = rollout(make_runner(policy, robot), make_gate(robot), world, 1)
    assert result.success and result.cause == result.detail == result.stage == ""
    assert 1.4 < result.duration < 1.9
    hasty = rollout(make_runner(policy, robot), make_gate(robot), world, 1, time_limit=1.3)
    assert not hasty.success and hasty.cause


def test_keypoints_go_with_the_arms_at_their_image(policy: OnnxPolicy, robot: Robot) -> None:
    world = ObedientWorld(robot)
    observe, late = world.observe_keypoints, 0.08
    world.observe_keypoints = lambda: replace(observe(), stamp=world.time - late)
    pairs = []

    class Listening(PolicyRunner):
        def observe(self, keypoints: KeypointObservation, measured: JointMeasurement) -> None:
            pairs.append(measured.stamp - keypoints.stamp)
            super().observe(keypoints, measured)

    runner = Listening(policy, robot, command_joint_names(robot), np.random.default_rng(0))
    rollout(runner, make_gate(robot), world, 1, time_limit=1.0)
    assert len(pairs) >= 4 and pairs[0] == pytest.approx(late) and np.abs(pairs[1:]).max() < 1e-6


def test_a_world_of_another_task_is_refused(policy: OnnxPolicy, robot: Robot) -> None:
    world = ObedientWorld(robot)
    world.task = "mix_bowl"
    with pytest.raises(MismatchError, match="mix_bowl"):
        check_matches(policy.bundle, world)


def test_a_clock_that_stands_still_is_refused(policy: OnnxPolicy, robot: Robot) -> None:
    world = ObedientWorld(robot)
    advance = world.advance
    world.advance = lambda joints, openings, seconds: advance(joints, openings, 0.0)
    with pytest.raises(RolloutError, match="clock"):
        rollout(make_runner(policy, robot), make_gate(robot), world, 0)


def test_wilson_interval() -> None:
    # Values of the closed form, e.g. Brown, Cai and DasGupta (2001).
    np.testing.assert_allclose(wilson_interval(10, 20), (0.2993, 0.7007), atol=1e-4)
    assert wilson_interval(0, 0) == (0.0, 1.0)
    assert wilson_interval(20, 20)[1] == pytest.approx(1.0)
    with pytest.raises(RolloutError, match="impossible"):
        wilson_interval(3, 2)


def test_ee_vectors_of_the_home_pose(robot: Robot) -> None:
    grippers = np.stack([robot.fk(arm, robot.home[arm]) for arm in range(2)])
    ee = actions.from_poses(grippers, np.array([0.1, 0.05]))
    np.testing.assert_allclose(actions.poses(ee), grippers, atol=1e-12)
    np.testing.assert_allclose(actions.split(ee)[2], [0.1, 0.05])
