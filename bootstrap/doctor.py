"""./pad doctor: what is found, what is missing, what to do. Works without the environment and with a broken one."""

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from bootstrap import assembly, packages, system, virtual_environment
from bootstrap.environment import command_environment
from bootstrap.errors import SetupError
from bootstrap.layout import Layout
from bootstrap.pins import read_pins
from bootstrap.ros_host import RosHost, sourced_ros
from bootstrap.stamps import Stamps
from bootstrap.virtual_environment import clean_environment

IMPORTS = {
    "ROS 2 in Python": "import rclpy, sensor_msgs.msg",
    "PAD messages": (
        "from pad_msgs.msg import KeypointArray as K; from rclpy.type_support import check_for_type_support; "
        "check_for_type_support(K)"
    ),
    "PAD packages": "import pad_parse, pad_augment, pad_policy, pad_bringup",
    "numerics": "import numpy, scipy, torch, onnxruntime",
    "simulation": "import mujoco; m = mujoco.MjModel.from_xml_string('<mujoco/>'); mujoco.Renderer(m, 8, 8).render()",
    "planning": "import roboplan",
}


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    item: str
    state: str  # found, missing or broken
    detail: str
    todo: str = ""  # what to do; empty when found

    @property
    def good(self) -> bool:
        return self.state == "found"


def examine(layout: Layout, environment: Mapping[str, str]) -> list[Finding]:
    """Look at everything; changes nothing and raises nothing for what it finds."""
    findings = [Finding("system", "found", f"{_system_name()}, {platform.machine()}, {os.cpu_count()} cores")]
    if platform.system() != "Linux":
        findings.append(Finding("Linux", "missing", platform.system(), "use the container: docker/README.md"))
    version = platform.python_version()
    findings.append(Finding("python", "found", f"{version} ({sys.executable})"))
    for requirement in system.requirements():
        where = requirement.found()
        todo = (
            f"./pad setup installs it as root or with sudo; by hand: apt-get install {' '.join(requirement.packages)}"
        )
        findings.append(
            Finding(requirement.name, "found", where)
            if where
            else Finding(requirement.name, "missing", requirement.why, todo)
        )
    host: RosHost | None = None
    try:
        host = sourced_ros(environment)
        detail = f"{host.distro} in {host.prefix}" if host else "none sourced: Jazzy comes as wheels into .pad/venv"
        findings.append(Finding("ROS 2", "found", detail))
    except SetupError as error:
        findings.append(Finding("ROS 2", "broken", "sourced, but not usable", str(error)))
        return findings
    if host is None and platform.machine() != "x86_64":
        findings.append(
            Finding("ROS 2 wheels", "missing", f"none for {platform.machine()}", "install ROS 2 Jazzy and source it")
        )
    findings += _environment(layout, host)
    return findings


def _environment(layout: Layout, host: RosHost | None) -> list[Finding]:
    make = "./pad setup"
    if not layout.venv.exists():
        free = shutil.disk_usage(layout.root).free / 1e9
        findings = [Finding("environment", "missing", "not made yet", f"{make} (any other command makes it, too)")]
        if free < assembly.NEEDED_SPACE:
            findings.append(
                Finding("disk space", "missing", f"{free:.1f} GB free", f"{assembly.NEEDED_SPACE:.0f} GB are needed")
            )
        return findings
    if not virtual_environment.works(layout):
        return [Finding("environment", "broken", f"{layout.python} does not start", f"{make} makes it anew")]
    try:
        sections = read_pins(layout.pins)
        plan = assembly.make_plan(layout, host)
    except SetupError as error:
        return [Finding("environment", "broken", "cannot be judged", str(error))]
    except OSError as error:
        return [
            Finding("environment", "broken", f"cannot read {error.filename}", "is the clone complete? try: git status")
        ]
    findings = []
    unfinished = plan.open_steps(Stamps(layout.stamps))
    if unfinished:
        findings.append(
            Finding(
                "environment", "broken", f"unfinished or out of date: {', '.join(unfinished)}", f"{make} completes it"
            )
        )
    else:
        findings.append(Finding("environment", "found", str(layout.venv)))
    wanted = [pin for name, pins in sections.items() for pin in pins if host is None or name not in ("ros", "build")]
    absent = packages.missing_pins(wanted, packages.installed_versions(layout.venv))
    if absent and host is not None:
        absent = packages.missing_pins(absent, packages.visible_versions(absent, layout, clean_environment(host)))
    if absent:
        some = ", ".join(pin.requirement for pin in absent[:4])
        more = f" and {len(absent) - 4} more" if len(absent) > 4 else ""
        findings.append(Finding("packages", "missing", f"{some}{more}", make if unfinished else f"{make} --force"))
    else:
        findings.append(Finding("packages", "found", f"{len(wanted)} at their pins"))
    try:
        variables = command_environment(layout, host)
    except SetupError as error:
        return [*findings, Finding("workspace", "missing", "not built", make if unfinished else str(error))]
    for name, code in IMPORTS.items():
        complaint = _complaint(layout.python, code, variables)
        todo = make if unfinished else f"{make} --force makes everything anew"
        findings.append(Finding(name, "broken", complaint, todo) if complaint else Finding(name, "found", "works"))
    return findings


def _complaint(python: Path, code: str, environment: Mapping[str, str]) -> str:
    """Why the code does not run in the environment; empty when it does."""
    try:
        result = subprocess.run(
            [python, "-c", code],
            env=dict(environment),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=60,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "no answer within 60 s"
    if result.returncode == 0:
        return ""
    lines = result.stderr.strip().splitlines()
    return lines[-1][:200] if lines else f"ended with status {result.returncode}"


def _system_name() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    except OSError:
        return platform.system()


def report(layout: Layout, arguments: list[str]) -> int:
    """Print the findings; 0 when everything is there, 1 when not, 2 for words that it does not know."""
    unknown = [word for word in arguments if word != "--json"]
    if unknown:
        print(f"pad doctor: does not know {unknown[0]!r}; it takes --json only", file=sys.stderr)
        return 2
    findings = examine(layout, os.environ)
    good = all(finding.good for finding in findings)
    if "--json" in arguments:
        print(json.dumps({"ok": good, "findings": [asdict(finding) for finding in findings]}, indent=1))
        return 0 if good else 1
    width = max(len(finding.item) for finding in findings)
    for finding in findings:
        print(f"{finding.state:<8} {finding.item:<{width}}  {finding.detail}")
        if finding.todo:
            print(f"{'':<8} {'':<{width}}  -> {finding.todo}")
    bad = sum(not finding.good for finding in findings)
    print("everything is there" if good else f"{bad} of {len(findings)} need attention: see the arrows")
    return 0 if good else 1
