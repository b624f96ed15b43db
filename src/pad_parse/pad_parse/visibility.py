"""How well the keypoint groups were seen over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pad_parse.demonstration import KeypointState

_RANK = np.array([2, 0, 1], np.uint8)
"""How bad LOST, VISIBLE and FILLED are."""
_BY_RANK = np.array([KeypointState.VISIBLE, KeypointState.FILLED, KeypointState.LOST], np.uint8)


@dataclass(frozen=True)
class Span:
    """Frames [start, end) in one state; `begin_s` and `end_s` are seconds after the first frame."""

    state: KeypointState
    start: int
    end: int
    begin_s: float
    end_s: float

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return self.end_s - self.begin_s


def worst_by_group(states: NDArray[np.uint8], groups: Sequence[str]) -> dict[str, NDArray[np.uint8]]:
    """Group -> (T,) the worst KeypointState of its points: LOST before FILLED before VISIBLE.

    states: (T, N) of KeypointState; groups: N names.
    """
    names = np.array(groups)
    return {group: _BY_RANK[_RANK[states[:, names == group]].max(axis=1)] for group in dict.fromkeys(groups)}


def state_spans(states: NDArray[np.uint8], stamps: NDArray[np.float64]) -> list[Span]:
    """Runs of equal state (T,) over frames at `stamps` (T,) s, in order; a run ends where the next one begins."""
    if len(states) == 0:
        return []
    times = np.asarray(stamps, np.float64) - stamps[0]
    edges = [0, *(np.flatnonzero(states[1:] != states[:-1]) + 1).tolist(), len(states)]
    return [
        Span(KeypointState(int(states[a])), a, b, float(times[a]), float(times[min(b, len(times) - 1)]))
        for a, b in zip(edges, edges[1:])
    ]
