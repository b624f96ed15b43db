"""What is the same from all sides is taken from the demonstrated side, and its keypoints are turned with it."""

from dataclasses import replace

import numpy as np
import pour_scene
import pytest

from pad_augment.config import GeneratorConfig
from pad_augment.equivariance import keypoints_of
from pad_augment.generator import SceneWork
from pad_augment.kinematics import RobotProfile
from pad_augment.round_objects import turn_about, unturned
from pad_augment.scene_plan import ScenePlan
from pad_augment.skills import learn_skills
from pad_parse import geometry
from pad_parse.demonstration import Demonstration

CALM = GeneratorConfig(
    recovery_probability=0.0,
    displacement_probability=0.0,
    start_position_noise=0.0,
    start_rotation_noise=0.0,
    grasp_turn_limit=0.0,
)


def with_round(*names: str) -> Demonstration:
    demo = pour_scene.demonstration()
    spec = demo.task.model_dump()
    for name, thing in spec["objects"].items():
        thing["round"] = name in names
    return replace(demo, task=type(demo.task).model_validate(spec))


def work_of(demo: Demonstration, planner: str, config: GeneratorConfig = CALM) -> SceneWork:
    return SceneWork(demo, RobotProfile.load(pour_scene.PROFILE), config, 0, planner)


@pytest.mark.parametrize("yaw", [-2.0, 0.0, 0.4])
def test_a_pose_is_the_unturned_pose_and_a_turn_about_the_axis(yaw: float) -> None:
    skills = learn_skills(with_round("cup"))
    skills = replace(skills, shapes=skills.shapes | {"cup": replace(skills.shapes["cup"], centre=(0.02, -0.01))})
    placement = {"cup": geometry.yaw_pose(0.1, 0.2, yaw), "bottle": geometry.yaw_pose(0.0, -0.2, yaw)}
    poses, turns = unturned(skills, placement)
    assert set(turns) == {"cup"} and poses["bottle"] is placement["bottle"]
    np.testing.assert_allclose(poses["cup"] @ turns["cup"], placement["cup"], atol=1e-12)
    np.testing.assert_allclose(poses["cup"][:3, :3], skills.object_poses["cup"][:3, :3], atol=1e-12)
    axis = np.array([0.02, -0.01, 0.3, 1.0])
    np.testing.assert_allclose(poses["cup"] @ axis, placement["cup"] @ axis, atol=1e-12)
    np.testing.assert_allclose(turn_about((0.02, -0.01), np.array([yaw, 0.0])) @ axis, [axis, axis], atol=1e-12)


def test_hands_do_not_follow_the_turn_and_keypoints_do() -> None:
    demo = with_round("cup", "bottle")
    planner = work_of(demo, "roboplan").scene_planner
    skills = learn_skills(demo)
    plans = []
    for yaw in (0.0, 0.7):
        placement = {}
        for name in demo.task.object_names:
            straight = geometry.yaw_pose(*skills.object_poses[name][:2, 3], 0.0)
            placement[name] = straight @ turn_about(skills.shapes[name].centre, np.array(yaw))
        plan = planner.plan(placement, np.random.default_rng(0))
        plans.append(plan)
        begin = planner.keypoints(plan)[0]
        wanted = {n: keypoints_of(placement[n], skills.points_in_object[n]) for n in placement}
        np.testing.assert_allclose(begin, np.stack([wanted[n][i] for n, i in skills.order]), atol=1e-9)
        for name, pose in placement.items():
            np.testing.assert_allclose(plan.placement[name], pose, atol=1e-9)
    np.testing.assert_allclose(plans[0].plan.poses, plans[1].plan.poses, atol=1e-9)
    moved = [planner.keypoints(plan) for plan in plans]
    assert np.abs(moved[0] - moved[1]).max() > 0.01
    for keypoints in moved:  # rigid on the way, too
        mine = keypoints[:, [name == "cup" for name, _ in skills.order]]
        apart = np.linalg.norm(mine[:, :, None] - mine[:, None], axis=-1)
        np.testing.assert_allclose(apart, np.broadcast_to(apart[0], apart.shape), atol=1e-9)


def test_one_that_is_not_round_is_followed() -> None:
    planner = work_of(with_round("bottle"), "roboplan").scene_planner
    home = learn_skills(pour_scene.demonstration()).object_poses
    other = home | {"cup": home["cup"] @ geometry.yaw_pose(0.0, 0.0, 0.2)}
    first, second = (planner.plan(place, np.random.default_rng(0)) for place in (home, other))
    assert len(first) != len(second) or np.abs(first.plan.poses - second.plan.poses).max() > 0.05


def test_end_effector_space_turns_the_same_keypoints() -> None:
    demo = with_round("bottle", "cup")
    slow = CALM.model_copy(update={"speed": 0.06, "turn_rate": 0.4, "approach_speed": 0.06})
    work = work_of(demo, "roboplan", slow)
    block = work_of(demo, "straight_line", slow).run_block(0)
    begin = np.concatenate([[0], np.cumsum(block.lengths)])
    compared = 0
    for index, plan in enumerate(work.attempt(range(6))):
        if isinstance(plan, ScenePlan) and len(plan) == block.lengths[index]:
            rows = slice(begin[index], begin[index + 1])
            episode = work.scene_planner.episode(plan)
            np.testing.assert_allclose(block.arrays["data/keypoints"][rows], episode.keypoints, atol=2e-6)
            np.testing.assert_allclose(block.arrays["meta/object_poses"][index], episode.object_poses, atol=1e-6)
            compared += 1
    assert compared >= 2
