"""How soon the gate holds when its inputs grow stale, and how soon it stops when it is told to.

A hold is late by the time between the detection limit (the last input's stamp plus what the gate allows) and the
moment at which `/pad/safety` says HOLDING, which it does with the first braking command. A stop takes from the call of
`/pad/stop` to STOPPED on `/pad/safety`. Inputs end by a process that is made to stand still.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from pad_bringup import names
from pad_bringup.bench.benchmark import BenchSettings
from pad_bringup.bench.graph.extent import Extent
from pad_bringup.bench.graph.live import Live, live_graph, ros_is_missing
from pad_bringup.errors import BenchError

if TYPE_CHECKING:
    from pad_bringup.bench.graph.safety_log import SafetyLog

KEYS = ("hold_ms_max", "stop_ms_max")

_STOPS_IN_A_ROW = 3  # before the scene is set up anew, because a task comes to its end
_REST = 1.0  # s in which braking arms come to rest


def measure(settings: BenchSettings, say: Callable[[str], None]) -> dict[str, float | None]:
    """Largest of `trials` holds without keypoints, as many without chunks, and as many stops, with arms that move."""
    missing = ros_is_missing()
    if missing:
        say(missing)
        return dict.fromkeys(KEYS)
    from pad_bringup.bench.graph.safety_log import SafetyLog
    from pad_bringup.bench.graph.traffic import Traffic

    extent = Extent.of(settings)
    holds: dict[str, list[float]] = {names.KEYPOINT_TRACKER: [], names.POLICY_NODE: []}
    stops: list[float] = []
    log = SafetyLog()
    with (
        live_graph(extent, settings.work / "hold_stop", say) as live,
        Traffic(live.running.session.node, log.topics),
    ):
        for node, late in holds.items():
            for _ in range(extent.trials):
                live.hand_over()
                live.wait(log.moving, "arms that move")
                late.append(1e3 * _hold(live, log, node))
        for trial in range(extent.trials):
            if trial % _STOPS_IN_A_ROW == 0:
                live.hand_over()
            else:
                live.runner.enable()
            live.wait(log.moving, "arms that move")
            stops.append(1e3 * _stop(live, log))
    for node, late in holds.items():
        say(f"{node} stands still: hold after the limit, ms: {', '.join(f'{value:.1f}' for value in late)}")
    say(f"/pad/stop to STOPPED, ms: {', '.join(f'{value:.1f}' for value in stops)}")
    return {"hold_ms_max": max(max(late) for late in holds.values()), "stop_ms_max": max(stops)}


def _hold(live: Live, log: SafetyLog, node: str) -> float:
    """s from the limit to HOLDING after a node has been made to stand still."""
    from pad_msgs.msg import SafetyState

    process = live.running.supervisor.process(node)
    since = time.time()
    process.signal(signal.SIGSTOP)
    try:
        live.wait(lambda: log.first(SafetyState.HOLDING, since) is not None, f"a hold without {node}")
    finally:
        process.signal(signal.SIGCONT)
    word = log.first(SafetyState.HOLDING, since)
    if word is None:
        raise BenchError("the hold has gone")
    return word.left - float(log.clock.at(log.limit(node, word.left))[0])


def _stop(live: Live, log: SafetyLog) -> float:
    """s from the call to STOPPED; the arms are at rest soon after."""
    from pad_msgs.msg import SafetyState

    called = time.time()
    live.runner.stop()
    live.wait(lambda: log.first(SafetyState.STOPPED, called) is not None, "STOPPED on /pad/safety")
    word = log.first(SafetyState.STOPPED, called)
    live.rest(_REST)
    resting = log.came_to_rest(called)
    if word is None or resting is None or resting > called + _REST:
        raise BenchError(f"the arms still moved {_REST:.0f} s after {names.STOP}")
    return word.left - called
