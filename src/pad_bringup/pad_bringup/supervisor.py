"""Runs a node graph as processes without `launch`: start, readiness, lifecycle, exit policies, clean end."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import yaml

from pad_bringup import names
from pad_bringup.errors import SupervisorError
from pad_bringup.graph import Graph, NodeEntry, OnExit
from pad_bringup.process import ManagedProcess, stop_all
from pad_bringup.restarts import MAX_RESTARTS, Restarts
from pad_parse.files import write_atomically

_DUMP_TIME = 2.0  # s


# A node's last words must reach its log, also when native code crashes.
_FOR_LOGS = {"PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1"}


class GraphProbe(Protocol):
    """What the supervisor needs to know from the running ROS graph."""

    def missing(self, entry: NodeEntry) -> list[str]:
        """What `entry` does not yet offer: names of nodes, services and topics; empty when it is ready."""
        ...

    def activate(self, entry: NodeEntry, timeout: float) -> None:
        """Configure and activate a managed node.

        Raises:
            SupervisorError: a transition failed or took longer than `timeout` seconds.
        """
        ...


class Supervisor:
    """Owns the processes of one graph. Use it as a context manager: leaving it ends every process."""

    def __init__(
        self,
        graph: Graph,
        log_directory: str | os.PathLike[str],
        probe: GraphProbe,
        *,
        environment: Mapping[str, str] | None = None,
        start_timeout: float = 60.0,
        on_event: Callable[[str], None] | None = None,
    ) -> None:
        """Prepare; nothing runs yet.

        graph: the nodes.
        log_directory: folder for `<node>.log` and the parameter files; made if missing.
        probe: how the running graph is looked at.
        environment: variables set on top of this process's and the graph's own.
        start_timeout: seconds that all nodes together may take to become ready.
        on_event: called with one line when something worth telling happens.
        """
        self.graph = graph
        self.log_directory = Path(log_directory)
        self._probe = probe
        self._environment = {**graph.environment, **os.environ, **(environment or {}), **_FOR_LOGS}
        self._start_timeout = start_timeout
        self._tell = on_event or (lambda line: None)
        self._processes: dict[str, ManagedProcess] = {}
        self._restarts = {entry.name: Restarts() for entry in graph.nodes}

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def start(self, *, activate: bool = True) -> float:
        """Start all nodes and wait until every one is ready; returns the seconds it took.

        activate: also configure and activate the managed nodes.

        Raises:
            SupervisorError: a node stopped, was not ready in time, or refused a transition. Everything is ended then.
        """
        begin = time.monotonic()
        try:
            for entry in self.graph.nodes:
                command(entry, Path(), self.graph.log_level)  # what is not installed is said before anything moves
            for entry in self.graph.nodes:
                self._launch(entry)
            # What gives way to the others comes last, and holds nobody up.
            for behind in (False, True):
                entries = [entry for entry in self.graph.nodes if bool(entry.niceness) is behind]
                for entry in entries:
                    self._wait_ready(entry, begin + self._start_timeout)
                for entry in entries:
                    if activate and entry.lifecycle:
                        self._probe.activate(entry, max(1.0, begin + self._start_timeout - time.monotonic()))
        except BaseException:
            self.stop()
            raise
        return time.monotonic() - begin

    def check(self) -> None:
        """Look after the nodes; call it a few times a second.

        Raises:
            SupervisorError: a node stopped that the graph cannot do without; everything is ended then.
        """
        for entry in self.graph.nodes:
            process = self._processes.get(entry.name)
            if process is None or process.returncode() is None:
                continue
            try:
                self._after_exit(entry, process)
            except BaseException:
                self.stop()
                raise

    def run(self, stopped: Callable[[], bool], period: float = 0.2) -> None:
        """Look after the nodes until `stopped()` is true.

        Raises:
            SupervisorError: as `check`.
        """
        while not stopped():
            self.check()
            time.sleep(period)

    def stop(self) -> None:
        """End every process; returns when all are gone. May be called again."""
        processes, self._processes = list(self._processes.values()), {}
        # The gate brakes moving arms, for which it needs the cell or the driver.
        stop_all(processes, [process for process in processes if process.name == names.COMMAND_GATE])

    def dump_stacks(self) -> None:
        """Have every node write where its threads are into its log, and end; for a graph that hangs."""
        for process in self._processes.values():
            process.signal(signal.SIGABRT)
        deadline = time.monotonic() + _DUMP_TIME
        while time.monotonic() < deadline and any(p.returncode() is None for p in self._processes.values()):
            time.sleep(0.02)

    def runs(self, name: str) -> bool:
        """Whether a node's process has not ended, as far as `check` has seen."""
        return name in self._processes

    def process(self, name: str) -> ManagedProcess:
        """The running process of a node.

        Raises:
            SupervisorError: it does not run.
        """
        try:
            return self._processes[name]
        except KeyError:
            raise SupervisorError(f"{name} does not run; running: {', '.join(self._processes) or 'nothing'}") from None

    def _launch(self, entry: NodeEntry) -> None:
        parameter_file = self.log_directory / "parameters" / f"{entry.name}.yaml"
        content = {entry.full_name: {"ros__parameters": dict(entry.parameters)}}
        write_atomically(parameter_file, yaml.safe_dump(content, sort_keys=False))
        log = self.log_directory / f"{entry.name}.log"
        self._processes[entry.name] = ManagedProcess(
            entry.name, command(entry, parameter_file, self.graph.log_level), log, self._environment
        )

    def _wait_ready(self, entry: NodeEntry, deadline: float, *, starting: bool = True) -> None:
        """starting: whether the graph is; else this node is started again, and so may be others that die meanwhile."""
        while entry.name in self._processes:
            # The others are watched as well: what this node waits for may just have died.
            for other in self.graph.nodes:
                process = self._processes.get(other.name)
                if process is None or process.returncode() is None:
                    continue
                if starting and other.on_exit is not OnExit.IGNORE and not _has_finished(other, process):
                    raise SupervisorError(_obituary(other, process, "while the graph was starting"))
                self._after_exit(other, process)
                if not starting:
                    deadline = max(deadline, time.monotonic() + self._start_timeout)
            if entry.name not in self._processes:
                return
            missing = self._probe.missing(entry)
            if not missing:
                return
            if time.monotonic() > deadline:
                raise SupervisorError(
                    f"{entry.name} was not ready after {self._start_timeout:.0f} s: {', '.join(missing)} missing; "
                    f"see {self._processes[entry.name].log}"
                )
            time.sleep(0.05)

    def _after_exit(self, entry: NodeEntry, process: ManagedProcess) -> None:
        if _has_finished(entry, process):
            del self._processes[entry.name]
            self._tell(f"{entry.name} has finished")
            return
        what = _obituary(entry, process, "while the graph was running")
        del self._processes[entry.name]
        stop_all([process])  # children that it may have left
        if entry.on_exit in (OnExit.SHUTDOWN, OnExit.FINISHES):
            raise SupervisorError(what)
        if entry.on_exit is OnExit.IGNORE:
            self._tell(f"{what}; going on without it")
            return
        if not self._restarts[entry.name].allow():
            raise SupervisorError(f"{what}; it had been restarted {MAX_RESTARTS} times already")
        self._tell(f"{what}; starting it again")
        self._launch(entry)
        self._wait_ready(entry, time.monotonic() + self._start_timeout, starting=False)
        if entry.lifecycle:
            self._probe.activate(entry, self._start_timeout)


def command(entry: NodeEntry, parameter_file: Path, log_level: str) -> list[str]:
    """The command line that runs a node: PAD's with this Python interpreter, a vendor's as installed.

    Raises:
        SupervisorError: a vendor's executable is not installed.
    """
    remaps = [] if entry.own_name else ["-r", f"__node:={entry.name}"]
    if entry.namespace.strip("/"):
        remaps += ["-r", f"__ns:=/{entry.namespace.strip('/')}"]
    for old, new in entry.remappings:
        remaps += ["-r", f"{old}:={new}"]
    files = [word for path in (*entry.parameter_files, str(parameter_file)) for word in ("--params-file", path)]
    start = [sys.executable, "-m", entry.module] if entry.module else [_executable(entry)]
    if entry.niceness:
        start = ["nice", "-n", str(entry.niceness), *start]
    return [*start, *entry.arguments, "--ros-args", *remaps, *files, "--log-level", f"{entry.logger}:={log_level}"]


def _executable(entry: NodeEntry) -> str:
    """Where a package has installed an executable."""
    prefixes = [prefix for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if prefix]
    for prefix in prefixes:
        path = Path(prefix) / "lib" / entry.package / entry.executable
        if os.access(path, os.X_OK):
            return str(path)
    package = entry.package.replace("_", "-")
    raise SupervisorError(
        f"{entry.name} needs {entry.executable} of the ROS package {entry.package}, which is not installed: "
        f"on a ROS host apt install ros-jazzy-{package}, and source /opt/ros/jazzy/setup.bash"
    )


def _has_finished(entry: NodeEntry, process: ManagedProcess) -> bool:
    return entry.on_exit is OnExit.FINISHES and process.returncode() == 0


def _obituary(entry: NodeEntry, process: ManagedProcess, when: str) -> str:
    code = process.returncode()
    how = f"was ended by signal {-code}" if code is not None and code < 0 else f"stopped with exit code {code}"
    said = _reason(process.last_lines(20))
    return f"{entry.name} {how} {when}{': ' + said if said else ''} (log: {process.log})"


def _reason(lines: Sequence[str]) -> str:
    """The line of a log that most likely says why: the last fatal or error line, else the last one."""
    for mark in ("[FATAL]", "[ERROR]", "Error:"):
        for line in reversed(lines):
            if mark in line:
                return line.split("]: ", 1)[-1]
    return lines[-1] if lines else ""
