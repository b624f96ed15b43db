"""ALOHA's arm pair: its profile, its inverse kinematics, the hand-over, and gym-aloha's task where it is installed."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pad_augment.errors import GroundingError, IkError, JointLimitError
from pad_augment.grounding import ground_stages
from pad_augment.kinematics import Robot, RobotProfile
from pad_augment.planning.collisions import CollisionScene
from pad_augment.skills import Take, learn_skills, reflected
from pad_bringup.aloha.simulation import EPISODE_STEPS, FULL_REWARD, READY_STEPS, AlohaSimulation
from pad_bringup.bench.aloha import transfer_cube
from pad_bringup.bench.benchmark import BenchSettings
from pad_bringup.errors import BenchError
from pad_bringup.resources import resource
from pad_parse import geometry
from pad_parse.demonstration import Demonstration, KeypointState, SegmentKind
from pad_parse.task import TaskSpec

ROBOT = Robot(RobotProfile.load(resource("config", "robots", "aloha_pair.yaml")))
TASK = TaskSpec.load(resource("config", "aloha", "transfer_cube.yaml"))
needs_gym_aloha = pytest.mark.skipif(
    importlib.util.find_spec("gym_aloha") is None, reason="gym-aloha, an optional extra, is not installed"
)
angles = st.lists(st.floats(-0.3, 0.3), min_size=6, max_size=6).map(np.array)


def test_the_arms_face_each_other_and_are_free_at_home() -> None:
    left, right = (ROBOT.fk(arm, ROBOT.home[arm]) for arm in (0, 1))
    assert left[1, 3] > 0 > right[1, 3]
    assert left[1, 2] < -0.9  # the left gripper points at the right arm
    assert right[1, 2] > 0.3 and right[2, 2] < -0.8  # the right one at the table, and at the left arm
    np.testing.assert_allclose(right[2, 1], 0.0, atol=1e-3)  # its closing axis is level
    assert not CollisionScene(ROBOT, {}).collides(ROBOT.home.ravel(), np.full(2, 0.072))


@pytest.mark.parametrize("arm", [0, 1])
@settings(max_examples=60, deadline=None)
@given(offset=angles)
def test_inverse_kinematics_reaches_every_posture_near_home(arm: int, offset: np.ndarray) -> None:
    q = np.clip(ROBOT.home[arm] + offset, ROBOT.lower_limits[arm] + 0.01, ROBOT.upper_limits[arm] - 0.01)
    pose = ROBOT.fk(arm, q)
    np.testing.assert_allclose(ROBOT.fk(arm, ROBOT.ik(arm, pose, q + 0.02)), pose, atol=2e-6)


@pytest.mark.parametrize("arm", [0, 1])
def test_many_paths_are_followed_as_each_alone(arm: int) -> None:
    rng = np.random.default_rng(arm)
    lengths = [5, 1, 8, 3]
    ways = [ROBOT.home[arm] + np.linspace(0, 1, n)[:, None] * rng.uniform(-0.15, 0.15, 6) for n in lengths]
    poses = ROBOT.fk(arm, np.concatenate(ways))
    poses[6, :3, 3] += [0.0, 0.0, 3.0]  # the first pose of the third path
    joints, failures = ROBOT.ik_paths(arm, poses, lengths, np.repeat(ROBOT.home[arm][None], 4, axis=0))
    assert [failure is None for failure in failures] == [True, True, False, True]
    assert (failures[2].arm, failures[2].index) == (arm, 0)
    with pytest.raises(IkError, match="out of reach"):
        ROBOT.ik_path(arm, poses[6:14])
    for rows in (slice(0, 5), slice(5, 6), slice(14, 17)):
        np.testing.assert_allclose(ROBOT.fk(arm, joints[rows]), poses[rows], atol=2e-6)
        np.testing.assert_allclose(ROBOT.ik_path(arm, poses[rows]), joints[rows], atol=1e-9)


def test_a_joint_is_not_turned_past_its_limit() -> None:
    q = ROBOT.home[0].copy()
    q[4] = ROBOT.lower_limits[0, 4] - 0.05
    with pytest.raises(JointLimitError, match="outside the joint limits of the left arm"):
        ROBOT.ik(0, ROBOT.fk(0, q), q)


def _handed_over(*, lets_go: bool = True) -> Demonstration:
    """10 s: the right gripper takes the cube at 2 s, brings it to the middle by 4 s; the left one takes it at 6 s."""
    stamps = np.arange(0, 10, 0.05)
    t = stamps[:, None]
    start, middle = np.array([0.05, -0.10, 0.02]), np.array([0.0, 0.0, 0.18])
    place = start + np.clip((t - 2.2) / 1.8, 0, 1) * (middle - start)
    place = place + np.clip((t - 8) / 1.0, 0, 1) * [0.0, 0.10, 0.0]
    right = np.where(t < 2.2, start - np.clip(1.5 - t, 0, 1) * [0.0, 0.15, -0.10], np.minimum(place, middle))
    right = np.where(t > 7.5, middle - np.clip(t - 7.5, 0, 1) * [0.0, 0.12, 0.0], right)
    left = np.where(t < 8, middle + np.clip(5.8 - t, 0, 1) * [0.0, 0.15, 0.0], place)
    home = np.stack([ROBOT.fk(arm, ROBOT.home[arm])[:3, :3] for arm in (0, 1)])
    grippers = np.stack([geometry.make_pose(home[arm], path) for arm, path in enumerate((left, right))], axis=1)
    cube = geometry.make_pose(np.eye(3), place - [0.0, 0.0, 0.02])
    closed = np.stack([stamps >= 6, (stamps >= 2) & ((stamps < 7) | (not lets_go))], axis=1)
    points = np.array([k.position_in_object for k in TASK.keypoints])
    count = len(stamps)
    return Demonstration(
        stamps=stamps,
        keypoints=geometry.transform_points(cube, points),
        keypoint_states=np.full((count, len(points)), KeypointState.VISIBLE, np.uint8),
        keypoint_names=TASK.keypoint_names,
        keypoint_groups=TASK.keypoint_groups,
        keypoint_objects=TASK.keypoint_objects,
        gripper_poses=grippers,
        gripper_openings=np.where(closed, 0.042, 0.07),
        gripper_closed=closed,
        gripper_states=np.full((count, 2), KeypointState.VISIBLE, np.uint8),
        object_poses={"cube": cube},
        landmarks=np.full((count, 2, 21, 3), np.nan),
        task=TASK,
    )


def test_a_hand_over_is_found_and_waits_where_the_hands_meet() -> None:
    demonstration = _handed_over()
    (bring,) = ground_stages(demonstration).skills
    assert demonstration.stamps[bring.end] == pytest.approx(4.0, abs=0.15)
    skills = learn_skills(demonstration, level_grasps=False)
    pick, work, take_over = skills.beats
    assert isinstance(pick, Take) and isinstance(take_over, Take)
    assert (pick.giver, take_over.giver) == (None, 1)
    assert work.kind is SegmentKind.ASYNC_SKILL and work.parts[1].reference is None and work.release == (False, False)
    assert [beat.giver for beat in reflected(skills).beats if isinstance(beat, Take)] == [None, 0]


def test_a_hand_that_does_not_let_go_is_refused() -> None:
    with pytest.raises(GroundingError, match="right hand does not let go"):
        learn_skills(_handed_over(lets_go=False))


def test_the_cube_is_handed_over_wherever_it_stood(tmp_path) -> None:
    from pad_augment.config import GeneratorConfig
    from pad_augment.dataset import Dataset
    from pad_augment.generator import generate

    out = tmp_path / "dataset"
    options = {**transfer_cube.AUGMENTATION, "recovery_probability": 0.0, "displacement_probability": 0.0}
    profile = resource("config", "robots", "aloha_pair.yaml")
    demonstration = _handed_over()
    generate(demonstration, profile, out, 4, 0, planner="straight_line", config=GeneratorConfig.from_options(**options))
    dataset = Dataset.open(out)
    ends = []
    for index in range(4):
        episode = dataset.episode(index)
        moved = episode.keypoints[:, 0] - episode.ee[:, 0:3], episode.keypoints[:, 0] - episode.ee[:, 10:13]
        held = [np.linalg.norm(np.diff(relative, axis=0), axis=1) < 1e-3 for relative in moved]
        assert held[0][-3:].all() and not held[0][:20].all()  # in the left gripper at the end, not at the start
        assert episode.ee[-1, 19] > 0.06 > episode.ee[-1, 9]  # the right one has let go
        ends.append(episode.keypoints[-1, 0])
    np.testing.assert_allclose(ends, np.repeat(ends[:1], 4, axis=0), atol=0.01)  # the meeting place stays


def test_without_gym_aloha_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for name in ("gym_aloha", "gym_aloha.tasks", "gym_aloha.tasks.sim"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(BenchError, match=r"pip install 'gym-aloha=="):
        AlohaSimulation(TASK)


@pytest.mark.parametrize("option", ["demo=3", "demos=0", "updates=many", "episodes"])
def test_a_wrong_option_of_the_bench_is_refused_before_anything_runs(tmp_path, option: str) -> None:
    with pytest.raises(BenchError, match="demos, updates, episodes"):
        transfer_cube.measure(BenchSettings(tmp_path, assignments=(option,)), print)


@needs_gym_aloha
def test_the_simulation_is_gym_alohas_own_in_our_frame() -> None:
    from gym_aloha.utils import sample_box_pose

    simulation = AlohaSimulation(TASK)
    simulation.reset(7)
    x, y, z = sample_box_pose(7)[:3]
    np.testing.assert_allclose(simulation.cube[:3, 3], [y - 0.5, -x, z - 0.02], atol=1e-9)
    np.testing.assert_allclose(simulation.cube[:3, :3], np.eye(3), atol=1e-9)
    data = simulation.physics.named.data
    for arm, side in enumerate(("left", "right")):
        tip = (
            data.xpos[f"vx300s_{side}/gripper_link"]
            + 0.14 * data.xmat[f"vx300s_{side}/gripper_link"].reshape(3, 3)[:, 0]
        )
        tcp = ROBOT.fk(arm, simulation.joints[6 * arm : 6 * arm + 6])
        np.testing.assert_allclose(tcp[:3, 3], [tip[1] - 0.5, -tip[0], tip[2]], atol=1e-4)


@needs_gym_aloha
def test_the_scripted_demonstration_earns_the_full_reward_and_grounds() -> None:
    from pad_bringup.aloha.demonstrator import demonstrate
    from pad_bringup.aloha.environment import AlohaEnvironment
    from pad_policy.environment import Environment

    simulation = AlohaSimulation(TASK)
    demonstration = demonstrate(simulation, ROBOT, TASK, transfer_cube.SOURCE_SEED)
    assert simulation.reward == FULL_REWARD
    assert len(learn_skills(demonstration, level_grasps=False).beats) == 3
    environment = AlohaEnvironment(simulation, ROBOT, TASK)
    assert isinstance(environment, Environment)
    environment.reset(0)
    measured = environment.advance(None, None, 0.0)
    np.testing.assert_allclose(measured.positions, ROBOT.home.ravel(), atol=0.02)
    assert not environment.outcome().success and "never touched" in environment.outcome().detail
    for _ in range(50):
        measured = environment.advance(ROBOT.home.ravel(), np.full(2, 0.07), 0.008)
    np.testing.assert_allclose(measured.positions, ROBOT.home.ravel(), atol=0.005)  # the arms do not sag
    assert simulation.steps == READY_STEPS + 20 < EPISODE_STEPS
