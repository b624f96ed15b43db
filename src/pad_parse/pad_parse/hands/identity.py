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


@dataclass
class _Track:
    """Where one hand was seen last: position (2,) px, velocity (2,) px/s, size px, stamp s."""

    position: np.ndarray
    velocity: np.ndarray
    size: float
    stamp: float

    def cost(self, observation: HandObservation, stamp: float) -> float:
        """Distance of an observation from the predicted place, in hand sizes."""
        gap = min(abs(stamp - self.stamp), 0.15)  # a velocity is worth nothing after a while
        predicted = self.position + self.velocity * gap * np.sign(stamp - self.stamp)
        distance = float(np.linalg.norm(observation.centre - predicted))
        return distance / max(self.size, observation.size, 1.0)

    def update(self, observation: HandObservation, stamp: float) -> None:
        gap = abs(stamp - self.stamp)
        if 1e-6 < gap < 0.2:
            step = (observation.centre - self.position) / (stamp - self.stamp)
            self.velocity = 0.5 * self.velocity + 0.5 * step
        else:
            self.velocity = np.zeros(2)
        self.position, self.stamp = observation.centre, stamp
        self.size = 0.8 * self.size + 0.2 * observation.size


class HandIdentities:
    """Assigns each image's hands to LEFT (0) or RIGHT (1), frame by frame; works forwards and backwards in time.

    image_width: px. reach: how far, in hand sizes, a hand may appear from where it is expected; it grows with the time
    since it was seen. duplicate: two observations closer than this (hand sizes) are one hand.
    """

    def __init__(self, image_width: float, *, reach: float = 0.8, growth: float = 3.0, duplicate: float = 0.15) -> None:
        self._width = image_width
        self._reach = reach
        self._growth = growth
        self._duplicate = duplicate
        self._tracks: list[_Track | None] = [None, None]

    def assign(
        self, observations: Sequence[HandObservation], stamp: float
    ) -> tuple[HandObservation | None, HandObservation | None]:
        """(left, right) hands of the image at `stamp` (s); None where a hand is not seen."""
        seen = self._distinct(observations)
        result: list[HandObservation | None] = [None, None]
        if seen:
            for side, observation in self._match(seen, stamp):
                result[side] = observation
                track = self._tracks[side]
                if track is None:
                    self._tracks[side] = _Track(observation.centre, np.zeros(2), observation.size, stamp)
                else:
                    track.update(observation, stamp)
        return result[LEFT], result[RIGHT]

    def know(self, side: int, observation: HandObservation, stamp: float) -> None:
        """Begin with a hand whose side (0 left, 1 right) is known."""
        self._tracks[side] = _Track(observation.centre, np.zeros(2), observation.size, stamp)

    def _distinct(self, observations: Sequence[HandObservation]) -> list[HandObservation]:
        kept: list[HandObservation] = []
        for observation in sorted(observations, key=lambda o: -o.presence):
            if all(
                np.linalg.norm(observation.centre - other.centre) > self._duplicate * max(observation.size, other.size)
                for other in kept
            ):
                kept.append(observation)
        return kept[:2]

    def _match(self, seen: list[HandObservation], stamp: float) -> list[tuple[int, HandObservation]]:
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

    def _by_side(self, seen: list[HandObservation]) -> list[tuple[int, HandObservation]]:
        if len(seen) == 2:
            right, left = sorted(seen, key=lambda o: o.centre[0])
            return [(LEFT, left), (RIGHT, right)]
        return [(LEFT if seen[0].centre[0] > self._width / 2 else RIGHT, seen[0])]

    def _gated(self, track: _Track, observation: HandObservation, stamp: float) -> float:
        # Beyond its reach an observation is equally unlikely wherever it is.
        return min(track.cost(observation, stamp), self._limit(track, stamp))

    def _within(self, track: _Track | None, observation: HandObservation, stamp: float) -> bool:
        return track is not None and track.cost(observation, stamp) < self._limit(track, stamp)

    def _limit(self, track: _Track, stamp: float) -> float:
        return self._reach + self._growth * abs(stamp - track.stamp)
