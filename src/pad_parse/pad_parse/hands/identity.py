"""Two hands kept apart over time by where they are, never by the label that the model gives them.

The person faces the camera and the robot stands where the person stands, so the robot's left arm (task +y) is the
person's left hand: the right-hand side of the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pad_parse.hands.estimator import HandObservation

LEFT, RIGHT = 0, 1


@dataclass(frozen=True, eq=False)
class _Seen:
    """An observation and its position (3,), see `_Track`."""

    hand: HandObservation
    position: np.ndarray


@dataclass
class _Track:
    """Where one hand was seen last: position (3,) px, velocity (3,) px/s, size px, stamp s.

    The third coordinate is the logarithm of the distance times the focal length: at one place a step of a millimetre
    is as many pixels along the line of sight as across it. nan = not known.
    """

    position: np.ndarray
    velocity: np.ndarray
    size: float
    stamp: float

    def cost(self, seen: _Seen, stamp: float) -> float:
        """Distance of an observation from the predicted place, in hand sizes."""
        gap = min(abs(stamp - self.stamp), 0.15)  # a velocity is worth nothing after a while
        predicted = self.position + self.velocity * gap * np.sign(stamp - self.stamp)
        distance = float(np.linalg.norm(np.nan_to_num(seen.position - predicted)))
        return distance / max(self.size, seen.hand.size, 1.0)

    def update(self, seen: _Seen, stamp: float) -> None:
        gap = abs(stamp - self.stamp)
        if 1e-6 < gap < 0.2:
            step = np.nan_to_num((seen.position - self.position) / (stamp - self.stamp))
            self.velocity = 0.5 * self.velocity + 0.5 * step
        else:
            self.velocity = np.zeros(3)
        # A hole in the depth image does not make the last distance unknown.
        self.position = np.where(np.isfinite(seen.position), seen.position, self.position)
        self.stamp = stamp
        self.size = 0.8 * self.size + 0.2 * seen.hand.size


class HandIdentities:
    """Assigns each image's hands to LEFT (0) or RIGHT (1), frame by frame; works forwards and backwards in time.

    image_width: px. focal: px; the image's width by default. reach: how far, in hand sizes, a hand may appear from
    where it is expected; it grows with the time since it was seen. duplicate: two observations closer than this (hand
    sizes) are one hand.
    """

    def __init__(
        self,
        image_width: float,
        *,
        focal: float | None = None,
        reach: float = 0.8,
        growth: float = 3.0,
        duplicate: float = 0.15,
    ) -> None:
        self._width = image_width
        self._focal = image_width if focal is None else focal
        self._reach = reach
        self._growth = growth
        self._duplicate = duplicate
        self._tracks: list[_Track | None] = [None, None]

    def assign(
        self, observations: Sequence[HandObservation], stamp: float, distances: Sequence[float] | None = None
    ) -> tuple[HandObservation | None, HandObservation | None]:
        """(left, right) hands of the image at `stamp` (s); None where a hand is not seen.

        distances: of each observation's palm from the camera, m; nan or None where there is no depth.
        """
        away = np.full(len(observations), np.nan) if distances is None else np.asarray(distances, dtype=np.float64)
        seen = self._distinct([self._placed(hand, z) for hand, z in zip(observations, away, strict=True)])
        result: list[HandObservation | None] = [None, None]
        if seen:
            for side, one in self._match(seen, stamp):
                result[side] = one.hand
                track = self._tracks[side]
                if track is None:
                    self._tracks[side] = _Track(one.position, np.zeros(3), one.hand.size, stamp)
                else:
                    track.update(one, stamp)
        return result[LEFT], result[RIGHT]

    def _placed(self, hand: HandObservation, distance: float) -> _Seen:
        depth = self._focal * np.log(distance) if distance > 0 else np.nan
        return _Seen(hand, np.append(hand.centre, depth))

    def know(self, side: int, observation: HandObservation, stamp: float) -> None:
        """Begin with a hand whose side (0 left, 1 right) is known."""
        seen = self._placed(observation, np.nan)
        self._tracks[side] = _Track(seen.position, np.zeros(3), observation.size, stamp)

    def _distinct(self, seen: list[_Seen]) -> list[_Seen]:
        kept: list[_Seen] = []
        for one in sorted(seen, key=lambda s: -s.hand.presence):
            if all(
                np.linalg.norm(np.nan_to_num(one.position - other.position))
                > self._duplicate * max(one.hand.size, other.hand.size)
                for other in kept
            ):
                kept.append(one)
        return kept[:2]

    def _match(self, seen: list[_Seen], stamp: float) -> list[tuple[int, _Seen]]:
        tracks = self._tracks
        if tracks[LEFT] is None and tracks[RIGHT] is None:
            return self._by_side(seen)
        if len(seen) == 2 and tracks[LEFT] is not None and tracks[RIGHT] is not None:
            costs = [[self._gated(t, o, stamp) for o in seen] for t in tracks if t is not None]
            straight, crossed = costs[0][0] + costs[1][1], costs[0][1] + costs[1][0]
            order = (0, 1) if straight <= crossed else (1, 0)
            pairs = [(side, seen[order[side]]) for side in (LEFT, RIGHT)]
            return [(side, o) for side, o in pairs if self._within(tracks[side], o, stamp)]
        if len(seen) == 2:
            # One hand is known: the nearer observation is that one, the other is the new hand.
            known = LEFT if tracks[LEFT] is not None else RIGHT
            track = tracks[known]
            assert track is not None
            nearest = int(np.argmin([track.cost(o, stamp) for o in seen]))
            if not self._within(track, seen[nearest], stamp):
                return self._by_side(seen)
            return [(known, seen[nearest]), (1 - known, seen[1 - nearest])]
        observation = seen[0]
        distances = [np.inf if t is None else t.cost(observation, stamp) for t in tracks]
        best = int(np.argmin(distances))
        if self._within(tracks[best], observation, stamp):
            return [(best, observation)]
        if tracks[1 - best] is None:
            return [(1 - best, observation)]
        return []

    def _by_side(self, seen: list[_Seen]) -> list[tuple[int, _Seen]]:
        if len(seen) == 2:
            right, left = sorted(seen, key=lambda o: o.position[0])
            return [(LEFT, left), (RIGHT, right)]
        return [(LEFT if seen[0].position[0] > self._width / 2 else RIGHT, seen[0])]

    def _gated(self, track: _Track, observation: _Seen, stamp: float) -> float:
        # Beyond its reach an observation is equally unlikely wherever it is.
        return min(track.cost(observation, stamp), self._limit(track, stamp))

    def _within(self, track: _Track | None, observation: _Seen, stamp: float) -> bool:
        return track is not None and track.cost(observation, stamp) < self._limit(track, stamp)

    def _limit(self, track: _Track, stamp: float) -> float:
        return self._reach + self._growth * abs(stamp - track.stamp)
