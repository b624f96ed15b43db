"""Python packages of the environment, at their pins."""

import csv
import os
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path

from bootstrap.errors import SetupError
from bootstrap.layout import Layout
from bootstrap.pins import Pin, normalised
from bootstrap.processes import Children, tail
from bootstrap.progress import Progress

TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
ATTEMPTS = 2  # of one installation; registries and networks have bad moments


class Installer:
    """Installs pins with pip, without dependency resolution: the pins name everything."""

    def __init__(self, layout: Layout, environment: Mapping[str, str], children: Children, progress: Progress) -> None:
        self._layout = layout
        self._environment = {**environment, "PIP_USER": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
        self._children = children
        self._progress = progress
        self._unfinished = layout.venv / "installing"

    def repair(self) -> int:
        """After an installation that was cut off: make pip see which packages are only half there.

        pip takes a package for installed as soon as its metadata is. Packages whose files are not all there, at their
        recorded sizes, lose their metadata, so that the next installation brings them again. Returns how many did.
        """
        if not self._unfinished.exists():
            return 0
        broken = 0
        for site in self._layout.venv.glob("lib/python3.*/site-packages"):
            for leftover in site.glob("~*"):  # where pip moves files of a version that it replaces
                shutil.rmtree(leftover, ignore_errors=True)
            for metadata in site.glob("*.dist-info"):
                if not is_complete(metadata):
                    shutil.rmtree(metadata)
                    broken += 1
        return broken

    def install(self, pins: Iterable[Pin], step: str, *, files_only: bool = False) -> None:
        """Install the pins; raises SetupError with pip's own complaint.

        `files_only`: their code will not run, so they may ask for another Python.
        """
        wanted = list(pins)
        torch = [pin for pin in wanted if pin.key == "torch"]
        others = [pin for pin in wanted if pin.key != "torch"]
        self._unfinished.touch()
        if others:
            options = ["--ignore-requires-python"] if files_only else []
            self._pip([*options, *(pin.requirement for pin in others)], step, count=len(others))
        for pin in torch:
            self._progress.note(step, "torch")
            self._install_torch(pin, step)
        # Another installation may run at the same time only in another environment: the lock sees to that.
        self._unfinished.unlink(missing_ok=True)

    def _install_torch(self, pin: Pin, step: str) -> None:
        """The CPU build: from the configured sources where they have it, else from PyTorch's own index.

        The plain build of the same version on PyPI brings several GB of CUDA, so it is never taken on x86-64.
        """
        cpu_build = f"{pin.requirement}+cpu"
        if installed_versions(self._layout.venv).get("torch") == f"{pin.version}+cpu":
            return
        if self._pip([cpu_build], step, may_miss=True):
            return
        if os.uname().machine != "x86_64":
            self._pip([pin.requirement], step)
            return
        if not _reachable(f"{TORCH_INDEX}/torch/"):
            raise SetupError(
                f"no CPU build of torch: {cpu_build} is not in pip's configured sources, and {TORCH_INDEX} "
                "cannot be reached. "
                "Put the wheel into a folder and name it: PIP_FIND_LINKS=FOLDER ./pad setup"
            )
        self._pip(["--extra-index-url", TORCH_INDEX, cpu_build], step)

    def _pip(self, requirements: list[str], step: str, *, count: int = 0, may_miss: bool = False) -> bool:
        """One pip run; False only when `may_miss` and no source has the requirement."""
        log = self._layout.logs / "pip.log"
        # No bytecode: what is used compiles on first import, seconds instead of half a minute. No build isolation: the
        # few source packages are built with the pinned setuptools.
        command = [
            self._layout.python, "-m", "pip", "install", "--no-deps", "--no-compile", "--no-build-isolation",
            "--use-pep517", "--progress-bar", "off", *requirements,
        ]  # fmt: skip
        for attempt in range(1, ATTEMPTS + 1):
            errors: list[str] = []
            seen = 0

            def watch(line: str, errors: list[str] = errors) -> None:
                nonlocal seen
                if line.startswith("ERROR:"):
                    errors.append(line.removeprefix("ERROR:").strip())
                elif line.startswith(("Collecting ", "Requirement already satisfied")):
                    seen += 1
                    if count:
                        self._progress.note(step, f"{seen}/{count} fetched")
                elif line.startswith("Installing collected"):
                    self._progress.note(step, "installing")

            if (
                self._children.run(
                    command, log=log, environment=self._environment, folder=self._layout.root, on_line=watch
                )
                == 0
            ):
                return True
            missing = any("No matching distribution" in line for line in errors)
            if missing and may_miss:
                return False
            if missing or attempt == ATTEMPTS:
                reason = next((line for line in reversed(errors) if line), tail(log, 3))
                raise SetupError(f"pip could not install the packages: {reason} (all of it: {log})")
            self._progress.say(f"pip failed ({errors[-1] if errors else 'see its log'}), trying once more")
        return False


def is_complete(metadata: Path) -> bool:
    """Whether every file that an installed package's RECORD names is there at its recorded size.

    `metadata`: the package's .dist-info folder; without a RECORD, which pip writes last, the package is incomplete.
    """
    try:
        with (metadata / "RECORD").open(newline="") as record:
            rows = [row for row in csv.reader(record) if row]
    except OSError:
        return False
    for row in rows:
        path = metadata.parent / row[0]
        try:
            size = path.stat().st_size
        except OSError:
            if path.suffix == ".pyc":
                continue
            return False
        # Scripts and rewritten CMake files differ from the wheel's; what matters is a file cut short.
        if len(row) > 2 and row[2].isdigit() and size < int(row[2]) and path.suffix not in (".cmake", ".pyc"):
            return False
    return True


def installed_versions(venv: Path) -> dict[str, str]:
    """Version by normalised name of the complete packages in the environment, read without starting it."""
    versions = {}
    for metadata in venv.glob("lib/python3.*/site-packages/*.dist-info"):
        if (metadata / "RECORD").is_file():
            name, _, version = metadata.name.removesuffix(".dist-info").rpartition("-")
            versions[normalised(name)] = version
    return versions


def missing_pins(pins: Iterable[Pin], versions: Mapping[str, str]) -> list[Pin]:
    """The pins that are absent from `versions` or there at another version; a local part like +cpu does not count."""
    return [pin for pin in pins if versions.get(pin.key, "").split("+")[0] != pin.version.split("+")[0]]


def visible_versions(pins: Iterable[Pin], layout: Layout, environment: Mapping[str, str]) -> dict[str, str]:
    """Version by normalised name of those pins that the environment's interpreter sees, a ROS host's own included."""
    code = (
        "import importlib.metadata as m, sys\n"
        "for name in sys.argv[1:]:\n"
        "    try: print(name, m.version(name))\n"
        "    except m.PackageNotFoundError: pass"
    )
    command = [str(layout.python), "-c", code, *(pin.key for pin in pins)]
    result = subprocess.run(command, env=dict(environment), capture_output=True, text=True, check=False)
    return dict(line.split(maxsplit=1) for line in result.stdout.splitlines())


def localise_cmake_files(layout: Layout) -> int:
    """Point the ROS wheels' CMake exports to this interpreter's headers instead of the wheel builder's.

    Returns how many files were rewritten. Raises SetupError when a builder's path is left.
    """
    code = "import sysconfig; print(sysconfig.get_path('include')); print(sysconfig.get_path('purelib'))"
    result = subprocess.run([layout.python, "-I", "-c", code], capture_output=True, text=True, check=True)
    include, packages = result.stdout.splitlines()
    rewritten = 0
    for path in layout.venv.glob("share/*/cmake/*Export*.cmake"):
        text = path.read_text()
        if "/opt/python/cp3" not in text:
            continue
        fixed = re.sub(r"/opt/python/cp3\d+-cp3\d+t?/include/python3\.\d+t?", lambda _: include, text)
        fixed = re.sub(r"/opt/python/cp3\d+-cp3\d+t?/lib/python3\.\d+t?/site-packages", lambda _: packages, fixed)
        if "/opt/python/cp3" in fixed:
            raise SetupError(f"{path} names a folder of the wheel's builder that is not known here; please report this")
        temporary = path.with_suffix(".tmp")
        temporary.write_text(fixed)
        temporary.replace(path)
        rewritten += 1
    return rewritten


def _reachable(url: str) -> bool:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=8) as answer:
            return bool(answer.status < 400)
    except (OSError, urllib.error.URLError, ValueError):
        return False
