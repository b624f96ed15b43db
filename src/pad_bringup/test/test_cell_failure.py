"""Failures that a script provokes in the cell are named for what they are, and for the stage they spoil."""

import numpy as np
import pytest

from pad_augment.kinematics import Robot
from pad_bringup.cell import Cell
from pad_bringup.cell.demonstrations import gripper_grasps, held_objects, task_motion
from pad_bringup.cell.failure import EpisodeWatch, Failure, Kind, read_words
from pad_bringup.cell.scripted import SQUEEZE

PLACES = {"bottle": (0.03, -0.21, 0.2), "cup": (-0.02, 0.16, -0.2)}
RATE = 125.0


@pytest.fixture(scope="module")
def cell() -> Cell:
    return Cell()


@pytest.fixture(scope="module")
def robot(cell: Cell) -> Robot:
    return Robot(cell.profile)


@pytest.fixture(scope="module")
def script(cell: Cell, robot: Robot) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """The pour that works: joints (T, 12), openings (T, 2) and the phase of each step."""
    cell.reset(PLACES)
    start = np.stack([robot.fk(arm, robot.home[arm]) for arm in range(2)])
    poses = {name: cell.object_pose(name) for name in cell.objects.models}
    grasps = gripper_grasps(cell.objects)
    motion = task_motion(cell.objects, poses, grasps, start, start_openings=cell.openings, rate=RATE)
    joints = np.concatenate([robot.ik_path(arm, motion.gripper_poses[:, arm]) for arm in range(2)], axis=1)
    widths = np.array([grasps[name].width for name in held_objects(cell.task)])
    openings = np.where(motion.held, widths - SQUEEZE, motion.openings)
    return joints, openings, list(motion.phases)


def play(cell: Cell, joints: np.ndarray, openings: np.ndarray, seconds: float) -> tuple[Failure, bool]:
    """What the watch says after that many seconds, and whether the cell calls it a success."""
    cell.reset(PLACES)
    watch = EpisodeWatch(cell)
    for q, gaps in list(zip(joints, openings, strict=True))[: round(seconds * RATE)]:
        cell.command(q, gaps)
        cell.step(1 / RATE)
        watch.look()
    return watch.failure(), cell.outcome().success


def when(phases: list[str], name: str) -> float:
    return phases.index(name) / RATE


def test_too_little_time_is_timed_out_in_the_stage_under_way(cell: Cell, script) -> None:
    joints, openings, phases = script
    failure, success = play(cell, joints, openings, when(phases, "approach"))
    assert (failure.kind, failure.cause, failure.stage) == ("timed out", "timed out", "grasp_bottle") and not success
    failure, success = play(cell, joints, openings, when(phases, "pour"))
    assert (failure.kind, failure.stage) == ("timed out", "pour") and not success


@pytest.mark.parametrize(
    ("arm", "cause", "stage"), [(0, "left arm, cup", "grasp_cup"), (1, "right arm, bottle", "grasp_bottle")]
)
def test_a_gripper_that_closes_on_nothing_has_missed(cell: Cell, script, arm: int, cause: str, stage: str) -> None:
    joints, openings, phases = script
    joints = joints.copy()
    joints[:, 6 * arm : 6 * arm + 6] = joints[0, 6 * arm : 6 * arm + 6]  # it never goes there
    failure, _ = play(cell, joints, openings, when(phases, "lift") + 1.0)
    assert (failure.cause, failure.stage) == (f"missed grasp ({cause})", stage)


def test_a_gripper_that_opens_in_the_air_drops(cell: Cell, script) -> None:
    joints, openings, phases = script
    openings = openings.copy()
    openings[phases.index("meet") :, 0] = 0.10
    failure, _ = play(cell, joints, openings, when(phases, "meet") + 0.8)
    assert (failure.cause, failure.stage) == ("dropped (cup)", "pour")
    assert failure.time == pytest.approx(when(phases, "meet") + 0.1, abs=0.15)


def test_pouring_beside_the_cup_spills(cell: Cell, script, robot: Robot) -> None:
    joints, openings, phases = script
    joints = joints.copy()
    stop = phases.index("meet")
    joints[stop:, :6] = joints[stop, :6]  # the cup stays where it was lifted to
    failure, _ = play(cell, joints, openings, when(phases, "return"))
    assert (failure.cause, failure.stage) == ("spilled", "pour")


def test_a_hand_that_runs_into_the_table_collides(cell: Cell, robot: Robot) -> None:
    poses = np.tile(robot.fk(1, robot.home[1]), (round(RATE), 1, 1))
    poses[:, 2, 3] = np.linspace(poses[0, 2, 3], -0.03, len(poses))
    joints = np.concatenate([np.tile(robot.home[0], (len(poses), 1)), robot.ik_path(1, poses, robot.home[1])], axis=1)
    failure, _ = play(cell, joints, np.full((len(poses), 2), 0.10), 1.0)
    assert failure.cause == "collided (right arm)"


def pushed_cup(cell: Cell, *, by_hand: bool) -> EpisodeWatch:
    """What a watch has seen of a cup that slides for 0.2 s at 0.5 m/s; by_hand: whether it is told of a person."""
    cell.reset(PLACES)
    watch = EpisodeWatch(cell)
    dof = cell.model.joint("object_cup").dofadr[0]
    for _ in range(25):
        cell.data.qvel[dof] = 0.5
        cell.step(0.008)
        if by_hand:
            watch.moved("cup")
        watch.look()
    return watch


def test_an_object_that_is_pushed_is_a_collision_until_the_watch_begins_anew(cell: Cell) -> None:
    watch = pushed_cup(cell, by_hand=False)
    assert watch.failure().cause == "collided (pushed the cup)" and watch.failure().stage == "grasp_cup"
    watch.reset()
    assert watch.failure().kind == "timed out"


def test_what_a_hand_has_moved_is_no_collision(cell: Cell) -> None:
    assert pushed_cup(cell, by_hand=True).failure().kind == "timed out"


def test_a_success_leaves_nothing_to_blame(cell: Cell, script) -> None:
    joints, openings, _ = script
    failure, success = play(cell, joints, openings, len(joints) / RATE)
    assert success and failure.kind == "timed out"


def test_words_of_a_failure_are_read_back() -> None:
    spilled = Failure("dropped", "cup", "pour", 3.0).words("3 of 25 balls are in the cup")
    assert spilled == "dropped (cup) in stage pour: 3 of 25 balls are in the cup"
    assert read_words(spilled) == ("dropped (cup)", "pour", "3 of 25 balls are in the cup")
    late = Failure("timed out", "", "grasp_cup", 3.0).words("nothing done")
    assert late == "in stage grasp_cup: nothing done" and read_words(late) == ("timed out", "grasp_cup", "nothing done")
    assert read_words("success did not last") == ("success did not last", "", "success did not last")


@pytest.mark.parametrize("stage", ["grasp_cup", "grasp-cup", "grasp cup", "put in stage 2", "3. Becher greifen", ""])
@pytest.mark.parametrize(("kind", "where"), [("missed grasp", "left arm, cup"), ("spilled", ""), ("timed out", "")])
def test_words_of_any_stage_name_are_read_back(stage: str, kind: Kind, where: str) -> None:
    failure = Failure(kind, where, stage, 3.0)
    assert read_words(failure.words("in stage 1: 3 of 25")) == (failure.cause, stage, "in stage 1: 3 of 25")
