"""MoveIt's set-up for a robot: the files in config/moveit/ROBOT as parameters of move_group. Needs no MoveIt."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from pad_augment.description import urdf_text
from pad_augment.errors import RobotError
from pad_augment.kinematics import RobotProfile
from pad_bringup.errors import GraphError
from pad_bringup.graph_types import ParameterValue
from pad_bringup.resources import share_directory

PIPELINES = ("ompl", "pilz_industrial_motion_planner")


def moveit_folder(robot: str) -> Path:
    """The folder with the set-up of the profile of that name.

    Raises:
        GraphError: there is none; the message lists the robots that have one.
    """
    top = share_directory() / "config" / "moveit"
    folder = top / robot
    if not folder.is_dir():
        known = ", ".join(sorted(path.name for path in top.iterdir() if path.is_dir()))
        raise GraphError(f"there is no set-up of MoveIt for robot {robot!r}; config/moveit has: {known}")
    return folder


def moveit_setup(robot: str) -> dict[str, Any]:
    """The files of the set-up, nested as move_group wants them: kinematics, limits, pipelines, controllers.

    Raises:
        GraphError: the robot has no set-up, or a file of it cannot be read.
    """
    folder = moveit_folder(robot)

    def read(name: str) -> dict[str, Any]:
        try:
            content = yaml.safe_load((folder / f"{name}.yaml").read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError) as error:
            raise GraphError(f"{folder / name}.yaml cannot be read: {' '.join(str(error).split())}") from error
        return dict(content)

    pipelines = {name: read(f"{name}_planning") for name in PIPELINES}
    capabilities = pipelines["pilz_industrial_motion_planner"].pop("capabilities")
    return {
        "robot_description_kinematics": read("kinematics"),
        "robot_description_planning": {**read("joint_limits"), **read("pilz_cartesian_limits")},
        "planning_pipelines": list(PIPELINES),
        "default_planning_pipeline": PIPELINES[0],
        **pipelines,
        "capabilities": capabilities,
        **read("moveit_controllers"),
        "publish_robot_description_semantic": True,
        "publish_planning_scene": True,
    }


def move_group_parameters(profile_path: str) -> dict[str, ParameterValue]:
    """All parameters of move_group for a robot profile, flat: "a.b.c" -> value.

    Raises:
        GraphError: the profile cannot be read, or has no set-up of MoveIt.
    """
    try:
        profile = RobotProfile.load(profile_path)
        described = {
            "robot_description": urdf_text(profile.description),
            "robot_description_semantic": profile.srdf.read_text(encoding="utf-8"),
        }
    except (RobotError, OSError) as error:
        raise GraphError(f"robot: {error}") from error
    return {**described, **_flat(moveit_setup(profile.name))}


def _flat(content: Mapping[str, Any], before: str = "") -> dict[str, ParameterValue]:
    flat: dict[str, ParameterValue] = {}
    for key, value in content.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{before}{key}.")
        else:
            flat[f"{before}{key}"] = value
    return flat
