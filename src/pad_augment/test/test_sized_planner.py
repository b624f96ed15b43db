"""Objects of several sizes: every request is planned with its own."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pad_augment.kinematics import Robot, RobotProfile
from pad_augment.planning import make_planner
from pad_augment.planning.interface import (
    BimanualPlanner,
    Body,
    Failure,
    Plan,
    PlanFailure,
    PlanRequest,
    Shape,
    Stretch,
)
from pad_augment.planning.sized import SizedPlanner, grown
from pad_parse import geometry

PROFILE = Path(__file__).parents[2] / "pad_bringup/config/robots/ur5e_pair.yaml"
SHAPES = {"block": Shape(0.03, 0.1)}
RATE = 10.0


@given(size=st.floats(0.5, 2.0), x=st.floats(-0.1, 0.1), y=st.floats(-0.1, 0.1))
def test_shapes_grow_about_their_frame(size: float, x: float, y: float) -> None:
    shapes = {"cup": Shape(0.04, 0.1, (x, y)), "table": Shape(0.2, 0.01)}
    made = grown(shapes, {"cup": size})
    assert made["table"] == shapes["table"] and list(made) == list(shapes)
    assert made["cup"] == Shape(size * 0.04, size * 0.1, (size * x, size * y))
    back = grown(made, {"cup": 1 / size})["cup"]
    np.testing.assert_allclose([back.radius, back.height, *back.centre], [0.04, 0.1, x, y], atol=1e-12)


@pytest.fixture(scope="module")
def robot() -> Robot:
    return Robot(RobotProfile.load(PROFILE))


def beside(robot: Robot, away: float, size: float) -> PlanRequest:
    """The left arm goes down beside a block whose axis is `away` m off."""
    s = np.linspace(0, 1, 16) ** 2 * (3 - 2 * np.linspace(0, 1, 16))
    poses = np.empty((16, 2, 4, 4))
    for arm in (0, 1):
        start = robot.fk(arm, robot.home[arm])
        goal = start.copy()
        goal[2, 3] -= 0.08 * (arm == 0)
        poses[:, arm] = geometry.interpolate_pose(start, goal, s)
    x, y, _ = poses[-1, 0, :3, 3]
    body = Body(geometry.yaw_pose(x + away, y, 0.0))
    stretch = Stretch(poses, np.full((16, 2), 0.08), False, {"block": body})
    return PlanRequest([stretch], sizes={"block": size})


def test_every_request_is_planned_with_its_own_sizes(robot: Robot) -> None:
    made: list[Mapping[str, Shape]] = []

    def make(shapes: Mapping[str, Shape]) -> BimanualPlanner:
        made.append(shapes)
        return make_planner("roboplan", robot, shapes, RATE)

    planner = SizedPlanner(SHAPES, make)
    assert planner.name == "roboplan" and planner.finds_ways
    requests = [beside(robot, 0.2, size) for size in (1.0, 6.0, 1.0, 6.0)]
    results = planner.plan_many(requests, [np.random.default_rng(0)] * 4)
    assert [isinstance(result, Plan) for result in results] == [True, False, True, False]
    refused = results[1]
    assert isinstance(refused, PlanFailure) and refused.code is Failure.OBJECT_COLLISION
    assert [shapes["block"].radius for shapes in made] == [0.03, pytest.approx(0.18)]  # one planner each
    plan = planner.plan(requests[2], np.random.default_rng(0))
    np.testing.assert_array_equal(
        plan.joints, make_planner("roboplan", robot, SHAPES, RATE).plan(requests[0], np.random.default_rng(0)).joints
    )
    with pytest.raises(PlanFailure):
        planner.plan(requests[3], np.random.default_rng(0))
    assert len(made) == 2
