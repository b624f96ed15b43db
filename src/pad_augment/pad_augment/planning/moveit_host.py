"""MoveIt inside this process, configured from the robot profile; written against moveit_py 2.12 (ROS 2 Jazzy).

Nothing of MoveIt is imported until it is asked for. There is one MoveIt per robot and process: taking a second one down
would end rclcpp for the first.
"""

from __future__ import annotations

import atexit
import importlib
import os
import threading
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import yaml

from pad_augment.description import urdf_text
from pad_augment.errors import PlanningError, RobotError
from pad_augment.kinematics import RobotProfile

INSTALL = "install ros-jazzy-moveit and ros-jazzy-moveit-py, and source ROS 2 before starting"
_MESSAGES = {
    "CollisionObject": "moveit_msgs.msg",
    "AttachedCollisionObject": "moveit_msgs.msg",
    "SolidPrimitive": "shape_msgs.msg",
    "Point": "geometry_msgs.msg",
    "Pose": "geometry_msgs.msg",
    "Quaternion": "geometry_msgs.msg",
}
_NEEDED = ("moveit.planning", *dict.fromkeys(_MESSAGES.values()))


def why_absent() -> str | None:
    """Why MoveIt cannot be used here, in one line; None where it can."""
    for name in _NEEDED:
        try:
            importlib.import_module(name)
        except ImportError as error:
            return f"{name} cannot be imported ({error}); {INSTALL}"
    return None


class MoveItHost:
    """One robot's MoveIt. py: the `moveit.planning.MoveItPy`. messages: the message classes that it is spoken to in.

    lock: held from setting a component's start until its plan is there; planners of several threads share components.
    """

    def __init__(self, profile: RobotProfile) -> None:
        """Raises: PlanningError: MoveIt is not installed, or does not start. RobotError: the profile has no set-up."""
        absent = why_absent()
        if absent is not None:
            raise PlanningError(f"planner moveit is not there: {absent}")
        self._planning = importlib.import_module("moveit.planning")
        self.messages = SimpleNamespace(
            **{name: getattr(importlib.import_module(package), name) for name, package in _MESSAGES.items()}
        )
        config = node_parameters(profile)
        try:
            # Workers of one run live side by side, so their nodes have names of their own.
            self.py: Any = self._planning.MoveItPy(node_name=f"pad_moveit_{os.getpid()}", config_dict=config)
        except RuntimeError as error:
            raise PlanningError(f"MoveIt does not start with {profile.moveit}: {error}; its log says more") from error
        self._components: dict[str, Any] = {}
        self.lock = threading.Lock()
        atexit.register(self.py.shutdown)

    def component(self, group: str) -> Any:
        """The `PlanningComponent` of a planning group."""
        if group not in self._components:
            self._components[group] = self.py.get_planning_component(planning_component_name=group)
        return self._components[group]

    def request_parameters(self) -> Any:
        """Pipeline, planner and times of a request, as in the set-up's `plan_request_params`."""
        return self._planning.PlanRequestParameters(self.py, "")


@lru_cache(maxsize=4)
def moveit_host(profile: RobotProfile) -> MoveItHost:
    """The MoveIt of a robot, started when first asked for; errors as in `MoveItHost`."""
    return MoveItHost(profile)


def node_parameters(profile: RobotProfile) -> dict[str, Any]:
    """Parameters of MoveIt's node: the set-up file of the profile, the robot's description, and its limits.

    Velocity and acceleration limits are the profile's, so that there is one place for them.

    Raises:
        RobotError: the profile names no set-up, or one that cannot be used.
    """
    if profile.moveit is None:
        raise RobotError(
            f"robot profile {profile.name!r} has no key 'moveit' (path of MoveIt's set-up); add it, or take planner "
            "roboplan"
        )
    try:
        setup = yaml.safe_load(profile.moveit.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RobotError(f"MoveIt's set-up {profile.moveit} cannot be read: {' '.join(str(error).split())}") from error
    for key in ("planning_pipelines", "plan_request_params"):
        if not isinstance(setup, dict) or not isinstance(setup.get(key), dict):
            raise RobotError(f"MoveIt's set-up {profile.moveit} lacks the section {key!r}")
    pipelines = setup["planning_pipelines"].get("pipeline_names", [])
    chosen = setup["plan_request_params"].get("planning_pipeline")
    if chosen not in pipelines:
        raise RobotError(
            f"MoveIt's set-up {profile.moveit}: plan_request_params.planning_pipeline is {chosen!r}; "
            f"planning_pipelines.pipeline_names: {', '.join(pipelines)}"
        )
    arms = (profile.arms.left, profile.arms.right)
    limits = {
        joint: {
            "has_velocity_limits": True,
            "max_velocity": float(velocity),
            "has_acceleration_limits": True,
            "max_acceleration": float(acceleration),
        }
        for arm in arms
        for joint, velocity, acceleration in zip(arm.joints, arm.velocity_limits, arm.acceleration_limits, strict=True)
    }
    return {
        **setup,
        "robot_description": urdf_text(profile.description),
        "robot_description_semantic": profile.srdf.read_text(encoding="utf-8"),
        "robot_description_planning": {"joint_limits": limits},
    }
