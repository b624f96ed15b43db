"""MoveIt's part of planning: which planner is taken where, what MoveIt is told, and that its answers are roboplan's."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pour_scene
import pytest
import yaml

from pad_augment.config import GeneratorConfig
from pad_augment.errors import ConfigError, PlanningError, RobotError
from pad_augment.generator import SceneWork
from pad_augment.kinematics import Robot, RobotProfile
from pad_augment.planning import PLANNERS, choose_planner, make_planner
from pad_augment.planning.collisions import CollisionScene
from pad_augment.planning.interface import Body, Failure, PlanFailure, PlanRequest, Shape, Stretch
from pad_augment.planning.moveit_host import moveit_host, node_parameters, why_absent
from pad_augment.planning.moveit_scene import MoveItScene
from pad_augment.scene_plan import ScenePlan
from pad_parse import geometry

SHAPES = {"can": Shape(0.03, 0.10)}
REAL = why_absent() is None


@pytest.fixture(scope="module")
def robot() -> Robot:
    return pour_scene.robot()


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    pytest.importorskip("shape_msgs.msg", reason="needs ROS 2 messages")
    import fake_moveit

    for module, content in fake_moveit.modules().items():
        monkeypatch.setitem(sys.modules, module, content)
    moveit_host.cache_clear()
    yield
    moveit_host.cache_clear()


def test_an_unknown_planner_is_refused_with_the_known_ones(robot: Robot) -> None:
    with pytest.raises(ConfigError, match="auto, moveit, roboplan, straight_line"):
        make_planner("magic", robot, SHAPES, 10.0)
    assert PLANNERS == ("auto", "moveit", "roboplan", "straight_line")


@pytest.mark.skipif(REAL, reason="MoveIt is installed here")
def test_without_moveit_auto_says_why_and_moveit_is_an_error(robot: Robot) -> None:
    name, why = choose_planner("auto")
    assert name == "roboplan" and "moveit.planning" in why and "ros-jazzy-moveit-py" in why
    assert make_planner("auto", robot, SHAPES, 10.0).name == "roboplan"
    with pytest.raises(PlanningError, match=r"install ros-jazzy-moveit.*choose: auto, roboplan, straight_line"):
        make_planner("moveit", robot, SHAPES, 10.0)


@pytest.mark.skipif(REAL, reason="MoveIt is installed here")
def test_auto_takes_moveit_where_it_is(fake: None) -> None:
    assert choose_planner("auto") == ("moveit", "planner moveit: MoveIt is installed")
    assert choose_planner("roboplan")[0] == "roboplan"


@pytest.fixture
def moveit(request: pytest.FixtureRequest) -> str:
    """What answers: `real` where MoveIt is installed, else `fake`."""
    if not REAL:
        request.getfixturevalue("fake")
    return "real" if REAL else "fake"


def test_its_scene_agrees_with_roboplans(moveit: str, robot: Robot) -> None:
    shapes = {"can": Shape(0.03, 0.10, (0.01, -0.02)), "pole": Shape(0.05, 0.5)}
    ours, theirs = CollisionScene(robot, shapes), MoveItScene(moveit_host(robot.profile), robot, shapes)
    rng, seen = np.random.default_rng(0), set()
    for _ in range(12):
        reach = robot.fk(0, robot.home[0])[:3, 3] + rng.uniform(-0.3, 0.3, 3)
        can = Body(geometry.make_pose(geometry.rotation_exp(rng.normal(0, 1, 3)), rng.uniform(-0.1, 0.1, 3)), holder=0)
        names = [name for name in ("left", "right", "can") if rng.random() < 0.5]
        pole = Body(geometry.make_pose(geometry.rotation_exp(rng.normal(0, 0.5, 3)), reach), touching=frozenset(names))
        for scene in (ours, theirs):
            scene.arrange({"can": can, "pole": pole})
        for _ in range(25):
            joints = robot.home.ravel() + rng.normal(0, 0.4, 12)
            openings = rng.uniform(0, 0.1, 2)
            hit = ours.collides(joints, openings)
            assert theirs.collides(joints, openings) == hit
            seen.add(hit)
    assert seen == {True, False}


def test_whole_scenes_come_out_as_with_roboplan(moveit: str, robot: Robot) -> None:
    """Among obstacles: one scene where a straight joint line is the way, and one that cannot be."""
    config = GeneratorConfig(obstacles=4, recovery_probability=0.0, displacement_probability=0.0)
    demonstration, results = pour_scene.demonstration(), {}
    for name in ("roboplan", "moveit"):
        results[name] = SceneWork(demonstration, robot.profile, config, 0, name).attempt([1, 2])
    (refused, plan), (refused_too, same) = results["roboplan"], results["moveit"]
    assert isinstance(refused, PlanFailure) and isinstance(refused_too, PlanFailure)
    assert refused.code is refused_too.code and isinstance(plan, ScenePlan) and isinstance(same, ScenePlan)
    assert "joint_line" in plan.plan.ways and plan.plan.ways == same.plan.ways
    np.testing.assert_array_equal(plan.plan.joints, same.plan.joints)


@pytest.mark.skipif(REAL, reason="MoveIt is installed here")
@pytest.mark.parametrize(("code", "failure"), [(-6, Failure.TIME_OUT), (-1, Failure.NO_PATH), (99999, Failure.NO_PATH)])
def test_what_moveit_answers_becomes_a_failure(
    fake: None, robot: Robot, monkeypatch: pytest.MonkeyPatch, code: int, failure: Failure
) -> None:
    import fake_moveit

    monkeypatch.setattr(fake_moveit.PlanningComponent, "_searched", lambda *_: fake_moveit.MotionPlanResponse(code))
    poses = np.stack([robot.fk(arm, robot.home[arm]) for arm in (0, 1)])
    goals = poses.copy()
    goals[0, 1, 3] -= 0.3
    share = np.linspace(0, 1, 21) ** 3 * (10 - 15 * np.linspace(0, 1, 21) + 6 * np.linspace(0, 1, 21) ** 2)
    path = np.stack([geometry.interpolate_pose(poses[arm], goals[arm], share) for arm in (0, 1)], axis=1)
    middle = poses[0, :3, 3] + [0.02, -0.15, 0.0]
    block = Body(geometry.yaw_pose(middle[0], middle[1], 0.0))
    request = PlanRequest([Stretch(path, np.full((21, 2), 0.1), True, {"block": block})], at_rest=True)
    planner = make_planner("moveit", robot, {"block": Shape(0.03, 0.33)}, 10.0)
    with pytest.raises(PlanFailure, match=f"error code {code}") as caught:
        planner.plan(request, np.random.default_rng(0))
    assert caught.value.code is failure and caught.value.stretch == 0


def test_the_limits_are_the_profiles_and_every_parameter_is_one_of_ros(robot: Robot) -> None:
    pytest.importorskip("shape_msgs.msg", reason="needs ROS 2 messages")
    import fake_moveit

    parameters = node_parameters(robot.profile)
    fake_moveit.check_parameters(yaml.safe_load(yaml.dump(parameters)), "")
    limits = parameters["robot_description_planning"]["joint_limits"]
    assert set(limits) == set(robot.joint_names)
    for name, velocity in zip(robot.joint_names, robot.velocity_limits.ravel(), strict=True):
        assert limits[name]["max_velocity"] == velocity
    groups = {"both_arms", "left_arm", "right_arm"}
    assert groups <= set(parameters["ompl"]) and all(
        f'name="{g}"' in parameters["robot_description_semantic"] for g in groups
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "has no key 'moveit'"),
        ("missing", "cannot be read"),
        ("planning_pipelines: {pipeline_names: [ompl]}", "lacks the section 'plan_request_params'"),
        (
            "planning_pipelines: {pipeline_names: [ompl]}\nplan_request_params: {planning_pipeline: chomp}",
            r"planning_pipeline is 'chomp'; planning_pipelines.pipeline_names: ompl",
        ),
    ],
)
def test_a_set_up_that_cannot_be_used_is_refused(
    robot: Robot, tmp_path: Path, content: str | None, message: str
) -> None:
    path = tmp_path / "setup.yaml"
    if content not in (None, "missing"):
        path.write_text(str(content))
    profile = robot.profile.model_copy(update={"moveit": None if content is None else path})
    with pytest.raises(RobotError, match=message):
        node_parameters(profile)


@pytest.mark.skipif(REAL, reason="MoveIt is installed here")
def test_moveit_that_does_not_start_says_so(robot: Robot, fake: None, tmp_path: Path) -> None:
    setup = yaml.safe_load(Path(str(robot.profile.moveit)).read_text())
    del setup["ompl"]["planning_plugins"][0]
    path = tmp_path / "setup.yaml"
    path.write_text(yaml.dump(setup))
    profile: RobotProfile = robot.profile.model_copy(update={"moveit": path})
    with pytest.raises(PlanningError, match="does not start with"):
        make_planner("moveit", Robot(profile), SHAPES, 10.0)
