"""The timeline that a person has set in a task file, and the one in frames of a demonstration."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pad_parse.demonstration import Segment, SegmentKind
from pad_parse.task import SegmentSpec

_ARMS = ("left", "right")


def to_segments(specs: Sequence[SegmentSpec], stamps: NDArray[np.float64]) -> list[Segment]:
    """Segments set by hand, in frames of a demonstration.

    Args:
        specs: seconds after the first frame.
        stamps: (T,) s of the demonstration's frames.

    Returns the segments sorted by arm, then time. Borders go to the nearest frame; gaps between segments stay gaps. A
    segment that lies after the recording or within one frame period is left out.
    """
    times = _borders(stamps)
    found = []
    for spec in sorted(specs, key=lambda s: (_ARMS.index(s.arm), s.start)):
        start, end = (int(np.argmin(np.abs(times - border))) for border in (spec.start, spec.end))
        if start < end:
            kind = SegmentKind[spec.kind.upper()]
            evidence = "set by hand"
            arm = _ARMS.index(spec.arm)
            found.append(Segment(arm, kind, start, end, spec.stage, spec.object, spec.reference, 1.0, evidence))
    return found


def to_specs(segments: Sequence[Segment], stamps: NDArray[np.float64]) -> list[SegmentSpec]:
    """Segments of a demonstration with frames at `stamps` (T,) s, as a task file holds them: in seconds after the
    first frame. The inverse of `to_segments`.
    """
    times = _borders(stamps)
    return [
        SegmentSpec(
            arm="right" if segment.arm else "left",
            kind=segment.kind.name.lower(),
            start=round(float(times[segment.start]), 4),
            end=round(float(times[segment.end]), 4),
            stage=segment.stage,
            object=segment.object,
            reference=segment.reference,
        )
        for segment in segments
    ]


def _borders(stamps: NDArray[np.float64]) -> NDArray[np.float64]:
    """(T + 1,) s after the first frame: where each frame begins, and where the last one ends."""
    times = np.asarray(stamps, np.float64) - stamps[0]
    return np.append(times, times[-1] + np.median(np.diff(times)))
