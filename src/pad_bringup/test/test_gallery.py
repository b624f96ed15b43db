"""The gallery, and what `bench tasks` makes of its results."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from pad_bringup.bench.benchmark import BenchSettings
from pad_bringup.bench.tasks.protocol import Extent, confusion, worst
from pad_bringup.errors import BenchError, ReportError
from pad_bringup.evaluation.protocol import ProtocolResult
from pad_bringup.evaluation.result import EpisodeRecord, Evaluation, Totals
from pad_bringup.gallery import CLIPS, write_gallery
from pad_bringup.splits import SPLITS
from pad_bringup.video import write_webm


def _record(seed: int, cause: str, detail: str, clip: Path | None, stage: str = "pour") -> EpisodeRecord:
    return EpisodeRecord(
        seed=seed,
        success=not cause,
        cause=cause,
        detail=detail,
        stage=stage,
        duration=30.0,
        clip=None if clip is None else str(clip),
    )


def _result(records: list[EpisodeRecord]) -> ProtocolResult:
    evaluation = Evaluation(
        **Totals.of(records).model_dump(),
        mode="vision",
        method="policy",
        task="pour",
        robot="ur5e_pair",
        policy="/p",
        disturbed=False,
        time_limit=30.0,
        results=records,
    )
    return ProtocolResult(
        task="pour",
        mode="vision",
        trials=len(records),
        both_sides=True,
        tracks_lost=None,
        splits=dict.fromkeys(SPLITS, evaluation),
        paper={"spatial": 12, "object": 11, "background": 9},
    )


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_webm([np.full((48, 64, 3), shade, np.uint8) for shade in (0, 120)], 8.0, tmp_path / "clip.webm")


def test_the_page_holds_everything_itself(tmp_path: Path, clip: Path) -> None:
    records = [_record(1, "", "", clip), _record(2, "spilled", "spilled <after> 9.0 s", clip)]
    folder = tmp_path / "bench"
    folder.mkdir()
    _result(records * 3).save(folder / "seed0.json")
    (folder / "other.json").write_text('{"something": "else"}')
    out = tmp_path / "gallery.html"
    assert write_gallery([folder], out) == ["pour"]
    page = out.read_text()
    assert not re.search(r"(src|href)=\"(?!data:|#)", page) and "http:" not in page and "https:" not in page
    assert "<after>" not in page and "&lt;after&gt;" in page
    assert "3/6" in page and "11/12" in page and "not a robot" in page
    assert page.count("data:video/webm") == CLIPS and "6 more clips" in page


def test_nothing_to_show_is_said(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="no results"):
        write_gallery([tmp_path], tmp_path / "gallery.html")
    with pytest.raises(ReportError, match="no folder"):
        write_gallery([tmp_path / "missing"], tmp_path / "gallery.html")


def test_confusion_and_worst_clips(clip: Path) -> None:
    records = [
        _record(1, "spilled", "spilled after 9.0 s; at the end: ...", clip),
        _record(2, "dropped (cup)", "dropped (cup) after 4.5 s; at the end: ...", clip),
        _record(3, "not localised", "the cup was not found", clip, "localisation"),
        _record(4, "spilled", "spilled after 2.0 s", None),
        _record(5, "spilled", "spilled after 20.0 s", clip),
        _record(6, "", "", clip),
    ]
    assert [record.seed for record in worst(records)] == [3, 2, 1]
    found = confusion([_result(records), _result(records[:1])])
    assert next(iter(found)) == "spilled"
    assert found["spilled"] == {"spatial": 4, "object": 4, "background": 4}


def test_the_extent_is_checked(tmp_path: Path) -> None:
    assert Extent.of(BenchSettings(tmp_path, assignments=("tasks=pour,trash_in_bin",))).task_names() == (
        "pour",
        "trash_in_bin",
    )
    assert "paper_in_case" in Extent.of(BenchSettings(tmp_path)).task_names()
    with pytest.raises(BenchError, match="trials"):
        Extent.of(BenchSettings(tmp_path, assignments=("trails=3",)))
