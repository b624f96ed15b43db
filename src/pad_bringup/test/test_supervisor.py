"""The supervisor with real processes (no ROS): start, readiness, exit policies, and that nothing is left behind."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import pytest

from pad_bringup.errors import SupervisorError
from pad_bringup.graph import Graph, NodeEntry, OnExit
from pad_bringup.restarts import Restarts
from pad_bringup.supervisor import Supervisor

NODE = """
import os, pathlib, signal, subprocess, sys, time
arguments = sys.argv
name = next(a.split(":=")[1] for a in arguments if a.startswith("__node:="))
folder = pathlib.Path(os.environ["FAKE_FOLDER"])
behaviour = os.environ.get("FAKE_" + name, "run")
if behaviour == "die":
    sys.exit("RuntimeError: no camera topic within 10 s")
if behaviour == "stubborn":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if behaviour == "parent":
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
(folder / (name + "." + str(os.getpid()))).touch()
if behaviour == "once" and not (folder / "died").exists():
    (folder / "died").touch()
    time.sleep(0.3)
    sys.exit(3)
if behaviour == "brief":
    time.sleep(0.3)
    sys.exit(3)
try:
    time.sleep(60)
except KeyboardInterrupt:
    if behaviour == "slow":
        time.sleep(0.3)
    (folder / (name + ".interrupted")).touch()
"""


class FileProbe:
    """A node is ready when it has touched its file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.activated: list[str] = []

    def missing(self, entry: NodeEntry) -> list[str]:
        return [] if list(self.folder.glob(f"{entry.name}.*")) else [f"node {entry.full_name}"]

    def activate(self, entry: NodeEntry, timeout: float) -> None:
        self.activated.append(entry.name)


def entry(name: str, on_exit: OnExit = OnExit.SHUTDOWN, lifecycle: bool = False) -> NodeEntry:
    return NodeEntry(name, "pkg", name, "fake_node", {"rate": 2.0}, on_exit=on_exit, lifecycle=lifecycle)


@pytest.fixture
def make(tmp_path):
    (tmp_path / "fake_node.py").write_text(NODE)
    (tmp_path / "alive").mkdir()
    events: list[str] = []

    def build(*entries: NodeEntry, timeout: float = 60.0, **behaviour: str) -> Supervisor:
        environment = {"PYTHONPATH": str(tmp_path), "FAKE_FOLDER": str(tmp_path / "alive")}
        environment |= {f"FAKE_{name}": value for name, value in behaviour.items()}
        supervisor = Supervisor(
            Graph("pour", entries),
            tmp_path / "log",
            FileProbe(tmp_path / "alive"),
            environment=environment,
            start_timeout=timeout,
            on_event=events.append,
        )
        supervisor.events = events
        return supervisor

    return build


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] != "Z"
    except OSError:
        return False


def test_start_activates_managed_nodes_and_stop_interrupts_all(make, tmp_path):
    supervisor = make(entry("a"), entry("b", lifecycle=True))
    with supervisor:
        seconds = supervisor.start()
        pids = [supervisor.process(name).pid for name in ("a", "b")]
        assert all(alive(pid) for pid in pids)
        assert supervisor._probe.activated == ["b"]
        supervisor.check()
    assert 0 < seconds < 20
    assert not any(alive(pid) for pid in pids)
    assert (tmp_path / "alive" / "a.interrupted").exists()
    assert "rate: 2.0" in (tmp_path / "log" / "parameters" / "a.yaml").read_text()


def test_nodes_that_give_way_hold_nobody_up(make):
    supervisor = make(replace(entry("looker"), niceness=5), entry("b", lifecycle=True))
    probe, seen = supervisor._probe, []

    def missing(entry: NodeEntry) -> list[str]:
        if entry.name == "looker":
            seen.append(list(probe.activated))
        return FileProbe.missing(probe, entry)

    probe.missing = missing
    with supervisor:
        supervisor.start()
        pid = supervisor.process("looker").pid
        assert seen and seen[0] == ["b"]
        assert os.getpriority(os.PRIO_PROCESS, pid) == os.getpriority(os.PRIO_PROCESS, 0) + 5
        # The kernel may weigh niceness within a session only, and sessions alike.
        assert os.getsid(pid) == os.getsid(supervisor.process("b").pid)


def test_a_node_that_dies_at_the_start_ends_all_and_says_why(make):
    supervisor = make(entry("a"), entry("b"), b="die")
    with pytest.raises(SupervisorError, match=r"b stopped with exit code 1 .*no camera topic within 10 s.*b\.log"):
        supervisor.start()
    with pytest.raises(SupervisorError, match="a does not run"):
        supervisor.process("a")


def test_a_node_that_never_gets_ready_is_named(make, tmp_path):
    supervisor = make(entry("a"), timeout=0.5)
    supervisor._probe.missing = lambda entry: ["service /pad/enable"]
    with pytest.raises(SupervisorError, match="a was not ready after 0 s: service /pad/enable missing"):
        supervisor.start()


def test_a_needed_node_that_crashes_takes_the_graph_down(make):
    supervisor = make(entry("a"), entry("b"), b="brief")
    supervisor.start()
    pid = supervisor.process("a").pid
    with pytest.raises(SupervisorError, match="b stopped with exit code 3 while the graph was running"):
        supervisor.run(lambda: False, 0.02)
    assert not alive(pid)


def test_a_node_to_restart_comes_back(make):
    with make(entry("a", OnExit.RESTART, lifecycle=True), a="once") as supervisor:
        supervisor.start()
        first = supervisor.process("a").pid
        deadline = time.monotonic() + 20
        supervisor.run(lambda: bool(supervisor.events) or time.monotonic() > deadline, 0.02)
        assert "starting it again" in supervisor.events[0]
        assert supervisor.process("a").pid != first
        assert supervisor._probe.activated == ["a", "a"]


def test_nodes_that_die_together_all_come_back(make, tmp_path):
    """The first is started again while the second is dead, and dies once more before it is ready."""
    names = ("a", "b")
    with make(*(entry(name, OnExit.RESTART, lifecycle=True) for name in names), entry("c")) as supervisor:
        supervisor.start()
        first = {name: supervisor.process(name).pid for name in names}
        probe, killed = supervisor._probe, []

        def missing(entry: NodeEntry) -> list[str]:
            pid = supervisor.process(entry.name).pid
            if entry.name == "a" and not killed:
                killed.append(pid)
                os.kill(pid, signal.SIGKILL)
            return [] if (probe.folder / f"{entry.name}.{pid}").exists() else [entry.name]

        probe.missing = missing
        for pid in first.values():
            os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 60
        supervisor.run(lambda: len(supervisor.events) == 3 or time.monotonic() > deadline, 0.02)
        assert sorted(line.split()[0] for line in supervisor.events) == ["a", "a", "b"]
        now = {name: supervisor.process(name).pid for name in names}
        assert all(alive(pid) and (probe.folder / f"{name}.{pid}").exists() for name, pid in now.items())
        assert not set(now.values()) & {*first.values(), *killed}
        assert set(probe.activated[2:]) == {"a", "b"}


def test_a_needed_node_that_dies_during_a_restart_ends_the_graph(make):
    supervisor = make(entry("a", OnExit.RESTART), entry("c"))
    supervisor.start()
    for name in ("a", "c"):
        os.kill(supervisor.process(name).pid, signal.SIGKILL)
    with pytest.raises(SupervisorError, match="c was ended by signal 9 while the graph was running"):
        supervisor.run(lambda: False, 0.02)
    assert not supervisor.runs("a")


def test_restarts_are_forgiven_after_a_minute():
    now = [0.0]
    restarts = Restarts(lambda: now[0])
    assert [restarts.allow() for _ in range(4)] == [True, True, True, False]
    now[0] = 60.1
    assert restarts.allow()


def test_restarting_has_an_end(make):
    supervisor = make(entry("a", OnExit.RESTART), a="brief")
    with pytest.raises(SupervisorError, match="restarted 3 times already"):
        supervisor.start()
        supervisor.run(lambda: False, 0.02)


def test_an_optional_node_may_go(make):
    with make(entry("a"), entry("b", OnExit.IGNORE), b="brief") as supervisor:
        supervisor.start()
        deadline = time.monotonic() + 20
        supervisor.run(lambda: bool(supervisor.events) or time.monotonic() > deadline, 0.02)
        assert "going on without it" in supervisor.events[0]
        assert alive(supervisor.process("a").pid)


def test_children_of_nodes_and_deaf_nodes_are_ended_too(make, monkeypatch):
    monkeypatch.setattr("pad_bringup.process._PATIENCE", 0.3)
    supervisor = make(entry("a"), entry("b"), a="parent", b="stubborn")
    supervisor.start()
    groups = [supervisor.process(name).pid for name in ("a", "b")]
    supervisor.stop()
    for group in groups:
        with pytest.raises(ProcessLookupError):
            os.killpg(group, 0)


def test_the_gate_ends_before_what_moves_the_arms(make, tmp_path):
    supervisor = make(entry("sim_cell"), entry("command_gate"), entry("viewer"), command_gate="slow")
    supervisor.start()
    time.sleep(0.5)  # all are past the imports
    supervisor.stop()
    ended = {path.stem: path.stat().st_mtime for path in (tmp_path / "alive").glob("*.interrupted")}
    assert len(ended) == 3 and ended["command_gate"] < min(ended["sim_cell"], ended["viewer"])


def test_a_deaf_gate_holds_nobody_up(make, tmp_path, monkeypatch):
    monkeypatch.setattr("pad_bringup.process._HEAD_START", 0.3)
    monkeypatch.setattr("pad_bringup.process._PATIENCE", 1.0)
    supervisor = make(entry("sim_cell"), entry("command_gate"), command_gate="stubborn")
    supervisor.start()
    pid = supervisor.process("command_gate").pid
    supervisor.stop()
    assert (tmp_path / "alive" / "sim_cell.interrupted").exists() and not alive(pid)


def test_nodes_die_with_a_killed_supervisor(tmp_path):
    (tmp_path / "fake_node.py").write_text(NODE)
    (tmp_path / "alive").mkdir()
    script = textwrap.dedent(
        """
        import os, pathlib, sys, time
        from pad_bringup.process import ManagedProcess
        folder = pathlib.Path(sys.argv[1])
        process = ManagedProcess("a", [sys.executable, "-m", "fake_node", "__node:=a"], folder / "a.log",
            {**os.environ, "PYTHONPATH": str(folder), "FAKE_FOLDER": str(folder / "alive"), "FAKE_a": "stubborn"})
        print(process.pid, flush=True)
        time.sleep(60)
        """
    )
    owner = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    pid = int(owner.stdout.readline())
    deadline = time.monotonic() + 20
    while not list((tmp_path / "alive").iterdir()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert alive(pid)
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    owner.stdout.close()
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not alive(pid)


def test_a_hanging_graph_says_where(make, tmp_path):
    with make(entry("a")) as supervisor:
        supervisor.start()
        supervisor.dump_stacks()
        assert "fake_node.py" in (tmp_path / "log" / "a.log").read_text()
