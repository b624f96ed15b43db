"""Turns report content into one HTML file."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from pad_bringup.report import charts
from pad_bringup.report.content import ReportContent
from pad_bringup.success import summarise
from pad_parse.colours import group_colours
from pad_parse.files import write_atomically
from pad_parse.report.page import base_style
from pad_parse.report.strips import Bar, closed_bars, segment_bars, state_bars

_PATH_POINTS = 60  # points of a line in the 3-D view


def template(name: str) -> jinja2.Template:
    """A template of this folder; what is put into it is escaped, and what is missing is an error."""
    folder = files("pad_bringup.report")
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: (folder / name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def render(content: ReportContent) -> str:
    """The page as text. All text from outside is escaped; media and scripts are inside."""
    folder = files("pad_bringup.report")
    page = template("page.html.j2")
    # Our own files, not input: the only unescaped parts of the page.
    own = {name: Markup((folder / name).read_text(encoding="utf-8")) for name in ("page.css", "scene.js")}
    return page.render(
        content=content,
        style=base_style() + own["page.css"],
        script=own["scene.js"],
        summary=summarise(content.episodes),
        total_seconds=sum(stage.seconds for stage in content.stages),
        timeline=_timeline(content),
        curve=None if content.losses is None else charts.loss_curve(content.losses),
        rejections=_shares(content),
        scene=_scene(content),
        group_colours={g: f"rgb{c}" for g, c in group_colours(content.keypoint_groups).items()},
    )


def write_report(content: ReportContent, path: str | os.PathLike[str]) -> Path:
    """Write the page; an existing file is replaced as a whole. Returns its path."""
    path = Path(path)
    write_atomically(path, render(content))
    return path


def _timeline(content: ReportContent) -> list[tuple[str, list[Bar]]]:
    """Named strips of the time line; empty without a demonstration."""
    stamps = content.stamps
    if stamps is None or len(stamps) < 2:
        return []
    strips = []
    for arm, side in enumerate(("left", "right")):
        strips.append((f"{side} arm", segment_bars(content.segments, stamps, arm)))
        if content.gripper_closed is not None:
            strips.append((f"{side} gripper closed", closed_bars(content.gripper_closed[:, arm], stamps)))
    strips += [(group, state_bars(states, stamps)) for group, states in content.visibility.items()]
    return strips


def _shares(content: ReportContent) -> list[tuple[str, int, float]]:
    """(cause, count, percent of all attempts), most frequent first, accepted ones before them."""
    total = max(1, content.attempted, content.accepted + sum(content.rejections.values()))
    rows = [("accepted", content.accepted)]
    rows += sorted(content.rejections.items(), key=lambda item: -item[1])
    return [(cause, count, 100 * count / total) for cause, count in rows]


def _scene(content: ReportContent) -> dict[str, Any]:
    """Data of the 3-D view, in millimetres to keep it short."""
    lines = []
    for path in content.paths:
        points = np.asarray(path.points, np.float64)
        points = points[np.isfinite(points).all(axis=1)]
        if len(points) < 2:
            continue
        chosen = np.unique(np.linspace(0, len(points) - 1, _PATH_POINTS).round().astype(int))
        lines.append(
            {
                "points": (1000 * points[chosen]).round().astype(int).tolist(),
                "arm": path.arm,
                "demonstrated": path.demonstrated,
            }
        )
    dots = []
    if content.keypoints is not None:
        colours = group_colours(content.keypoint_groups)
        for point, group in zip(content.keypoints, content.keypoint_groups, strict=True):
            if np.isfinite(point).all():
                dots.append({"at": (1000 * point).round().astype(int).tolist(), "colour": f"rgb{colours[group]}"})
    return {"lines": lines, "dots": dots, "table": [400, 650]}
