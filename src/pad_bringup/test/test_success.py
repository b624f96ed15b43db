"""Success figures."""

import pytest

from pad_bringup.cell.failure import Failure
from pad_bringup.success import EpisodeResult, summarise


def result(seed, success, cause=""):
    return EpisodeResult(seed, success, cause, 10.0, 12.0)


def test_summary_counts_kinds_of_failure():
    summary = summarise(
        [
            result(0, True),
            result(1, False, "the cup is tilted by 43 degrees; 3 of 25 balls are in the cup"),
            result(2, False, "the cup is tilted by 80 degrees"),
            result(3, False, ""),
        ]
    )
    assert (summary.successes, summary.episodes, summary.rate) == (1, 4, 0.25)
    assert summary.causes == {"the cup is tilted by N degrees": 2, "unknown": 1}
    assert summary.low < 0.25 < summary.high


def test_causes_of_the_cell_count_without_stage_and_figures():
    lines = [
        Failure("missed grasp", "left arm, cup", "grasp-cup", 3.0).words("3 of 25 balls are in the cup"),
        Failure("missed grasp", "left arm, cup", "grasp-cup", 5.0).words("4 of 25 balls are in the cup"),
        Failure("timed out", "", "pour it", 9.0).words("4 of 25 balls are in the cup"),
    ]
    summary = summarise([result(i, False, line) for i, line in enumerate(lines)])
    assert summary.causes == {"missed grasp (left arm, cup)": 2, "timed out": 1}


def test_no_episodes_say_nothing():
    summary = summarise([])
    assert (summary.rate, summary.low, summary.high) == (0.0, 0.0, 1.0)


@pytest.mark.parametrize(("good", "low", "high"), [(0, 0.0, 0.278), (5, 0.237, 0.763), (10, 0.722, 1.0)])
def test_interval_of_ten(good, low, high):
    summary = summarise([result(i, i < good) for i in range(10)])
    assert (summary.low, summary.high) == (pytest.approx(low, abs=1e-3), pytest.approx(high, abs=1e-3))
