"""Point trackers by name."""

from __future__ import annotations

import logging
from pathlib import Path

from pad_parse.errors import TrackingError
from pad_parse.tracking import cotracker, tapir
from pad_parse.tracking.lucas_kanade import LucasKanadeTracker
from pad_parse.tracking.point_tracker import PointTracker

POINT_TRACKERS = {
    "lucas_kanade": "built in",
    "cotracker": f"{cotracker.INSTALL}; weights: {cotracker.DOWNLOAD}",
    "tapir": f"{tapir.INSTALL}; weights: {tapir.DOWNLOAD}",
}
"""Name -> what it needs."""


def make_point_tracker(name: str, *, checkpoint: Path | None = None, device: str = "cpu") -> PointTracker:
    """A point tracker.

    Args:
        name: one of `POINT_TRACKERS`.
        checkpoint: local file with the weights; needed by the learned ones.
        device: torch device of the learned ones, such as cpu or cuda.

    Raises:
        TrackingError: no such tracker (the message lists them and what they need), or it is not installed.
    """
    if name == "lucas_kanade":
        return LucasKanadeTracker()
    if name not in POINT_TRACKERS:
        known = "; ".join(f"{known} ({need})" for known, need in POINT_TRACKERS.items())
        raise TrackingError(f"there is no point tracker {name!r}; there are: {known}")
    if checkpoint is None:
        raise TrackingError(f"tracker {name} needs a file with its weights (checkpoint); {POINT_TRACKERS[name]}")
    if name == "cotracker":
        logging.getLogger(__name__).warning(cotracker.LICENCE)
        return cotracker.CoTracker.load(checkpoint, device=device)
    return tapir.Tapir.load(checkpoint, device=device)
