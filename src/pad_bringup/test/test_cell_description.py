"""The robot description: one URDF for all, with published kinematics; profile and camera file agree with it."""

import xml.etree.ElementTree as ElementTree

import mujoco
import numpy as np
import pytest

from pad_augment import ur_closed_form
from pad_augment.description import urdf_text
from pad_augment.kinematics import Robot, RobotProfile
from pad_bringup.cell import scene
from pad_bringup.cell.pour_motion import default_grasps
from pad_bringup.cell.two_hands import PREGRASP_DISTANCE
from pad_bringup.resources import resource
from pad_parse import geometry
from pad_parse.task import TaskSpec

ARMS = ("left", "right")


@pytest.fixture(scope="module")
def profile() -> RobotProfile:
    return RobotProfile.load(resource("config", "robots", "ur5e_pair.yaml"))


@pytest.fixture(scope="module")
def robot(profile: RobotProfile) -> Robot:
    return Robot(profile)


@pytest.fixture(scope="module")
def model() -> mujoco.MjModel:
    return scene.build_spec(objects_dynamic=False).compile()


def _pose(data: mujoco.MjData, body: str) -> np.ndarray:
    found = data.body(body)
    return geometry.make_pose(found.xmat.reshape(3, 3), found.xpos)


def _set_arms(model: mujoco.MjModel, data: mujoco.MjData, robot: Robot, q: np.ndarray) -> None:
    for name, value in zip(robot.joint_names, q.ravel(), strict=True):
        data.joint(name).qpos[0] = value
    mujoco.mj_kinematics(model, data)


def test_kinematics_are_the_published_ones(model: mujoco.MjModel, robot: Robot) -> None:
    data = mujoco.MjData(model)
    rng = np.random.default_rng(1)
    for _ in range(10):
        q = rng.uniform(-np.pi, np.pi, (2, 6))
        _set_arms(model, data, robot, q)
        for arm, side in enumerate(ARMS):
            tool = geometry.inverse(_pose(data, f"{side}_base")) @ _pose(data, f"{side}_tool0")
            np.testing.assert_allclose(tool, ur_closed_form.forward(ur_closed_form.UR5E, q[arm]), atol=1e-9)
            np.testing.assert_allclose(_pose(data, f"{side}_tcp"), robot.fk(arm, q[arm]), atol=1e-9)


def test_home_is_free_of_contact(model: mujoco.MjModel, robot: Robot) -> None:
    data = mujoco.MjData(model)
    _set_arms(model, data, robot, robot.home)
    mujoco.mj_collision(model, data)
    assert data.ncon == 0


def test_every_grasp_of_the_regions_is_in_reach(robot: Robot) -> None:
    regions = {name: spec.region for name, spec in TaskSpec.load("pour").objects.items()}
    for arm, name in enumerate(("cup", "bottle")):
        region, grasp = regions[name], default_grasps()[name].transform_gripper_to_object
        for x in region.x:
            for y in region.y:
                for yaw in region.yaw:
                    at = geometry.yaw_pose(x, y, yaw) @ grasp
                    before = at @ geometry.make_pose(np.eye(3), [0.0, 0.0, -PREGRASP_DISTANCE])
                    lifted = geometry.make_pose(np.eye(3), [0.0, 0.0, 0.12]) @ at
                    robot.ik_path(arm, np.stack([before, at, lifted]))  # raises when out of reach


def test_camera_file_is_the_camera_of_the_description(model: mujoco.MjModel) -> None:
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    camera = scene.default_camera()
    np.testing.assert_allclose(_pose(data, "camera_color_optical_frame"), camera.transform_camera_to_task, atol=1e-6)
    ahead = geometry.inverse(camera.transform_camera_to_task) @ [0.0, 0.0, 0.06, 1.0]
    np.testing.assert_allclose(ahead[:2], 0.0, atol=1e-6)


def test_srdf_names_what_the_urdf_has(profile: RobotProfile) -> None:
    urdf = ElementTree.fromstring(urdf_text(profile.description))
    links = {link.get("name") for link in urdf.findall("link")}
    joints = {joint.get("name") for joint in urdf.findall("joint")}
    srdf = ElementTree.parse(profile.srdf).getroot()
    assert {group.get("name") for group in srdf.findall("group")} == {
        "left_arm",
        "right_arm",
        "left_gripper",
        "right_gripper",
        "both_arms",
    }
    for pair in srdf.findall("disable_collisions"):
        assert {pair.get("link1"), pair.get("link2")} <= links
    for state in srdf.findall("group_state"):
        assert {joint.get("name") for joint in state.findall("joint")} <= joints


def test_srdf_home_is_the_profiles_home(profile: RobotProfile) -> None:
    srdf = ElementTree.parse(profile.srdf).getroot()
    for side, arm in zip(ARMS, (profile.arms.left, profile.arms.right), strict=True):
        for group in (f"{side}_arm", "both_arms"):
            state = next(s for s in srdf.findall("group_state") if s.get("name") == "home" and s.get("group") == group)
            values = {j.get("name"): float(j.get("value", "nan")) for j in state.findall("joint")}
            assert [values[name] for name in arm.joints] == pytest.approx(list(arm.home))
