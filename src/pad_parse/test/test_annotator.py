"""The annotator's server side: what it lets in, what it makes of a draft, and its work in the background."""

from __future__ import annotations

import http.client
import json
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
from hands_at_work import make
from hypothesis import given, settings
from hypothesis import strategies as st

from pad_parse import geometry
from pad_parse.annotator import pictures
from pad_parse.annotator.by_hand import ask_for_pixels
from pad_parse.annotator.draft import annotated_task, clicked_part
from pad_parse.annotator.job import Job
from pad_parse.annotator.server import PageServer
from pad_parse.annotator.tracks import preview_tracks
from pad_parse.camera import Camera
from pad_parse.demonstration import KeypointState, Reference
from pad_parse.errors import AnnotationError, PadParseError, RecordingError, TrackingError
from pad_parse.recording import Frame
from pad_parse.task import TaskSpec
from pad_parse.visibility import state_spans, worst_by_group


@pytest.fixture
def server():
    def refuse(_):
        raise TrackingError("nothing to track")

    running = PageServer("annotate.html", get={"state": lambda rest: None}, post={"echo": lambda v: v, "bad": refuse})
    yield running
    running.close()


def ask(server, method, path, body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request(method, path, body, {"Content-Type": "application/json", **headers})
    answer = connection.getresponse()
    found = answer.status, answer.read(), dict(answer.getheaders())
    connection.close()
    return found


def path_of(server, rest=""):
    return "/" + server.url.split("/")[3] + "/" + rest


def test_only_loopback_with_the_secret_and_the_own_host_name_is_answered(server):
    assert server._server.server_address[0] == "127.0.0.1"
    status, page, headers = ask(server, "GET", path_of(server))
    assert status == 200 and b"<canvas" in page
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert ask(server, "GET", path_of(server, "page/annotate.js"))[0] == 200
    for path in ("/", "/wrong/", "/" + "x" * 24 + "/page/annotate.js"):
        assert ask(server, "GET", path)[0] == 404
    for rest in ("page/../server.py", "page/%2e%2e/server.py", "page/", "../", "state"):
        assert ask(server, "GET", path_of(server, rest))[0] == 404
    assert ask(server, "GET", path_of(server), Host="evil.example")[0] == 403
    assert ask(server, "GET", path_of(server), Host=f"evil.example:{server.port}")[0] == 403
    assert ask(server, "GET", path_of(server), Host=f"localhost:{server.port}")[0] == 200


def test_posts_from_elsewhere_or_of_another_kind_are_refused(server):
    assert ask(server, "POST", path_of(server, "echo"), "[1]")[:2] == (200, b"[1]")
    assert ask(server, "POST", path_of(server, "echo"), "[1]", Origin="http://evil.example")[0] == 403
    assert ask(server, "POST", path_of(server, "echo"), "[1]", **{"Content-Type": "text/plain"})[0] == 415
    assert ask(server, "POST", "/wrong/echo", "[1]")[0] == 404
    assert ask(server, "POST", path_of(server, "echo"), "{oops")[0] == 400
    assert ask(server, "POST", path_of(server, "echo"), **{"Content-Length": "900000000"})[0] == 413
    status, said, _ = ask(server, "POST", path_of(server, "bad"), "{}")
    assert status == 422 and json.loads(said) == {"error": "nothing to track"}


def test_a_taken_port_gives_way_to_the_next(server):
    other = PageServer("annotate.html", {}, {}, port=server.port)
    try:
        assert server.port < other.port <= server.port + 19
    finally:
        other.close()


# ---- pictures and tracks


class Counting:
    """A recording of `count` small frames at 10 Hz whose reading ends in an error if `damaged`."""

    path = Path("counting")

    def __init__(self, count, damaged=False):
        self.frame_count, self.damaged = count, damaged

    def frames(self):
        for i in range(self.frame_count):
            yield Frame(5 + i / 10, np.full((40, 1200, 3), i, np.uint8), None)
        if self.damaged:
            raise RecordingError("the file ends here")


def test_pictures_of_a_long_recording_come_in_steps(monkeypatch):
    monkeypatch.setattr(pictures, "MOST", 10)
    found = pictures.Pictures(Counting(25))
    found._thread.join(30)
    status = found.status()
    assert status["complete"] and status["every"] == 3 and not status["error"]
    assert status["stamps"] == [round(0.3 * i, 4) for i in range(9)]
    images = []
    for index, kind in ((0, "image/png"), (8, "image/jpeg")):
        media, data = found.picture(index)
        assert media == kind
        images.append(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR))
    assert images[0].shape == (40, 1200, 3) and images[1].shape == (32, 960, 3)
    assert images[0].mean() == 0 and abs(images[1].mean() - 24) < 1
    assert found.picture(9) is None and found.picture(-1) is None
    folder = Path(found._folder.name)
    found.close()
    assert not folder.exists()


def test_a_recording_that_breaks_off_is_shown_as_far_as_it_goes():
    found = pictures.Pictures(Counting(4, damaged=True))
    found._thread.join(30)
    assert found.status()["error"] == "the file ends here" and len(found.status()["stamps"]) == 4
    found.close()
    with pytest.raises(RecordingError, match="no frame"):
        pictures.Pictures(Counting(0))


def test_preview_with_depth_is_where_the_points_are(tmp_path):
    recording, _, in_task = make(tmp_path / "bag", seconds=1.8)
    told = []
    found = preview_tracks(recording, recording.annotation, lambda stage, fraction: told.append(fraction))
    json.dumps(found, allow_nan=False)
    assert told == sorted(told) and len(found["stamps"]) == recording.frame_count and found["notes"] == []
    moves = [
        recording.object_truth[o][-1] @ geometry.inverse(recording.object_truth[o][0])
        for o in recording.annotation.keypoint_objects
    ]
    truth = [geometry.transform_points(move, p) for move, p in zip(moves, in_task, strict=True)]
    away = np.linalg.norm(np.array(found["pixels"][-1]) - recording.camera.task_to_pixels(np.array(truth)), axis=1)
    assert away.max() < 3
    assert found["groups"].keys() == {"bottle_cap", "bottle_body", "cup_rim", "cup_body"}


# ---- drafts


def test_a_preview_needs_only_what_is_clicked():
    content = draft(name="No Name!", segments=[{"oops": 1}])
    content["keypoints"] = [k for k in content["keypoints"] if k["group"] == "cup_rim"][:2]
    part = clicked_part(content, 640, 480)
    assert part.object_names == ["cup"] and part.keypoint_groups == ["cup_rim", "cup_rim"]
    assert [stage.name for stage in part.stages] == ["grasp_cup"]
    with pytest.raises(AnnotationError, match="there is no point yet"):
        clicked_part(draft(keypoints=[]), 640, 480)


def draft(**changes):
    content = TaskSpec.load("pour").model_dump(mode="json")
    content["keypoints"] = [
        {"name": f"{group}_{i}", "object": name, "group": group, "pixel": [10.0 + i, 20.0]}
        for name, spec in reversed(content["objects"].items())
        for group, count in spec["groups"].items()
        for i in range(count)
    ]
    return content | changes


def test_points_are_put_in_the_task_s_order_and_counted():
    content = draft()
    content["keypoints"].append({"name": "more", "object": "cup", "group": "cup_rim", "pixel": [0, 0]})
    task = annotated_task(content, 640, 480)
    assert task.keypoint_groups == ["bottle_cap"] + 3 * ["bottle_body"] + 5 * ["cup_rim"] + 3 * ["cup_body"]
    assert task.objects["cup"].groups["cup_rim"] == 5
    assert TaskSpec.from_yaml(task.to_yaml()) == task


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda c: c["keypoints"].clear(), "have no point yet"),
        (lambda c: c["keypoints"][0].update(pixel=None), "has no place in the first frame"),
        (lambda c: c["keypoints"][0].update(pixel=[639.6, 3]), "lies outside the image of 640 x 480"),
        (lambda c: c["keypoints"][0].update(pixel=["a", 3]), "valid number"),
        (lambda c: c["keypoints"][1].update(name=c["keypoints"][0]["name"]), "occur more than once"),
        (lambda c: c["keypoints"][0].update(group="lid"), "no group 'lid'"),
        (lambda c: c.update(colour="red"), "known keys"),
        (lambda c: c.update(segments=[{"arm": "left", "kind": "idle", "start": 2, "end": 1}]), "ends before"),
    ],
)
def test_an_unfit_draft_is_refused_in_words(spoil, message):
    content = draft()
    spoil(content)
    with pytest.raises(AnnotationError, match=message):
        annotated_task(content, 640, 480)


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=80, deadline=None)
@given(json_values, st.sampled_from(["keypoints", "objects", "segments", "stages", "name", "success", "x"]))
def test_whatever_a_page_sends_is_a_task_or_a_typed_error(value, key):
    for content in (value, draft(**{key: value})):
        for read in (annotated_task, clicked_part):
            try:
                read(content, 640, 480)
            except PadParseError as error:
                assert str(error)


def test_a_job_reports_stops_and_says_what_went_wrong():
    job = Job()
    going = threading.Event()

    def endless(progress):
        while True:
            progress("go on", 0.5)
            going.set()

    job.start(endless)
    assert going.wait(30)
    assert job.status()["running"] and job.status()["fraction"] == 0.5
    job.start(lambda progress: {"answer": 42})  # stops the first
    job._thread.join(30)
    assert job.status() == {"running": False, "stage": "", "fraction": 1.0, "error": "", "result": {"answer": 42}}

    def fail(error):
        def work(progress):
            raise error

        job.start(work)
        job._thread.join(30)
        return job.status()["error"]

    assert fail(TrackingError("no texture")) == "no texture"
    assert fail(ValueError("oops")) == "internal error: ValueError: oops"


def test_a_person_who_gives_up_is_an_error():
    camera = Camera.from_horizontal_fov(8, 8, 1.0)
    reference = Reference(np.zeros((8, 8, 3), np.uint8), None, camera, np.zeros((1, 2)), np.zeros((1, 3)))
    with pytest.raises(AnnotationError, match="were not clicked"):
        ask_for_pixels(reference, ["a"], ["a"], reference.rgb, browser=False, seconds=0.05, tell=lambda _: None)


states_arrays = st.lists(st.lists(st.sampled_from([0, 1, 2]), min_size=3, max_size=3), min_size=2, max_size=30)


@settings(max_examples=60, deadline=None)
@given(states_arrays)
def test_spans_tile_the_time_and_the_worst_point_decides(rows):
    states = np.array(rows, np.uint8)
    stamps = 5.0 + np.arange(len(states)) / 30
    for group, worst in worst_by_group(states, ["a", "b", "b"]).items():
        mine = states[:, [0] if group == "a" else [1, 2]]
        assert np.array_equal(worst == KeypointState.LOST, (mine == KeypointState.LOST).any(axis=1))
        assert np.array_equal(worst == KeypointState.VISIBLE, (mine == KeypointState.VISIBLE).all(axis=1))
        spans = state_spans(worst, stamps)
        again = np.concatenate([np.full(s.end - s.start, s.state) for s in spans])
        assert np.array_equal(again, worst)
        assert all(a.end_s == b.begin_s and a.state != b.state for a, b in zip(spans, spans[1:]))
        assert sum(s.seconds for s in spans) == pytest.approx(stamps[-1] - stamps[0])
