"""The drawings of the report as data for inline SVG: time line, loss curve, bars."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pad_parse.demonstration import KeypointState, Segment, SegmentKind

KIND_CLASS = {
    SegmentKind.MOTION: "motion",
    SegmentKind.IDLE: "idle",
    SegmentKind.ASYNC_SKILL: "async",
    SegmentKind.SYNC_SKILL: "sync",
}
_STATE_CLASS = {KeypointState.LOST: "lost", KeypointState.VISIBLE: "seen", KeypointState.FILLED: "filled"}
_MOST_POINTS = 400


@dataclass(frozen=True)
class Bar:
    """A part of a horizontal strip.

    Attributes:
        left, width: percent of the strip.
        style: class that decides its colour.
        label: short text on it.
        title: long text for the pointer.
    """

    left: float
    width: float
    style: str
    label: str = ""
    title: str = ""


def segment_bars(segments: list[Segment], stamps: NDArray[np.float64], arm: int) -> list[Bar]:
    """The segments of one arm as bars over the demonstration's duration.

    stamps: (T,) s; arm: 0 left, 1 right.
    """
    bars = []
    for segment in segments:
        if segment.arm != arm:
            continue
        kind = KIND_CLASS[segment.kind]
        span = f"{_at(stamps, segment.start):.2f} - {_at(stamps, segment.end):.2f} s"
        about = f"{segment.stage or kind}: {span}, confidence {segment.confidence:.2f}. {segment.evidence}".strip()
        bars.append(_bar(stamps, segment.start, segment.end, kind, segment.stage or kind, about))
    return bars


def state_bars(states: NDArray[np.uint8], stamps: NDArray[np.float64]) -> list[Bar]:
    """Runs of equal keypoint state (T,) as bars."""
    return [
        _bar(stamps, start, end, _STATE_CLASS[KeypointState(value)], "", _STATE_CLASS[KeypointState(value)])
        for start, end, value in _runs(states)
    ]


def closed_bars(closed: NDArray[np.bool_], stamps: NDArray[np.float64]) -> list[Bar]:
    """The times (T,) in which a gripper is closed, as bars."""
    return [_bar(stamps, start, end, "closed", "", "closed") for start, end, value in _runs(closed) if value]


@dataclass(frozen=True)
class Curve:
    """A curve in a box of 100 x 100 units, y down.

    Attributes:
        points: "x,y x,y ..." for an SVG polyline.
        ticks: (y, label) of the vertical axis.
        last: text of the last value.
        end: text of the last x.
    """

    points: str
    ticks: list[tuple[float, str]]
    last: str
    end: str


def loss_curve(losses: NDArray[np.float64]) -> Curve | None:
    """The training loss (U, 2: update, loss), smoothed by bins, on a logarithmic axis; None without two points."""
    losses = np.asarray(losses, np.float64)
    losses = losses[np.isfinite(losses).all(axis=1) & (losses[:, 1] > 0)]
    if len(losses) < 2:
        return None
    bins = np.array_split(losses, min(_MOST_POINTS, len(losses)))
    x = np.array([b[:, 0].mean() for b in bins])
    y = np.log10([np.exp(np.log(b[:, 1]).mean()) for b in bins])
    low, high = float(y.min()), float(y.max())
    low, high = (low - 0.05, high + 0.05) if high - low < 0.1 else (low, high)
    across = 100 * (x - x[0]) / max(1e-9, x[-1] - x[0])
    down = 100 * (high - y) / (high - low)
    ticks = [(100 * (high - t) / (high - low), f"{10**t:.2g}") for t in _log_ticks(low, high)]
    points = " ".join(f"{a:.2f},{b:.2f}" for a, b in zip(across, down, strict=True))
    return Curve(points, ticks, f"{10 ** y[-1]:.3g}", f"{int(losses[-1, 0]) + 1}")


def _log_ticks(low: float, high: float) -> list[float]:
    ticks = [
        math.log10(step * 10.0**decade)
        for decade in range(math.floor(low), math.ceil(high) + 1)
        for step in (1, 2, 5)
        if low - 1e-6 <= math.log10(step * 10.0**decade) <= high + 1e-6
    ]
    return ticks if len(ticks) >= 2 else [low, high]


def _runs(values: NDArray[np.generic]) -> list[tuple[int, int, int]]:
    values = np.asarray(values)
    if len(values) == 0:
        return []
    edges = [0, *(np.flatnonzero(values[1:] != values[:-1]) + 1).tolist(), len(values)]
    return [(a, b, int(values[a])) for a, b in zip(edges[:-1], edges[1:], strict=True)]


def _at(stamps: NDArray[np.float64], frame: int) -> float:
    return float(stamps[min(frame, len(stamps) - 1)] - stamps[0])


def _bar(stamps: NDArray[np.float64], start: int, end: int, style: str, label: str, title: str) -> Bar:
    total = max(1e-9, float(stamps[-1] - stamps[0]))
    left, right = _at(stamps, start), _at(stamps, end)
    return Bar(100 * left / total, 100 * (right - left) / total, style, label, title)
