"""The shapes of the robot that a profile describes, for the viewers."""

from __future__ import annotations

from pathlib import Path

from pad_augment.description import urdf_text
from pad_augment.kinematics import RobotProfile
from pad_bringup.urdf_scene import UrdfScene


def robot_scene(profile: str | Path) -> UrdfScene:
    """The scene of a robot profile YAML."""
    description = Path(RobotProfile.load(Path(profile)).description)
    return UrdfScene(urdf_text(description), description.parent)


def tcp_links(profile: str | Path) -> tuple[str, str]:
    """The TCP links of a robot profile YAML, left and right."""
    arms = RobotProfile.load(Path(profile)).arms
    return arms.left.tcp_link, arms.right.tcp_link
