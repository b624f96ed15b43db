"""What a dataset holds, in figures: how much, how long, what was rejected and why, how evenly it fills the regions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

import numpy as np

from pad_augment.dataset import Dataset
from pad_augment.scene_plan import Disturbance
from pad_bringup.dataset_view_maps import MapFrame, counts_in_cells, failure_map, legend, placement_map

_PER_CELL = 4
"""Episodes per cell, at least, of the grid by which coverage is counted."""
_FINEST = 10


@dataclass(frozen=True)
class Statistics:
    """Figures of a dataset.

    durations: (min, median, max) s of the episodes. rejections: scenes by cause, most frequent first. shares: share of
    the episodes by variant, 0 to 1, of the variants that this dataset's version tells apart. coverage: per object the
    share of the cells of its region, `cells` by `cells`, in which it stands in some episode.
    """

    task: str
    made_with: str
    rate: float
    episodes: int
    steps: int
    durations: tuple[float, float, float]
    attempted: int
    rejections: Mapping[str, int]
    shares: Mapping[str, float]
    coverage: Mapping[str, float]
    cells: int

    def lines(self) -> list[str]:
        """The same in words, for a terminal."""
        low, middle, high = self.durations
        accepted = f"{100 * self.episodes / max(1, self.attempted):.0f} % of {self.attempted} scenes accepted"
        causes = ", ".join(f"{count} {cause}" for cause, count in self.rejections.items())
        lines = [
            f"{self.task}: {self.episodes} episodes, {self.steps} steps at {self.rate:g} Hz, "
            f"{low:.1f} / {middle:.1f} / {high:.1f} s (shortest / median / longest)",
            f"{accepted}; rejected: {causes}" if causes else accepted,
        ]
        if self.shares:
            lines.append(", ".join(f"{100 * share:.0f} % {name}" for name, share in self.shares.items()))
        covered = ", ".join(f"{name} {100 * share:.0f} %" for name, share in self.coverage.items())
        return [*lines, f"of {self.cells} x {self.cells} cells of its region filled: {covered}"]


def statistics(dataset: Dataset) -> Statistics:
    """The figures of `dataset`."""
    said = dataset.attributes
    rate = float(said["rate_hz"])
    lengths = np.diff(dataset.episode_ends, prepend=0)
    durations = (lengths - 1) / rate
    shares = {}
    disturbances, mirrored = dataset.rows("disturbances"), dataset.rows("mirrored")
    if disturbances is not None:
        shares["begin with pushed arms and recover"] = float((disturbances == Disturbance.ARMS_PUSHED).mean())
        shares["with an object moved meanwhile"] = float((disturbances == Disturbance.OBJECT_MOVED).mean())
    if mirrored is not None:
        shares["with the hands changed"] = float(mirrored.mean())
    cells = int(np.clip(np.sqrt(len(dataset) / _PER_CELL), 1, _FINEST))
    coverage = {}
    for index, (name, spec) in enumerate(dataset.task.objects.items()):
        frame = MapFrame(spec.region)
        places = frame.place(dataset.object_poses[:, index, :2, 3])
        coverage[name] = float((counts_in_cells(places, frame.size, cells) > 0).mean())
    by = [f"seed {said['seed']}", said.get("planner"), said.get("robot"), f"version {said.get('code_version', '?')}"]
    obstacles = json.loads(said.get("config", "{}")).get("obstacles", 0)
    return Statistics(
        task=dataset.task.name,
        made_with=", ".join(str(part) for part in [*by, f"{obstacles} obstacles" if obstacles else None] if part),
        rate=rate,
        episodes=len(dataset),
        steps=int(lengths.sum()),
        durations=(float(durations.min()), float(np.median(durations)), float(durations.max())),
        attempted=int(said["attempted"]),
        rejections={cause: said["rejections"][cause] for cause in legend(said["rejections"])},
        shares=shares,
        coverage=coverage,
        cells=cells,
    )


def statistics_html(figures: Statistics) -> str:
    """Tables of the figures. Everything that comes from the dataset is escaped."""
    low, middle, high = figures.durations
    rejected = figures.attempted - figures.episodes
    rows = [
        ("task", figures.task),
        ("made with", figures.made_with),
        ("episodes", f"{figures.episodes}"),
        ("steps", f"{figures.steps} at {figures.rate:g} Hz"),
        ("shortest episode", f"{low:.1f} s"),
        ("median", f"{middle:.1f} s"),
        ("longest", f"{high:.1f} s"),
        *((name, f"{100 * share:.1f} %") for name, share in figures.shares.items()),
        *((f"region filled, {name}", f"{100 * share:.0f} %") for name, share in figures.coverage.items()),
        ("scenes attempted", f"{figures.attempted}"),
        ("accepted", f"{100 * figures.episodes / max(1, figures.attempted):.1f} %"),
        ("rejected", f"{rejected}"),
    ]
    most = max(figures.rejections.values(), default=1)
    bars = "".join(
        f"<tr><td>{escape(cause)}</td><td style='text-align:right'>{count}</td><td style='width:45%'>"
        f"<div style='background:{colour};height:0.7em;width:{100 * count / most:.1f}%'></div></td></tr>"
        for (cause, count), colour in zip(figures.rejections.items(), legend(figures.rejections).values())
    )
    table = "".join(
        f"<tr><td>{escape(name)}</td><td style='text-align:right'>{escape(value)}</td></tr>" for name, value in rows
    )
    style = "style='width:100%;font-size:0.85em;border-collapse:collapse'"
    return f"<table {style} class='pad-statistics'>{table}</table><table {style}>{bars}</table>"


def coverage_html(dataset: Dataset) -> str:
    """Per object, where it stands in the episodes, seen from above."""
    return "".join(
        placement_map(name, spec.region, dataset.object_poses[:, index])
        for index, (name, spec) in enumerate(dataset.task.objects.items())
    )


def failures_html(dataset: Dataset) -> str:
    """Per object, where it stood in the scenes that were rejected, and why; or why there is nothing to be seen."""
    rejections = dataset.attributes["rejections"]
    if not rejections:
        return f"<p>None of {dataset.attributes['attempted']} scenes was rejected.</p>"
    if not len(dataset.rejected_poses):
        return f"<p>{sum(rejections.values())} scenes were rejected; this dataset's version did not keep where.</p>"
    return "".join(
        failure_map(
            name,
            spec.region,
            dataset.object_poses[:, index],
            dataset.rejected_poses[:, index],
            dataset.rejected_causes,
        )
        for index, (name, spec) in enumerate(dataset.task.objects.items())
    )
