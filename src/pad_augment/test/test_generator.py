"""Whole generation: what a generated episode keeps, and that it does not depend on who computes it."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pour_scene
import pytest

from pad_augment.config import GeneratorConfig
from pad_augment.dataset import STEP_ARRAYS, Dataset, Episode
from pad_augment.errors import ConfigError, DatasetError, GenerationError
from pad_augment.executor import make_executor
from pad_augment.generator import CAUSES, Rejection, SceneWork, generate, generate_one
from pad_augment.grasp_choice import choose_turns
from pad_augment.grasp_turns import AS_SHOWN, Turns, turned
from pad_augment.kinematics import RobotProfile
from pad_augment.planning import make_planner
from pad_augment.planning.dynamics import limit_ratios
from pad_augment.planning.interface import PlanFailure
from pad_augment.sampling import SceneSampler
from pad_augment.scene_plan import ScenePlan, ScenePlanner
from pad_augment.skills import SkillSet, Take, Work, learn_skills
from pad_parse import geometry
from pad_parse.demonstration import Demonstration, SegmentKind

PLAIN = GeneratorConfig(
    recovery_probability=0.0, displacement_probability=0.0, start_position_noise=0.0, start_rotation_noise=0.0
)
COUNT = 6


@pytest.fixture(scope="module")
def demo() -> Demonstration:
    return pour_scene.demonstration()


@pytest.fixture(scope="module")
def dataset(demo: Demonstration, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    out = tmp_path_factory.mktemp("data") / "pour"
    seen: list[tuple[int, int]] = []
    report = generate(
        demo, pour_scene.PROFILE, out, COUNT, 3, progress=lambda p: seen.append((p.accepted, p.attempted))
    )
    assert report.accepted == COUNT == seen[-1][0] and report.attempted == seen[-1][1]
    assert sum(report.rejections.values()) == report.attempted - COUNT and set(report.rejections) <= set(CAUSES)
    return Dataset.open(out)


@pytest.fixture(scope="module")
def work(demo: Demonstration) -> SceneWork:
    return SceneWork(demo, RobotProfile.load(pour_scene.PROFILE), PLAIN, 0, "roboplan")


@pytest.fixture(scope="module")
def scene(work: SceneWork, demo: Demonstration) -> ScenePlan:
    poses = {"bottle": geometry.yaw_pose(0.03, -0.20, 0.3), "cup": geometry.yaw_pose(-0.02, 0.17, -0.2)}
    return work.scene_planner.plan(poses, np.random.default_rng(0))


def test_the_number_of_workers_changes_nothing(demo: Demonstration, dataset: Dataset, tmp_path: Path) -> None:
    generate(demo, pour_scene.PROFILE, tmp_path / "two", COUNT, 3, workers=2)
    other = Dataset.open(tmp_path / "two")
    for name in STEP_ARRAYS:
        np.testing.assert_array_equal(other.array(name), dataset.array(name))
    assert other.attributes["rejections"] == dataset.attributes["rejections"]


def _die(index: int) -> int:
    if index == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return index


def test_a_killed_worker_ends_the_work_with_a_clear_error() -> None:
    with pytest.raises(GenerationError, match="a worker process ended by itself"):
        list(make_executor(2).run(_die, 0, 20))
    assert list(make_executor(1).run(abs, 0, 3)) == [0, 1, 2]


def test_arrays_fit_together(dataset: Dataset, work: SceneWork) -> None:
    robot = pour_scene.robot()
    assert len(dataset) == COUNT and dataset.object_poses.shape == (COUNT, 2, 4, 4)
    for index in range(COUNT):
        episode = dataset.episode(index)
        steps = len(episode.ee)
        assert episode.keypoints.shape == (steps, 11, 3) and episode.joints.shape == (steps, 12)
        for arm in (0, 1):
            pose = robot.fk(arm, episode.joints[:, 6 * arm : 6 * arm + 6].astype(float))
            row = episode.action[:, 10 * arm : 10 * arm + 10]
            np.testing.assert_allclose(row[:, :3], pose[:, :3, 3], atol=1e-4)
            np.testing.assert_allclose(row[:, 3:9], geometry.rotation_6d(pose[:, :3, :3]), atol=1e-4)
            command, state = row[:, 9], episode.ee[:, 10 * arm + 9]
            assert (state >= command - 1e-6).all() and command.min() < state.min()
            np.testing.assert_allclose(episode.ee[:, 10 * arm : 10 * arm + 9], row[:, :9], atol=1e-6)
        velocity, acceleration = limit_ratios(robot, episode.joints.astype(float), 10.0, moving=True)
        assert velocity.max() <= 1.0 + 1e-3 and acceleration.max() <= 1.0 + 1e-2


def holding_from(scene: ScenePlan, arm: int) -> int:
    """The first step in which an arm holds something."""
    first = next(index for index, stretch in enumerate(scene.stretches) if stretch.held[arm] is not None)
    return sum(scene.plan.lengths[:first])


def test_the_grasp_and_the_meeting_are_the_demonstrations(scene: ScenePlan, demo: Demonstration) -> None:
    take, work = learn_skills(demo).beats
    assert isinstance(take, Take) and isinstance(work, Work)
    paths = []
    for arm, (grip, part) in enumerate(zip(take.grips, work.parts, strict=True)):
        assert grip is not None and part is not None
        relative = (
            geometry.inverse(scene.scene.placement[grip.object]) @ scene.plan.poses[holding_from(scene, arm) - 1, arm]
        )
        np.testing.assert_allclose(relative, grip.gripper_in_object, atol=1e-9)
        paths.append(part.poses)
    # The pose of one hand in the other is the demonstration's throughout: every pair lies on its path, at one time.
    steps = np.flatnonzero(scene.kinds[:, 0] == SegmentKind.SYNC_SKILL)
    for step in (steps[0] - 1, steps[-1]):
        end = 0 if step < steps[0] else -1
        for arm in (0, 1):
            np.testing.assert_allclose(scene.plan.poses[step, arm], paths[arm][end], atol=1e-9)
    relative = geometry.inverse(scene.plan.poses[steps, 0]) @ scene.plan.poses[steps, 1]
    assert np.ptp(relative[:, :3, 3], axis=0).max() > 0.05  # it does change
    shown = geometry.inverse(paths[0]) @ paths[1]
    for pose in relative[:: len(relative) // 5]:
        nearest = int(np.linalg.norm(shown[:, :3, 3] - pose[:3, 3], axis=1).argmin())
        near = shown[max(nearest - 1, 0) : nearest + 2]
        assert (near[:, :3, 3].min(0) - 1e-6 <= pose[:3, 3]).all() and (
            pose[:3, 3] <= near[:, :3, 3].max(0) + 1e-6
        ).all()


def test_keypoints_rest_and_then_move_with_the_gripper(scene: ScenePlan, work: SceneWork) -> None:
    points = work.scene_planner.keypoints(scene)
    objects = np.array(work.demonstration.keypoint_objects)
    for arm, name in enumerate(pour_scene.OBJECTS):
        mine = points[:, objects == name]
        grasped = holding_from(scene, arm)
        np.testing.assert_allclose(mine[:grasped], mine[:1].repeat(grasped, 0), atol=1e-12)
        held = geometry.transform_points(geometry.inverse(scene.plan.poses[grasped:, arm]), mine[grasped:])
        np.testing.assert_allclose(held, held[:1].repeat(len(held), 0), atol=1e-9)
        np.testing.assert_allclose(mine[grasped], mine[0], atol=2e-3)


def test_where_the_objects_stood_the_skill_is_reproduced(work: SceneWork, demo: Demonstration) -> None:
    plan = work.scene_planner.plan({n: p[0] for n, p in demo.object_poses.items()}, np.random.default_rng(0))
    points = work.scene_planner.keypoints(plan)
    np.testing.assert_allclose(points[0], demo.keypoints[0], atol=1e-9)
    # Smoothing of the tracked path is all that differs at the end.
    np.testing.assert_allclose(points[-1], demo.keypoints[-1], atol=0.003)


def test_accepted_scenes_survive_a_finer_check(scene: ScenePlan, work: SceneWork) -> None:
    fine = work.scene_planner
    assert not fine.collides_again(scene, 0.005)


def test_no_arm_turns_over_between_home_and_the_end(dataset: Dataset) -> None:
    robot = pour_scene.robot()
    joints = dataset.array("joints").astype(np.float64)
    for arm in (0, 1):
        own = joints[:, 6 * arm : 6 * arm + 6]
        assert np.all(robot.postures(arm, own) == robot.postures(arm, robot.home[arm]))
        starts = own[np.concatenate([[0], dataset.episode_ends[:-1]])[dataset.rows("disturbances") == 0]]
        assert np.abs(starts - robot.home[arm]).max() < 1.2


def test_a_push_is_led_back(scene: ScenePlan, work: SceneWork) -> None:
    pushed = work.scene_planner.pushed(scene, np.random.default_rng(1))
    assert pushed is not None
    step, later = pushed
    before = scene.plan.poses[step:, :, :3, 3]
    away = np.linalg.norm(later.plan.poses[:, :, :3, 3] - before, axis=-1)
    assert 0.002 < away[0].max() < 0.06
    np.testing.assert_allclose(away[-1], 0.0, atol=1e-9)
    np.testing.assert_allclose(away[13:], 0.0, atol=1e-9)


def test_another_instance_brings_its_own_keypoints(demo: Demonstration, tmp_path: Path) -> None:
    own = learn_skills(demo).points_in_object
    wider = {name: points * [1.1, 1.1, 1.0] for name, points in own.items()}
    generate(demo, pour_scene.PROFILE, tmp_path / "a", 1, 0, "straight_line", keypoints_in_object=wider, config=PLAIN)
    episode = Dataset.open(tmp_path / "a").episode(0)
    rest = geometry.transform_points(geometry.inverse(episode.object_poses[0]), episode.keypoints[0, :4])
    np.testing.assert_allclose(rest, wider["bottle"], atol=1e-5)
    with pytest.raises(Exception, match="keypoints whose places"):
        generate(demo, pour_scene.PROFILE, tmp_path / "b", 1, 0, keypoints_in_object={"cup": own["cup"]})


def grip_and_path(skills: SkillSet, arm: int) -> tuple[np.ndarray, np.ndarray]:
    take, work = skills.beats
    assert isinstance(take, Take) and isinstance(work, Work)
    grip, part = take.grips[arm], work.parts[arm]
    assert grip is not None and part is not None
    return grip.gripper_in_object, part.poses


def test_a_grasp_out_of_reach_is_turned_and_the_object_moves_as_before(demo: Demonstration) -> None:
    skills = learn_skills(demo)
    # The cup taken from the far side: the arm would have to reach around it.
    wrong = turned(skills, Turns(left=np.radians(150), right=0.0))
    assert turned(skills, AS_SHOWN) is skills
    for arm in (0, 1):
        (before, path), (after, other) = grip_and_path(skills, arm), grip_and_path(wrong, arm)
        np.testing.assert_allclose(other @ geometry.inverse(after), path @ geometry.inverse(before), atol=1e-9)
        np.testing.assert_allclose(after[:3, 3], before[:3, 3])
    robot = pour_scene.robot()

    def planner(chosen: SkillSet) -> ScenePlanner:
        return ScenePlanner(chosen, robot, make_planner("straight_line", robot, chosen.shapes, PLAIN.rate_hz), PLAIN)

    scenes = [SceneSampler(demo.task, 0)(index) for index in range(3)]
    assert choose_turns(skills, planner, planner, planner, scenes, [], 1.1) == AS_SHOWN
    turns = choose_turns(wrong, planner, planner, planner, scenes, [], 3.1)
    assert turns != AS_SHOWN and abs(turns.left) > np.radians(10) and turns.right == 0.0
    assert choose_turns(wrong, planner, planner, planner, scenes, [], 0.0) == AS_SHOWN


def test_one_scene_on_its_own(demo: Demonstration) -> None:
    robot = pour_scene.robot()
    result = generate_one(demo, robot, "straight_line", pour_scene.START, np.random.default_rng(0))
    assert isinstance(result, Episode)
    far = {**pour_scene.START, "cup": geometry.yaw_pose(2.0, 0.0, 0.0)}
    result = generate_one(demo, robot, "straight_line", far, np.random.default_rng(0))
    assert isinstance(result, Rejection) and result.cause == "unreachable_left"


def test_bad_requests_are_refused(demo: Demonstration, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="known: auto, moveit, roboplan, straight_line"):
        generate(demo, pour_scene.PROFILE, tmp_path / "a", 1, 0, planner="magic")
    with pytest.raises(ConfigError, match="at least 1"):
        generate(demo, pour_scene.PROFILE, tmp_path / "a", 0, 0)
    with pytest.raises(ConfigError, match="known: rate_hz"):
        GeneratorConfig.from_options(spede=1.0)
    with pytest.raises(ConfigError, match="needed: bottle, cup"):
        generate_one(demo, pour_scene.robot(), "straight_line", {}, np.random.default_rng(0))
    assert not list(tmp_path.iterdir())


def test_a_region_out_of_reach_ends_with_the_causes(demo: Demonstration, tmp_path: Path) -> None:
    spec = demo.task.model_dump()
    spec["objects"]["cup"]["region"]["x"] = (1.5, 1.6)
    away = type(demo)(**{**vars(demo), "task": type(demo.task).model_validate(spec)})
    with pytest.raises(GenerationError, match="unreachable_left 1"):
        generate(
            away,
            pour_scene.PROFILE,
            tmp_path / "a",
            1,
            0,
            config=PLAIN.model_copy(update={"attempts_per_episode": 200}),
        )
    assert not list(tmp_path.iterdir())


def test_scenes_cover_the_regions_evenly(demo: Demonstration) -> None:
    scenes = SceneSampler(demo.task, 0)
    region = demo.task.objects["bottle"].region
    x = np.array([scenes(i)["bottle"][0, 3] for i in range(64)])
    assert region.x[0] <= x.min() and x.max() <= region.x[1]
    counts, _ = np.histogram(x, 8, region.x)
    assert counts.min() >= 5
    again = SceneSampler(demo.task, 0)
    np.testing.assert_array_equal(again(17)["cup"], scenes(17)["cup"])
    assert not np.array_equal(SceneSampler(demo.task, 1)(17)["cup"], scenes(17)["cup"])


def test_a_margin_reaches_beyond_the_regions(demo: Demonstration) -> None:
    region = demo.task.objects["cup"].region
    low, high = np.array([region.x[0], region.y[0]]), np.array([region.x[1], region.y[1]])
    places = SceneSampler(demo.task, 0, margin=0.2).many(range(200))["cup"][:, :2, 3]
    beyond = np.maximum(low - places, places - high).max(axis=0) / (high - low)
    assert (beyond > 0.15).all() and (beyond <= 0.2).all()
    config = GeneratorConfig.from_options(region_margin=0.2)
    work = SceneWork(demo, RobotProfile.load(pour_scene.PROFILE), config, 0, "straight_line")
    np.testing.assert_array_equal(work.scenes.many(range(200))["cup"][:, :2, 3], places)


def test_corners_are_corners_of_every_region(demo: Demonstration) -> None:
    corners = SceneSampler(demo.task, 0).corners(20)
    assert len(corners) == 20
    for name in demo.task.object_names:
        region = demo.task.objects[name].region
        yaws = {round(float(np.arctan2(scene[name][1, 0], scene[name][0, 0])), 9) for scene in corners}
        assert {float(scene[name][0, 3]) for scene in corners} == set(region.x) and yaws == set(region.yaw)
    assert len({tuple(np.concatenate([pose.ravel() for pose in scene.values()])) for scene in corners}) == 20


def test_grasps_are_turned_a_little_where_more_corners_are_reached_so(demo: Demonstration) -> None:
    spec = demo.task.model_dump()
    for thing in spec["objects"].values():
        thing["region"]["yaw"], thing["round"] = (-0.7, 0.7), False
    wide = replace(demo, task=type(demo.task).model_validate(spec))
    work = SceneWork(wide, RobotProfile.load(pour_scene.PROFILE), PLAIN, 0, "roboplan")
    corners = SceneSampler(wide.task, 0).corners(8)

    def lost(turns: Turns) -> int:
        planner = replace(work, turns=turns).scene_planner
        asked = [planner.planned(planner.scene(corner), np.random.default_rng(0)) for corner in corners]
        return sum(isinstance(result, PlanFailure) for result in planner.run(asked))

    turns = work.chosen_turns()
    assert 0 < max(abs(turns.left), abs(turns.right)) <= np.radians(20) + 1e-9
    assert lost(turns) < lost(AS_SHOWN)


def test_hands_that_change_their_parts_have_grasps_of_their_own(demo: Demonstration) -> None:
    # Arms of six joints are no mirror images of each other.
    spec = demo.task.model_dump() | {"swap_sides": True}
    both = replace(demo, task=type(demo.task).model_validate(spec))
    work = SceneWork(both, RobotProfile.load(pour_scene.PROFILE), PLAIN, 0, "roboplan").with_chosen_turns()
    assert work.mirrored_turns is not None
    results = work.attempt(range(8))
    assert [isinstance(r, ScenePlan) and r.mirrored for r in results] == [i % 2 == 1 for i in range(8)]
    assert not any(work.scene_planner.collides_again(r, 0.005) for r in results[:2] if isinstance(r, ScenePlan))
    other = replace(work, mirrored_turns=Turns(left=work.mirrored_turns.left + 0.1)).scene_planner
    (again,) = other.run([other.planned(other.scene(work.scenes(1)), np.random.default_rng(0))])
    assert isinstance(again, PlanFailure) or np.abs(again.plan.poses[-1] - results[1].plan.poses[-1]).max() > 0.01


def test_no_scenes_can_be_asked_for_whatever_stands_in_the_way(demo: Demonstration) -> None:
    # A block of which all scenes were accepted asks where its rejected ones stood.
    places = SceneSampler(demo.task, 0, obstacles=["pole"]).many([])
    assert {name: poses.shape for name, poses in places.items()} == dict.fromkeys(["bottle", "cup", "pole"], (0, 4, 4))


def test_a_dataset_is_whole_or_not_there(demo: Demonstration, dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "precious.txt").write_text("keep")
    with pytest.raises(DatasetError, match="is no dataset"):
        generate(demo, pour_scene.PROFILE, tmp_path / "other", 1, 0, "straight_line", config=PLAIN)
    assert [p.name for p in tmp_path.iterdir()] == ["other"]
    with pytest.raises(DatasetError, match="pad augment"):
        Dataset.open(tmp_path / "none")
    with pytest.raises(DatasetError, match="known: keypoints"):
        dataset.array("nothing")
