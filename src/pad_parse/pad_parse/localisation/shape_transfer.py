"""Named points carried over to another instance: same kind of shape, other size, proportions, colours and label.

What is assumed: the instance stands upright; its outline is the reference's, stretched in width and, part by part, in
height. A label that is not the reference's says nothing about the yaw, so the points stay on the side of the object
on which the reference has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise, permutations

import numpy as np
from numpy.typing import NDArray

from pad_parse.localisation.upright_shape import UprightShape

_GRID = 48
_MOST_PARTS = 4
_SHORTEST_PART = 3
"""Slices of an outline."""
_STRAIGHT = 0.025
"""Root mean square deviation, as a share of the width, below which an outline is made of straight parts."""
_SLOPE_COST, _PLACE_COST = 0.0005, 0.002
_WIDTH_SPREAD, _HEIGHT_SPREAD, _SLENDERNESS_SPREAD = 0.6, 0.6, 0.9
"""Natural logarithm of the ratio at which likeness falls to 1/e."""
_OUTLINE_SPREAD = 0.12
_CLEAR_LEAD = 0.3
"""Share by which the best candidate must lead the second for full confidence."""
_MOST_CANDIDATES = 6


@dataclass(frozen=True, eq=False)
class Fit:
    """How a reference's shape lies on a candidate's.

    Attributes:
        shape: the candidate.
        heights_before, heights_after: (k,) m; a height of the reference and the same place on the candidate, rising.
        likeness: [0, 1].
    """

    shape: UprightShape
    heights_before: NDArray[np.float64]
    heights_after: NDArray[np.float64]
    likeness: float


def fit_shape(reference: UprightShape, candidate: UprightShape) -> Fit:
    """Stretch the reference's outline over the candidate's."""
    shares, slopes = _parts(reference.heights / reference.top, reference.radii / reference.width)
    others, _ = _parts(
        candidate.heights / candidate.top, candidate.radii / candidate.width, (shares, slopes), len(slopes)
    )
    before, after = shares * reference.top, others * candidate.top
    share = np.linspace(0.0, 1.0, _GRID + 1)
    outline = reference.radius_at(share * reference.top) / reference.width
    there = np.interp(share, shares, others) * candidate.top
    rest = candidate.radius_at(there) / candidate.width - outline
    wide = np.log(candidate.width / reference.width)
    tall = np.log(candidate.top / reference.top)
    likeness = np.exp(
        -((wide / _WIDTH_SPREAD) ** 2)
        - (tall / _HEIGHT_SPREAD) ** 2
        - ((tall - wide) / _SLENDERNESS_SPREAD) ** 2
        - np.mean(rest**2) / _OUTLINE_SPREAD**2
    )
    return Fit(candidate, before, after, float(likeness))


def transfer(points: NDArray[np.float64], reference: UprightShape, fit: Fit) -> NDArray[np.float64]:
    """Points (n, 3) on the reference's object, task frame, at the same places of the candidate."""
    height = np.interp(points[:, 2], fit.heights_before, fit.heights_after)
    width = fit.shape.radius_at(height) / reference.radius_at(points[:, 2])
    level = fit.shape.axis + (points[:, :2] - reference.axis) * width[:, None]
    return np.column_stack([level, height])


def assign(
    references: Mapping[str, UprightShape], candidates: list[UprightShape]
) -> dict[str, tuple[Fit | None, float]]:
    """The candidate of each object, no two the same, that are most alike together; with a confidence in [0, 1].

    The confidence is the likeness, less where another candidate that no object took is nearly as much like it.
    """
    names = list(references)
    fits = {name: [fit_shape(references[name], c) for c in candidates] for name in names}
    # Few of the many things on a table can be any of the objects.
    promising = sorted(range(len(candidates)), key=lambda k: -max(fits[n][k].likeness for n in names))
    slots: list[int | None] = [*promising[:_MOST_CANDIDATES], *[None] * len(names)]
    best, chosen = -1.0, tuple[int | None, ...]((None,) * len(names))
    for trial in set(permutations(slots, len(names))):
        total = sum(fits[n][k].likeness for n, k in zip(names, trial, strict=True) if k is not None)
        if total > best:
            best, chosen = total, trial
    result: dict[str, tuple[Fit | None, float]] = {}
    for name, k in zip(names, chosen, strict=True):
        if k is None:
            result[name] = (None, 0.0)
            continue
        fit = fits[name][k]
        rival = max((fits[name][j].likeness for j in range(len(candidates)) if j not in chosen), default=0.0)
        lead = 1.0 - rival / max(fit.likeness, 1e-9)
        result[name] = (fit, fit.likeness * float(np.clip(lead / _CLEAR_LEAD, 0.0, 1.0)))
    return result


def _parts(
    heights: NDArray[np.float64],
    radii: NDArray[np.float64],
    like: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None,
    count: int | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Cut an outline (k,) into c straight parts by least squares.

    Returns the shares (c + 1,) of the height where they end, and their slopes (c,).

    heights, radii: in units of the height and of the width.
    like: ends and slopes of another outline, of which these are to be the counterparts.
    count: how many parts; if not given, as many as it takes.
    """
    cost, slope = _line_costs(heights, radii)
    size = len(heights)
    for parts in range(1, _MOST_PARTS + 1) if count is None else (count,):
        total = np.full((parts + 1, size + 1), np.inf)
        total[0, 0] = 0.0
        before = np.zeros((parts + 1, size + 1), int)
        edges = np.concatenate([[0.0], (heights[1:] + heights[:-1]) / 2, [1.0]])
        for part in range(parts):
            step = cost
            if like is not None:
                turned = np.minimum((slope - like[1][part]) ** 2, 1.0)
                moved = (edges - like[0][part + 1]) ** 2
                step = cost + size * (_SLOPE_COST * turned + _PLACE_COST * moved[None, :])
            sums = total[part][:, None] + step
            before[part + 1] = np.argmin(sums, axis=0)
            total[part + 1] = np.min(sums, axis=0)
        if count is not None or total[parts, size] < size * _STRAIGHT**2 or parts == _MOST_PARTS:
            break
    ends = [size]
    for part in range(parts, 0, -1):
        ends.append(int(before[part, ends[-1]]))
    ends = ends[::-1]
    return edges[ends], np.array([slope[a, b] for a, b in pairwise(ends)])


def _line_costs(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Squared residual and slope (k + 1, k + 1) of the line through samples a to b - 1; too short: infinity."""
    n, sx, sy, sxx, sxy, syy = (np.concatenate([[0.0], np.cumsum(v)]) for v in (x * 0 + 1, x, y, x * x, x * y, y * y))

    def between(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        return sums[None, :] - sums[:, None]

    number = np.maximum(between(n), 1.0)
    spread = np.maximum(between(sxx) - between(sx) ** 2 / number, 1e-12)
    together = between(sxy) - between(sx) * between(sy) / number
    rest = between(syy) - between(sy) ** 2 / number - together**2 / spread
    return np.where(between(n) >= _SHORTEST_PART, np.maximum(rest, 0.0), np.inf), together / spread
