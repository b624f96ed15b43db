"""The benchmark of the gate: a small share of its fuzz, and that its judge can tell."""

import numpy as np

from pad_augment.kinematics import Robot, RobotProfile
from pad_bringup.bench.graph import fuzz
from pad_bringup.resources import named_or_path
from pad_policy.clearance import ArmClearance
from pad_policy.guard import MotionGuard
from pad_policy.robot_limits import gate_limits


def test_fuzzed_chunks_break_no_limit() -> None:
    assert fuzz.fuzz((7, 0), 300) == (0, "")


def test_the_judge_sees_what_breaks_a_limit() -> None:
    robot = Robot(RobotProfile.load(named_or_path("ur5e_pair", "config", "robots")))
    guard = MotionGuard(fuzz._BOXES, ArmClearance(robot))
    times = 0.008 * np.arange(40)
    still = np.tile(np.concatenate([robot.home.ravel(), [0.1, 0.1]]), (40, 1))
    assert fuzz._violations(times, still, gate_limits(robot), guard) == []
    jump = still.copy()
    jump[20:, 3] += 0.05
    assert {"velocity", "acceleration", "jerk"} == set(fuzz._violations(times, jump, gate_limits(robot), guard))
    beyond = still.copy()
    beyond[:, 12] = 0.2
    assert set(fuzz._violations(times, beyond, gate_limits(robot), guard)) == {"position"}
