"""What ./pad does before, and instead of, making the environment."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from bootstrap import commands, system
from bootstrap.environment import command_environment, prepend
from bootstrap.errors import SetupError
from bootstrap.layout import Layout
from bootstrap.lock import exclusive
from bootstrap.packages import Installer, installed_versions, is_complete, missing_pins, visible_versions
from bootstrap.pins import Pin
from bootstrap.processes import Children
from bootstrap.progress import Progress
from bootstrap.ros_host import sourced_ros
from bootstrap.stamps import Stamps, digest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def bare_clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the bootstrap reads, without an environment."""
    root = tmp_path_factory.mktemp("clone")
    for name in ("pad", "bootstrap", "requirements", "src"):
        (root / name).symlink_to(ROOT / name) if name == "src" else _copy(ROOT / name, root / name)
    return root


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        target.mkdir()
        for path in source.iterdir():
            if path.is_file():
                _copy(path, target / path.name)
    else:
        target.write_bytes(source.read_bytes())
        target.chmod(source.stat().st_mode)


def pad(root: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(root), "PAD_PYTHON": sys.executable, **variables}
    return subprocess.run(
        [root / "pad", *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_help_comes_at_once_and_installs_nothing(bare_clone: Path) -> None:
    for words in (["--help"], [], ["demo", "--help"], ["setup", "--help"]):
        result = pad(bare_clone, *words)
        assert result.returncode == 0
        assert all(verb in result.stdout for verb in (*commands.CLI, *commands.OWN))
    assert not (bare_clone / ".pad").exists()


def test_unknown_command_is_one_line_and_exit_2(bare_clone: Path) -> None:
    result = pad(bare_clone, "dmeo", "pour")
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert "'dmeo'" in result.stderr and "demo" in result.stderr
    assert not (bare_clone / ".pad").exists()


def test_doctor_works_without_the_environment(bare_clone: Path) -> None:
    result = pad(bare_clone, "doctor", "--json")
    assert result.returncode == 1
    report = json.loads(result.stdout)
    assert report["ok"] is False
    findings = {finding["item"]: finding for finding in report["findings"]}
    assert findings["environment"]["state"] == "missing"
    assert "./pad setup" in findings["environment"]["todo"]
    assert all(finding["todo"] for finding in report["findings"] if finding["state"] != "found")
    assert pad(bare_clone, "doctor", "--jsn").returncode == 2
    assert not (bare_clone / ".pad").exists()


def test_doctor_names_a_broken_environment(bare_clone: Path) -> None:
    python = bare_clone / ".pad" / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to("/nowhere/python3")
    try:
        result = pad(bare_clone, "doctor", "--json")
    finally:
        python.unlink()
        for folder in (python.parent, python.parents[1], python.parents[2]):
            folder.rmdir()
    findings = {finding["item"]: finding for finding in json.loads(result.stdout)["findings"]}
    assert result.returncode == 1
    assert findings["environment"]["state"] == "broken"


def test_an_older_ros_is_refused(bare_clone: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "share" / "rclpy" / "package.xml"
    manifest.parent.mkdir(parents=True)
    manifest.touch()
    result = pad(bare_clone, "setup", ROS_DISTRO="humble", ROS_VERSION="2", AMENT_PREFIX_PATH=str(tmp_path))
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "humble" in result.stderr and "Jazzy" in result.stderr
    assert not (bare_clone / ".pad").exists()


def test_which_ros_is_sourced(tmp_path: Path) -> None:
    manifest = tmp_path / "share" / "rclpy" / "package.xml"
    manifest.parent.mkdir(parents=True)
    manifest.touch()
    site = f"{tmp_path}/lib/python3.12/site-packages"
    sourced = {
        "ROS_DISTRO": "jazzy",
        "ROS_VERSION": "2",
        "AMENT_PREFIX_PATH": str(tmp_path),
        "PYTHONPATH": f"/other/project:{site}",
    }
    host = sourced_ros(sourced)
    assert host is not None
    assert (host.distro, host.prefix, host.python_path) == ("jazzy", tmp_path, (site,))
    assert sourced_ros({}) is None
    assert sourced_ros({"ROS_DISTRO": "humble"}) is None, "a variable alone is no ROS"
    with pytest.raises(SetupError, match="ROS 1"):
        sourced_ros({"ROS_DISTRO": "noetic", "ROS_VERSION": "1"})
    with pytest.raises(SetupError, match="ROS_DISTRO is not set"):
        sourced_ros({"AMENT_PREFIX_PATH": str(tmp_path)})
    (tmp_path / "pyvenv.cfg").touch()
    assert sourced_ros(sourced) is None, "another virtual environment is not a ROS host"


def test_second_start_waits_for_the_first_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    order: list[str] = []
    taken = threading.Event()

    def first() -> None:
        with exclusive(path, lambda holder: order.append("first waited")):
            taken.set()
            time.sleep(0.5)
            order.append("first done")

    thread = threading.Thread(target=first)
    thread.start()
    assert taken.wait(60)
    holders: list[str] = []
    with exclusive(path, holders.append):
        order.append("second in")
    thread.join()
    assert order == ["first done", "second in"]
    assert holders == [str(os.getpid())]


def test_a_child_of_a_killed_start_keeps_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with exclusive(path, lambda holder: None) as descriptor:
        child = subprocess.Popen(["sleep", "0.7"], pass_fds=[descriptor])
    waited: list[str] = []
    began = time.monotonic()
    with exclusive(path, waited.append):
        assert time.monotonic() - began > 0.3
    assert len(waited) == 1
    assert child.wait(60) == 0


def test_stamps_hold_for_the_same_inputs_only(tmp_path: Path) -> None:
    stamps = Stamps(tmp_path / "stamps")
    assert not stamps.holds("venv", "a")
    stamps.set("venv", "a")
    assert stamps.holds("venv", "a") and not stamps.holds("venv", "b")
    stamps.clear()
    assert not stamps.holds("venv", "a")
    assert digest(["ab", "c"]) != digest(["a", "bc"])


def _package(site: Path, name: str, *, complete: bool = True) -> Path:
    """An installed package of one module, as pip leaves it; incomplete as a killed pip leaves it."""
    metadata = site / f"{name}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (site / f"{name}.py").write_text("value = 1\n")
    if complete:
        (metadata / "RECORD").write_text(f"{name}.py,sha256=x,10\n{name}-1.0.dist-info/RECORD,,\n")
    return metadata


def test_half_installed_packages_are_installed_again(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    site = layout.venv / "lib" / "python3.11" / "site-packages"
    whole, cut, short, gone = (
        _package(site, name, complete=name != "cut") for name in ("whole", "cut", "short", "gone")
    )
    (site / "short.py").write_text("val")
    (site / "gone.py").unlink()
    (site / "~hole").mkdir()
    assert [is_complete(metadata) for metadata in (whole, cut, short, gone)] == [True, False, False, False]
    installer = Installer(layout, {}, Children(0), Progress())
    assert installer.repair() == 0, "nothing is touched unless an installation was cut off"
    (layout.venv / "installing").touch()
    assert installer.repair() == 3
    assert installed_versions(layout.venv) == {"whole": "1.0"}
    assert not (site / "~hole").exists()


def test_missing_pins_ignore_the_local_part_of_a_version() -> None:
    pins = [Pin("torch", "2.13.0"), Pin("numpy", "2.4.6"), Pin("rich", "14.3.4")]
    assert missing_pins(pins, {"torch": "2.13.0+cpu", "numpy": "2.4.5"}) == pins[1:]


def test_stopping_ends_a_child_and_its_children(tmp_path: Path) -> None:
    children = Children(os.open(tmp_path / "lock", os.O_CREAT | os.O_RDWR))
    seen: list[str] = []
    ready = threading.Event()

    def on_line(line: str) -> None:
        seen.append(line)
        ready.set()

    thread = threading.Thread(
        target=lambda: children.run(
            ["bash", "-c", "sleep 60 & echo $!; wait"],
            log=tmp_path / "log",
            environment=os.environ,
            folder=tmp_path,
            on_line=on_line,
        )
    )
    thread.start()
    assert ready.wait(10)
    children.stop()
    thread.join(10)
    assert not thread.is_alive()
    with pytest.raises(ProcessLookupError):  # told to end, it needs its turn on a busy machine to do so
        for _ in range(1000):
            _alive(int(seen[0]))
            time.sleep(0.01)
    with pytest.raises(SetupError, match="interrupted"):
        children.run(["true"], log=tmp_path / "log", environment=os.environ, folder=tmp_path)


def _alive(process: int) -> None:
    """Raises ProcessLookupError unless the process runs; one that only waits to be reaped does not."""
    os.kill(process, 0)
    state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    if state == "Z":
        raise ProcessLookupError


def test_another_projects_environment_stays_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = Layout(tmp_path)
    layout.home.mkdir()
    layout.environment.write_text(
        json.dumps({"prepend": {"PATH": [str(layout.venv / "bin")]}, "set": {"ROS_DISTRO": "jazzy"}})
    )
    monkeypatch.setenv("VIRTUAL_ENV", "/other/venv")
    monkeypatch.setenv("PYTHONPATH", "/other/modules")
    monkeypatch.setenv("PATH", "/other/venv/bin:/usr/bin")
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "SUBNET")
    environment = command_environment(layout, None)
    assert environment["PATH"] == f"{layout.venv}/bin:/usr/bin"
    assert "PYTHONPATH" not in environment and "VIRTUAL_ENV" not in environment
    assert environment["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "SUBNET", "what the user set stays"


def test_prepending_keeps_every_entry_once() -> None:
    environment = {"PATH": "/a:/b"}
    prepend(environment, "PATH", ["/b", "/c"])
    assert environment["PATH"] == "/b:/c:/a"


def test_missing_system_packages_without_privileges_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = system.Requirement("cmake", "built with", lambda: "", ("cmake",))
    monkeypatch.setattr(system, "requirements", lambda: [wanted])
    monkeypatch.setattr(system.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(system.shutil, "which", lambda name: "/usr/bin/apt-get" if name == "apt-get" else None)
    with pytest.raises(SetupError, match="sudo apt-get install cmake") as caught:
        system.install_missing(Progress())
    assert "\n" not in str(caught.value)


def test_host_packages_are_found_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Layout, "python", property(lambda self: Path(sys.executable)))
    pins = [Pin("pytest", "0.0.1"), Pin("no-such-package-here", "1.0")]
    assert visible_versions(pins, Layout(ROOT), os.environ) == {"pytest": pytest.__version__}
