"""`pad annotate` and the report of `pad parse`, as the command line offers them."""

import json
import threading
import urllib.request
from dataclasses import replace

import cv2
import numpy as np
import pytest

from pad_bringup import cli
from pad_parse import parser
from pad_parse.camera import Camera
from pad_parse.demonstration import Demonstration, KeypointState, Reference
from pad_parse.task import TaskSpec

FRAMES, WIDTH, HEIGHT = 20, 64, 48


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "clip.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 20, (WIDTH, HEIGHT))
    image = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    for _ in range(FRAMES):
        writer.write(image)
    writer.release()
    return path


def demonstration(stages=None):
    task = TaskSpec.load("pour")
    if stages is not None:
        task = task.model_copy(update={"stages": stages})
    points = task.keypoint_count
    camera = Camera.from_horizontal_fov(WIDTH, HEIGHT, 1.0, np.eye(4))
    keypoints = np.tile([0.0, 0.0, 1.0], (FRAMES, points, 1))
    return Demonstration(
        stamps=np.arange(FRAMES) / 20,
        keypoints=keypoints,
        keypoint_states=np.full((FRAMES, points), KeypointState.VISIBLE),
        keypoint_names=task.keypoint_names,
        keypoint_groups=task.keypoint_groups,
        keypoint_objects=task.keypoint_objects,
        gripper_poses=np.tile(np.eye(4), (FRAMES, 2, 1, 1)),
        gripper_openings=np.full((FRAMES, 2), 0.1),
        gripper_closed=np.zeros((FRAMES, 2), bool),
        gripper_states=np.full((FRAMES, 2), KeypointState.VISIBLE),
        object_poses={name: np.tile(np.eye(4), (FRAMES, 1, 1)) for name in task.objects},
        landmarks=np.full((FRAMES, 2, 21, 3), np.nan),
        task=task,
        reference=Reference(
            *(np.zeros((HEIGHT, WIDTH, 3), np.uint8), None, camera, np.full((points, 2), 20.0), keypoints[0])
        ),
    )


def test_nothing_saved_is_said_and_is_no_failure(here, clip):
    code, out, told = here("annotate", clip, "--task", "pour", "--no-browser", "--seconds", "0.1", "--json")
    assert code == 0 and json.loads(out.splitlines()[-1]) == {"annotation": None}
    assert "http://127.0.0.1:" in told
    assert list(clip.parent.iterdir()) == [clip]


def test_bad_input_is_one_clear_line(here, clip, tmp_path):
    for words, message in (
        (["annotate", tmp_path / "none.mp4"], "does not exist"),
        (["annotate", clip, "--task", "no_such_task"], "known tasks: "),
        (["annotate", clip, "--like", tmp_path / "none.demo.h5"], "does not exist"),
        (["annotate", clip, "--like", tmp_path / "none.demo.h5", "--task", "pour"], "exclude each other"),
    ):
        code, _, said = here(*words, "--no-browser", "--seconds", "0.1")
        assert code == 2 and message in said and len(said.strip().splitlines()) == 1
    (tmp_path / "d").mkdir()
    demonstration().save(tmp_path / "d" / "x.demo.h5")
    code, _, said = here("annotate", clip, "--like", tmp_path / "d" / "x.demo.h5", "--no-browser", "--seconds", "0.1")
    assert code == 2 and "were not clicked" in said.splitlines()[-1]


def test_points_like_a_demonstration_s_become_the_recording_s_annotation(here, clip, tmp_path, monkeypatch):
    shown = demonstration()
    (tmp_path / "d").mkdir()
    shown.save(tmp_path / "d" / "x.demo.h5")
    pixels = {name: [3.5 + i, 20.0] for i, name in enumerate(shown.keypoint_names)}

    def click(line):
        def send():
            body = json.dumps({"pixels": pixels}).encode()
            request = urllib.request.Request(f"{line.split()[-1]}finish", body, {"Content-Type": "application/json"})
            urllib.request.urlopen(request, timeout=30).close()

        threading.Thread(target=send).start()

    monkeypatch.setattr(cli, "_say", click)
    words = ("annotate", clip, "--like", tmp_path / "d" / "x.demo.h5", "--no-browser", "--seconds", "20", "--json")
    code, out, _ = here(*words)
    assert code == 0
    saved = TaskSpec.load(tmp_path / "clip.task.yaml")
    assert json.loads(out.splitlines()[-1]) == {"annotation": str(tmp_path / "clip.task.yaml")}
    assert [list(k.pixel) for k in saved.keypoints] == list(pixels.values())
    assert saved.keypoint_groups == shown.keypoint_groups and saved.stages == shown.task.stages


def test_parse_writes_a_report_beside_the_demonstration_and_says_the_verdict(here, clip, tmp_path, monkeypatch):
    monkeypatch.setattr(parser, "parse", lambda *_, **__: demonstration())
    # Grounding complains that nobody grasps anything; what there is to look at stays.
    code, _, said = here("parse", clip)
    assert code == 2 and "never closes" in said.splitlines()[-1]
    assert "<h2>re-record</h2>" in (tmp_path / "clip.report.html").read_text()
    assert Demonstration.load(tmp_path / "clip.demo.h5").frame_count == FRAMES

    from pad_augment import grounding

    monkeypatch.setattr(grounding, "ground", lambda found: [])
    code, out, _ = here("parse", clip, "--report", tmp_path / "elsewhere" / "r.html", "--json")
    values = json.loads(out.splitlines()[-1])
    assert code == 0 and values["verdict"] == "re-record"
    assert any("grasps that the task asks" in reason for reason in values["reasons"])
    assert (tmp_path / "elsewhere" / "r.html").is_file()
    (tmp_path / "clip.report.html").unlink()
    code, out, _ = here("parse", clip, "--no-report")
    assert code == 0 and "verdict: re-record." in out and not (tmp_path / "clip.report.html").exists()
    monkeypatch.setattr(
        parser, "parse", lambda *_, **__: replace(demonstration(()), landmarks=np.zeros((20, 2, 21, 3)))
    )
    code, out, _ = here("parse", clip, "--no-report")
    assert code == 0 and "verdict: usable." in out


def test_a_border_that_a_person_moved_is_kept_by_grounding():
    import pour_scene

    from pad_augment.grounding import ground
    from pad_parse.timeline import to_segments, to_specs

    shown = pour_scene.demonstration()
    found = ground(shown)
    start = next(s.start for s in found if s.stage == "pour")
    later = float(shown.stamps[start + 9] - shown.stamps[0])
    specs = [s for s in to_specs(found, shown.stamps) if s.stage]  # as a person leaves them: without the rest between
    moved = [s.model_copy(update={"start": later}) if s.stage == "pour" else s for s in specs]
    task = TaskSpec.model_validate(shown.task.model_dump() | {"segments": [s.model_dump() for s in moved]})
    again = ground(replace(shown, segments=to_segments(task.segments, shown.stamps)))
    assert {s.start for s in again if s.stage == "pour"} == {start + 9}
    for arm in (0, 1):
        mine = [s for s in again if s.arm == arm]
        assert mine[0].start == 0 and mine[-1].end == len(shown.stamps)
        assert all(a.end == b.start for a, b in zip(mine, mine[1:]))
        others = [(s.stage, s.start, s.end) for s in found if s.arm == arm and s.stage.startswith("grasp")]
        assert [(s.stage, s.start, s.end) for s in mine if s.stage.startswith("grasp")] == others
