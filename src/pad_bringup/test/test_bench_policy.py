"""The policy benchmark: its extent is checked, and what is finished is not done again."""

from pathlib import Path

import pytest

from pad_bringup.bench.benchmark import BENCHMARKS, BenchSettings, section
from pad_bringup.bench.policy.study import Extent, Study
from pad_bringup.errors import BenchError
from pad_bringup.evaluation.evaluate import EvaluationOptions, summary
from pad_bringup.evaluation.result import EpisodeRecord


def test_the_extent_is_what_was_asked_for(tmp_path: Path) -> None:
    assert Extent.of(BenchSettings(tmp_path)).demos == (100, 250, 500, 750, 1000)
    chosen = Extent.of(BenchSettings(tmp_path, assignments=("demos=100,1000", "training_seeds=1")))
    assert chosen.demos == (100, 1000) and chosen.training_seeds == 1 and chosen.placements == 100
    assert Extent.of(BenchSettings(tmp_path, quick=True)).placements == 2
    for wrong, words in (("demos", "NAME=VALUE"), ("demo=3", "training_seeds"), ("placements=0", "placements")):
        with pytest.raises(BenchError, match=words):
            Extent.of(BenchSettings(tmp_path, assignments=(wrong,)))


def test_what_is_finished_is_not_done_again(tmp_path: Path) -> None:
    record = EpisodeRecord(seed=7, success=True, cause="", detail="", stage="", duration=9.0)
    result = summary(EvaluationOptions(tmp_path), "pour", "policy", [record])
    result.save(tmp_path / "cells" / "curve_100_seed0.json")

    def never() -> Path:
        raise AssertionError("this is done already")

    study = Study(BenchSettings(tmp_path), print)
    assert study.evaluation("curve_100_seed0", never, 100) == result
    with pytest.raises(AssertionError):
        study.evaluation("curve_100_seed1", never, 100)


def test_every_section_says_what_it_gives() -> None:
    keys = [key for name in BENCHMARKS["policy"] for key in section("policy", name).KEYS]
    assert len(keys) == len(set(keys))
    assert {"chunk_p95_ms", "chunk_p95_loaded_ms", "first_chunk_s", "onnx_max_abs_error"} <= set(keys)
