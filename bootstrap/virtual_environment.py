"""The virtual environment: made, found broken, or made anew."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from bootstrap.errors import SetupError
from bootstrap.layout import Layout
from bootstrap.processes import Children, tail
from bootstrap.ros_host import RosHost


def clean_environment(host: RosHost | None) -> dict[str, str]:
    """This shell's variables without what another Python project or a stale workspace left in them.

    Of a sourced ROS its own paths stay.
    """
    dropped = {
        "PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONPLATLIBDIR", "VIRTUAL_ENV", "VIRTUAL_ENV_PROMPT",
        "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_USER", "PIP_REQUIRE_VIRTUALENV", "PIP_CONSTRAINT",
        "PIP_REQUIREMENT", "_ROS_WHEELS_BOOTSTRAP_COMPLETE", "COLCON_DEFAULTS_FILE", "COLCON_PYTHON_EXECUTABLE",
    }  # fmt: skip
    if host is None:
        dropped |= {"AMENT_PREFIX_PATH", "CMAKE_PREFIX_PATH", "COLCON_PREFIX_PATH", "RMW_IMPLEMENTATION", "ROS_DISTRO",
                    "ROS_VERSION", "ROS_PYTHON_VERSION", "AMENT_CURRENT_PREFIX"}  # fmt: skip
    environment = {name: value for name, value in os.environ.items() if name not in dropped}
    foreign = os.environ.get("VIRTUAL_ENV")
    if foreign:
        entries = environment.get("PATH", os.defpath).split(os.pathsep)
        environment["PATH"] = os.pathsep.join(entry for entry in entries if entry != str(Path(foreign) / "bin"))
    environment.setdefault("PATH", os.defpath)
    if host is not None and host.python_path:
        environment["PYTHONPATH"] = os.pathsep.join(host.python_path)
    return environment


def works(layout: Layout) -> bool:
    """Whether the environment's interpreter starts; it does not after the Python below it was removed."""
    try:
        return (
            subprocess.run(
                [layout.python, "-I", "-S", "-c", ""], capture_output=True, timeout=30, check=False
            ).returncode
            == 0
        )
    except (OSError, subprocess.TimeoutExpired):
        return False


def create(layout: Layout, host: RosHost | None, children: Children) -> None:
    """Make an empty environment, with pip; on a ROS host it sees the system's packages."""
    if layout.venv.exists():
        shutil.rmtree(layout.venv)
    interpreter = sys._base_executable  # type: ignore[attr-defined]
    environment = clean_environment(host)
    options = ["--system-site-packages"] if host is not None else []
    log = layout.logs / "venv.log"
    has_venv = subprocess.run([interpreter, "-I", "-c", "import venv, ensurepip"], capture_output=True).returncode == 0
    if has_venv:
        command = [interpreter, "-I", "-m", "venv", *options, str(layout.venv)]
    else:
        command = ["virtualenv", "-q", "-p", interpreter, *options, str(layout.venv)]
    if children.run(command, log=log, environment=environment, folder=layout.root) != 0:
        raise SetupError(f"cannot make a virtual environment in {layout.venv}:\n{tail(log)}")
    if host is not None:
        environment["PYTHONPATH"] = os.pathsep.join(host.python_path)
        probe = subprocess.run(
            [layout.python, "-c", "import rclpy"], env=environment, capture_output=True, text=True, check=False
        )
        if probe.returncode != 0:
            reason = (probe.stderr.strip().splitlines() or ["no message"])[-1]
            raise SetupError(
                f"ROS 2 {host.distro} is sourced, but {interpreter} cannot import its rclpy ({reason}): "
                "name the Python that it was built for in PAD_PYTHON, e.g. PAD_PYTHON=/usr/bin/python3"
            )
