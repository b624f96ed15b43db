"""The environment variables that commands run with."""

import json
import os
import shlex
import subprocess

from bootstrap.errors import SetupError
from bootstrap.layout import Layout
from bootstrap.ros_host import RosHost
from bootstrap.stamps import write_whole
from bootstrap.system import offscreen_backend
from bootstrap.virtual_environment import clean_environment

PATH_VARIABLES = (
    "PATH",
    "PYTHONPATH",
    "LD_LIBRARY_PATH",
    "AMENT_PREFIX_PATH",
    "CMAKE_PREFIX_PATH",
    "COLCON_PREFIX_PATH",
)


def build_environment(layout: Layout, host: RosHost | None) -> dict[str, str]:
    """Variables for pip and colcon. With the wheels the virtual environment is itself the ROS installation."""
    environment = clean_environment(host)
    environment["VIRTUAL_ENV"] = str(layout.venv)
    # colcon's own choice also waits for the machine's load to fall, which on a shared machine takes minutes.
    environment.setdefault("MAKEFLAGS", f"-j{os.cpu_count() or 1}")
    prepend(environment, "PATH", [str(layout.venv / "bin")])
    if host is None:
        prepend(environment, "AMENT_PREFIX_PATH", [str(layout.venv)])
        environment.update(ROS_DISTRO="jazzy", ROS_VERSION="2", ROS_PYTHON_VERSION="3")
    return environment


def source_workspace(layout: Layout, host: RosHost | None) -> None:
    """Source the built workspace once and keep what it sets, so that later starts need no shell.

    Writes layout.environment (JSON: `prepend` lists by variable, `set` values) and layout.setup_script.
    """
    base = {"PATH": os.defpath, "HOME": os.environ.get("HOME", "/")}
    if host is not None:
        # Package hooks leave out what is already there, so the host's own paths must be there while sourcing.
        base = {name: value for name, value in clean_environment(host).items() if name in PATH_VARIABLES} | base | {
            "AMENT_PREFIX_PATH": os.environ.get("AMENT_PREFIX_PATH", "")
        }  # fmt: skip
    result = subprocess.run(
        ["bash", "-c", f"source {shlex.quote(str(layout.install / 'local_setup.bash'))} >/dev/null && env -0"],
        env=base, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if result.returncode != 0:
        raise SetupError(f"cannot source {layout.install / 'local_setup.bash'}: {result.stderr.strip()[-300:]}")
    sourced = dict(item.split("=", 1) for item in result.stdout.split("\0") if "=" in item)
    added = {
        name: [entry for entry in sourced.get(name, "").split(os.pathsep) if entry.startswith(str(layout.home))]
        for name in PATH_VARIABLES
    }
    added["PATH"] = [str(layout.venv / "bin"), *added["PATH"]]
    fixed = {"VIRTUAL_ENV": str(layout.venv)}
    if host is None:
        added["AMENT_PREFIX_PATH"].append(str(layout.venv))
        # The wheels' start-up hook would set this and start Python a second time.
        libraries = [
            str(layout.venv / "lib"),
            *map(str, sorted(layout.venv.glob("lib/python3.*/site-packages/ros_*.libs"))),
        ]
        added["LD_LIBRARY_PATH"] += libraries
        fixed |= {
            "_ROS_WHEELS_BOOTSTRAP_COMPLETE": "1",
            "ROS_DISTRO": "jazzy",
            "ROS_VERSION": "2",
            "ROS_PYTHON_VERSION": "3",
        }
    write_whole(layout.environment, json.dumps({"prepend": added, "set": fixed}, indent=1))
    lines = [
        f'export {name}={shlex.quote(os.pathsep.join(entries))}"${{{name}:+:${name}}}"'
        for name, entries in added.items()
        if entries
    ]
    lines += [f"export {name}={shlex.quote(value)}" for name, value in fixed.items()]
    lines += [f'export {name}="${{{name}:-{value}}}"' for name, value in defaults().items()]
    write_whole(
        layout.setup_script,
        "# source this in bash: the environment that ./pad runs commands in\n" + "\n".join(lines) + "\n",
    )


def command_environment(layout: Layout, host: RosHost | None) -> dict[str, str]:
    """Variables for a command in the finished environment. Raises SetupError when the cached ones cannot be read."""
    try:
        cached = json.loads(layout.environment.read_text())
    except (OSError, ValueError) as error:
        raise SetupError(f"cannot read {layout.environment} ({error}): run ./pad setup --force") from None
    environment = clean_environment(host)
    for name, entries in cached["prepend"].items():
        if entries:
            prepend(environment, name, entries)
    environment.update(cached["set"])
    for name, value in defaults().items():
        environment.setdefault(name, value)
    return environment


def defaults() -> dict[str, str]:
    """Variables that hold unless the user set them."""
    values = {
        # Robots of neighbours on the same network stay out of it.
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
    }
    backend = offscreen_backend()
    if backend:
        values["MUJOCO_GL"] = backend
    return values


def prepend(environment: dict[str, str], name: str, entries: list[str]) -> None:
    """Put the entries in front of a path variable, each once."""
    present = [entry for entry in environment.get(name, "").split(os.pathsep) if entry and entry not in entries]
    environment[name] = os.pathsep.join([*entries, *present])
