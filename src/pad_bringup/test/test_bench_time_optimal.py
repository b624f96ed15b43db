"""The benchmark's bound on durations, and how near to it the planner's timing comes."""

import numpy as np
import pytest
from scipy.interpolate import CubicSpline

from pad_augment.kinematics import Robot, RobotProfile
from pad_augment.planning.shortest_time import shortest_motion
from pad_bringup.bench.augment import source
from pad_bringup.bench.augment.time_optimal import shortest_duration


@pytest.mark.parametrize(("way", "expected"), [(0.5, 2 * np.sqrt(0.5 / 8)), (1.2, 1.2 / 2 + 2 / 8)])
def test_the_bound_along_a_line_is_the_textbook_s(way: float, expected: float) -> None:
    """One joint: full acceleration, then full braking, between them full speed where that is reached."""
    line = np.linspace(0, way, 100)[:, None]
    assert shortest_duration(line, np.array([2.0]), np.array([8.0])) == pytest.approx(expected, rel=0.01)


def test_the_planner_s_timing_comes_near_to_the_bound() -> None:
    robot = Robot(RobotProfile.load(source.profile_path()))
    limits = robot.velocity_limits.ravel(), robot.acceleration_limits.ravel()
    ratios = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        corners = int(rng.integers(2, 6))
        way = np.cumsum(rng.normal(size=(corners + 1, 12)) * rng.uniform(0.1, 0.5), axis=0)
        path = CubicSpline(np.linspace(0, 1, corners + 1), way)(np.linspace(0, 1, 150))
        motion = shortest_motion(robot, path, 50.0)
        assert motion is not None
        ratios.append((len(motion) - 1) / 50.0 / shortest_duration(path, *limits))
    assert min(ratios) >= 1.0 and max(ratios) <= 1.3
