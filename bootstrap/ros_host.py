"""The ROS 2 that is sourced in this shell, if any."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bootstrap.errors import SetupError

TOO_OLD = ("ardent", "bouncy", "crystal", "dashing", "eloquent", "foxy", "galactic", "humble", "iron")
NEEDED = "PAD needs ROS 2 Jazzy or newer, or no ROS at all (it then brings its own)"


@dataclass(frozen=True)
class RosHost:
    """A sourced ROS 2, Jazzy or newer."""

    distro: str
    prefix: Path  # the installation that holds rclpy
    python_path: tuple[str, ...]  # entries of PYTHONPATH below the sourced prefixes


def sourced_ros(environment: Mapping[str, str]) -> RosHost | None:
    """The ROS 2 that this environment has sourced, or None.

    A leftover of another virtual environment (wheels put rclpy there, too) is not a ROS host. Raises SetupError for a
    sourced ROS that is too old or half there.
    """
    distro = environment.get("ROS_DISTRO", "")
    prefixes = [Path(entry) for entry in environment.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if entry]
    holders = [prefix for prefix in prefixes if (prefix / "share" / "rclpy" / "package.xml").is_file()]
    if any((prefix / "pyvenv.cfg").is_file() for prefix in holders):
        return None
    if environment.get("ROS_VERSION", "2") == "1":
        raise SetupError(f"ROS 1 ({distro or 'unknown'}) is sourced in this shell. {NEEDED}: open a shell without it.")
    if distro in TOO_OLD and (holders or "ROS_VERSION" in environment):
        raise SetupError(
            f"ROS 2 {distro} is sourced in this shell. {NEEDED}: open a shell without it, or source a newer one."
        )
    if not holders:
        return None
    if not distro:
        raise SetupError(
            f"{holders[0]} is on AMENT_PREFIX_PATH but ROS_DISTRO is not set: "
            "source its setup.bash again, or open a shell without it"
        )
    roots = [str(prefix) for prefix in prefixes]
    python_path = tuple(
        entry
        for entry in environment.get("PYTHONPATH", "").split(os.pathsep)
        if entry and any(entry == root or entry.startswith(root + os.sep) for root in roots)
    )
    return RosHost(distro=distro, prefix=holders[0], python_path=python_path)
