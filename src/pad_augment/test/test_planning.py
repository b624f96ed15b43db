"""One suite for every planner: what each must do, and what tells them apart."""

from dataclasses import replace

import numpy as np
import pour_scene
import pytest

from pad_augment.errors import PlanningError
from pad_augment.kinematics import Robot
from pad_augment.planning import PLANNERS, BimanualPlanner, make_planner
from pad_augment.planning.dynamics import limit_ratios
from pad_augment.planning.interface import Body, Failure, PlanFailure, PlanRequest, Shape, Stretch
from pad_augment.planning.roboplan import RoboplanPlanner
from pad_parse import geometry

RATE = 10.0
SHAPES = {"block": Shape(0.03, 0.33)}
FAR = geometry.yaw_pose(0.3, 0.6, 0.0)


@pytest.fixture(scope="module")
def robot() -> Robot:
    return pour_scene.robot()


@pytest.fixture(scope="module")
def planners(robot: Robot) -> dict[str, BimanualPlanner]:
    return {name: make_planner(name, robot, SHAPES, RATE) for name in PLANNERS}


@pytest.fixture(params=PLANNERS)
def planner(request: pytest.FixtureRequest, planners: dict[str, BimanualPlanner]) -> BimanualPlanner:
    return planners[request.param]


def line(
    robot: Robot,
    shift: tuple[float, float, float],
    seconds: float,
    *,
    free: bool = True,
    arms: tuple[int, ...] = (0, 1),
) -> Stretch:
    """The arms from home by `shift` m (mirrored for the right arm), at rest at both ends."""
    count = round(seconds * RATE) + 1
    s = np.linspace(0, 1, count)
    s = s**3 * (10 - 15 * s + 6 * s**2)
    poses = np.empty((count, 2, 4, 4))
    for arm, side in enumerate((1.0, -1.0)):
        start = robot.fk(arm, robot.home[arm])
        goal = start.copy()
        if arm in arms:
            goal[:3, 3] += np.array(shift) * [1, side, 1]
        poses[:, arm] = geometry.interpolate_pose(start, goal, s)
    return Stretch(poses, np.full((count, 2), 0.10), free, {"block": Body(FAR)})


def request(*stretches: Stretch, at_rest: bool = False, block: np.ndarray | None = None) -> PlanRequest:
    body = Body(FAR if block is None else block)
    return PlanRequest([replace(stretch, bodies={"block": body}) for stretch in stretches], at_rest=at_rest)


def test_a_free_line_is_followed_within_the_limits(planner: BimanualPlanner, robot: Robot) -> None:
    stretch = line(robot, (0.1, -0.05, 0.05), 1.5)
    plan = planner.plan(request(stretch), np.random.default_rng(0))
    assert plan.joints.shape == (len(stretch), 12) and plan.lengths == (len(stretch),) and plan.ways == ("line",)
    np.testing.assert_allclose(plan.joints[0], robot.home.ravel(), atol=1e-6)
    for arm in (0, 1):
        reached = robot.fk(arm, plan.joints[:, 6 * arm : 6 * arm + 6])
        np.testing.assert_allclose(reached, stretch.poses[:, arm], atol=1e-9)
        np.testing.assert_allclose(plan.poses[:, arm], stretch.poses[:, arm], atol=1e-12)
    velocity, acceleration = limit_ratios(robot, plan.joints, RATE)
    assert velocity.max() <= 1 and acceleration.max() <= 1
    again = planner.plan(request(stretch), np.random.default_rng(0))
    np.testing.assert_array_equal(again.joints, plan.joints)


def test_failures_have_codes_and_places(planner: BimanualPlanner, robot: Robot) -> None:
    near = line(robot, (0.05, 0.0, 0.0), 1.0, free=False)
    away = replace(near, poses=near.poses.copy())
    away.poses[4:, 1, 0, 3] += 2.0
    with pytest.raises(PlanFailure) as caught:
        planner.plan(request(near, away), np.random.default_rng(0))
    assert caught.value.code is Failure.UNREACHABLE_RIGHT and caught.value.stretch == 1
    with pytest.raises(PlanFailure) as caught:
        planner.plan(request(line(robot, (0.25, -0.1, 0.1), 0.2, free=False)), np.random.default_rng(0))
    assert caught.value.code in (Failure.VELOCITY, Failure.ACCELERATION) and caught.value.excess > 1


def test_an_unknown_planner_is_refused_with_the_known_ones(robot: Robot) -> None:
    with pytest.raises(PlanningError, match="roboplan, straight_line"):
        make_planner("magic", robot, SHAPES, RATE)


def blocking(robot: Robot) -> np.ndarray:
    """The block stands across the left arm's line."""
    middle = robot.fk(0, robot.home[0])[:3, 3] + [0.02, -0.15, 0.0]
    return geometry.yaw_pose(middle[0], middle[1], 0.0)


def test_only_the_line_planner_is_blind(planners: dict[str, BimanualPlanner], robot: Robot) -> None:
    asked = request(line(robot, (0.0, -0.3, 0.0), 2.0, arms=(0,)), block=blocking(robot))
    planners["straight_line"].plan(asked, np.random.default_rng(0))
    with pytest.raises(PlanFailure) as caught:
        planners["roboplan"].plan(asked, np.random.default_rng(0))
    assert caught.value.code is Failure.OBJECT_COLLISION


def test_a_way_around_is_found_and_survives_a_finer_check(robot: Robot) -> None:
    planner = make_planner("roboplan", robot, SHAPES, RATE)
    assert isinstance(planner, RoboplanPlanner)
    stretch = line(robot, (0.0, -0.3, 0.0), 2.0, arms=(0,))
    asked = request(stretch, at_rest=True, block=blocking(robot))
    plan = planner.plan(asked, np.random.default_rng(0))
    assert plan.ways[0] in ("joint_line", "rrt")
    np.testing.assert_allclose(plan.poses[[0, -1]], stretch.poses[[0, -1]], atol=1e-6)
    assert len(plan.openings) == len(plan.joints) == plan.lengths[0]
    velocity, acceleration = limit_ratios(robot, plan.joints, RATE)
    assert velocity.max() <= 1 and acceleration.max() <= 1
    assert not planner.collides_again(asked, plan, 0.005)
    again = planner.plan(asked, np.random.default_rng(0))
    np.testing.assert_array_equal(again.joints, plan.joints)


def test_a_held_object_collides_too(robot: Robot) -> None:
    planner = make_planner("roboplan", robot, SHAPES, RATE)
    down = line(robot, (0.05, 0.0, -0.05), 1.5, free=False)
    # 40 cm of block below the gripper reach under the table top.
    hanging = np.eye(4)
    hanging[:3, :3] = geometry.inverse(robot.fk(0, robot.home[0]))[:3, :3]
    hanging[:3, 3] = hanging[:3, :3] @ [0.0, 0.0, -0.40]
    holding = replace(down, bodies={"block": Body(hanging, holder=0)})
    with pytest.raises(PlanFailure) as caught:
        planner.plan(PlanRequest([holding]), np.random.default_rng(0))
    assert caught.value.code is Failure.OBJECT_COLLISION
