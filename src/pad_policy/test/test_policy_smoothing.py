"""What a new chunk makes of those before it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pad_policy.chunking import JointChunk
from pad_policy.errors import ConfigError
from pad_policy.smoothing import SMOOTHINGS, ChunkSmoother

NAMES = [f"joint_{k}" for k in range(14)]
TIMES = 0.2 * np.arange(1, 9)


def chunk(stamp: float, value: float, opening: float = 0.05) -> JointChunk:
    return JointChunk(stamp, NAMES, TIMES, np.full((8, 12), value), np.full((8, 2), opening))


def test_none_leaves_a_chunk_as_it_is() -> None:
    smoother = ChunkSmoother("none")
    smoother.smooth(chunk(0.0, 0.0))
    new = chunk(0.4, 1.0)
    assert smoother.smooth(new) is new


def test_blend_goes_from_the_last_chunk_to_the_new_one_in_its_time() -> None:
    smoother = ChunkSmoother("blend", blend_time=0.8)
    smoother.smooth(chunk(0.0, 0.0))
    out = smoother.smooth(chunk(0.4, 1.0, opening=0.09))
    np.testing.assert_allclose(out.positions[:, 0], [0.25, 0.5, 0.75, 1, 1, 1, 1, 1])
    np.testing.assert_allclose(out.openings[:, 0], [0.06, 0.07, 0.08, 0.09, 0.09, 0.09, 0.09, 0.09])


def test_ensemble_is_the_mean_of_all_chunks_that_reach_as_far_older_ones_heavier() -> None:
    smoother = ChunkSmoother("ensemble")
    for k in range(3):
        out = smoother.smooth(chunk(0.4 * k, float(k)))
    weights = np.exp(-0.01 * np.arange(3))
    np.testing.assert_allclose(out.positions[0, 0], weights @ [0, 1, 2] / weights.sum())
    last = weights[1:] / weights[1:].sum()
    np.testing.assert_allclose(out.positions[5, 0], last @ [1, 2])  # the first does not reach as far
    np.testing.assert_allclose(out.positions[7, 0], 2.0)


@given(values=st.lists(st.floats(-3, 3), min_size=1, max_size=20), smoothing=st.sampled_from(SMOOTHINGS))
def test_targets_stay_between_those_predicted_and_stamps_stay(values: list[float], smoothing: str) -> None:
    smoother = ChunkSmoother(smoothing)
    for k, value in enumerate(values):
        out = smoother.smooth(chunk(0.4 * k, value))
        assert out.stamp == 0.4 * k and out.positions.shape == (8, 12)
        assert min(values) - 1e-9 <= out.positions.min() and out.positions.max() <= max(values) + 1e-9


@pytest.mark.parametrize("smoothing", ["blend", "ensemble"])
def test_nothing_of_before_a_reset_or_another_clock_is_left(smoothing: str) -> None:
    smoother = ChunkSmoother(smoothing)
    smoother.smooth(chunk(5.0, 1.0))
    np.testing.assert_allclose(smoother.smooth(chunk(0.4, 0.0)).positions, 0.0)
    smoother.smooth(chunk(0.8, 1.0))
    smoother.reset()
    np.testing.assert_allclose(smoother.smooth(chunk(1.2, 0.0)).positions, 0.0)


def test_unknown_smoothing_names_the_choices() -> None:
    with pytest.raises(ConfigError, match="none, blend, ensemble"):
        ChunkSmoother("kalman")
    with pytest.raises(ConfigError, match="blend_time"):
        ChunkSmoother("blend", blend_time=0.0)
