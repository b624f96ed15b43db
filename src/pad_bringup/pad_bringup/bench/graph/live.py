"""The running graph as the sections use it: every node up with the simulated cell, and the arms handed over."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pad_bringup.bench.benchmark import Say
from pad_bringup.bench.graph.extent import Extent
from pad_bringup.episodes import EpisodeRunner
from pad_bringup.errors import BenchError
from pad_bringup.graph_types import Graph
from pad_bringup.running import RunningGraph, running_graph
from pad_bringup.up import start_motion

_PATIENCE = 30.0  # s
_SEEDS = 100  # placements that are tried until one can be localised


def ros_is_missing() -> str:
    """Why the graph cannot run here, "" if it can."""
    try:
        import rclpy  # noqa: F401

        import pad_msgs.msg  # noqa: F401
    except ImportError as error:
        return f"not measured: {error}; build and source the workspace"
    return ""


class Live:
    """A running graph and its episodes."""

    def __init__(self, running: RunningGraph) -> None:
        self.running = running
        self.check = running.supervisor.check
        self.runner = EpisodeRunner(running.session, still_wanted=self.check)
        self._seed = 10_000

    def start(self) -> None:
        """Find the keypoints where the objects stand now, and enable the gate."""
        start_motion(self.running)

    def hand_over(self) -> None:
        """A new placement, localised, and the arms follow the policy.

        Raises:
            BenchError: no placement can be localised.
        """
        why = ""
        for _ in range(_SEEDS):
            self._seed += 1
            _, why = self.runner.hand_over(self._seed)
            if not why:
                return
        raise BenchError(f"{_SEEDS} placements could not be localised: {why}")

    def wait(self, until: Callable[[], bool], what: str, patience: float = _PATIENCE) -> None:
        """Wait for a condition while the graph is looked after.

        Raises:
            BenchError: it did not come true in `patience` s. SupervisorError: a node has died.
        """
        deadline = time.monotonic() + patience
        while not until():
            self.check()
            if time.monotonic() > deadline:
                raise BenchError(f"waited {patience:.0f} s for {what}; logs in {self.running.supervisor.log_directory}")
            time.sleep(0.002)

    def rest(self, seconds: float) -> None:
        """Let time pass while the graph is looked after."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.check()
            time.sleep(min(0.1, max(0.0, end - time.monotonic())))


@contextmanager
def live_graph(
    extent: Extent,
    logs: Path,
    say: Say,
    *,
    restart: bool = False,
    change: Callable[[Graph], Graph] | None = None,
    **values: str,
) -> Iterator[Live]:
    """The graph of `extent`; `values`: further arguments of it. restart, change: as `running_graph`."""
    given = {**extent.graph_values(), **values}
    with running_graph(given, logs, restart=restart, tell=say, change=change) as running:
        yield Live(running)
