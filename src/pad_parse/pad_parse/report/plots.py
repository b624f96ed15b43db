"""Curves over the time of a demonstration, as data for inline SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_MOST_POINTS = 900


@dataclass(frozen=True)
class Series:
    """One curve: its name, its colour as CSS, and its values (T,), nan where there is none."""

    name: str
    colour: str
    values: NDArray[np.float64]


@dataclass(frozen=True)
class Event:
    """Something at a moment (s after the first frame), with a CSS colour."""

    at: float
    label: str
    colour: str


@dataclass(frozen=True)
class Plot:
    """Curves in a box of 100 x 100 units, y down.

    Attributes:
        title, unit: for people.
        curves: (name, colour, [points of each unbroken piece as "x,y x,y ..."]).
        ticks: (y, label) of the vertical axis.
        events: (x, label, colour).
        end: s at the right border.
    """

    title: str
    unit: str
    curves: list[tuple[str, str, list[str]]]
    ticks: list[tuple[float, str]]
    events: list[tuple[float, str, str]]
    end: float


def plot(
    title: str,
    unit: str,
    stamps: NDArray[np.float64],
    series: Sequence[Series],
    events: Sequence[Event] = (),
    highest: float = math.inf,
) -> Plot | None:
    """Curves over frames at `stamps` (T,) s, from zero upwards; None if no series has a value.

    highest: values above it are drawn at the upper border, so that a few wild ones do not flatten the rest.
    """
    finite = [s.values[np.isfinite(s.values)] for s in series]
    if not any(len(values) for values in finite):
        return None
    top = min(highest, max(float(values.max()) for values in finite if len(values)))
    step = _step(max(top, 1e-6))
    top = step * math.ceil(max(top, 1e-6) / step - 1e-9)
    times = np.asarray(stamps, np.float64) - stamps[0]
    across = 100 * times / max(1e-9, float(times[-1]))
    every = max(1, -(-len(times) // _MOST_POINTS))
    curves = []
    for one in series:
        down = 100 * (1 - np.minimum(one.values, top) / top)
        curves.append((one.name, one.colour, _pieces(across[::every], down[::every])))
    ticks = [(100 * (1 - i * step / top), f"{i * step:.6g}") for i in range(round(top / step) + 1)]
    moments = [(100 * event.at / max(1e-9, float(times[-1])), event.label, event.colour) for event in events]
    return Plot(title, unit, curves, ticks, moments, float(times[-1]))


def _pieces(across: NDArray[np.float64], down: NDArray[np.float64]) -> list[str]:
    pieces: list[list[str]] = [[]]
    for x, y in zip(across, down, strict=True):
        if math.isfinite(y):
            pieces[-1].append(f"{x:.2f},{y:.2f}")
        elif pieces[-1]:
            pieces.append([])
    # A lone value would not be drawn: a line of no length with round ends is a dot.
    return [" ".join(piece if len(piece) > 1 else piece * 2) for piece in pieces if piece]


def _step(top: float) -> float:
    """A round step that gives three to six ticks."""
    raw = top / 4
    scale = 10.0 ** math.floor(math.log10(raw))
    return scale * next(step for step in (1, 2, 2.5, 5, 10) if step * scale >= raw * 0.999)
