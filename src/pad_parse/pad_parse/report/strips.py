"""Horizontal strips over the time of a demonstration, as data for the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pad_parse.demonstration import KeypointState, Segment, SegmentKind
from pad_parse.visibility import state_spans

KIND_CLASS = {
    SegmentKind.MOTION: "motion",
    SegmentKind.IDLE: "idle",
    SegmentKind.ASYNC_SKILL: "async",
    SegmentKind.SYNC_SKILL: "sync",
}
_STATE_CLASS = {KeypointState.LOST: "lost", KeypointState.VISIBLE: "seen", KeypointState.FILLED: "filled"}


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


def segment_bars(segments: Sequence[Segment], stamps: NDArray[np.float64], arm: int) -> list[Bar]:
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
        _bar(stamps, span.start, span.end, _STATE_CLASS[span.state], "", _STATE_CLASS[span.state])
        for span in state_spans(states, stamps)
    ]


def closed_bars(closed: NDArray[np.bool_], stamps: NDArray[np.float64]) -> list[Bar]:
    """The times (T,) in which a gripper is closed, as bars."""
    return [_bar(stamps, start, end, "closed", "", "closed") for start, end in true_runs(closed)]


def true_runs(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """[start, end) of every run of True in (T,) bool."""
    edges = np.flatnonzero(np.diff(np.r_[False, np.asarray(mask, bool), False].astype(np.int8)))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def _at(stamps: NDArray[np.float64], frame: int) -> float:
    return float(stamps[min(frame, len(stamps) - 1)] - stamps[0])


def _bar(stamps: NDArray[np.float64], start: int, end: int, style: str, label: str, title: str) -> Bar:
    total = max(1e-9, float(stamps[-1] - stamps[0]))
    left, right = _at(stamps, start), _at(stamps, end)
    return Bar(100 * left / total, 100 * (right - left) / total, style, label, title)
