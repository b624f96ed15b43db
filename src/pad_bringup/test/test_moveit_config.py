"""MoveIt's set-up without MoveIt: URDF, SRDF, limits, pipelines and controllers belong together; the matrix holds."""

import itertools
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
import yaml

from pad_augment.description import urdf_text
from pad_augment.kinematics import RobotProfile
from pad_bringup.collision_matrix import CollisionModel, Reason, collision_matrix
from pad_bringup.errors import GraphError
from pad_bringup.moveit_setup import PIPELINES, move_group_parameters, moveit_folder, moveit_setup
from pad_bringup.resources import named_or_path, resource

PATH = named_or_path("ur5e_pair", "config", "robots")
PROFILE = RobotProfile.load(PATH)
ARMS = {"left_arm": PROFILE.arms.left, "right_arm": PROFILE.arms.right}
URDF = ElementTree.fromstring(urdf_text(PROFILE.description))
SRDF = ElementTree.parse(PROFILE.srdf).getroot()
LINKS = {link.get("name") for link in URDF.findall("link")}
JOINTS = {joint.get("name"): joint for joint in URDF.findall("joint")}
GROUPS = {group.get("name"): group for group in SRDF.findall("group")}
SETUP = moveit_setup("ur5e_pair")
SAMPLES = 250


def joints_of(name):
    """The joints that move in a planning group."""
    group = GROUPS[name]
    found = [joint.get("name") for joint in group.findall("joint")]
    for inner in group.findall("group"):
        found += joints_of(inner.get("name"))
    above = {joint.find("child").get("link"): joint for joint in JOINTS.values()}
    for chain in group.findall("chain"):
        link, path = chain.get("tip_link"), []
        while link != chain.get("base_link"):
            path.append(above[link])
            link = above[link].find("parent").get("link")
        found += [joint.get("name") for joint in reversed(path) if joint.get("type") != "fixed"]
    return found


def test_groups_are_the_profiles_arms_and_grippers():
    assert set(GROUPS) == {"left_arm", "right_arm", "both_arms", "left_gripper", "right_gripper"}
    for name, arm in ARMS.items():
        assert joints_of(name) == list(arm.joints)
    assert joints_of("both_arms") == [*PROFILE.arms.left.joints, *PROFILE.arms.right.joints]
    for side, arm in (("left", PROFILE.arms.left), ("right", PROFILE.arms.right)):
        assert joints_of(f"{side}_gripper") == [arm.finger_joint, arm.finger_joint.replace("_joint", "_mimic_joint")]


def test_named_states_lie_within_the_limits():
    states = {(s.get("group"), s.get("name")): s for s in SRDF.findall("group_state")}
    expected = {("left_arm", "home"), ("right_arm", "home"), ("both_arms", "home")}
    grippers = itertools.product(("left_gripper", "right_gripper"), ("open", "closed"))
    assert set(states) == expected | set(grippers)
    for (group, _), state in states.items():
        for entry in state.findall("joint"):
            assert entry.get("name") in joints_of(group)
            limit = JOINTS[entry.get("name")].find("limit")
            assert float(limit.get("lower")) <= float(entry.get("value")) <= float(limit.get("upper"))


def test_limits_are_the_profiles():
    limits = SETUP["robot_description_planning"]["joint_limits"]
    for arm in ARMS.values():
        for joint, velocity, acceleration in zip(arm.joints, arm.velocity_limits, arm.acceleration_limits, strict=True):
            assert (limits[joint]["max_velocity"], limits[joint]["max_acceleration"]) == (velocity, acceleration)
    fingers = {arm.finger_joint for arm in ARMS.values()}
    assert set(limits) == {joint for arm in ARMS.values() for joint in arm.joints} | fingers
    for joint, values in limits.items():
        assert values["max_velocity"] <= float(JOINTS[joint].find("limit").get("velocity"))


def test_solvers_pipelines_and_controllers_name_what_exists():
    assert set(SETUP["robot_description_kinematics"]) == set(ARMS)
    assert SETUP["planning_pipelines"] == list(PIPELINES)
    ompl = SETUP["ompl"]
    for group in ("left_arm", "right_arm", "both_arms"):
        assert {ompl[group]["default_planner_config"], *ompl[group]["planner_configs"]} <= set(ompl["planner_configs"])
    ros = yaml.safe_load(resource("config", "controllers", "ur5e_pair.yaml").read_text())
    manager = SETUP["moveit_simple_controller_manager"]
    for name in manager["controller_names"]:
        assert manager[name]["joints"] == ros[name]["ros__parameters"]["joints"]
    settings = yaml.safe_load((moveit_folder("ur5e_pair") / "moveit_py.yaml").read_text())
    assert settings["planning_pipelines"]["pipeline_names"] == list(PIPELINES)
    requests = [
        settings["plan_request_params"],
        *(v["plan_request_params"] for k, v in settings.items() if "pilz" in k),
    ]
    assert all(request["planning_pipeline"] in PIPELINES for request in requests)


def test_parameters_are_flat_and_of_types_that_ros_has():
    parameters = move_group_parameters(str(PATH))
    assert parameters["robot_description_kinematics.left_arm.kinematics_solver"].endswith("KDLKinematicsPlugin")
    assert parameters["ompl.both_arms.planner_configs"] == ["RRTConnect", "RRTstar"]
    for name, value in parameters.items():
        plain = value if isinstance(value, list) else [value]
        assert plain and all(isinstance(v, bool | int | float | str) for v in plain), name
    with pytest.raises(GraphError, match="no set-up of MoveIt for robot 'hexapod'; config/moveit has: ur5e_pair"):
        moveit_setup("hexapod")


def test_the_collision_matrix_holds_by_sampling():
    model = CollisionModel(urdf_text(PROFILE.description))
    matrix = collision_matrix(model, SAMPLES, np.random.default_rng(11))
    off = {frozenset((p.get("link1"), p.get("link2"))): p.get("reason") for p in SRDF.findall("disable_collisions")}
    parents = {j.find("child").get("link"): j.find("parent").get("link") for j in JOINTS.values()}
    for pair, reason in off.items():
        a, b = pair
        assert pair <= set(model.links) <= LINKS
        if reason == "Adjacent":
            assert matrix.get(pair) is Reason.ADJACENT or parents[a] == parents[b]
        else:
            assert matrix.get(pair) in (Reason(reason), Reason.FIXED, Reason.NEVER), (a, b, reason)
    # What overlaps by construction would make every plan fail; what two arms do to each other is always looked at.
    assert {p for p, why in matrix.items() if why in (Reason.ADJACENT, Reason.ALWAYS, Reason.FIXED)} <= set(off)
    for a, b in off:
        sides = {link.split("_")[0] for link in (a, b)} & {"left", "right"}
        assert len(sides) < 2 or off[frozenset((a, b))] == "Fixed"


def test_the_matrix_tells_what_touches():
    model = CollisionModel(urdf_text(PROFILE.description))
    everything = {frozenset(pair) for pair in itertools.combinations(model.links, 2)}
    free = everything - set(collision_matrix(model, 20, np.random.default_rng(0)))
    home = {joint: value for arm in ARMS.values() for joint, value in zip(arm.joints, arm.home, strict=True)}
    assert not model.touching(home, free)
    folded = home | {"left_elbow_joint": 3.0, "left_shoulder_lift_joint": 0.0}
    assert model.touching(folded, free)
