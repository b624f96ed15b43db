"""Motions in the shortest time: the same path, within the limits, for joints at random and for whole scenes."""

from pathlib import Path

import numpy as np
import pour_scene
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import CubicSpline

from pad_augment.config import GeneratorConfig
from pad_augment.errors import ConfigError
from pad_augment.generator import SceneWork, generate
from pad_augment.kinematics import RobotProfile
from pad_augment.planning.dynamics import limit_ratios
from pad_augment.planning.shortest_time import shortest_motion
from pad_augment.scene_plan import ScenePlan

ROBOT = pour_scene.robot()
CALM = {"recovery_probability": 0.0, "displacement_probability": 0.0}


def gentle(seed: int, corners: int, size: float, arms: int, steps: int) -> np.ndarray:
    """(steps, 12) rad, a smooth path at random, from rest to rest in steps as of a minimum-jerk motion."""
    rng = np.random.default_rng(seed)
    way = np.cumsum(rng.normal(size=(corners + 1, 12)) * size, axis=0)
    way[:, : 6 * (2 - arms)] = way[0, : 6 * (2 - arms)]
    s = np.linspace(0, 1, steps)
    path = CubicSpline(np.linspace(0, 1, corners + 1), way)(s**3 * (10 - 15 * s + 6 * s**2))
    return np.asarray(path)


def off_path(motion: np.ndarray, path: np.ndarray) -> float:
    """rad, the largest distance of a row of `motion` from the smooth curve through `path`."""
    length = np.r_[0.0, np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))]
    keep = np.r_[True, np.diff(length) > 1e-4]
    dense = CubicSpline(length[keep], path[keep])(np.linspace(0, length[-1], 4000))
    starts, legs = dense[:-1], np.diff(dense, axis=0)
    worst = 0.0
    for row in motion:
        share = np.clip(((row - starts) * legs).sum(1) / (legs**2).sum(1), 0, 1)
        worst = max(worst, float(np.linalg.norm(starts + share[:, None] * legs - row, axis=1).min()))
    return worst


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 10**6), st.integers(1, 5), st.floats(0.03, 0.6), st.sampled_from([1, 2]), st.sampled_from([10, 50])
)
def test_the_path_stays_and_the_limits_are_kept(seed: int, corners: int, size: float, arms: int, rate: int) -> None:
    path = gentle(seed, corners, size, arms, 60)
    out = shortest_motion(ROBOT, path, rate)
    assert out is not None
    np.testing.assert_array_equal(out[[0, -1]], path[[0, -1]])
    assert off_path(out, path) <= 5e-3  # knots 0.01 rad apart do not see the tightest curls
    still = np.pad(out, ((3, 3), (0, 0)), mode="edge")  # as in a dataset: a motion lies between steps of rest
    velocity, acceleration = limit_ratios(ROBOT, still, rate)
    assert velocity.max() <= 1 and acceleration.max() <= 1
    slower = shortest_motion(ROBOT, path, rate, 1.5)
    assert slower is not None and 1.4 * (len(out) - 3) <= len(slower) <= 1.6 * len(out)


def test_no_way_needs_no_time() -> None:
    assert shortest_motion(ROBOT, np.tile(ROBOT.home.ravel(), (9, 1)), 10.0) is None


def test_scenes_are_as_good_and_much_shorter() -> None:
    demo, profile = pour_scene.demonstration(), RobotProfile.load(pour_scene.PROFILE)
    quick, calm = (
        SceneWork(demo, profile, GeneratorConfig.from_options(motion_timing=timing, **CALM), 0, "roboplan")
        for timing in ("shortest", "gentle")
    )
    robot = quick.scene_planner._robot
    shorter = 0
    for one, other in zip(quick.attempt(range(8)), calm.attempt(range(8)), strict=True):
        assert isinstance(one, ScenePlan) == isinstance(other, ScenePlan)
        if not isinstance(one, ScenePlan) or not isinstance(other, ScenePlan):
            continue
        velocity, acceleration = limit_ratios(robot, one.plan.joints, 10.0)
        assert velocity.max() <= 1 and acceleration.max() <= 1
        assert not quick.scene_planner.collides_again(one, 0.005)
        for arm in (0, 1):
            reached = robot.fk(arm, one.plan.joints[:, 6 * arm : 6 * arm + 6])
            np.testing.assert_allclose(one.plan.poses[:, arm], reached, atol=1e-6)
        assert len(one) < len(other)
        # The skill keeps its pace.
        assert one.plan.lengths[-2:] == other.plan.lengths[-2:]
        shorter += 1
    assert shorter >= 4


def test_who_follows_motions_as_asked_cannot_time_them(tmp_path: Path) -> None:
    config = GeneratorConfig.from_options(motion_timing="shortest")
    with pytest.raises(ConfigError, match="choose planner roboplan or moveit"):
        generate(pour_scene.demonstration(), pour_scene.PROFILE, tmp_path / "x", 1, 0, "straight_line", config=config)
    with pytest.raises(ConfigError, match="motion_timing"):
        GeneratorConfig.from_options(motion_timing="fastest")
