"""The parse report: its verdict, its measurements against known scenes, its page."""

from __future__ import annotations

import dataclasses
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from chromium import chromium, watched_page
from hypothesis import given, settings
from hypothesis import strategies as st
from scene_of_cylinders import look_at_camera, pour_scene

from pad_parse import geometry
from pad_parse.demonstration import Demonstration, KeypointState, Reference, Segment, SegmentKind
from pad_parse.errors import ReportError
from pad_parse.recording import Frame
from pad_parse.recording.report import Gap, RecordingReport
from pad_parse.report import LIMITS, Level, RecordingStatistics, judge, write_parse_report
from pad_parse.report.page import frames_per_drawn, render
from pad_parse.report.plots import Series, plot
from pad_parse.report.statistics import collect_statistics
from pad_parse.task import TaskSpec

FRAMES = 60
LOST, VISIBLE, FILLED = KeypointState.LOST, KeypointState.VISIBLE, KeypointState.FILLED


def demonstration(**changes) -> Demonstration:
    """Two objects at rest and two hands that grasp them at frames 20 and 25: nothing to complain about."""
    rng = np.random.default_rng(0)
    task = TaskSpec.load("pour")
    points = task.keypoint_count
    closed = np.stack([np.arange(FRAMES) >= 20, np.arange(FRAMES) >= 25], axis=1)
    content = {
        "stamps": np.arange(FRAMES) / 30,
        "keypoints": np.tile(rng.uniform(-0.1, 0.1, (points, 3)), (FRAMES, 1, 1)),
        "keypoint_states": np.full((FRAMES, points), VISIBLE),
        "keypoint_names": task.keypoint_names,
        "keypoint_groups": task.keypoint_groups,
        "keypoint_objects": task.keypoint_objects,
        "gripper_poses": np.tile(np.eye(4), (FRAMES, 2, 1, 1)),
        "gripper_openings": np.where(closed, 0.06, 0.1),
        "gripper_closed": closed,
        "gripper_states": np.full((FRAMES, 2), VISIBLE),
        "object_poses": {name: np.tile(np.eye(4), (FRAMES, 1, 1)) for name in task.objects},
        "landmarks": np.zeros((FRAMES, 2, 21, 3)),
        "task": task,
        "source": "test\nA note.",
    }
    return Demonstration(**(content | changes))


def statistics(**changes) -> RecordingStatistics:
    """Statistics of a faultless RGB-D recording of `demonstration`."""
    report = RecordingReport(frames=FRAMES, complete=True, period=1 / 30)
    content = {
        "report": report,
        "without_depth": np.zeros((24, 32), np.float32),
        "measurable": np.ones((FRAMES, 11), bool),
        "reprojection": np.full((FRAMES, 11), 0.1),
        "surface": np.full((FRAMES, 11), 0.002),
        "rigidity": {"bottle": np.full(FRAMES, 0.001), "cup": np.full(FRAMES, 0.002)},
    }
    return RecordingStatistics(**(content | changes))


def states_with(value, frames, points=(0,)):
    states = np.full((FRAMES, 11), VISIBLE)
    states[np.ix_(range(*frames), points)] = value
    points_lost = np.tile(demonstration().keypoints[0], (FRAMES, 1, 1))
    points_lost[states == LOST] = np.nan
    return {"keypoint_states": states, "keypoints": points_lost}


def gripper_lost(*frames):
    states = np.full((FRAMES, 2), VISIBLE)
    states[slice(*frames), 0] = LOST
    return {"gripper_states": states}


def hands_unseen(until):
    landmarks = np.zeros((FRAMES, 2, 21, 3))
    landmarks[:until, 1] = np.nan
    return {"landmarks": landmarks}


def slower(factor):
    return {"stamps": factor * np.arange(FRAMES) / 30}


SCENARIOS = {
    # check: (changes that want care, changes that want a new recording); "report" and statistics by their names
    "lost": (states_with(LOST, (0, 3)), states_with(LOST, (0, 30))),
    "longest_loss": (states_with(LOST, (0, 10)), states_with(LOST, (0, 50))),
    "unseen": (states_with(FILLED, (0, 30)), states_with(FILLED, (0, 55))),
    "hand_lost": (gripper_lost(0, 6), gripper_lost(0, 40)),
    "hand_unseen": (hands_unseen(20), hands_unseen(55)),
    "missing_grasp": (None, {"gripper_closed": np.zeros((FRAMES, 2), bool)}),
    "reprojection": ({"reprojection": np.full((FRAMES, 11), 2.0)}, {"reprojection": np.full((FRAMES, 11), 5.0)}),
    "rigidity": ({"rigidity": {"cup": np.full(FRAMES, 0.01)}}, {"rigidity": {"cup": np.full(FRAMES, 0.05)}}),
    "surface": ({"surface": np.full((FRAMES, 11), 0.02)}, {"surface": np.full((FRAMES, 11), 0.1)}),
    "uncertainty": ({"keypoint_uncertainty": 0.010}, {"keypoint_uncertainty": 0.040}),
    "depth_holes": ({"measurable": np.arange(FRAMES)[:, None] % 10 > 3}, {"measurable": np.zeros((FRAMES, 1), bool)}),
    "scale": ({"measures": {"scale_error": 0.1}}, {"measures": {"scale_error": 0.4}}),
    "camera_pose": ({"measures": {"assumed_pitch_deg": 20.0}}, None),
    "proposed": ({"measures": {"keypoints_proposed": 1.0}}, None),
    "missing_frames": ({"report": {"dropped": 5}}, {"report": {"dropped": 40}}),
    "longest_gap": ({"report": {"gaps": (Gap(0.1, 0.5),)}}, {"report": {"gaps": (Gap(0.1, 2.0),)}}),
    "period": (slower(3), slower(7)),
    "damaged": ({"report": {"damaged": 2}}, {"report": {"damaged": 30}}),
}


def judged(changes):
    """The verdict on the faultless demonstration and recording with `changes`."""
    changes = dict(changes)
    report = dataclasses.replace(statistics().report, **changes.pop("report", {}))
    of_statistics = {k: changes.pop(k) for k in ("reprojection", "surface", "rigidity", "measurable") if k in changes}
    if "measurable" in of_statistics:
        of_statistics["measurable"] = np.tile(of_statistics["measurable"], (1, 11))
    if "keypoint_uncertainty" in changes:
        values = np.full((FRAMES, 11), changes["keypoint_uncertainty"])
        values[::3] = np.nan
        changes["keypoint_uncertainty"] = values
    found = demonstration(**changes)
    return judge(found, statistics(report=report, **of_statistics))


def test_a_faultless_demonstration_is_usable():
    verdict = judged({})
    assert verdict.level == Level.USABLE and not verdict.reasons
    assert verdict.summary() == "usable."


@pytest.mark.parametrize("check", LIMITS)
def test_every_limit_decides(check):
    assert set(SCENARIOS) == set(LIMITS)
    for changes, level in zip(SCENARIOS[check], (Level.WITH_CARE, Level.RE_RECORD), strict=True):
        if changes is None:
            continue
        verdict = judged(changes)
        mine = [finding for finding in verdict.findings if finding.check == check]
        assert max(finding.level for finding in mine) == level
        assert verdict.level >= level and verdict.findings[0].level == verdict.level
        worst = max(mine, key=lambda finding: finding.level)
        assert worst in verdict.reasons
        assert "limit" in worst.reason and worst.limit.advice.endswith(".")
    assert LIMITS[check].care <= LIMITS[check].redo


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0, 1), st.floats(0, 1))
def test_dropping_points_and_hands_never_makes_it_better(seed, share, more):
    rng = np.random.default_rng(seed)
    rank = np.array([LOST, FILLED, VISIBLE])  # worst first

    def of(keypoint_rank, gripper_rank):
        states = rank[keypoint_rank]
        points = np.where((states == LOST)[..., None], np.nan, demonstration().keypoints)
        return judge(demonstration(keypoint_states=states, keypoints=points, gripper_states=rank[gripper_rank]))

    keypoints = np.where(rng.random((FRAMES, 11)) < share, rng.integers(0, 3, (FRAMES, 11)), 2)
    grippers = np.where(rng.random((FRAMES, 2)) < share, rng.integers(0, 3, (FRAMES, 2)), 2)
    before = of(keypoints, grippers)
    drop = rng.random((FRAMES, 11)) < more, rng.random((FRAMES, 2)) < more
    after = of(np.maximum(keypoints - drop[0], 0), np.maximum(grippers - drop[1], 0))
    values = {(f.check, f.subject): f.value for f in after.findings}
    assert after.level >= before.level
    assert all(values[f.check, f.subject] >= f.value - 1e-12 for f in before.findings)


def test_what_was_not_measured_is_not_judged():
    nothing = np.full((FRAMES, 11), np.nan)
    verdict = judge(demonstration(), RecordingStatistics(RecordingReport(), reprojection=nothing))
    assert verdict.level == Level.USABLE
    assert not {"reprojection", "rigidity", "uncertainty", "scale", "missing_frames"} & {
        f.check for f in verdict.findings
    }


def test_a_hand_that_the_task_does_not_use_is_not_judged():
    task = TaskSpec.load("pour")
    right = task.model_copy(update={"stages": tuple(s for s in task.stages if s.arm == "right")})
    lost = demonstration(task=right, **gripper_lost(0, FRAMES))
    assert judge(lost).level == Level.USABLE
    assert judge(demonstration(**gripper_lost(0, FRAMES))).level == Level.RE_RECORD


# ---- measurements


@dataclasses.dataclass
class Rendered:
    """A recording of the cylinders: the bottle slides along y, 4 mm a frame; depth is missing in the first rows."""

    frames_: list
    report: RecordingReport = dataclasses.field(default_factory=RecordingReport)

    def frames(self):
        yield from self.frames_


@pytest.fixture(scope="module")
def slide():
    rng = np.random.default_rng(1)
    scene, points, owners = pour_scene(rng)
    count = 12
    frames, keypoints = [], []
    poses = {name: [] for name in ("bottle", "cup")}
    for t in range(count):
        at = {"bottle": geometry.yaw_pose(0.0, -0.18 + 0.004 * t, 0.0), "cup": geometry.yaw_pose(0.0, 0.18, 0.0)}
        rgb, depth = scene.render([(scene.bottle, at["bottle"]), (scene.cup, at["cup"])], rng, noise=0.001)
        depth[:40] = 0
        depth[40:60] *= t % 4 == 0
        frames.append(Frame(t / 30, rgb, depth))
        for name, pose in at.items():
            poses[name].append(pose)
        keypoints.append([geometry.transform_points(at[o], p) for o, p in zip(owners, points, strict=True)])
    keypoints = np.array(keypoints)
    camera = look_at_camera()
    task = TaskSpec.load("pour")
    pixels = camera.task_to_pixels(keypoints[0])
    found = demonstration(
        stamps=np.arange(count) / 30,
        keypoints=keypoints,
        keypoint_states=np.full((count, 11), VISIBLE),
        gripper_poses=np.tile(np.eye(4), (count, 2, 1, 1)),
        gripper_openings=np.zeros((count, 2)),
        gripper_closed=np.zeros((count, 2), bool),
        gripper_states=np.full((count, 2), VISIBLE),
        object_poses={name: np.array(values) for name, values in poses.items()},
        landmarks=np.full((count, 2, 21, 3), np.nan),
        task=task,
        reference=Reference(frames[0].rgb, frames[0].depth, camera, pixels, keypoints[0]),
        segments=[Segment(1, SegmentKind.ASYNC_SKILL, 2, 9, "pour", "bottle", "cup", 0.5, "the <b>end</b>")],
    )
    assert task.keypoint_objects == owners
    return Rendered(frames), found


def test_truth_has_small_residuals_and_holes_are_where_they_are(slide):
    recording, truth = slide
    found = collect_statistics(recording, truth)
    bottle = found.reprojection[1:, :4]
    assert np.isfinite(bottle).mean() > 0.8 and np.nanmedian(bottle) < 0.3
    assert 0 < np.nanmedian(found.surface) < 0.004
    assert all(0 < np.nanmedian(values) < 0.004 for values in found.rigidity.values())
    assert (found.without_depth[:40] == 1).all()
    np.testing.assert_allclose(found.without_depth[45:55], 0.75)
    assert (found.without_depth[200:] == 0).all()
    assert found.measurable.all()


def test_a_demonstration_that_is_wrong_shows(slide):
    recording, truth = slide
    still = dataclasses.replace(truth, keypoints=np.tile(truth.keypoints[0], (12, 1, 1)))
    found = collect_statistics(recording, still)
    pixels_per_frame = np.linalg.norm(np.diff(truth.reference.camera.task_to_pixels(truth.keypoints[:2, 0]), axis=0))
    assert np.nanmedian(found.reprojection[1:, 0]) == pytest.approx(pixels_per_frame, rel=0.25)
    assert np.nanmedian(found.surface[-1, :4]) > 0.02 > np.nanmedian(found.surface[-1, 4:])
    assert {f.subject for f in judge(still, found).reasons if f.check in ("surface", "reprojection")} == {"bottle"}
    bent = np.array(truth.keypoints)
    eye = truth.reference.camera.transform_camera_to_task[:3, 3]
    bent[:, 1] += 0.06 * (eye - bent[:, 1]) / np.linalg.norm(eye - bent[:, 1], axis=1, keepdims=True)
    found_bent = collect_statistics(recording, dataclasses.replace(truth, keypoints=bent))
    assert np.nanmedian(found_bent.rigidity["bottle"]) > 0.01
    assert np.nanmedian(found_bent.rigidity["cup"]) < 0.004


# ---- the page


class Addresses(HTMLParser):
    """Collects everything that a browser would fetch."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attributes):
        self.found += [value for name, value in attributes if name in ("src", "href", "poster", "srcset", "data")]


def test_the_page_is_whole_and_holds_in_a_browser(slide, tmp_path):
    recording, truth = slide
    recording.path = tmp_path / "slide <x>"
    verdict = write_parse_report(recording, truth, tmp_path / "r" / "slide.report.html", created="today")
    text = (tmp_path / "r" / "slide.report.html").read_text()
    addresses = Addresses()
    addresses.feed(text)
    assert len(addresses.found) == 2 and all(address.startswith("data:") for address in addresses.found)
    assert "http://" not in text and "https://" not in text and "<script" not in text
    assert "slide &lt;x&gt;" in text and "the &lt;b&gt;end" in text
    assert verdict.level == Level.RE_RECORD  # nobody grasps anything here
    assert list((tmp_path / "r").iterdir()) == [tmp_path / "r" / "slide.report.html"]
    with chromium() as browser, watched_page(browser, f"file://{tmp_path}/r/slide.report.html") as page:
        assert page.inner_text(".verdict h2").lower() == "re-record"
        page.wait_for_function("document.querySelector('video').readyState >= 2", timeout=45000)
        for width in (1280, 420):
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        drawn = page.locator("polyline").evaluate_all("lines => lines.map(line => line.getBBox().width)")
        assert len(drawn) >= 5 and all(math.isfinite(value) for value in drawn)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 100_000), st.floats(5, 120))
def test_the_video_of_a_long_recording_stays_small(count, rate):
    every = frames_per_drawn(np.arange(count) / rate)
    assert every >= 1 and math.ceil(count / every) <= 900
    assert every == 1 or rate / every < 25


def test_a_bare_demonstration_still_has_a_page():
    bare = demonstration(**states_with(LOST, (5, 25), range(11)))
    text = render(bare, RecordingStatistics(), judge(bare))
    assert "re-record" in text and "<video" not in text and "<img" not in text
    assert re.search(r'<span class="state lost">lost</span></td><td class="n">0\.17 s</td><td class="n">0\.83 s', text)
    assert "A note." in text


def test_a_page_that_cannot_be_written_is_one_clear_line(slide, tmp_path):
    recording, truth = slide
    recording.path = tmp_path / "slide"
    (tmp_path / "file").write_text("")
    with pytest.raises(ReportError, match="cannot be written"):
        write_parse_report(recording, truth, tmp_path / "file" / "r.html")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1e6) | st.just(math.nan), min_size=2, max_size=40))
def test_curves_stay_in_their_box(values):
    stamps = 3.0 + np.arange(len(values)) / 30
    made = plot("x", "mm", stamps, [Series("x", "red", np.array(values))])
    if all(math.isnan(v) for v in values):
        assert made is None
        return
    numbers = [float(n) for _, _, pieces in made.curves for piece in pieces for n in re.split("[ ,]", piece)]
    assert numbers and min(numbers) >= -0.01 and max(numbers) <= 100.01
    assert 2 <= len(made.ticks) <= 7 and made.ticks[0] == (100.0, "0")
