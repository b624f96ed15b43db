"""The brake of a group of axes: where it leads, wherever zero is."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pad_policy.limiter import AxisLimits, AxisState, JerkLimiter

LIMITS = AxisLimits(np.array([2.0, 1.0, 0.2]), np.array([7.0, 8.0, 2.0]), np.array([350.0, 400.0, 100.0]))


@given(
    place=st.lists(st.floats(-6.0, 6.0), min_size=3, max_size=3),
    speed=st.lists(st.floats(-1.0, 1.0), min_size=3, max_size=3),
    push=st.lists(st.floats(-0.9, 0.9), min_size=3, max_size=3),
)
@settings(max_examples=60)
def test_a_brake_knows_how_far_it_leads(place: list[float], speed: list[float], push: list[float]) -> None:
    """Against a fine sampling of itself; an axis that is never at zero does not come by there."""
    state = AxisState(np.array(place), speed * LIMITS.velocity, push * LIMITS.acceleration)
    brake = JerkLimiter(LIMITS).brake(state)
    way = np.array([brake.at(time).position for time in np.linspace(0.0, brake.duration, 400)])
    lowest, highest = brake.extrema
    np.testing.assert_allclose(lowest, way.min(axis=0), atol=1e-4)
    np.testing.assert_allclose(highest, way.max(axis=0), atol=1e-4)
    np.testing.assert_allclose(way[0], place, atol=1e-12)
    assert np.abs(brake.at(brake.duration).velocity).max() < 1e-6
