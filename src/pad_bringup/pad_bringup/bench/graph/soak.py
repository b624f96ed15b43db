"""Episodes through the running graph for a long time: memory, CPU and lost messages.

Memory is each node's resident set; growth compares the means of the last tenth of the time and of the tenth after the
first fifth, in which caches and shared memory fill. Lost is what a subscriber with a long queue misses in the
publishers' own numbering, on every reliable topic of one publisher.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pad_bringup import names
from pad_bringup.bench.benchmark import BenchSettings
from pad_bringup.bench.graph.extent import Extent
from pad_bringup.bench.graph.live import Live, live_graph, ros_is_missing
from pad_bringup.graph_entries import RECORDED_TOPICS

if TYPE_CHECKING:
    from pad_bringup.bench.graph.traffic import Passage

KEYS = ("soak_s", "memory_growth_percent", "messages_lost")

_SEVERAL_PUBLISHERS = (names.DIAGNOSTICS, names.TF, names.TF_STATIC)
_ABSENT = (names.HANDS, names.PLANNED_TRAJECTORY, names.APPROACH_CHUNK, names.PREVIEW)
_SAMPLES = 100
_WARM = 0.2  # share of the time in which memory may fill
_SETTLED = 0.1  # share of it that is averaged


class _Counter:
    """How many messages of a topic have come and how many have not."""

    def __init__(self) -> None:
        self.came = self.lost = 0
        self._last = 0

    def take(self, passage: Passage) -> None:
        """A message."""
        if self._last:
            self.lost += max(0, passage.number - self._last - 1)
        self._last = passage.number
        self.came += 1


def measure(settings: BenchSettings, say: Callable[[str], None]) -> dict[str, float | None]:
    """Episode after episode for `soak_s` seconds."""
    missing = ros_is_missing()
    if missing:
        say(missing)
        return dict.fromkeys(KEYS)
    from pad_bringup.bench.graph.traffic import Traffic

    extent = Extent.of(settings)
    topics = [t for t in (names.CLOCK, *RECORDED_TOPICS) if t not in (*_SEVERAL_PUBLISHERS, *_ABSENT)]
    counters = {topic: _Counter() for topic in topics}
    with live_graph(extent, settings.work / "soak", say) as live:
        processes = {e.name: live.running.supervisor.process(e.name).pid for e in live.running.graph.nodes}
        watch = _Watch({**processes, "this benchmark": os.getpid()}, extent.soak_s / _SAMPLES)
        with Traffic(live.running.session.node, {topic: counter.take for topic, counter in counters.items()}), watch:
            began = time.monotonic()
            successes = _episodes(live, began + extent.soak_s, say)
            took = time.monotonic() - began
    lost = {topic: counter.lost for topic, counter in counters.items() if counter.lost}
    for topic, number in lost.items():
        say(f"{topic}: {number} of {counters[topic].came + number} messages lost")
    silent = [topic for topic, counter in counters.items() if not counter.came]
    if silent:
        say(f"nothing came on {', '.join(silent)}")
    say(f"{sum(c.came for c in counters.values())} messages of {len(topics)} topics; episodes: {successes}")
    for name in (*processes, "this benchmark"):
        say(f"{name}: {watch.cpu(name):.1f} % of a core, {watch.grown(name)}")
    return {
        "soak_s": took,
        "memory_growth_percent": watch.growth(list(processes)),
        "messages_lost": sum(lost.values()),
    }


def _episodes(live: Live, until: float, say: Callable[[str], None]) -> str:
    """Run episodes; how many succeeded, in words."""
    done = succeeded = 0
    while time.monotonic() < until:
        result, _ = live.runner.run(20_000 + done)
        done += 1
        succeeded += result.success
        if done % 10 == 0:
            say(f"soak: {until - time.monotonic():.0f} s to go, {succeeded} of {done} episodes succeeded")
    return f"{succeeded} of {done} succeeded"


class _Watch:
    """Samples memory and CPU of processes in a thread of its own."""

    def __init__(self, processes: dict[str, int], period: float) -> None:
        self._processes = processes
        self._period = period
        self._resident: dict[str, list[float]] = {name: [] for name in processes}  # MB
        self._spent: dict[str, list[float]] = {name: [] for name in processes}  # CPU-s
        self._when: list[float] = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def __enter__(self) -> _Watch:
        self._sample()
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._end.wait(self._period):
            self._sample()

    def _sample(self) -> None:
        page, tick = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")
        try:
            for name, pid in self._processes.items():
                pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
                fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
                self._resident[name].append(1e-6 * pages * page)
                self._spent[name].append((int(fields[11]) + int(fields[12])) / tick)
        except (FileNotFoundError, ProcessLookupError):
            return  # a node has died; whoever runs the episodes says so
        self._when.append(time.monotonic())

    def cpu(self, name: str) -> float:
        """Percent of one core."""
        return 100 * (self._spent[name][-1] - self._spent[name][0]) / (self._when[-1] - self._when[0])

    def _before_and_after(self, name: str) -> tuple[float, float]:
        values = np.array(self._resident[name][: len(self._when)])
        share = max(1, round(_SETTLED * len(values)))
        start = min(round(_WARM * len(values)), len(values) - share)
        return float(values[start : start + share].mean()), float(values[-share:].mean())

    def grown(self, name: str) -> str:
        """MB, in words."""
        before, after = self._before_and_after(name)
        return f"{before:.1f} MB, later {after:.1f} MB"

    def growth(self, names_: list[str]) -> float:
        """Percent, of processes together."""
        before, after = np.sum([self._before_and_after(name) for name in names_], axis=0)
        return float(100 * (after / before - 1))
