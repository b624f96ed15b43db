"""Each parameter of the augmentation does what it says; symmetries of the method hold."""

from dataclasses import replace

import numpy as np
import pour_scene
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pad_augment.choreography import Scenes, choreograph
from pad_augment.config import GeneratorConfig
from pad_augment.errors import ConfigError
from pad_augment.generator import SceneWork
from pad_augment.kinematics import RobotProfile
from pad_augment.planning.collisions import CollisionScene
from pad_augment.planning.interface import PlanFailure, Shape
from pad_augment.sampling import SceneSampler
from pad_augment.scene_plan import Disturbance, ScenePlan, pace_of, start_poses
from pad_augment.skills import SkillSet, Take, Work, learn_skills, reflected
from pad_parse import geometry
from pad_parse.demonstration import Demonstration, SegmentKind

PACE = pace_of(GeneratorConfig(), 0.11)
POUR = learn_skills(pour_scene.demonstration())
CALM = {
    "recovery_probability": 0.0,
    "displacement_probability": 0.0,
    "start_position_noise": 0.0,
    "start_rotation_noise": 0.0,
    "grasp_turn_limit": 0.0,
}


@pytest.fixture(scope="module")
def demo() -> Demonstration:
    return pour_scene.demonstration()


@pytest.fixture(scope="module")
def skills() -> SkillSet:
    return POUR


@pytest.fixture(scope="module")
def profile() -> RobotProfile:
    return RobotProfile.load(pour_scene.PROFILE)


def work_with(demo: Demonstration, profile: RobotProfile, planner: str = "roboplan", **options: object) -> SceneWork:
    return SceneWork(demo, profile, GeneratorConfig.from_options(**{**CALM, **options}), 0, planner)


def plans_of(work: SceneWork, count: int = 4) -> list[ScenePlan]:
    return [result for result in work.attempt(range(count)) if isinstance(result, ScenePlan)]


def flattened(skills: SkillSet) -> list[np.ndarray]:
    out = []
    for beat in skills.beats:
        if isinstance(beat, Take):
            out += [grip.gripper_in_object for grip in beat.grips if grip is not None]
        else:
            out += [part.poses for part in beat.parts if part is not None]
    return out


def test_objects_of_reflected_skills_stand_where_they_are_taken(skills: SkillSet) -> None:
    # A lid that begins where it stood is lifted as it was shown, whichever hand takes it.
    other = reflected(skills)
    for shown, mirrored in zip(skills.beats, other.beats, strict=True):
        if isinstance(shown, Take) and isinstance(mirrored, Take):
            for arm in (0, 1):
                before, after = shown.grips[arm], mirrored.grips[1 - arm]
                assert before is not None and after is not None
                taken = skills.object_poses[before.object] @ before.gripper_in_object
                there = other.object_poses[after.object] @ after.gripper_in_object
                np.testing.assert_allclose(there, geometry.reflect_pose(taken), atol=1e-12)
    again = reflected(other)
    for name, pose in skills.object_poses.items():
        np.testing.assert_allclose(again.object_poses[name], pose, atol=1e-12)


def test_reflected_twice_is_the_same(skills: SkillSet) -> None:
    once, twice = reflected(skills), reflected(reflected(skills))
    assert once.mirrored and not twice.mirrored
    for before, after in zip(flattened(skills), flattened(twice), strict=True):
        np.testing.assert_allclose(after, before, atol=1e-15)
    take = once.beats[0]
    assert isinstance(take, Take)
    assert [grip.object for grip in take.grips if grip is not None] == list(pour_scene.OBJECTS)[::-1]
    assert all(geometry.is_rigid(poses).all() for poses in flattened(once))


@pytest.mark.parametrize(("x", "y"), [(0.03, -0.02), (-0.01, 0.04)])
def test_a_reflected_grasp_does_not_depend_on_where_an_object_has_its_origin(x: float, y: float) -> None:
    """A round thing that is taken from the other side is still taken about its axis."""
    shapes = {name: Shape(*pour_scene.SIZE[name][:2]) for name in pour_scene.OBJECTS}
    aside = geometry.yaw_pose(x, y, 0.0)
    demo = pour_scene.demonstration()
    moved = replace(demo, object_poses={name: poses @ aside for name, poses in demo.object_poses.items()})
    beside = {name: replace(shape, centre=(-x, -y)) for name, shape in shapes.items()}
    one, other = (reflected(learn_skills(d, shapes=s)) for d, s in ((demo, shapes), (moved, beside)))
    for before, after in zip(one.beats, other.beats, strict=True):
        if isinstance(before, Take) and isinstance(after, Take):
            for grip, same in zip(before.grips, after.grips, strict=True):
                assert grip is not None and same is not None
                np.testing.assert_allclose(aside @ same.gripper_in_object, grip.gripper_in_object, atol=1e-6)


def test_hands_change_their_parts_where_objects_are_out_of_reach(demo: Demonstration, profile: RobotProfile) -> None:
    # Cup and bottle have changed sides: only crossed arms would reach them.
    far = {"cup": geometry.yaw_pose(0.1, -0.45, 0.0), "bottle": geometry.yaw_pose(0.1, 0.45, 0.0)}
    results = []
    for swap in (False, True):
        planner = work_with(demo, profile, swap_hands=swap).scene_planner
        results += planner.run([planner.planned(planner.scene(far), np.random.default_rng(0))])
    assert isinstance(results[0], PlanFailure) and results[0].code.value.startswith("unreachable")
    assert isinstance(results[1], ScenePlan) and results[1].mirrored
    held = [stretch.held for stretch in results[1].stretches]
    assert ("bottle", "cup") in held and ("cup", "bottle") not in held


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1))
def test_skills_go_along_with_their_objects(seed: int) -> None:
    """The pose of a gripper in its object is the demonstrated one as it grasps; both hands share one change after."""
    rng = np.random.default_rng(seed)
    skills = POUR
    scenes = random_scenes(skills, rng, 3)
    phases = choreograph(skills, scenes, PACE)
    take, work = skills.beats
    assert isinstance(take, Take) and isinstance(work, Work)
    closing = phases[2]
    assert closing.kinds == (SegmentKind.ASYNC_SKILL,) * 2
    skill = next(phase for phase in phases if phase.kinds[0] == SegmentKind.SYNC_SKILL)
    for scene in range(3):
        for arm, (grip, part) in enumerate(zip(take.grips, work.parts, strict=True)):
            assert grip is not None and part is not None
            seen = geometry.inverse(scenes.placement[grip.object][scene]) @ closing.poses[closing.rows(scene), arm]
            np.testing.assert_allclose(seen, np.repeat(grip.gripper_in_object[None], len(seen), axis=0), atol=1e-9)
            end = scenes.meeting[scene] @ part.poses[-1]
            np.testing.assert_allclose(skill.poses[skill.rows(scene)][-1, arm], end, atol=1e-9)
        hands = skill.poses[skill.rows(scene)]
        undone = geometry.inverse(scenes.meeting[scene]) @ hands
        np.testing.assert_allclose(
            geometry.inverse(hands[:, 0]) @ hands[:, 1], geometry.inverse(undone[:, 0]) @ undone[:, 1], atol=1e-9
        )


def random_scenes(skills: SkillSet, rng: np.random.Generator, count: int) -> Scenes:
    home = np.stack([geometry.yaw_pose(-0.2, y, 0.0, 0.3) for y in (0.3, -0.3)])
    meeting = geometry.make_pose(geometry.rotation_exp(rng.normal(0, 0.3, (count, 3))), rng.normal(0, 0.1, (count, 3)))
    return Scenes(
        placement={n: geometry.yaw_pose(*rng.uniform(-0.3, 0.3, (3, count))) for n in skills.object_poses},
        starts=start_poses(home, GeneratorConfig(), rng.uniform(-1, 1, (count, 2, 2, 3))),
        meeting=meeting,
        motion=rng.uniform(1, 2, count),
        skill=rng.uniform(1, 2, count),
        scale={},
    )


def test_scenes_do_not_depend_on_their_company(skills: SkillSet) -> None:
    rng = np.random.default_rng(3)
    scenes = random_scenes(skills, rng, 5)
    for pace in (PACE, replace(PACE, stops=True)):
        together = choreograph(skills, scenes, pace)
        for scene in range(5):
            pick = slice(scene, scene + 1)
            alone = Scenes(
                {name: pose[pick] for name, pose in scenes.placement.items()},
                scenes.starts[pick],
                scenes.meeting[pick],
                scenes.motion[pick],
                scenes.skill[pick],
                {},
            )
            for one, many in zip(choreograph(skills, alone, pace), together, strict=True):
                np.testing.assert_allclose(one.poses, many.poses[many.rows(scene)], atol=1e-12)


def test_the_arm_with_the_shorter_way_is_slowed_only_so_far(skills: SkillSet) -> None:
    scenes = random_scenes(skills, np.random.default_rng(0), 1)
    near = np.array(scenes.starts)
    near[0, 0, :3, 3] = scenes.placement["cup"][0, :3, 3] + [-0.1, 0.05, 0.15]
    scenes = replace(scenes, starts=near)

    def still(stretch: float) -> int:
        phases = choreograph(skills, scenes, replace(PACE, longest_stretch=stretch, stops=True))
        steps = np.linalg.norm(np.diff(phases[0].poses[:, 0, :3, 3], axis=0), axis=1)
        return int((steps < 1e-9).sum())

    assert still(20.0) == 0 < still(1.0)


def test_instances_of_another_size(demo: Demonstration, profile: RobotProfile) -> None:
    work = work_with(demo, profile, object_scale=0.2)
    own = work.skills.points_in_object["bottle"]
    sizes = set()
    for plan in plans_of(work):
        size = plan.scene.scale["bottle"]
        sizes.add(size)
        assert 0.8 <= size <= 1.2
        points = work.scene_planner.keypoints(plan)[0, :4]
        rest = geometry.transform_points(geometry.inverse(plan.placement["bottle"]), points)
        np.testing.assert_allclose(rest, size * own, atol=1e-9)
        take = work.skills.beats[0]
        assert isinstance(take, Take) and take.grips[1] is not None
        held = next(i for i, stretch in enumerate(plan.stretches) if stretch.held[1])
        grasp = plan.plan.poses[sum(plan.plan.lengths[:held]) - 1, 1]
        seen = geometry.inverse(plan.placement["bottle"]) @ grasp
        np.testing.assert_allclose(seen[:3, 3], size * take.grips[1].gripper_in_object[:3, 3], atol=1e-9)
    assert len(sizes) > 1
    assert plans_of(work_with(demo, profile), 1)[0].scene.scale == {}


def test_an_object_that_is_moved_is_followed(demo: Demonstration, profile: RobotProfile) -> None:
    work = work_with(demo, profile, displacement_probability=1.0, displacement_distance=0.06)
    plans = plans_of(work, 6)
    moved = 0
    for plan in plans:
        free = plan.plan.lengths[0] + plan.plan.lengths[1]
        for name, path in plan.objects.items():
            away = np.linalg.norm(path[:free, :2, 3] - path[0, :2, 3], axis=1)
            if away.max() > 0.01:
                moved += 1
                assert 0.02 < away.max() < 0.0601 and (np.diff(away) > -1e-9).all()
                arm = 0 if name == "cup" else 1
                held = next(i for i, stretch in enumerate(plan.stretches) if stretch.held[arm])
                first = sum(plan.plan.lengths[:held])
                take = work.skills.beats[0]
                assert isinstance(take, Take)
                grip = take.grips[arm]
                assert grip is not None
                seen = geometry.inverse(path[first - 1]) @ plan.plan.poses[first - 1, arm]
                np.testing.assert_allclose(seen, grip.gripper_in_object, atol=1e-9)
        assert not work.scene_planner.collides_again(plan, 0.005)
    assert moved >= len(plans) // 2


def test_an_object_is_not_moved_through_an_arm(demo: Demonstration, profile: RobotProfile) -> None:
    work = work_with(demo, profile, displacement_probability=1.0)
    checker = CollisionScene(work._robot, work.skills.shapes)
    looked_at = 0
    for plan in plans_of(work, 48):
        if plan.disturbance != Disturbance.OBJECT_MOVED:
            continue
        bodies = plan.stretches[0].bodies
        for name, path in plan.objects.items():
            free = next(i for i, s in enumerate(plan.stretches) if s.held[0] is not None or s.held[1] is not None)
            steps = np.arange(sum(plan.plan.lengths[:free]) - 1)
            for step in steps[np.linalg.norm(np.diff(path[: len(steps) + 1, :2, 3], axis=0), axis=1) > 1e-6]:
                pose = geometry.interpolate_pose(path[step], path[step + 1], np.array(0.5))
                checker.arrange({**bodies, name: replace(bodies[name], pose=pose, touching=frozenset())})
                between = (plan.plan.joints[step] + plan.plan.joints[step + 1]) / 2
                assert not checker.collides(between, plan.plan.openings[step])
                looked_at += 1
    assert looked_at > 100


def test_obstacles_stand_apart_and_are_not_touched(demo: Demonstration, profile: RobotProfile) -> None:
    work = work_with(demo, profile, obstacles=3)
    scenes = [work.scenes(index) for index in range(20)]
    for scene in scenes:
        places = np.array([pose[:2, 3] for pose in scene.values()])
        gaps = np.linalg.norm(places[:, None] - places[None], axis=-1) + np.eye(len(places))
        assert len(scene) == 5 and gaps.min() >= 0.12
    plans = plans_of(work, 16)
    assert plans and all(not work.scene_planner.collides_again(plan, 0.005) for plan in plans)
    # The same scenes in which nobody looks: some of them do not survive the check.
    blind = work_with(demo, profile, "straight_line", obstacles=3)
    hits = [blind.scene_planner.collides_again(plan, 0.02) for plan in plans_of(blind, 12)]
    assert any(hits)


def test_distances_between_objects(demo: Demonstration) -> None:
    spec = demo.task.model_dump()
    spec["objects"]["cup"]["region"]["y"] = spec["objects"]["bottle"]["region"]["y"] = (-0.2, 0.2)
    task = type(demo.task).model_validate(spec)
    for distance in (0.05, 0.2):
        scenes = SceneSampler(task, 0, distance).many(range(200))
        gaps = np.linalg.norm(scenes["cup"][:, :2, 3] - scenes["bottle"][:, :2, 3], axis=1)
        assert distance <= gaps.min() < distance + 0.05
    with pytest.raises(ConfigError, match="widen"):
        SceneSampler(task, 0, 0.5)(0)
    with pytest.raises(ConfigError, match="no room for 12 obstacles"):
        SceneSampler(task, 0, 0.3, [f"obstacle_{i}" for i in range(12)])(0)


def test_end_effector_space_makes_the_same_scenes_without_a_robot(demo: Demonstration, profile: RobotProfile) -> None:
    slow = {"speed": 0.06, "turn_rate": 0.4, "approach_speed": 0.06}  # so that the robot need not be slower
    work = work_with(demo, profile, "straight_line", start_position_noise=0.03, object_scale=0.1, **slow)
    ee = work.run_block(0)
    proved = plans_of(work, 5)
    begin = np.cumsum([0, *ee.lengths])
    compared = 0
    for plan in proved:
        index = next(i for i in range(5) if np.allclose(work.scenes(i)["cup"], plan.placement["cup"]))
        if len(plan) != ee.lengths[index]:
            continue
        rows = slice(begin[index], begin[index + 1])
        episode = work.scene_planner.episode(plan)
        for name in ("keypoints", "ee", "action"):
            np.testing.assert_allclose(ee.arrays[f"data/{name}"][rows], getattr(episode, name), atol=2e-6)
        np.testing.assert_array_equal(ee.arrays["data/segments"][rows], episode.segments)
        compared += 1
    assert compared >= 3 and np.isnan(ee.arrays["data/joints"]).all()


def test_pushes_in_end_effector_space(demo: Demonstration, profile: RobotProfile) -> None:
    calm = work_with(demo, profile, "straight_line", recovery_probability=0.0, displacement_probability=0.0).run_block(
        0
    )
    pushed = work_with(demo, profile, "straight_line", recovery_probability=1.0).run_block(0)
    shorter = np.array(pushed.lengths) < np.array(calm.lengths)
    assert shorter.mean() > 0.9
    ends = [np.cumsum(block.lengths) for block in (calm, pushed)]
    ee = [block.arrays["data/ee"] for block in (calm, pushed)]
    for index in np.flatnonzero(shorter)[:10]:
        length = pushed.lengths[index]
        before = ee[0][ends[0][index] - length : ends[0][index]]
        after = ee[1][ends[1][index] - length : ends[1][index]]
        away = np.abs(after - before).max(axis=1)
        assert 0.001 < away[0] < 0.3 and away[-1] < 1e-6
