"""A dataset as a person sees it: figures, maps, and the page in a real browser."""

import re
import threading
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest
from chromium import chromium, watched_page

from pad_augment.dataset import STEP_ARRAYS, Dataset, DatasetWriter, Rows
from pad_bringup import view
from pad_bringup.dataset_view import coverage_html, failures_html, statistics, statistics_html
from pad_bringup.dataset_view_maps import MapFrame, counts_in_cells, legend
from pad_bringup.errors import ViewerError
from pad_bringup.resources import named_or_path
from pad_bringup.view import Episodes, run_view
from pad_parse import geometry
from pad_parse.task import Region, TaskSpec

LENGTHS = (11, 31, 21)
CAUSES = ["no_path", "<b>unreachable</b>"]


def written(folder, *, rejected=True, extra=True):
    """Three episodes at 10 Hz: bottle at three places, five scenes rejected; `extra`: what newer versions store."""
    task = TaskSpec.load(named_or_path("pour", "tasks"))
    count, steps = len(task.keypoint_names), sum(LENGTHS)
    shapes = {"keypoints": (count, 3), "keypoint_states": (count,), "joints": (12,), "segments": (2,)}
    data = {f"data/{n}": np.zeros((steps, *shapes.get(n, (20,))), kind) for n, kind in STEP_ARRAYS.items()}
    data["data/joints"][:] = np.nan  # without a robot a browser without a GPU keeps up
    data["data/ee"].reshape(-1, 2, 10)[..., [3, 7]] = 1.0
    places = [(-0.05, -0.25), (0.0, -0.19), (0.07, -0.13)]
    poses = np.stack([[geometry.yaw_pose(x, y, 0.3), geometry.yaw_pose(x, -y, 0.0)] for x, y in places])
    arrays = {**data, "meta/object_poses": poses}
    if extra:
        arrays |= {"meta/disturbances": np.array([0, 1, 0], np.uint8), "meta/mirrored": np.array([0, 0, 1], np.uint8)}
    numbers = np.array([0, 0, 0, 1, 1], np.uint8)
    if rejected:
        arrays |= {"meta/rejected_poses": np.repeat(poses[2:], 5, axis=0), "meta/rejected_causes": numbers}
    writer = DatasetWriter(folder, "made up")
    writer.append(Rows(arrays, LENGTHS, 8), {CAUSES[0]: 3, CAUSES[1]: 2})
    attributes = {"task": task.model_dump_json(), "keypoint_groups": task.keypoint_groups, "rate_hz": 10.0, "seed": 4}
    return Dataset.open(writer.finish({**attributes, "robot": "ur5e_pair", "causes": CAUSES}))


def test_figures_of_a_dataset(tmp_path):
    figures = statistics(written(tmp_path / "d"))
    assert (figures.episodes, figures.steps, figures.attempted) == (3, 63, 8)
    assert figures.durations == (1.0, 2.0, 3.0)
    assert list(figures.rejections.items()) == [(CAUSES[0], 3), (CAUSES[1], 2)]
    assert sorted(figures.shares.values()) == pytest.approx([0, 1 / 3, 1 / 3])
    said = " ".join(figures.lines())
    assert "3 episodes" in said and "38 % of 8 scenes" in said and "1.0 / 2.0 / 3.0 s" in said
    html = statistics_html(figures)
    assert "37.5 %" in html and "&lt;b&gt;unreachable" in html and "<b>" not in html
    assert not statistics(written(tmp_path / "older", extra=False)).shares


def test_cells_count_every_point_once():
    rng = np.random.default_rng(0)
    frame = MapFrame(Region(x=(-0.1, 0.1), y=(0.2, 0.3)))
    points = rng.uniform([-0.12, 0.2], [0.1, 0.3], (500, 2))
    counts = counts_in_cells(frame.place(points), frame.size, 5)
    assert counts.sum() == 500 and counts[4, 4] == np.sum((points[:, 0] >= 0.06) & (points[:, 1] >= 0.28))
    line = MapFrame(Region(x=(0.0, 0.0), y=(0.2, 0.3)))
    assert (line.size > 0).all() and counts_in_cells(line.place(points), line.size, 1).sum() == 500


def test_maps_show_where_and_why(tmp_path):
    dataset = written(tmp_path / "d")
    first = ElementTree.fromstring(coverage_html(dataset).split("</figure>")[0] + "</figure>")
    dots = [(float(dot.get("cx")), float(dot.get("cy"))) for dot in first.iter("circle")]
    # 140 mm of the region are 100 units; y grows to the right and x downwards.
    np.testing.assert_allclose(dots, [(7.1, 7.1), (50.0, 42.9), (92.9, 92.9)], atol=0.06)
    tick = [float(v) for v in re.findall(r"[-\d.]+", next(first.iter("path")).get("d"))[:4]]
    assert np.arctan2(tick[2] - tick[0], tick[3] - tick[1]) == pytest.approx(0.3, abs=0.05)
    failures = failures_html(dataset)
    assert "bottle: 5 rejected, 3 accepted" in failures and f"{CAUSES[0]} (3)" in failures and "<b>" not in failures
    assert failures.count(f"<g fill='{legend({'a': 1})['a']}'") == 2  # the most frequent cause, once per object
    assert "did not keep where" in failures_html(written(tmp_path / "older", rejected=False))
    clean = SimpleNamespace(attributes={"rejections": {}, "attempted": 7})
    assert "None of 7 scenes" in failures_html(clean)


def test_episodes_are_read_when_asked_for(tmp_path):
    episodes = Episodes(written(tmp_path / "d"))
    assert (len(episodes), episodes.longest) == (3, 31)
    motion = episodes[1]
    assert motion.label == "episode 1, begins with pushed arms" and len(motion.keypoints) == 31
    assert list(motion.objects) == ["bottle", "cup"] and motion.objects["cup"][1, 3] == pytest.approx(0.19)
    assert episodes[2].label.endswith("hands changed")


def test_what_cannot_be_shown_is_said(tmp_path):
    (tmp_path / "empty").mkdir()
    for path, message in ((tmp_path / "empty", "cannot be shown"), (tmp_path / "x.demo.h5", "does not exist")):
        with pytest.raises(ViewerError, match=message):
            run_view(path, robot="ur5e_pair", port=8930, tell=print, seconds=0.0)


def test_the_page_shows_episodes_figures_and_maps(tmp_path, monkeypatch):
    dataset, said = written(tmp_path / "d"), []
    ready, seen, show = threading.Event(), threading.Event(), view._show_instant

    def show_until_seen(*args):
        if seen.is_set():
            raise SystemExit
        show(*args)

    monkeypatch.setattr(view, "_show_instant", show_until_seen)

    def tell(line):
        said.append(line)
        if "http://127.0.0.1" in line:
            ready.set()

    with chromium() as browser:
        options = {"robot": "ur5e_pair", "port": 8930, "tell": tell, "seconds": 60.0}
        thread = threading.Thread(target=run_view, args=(dataset.path,), kwargs=options, daemon=True)
        thread.start()
        assert ready.wait(15)
        url = re.search(r"http://127\.0\.0\.1:\d+", said[-1]).group()
        with watched_page(browser, url, viewport={"width": 900, "height": 800}) as page:
            page.get_by_role("tab", name="statistics").click(timeout=20000)
            page.get_by_text("scenes attempted").wait_for(timeout=15000)
            assert page.get_by_text("37.5 %").is_visible()
            for name, title in (("coverage", "bottle: 3 places"), ("failures", "cup: 5 rejected, 3 accepted")):
                page.get_by_role("tab", name=name).click(timeout=15000)
                page.get_by_text(title).wait_for(timeout=15000)
                assert page.locator(".pad-map svg:visible").first.bounding_box()["height"] > 150
        seen.set()
        thread.join(20)
        assert not thread.is_alive()
