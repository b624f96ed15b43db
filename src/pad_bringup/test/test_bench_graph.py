"""The benchmark of gate and graph: a small share of the fuzz, that its judge can tell, and how stamps are followed."""

from pathlib import Path

import numpy as np
import pytest

from pad_augment.kinematics import Robot, RobotProfile
from pad_bringup.bench.benchmark import BenchSettings
from pad_bringup.bench.graph import camera_to_command, fuzz
from pad_bringup.bench.graph.extent import Extent
from pad_bringup.bench.graph.judge import Judge
from pad_bringup.errors import BenchError
from pad_bringup.resources import named_or_path
from pad_policy.clearance import ArmClearance
from pad_policy.guard import MotionGuard
from pad_policy.robot_limits import gate_limits


def test_fuzzed_chunks_break_no_limit() -> None:
    assert fuzz.fuzz((7, 0), 300) == (0, "")


def test_the_judge_sees_what_breaks_a_limit() -> None:
    robot = Robot(RobotProfile.load(named_or_path("ur5e_pair", "config", "robots")))
    judge = Judge(robot, fuzz.bounds_of(gate_limits(robot)))
    times = 0.008 * np.arange(40)
    still = np.tile(np.concatenate([robot.home.ravel(), [0.1, 0.1]]), (40, 1))
    assert judge.violations(times, still) == []
    jump = still.copy()
    jump[20:, 3] += 0.05
    assert set(judge.violations(times, jump)) == {"velocity", "acceleration", "jerk"}
    beyond = still.copy()
    beyond[:, 12] = 0.2
    assert set(judge.violations(times, beyond)) == {"position"}
    turned = still.copy()
    turned[:, 0] += np.pi  # the left arm reaches out to its own side
    assert "workspace" in judge.violations(times, turned)
    folded = still.copy()
    folded[:, 2] = 3.1  # the forearm lies in the upper arm
    assert "distance" in judge.violations(times, folded)


def test_the_judge_knows_no_room_where_the_gate_sees_none() -> None:
    """The gate's capsules cover the shapes: it never sees more room than the judge."""
    robot = Robot(RobotProfile.load(named_or_path("ur5e_pair", "config", "robots")))
    limits = gate_limits(robot)
    home = np.concatenate([robot.home.ravel(), [0.1, 0.1]])
    postures = np.clip(home + np.random.default_rng(0).normal(0, 0.7, (400, 14)), limits.lower, limits.upper)
    seen = MotionGuard(fuzz._BOXES, ArmClearance(robot)).look(postures, exact=True)
    judge = Judge(robot, fuzz.bounds_of(limits))
    np.testing.assert_array_equal(judge._outside(postures), (seen.outside > 0).any(axis=1))
    close = judge._too_close(postures)
    assert 20 < close.sum() < 380 and not np.any(close & (seen.room >= 0))


def test_a_command_counts_from_its_own_image() -> None:
    beats = 0.008 * np.arange(200)
    keypoints = np.array([[0.0, 0.03], [0.1, 0.13], [0.2, 0.24]])  # stamp, when it left
    chunks = np.array([[0.1, 0.15], [0.3, 0.35], [0.2, 0.2585]])  # the second's keypoints were not seen
    seen = camera_to_command.followed(chunks, keypoints, beats, lambda stamps: stamps + 0.001)
    np.testing.assert_allclose(seen, [[0.029, 0.02, 0.002], [0.039, 0.0185, 0.0055]], atol=1e-9)
    assert len(camera_to_command.followed(chunks, keypoints, beats[:5], lambda stamps: stamps)) == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [("trials", "no NAME=VALUE"), ("trials=0", "greater than or equal to 1"), ("tries=3", "tries: Extra inputs")],
)
def test_a_wrong_extent_is_one_clear_error(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BenchError, match=message):
        Extent.of(BenchSettings(tmp_path, assignments=(text,)))
