"""Every fault, injected into the running graph as processes: what it ends in, how soon, and what recovery takes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from pad_bringup.bench.benchmark import BenchSettings
from pad_bringup.bench.graph.extent import Extent
from pad_bringup.bench.graph.live import ros_is_missing
from pad_bringup.errors import PadBringupError, SupervisorError

KEYS = ("faults", "passed", "worst_hold_ms")

_LATEST_HOLD = 100.0  # ms after the detection limit


def measure(settings: BenchSettings, say: Callable[[str], None]) -> dict[str, float | None]:
    """One after the other in one graph; a graph that a fault has taken down is started again for the next."""
    missing = ros_is_missing()
    if missing:
        say(missing)
        return dict.fromkeys(KEYS)
    from pad_bringup.bench.faults.injections import FAULTS, Fault
    from pad_bringup.bench.faults.world import world

    extent = Extent.of(settings)
    chosen = [fault for fault in FAULTS if not extent.faults or fault.name in extent.faults]
    waiting = list(chosen)
    rows: list[tuple[Fault, str, float | None, str, bool]] = []
    while waiting:
        try:
            with world(extent, Path(tempfile.mkdtemp(prefix="faults_", dir=settings.work)), say) as made:
                while waiting:
                    fault = waiting.pop(0)
                    say(f"fault: {fault.name}")
                    try:
                        verdict = fault.inject(made)
                    except SupervisorError as error:
                        rows.append((fault, f"took the graph down: {error}", None, "-", False))
                        raise
                    except PadBringupError as error:
                        rows.append((fault, str(error), None, "-", False))
                        made.harm(fault="none")
                        continue
                    timely = verdict.hold_ms is None or verdict.hold_ms <= _LATEST_HOLD
                    rows.append(
                        (fault, verdict.ended, verdict.hold_ms, str(verdict.commands), timely and verdict.commands <= 1)
                    )
        except SupervisorError as error:
            if not rows:
                raise
            say(f"the graph is started again: {error}")
    for fault, ended, hold_ms, commands, passed in rows:
        hold = "-" if hold_ms is None else f"{hold_ms:.0f} ms after the limit"
        verdict_word = "passed" if passed else "FAILED"
        say(f"{verdict_word}: {fault.name} | limit: {fault.limit} | hold: {hold} | commands: {commands} | {ended}")
    holds = [hold_ms for _, _, hold_ms, _, _ in rows if hold_ms is not None]
    return {
        "faults": len(chosen),
        "passed": sum(row[-1] for row in rows),
        "worst_hold_ms": max(holds) if holds else None,
    }
