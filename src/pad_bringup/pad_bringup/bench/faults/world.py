"""The running graph with a relay and a recorder in it, and what the faults need to know and do."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter

from pad_bringup import names
from pad_bringup.bench.benchmark import Say
from pad_bringup.bench.faults import relay
from pad_bringup.bench.graph.extent import Extent
from pad_bringup.bench.graph.live import Live, live_graph
from pad_bringup.bench.graph.safety_log import SafetyLog
from pad_bringup.bench.graph.traffic import Passage, Traffic
from pad_bringup.errors import BenchError
from pad_bringup.graph_types import Graph, NodeEntry, OnExit
from pad_bringup.process import ManagedProcess

RECORDED = (names.SAFETY, names.KEYPOINTS, names.arm_command_topic("left"))
"""Topics whose recording is compared with what was sent. No images: they would fill the disk."""

_PATIENCE = 20.0  # s for a fault to be noticed, and for the arms to move again


@dataclass
class World:
    """What runs, and what it has said.

    bag: folder of the recording. told: what the supervisor said. sent: topic -> messages as on the wire.
    """

    live: Live
    log: SafetyLog
    bag: Path
    told: list[str]
    sent: dict[str, list[bytes]] = field(default_factory=lambda: {topic: [] for topic in RECORDED})

    def harm(self, **parameters: str | float) -> None:
        """Set parameters of the relay, see there; returns when they are in force."""
        session = self.live.running.session
        client = session.node.create_client(SetParameters, f"/{relay.NAME}/set_parameters")
        try:
            values = [Parameter(name, value=value).to_parameter_msg() for name, value in parameters.items()]
            answer = session.call(client, SetParameters.Request(parameters=values), _PATIENCE, BenchError)
        finally:
            session.node.destroy_client(client)
        for result in answer.results:
            if not result.successful:
                raise BenchError(f"{relay.NAME}: {result.reason}")

    def set_out(self) -> None:
        """A new placement, and arms that move."""
        self.live.hand_over()
        self.live.wait(self.log.moving, "arms that move")

    def recover(self, command: Callable[[], None] | None) -> int:
        """Wait for arms that move again; returns how many commands it took.

        command: what a person would do; None: nothing, it must come by itself.

        Raises:
            BenchError: they do not move.
        """
        patience = _PATIENCE if command is None else 0.25 * _PATIENCE
        since = time.time()

        def moves() -> bool:
            return bool(self.log.commands) and self.log.commands[-1][0] > since + 0.3 and self.log.moving(least=0.01)

        try:
            self.live.wait(moves, "arms that move again by themselves", patience)
            return 0
        except BenchError:
            if command is None:
                raise
        command()
        since = time.time()
        self.live.wait(moves, "arms that move again after one command", _PATIENCE)
        return 1

    def said(self, node: str, words: str) -> str:
        """The newest line of a node's log with these words, "" without."""
        path = self.live.running.supervisor.log_directory / f"{node}.log"
        lines = [line for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if words in line]
        return lines[-1].split("]: ", 1)[-1] if lines else ""

    def spawn(self, name: str, command: list[str]) -> ManagedProcess:
        """A further process in the graph's domain; whoever starts it ends it."""
        log = self.live.running.supervisor.log_directory / f"{name}.log"
        return ManagedProcess(name, command, log, {**self.live.running.graph.environment, **os.environ})


@contextmanager
def world(extent: Extent, folder: Path, say: Say) -> Iterator[World]:
    """Start it all: every node as `pad up` starts it, commands and inputs recorded, and the relay."""
    bag = folder / "recording"
    told: list[str] = []

    def tell(line: str) -> None:
        told.append(line)
        say(line)

    with live_graph(
        extent, folder / "logs", tell, restart=True, change=_with_relay, record="true", record_to=str(bag)
    ) as live:
        log = SafetyLog()
        made = World(live, log, bag, told)

        def keep(topic: str) -> Callable[[Passage], None]:
            def both(passage: Passage) -> None:
                made.sent[topic].append(passage.data)
                log.topics[topic](passage)

            return both

        with Traffic(live.running.session.node, {**log.topics, **{topic: keep(topic) for topic in RECORDED}}):
            yield made


def _with_relay(graph: Graph) -> Graph:
    """The graph with the relay behind the cell and the policy."""
    nodes = []
    for entry in graph.nodes:
        if entry.name == names.SIM_CELL:
            moved = tuple((topic, relay.UPSTREAM + topic) for topic in relay.STAMPED)
            entry = replace(entry, remappings=moved, topics=())
        elif entry.name == names.POLICY_NODE:
            entry = replace(entry, remappings=((names.JOINT_CHUNK, relay.UPSTREAM + names.JOINT_CHUNK),))
        elif entry.name == names.RECORDER:
            entry = replace(entry, parameters={**entry.parameters, "topics": [*RECORDED, names.JOINT_STATES]})
        nodes.append(entry)
    between = NodeEntry(
        relay.NAME, "pad_bringup", relay.NAME, relay.__name__, on_exit=OnExit.SHUTDOWN, topics=relay.STAMPED
    )
    return replace(graph, nodes=(*nodes, between))


def python(module: str, *words: str) -> list[str]:
    """The command line of a module."""
    return [sys.executable, "-m", module, *words]
