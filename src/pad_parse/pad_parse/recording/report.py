"""What reading a recording met: frames, drops, gaps, disorder, what had to be assumed."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

_LONGEST_GAPS = 20
_WINDOW = 61  # intervals that the nominal period is the median of


@dataclass(frozen=True)
class Gap:
    """A stretch without frames: it begins at stamp `start` (s) and lasts `seconds`."""

    start: float
    seconds: float


@dataclass(frozen=True)
class RecordingReport:
    """What one pass over a recording's frames met. All times in seconds.

    Attributes:
        frames: frames that were given out.
        complete: whether the pass ran to the end of the recording.
        period: median interval between frames; nan with fewer than 2 frames.
        dropped: frames that are missing, judged by the period.
        gaps: the longest stretches of more than 1.5 periods without a frame, in order of time; at most 20.
        duplicates: images with the stamp of the image before them in their stream; left out.
        out_of_order: images older than the image before them in their stream; left out.
        unpaired_colour: colour images without a depth image within the tolerance; left out.
        unpaired_depth: depth images that belong to no colour image; left out.
        damaged: images that could not be decoded; left out.
        pairing_tolerance: the tolerance that was used; nan for a recording without depth.
        worst_pairing: largest distance between the stamps of a colour image and its depth image.
        assumptions: what had to be assumed about the camera, one sentence each.
        recovered: what had to be done to read damaged files, one sentence each.
    """

    frames: int = 0
    complete: bool = False
    period: float = math.nan
    dropped: int = 0
    gaps: tuple[Gap, ...] = ()
    duplicates: int = 0
    out_of_order: int = 0
    unpaired_colour: int = 0
    unpaired_depth: int = 0
    damaged: int = 0
    pairing_tolerance: float = math.nan
    worst_pairing: float = 0.0
    assumptions: tuple[str, ...] = ()
    recovered: tuple[str, ...] = ()

    def problems(self) -> list[str]:
        """Sentences for people about everything that was not as it should be; empty if nothing was."""
        tolerance = f"{self.pairing_tolerance * 1000:.0f} ms"
        counted = [
            (self.dropped, f"{self.dropped} frames are missing{self._where()}."),
            (self.duplicates, f"{self.duplicates} images repeat the stamp before them and were left out."),
            (self.out_of_order, f"{self.out_of_order} images are older than the image before them and were left out."),
            (self.unpaired_colour, f"{self.unpaired_colour} colour images have no depth image within {tolerance}."),
            (self.unpaired_depth, f"{self.unpaired_depth} depth images have no colour image within {tolerance}."),
            (self.damaged, f"{self.damaged} images could not be decoded and were left out."),
        ]
        return [*self.recovered, *(text for count, text in counted if count)]

    def summary(self) -> str:
        """One line for people: the size of the recording, then its problems and assumptions."""
        rate = f" at {1 / self.period:.1f} Hz" if self.period > 0 else ""
        return " ".join([f"{self.frames} frames{rate}.", *self.problems(), *self.assumptions])

    def _where(self) -> str:
        if not self.gaps:
            return ""
        longest = max(self.gaps, key=lambda gap: gap.seconds)
        return f"; the longest gap is {longest.seconds:.2f} s at {longest.start:.2f} s"


@dataclass
class Tally:
    """Counts while frames are read; memory does not grow with their number."""

    duplicates: int = 0
    out_of_order: int = 0
    unpaired_colour: int = 0
    unpaired_depth: int = 0
    damaged: int = 0
    pairing_tolerance: float = math.nan
    worst_pairing: float = 0.0
    complete: bool = False
    _frames: int = 0
    _dropped: int = 0
    _last: float = math.nan
    _intervals: deque[float] = field(default_factory=lambda: deque(maxlen=_WINDOW))
    _early: list[Gap] = field(default_factory=list)
    _gaps: list[Gap] = field(default_factory=list)

    @property
    def frames(self) -> int:
        """Frames given out so far."""
        return self._frames

    def frame(self, stamp: float) -> None:
        """Count a frame that is given out; stamps increase."""
        self._frames += 1
        if self._frames > 1:
            interval = Gap(self._last, stamp - self._last)
            self._intervals.append(interval.seconds)
            # The first intervals wait until there are enough of them to tell what is normal.
            if len(self._intervals) < _WINDOW // 2:
                self._early.append(interval)
            else:
                self._judge([*self._early, interval])
                self._early.clear()
        self._last = stamp

    def report(self, assumptions: Iterable[str] = (), recovered: Iterable[str] = ()) -> RecordingReport:
        """What was counted so far."""
        self._judge(self._early)
        self._early.clear()
        return RecordingReport(
            frames=self._frames,
            complete=self.complete,
            period=self._period(),
            dropped=self._dropped,
            gaps=tuple(sorted(self._gaps, key=lambda gap: gap.start)),
            duplicates=self.duplicates,
            out_of_order=self.out_of_order,
            unpaired_colour=self.unpaired_colour,
            unpaired_depth=self.unpaired_depth,
            damaged=self.damaged,
            pairing_tolerance=self.pairing_tolerance,
            worst_pairing=self.worst_pairing,
            assumptions=tuple(assumptions),
            recovered=tuple(recovered),
        )

    def _period(self) -> float:
        return float(np.median(self._intervals)) if self._intervals else math.nan

    def _judge(self, intervals: list[Gap]) -> None:
        period = self._period()
        for gap in intervals:
            if gap.seconds > 1.5 * period:
                self._dropped += min(round(gap.seconds / period) - 1, 10**9)
                self._gaps.append(gap)
        if len(self._gaps) > _LONGEST_GAPS:
            self._gaps = sorted(self._gaps, key=lambda gap: -gap.seconds)[:_LONGEST_GAPS]
