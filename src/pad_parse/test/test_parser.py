"""The whole pipeline on a rendered recording: with depth, without, annotated or not."""

from __future__ import annotations

import threading

import cv2
import numpy as np
import pytest
from hands_at_work import make, template

from pad_parse import geometry
from pad_parse.demonstration import Demonstration, KeypointState
from pad_parse.errors import ParseError
from pad_parse.overlay import write_overlay
from pad_parse.parser import parse
from pad_parse.proposal import arms_of_objects, propose_keypoints
from pad_parse.tracking import make_point_tracker


@pytest.fixture(scope="module")
def with_depth(tmp_path_factory):
    """The parse of an annotated RGB-D recording, with its overlay."""
    folder = tmp_path_factory.mktemp("parse")
    recording, hands, in_task = make(folder / "bag")
    told = []
    demonstration = parse(
        recording,
        template(),
        estimator=hands,
        progress=lambda stage, fraction: told.append((stage, fraction)),
        overlay_path=folder / "overlay.webm",
    )
    return recording, in_task, demonstration, told, folder


def true_keypoints(recording, in_task, objects):
    """(T, N, 3): the keypoints of the start, moved as their objects are."""
    moves = {o: poses @ geometry.inverse(poses[0]) for o, poses in recording.object_truth.items()}
    return np.stack(
        [geometry.transform_points(moves[o], p[None])[:, 0] for o, p in zip(objects, in_task, strict=True)], axis=1
    )


def test_keypoints_and_grippers_are_metric(with_depth) -> None:
    recording, in_task, found, _, _ = with_depth
    np.testing.assert_allclose(found.keypoints[0], in_task, atol=0.006)
    truth = true_keypoints(recording, in_task, found.keypoint_objects)
    error = np.linalg.norm(found.keypoints - truth, axis=2)
    assert np.median(error) < 0.004 and np.percentile(error, 95) < 0.012
    away = np.linalg.norm(found.gripper_poses[..., :3, 3] - recording.hand_truth[..., :3, 3], axis=2)
    assert np.median(away) < 0.010
    assert (found.keypoint_states != KeypointState.LOST).all()
    assert (found.gripper_states == KeypointState.VISIBLE).all()


def test_both_hands_grasp_and_then_move_with_their_object(with_depth) -> None:
    recording, _, found, _, _ = with_depth
    for arm, name in ((1, "bottle"), (0, "cup")):
        closed = found.gripper_closed[:, arm]
        start = int(np.argmax(closed))
        assert closed[start:].all()
        assert abs(start - recording.grasp_frame) <= 3
        relative = geometry.inverse(found.object_poses[name][start:]) @ found.gripper_poses[start:, arm]
        np.testing.assert_allclose(relative, np.broadcast_to(relative[0], relative.shape), atol=1e-9)


def test_result_can_be_saved_and_says_how_it_went(with_depth) -> None:
    _, _, found, told, folder = with_depth
    again = Demonstration.load(found.save(folder / "x.demo.h5"))
    np.testing.assert_array_equal(again.gripper_poses, found.gripper_poses)
    assert found.measures["keypoints_proposed"] == 0 and found.measures["hand_seen_left"] == 1
    assert found.reference is not None and found.reference.depth is not None
    assert told[-1][1] == pytest.approx(1.0) and {s for s, _ in told} >= {"watch hands and objects", "draw overlay"}


def test_overlay_is_a_video_and_a_sheet(with_depth) -> None:
    recording, _, found, _, folder = with_depth
    capture = cv2.VideoCapture(str(folder / "overlay.webm"))
    ok, image = capture.read()
    assert ok and image.shape == (480, 640, 3)
    assert cv2.imread(str(folder / "overlay.png")).shape[1] == 1600
    with pytest.raises(ParseError, match="webm"):
        write_overlay(recording, found, folder / "overlay.gif")
    assert sorted(p.name for p in folder.iterdir() if p.name.startswith("overlay")) == ["overlay.png", "overlay.webm"]


def test_colour_only_from_within_a_grasp(tmp_path) -> None:
    recording, hands, _ = make(tmp_path / "clip", seconds=2.4, has_depth=False, held_from_start=True, annotate=False)
    # The right hand leaves the image half-way.
    for seen in hands._observations[20:]:
        del seen[1]
    found = parse(recording, template(), estimator=hands)
    assert found.measures["keypoints_proposed"] == 1 and "proposed" in found.source
    assert (found.gripper_states != KeypointState.LOST).all()
    assert (found.gripper_states[22:, 1] == KeypointState.FILLED).all()
    assert found.gripper_closed.all()
    turned = geometry.rotation_angle(found.object_poses["bottle"][0], found.object_poses["bottle"][-1])
    assert 0.3 < turned < 0.8
    assert found.measures["scale_error"] > 0.05


def test_clicked_points_without_depth_are_followed_to_the_end(tmp_path) -> None:
    recording, hands, in_task = make(tmp_path / "clip", seconds=2.4, has_depth=False, held_from_start=True)
    found = parse(recording, template(), estimator=hands)
    assert found.measures["keypoints_proposed"] == 0 and "proposed" not in found.source
    assert found.gripper_closed.all() and (found.keypoint_states != KeypointState.LOST).all()
    start = [geometry.inverse(recording.object_truth[o][0]) for o in found.keypoint_objects]
    at_end = [recording.object_truth[o][-1] @ inverse for o, inverse in zip(found.keypoint_objects, start, strict=True)]
    truth = np.stack([geometry.transform_points(move, p) for move, p in zip(at_end, in_task, strict=True)])
    drawn = found.reference.camera.task_to_pixels(found.keypoints[-1])
    away = np.linalg.norm(drawn - recording.scene.camera.task_to_pixels(truth), axis=1)
    # A similarity of the image follows a tilting object only roughly far from its middle.
    assert np.median(away) < 5 and away.max() < 25


def test_proposals_lie_on_the_objects(tmp_path) -> None:
    recording, hands, _ = make(tmp_path / "clip", annotate=False)
    proposal = propose_keypoints(recording, template(), hands)
    for name in ("bottle", "cup"):
        # The object's silhouette, from its depth above the table.
        frame = next(iter(recording.frames()))
        pose, body = recording.object_truth[name][0], getattr(recording.scene, name)
        for keypoint in (k for k in proposal.task.keypoints if k.object == name):
            u, v = np.round(keypoint.pixel).astype(int)
            depth = np.array([frame.depth[v, u]], float)
            point = geometry.transform_points(
                geometry.inverse(pose), recording.camera.pixels_to_task(np.array([[u, v]], float), depth)
            )[0]
            assert np.hypot(*point[:2]) < body.radius + 0.03 and -0.02 < point[2] < body.height + 0.02
    assert [k.group for k in proposal.task.keypoints] == template().keypoint_groups


def test_arms_come_from_the_task() -> None:
    assert arms_of_objects(template()) == {"bottle": (1,), "cup": (0,)}
    assert arms_of_objects(template().model_copy(update={"stages": ()})) == {"bottle": (0, 1), "cup": (0, 1)}


def test_no_hands_is_one_clear_line(tmp_path) -> None:
    recording, hands, _ = make(tmp_path / "clip", seconds=1.2, annotate=False)
    for seen in hands._observations:
        seen.clear()
    with pytest.raises(ParseError, match=r"no object was found in the right hand.*annotate"):
        parse(recording, template(), estimator=hands)


def test_annotation_of_another_task_is_refused(tmp_path) -> None:
    recording, hands, _ = make(tmp_path / "clip", seconds=1.2)
    with pytest.raises(ParseError, match="annotated for task 'pour', not 'mix'"):
        parse(recording, template().model_copy(update={"name": "mix"}), estimator=hands)


@pytest.mark.parametrize("stage", ["watch hands and objects", "draw overlay"])
def test_an_exception_from_progress_stops_cleanly(tmp_path, stage: str) -> None:
    """This is how a running parse is cancelled."""

    class Cancelled(Exception):
        pass

    def progress(now: str, fraction: float) -> None:
        if now == stage and fraction > 0.3:
            raise Cancelled

    recording, hands, _ = make(tmp_path / "clip", seconds=1.2)
    before = set(threading.enumerate())
    with pytest.raises(Cancelled):
        parse(recording, template(), estimator=hands, progress=progress, overlay_path=tmp_path / "overlay.webm")
    assert set(threading.enumerate()) == before
    assert list(tmp_path.iterdir()) == []
    assert len(list(recording.frames())) == recording.frame_count  # and nothing is held open


def test_another_point_tracker_can_carry_the_objects(tmp_path) -> None:
    recording, hands, in_task = make(tmp_path / "bag")
    found = parse(recording, template(), estimator=hands, point_tracker=make_point_tracker("lucas_kanade"))
    np.testing.assert_allclose(found.keypoints[0], in_task, atol=0.006)
    truth = true_keypoints(recording, in_task, found.keypoint_objects)
    kept = found.keypoint_states != KeypointState.LOST
    assert kept.mean() > 0.7
    error = np.linalg.norm(found.keypoints - truth, axis=2)[kept]
    assert np.median(error) < 0.005 and np.percentile(error, 95) < 0.015


def test_without_depth_no_other_tracker_is_taken(tmp_path) -> None:
    recording, hands, _ = make(tmp_path / "bag", has_depth=False)
    with pytest.raises(ParseError, match="depth"):
        parse(recording, template(), estimator=hands, point_tracker=make_point_tracker("lucas_kanade"))
