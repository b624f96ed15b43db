"""How regularly commands come: intervals between the moments at which the gate sent them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pad_bringup import names
from pad_bringup.bench.benchmark import BenchSettings
from pad_bringup.bench.graph.extent import Extent
from pad_bringup.bench.graph.live import live_graph, ros_is_missing
from pad_bringup.errors import BenchError

KEYS = ("command_hz", "command_interval_p99_ms", "command_interval_max_ms")


def measure(settings: BenchSettings, say: Callable[[str], None]) -> dict[str, float | None]:
    """Over `rates_s` seconds in which the policy has the arms, in this machine's time."""
    missing = ros_is_missing()
    if missing:
        say(missing)
        return dict.fromkeys(KEYS)
    from pad_bringup.bench.graph.traffic import ClockMap, Traffic

    extent = Extent.of(settings)
    clock = ClockMap()
    left: list[float] = []
    with live_graph(extent, settings.work / "rates", say) as live:
        live.hand_over()
        topics = {names.CELL_CLOCK: clock.take, names.arm_command_topic("left"): lambda p: left.append(p.left)}
        with Traffic(live.running.session.node, topics):
            live.rest(extent.rates_s)
    if len(left) < 10:
        raise BenchError(f"only {len(left)} commands in {extent.rates_s:.0f} s; logs in {settings.work}")
    intervals = 1e3 * np.diff(left)
    stamps, sent = clock.readings
    beats = 1e3 * np.diff(sent)
    say(
        f"{len(left)} commands in {left[-1] - left[0]:.0f} s; real-time factor of the cell "
        f"{np.ptp(stamps) / np.ptp(sent):.3f}; its own beats: p99 {np.percentile(beats, 99):.1f}, "
        f"max {beats.max():.1f} ms"
    )
    return {
        "command_hz": float(1e3 / intervals.mean()),
        "command_interval_p99_ms": float(np.percentile(intervals, 99)),
        "command_interval_max_ms": float(intervals.max()),
    }
