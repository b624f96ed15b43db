"""What must come from the operating system: found, or installed with apt."""

import ctypes.util
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bootstrap.errors import SetupError
from bootstrap.progress import Progress

LIBRARY_FOLDERS = ("/usr/lib", "/lib", "/usr/lib64", "/lib64", "/usr/local/lib")


@dataclass(frozen=True)
class Requirement:
    """One thing that the system must have."""

    name: str
    why: str
    found: Callable[[], str]  # where it is; empty when missing
    packages: tuple[str, ...]  # Debian packages that bring it


def requirements() -> list[Requirement]:
    """Everything that is needed from the system, for the Python that runs this."""
    minor = f"python{sys.version_info.major}.{sys.version_info.minor}"
    distribution = "python3" if Path(sys._base_executable).resolve() == Path("/usr/bin/python3").resolve() else minor  # type: ignore[attr-defined]
    return [
        Requirement("python venv", "the environment is a virtual environment", _venv, (f"{distribution}-venv",)),
        Requirement("python headers", "ROS messages are compiled for Python", _headers, (f"{distribution}-dev",)),
        Requirement("C compiler", "ROS messages are compiled", lambda: _program("cc", "gcc", "clang"), ("gcc",)),
        Requirement("C++ compiler", "ROS messages are compiled", lambda: _program("c++", "g++", "clang++"), ("g++",)),
        Requirement("cmake", "ROS messages are compiled", lambda: _program("cmake"), ("cmake",)),
        Requirement("make", "ROS messages are compiled", lambda: _program("make"), ("make",)),
        Requirement(
            "offscreen OpenGL", "the cell's camera is rendered without a screen", _offscreen, _offscreen_packages()
        ),
    ]


def missing_requirements() -> list[Requirement]:
    return [requirement for requirement in requirements() if not requirement.found()]


def offscreen_backend() -> str:
    """Value for MUJOCO_GL that works on this machine: osmesa or egl; empty when there is neither."""
    if _library("libOSMesa.so.8"):
        return "osmesa"
    if _library("libEGL.so.1") and _library("libGL.so.1"):
        return "egl"
    return ""


def install_missing(progress: Progress) -> None:
    """Install what is missing with apt, as root or through sudo.

    Raises SetupError with the one line to run when that is not possible.
    """
    missing = missing_requirements()
    if not missing:
        return
    packages = sorted({package for requirement in missing for package in requirement.packages})
    names = ", ".join(requirement.name for requirement in missing)
    if shutil.which("apt-get") is None:
        raise SetupError(f"missing: {names}. Install what Debian calls {' '.join(packages)}, then start again.")
    by_hand = f"missing: {names}. Run: sudo apt-get install {' '.join(packages)}   and start again"
    prefix = _privilege(by_hand)
    with progress.step(f"system packages: {' '.join(packages)}"):
        command = [
            *prefix,
            "apt-get",
            "-y",
            "-q",
            "--no-install-recommends",
            "-o",
            "DPkg::Lock::Timeout=120",
            "install",
        ]
        # The package lists of a fresh machine are empty or old: refresh them only when the first try fails.
        result = _apt([*command, *packages])
        if result.returncode != 0:
            _apt([*prefix, "dpkg", "--configure", "-a"])
            _apt([*prefix, "apt-get", "-q", "update"])
            result = _apt([*command, *packages])
    still = missing_requirements()
    if still:
        complaint = next((line for line in reversed(result.stdout.splitlines()) if line.startswith("E:")), "")
        raise SetupError(f"apt-get did not bring {', '.join(item.name for item in still)}. {complaint} {by_hand}")


def _privilege(by_hand: str) -> list[str]:
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") is not None:
        if subprocess.run(["sudo", "-n", "true"], capture_output=True).returncode == 0:
            return ["sudo", "-n"]
        if sys.stdin.isatty() and subprocess.run(["sudo", "-v"]).returncode == 0:
            return ["sudo", "-n"]
    raise SetupError(by_hand)


def _apt(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run to the end even when interrupted: a package manager stopped half-way leaves the system half-configured."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    if command[0] == "sudo":
        command = ["sudo", "-n", "DEBIAN_FRONTEND=noninteractive", *command[2:]]
    return subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def _program(*names: str) -> str:
    return next((path for name in names if (path := shutil.which(name))), "")


def _venv() -> str:
    # Debian ships venv without ensurepip until python3-venv is installed.
    if importlib.util.find_spec("ensurepip") and importlib.util.find_spec("venv"):
        return "venv and ensurepip"
    return _program("virtualenv")


def _headers() -> str:
    header = Path(sysconfig.get_path("include")) / "Python.h"
    return str(header) if header.is_file() else ""


def _offscreen() -> str:
    backend = offscreen_backend()
    return {"osmesa": "libOSMesa.so.8", "egl": "libEGL.so.1"}.get(backend, "")


def _offscreen_packages() -> tuple[str, ...]:
    if shutil.which("apt-cache"):
        known = subprocess.run(["apt-cache", "pkgnames", "libosmesa6"], capture_output=True, text=True).stdout.split()
        if known and "libosmesa6" not in known:
            return ("libegl1", "libgl1", "libgl1-mesa-dri", "libglx-mesa0")
    return ("libosmesa6",)


def _library(name: str) -> str:
    """Path or name of a shared library that the dynamic loader knows; empty when it does not."""
    for folder in (*os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep), *LIBRARY_FOLDERS):
        if folder:
            for candidate in (Path(folder) / name, Path(folder) / _multiarch() / name):
                if candidate.exists():
                    return str(candidate)
    stem = name.removeprefix("lib").split(".so")[0]
    found = ctypes.util.find_library(stem)
    return found if found == name else ""


def _multiarch() -> str:
    return str(sysconfig.get_config_var("MULTIARCH") or f"{os.uname().machine}-linux-gnu")
