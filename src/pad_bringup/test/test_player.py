"""The player's markers of a demonstration, and the node as its own process with a dataset."""

import numpy as np
import pytest

pytest.importorskip("pad_msgs.msg", reason="needs the built workspace (pad_msgs)")

from builtin_interfaces.msg import Time
from visualization_msgs.msg import Marker

from pad_bringup.errors import ViewerError
from pad_bringup.nodes.player import _motion, motion_markers
from pad_bringup.view import Motion, trail


def motion(steps=40):
    """Two groups; the second is lost from instant 10 on. The right gripper is never seen."""
    keypoints = np.zeros((steps, 3, 3))
    keypoints[:, :2, 0] = np.linspace(0, 0.39, steps)[:, None]
    states = np.ones((steps, 3), np.uint8)
    states[10:, 2] = 0
    grippers = np.tile(np.eye(4), (steps, 2, 1, 1))
    grippers[:, 0, 2, 3] = 0.2
    grippers[:, 1] = np.nan
    activities = [("skill pour, bottle on cup", "")] * steps
    openings = np.zeros((steps, 2))
    return Motion("demo", 10.0, keypoints, states, ["a", "a", "b"], grippers, openings, activities=activities)


def test_markers_say_what_the_motion_is():
    markers = {m.ns: m for m in motion_markers(motion(), 30, Time()).markers}
    assert len(markers["keypoints/a"].points) == 2 and markers["keypoints/a"].points[0].x == pytest.approx(0.3)
    assert markers["keypoints/b"].colors[0].r == pytest.approx(0.6) and markers["keypoints/b"].colors[0].a == 0.5
    assert [len(markers[f"grippers/{arm}"].points) for arm in ("left", "right")] == [6, 0]
    assert markers["grippers/right"].action == markers["paths/right"].action == Marker.DELETE
    assert markers["segments/left"].text == "left: skill pour, bottle on cup"
    assert all(m.header.frame_id == "task_frame" for m in markers.values())


def test_a_trail_is_what_was_lately_and_seen():
    points = trail(motion(), "a", 30)
    assert len(points) == 20
    np.testing.assert_allclose(points[[0, -1], 0], [0.11, 0.30], atol=1e-9)
    assert len(trail(motion(), "b", 35)) == 0
    np.testing.assert_allclose(trail(motion(), "a", 0), 0.0, atol=1e-9)


def test_what_cannot_be_played_is_said(tmp_path):
    with pytest.raises(ViewerError, match="cannot be played; known: a demonstration"):
        _motion(tmp_path, 0)
