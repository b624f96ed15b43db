"""What a new chunk makes of those before it: nothing, a cross-fade, or their weighted mean (temporal ensembling)."""

from collections import deque
from dataclasses import replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from pad_policy.chunking import JointChunk
from pad_policy.errors import ConfigError

Array = NDArray[np.floating[Any]]
Smoothing = Literal["none", "blend", "ensemble"]
SMOOTHINGS: tuple[Smoothing, ...] = get_args(Smoothing)

#: As of Zhao et al. (ACT, 2023), section IV-B: the k-th oldest chunk weighs exp(-k times this).
_FADING = 0.01
_REMEMBERED = 16


class ChunkSmoother:
    """Smooths joint chunks over time, before they go to the gate.

    none: a chunk replaces the one before. blend: over `blend_time` s the targets cross-fade from the chunk before.
    ensemble: each target is the mean of all chunks that reach as far, the older the heavier (temporal ensembling).
    """

    def __init__(self, smoothing: Smoothing = "none", blend_time: float = 0.6) -> None:
        """blend_time: s after the observation behind a chunk from which on it alone counts."""
        if smoothing not in SMOOTHINGS:
            raise ConfigError(f"there is no smoothing {smoothing!r}; choices: {', '.join(SMOOTHINGS)}")
        if not blend_time > 0:
            raise ConfigError(f"blend_time must be above 0 s; got {blend_time}")
        self._smoothing = smoothing
        self._blend_time = blend_time
        self._before: deque[JointChunk] = deque(maxlen=_REMEMBERED)

    def reset(self) -> None:
        """Forget the chunks before: the next one stays as it is."""
        self._before.clear()

    def smooth(self, chunk: JointChunk) -> JointChunk:
        """The chunk with smoothed targets; a stamp that goes back begins anew."""
        if self._before and chunk.stamp <= self._before[-1].stamp:
            self.reset()
        out = chunk
        if self._smoothing == "blend":
            out = self._blended(chunk)
            self._before.append(out)
        elif self._smoothing == "ensemble":
            self._before.append(chunk)
            out = self._ensemble(chunk)
        return out

    def _blended(self, chunk: JointChunk) -> JointChunk:
        if not self._before:
            return chunk
        before, reaches = _at(self._before[-1], chunk.stamp + chunk.times)
        weight = np.where(reaches, np.clip(1.0 - chunk.times / self._blend_time, 0.0, 1.0), 0.0)[:, None]
        return _with(chunk, weight * before + (1.0 - weight) * _values(chunk))

    def _ensemble(self, chunk: JointChunk) -> JointChunk:
        due = chunk.stamp + chunk.times
        total, weights = np.zeros_like(_values(chunk)), np.zeros((len(due), 1))
        for age, earlier in enumerate(self._before):
            values, reaches = _at(earlier, due)
            weight = np.where(reaches, np.exp(-_FADING * age), 0.0)[:, None]
            total += weight * np.where(reaches[:, None], values, 0.0)
            weights += weight
        return _with(chunk, total / weights)


def _values(chunk: JointChunk) -> Array:
    return np.concatenate([chunk.positions, chunk.openings], axis=1)


def _at(chunk: JointChunk, due: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Targets (K, D) of a chunk at due times (K,) s, and whether it reaches as far."""
    own, values = chunk.stamp + chunk.times, _values(chunk)
    reaches = (due >= own[0] - 1e-6) & (due <= own[-1] + 1e-6)
    return np.stack([np.interp(due, own, column) for column in values.T], axis=1), reaches


def _with(chunk: JointChunk, values: Array) -> JointChunk:
    joints = chunk.positions.shape[1]
    return replace(chunk, positions=values[:, :joints], openings=values[:, joints:])
