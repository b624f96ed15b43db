"""Arms of seven joints in the cell: published kinematics, free postures, limits with a jerk, commands that arrive."""

import xml.etree.ElementTree as ElementTree

import mujoco
import numpy as np
import pytest

from pad_augment.description import urdf_text
from pad_augment.kinematics import Robot, RobotProfile
from pad_bringup.cell import scene
from pad_bringup.cell.mock import MockCell
from pad_bringup.collision_matrix import CollisionModel, random_posture
from pad_bringup.errors import CellError
from pad_bringup.resources import resource
from pad_parse import geometry
from pad_policy.chunking import JointChunk
from pad_policy.clearance import ArmClearance
from pad_policy.environment import JointMeasurement
from pad_policy.guard import MotionGuard, Workspace
from pad_policy.robot_limits import command_joint_names, gate_limits
from pad_policy.safety import CommandGate

# Craig's convention, from the table in Franka's documentation: a, d, alpha of joints 1 to 7, then of the flange.
DH = [
    (0.0, 0.333, 0.0),
    (0.0, 0.0, -np.pi / 2),
    (0.0, 0.316, np.pi / 2),
    (0.0825, 0.0, np.pi / 2),
    (-0.0825, 0.384, -np.pi / 2),
    (0.0, 0.0, np.pi / 2),
    (0.088, 0.0, np.pi / 2),
    (0.0, 0.107, 0.0),
]
HAND = geometry.make_pose(geometry.rotation_exp(np.array([0.0, 0.0, -np.pi / 4])), [0.0, 0.0, 0.1034])


@pytest.fixture(scope="module")
def robot() -> Robot:
    return Robot(RobotProfile.load(resource("config", "robots", "franka_pair.yaml")))


def craig(a: float, d: float, alpha: float, theta: float) -> np.ndarray:
    before = geometry.make_pose(geometry.rotation_exp(np.array([alpha, 0.0, 0.0])), [a, 0.0, 0.0])
    return before @ geometry.make_pose(geometry.rotation_exp(np.array([0.0, 0.0, theta])), [0.0, 0.0, d])


def test_kinematics_are_the_published_ones(robot: Robot) -> None:
    rng = np.random.default_rng(0)
    base = robot.fk(0, np.zeros(7)) @ geometry.inverse(np.linalg.multi_dot([craig(*row, 0.0) for row in DH]) @ HAND)
    np.testing.assert_allclose(base[:3, :3], np.eye(3), atol=1e-9)
    for _ in range(10):
        q = rng.uniform(robot.lower_limits[0], robot.upper_limits[0])
        flange = np.linalg.multi_dot([craig(*row, angle) for row, angle in zip(DH, [*q, 0.0], strict=True)])
        np.testing.assert_allclose(robot.fk(0, q), base @ flange @ HAND, atol=1e-9)


def test_home_is_free_of_contact(robot: Robot) -> None:
    model = scene.build_spec(objects_dynamic=False, profile=robot.profile).compile()
    data = mujoco.MjData(model)
    for name, value in zip(robot.joint_names, robot.home.ravel(), strict=True):
        data.joint(name).qpos[0] = value
    mujoco.mj_kinematics(model, data)
    mujoco.mj_collision(model, data)
    assert data.ncon == 0


def test_what_the_srdf_excuses_never_meets(robot: Robot) -> None:
    model, rng = CollisionModel(urdf_text(robot.profile.description)), np.random.default_rng(7)
    root = ElementTree.parse(robot.profile.srdf).getroot()
    excused = {
        frozenset((pair.get("link1"), pair.get("link2")))
        for pair in root.findall("disable_collisions")
        if pair.get("reason") == "Never"
    }
    assert not any(model.touching(random_posture(model, rng), excused) for _ in range(250))
    every = {frozenset((p.get("link1"), p.get("link2"))) for p in root.findall("disable_collisions")}
    assert every >= model.adjacent()
    sides = [{link.split("_")[0] for link in pair} for pair in every - model.fixed()]
    assert {"left", "right"} not in sides  # the arms are always kept apart
    for state in root.findall("group_state"):
        if state.get("name") == "home" and state.get("group") == "both_arms":
            assert [float(j.get("value")) for j in state.findall("joint")] == pytest.approx(robot.home.ravel())


def test_the_gate_keeps_the_lower_of_two_jerk_limits(robot: Robot) -> None:
    limits = gate_limits(robot)
    assert len(limits.lower) == len(command_joint_names(robot)) == 16
    np.testing.assert_allclose(limits.jerk[:14], 7.0 / 0.02)
    np.testing.assert_allclose(gate_limits(robot, jerk_time=0.001).jerk[:14], 5000.0)


def test_the_gate_moves_joints_that_cannot_be_at_zero(robot: Robot) -> None:
    """Joint 4 ends below 0, joint 6 begins above it, and the hands stand open as far as they can."""
    names, limits = command_joint_names(robot), gate_limits(robot)
    box = Workspace(np.tile([-0.6, -0.8, 0.0], (2, 1)), np.tile([0.6, 0.8, 0.9], (2, 1)))
    gate = CommandGate(names, limits, guard=MotionGuard(box, ArmClearance(robot)))
    home = robot.home.ravel()
    goal = home + np.tile([0.1, 0.1, -0.1, -0.1, 0.1, 0.1, 0.1], 2)
    gate.tick(0.0, JointMeasurement(0.0, home, np.full(2, 0.08)))
    assert gate.enable(0.0) == ""
    times = np.array([0.5, 1.0])
    gate.accept(JointChunk(0.001, names, times, np.stack([goal, goal]), np.full((2, 2), 0.08)), 0.002)
    commands = [home]
    for now in np.arange(1, 150) * 0.008:
        out = gate.tick(now, JointMeasurement(now, commands[-1], np.full(2, 0.08)))
        commands.append(out.joints)
    np.testing.assert_allclose(commands[-1], goal, atol=0.005)
    rows = np.array(commands)
    assert (rows >= limits.lower[:14]).all() and (rows <= limits.upper[:14]).all()
    assert (np.abs(np.diff(rows, axis=0)) <= limits.velocity[:14] * 0.008 + 1e-9).all()


def test_the_mock_cell_takes_as_many_joints_as_the_profile_has(robot: Robot) -> None:
    cell = MockCell("pour", profile="franka_pair", camera_size=(64, 48))
    try:
        np.testing.assert_allclose(cell.joint_positions, robot.home.ravel())
        np.testing.assert_allclose(cell.openings, 0.08)  # as far as the hands open
        goal = robot.home.ravel() + np.linspace(-0.1, 0.1, 14)
        cell.command(goal, [0.03, 0.05])
        cell.step(2.0)
        np.testing.assert_allclose(cell.joint_positions, goal, atol=1e-6)
        np.testing.assert_allclose(cell.openings, [0.03, 0.05], atol=1e-6)
        with pytest.raises(CellError, match="14 finite joint positions"):
            cell.command(np.zeros(12), [0.0, 0.0])
    finally:
        cell.close()


def test_a_robot_without_the_cells_furniture_is_refused() -> None:
    with pytest.raises(CellError, match="no link 'camera_color_optical_frame'; the cells sim and mock need"):
        MockCell("pour", profile="aloha_pair")
