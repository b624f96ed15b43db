"""One self-contained HTML file about one demonstration."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import jinja2
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from pad_parse.colours import as_hex, group_colours
from pad_parse.demonstration import Demonstration, KeypointState
from pad_parse.errors import ReportError
from pad_parse.files import write_atomically
from pad_parse.overlay import write_overlay
from pad_parse.recording import Recording
from pad_parse.report.holes import hole_map, scale_gradient, top_share
from pad_parse.report.media import Media
from pad_parse.report.plots import Event, Plot, Series, plot
from pad_parse.report.statistics import (
    RecordingStatistics,
    StatisticsCollector,
    collect_statistics,
    posed_camera,
)
from pad_parse.report.strips import Bar, closed_bars, segment_bars, state_bars
from pad_parse.report.verdict import Verdict, judge, nan_median, shown
from pad_parse.visibility import Span, state_spans, worst_by_group

_SIDES = ("left", "right")
_ARM_COLOURS = ("var(--left)", "var(--right)")
_STATES = (KeypointState.VISIBLE, KeypointState.FILLED, KeypointState.LOST)
_OVERLAY_RATE = 15.0
_MOST_DRAWN = 900
_MOST_SPANS = 24


def write_parse_report(
    recording: Recording,
    demonstration: Demonstration,
    path: str | os.PathLike[str],
    *,
    created: str = "",
    progress: Callable[[str, float], None] | None = None,
) -> Verdict:
    """Read `recording` once more, check `demonstration` against it, and write the report.

    Args:
        path: the HTML file; an existing one is replaced as a whole.
        created: when, for people.

    Returns the verdict.

    Raises:
        ReportError: the file cannot be written.
        RecordingError: the recording cannot be read again.
    """
    camera = posed_camera(demonstration)
    video = None
    if camera is None:
        statistics = collect_statistics(recording, demonstration)
    else:
        collector = StatisticsCollector(demonstration, camera)
        with tempfile.TemporaryDirectory(prefix="pad-report-") as folder:
            drawn = write_overlay(
                *(recording, demonstration, Path(folder) / "overlay.webm"),
                every=frames_per_drawn(demonstration.stamps),
                look=collector.add,
                progress=progress,
            )
            video = Media.load(drawn)
        statistics = collector.result(recording.report)
    verdict = judge(demonstration, statistics)
    text = render(demonstration, statistics, verdict, overlay=video, name=recording.path.name, created=created)
    _write(Path(path), text)
    return verdict


def frames_per_drawn(stamps: NDArray[np.float64]) -> int:
    """Every which frame (T stamps, s) the video of the page shows: 15 a second, and fewer in a long recording, so that
    the page stays below some ten megabytes.
    """
    rate = 1 / float(np.median(np.diff(stamps)))
    return max(1, round(rate / _OVERLAY_RATE), -(-len(stamps) // _MOST_DRAWN))


def render(
    demonstration: Demonstration,
    statistics: RecordingStatistics,
    verdict: Verdict,
    *,
    overlay: Media | None = None,
    name: str = "",
    created: str = "",
) -> str:
    """The page as text. All text from outside is escaped; media are inside."""
    folder = files("pad_parse.report")
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda file: (folder / file).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Our own file, not input.
    style = base_style() + Markup((folder / "parse_report.css").read_text(encoding="utf-8"))
    spans = _spans(demonstration)
    reference = demonstration.reference
    holes = None
    if statistics.without_depth is not None:
        holes = hole_map(statistics.without_depth, None if reference is None else reference.rgb)
    return environment.get_template("parse_report.html.j2").render(
        style=style,
        name=name or "demonstration",
        created=created,
        demonstration=demonstration,
        verdict=verdict,
        shown=shown,
        figures=_figures(demonstration, statistics),
        notes=list(dict.fromkeys([*demonstration.source.splitlines()[1:], *statistics.report.problems()])),
        overlay=overlay,
        group_colours={g: as_hex(c) for g, c in group_colours(demonstration.keypoint_groups).items()},
        holes=holes,
        gradient=Markup(scale_gradient()),
        hole_top="" if statistics.without_depth is None else shown(top_share(statistics.without_depth), "%"),
        hole_words=_hole_words(statistics),
        timeline=_timeline(demonstration),
        spans=spans[:_MOST_SPANS],
        spans_left_out=max(0, len(spans) - _MOST_SPANS),
        points=_points(demonstration, statistics),
        plots=_plots(demonstration, statistics),
        measures=demonstration.measures,
    )


def base_style() -> Markup:
    """The style that all reports share."""
    return Markup((files("pad_parse.report") / "base.css").read_text(encoding="utf-8"))


def _write(path: Path, text: str) -> None:
    try:
        write_atomically(path, text)
    except OSError as error:
        raise ReportError(f"report {path} cannot be written: {error.strerror}") from error


def _figures(demonstration: Demonstration, statistics: RecordingStatistics) -> list[tuple[str, str]]:
    states = demonstration.keypoint_states
    rate = 1 / float(np.median(np.diff(demonstration.stamps)))
    found = [
        (f"{demonstration.duration:.1f} s", f"{demonstration.frame_count} frames at {rate:.0f} frames/s"),
        (shown(float((states == KeypointState.VISIBLE).mean()), "%"), "of the points seen"),
        (shown(float((states == KeypointState.FILLED).mean()), "%"), "filled in from their object"),
        (shown(float((states == KeypointState.LOST).mean()), "%"), "lost"),
    ]
    if statistics.reprojection is not None and np.isfinite(statistics.reprojection).any():
        found.append((shown(nan_median(statistics.reprojection), "px"), "median reprojection residual"))
    rigidity = np.concatenate([np.zeros(0), *statistics.rigidity.values()])
    if np.isfinite(rigidity).any():
        found.append((f"{1000 * nan_median(rigidity):.1f} mm", "median rigidity residual"))
    return found


def _hole_words(statistics: RecordingStatistics) -> str:
    holes = statistics.without_depth
    if holes is None:
        return ""
    return (
        f"{shown(float(holes.mean()), '%')} of all depths are missing; {shown(float((holes > 0.9).mean()), '%')} of "
        "the pixels have practically never depth."
    )


def _timeline(demonstration: Demonstration) -> list[tuple[str, list[Bar]]]:
    stamps = demonstration.stamps
    rows = []
    for arm, side in enumerate(_SIDES):
        if demonstration.segments:
            rows.append((f"{side} arm", segment_bars(demonstration.segments, stamps, arm)))
        rows.append((f"{side} gripper closed", closed_bars(demonstration.gripper_closed[:, arm], stamps)))
        rows.append((f"{side} gripper pose", state_bars(demonstration.gripper_states[:, arm], stamps)))
    worst = worst_by_group(demonstration.keypoint_states, demonstration.keypoint_groups)
    return rows + [(group, state_bars(states, stamps)) for group, states in worst.items()]


def _spans(demonstration: Demonstration) -> list[tuple[str, Span]]:
    """What was not seen when: lost spans first, then the longer ones."""
    stamps = demonstration.stamps
    rows = list(worst_by_group(demonstration.keypoint_states, demonstration.keypoint_groups).items())
    rows += [(f"{side} gripper", demonstration.gripper_states[:, arm]) for arm, side in enumerate(_SIDES)]
    found = [
        (name, span)
        for name, states in rows
        for span in state_spans(states, stamps)
        if span.state != KeypointState.VISIBLE
    ]
    return sorted(found, key=lambda item: (item[1].state != KeypointState.LOST, -item[1].seconds))


def _points(demonstration: Demonstration, statistics: RecordingStatistics) -> list[tuple[str, list[str]]]:
    """Name of each keypoint, and what its row says: seen, filled in, lost, then the medians that were measured."""
    states = demonstration.keypoint_states
    measured = (
        (statistics.reprojection, 1.0, "px"),
        (statistics.surface, 1000.0, "mm"),
        (demonstration.keypoint_uncertainty, 1000.0, "mm"),
    )
    rows = []
    for n, name in enumerate(demonstration.keypoint_names):
        cells = [shown(float((states[:, n] == state).mean()), "%") for state in _STATES]
        for values, scale, unit in measured:
            value = np.nan if values is None else scale * nan_median(values[:, n])
            cells.append(shown(value, unit) if np.isfinite(value) else "")
        rows.append((name, cells))
    return rows


def _plots(demonstration: Demonstration, statistics: RecordingStatistics) -> list[Plot]:
    stamps = demonstration.stamps
    known = demonstration.gripper_states != KeypointState.LOST
    openings = 1000 * np.where(known, demonstration.gripper_openings, np.nan)
    between = np.linalg.norm(
        demonstration.gripper_poses[:, 0, :3, 3] - demonstration.gripper_poses[:, 1, :3, 3], axis=1
    )
    colours = [as_hex(c) for c in group_colours([*demonstration.object_poses]).values()]
    made = [
        plot(
            *("Gripper opening", "mm", stamps),
            [Series(side, _ARM_COLOURS[arm], openings[:, arm]) for arm, side in enumerate(_SIDES)],
            _events(demonstration),
        ),
        plot(
            *("Distance between the hands", "mm", stamps),
            [Series("gripper to gripper", "var(--ink)", 1000 * between)],
        ),
    ]
    if statistics.reprojection is not None:
        made.append(
            plot(
                *("Reprojection residual", "px, per object", stamps),
                _per_object(demonstration, statistics.reprojection, colours),
                highest=10.0,
            )
        )
    if statistics.surface is not None:
        made.append(
            plot(
                *("Distance from the measured surface", "mm, per object", stamps),
                _per_object(demonstration, 1000 * statistics.surface, colours),
                highest=100.0,
            )
        )
    made.append(
        plot(
            *("Rigidity residual", "mm", stamps),
            [
                Series(name, colour, 1000 * values)
                for (name, values), colour in zip(statistics.rigidity.items(), colours)
            ],
            highest=60.0,
        )
    )
    uncertainty = 1000 * np.asarray(demonstration.keypoint_uncertainty)
    groups = np.array(demonstration.keypoint_groups)
    series = [
        Series(group, as_hex(colour), _row_medians(uncertainty[:, groups == group]))
        for group, colour in group_colours(demonstration.keypoint_groups).items()
    ]
    made.append(plot("Uncertainty of the points", "mm, per group", stamps, series, highest=100.0))
    hands = 1000 * np.asarray(demonstration.gripper_uncertainty)
    series = [Series(side, _ARM_COLOURS[arm], hands[:, arm]) for arm, side in enumerate(_SIDES)]
    made.append(plot("Uncertainty of the grippers", "mm", stamps, series, highest=200.0))
    return [one for one in made if one is not None]


def _per_object(demonstration: Demonstration, values: NDArray[np.float64], colours: list[str]) -> list[Series]:
    owners = np.array(demonstration.keypoint_objects)
    return [
        Series(name, colour, _row_medians(values[:, owners == name]))
        for name, colour in zip(demonstration.object_poses, colours)
    ]


def _row_medians(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(T,) median of the finite values of each row of (T, n); nan without one."""
    return np.array([nan_median(row) for row in values])


def _events(demonstration: Demonstration) -> list[Event]:
    times = demonstration.stamps - demonstration.stamps[0]
    events = []
    for arm, side in enumerate(_SIDES):
        changes = np.flatnonzero(np.diff(demonstration.gripper_closed[:, arm].astype(np.int8))) + 1
        for t in changes:
            word = "grasps" if demonstration.gripper_closed[t, arm] else "releases"
            events.append(Event(float(times[t]), f"{side} {word} {times[t]:.2f} s", _ARM_COLOURS[arm]))
    return events
