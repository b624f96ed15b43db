"""From the start to the first command: every node active, keypoints found, gate enabled, with the simulated cell."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from pad_bringup import names
from pad_bringup.bench.benchmark import BenchSettings
from pad_bringup.bench.graph.extent import Extent
from pad_bringup.bench.graph.live import live_graph, ros_is_missing

KEYS = ("graph_up_s",)


def measure(settings: BenchSettings, say: Callable[[str], None]) -> dict[str, float | None]:
    """Median over `starts` starts, one after the other, of the wall time from the call to the first command."""
    missing = ros_is_missing()
    if missing:
        say(missing)
        return dict.fromkeys(KEYS)
    extent = Extent.of(settings)
    spent = [_start(extent, settings.work / "graph_up" / str(k), say) for k in range(extent.starts)]
    return {"graph_up_s": median(spent)}


def _start(extent: Extent, logs: Path, say: Callable[[str], None]) -> float:
    from pad_bringup.bench.graph.traffic import Traffic

    began = time.time()
    with live_graph(extent, logs, say) as live:
        active = time.time()
        used = {
            entry.name: _cpu_seconds(live.running.supervisor.process(entry.name).pid)
            for entry in live.running.graph.nodes
        }
        commands: list[float] = []
        with Traffic(live.running.session.node, {names.arm_command_topic("left"): lambda p: commands.append(p.left)}):
            live.start()
            live.wait(lambda: bool(commands), "the first command")
        say(
            f"all nodes active after {active - began:.1f} s, first command after {commands[0] - began:.1f} s; CPU-s: "
            + ", ".join(f"{name} {seconds:.1f}" for name, seconds in used.items())
        )
        return commands[0] - began


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
