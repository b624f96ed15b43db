"""Colour and depth images of one moment: pairing of two streams by their stamps."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Generic, Literal, TypeVar

import numpy as np

from pad_parse.errors import RecordingError
from pad_parse.recording.report import Tally

PAIRING_TOLERANCE = 0.02
"""Colour and depth images whose stamps lie further apart than this (s) are no pair, unless said otherwise."""

MAX_PAIRING_TOLERANCE = 1.0
_WAITING = 16
"""Images of one kind that wait for their partner; more than this and the oldest is given up."""

Image = TypeVar("Image")
Kind = Literal["colour", "depth"]


def checked_tolerance(tolerance: float) -> float:
    """The tolerance in s, if it is one.

    Raises:
        RecordingError: not a number in [0, 1].
    """
    if not 0.0 <= tolerance <= MAX_PAIRING_TOLERANCE:
        raise RecordingError(
            f"pairing tolerance {tolerance!r} s is out of range; give 0 to {MAX_PAIRING_TOLERANCE:g} "
            f"(default {PAIRING_TOLERANCE:g})"
        )
    return float(tolerance)


def pair_by_stamp(
    images: Iterable[tuple[Kind, float, Image]], tolerance: float, tally: Tally
) -> Iterator[tuple[float, Image, Image]]:
    """Each colour image with the depth image nearest in time, if that lies within `tolerance` s.

    `images` are (kind, stamp in s, image) of both streams, roughly in order of time. Yields (colour stamp, colour,
    depth) with strictly increasing stamps. A depth image may serve two colour images where colour is faster. What is
    left out is counted in `tally`. At most 32 images are held.
    """
    tally.pairing_tolerance = tolerance
    pairer: _Pairer[Image] = _Pairer(tolerance, tally)
    for kind, stamp, image in images:
        if kind == "depth":
            pairer.add_depth(stamp, image)
        else:
            pairer.add_colour(stamp, image)
        yield from pairer.pairs(_WAITING)
    yield from pairer.pairs(0)
    pairer.end()


def in_order(images: Iterable[tuple[Kind, float, Image]], tally: Tally) -> Iterator[tuple[float, Image]]:
    """(stamp, image) of a single stream with strictly increasing stamps; what is left out is counted in `tally`."""
    last = -np.inf
    for _, stamp, image in images:
        if stamp > last:
            last = stamp
            yield stamp, image
        elif stamp == last:
            tally.duplicates += 1
        else:
            tally.out_of_order += 1


class _Pairer(Generic[Image]):
    def __init__(self, tolerance: float, tally: Tally) -> None:
        self._tolerance = tolerance
        self._tally = tally
        self._colours: deque[tuple[float, Image]] = deque()
        self._stamps: list[float] = []  # of the depth images, increasing
        self._depths: list[Image] = []
        self._used: list[bool] = []
        self._last_colour = -np.inf
        self._gone = -np.inf  # depth up to this stamp was given up

    def add_colour(self, stamp: float, image: Image) -> None:
        if stamp > self._last_colour:
            self._colours.append((stamp, image))
            self._last_colour = stamp
        elif stamp == self._last_colour:
            self._tally.duplicates += 1
        else:
            self._tally.out_of_order += 1

    def add_depth(self, stamp: float, image: Image) -> None:
        place = bisect_left(self._stamps, stamp)
        if place < len(self._stamps) and self._stamps[place] == stamp:
            self._tally.duplicates += 1
        elif stamp <= self._gone:
            self._tally.out_of_order += 1
        else:
            self._stamps.insert(place, stamp)
            self._depths.insert(place, image)
            self._used.insert(place, False)
            self._forget(len(self._stamps) - _WAITING)

    def pairs(self, limit: int) -> Iterator[tuple[float, Image, Image]]:
        """The pairs that are decided; all but `limit` colour images are decided by force."""
        while self._colours:
            stamp, colour = self._colours[0]
            # A nearer depth image can still come until one at or after this stamp was seen.
            if len(self._colours) <= limit and not (self._stamps and self._stamps[-1] >= stamp):
                return
            self._colours.popleft()
            best = self._nearest(stamp)
            if best is None or abs(self._stamps[best] - stamp) > self._tolerance:
                self._tally.unpaired_colour += 1
                continue
            self._forget(best)
            self._used[0] = True
            self._tally.worst_pairing = max(self._tally.worst_pairing, abs(self._stamps[0] - stamp))
            yield stamp, colour, self._depths[0]

    def end(self) -> None:
        self._forget(len(self._stamps))

    def _nearest(self, stamp: float) -> int | None:
        if not self._stamps:
            return None
        place = bisect_left(self._stamps, stamp)
        around = [i for i in (place - 1, place) if 0 <= i < len(self._stamps)]
        return min(around, key=lambda i: abs(self._stamps[i] - stamp))

    def _forget(self, count: int) -> None:
        """Give up the oldest `count` depth images."""
        if count <= 0:
            return
        self._tally.unpaired_depth += self._used[:count].count(False)
        self._gone = self._stamps[count - 1]
        del self._stamps[:count], self._depths[:count], self._used[:count]
