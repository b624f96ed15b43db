"""Makes the environment: the steps, their order, and what runs at the same time."""

import os
import platform
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from bootstrap import packages, system, virtual_environment, workspace
from bootstrap.environment import build_environment, source_workspace
from bootstrap.errors import SetupError
from bootstrap.layout import Layout
from bootstrap.lock import exclusive
from bootstrap.pins import read_pins
from bootstrap.processes import Children
from bootstrap.progress import Progress
from bootstrap.ros_host import RosHost
from bootstrap.stamps import Stamps, digest

FORMAT = "1"  # raise it when the bootstrap makes something differently, so that finished steps are done again
NEEDED_SPACE = 4.0  # GB, of which about 3 stay occupied
STEPS = ("venv", "tools", "packages", "messages", "workspace", "environment")


@dataclass(frozen=True)
class Plan:
    """The steps in order with the hash of each one's inputs."""

    inputs: dict[str, str]

    def open_steps(self, stamps: Stamps) -> list[str]:
        """Steps that are not finished with these inputs."""
        return [step for step in STEPS if not stamps.holds(step, self.inputs[step])]


def make_plan(layout: Layout, host: RosHost | None) -> Plan:
    """What a finished environment for this clone and this shell's ROS looks like."""
    sections = read_pins(layout.pins)
    origin = f"{host.distro} {host.prefix}" if host is not None else "wheels"
    venv = digest([FORMAT, str(layout.venv), origin])
    numpy = [pin.requirement for pin in sections["run"] if pin.key == "numpy"]
    tools = digest([venv, *numpy, *(pin.requirement for name in ("ros", "build") for pin in sections[name])])
    messages = digest([tools, workspace.message_inputs(layout)])
    built = digest([tools, workspace.package_inputs(layout)])
    return Plan(
        {
            "venv": venv,
            "tools": tools,
            "packages": digest([venv, *(pin.requirement for pins in sections.values() for pin in pins)]),
            "messages": messages,
            "workspace": built,
            "environment": digest([messages, built, _modules_digest(layout)]),
        }
    )


def is_ready(layout: Layout, plan: Plan) -> bool:
    """Whether there is nothing to do; reads a handful of small files."""
    return (
        not plan.open_steps(Stamps(layout.stamps))
        and os.access(layout.python, os.X_OK)
        and layout.environment.is_file()
    )


def ensure(layout: Layout, host: RosHost | None, *, force: bool = False) -> float:
    """Make or complete the environment; returns the seconds that it took, 0 when it was ready.

    Raises SetupError for what the user has to settle, KeyboardInterrupt after ending all children; finished steps are
    kept in both cases.
    """
    if not force and is_ready(layout, make_plan(layout, host)):
        return 0.0
    began = time.monotonic()
    progress = Progress()

    def waiting(holder: str) -> None:
        progress.say(f"another start (process {holder}) is making the environment, waiting for it (Ctrl-C to leave)")

    try:
        with exclusive(layout.lock, waiting) as lock:
            plan = make_plan(layout, host)
            stamps = Stamps(layout.stamps)
            if force:
                stamps.clear()
            elif is_ready(layout, plan):
                return time.monotonic() - began
            children = Children(lock)
            try:
                _make(layout, host, plan, stamps, children, progress)
            except BaseException as error:
                children.stop()
                if isinstance(error, KeyboardInterrupt):
                    progress.say("interrupted; the next start goes on from the steps that are done")
                raise
        seconds = time.monotonic() - began
        progress.say(f"environment ready ({seconds:.0f} s)")
        return seconds
    finally:
        progress.close()


def _make(
    layout: Layout, host: RosHost | None, plan: Plan, stamps: Stamps, children: Children, progress: Progress
) -> None:
    sections = read_pins(layout.pins)
    todo = set(plan.open_steps(stamps))
    _check_platform(host)
    _check_space(layout, todo)
    system.install_missing(progress)

    if "venv" in todo or not virtual_environment.works(layout):
        stamps.clear()
        todo = set(STEPS)
        with progress.step("virtual environment"):
            virtual_environment.create(layout, host, children)
        stamps.set("venv", plan.inputs["venv"])

    environment = build_environment(layout, host)
    installer = packages.Installer(layout, environment, children, progress)
    repaired = installer.repair()
    if repaired:
        progress.say(f"an earlier installation was cut off; half-installed packages that come again: {repaired}")
    tools = sections["build"] + [pin for pin in sections["run"] if pin.key == "numpy"]
    if host is None:
        tools = sections["ros"] + tools
    else:
        present = packages.visible_versions(sections["build"], layout, environment)
        tools = [pin for pin in tools if pin.key not in present]

    if "tools" in todo:
        name = "ROS 2 Jazzy and colcon" if host is None else "colcon"
        with progress.step(name):
            installer.install([pin for pin in sections["build"] if pin.key == "setuptools"], name)
            installer.install(tools, name)
            packages.localise_cmake_files(layout)
        stamps.set("tools", plan.inputs["tools"])

    def install_rest() -> None:
        if "packages" not in todo:
            return
        with progress.step("packages"):
            installer.install(sections["run"] + sections["check"], "packages")
            installer.install(sections["files"], "packages", files_only=True)
        stamps.set("packages", plan.inputs["packages"])

    def build() -> None:
        if "messages" in todo:
            with progress.step("messages"):
                workspace.build_messages(layout, environment, children)
            stamps.set("messages", plan.inputs["messages"])
        if "workspace" in todo:
            with progress.step("workspace"):
                workspace.build_packages(layout, environment, children)
            stamps.set("workspace", plan.inputs["workspace"])

    _together(install_rest, build)
    source_workspace(layout, host)
    stamps.set("environment", plan.inputs["environment"])


def _together(*jobs: Callable[[], None]) -> None:
    """Run the jobs at the same time; when one fails, the others end first and then its error is raised."""
    errors: list[BaseException] = []

    def guarded(job: Callable[[], None]) -> None:
        try:
            job()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(job,), daemon=True) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():
            thread.join(0.2)  # short, so that Ctrl-C is noticed
    if errors:
        raise errors[0]


def _check_platform(host: RosHost | None) -> None:
    if platform.system() != "Linux":
        raise SetupError(f"PAD runs on Linux, this is {platform.system()}: use the container, docker/README.md")
    if host is None and platform.machine() != "x86_64":
        raise SetupError(
            f"ROS 2 wheels exist for x86-64 only, this is {platform.machine()}: "
            "install ROS 2 Jazzy, source it, start again"
        )


def _check_space(layout: Layout, todo: set[str]) -> None:
    if "packages" in todo:
        layout.home.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(layout.home).free / 1e9
        if free < NEEDED_SPACE:
            raise SetupError(
                f"{free:.1f} GB free in {layout.root}, the environment needs {NEEDED_SPACE:.0f} GB: "
                "make room, start again"
            )


def _modules_digest(layout: Layout) -> str:
    """The cached variables depend on how this module and its neighbours write them."""
    return digest([(layout.root / "bootstrap" / "environment.py").read_bytes()])
