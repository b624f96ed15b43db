"""Cell ur5e without the vendor's packages: names and joints of driver, controllers and description belong together."""

import xml.etree.ElementTree as ElementTree

import pytest
import yaml

from pad_augment.kinematics import RobotProfile
from pad_bringup import names
from pad_bringup.errors import GraphError
from pad_bringup.graph import OnExit, resolve
from pad_bringup.resources import named_or_path, resource
from pad_bringup.ur5e_driver import ACTIVE_CONTROLLERS, INACTIVE_CONTROLLERS, STATUS_CONTROLLERS, driver_nodes

PROFILE = RobotProfile.load(named_or_path("ur5e_pair", "config", "robots"))
ARMS = {"left": PROFILE.arms.left, "right": PROFILE.arms.right}
# Stands for ur_robot_driver's macro: the parameters that are asked for here, as its Jazzy version declares them.
MACRO = """
<robot xmlns:xacro="http://www.ros.org/wiki/xacro">
  <xacro:macro name="ur_ros2_control" params="name tf_prefix kinematics_parameters_file robot_ip script_filename
    input_recipe_filename output_recipe_filename ur_type use_mock_hardware:=false headless_mode:=false
    initial_positions:=${dict()} reverse_port:=50001 script_sender_port:=50002 script_command_port:=50004
    trajectory_port:=50003">
    <ros2_control name="${name}" type="system">
      <hardware><plugin>ur_robot_driver/URPositionHardwareInterface</plugin>
        <param name="robot_ip">${robot_ip}</param>
        <param name="ports">${reverse_port} ${script_sender_port} ${script_command_port} ${trajectory_port}</param>
      </hardware>
      <xacro:property name="arm_joints" value="${list(initial_positions.keys())}"/>
      <joint name="${tf_prefix}shoulder_pan_joint">
        <param name="initial_value">${initial_positions['shoulder_pan_joint']}</param>
      </joint>
    </ros2_control>
  </xacro:macro>
</robot>
"""


@pytest.fixture
def vendor(tmp_path, monkeypatch):
    """An installation with the macro's file where the driver has it."""
    for package in ("ur_robot_driver", "ur_description", "ur_client_library"):
        index = tmp_path / "share" / "ament_index" / "resource_index" / "packages" / package
        index.parent.mkdir(parents=True, exist_ok=True)
        index.touch()
        (tmp_path / "share" / package).mkdir()
    file = tmp_path / "share" / "ur_robot_driver" / "urdf" / "ur.ros2_control.xacro"
    file.parent.mkdir()
    file.write_text(MACRO)
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path))


def given(**values):
    return resolve({"cell": "ur5e", **values})


REAL = {"left_robot_ip": "10.0.0.1", "right_robot_ip": "10.0.0.2", "gripper_plugin": "a_gripper/Hardware"}


def test_the_description_has_hardware_for_both_arms_and_grippers(vendor):
    nodes, description = driver_nodes(given(**REAL))
    root = ElementTree.fromstring(description)
    systems = {system.get("name"): system for system in root.findall("ros2_control")}
    assert set(systems) == {"left", "right", "left_gripper", "right_gripper"}
    parameters = {name: {p.get("name"): p.text for p in s.iter("param")} for name, s in systems.items()}
    assert [parameters[arm]["robot_ip"] for arm in names.ARMS] == ["10.0.0.1", "10.0.0.2"]
    ports = [port for arm in names.ARMS for port in parameters[arm]["ports"].split()]
    assert len(set(ports)) == 8
    joints = {joint.get("name") for joint in root.findall("joint")}
    for arm, profile in ARMS.items():
        assert systems[f"{arm}_gripper"].find("hardware/plugin").text == "a_gripper/Hardware"
        controlled = {joint.get("name") for joint in systems[f"{arm}_gripper"].findall("joint")}
        assert controlled == {profile.finger_joint} and controlled <= joints
        assert float(parameters[arm]["initial_value"]) == pytest.approx(profile.home[0])
    assert nodes[0].parameters["robot_description"] == description
    assert all(entry.module == "" for entry in nodes)


def test_forward_controllers_are_active_and_trajectory_controllers_loaded_beside_them(vendor):
    nodes, _ = driver_nodes(given(use_mock_hardware="true"))
    active, inactive = (next(n for n in nodes if n.name == f"controllers_{k}") for k in ("active", "inactive"))
    assert set(ACTIVE_CONTROLLERS) <= set(active.arguments) and "--inactive" not in active.arguments
    assert set(INACTIVE_CONTROLLERS) <= set(inactive.arguments) and "--inactive" in inactive.arguments
    assert active.on_exit is OnExit.FINISHES
    assert not set(STATUS_CONTROLLERS) & set(active.arguments)  # mock arms have no status
    assert not any(node.executable == "dashboard_client" for node in nodes)
    assert {node.name for node in driver_nodes(given(**REAL))[0]} > {"left_dashboard_client", "right_dashboard_client"}


def test_controllers_have_the_profiles_joints_and_the_gates_topics():
    content = yaml.safe_load(resource("config", "controllers", "ur5e_pair.yaml").read_text())
    known = content["controller_manager"]["ros__parameters"]
    for name in (*ACTIVE_CONTROLLERS, *INACTIVE_CONTROLLERS, *STATUS_CONTROLLERS):
        assert "/" in known[name]["type"]
    for arm, profile in ARMS.items():
        forward = names.arm_command_topic(arm).split("/")[1]
        gripper = names.gripper_command_topic(arm).split("/")[1]
        assert content[forward]["ros__parameters"]["joints"] == list(profile.joints)
        assert content[gripper]["ros__parameters"]["joints"] == [profile.finger_joint]
        trajectory = content[f"{arm}_scaled_joint_trajectory_controller"]["ros__parameters"]
        assert trajectory["joints"] == list(profile.joints)
        assert {k for k in trajectory["constraints"] if k.endswith("_joint")} == set(profile.joints)


def test_what_is_missing_is_one_clear_line(monkeypatch, tmp_path):
    with pytest.raises(GraphError, match="needs left_robot_ip:=ADDRESS"):
        driver_nodes(given())
    with pytest.raises(GraphError, match="needs gripper_plugin:=CLASS"):
        driver_nodes(given(left_robot_ip="a", right_robot_ip="b"))
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path))
    with pytest.raises(GraphError, match="driver has to be installed: apt install ros-jazzy-ur") as caught:
        driver_nodes(given(use_mock_hardware="true"))
    assert "\n" not in str(caught.value)
