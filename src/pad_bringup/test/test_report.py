"""The report: one self-contained page, whatever parts there are."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from pad_bringup.report import ReportContent, StageRecord, render, write_report
from pad_bringup.report.charts import loss_curve
from pad_bringup.report.content import Path3D
from pad_bringup.success import EpisodeResult
from pad_parse.demonstration import Segment, SegmentKind
from pad_parse.errors import ReportError
from pad_parse.report.media import Media
from pad_parse.report.strips import segment_bars, state_bars


class Addresses(HTMLParser):
    """Collects everything that a browser would fetch."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attributes):
        self.found += [value for name, value in attributes if name in ("src", "href", "poster", "srcset", "data")]


def full_content(clip=None):
    rng = np.random.default_rng(0)
    stamps = np.arange(300) / 30.0
    turn = np.linspace(0, 3, 80)
    paths = [
        Path3D(
            np.stack([0.1 * np.cos(turn) - 0.1, side * (0.25 - 0.06 * turn), 0.1 + 0.05 * turn], 1)
            + rng.normal(0, 0.02, 3) * (i > 0),
            int(side < 0),
            i == 0,
        )
        for i in range(20)
        for side in (1, -1)
    ]
    return ReportContent(
        task="pour",
        created="2026-01-01 12:00",
        stages=[StageRecord("parse", 20.5, "300 frames"), StageRecord("augment", 31.0)],
        notes=["No depth: scale error 8 %."],
        recording="pour.mcap",
        overlay=clip,
        stamps=stamps,
        segments=[
            Segment(0, SegmentKind.MOTION, 0, 60),
            Segment(0, SegmentKind.ASYNC_SKILL, 60, 120, "grasp_cup", "cup", "cup", 0.9, "gripper closes"),
            Segment(0, SegmentKind.SYNC_SKILL, 120, 300, "pour", "cup", "cup", 0.8, "meeting"),
            Segment(1, SegmentKind.IDLE, 0, 50),
            Segment(1, SegmentKind.SYNC_SKILL, 120, 300, "pour", "bottle", "cup", 0.8, "meeting"),
        ],
        visibility={"cup_rim": np.repeat(np.array([1, 2, 0], np.uint8), 100)},
        gripper_closed=np.stack([stamps > 3, stamps > 4], 1),
        paths=paths,
        keypoints=np.array([[0, -0.18, 0.19], [0.04, 0.18, 0.1]]),
        keypoint_groups=["bottle_cap", "cup_rim"],
        accepted=300,
        attempted=412,
        rejections={"no inverse kinematics": 80, "collision": 32},
        losses=np.stack([np.arange(900), np.exp(-np.arange(900) / 200) + 0.05 + rng.uniform(0, 0.02, 900)], 1),
        policy_measures={"held_out_position_error_m": 0.004},
        episodes=[
            EpisodeResult(
                i, i % 3 > 0, "" if i % 3 else "spilled", 12.5, 14.0, {"cup": (0.01, 0.2, 0.1)}, {"stale_holds": i}
            )
            for i in range(10)
        ],
        clip=clip,
        clip_label="seed 1: success",
        versions={"pad_bringup": "0.1.0"},
        machine="2 cores",
    )


def test_the_whole_page_needs_nothing_from_outside(tmp_path):
    page = render(full_content(Media("video/webm", b"abc")))
    addresses = Addresses()
    addresses.feed(page)
    assert addresses.found and all(address.startswith("data:") for address in addresses.found)
    assert "http://" not in page and "https://" not in page.replace("http://www.w3.org", "")
    assert "6 / 10" in page and "31 to 83 %" in page
    assert "spilled (4)" in page


def test_a_run_that_was_cut_short_still_has_a_page(tmp_path):
    path = write_report(ReportContent("pour", "today"), tmp_path / "report.html")
    page = path.read_text()
    assert "PAD: pour" in page and "<video" not in page and "<canvas" not in page


def test_text_from_outside_is_escaped():
    nasty = "</script><script>alert(1)</script>"
    page = render(
        ReportContent(
            nasty,
            nasty,
            notes=[nasty],
            recording=nasty,
            keypoints=np.zeros((1, 3)),
            keypoint_groups=[nasty],
            paths=[Path3D(np.eye(3), 0, True)],
            episodes=[EpisodeResult(0, False, nasty, 1, 1)],
        )
    )
    assert "alert(1)</script>" not in page
    assert len(re.findall(r"<script", page)) == 2


def test_bars_cover_what_they_mean():
    stamps = np.arange(11) / 10
    bars = segment_bars([Segment(1, SegmentKind.SYNC_SKILL, 5, 11, "pour")], stamps, 1)
    assert (bars[0].left, bars[0].width, bars[0].style) == (50, 50, "sync")
    assert segment_bars([Segment(1, SegmentKind.IDLE, 5, 11)], stamps, 0) == []
    assert [bar.style for bar in state_bars(np.array([1, 1, 0, 2] + [2] * 7), stamps)] == ["seen", "lost", "filled"]


def test_loss_curve_survives_odd_losses():
    assert loss_curve(np.zeros((0, 2))) is None
    assert loss_curve(np.array([[0, np.nan], [1, 0.5]])) is None
    curve = loss_curve(np.array([[0, 1.0], [1, 0.1], [2, 0.01]]))
    assert curve.points == "0.00,0.00 50.00,50.00 100.00,100.00"
    assert next(label for _, label in curve.ticks) == "0.01" and curve.end == "3"
    assert loss_curve(np.array([[0, 1.0], [1, 1.0]])).ticks


def test_media_of_another_kind_or_missing(tmp_path):
    with pytest.raises(ReportError, match="known kinds"):
        Media.load(tmp_path / "a.exe")
    with pytest.raises(ReportError, match="cannot be read"):
        Media.load(tmp_path / "a.webm")
