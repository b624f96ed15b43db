"""The training loss as data for inline SVG."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_MOST_POINTS = 400


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
