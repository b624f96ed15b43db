"""The colcon workspace: src/ built into .pad/ws."""

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from bootstrap.errors import SetupError
from bootstrap.layout import Layout
from bootstrap.processes import Children, tail
from bootstrap.stamps import digest

MESSAGES = "pad_msgs"
PYTHON_PACKAGES = ("pad_parse", "pad_augment", "pad_policy", "pad_bringup")


def message_inputs(layout: Layout) -> str:
    """Hash of everything that the compiled messages are made from."""
    return _hash_files(
        layout, sorted(path for path in (layout.source / MESSAGES).rglob("*") if path.is_file()), contents=True
    )


def package_inputs(layout: Layout) -> str:
    """Hash of what decides how the Python packages are installed.

    They are installed as links, so the modules' contents do not matter; new or removed shared files do.
    """
    parts = []
    for name in PYTHON_PACKAGES:
        package = layout.source / name
        manifests = [package / "package.xml", package / "setup.py", package / "setup.cfg"]
        parts.append(_hash_files(layout, manifests, contents=True))
        shared = []
        for top in sorted(path for path in package.glob("*") if path.is_dir() and path.name not in (name, "test")):
            shared += sorted(path for path in top.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        parts.append(_hash_files(layout, shared, contents=False))
    return digest(parts)


def build_messages(layout: Layout, environment: Mapping[str, str], children: Children) -> None:
    """Compile the messages, always from an empty folder: half of an earlier build must not survive."""
    for stale in (layout.workspace / "build" / MESSAGES, layout.install / MESSAGES):
        _remove(layout, stale)
    _colcon(
        layout, [MESSAGES], ["--cmake-args", "-DBUILD_TESTING=OFF", "-DCMAKE_BUILD_TYPE=None"], environment, children
    )


def build_packages(layout: Layout, environment: Mapping[str, str], children: Children) -> None:
    """Install the Python packages as links into src/; the messages are built already."""
    for name in PYTHON_PACKAGES:
        _remove(layout, layout.workspace / "build" / name)
        _remove(layout, layout.install / name)
    _colcon(layout, PYTHON_PACKAGES, ["--symlink-install"], environment, children)


def _colcon(
    layout: Layout, names: Iterable[str], options: Iterable[str], environment: Mapping[str, str], children: Children
) -> None:
    layout.workspace.mkdir(parents=True, exist_ok=True)
    (layout.home / "COLCON_IGNORE").touch()  # a plain `colcon build` in the root must not look in here
    log = layout.logs / "colcon.log"
    selected = list(names)
    command = [
        layout.python, "-m", "colcon", "--log-base", layout.workspace / "log", "build", "--base-paths", layout.source,
        "--build-base", layout.workspace / "build", "--install-base", layout.install, "--packages-select", *selected,
        "--executor", "sequential", "--event-handlers", "console_cohesion+", "desktop_notification-", *options,
    ]  # fmt: skip
    status = children.run(command, log=log, environment=environment, folder=layout.workspace)
    absent = [name for name in selected if not (layout.install / name / "share" / name / "package.xml").exists()]
    if status != 0 or absent:
        raise SetupError(f"colcon could not build {', '.join(absent or selected)}; the end of {log}:\n{tail(log)}")


def _remove(layout: Layout, path: Path) -> None:
    """Move away, then delete: an orphan of a killed build may still write into the old folder."""
    if not path.exists():
        return
    trash = layout.workspace / f"trash.{os.getpid()}.{path.parent.name}.{path.name}"
    path.rename(trash)
    for old in layout.workspace.glob("trash.*"):
        shutil.rmtree(old, ignore_errors=True)


def _hash_files(layout: Layout, paths: Iterable[Path], *, contents: bool) -> str:
    parts: list[str | bytes] = []
    for path in paths:
        parts.append(path.relative_to(layout.root).as_posix())
        if contents:
            parts.append(path.read_bytes())
    return digest(parts)
