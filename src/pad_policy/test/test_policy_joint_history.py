"""Joint states at an image's instant; a reset begins another world. And when a success counts."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pad_policy.environment import JointMeasurement
from pad_policy.joint_history import LARGEST_LEAP, JointHistory, leap
from pad_policy.success_watch import SuccessWatch

SPEED = np.full(12, 2.0)


def measured(stamp: float, value: float) -> JointMeasurement:
    return JointMeasurement(stamp, np.full(12, value), np.zeros(2))


def test_the_nearest_measurement_is_found_and_one_that_is_far_is_not() -> None:
    history = JointHistory(SPEED)
    for k in range(100):
        assert not history.add(measured(0.008 * k, 0.01 * k))
    found = history.at(0.4)
    assert found is not None and found.stamp == 0.4
    assert history.at(2.0) is None


@given(speed=st.floats(-2.0, 2.0), period=st.floats(0.004, 0.5))
def test_motion_within_the_velocity_limits_is_no_leap(speed: float, period: float) -> None:
    assert leap(measured(1.0, 0.0), measured(1.0 + period, speed * period), SPEED, LARGEST_LEAP) is None


def test_after_a_reset_neither_joints_nor_images_of_before_count() -> None:
    history = JointHistory(SPEED)
    history.add(measured(1.0, 1.0))
    history.add(measured(1.008, 1.0))
    assert history.add(measured(1.016, 0.0))
    assert history.since == 1.016
    found = history.at(1.004)
    assert found is not None and found.positions[0] == 0.0


def test_a_clock_that_goes_back_begins_another_world() -> None:
    history = JointHistory(SPEED)
    history.add(measured(100.0, 0.0))
    assert history.add(measured(0.0, 0.0))
    assert history.since == 0.0 and history.at(100.0) is None


def test_success_has_to_last() -> None:
    watch = SuccessWatch(confirm=1.0)
    for stamp, success in ((0.0, True), (0.5, True), (0.6, False), (0.7, True), (1.6, True)):
        watch.see(success, stamp)
        assert not watch.done
    watch.see(True, 1.7)
    assert watch.done


def test_success_before_a_clock_went_back_does_not_count() -> None:
    watch = SuccessWatch(confirm=1.0)
    watch.see(True, 50.0)
    watch.see(True, 0.0)
    watch.see(True, 0.5)
    assert not watch.done
