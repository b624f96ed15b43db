"""A running node graph: own domain, supervisor and client together, as the demo and `pad up` use it."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from pad_bringup import names
from pad_bringup.domain import private_domain
from pad_bringup.errors import SupervisorError
from pad_bringup.graph import Graph, NodeEntry, OnExit, Use, build_graph
from pad_bringup.ros_probe import RosProbe
from pad_bringup.session import Session
from pad_bringup.supervisor import Supervisor

_DISCOVERY = 0.5  # s in which nodes that are already there show up
_VIEWER_PATIENCE = 20.0  # s; the viewer's node is found before its web server has an address


@dataclass
class RunningGraph:
    """What runs.

    Attributes:
        graph: its nodes.
        session: a client node in the same domain.
        supervisor: owns the processes.
        domain: ROS domain id.
        start_seconds: from the first process to the last node being ready.
        logs: folder of the nodes' logs.
    """

    graph: Graph
    session: Session
    supervisor: Supervisor
    domain: int
    start_seconds: float
    logs: Path

    def viewer_url(self) -> str:
        """Where the live viewer is, "" without one; waits for its address, which comes later than its node."""
        if not any(entry.name == names.VIEWER for entry in self.graph.nodes):
            return ""
        deadline = time.monotonic() + _VIEWER_PATIENCE
        while not (url := viewer_url(self.logs)) and time.monotonic() < deadline:
            self.supervisor.check()
            time.sleep(0.05)
        return url


@contextmanager
def running_graph(
    values: Mapping[str, str],
    logs: Path,
    *,
    use: Use = Use.RUN,
    own_domain: bool = True,
    restart: bool = False,
    tell: Callable[[str], None] | None = None,
    change: Callable[[Graph], Graph] | None = None,
) -> Iterator[RunningGraph]:
    """Start the graph for argument values and end it with the `with` block.

    logs: folder for the nodes' logs.
    use: what the graph is for.
    own_domain: use a free domain where ROS_DOMAIN_ID is not set, so that nobody else's nodes are met.
    restart: start crashed nodes again as their entries say; else a node that motion depends on takes the graph down,
        which is what whoever counts successes wants.
    tell: gets a line when a node is restarted or given up.
    change: gets the graph before it is started and gives the one to start instead.

    Raises:
        GraphError: wrong arguments.
        SupervisorError: a node does not start, or nodes of these names run already.
    """
    graph = build_graph(values, use)
    if change is not None:
        graph = change(graph)
    if not restart:
        graph = replace(graph, nodes=tuple(_steady(entry) for entry in graph.nodes))
    with _domain(own_domain) as domain:
        environment = {"ROS_DOMAIN_ID": str(domain)}
        with Session("pad_runner", environment) as session:
            probe = RosProbe(session)
            _refuse_doubles(graph, probe, domain)
            supervisor = Supervisor(graph, logs, probe, environment=environment, on_event=tell)
            with supervisor:
                seconds = supervisor.start()
                _refuse(probe.twice() & {entry.full_name for entry in graph.nodes}, domain)
                yield RunningGraph(graph, session, supervisor, domain, seconds, logs)


def _steady(entry: NodeEntry) -> NodeEntry:
    moves = entry.name in (names.KEYPOINT_TRACKER, names.POLICY_NODE, names.COMMAND_GATE)
    return replace(entry, on_exit=OnExit.SHUTDOWN) if moves else entry


@contextmanager
def _domain(own: bool) -> Iterator[int]:
    if own:
        with private_domain() as number:
            yield number
        return
    chosen = os.environ.get("ROS_DOMAIN_ID") or "0"
    if not chosen.isdigit() or int(chosen) > 232:
        raise SupervisorError(f"ROS_DOMAIN_ID is {chosen!r}; it must be a number from 0 to 232")
    yield int(chosen)


def _refuse_doubles(graph: Graph, probe: RosProbe, domain: int) -> None:
    """Two graphs in one domain would command the same robots. Those that show up later are refused after the start."""
    deadline = time.monotonic() + _DISCOVERY
    while time.monotonic() < deadline:
        _refuse(probe.node_names() & {entry.full_name for entry in graph.nodes}, domain)
        time.sleep(0.05)


def _refuse(doubles: set[str], domain: int) -> None:
    if doubles:
        raise SupervisorError(
            f"{', '.join(sorted(doubles))} already run in ROS domain {domain}; stop them, or set another ROS_DOMAIN_ID"
        )


def viewer_url(logs: Path) -> str:
    """The address that the viewer has logged, "" if it has not."""
    try:
        found = re.findall(r"viewer: (http://\S+)", (logs / f"{names.VIEWER}.log").read_text(errors="replace"))
    except OSError:
        return ""
    return found[-1] if found else ""
