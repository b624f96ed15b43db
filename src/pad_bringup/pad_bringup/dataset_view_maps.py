"""Maps of a table from above, as SVG: where objects stood in scenes that were accepted, and in those that were not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from html import escape

import numpy as np
from numpy.typing import NDArray

from pad_parse.colours import PALETTE, as_hex
from pad_parse.task import Region

_MOST_MARKS = 1500
_CELLS = 6
_WIDE = 100.0
"""Units of the longer side of a region; all else is in proportion."""
_MARGIN = 16.0
_ACCEPTED, _PALE = "#0072b2", "#9a9a9a"
_REJECTED = [as_hex(colour) for colour in (PALETTE[5], PALETTE[0], PALETTE[3], PALETTE[2], PALETTE[1], PALETTE[4])]


def legend(counts: Mapping[str, int]) -> dict[str, str]:
    """A colour `#rrggbb` per cause, the most frequent first; beyond the palette they share the last."""
    causes = sorted(counts, key=lambda cause: (-counts[cause], cause))
    return {cause: _REJECTED[min(i, len(_REJECTED) - 1)] for i, cause in enumerate(causes)}


def placement_map(name: str, region: Region, poses: NDArray[np.float64]) -> str:
    """Where the object `name` stands in the episodes: a dot at each of the poses (K, 4, 4), a tick along its x axis."""
    frame = MapFrame(region)
    marks = frame.marks(poses, _ACCEPTED)
    return _figure(frame, f"{name}: {len(poses)} places{_thinned(len(poses))}", marks, {})


def failure_map(
    name: str,
    region: Region,
    accepted: NDArray[np.float64],
    rejected: NDArray[np.float64],
    causes: NDArray[np.str_],
) -> str:
    """Where the object stood in rejected scenes, coloured by cause, over the share of rejected scenes cell by cell.

    accepted: (K, 4, 4); rejected: (R, 4, 4); causes: (R,).
    """
    frame = MapFrame(region)
    counts = Counter(causes.tolist())
    colours = legend(counts)
    parts = [frame.shares(accepted[:, :2, 3], rejected[:, :2, 3]), frame.marks(accepted, _PALE, tick=False)]
    parts += [frame.marks(rejected[causes == cause], colour) for cause, colour in colours.items()]
    named = {f"{cause} ({counts[cause]})": colour for cause, colour in colours.items()}
    title = f"{name}: {len(rejected)} rejected, {len(accepted)} accepted{_thinned(max(len(rejected), len(accepted)))}"
    return _figure(frame, title, "".join(parts), {**named, "accepted": _PALE, "darker: more rejected": "#f3c9a8"})


class MapFrame:
    """From the task frame to the picture: y to the right and x down, as one sees the table who faces the robot."""

    def __init__(self, region: Region) -> None:
        self._low = np.array([region.x[0], region.y[0]])
        self.region = region
        size = np.array([region.x[1], region.y[1]]) - self._low
        self._scale = _WIDE / max(float(size.max()), 1e-3)
        self.size = np.maximum(size * self._scale, 4.0)  # down, right; a region that is a line can still be seen
        self._offset = (self.size - size * self._scale) / 2

    def place(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """(K, 2) x, y in m -> (K, 2) down, right in units of the picture."""
        return (points - self._low) * self._scale + self._offset

    def marks(self, poses: NDArray[np.float64], colour: str, *, tick: bool = True) -> str:
        """A dot per pose (K, 4, 4) and, with `tick`, a line along its x axis; no more than can be told apart."""
        poses = poses[_evenly(len(poses))]
        radius = 0.9 if len(poses) > 300 else 1.4
        at = self.place(poses[:, :2, 3])
        to = at + 4 * radius * poses[:, :2, 0]
        dots = "".join(f"<circle cx='{y:.1f}' cy='{x:.1f}' r='{radius}'/>" for x, y in at)
        path = "".join(f"M{a[1]:.1f} {a[0]:.1f}L{b[1]:.1f} {b[0]:.1f}" for a, b in zip(at, to)) if tick else ""
        return (
            f"<g fill='{colour}' fill-opacity='0.8'>{dots}</g><path d='{path}' stroke='{colour}' stroke-width='0.4'/>"
        )

    def shares(self, accepted: NDArray[np.float64], rejected: NDArray[np.float64]) -> str:
        """Cells, the darker the larger the share of the scenes (K, 2) in them that were rejected."""
        good, bad = (counts_in_cells(self.place(points), self.size, _CELLS) for points in (accepted, rejected))
        tall, wide = self.size / _CELLS
        return "".join(
            f"<rect x='{wide * j:.2f}' y='{tall * i:.2f}' width='{wide:.2f}' height='{tall:.2f}' fill='#d55e00' "
            f"fill-opacity='{0.45 * bad[i, j] / (good[i, j] + bad[i, j]):.2f}'/>"
            for i, j in np.argwhere(bad > 0)
        )


def counts_in_cells(points: NDArray[np.float64], size: NDArray[np.float64], cells: int) -> NDArray[np.intp]:
    """How many of the points (K, 2) lie in each cell, (cells, cells), of the rectangle from 0 to `size` (2,), positive.

    Points outside count to the nearest cell.
    """
    at = np.clip((points / size * cells).astype(np.intp), 0, cells - 1)
    counts = np.zeros((cells, cells), np.intp)
    np.add.at(counts, (at[:, 0], at[:, 1]), 1)
    return counts


def _evenly(count: int) -> NDArray[np.intp]:
    """Which of `count` to draw."""
    return np.unique(np.linspace(0, count - 1, min(count, _MOST_MARKS)).astype(np.intp))


def _thinned(count: int) -> str:
    return f" (at most {_MOST_MARKS} of a kind drawn)" if count > _MOST_MARKS else ""


def _figure(frame: MapFrame, title: str, inside: str, colours: dict[str, str]) -> str:
    tall, wide = frame.size
    (x0, x1), (y0, y1) = frame.region.x, frame.region.y
    box = f"{-_MARGIN} {-4} {wide + _MARGIN + 6} {tall + 4 + _MARGIN}"
    texts = [
        (0, tall + 5, "middle", f"{100 * y0:.0f}"),
        (wide, tall + 5, "middle", f"{100 * y1:.0f}"),
        (wide / 2, tall + 10, "middle", "y, cm →"),
        (-2, 3, "end", f"{100 * x0:.0f}"),
        (-2, tall, "end", f"{100 * x1:.0f}"),
        (-2, tall / 2 + 1, "end", "x, cm ↓"),
    ]
    labels = "".join(f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='{side}'>{text}</text>" for x, y, side, text in texts)
    keys = "".join(
        f"<span style='white-space:nowrap;margin-right:0.8em'><span style='color:{colour}'>&#9679;</span> "
        f"{escape(text)}</span> "
        for text, colour in colours.items()
    )
    return (
        f"<figure class='pad-map' style='margin:0 0 0.8em 0'><figcaption style='font-size:0.85em'>{escape(title)}"
        f"</figcaption><svg viewBox='{box}' style='width:100%;max-height:340px;background:#fff' role='img' "
        f"aria-label='{escape(title, quote=True)}' font-size='4' fill='#333'>"
        f"<rect x='0' y='0' width='{wide:.1f}' height='{tall:.1f}' fill='none' stroke='#999' stroke-width='0.4'/>"
        f"{inside}{labels}</svg><div style='font-size:0.75em'>{keys}</div></figure>"
    )
