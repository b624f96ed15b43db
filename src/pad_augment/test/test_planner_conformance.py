"""One suite for every planner. The test ids say what ran: `moveit[real]` on a host with MoveIt, else `moveit[fake]`.

Clause                                                             straight_line  roboplan  moveit
joints, poses, openings and lengths of a plan agree                      x            x        x
free lines are followed, start and goal are held                         x            x        x
velocity and acceleration ratios are <= 1                                x            x        x
failures have a code and a stretch                                       x            x        x
the same request gives the same plan                                     x            x        x (lines)
plan_many gives what plan gives                                          x            x        x (lines)
nothing collides, re-checked every 0.005 rad by another checker                       x        x
held objects are attached, allowed contacts are explicit                              x        x
blocked: a way round, or NO_PATH                                                      x        x
the same seed finds the same way round                                                x

straight_line works in the end-effector space only: it sees no obstacle and goes no other way.
"""

import sys
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pour_scene
import pytest

from pad_augment.kinematics import Robot
from pad_augment.planning import BimanualPlanner, make_planner
from pad_augment.planning.collisions import CollisionScene
from pad_augment.planning.dynamics import limit_ratios
from pad_augment.planning.interface import Body, Failure, Plan, PlanFailure, PlanRequest, Shape, Stretch
from pad_augment.planning.moveit_host import moveit_host, why_absent
from pad_parse import geometry

RATE = 10.0
SHAPES = {"block": Shape(0.03, 0.33), "can": Shape(0.03, 0.10)}
FAR = {"block": Body(geometry.yaw_pose(0.3, 0.6, 0.0)), "can": Body(geometry.yaw_pose(0.3, -0.6, 0.0))}
FINE = 0.005
"""rad between two checks."""
MOVEIT = "moveit[fake]" if why_absent() else "moveit[real]"
PROVING = ("roboplan-ur5e_pair", f"{MOVEIT}-ur5e_pair", "roboplan-franka_pair")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every planner, for arms of six joints and of seven."""
    if "proving" in metafunc.fixturenames:
        metafunc.parametrize("which", PROVING, indirect=True, scope="module")
    elif "planner" in metafunc.fixturenames:
        metafunc.parametrize("which", ["straight_line-ur5e_pair", *PROVING], indirect=True, scope="module")


@pytest.fixture(scope="module")
def which(request: pytest.FixtureRequest) -> str:
    return getattr(request, "param", "roboplan-ur5e_pair")


@pytest.fixture(scope="module")
def robot(which: str) -> Robot:
    return pour_scene.robot(which.partition("-")[2])


@pytest.fixture(scope="module")
def planner(which: str, robot: Robot) -> Iterator[BimanualPlanner]:
    yield from made(which.partition("-")[0], robot)


@pytest.fixture(scope="module")
def proving(planner: BimanualPlanner) -> BimanualPlanner:
    return planner


def made(which: str, robot: Robot) -> Iterator[BimanualPlanner]:
    """The planner, over a stand-in for MoveIt where there is none."""
    name = which.partition("[")[0]
    with pytest.MonkeyPatch.context() as patch:
        if which == "moveit[fake]":
            pytest.importorskip("shape_msgs.msg", reason="needs ROS 2 messages")
            import fake_moveit

            for module, content in fake_moveit.modules().items():
                patch.setitem(sys.modules, module, content)
            moveit_host.cache_clear()
        planner = make_planner(name, robot, SHAPES, RATE)
        assert planner.name == name
        yield planner
    moveit_host.cache_clear()


@pytest.fixture(scope="module")
def checker(robot: Robot) -> CollisionScene:
    return CollisionScene(robot, SHAPES)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def line(
    robot: Robot,
    shift: tuple[float, float, float],
    seconds: float = 1.5,
    *,
    free: bool = True,
    arms: tuple[int, ...] = (0, 1),
    bodies: dict[str, Body] | None = None,
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
    openings = np.full((count, 2), min(0.10, *(arm.max_opening for arm in robot.arms)))
    return Stretch(poses, openings, free, {**FAR, **(bodies or {})})


def across(robot: Robot) -> Body:
    """The block stands across the way of the left arm from home by 0.3 m towards the middle."""
    middle = robot.fk(0, robot.home[0])[:3, 3] + [0.02, -0.15, 0.0]
    return Body(geometry.yaw_pose(middle[0], middle[1], 0.0))


def blocked(robot: Robot) -> PlanRequest:
    return PlanRequest([line(robot, (0.0, -0.3, 0.0), 2.0, arms=(0,), bodies={"block": across(robot)})], at_rest=True)


def assert_agrees(plan: Plan, request: PlanRequest, robot: Robot) -> None:
    """What a plan says in several ways is the same, and within the limits."""
    count = len(plan.joints)
    assert plan.joints.shape == (count, len(robot.joint_names)) and plan.joints.dtype == np.float64
    assert plan.poses.shape == (count, 2, 4, 4) and plan.openings.shape == (count, 2)
    assert sum(plan.lengths) == count and len(plan.lengths) == len(plan.ways) == len(request.stretches)
    assert set(plan.ways) <= {"line", "joint_line", "rrt"}
    for arm in (0, 1):  # columns are the left arm's joints, then the right arm's, in the robot's order
        reached = robot.fk(arm, plan.joints[:, robot.columns(arm)])
        np.testing.assert_allclose(plan.poses[:, arm], reached, atol=1e-6)
    ends = np.cumsum(plan.lengths)
    for stretch, length, end in zip(request.stretches, plan.lengths, ends, strict=True):
        np.testing.assert_allclose(plan.poses[end - length], stretch.poses[0], atol=1e-6)
        np.testing.assert_allclose(plan.poses[end - 1], stretch.poses[-1], atol=1e-6)
        np.testing.assert_allclose(plan.openings[[end - length, end - 1]], stretch.openings[[0, -1]])
    velocity, acceleration = limit_ratios(robot, plan.joints, RATE)
    assert velocity.max() <= 1 and acceleration.max() <= 1


def assert_free(plan: Plan, request: PlanRequest, checker: CollisionScene) -> None:
    """No collision anywhere on the way, by a checker that is not the planner's own, much finer than planners check."""
    for stretch, length, end in zip(request.stretches, plan.lengths, np.cumsum(plan.lengths), strict=True):
        rows = slice(end - length, end + 1)
        checker.arrange(stretch.bodies)
        assert checker.first_collision(plan.joints[rows], plan.openings[rows], FINE) is None


def failure(planner: BimanualPlanner, request: PlanRequest) -> PlanFailure:
    with pytest.raises(PlanFailure) as caught:
        planner.plan(request, rng())
    return caught.value


# --- every planner ---------------------------------------------------------------------------------------------------


def test_a_free_line_is_followed_within_the_limits(planner: BimanualPlanner, robot: Robot) -> None:
    for at_rest in (False, True):
        request = PlanRequest([line(robot, (0.1, -0.05, 0.05))], at_rest=at_rest)
        plan = planner.plan(request, rng())
        assert_agrees(plan, request, robot)
        assert plan.ways == ("line",) and plan.lengths == (16,)
        np.testing.assert_allclose(plan.joints[0], robot.home.ravel(), atol=1e-6)
        np.testing.assert_allclose(plan.poses, request.stretches[0].poses, atol=1e-9)
        again = planner.plan(request, rng())
        np.testing.assert_array_equal(again.joints, plan.joints)


def test_out_of_reach_says_which_arm_and_where(planner: BimanualPlanner, robot: Robot) -> None:
    near = line(robot, (0.05, 0.0, 0.0), 1.0, free=False)
    for arm, code in enumerate((Failure.UNREACHABLE_LEFT, Failure.UNREACHABLE_RIGHT)):
        away = replace(near, poses=near.poses.copy())
        away.poses[4:, arm, 0, 3] += 2.0
        said = failure(planner, PlanRequest([near, away]))
        assert said.code is code and said.stretch == 1


def test_a_way_begins_in_the_posture_in_which_the_arms_stand(planner: BimanualPlanner, robot: Robot) -> None:
    stands = robot.home.ravel().copy()
    up = line(robot, (0.0, 0.0, 0.1))
    assert_agrees(planner.plan(PlanRequest([up], start=stands), rng()), PlanRequest([up]), robot)
    stands[3:6] += [2.0, -1.0, 2.0]  # the same place could be reached, but only by turning the wrist over first
    said = failure(planner, PlanRequest([up], start=stands))
    assert said.code is Failure.UNREACHABLE_LEFT and said.stretch == 0
    assert "another posture" in str(said) or robot.redundant


def test_too_fast_says_by_how_much(planner: BimanualPlanner, robot: Robot) -> None:
    said = failure(planner, PlanRequest([line(robot, (0.25, -0.1, 0.1), 0.2, free=False)]))
    assert said.code in (Failure.VELOCITY, Failure.ACCELERATION) and said.excess > 1


def test_many_requests_get_what_each_gets_alone(planner: BimanualPlanner, robot: Robot) -> None:
    near = line(robot, (0.05, 0.0, 0.0), 1.0, free=False)
    away = replace(near, poses=near.poses.copy())
    away.poses[4:, 1, 0, 3] += 2.0
    requests = [
        PlanRequest([near]),
        PlanRequest([away]),
        PlanRequest([line(robot, (0.1, -0.05, 0.05))], at_rest=True),
    ]
    together = planner.plan_many(requests, [rng() for _ in requests])
    assert isinstance(together[1], PlanFailure) and together[1].code is Failure.UNREACHABLE_RIGHT
    for index in (0, 2):
        plan = together[index]
        assert isinstance(plan, Plan)
        np.testing.assert_array_equal(plan.joints, planner.plan(requests[index], rng()).joints)


# --- planners that prove what they plan ------------------------------------------------------------------------------


def test_only_the_line_planner_is_blind(robot: Robot) -> None:
    plan = make_planner("straight_line", robot, SHAPES, RATE).plan(blocked(robot), rng())
    assert plan.ways == ("line",)


def test_a_blocked_line_that_must_be_followed_is_refused(proving: BimanualPlanner, robot: Robot) -> None:
    said = failure(proving, replace(blocked(robot), at_rest=False))
    assert said.code is Failure.OBJECT_COLLISION and said.stretch == 0


def test_a_way_round_is_found(proving: BimanualPlanner, robot: Robot, checker: CollisionScene) -> None:
    request = blocked(robot)
    plan = proving.plan(request, rng())
    assert plan.ways[0] in ("joint_line", "rrt")
    assert_agrees(plan, request, robot)
    assert_free(plan, request, checker)
    still = plan.joints[:, robot.columns(1)]  # the right arm was not asked to move
    np.testing.assert_allclose(still, np.tile(still[0], (len(still), 1)), atol=1e-6)
    if proving.repeatable:
        np.testing.assert_array_equal(proving.plan(request, rng()).joints, plan.joints)


def test_a_way_round_takes_the_time_that_the_limits_ask_for(
    proving: BimanualPlanner, robot: Robot, checker: CollisionScene
) -> None:
    stretch = line(robot, (0.0, -0.3, 0.0), 0.3, arms=(0,), bodies={"block": across(robot)})
    request = PlanRequest([stretch], at_rest=True)
    plan = proving.plan(request, rng())
    assert plan.lengths[0] > len(stretch)
    assert_agrees(plan, request, robot)
    assert_free(plan, request, checker)


def test_what_is_to_be_short_is_shorter_on_every_way(
    proving: BimanualPlanner, robot: Robot, checker: CollisionScene
) -> None:
    first = line(robot, (0.0, 0.0, 0.0), 0.5, free=False)
    for stretches in (
        [line(robot, (0.1, -0.05, 0.05))],
        [first, line(robot, (0.1, -0.05, 0.05))],
        blocked(robot).stretches,
        [replace(first, bodies=blocked(robot).stretches[0].bodies), *blocked(robot).stretches],
    ):
        asked = PlanRequest(stretches, at_rest=True)
        calm = proving.plan(asked, rng())
        short = proving.plan(replace(asked, shortest=1.0), rng())
        slower = proving.plan(replace(asked, shortest=1.5), rng())
        if proving.repeatable or short.ways[-1] != "rrt":  # else each is another way
            assert short.lengths[-1] < slower.lengths[-1] <= calm.lengths[-1]
            assert short.lengths[-1] < 0.8 * calm.lengths[-1]
        assert short.lengths[:-1] == calm.lengths[:-1]
        for plan in (short, slower):
            np.testing.assert_allclose(plan.poses[-1], stretches[-1].poses[-1], atol=1e-6)
            velocity, acceleration = limit_ratios(robot, plan.joints, RATE)
            assert velocity.max() <= 1 and acceleration.max() <= 1
            assert_free(plan, asked, checker)


def test_a_way_round_for_both_arms(proving: BimanualPlanner, robot: Robot, checker: CollisionScene) -> None:
    stretch = line(robot, (0.0, -0.3, 0.0), 2.0, bodies={"block": across(robot)})
    stretch.poses[:, 1] = line(robot, (-0.05, 0.0, 0.05), 2.0).poses[:, 1]
    first = line(robot, (0.0, 0.0, 0.0), 0.5, free=False, bodies={"block": across(robot)})
    request = PlanRequest([first, stretch], at_rest=True)
    plan = proving.plan(request, rng())
    assert plan.ways[0] == "line" and plan.ways[1] in ("joint_line", "rrt") and plan.lengths[0] == len(first)
    assert_agrees(plan, request, robot)
    assert_free(plan, request, checker)


def test_a_goal_inside_an_object_says_so(proving: BimanualPlanner, robot: Robot) -> None:
    goal = robot.fk(0, robot.home[0])[:3, 3] + [0.0, -0.2, 0.0]
    block = Body(geometry.make_pose(np.eye(3), goal - [0.0, 0.0, 0.16]))
    stretch = line(robot, (0.0, -0.2, 0.0), arms=(0,), bodies={"block": block})
    said = failure(proving, PlanRequest([stretch], at_rest=True))
    assert said.code is Failure.OBJECT_COLLISION and "goal" in str(said)


def test_a_collision_says_of_what(proving: BimanualPlanner, robot: Robot) -> None:
    home = robot.fk(0, robot.home[0])[:3, 3]
    down = line(robot, (0.05, 0.0, -home[2] - 0.04), 3.0, free=False, arms=(0,))
    assert failure(proving, PlanRequest([down])).code is Failure.SELF_COLLISION
    meet = line(robot, (0.05, -home[1], 0.0), 4.0, free=False)
    assert failure(proving, PlanRequest([meet])).code is Failure.ARMS_COLLISION


def held_below(robot: Robot, arm: int, depth: float) -> Body:
    """An upright object in the gripper at home, its base `depth` m below the TCP."""
    pose = np.eye(4)
    pose[:3, :3] = geometry.inverse(robot.fk(arm, robot.home[arm]))[:3, :3]
    pose[:3, 3] = pose[:3, :3] @ [0.0, 0.0, -depth]
    return Body(pose, holder=arm)


def test_a_held_object_collides_too(proving: BimanualPlanner, robot: Robot) -> None:
    # 40 cm of block below the gripper reach under the table top; 5 cm of it do not.
    for depth, code in ((0.40, Failure.OBJECT_COLLISION), (0.05, None)):
        down = line(robot, (0.05, 0.0, -0.05), free=False, bodies={"block": held_below(robot, 0, depth)})
        if code is None:
            proving.plan(PlanRequest([down]), rng())
        else:
            assert failure(proving, PlanRequest([down])).code is code


def test_a_way_round_is_one_for_what_is_held(proving: BimanualPlanner, robot: Robot, checker: CollisionScene) -> None:
    bodies = {"block": across(robot), "can": held_below(robot, 0, 0.05)}
    request = PlanRequest([line(robot, (0.0, -0.3, 0.05), 2.0, arms=(0,), bodies=bodies)], at_rest=True)
    try:
        plan = proving.plan(request, rng())
    except PlanFailure as said:
        assert said.code is Failure.NO_PATH  # a way that tilts what is held is none
        return
    assert_agrees(plan, request, robot)
    assert_free(plan, request, checker)


def test_contacts_are_allowed_by_name_only(proving: BimanualPlanner, robot: Robot) -> None:
    tcp = robot.fk(0, robot.home[0])
    between = geometry.make_pose(np.eye(3), tcp[:3, 3] - [0.0, 0.0, 0.05])
    still = line(robot, (0.0, 0.0, 0.0), 0.5, free=False)
    shut = replace(still, openings=np.full((len(still), 2), 0.05))
    for touching, free in (((), False), (("right",), False), (("left",), True)):
        stretch = replace(shut, bodies={**FAR, "can": Body(between, touching=frozenset(touching))})
        if free:
            proving.plan(PlanRequest([stretch]), rng())
        else:
            assert failure(proving, PlanRequest([stretch])).code is Failure.OBJECT_COLLISION
    # What a hand holds may touch that hand, and another object only where it says so.
    for touching, free in (((), False), (("block",), True)):
        can = replace(held_below(robot, 0, 0.05), touching=frozenset(touching))
        block = Body(geometry.yaw_pose(tcp[0, 3] + 0.03, tcp[1, 3], tcp[2, 3] - 0.38), touching=frozenset({"left"}))
        stretch = replace(shut, bodies={"can": can, "block": block})
        if free:
            said = proving.plan_many([PlanRequest([stretch])], [rng()])[0]
            assert isinstance(said, Plan), said
        else:
            assert failure(proving, PlanRequest([stretch])).code is Failure.OBJECT_COLLISION
