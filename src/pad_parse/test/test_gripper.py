"""Hand to gripper, grasps, smoothing on SE(3), and trajectories through occlusion."""

from __future__ import annotations

import numpy as np
import pytest

from pad_parse import geometry
from pad_parse.demonstration import KeypointState
from pad_parse.errors import ParseError
from pad_parse.grasping import Body, closed_by_opening, find_holds, moving
from pad_parse.gripper import gripper_opening, gripper_pose, track_grippers
from pad_parse.smoothing import mean_pose, smooth_scalars, smooth_trajectory

POINTS = np.array([[0.03, 0.0, 0.02], [0.03, 0.01, 0.1], [0.02, -0.02, 0.15]])


def hand_landmarks(opening: float = 0.08) -> np.ndarray:
    """(21, 3) m in the gripper's own frame: thumb at -y, index at +y, palm behind along -z."""
    landmarks = np.tile([0.0, 0.0, -0.09], (21, 1))
    landmarks[4] = [0, -opening / 2, 0]
    landmarks[8] = [0, opening / 2, 0]
    return landmarks


def test_gripper_frame_is_the_definition() -> None:
    rng = np.random.default_rng(0)
    pose = geometry.make_pose(geometry.rotation_exp(rng.normal(size=3)), rng.normal(size=3))
    found = gripper_pose(geometry.transform_points(pose, hand_landmarks()))
    np.testing.assert_allclose(found, pose, atol=1e-12)
    assert gripper_opening(hand_landmarks(0.05)) == pytest.approx(0.05)
    # The approach axis is made orthogonal to the closing axis, never the other way round.
    crooked = hand_landmarks()
    crooked[[0, 5, 9], 1] += 0.03
    np.testing.assert_allclose(gripper_pose(crooked)[:3, 1], [0, 1, 0], atol=1e-12)
    assert geometry.is_rigid(gripper_pose(crooked)[None]).all()


def test_closing_has_hysteresis_and_ignores_flat_signals() -> None:
    t = np.linspace(0, 2 * np.pi, 200)
    opening = 0.06 + 0.04 * np.cos(2 * t) + 0.002 * np.sin(60 * t)
    stamps = np.arange(200) / 30
    closed = closed_by_opening(stamps, opening)
    assert np.abs(np.diff(closed.astype(int))).sum() == 4
    # Fingers that pass each other for two frames close nothing.
    glimpse = np.where((np.arange(200) > 99) & (np.arange(200) < 102), 0.02, opening)
    np.testing.assert_array_equal(closed_by_opening(stamps, glimpse), closed)
    assert not closed_by_opening(stamps[:50], np.full(50, 0.03)).any()
    assert not closed_by_opening(stamps[:50], np.full(50, np.nan)).any()


def test_smoothing_removes_outliers_without_lag() -> None:
    rng = np.random.default_rng(1)
    stamps = np.arange(120) / 30
    angle = 0.8 * np.sin(1.5 * stamps)
    zero = np.zeros_like(angle)
    truth = geometry.make_pose(
        geometry.rotation_exp(np.stack([angle, zero, zero], 1)), np.stack([0.1 * stamps, angle * 0.1, zero], 1)
    )
    noisy = truth @ geometry.make_pose(
        geometry.rotation_exp(rng.normal(0, 0.05, (120, 3))), rng.normal(0, 0.004, (120, 3))
    )
    noisy[::9, :3, 3] += 0.2
    noisy[5::11, :3, :3] = noisy[5::11, :3, :3] @ geometry.rotation_exp(np.array([0, 1.5, 0]))
    noisy[50:55] = np.nan
    smooth = smooth_trajectory(stamps, noisy)
    error = np.linalg.norm(smooth[:, :3, 3] - truth[:, :3, 3], axis=1)
    assert error.max() < 0.010 and np.median(error) < 0.004
    assert geometry.rotation_angle(smooth, truth).max() < 0.12
    assert geometry.is_rigid(smooth, 1e-9).all()
    wave = smooth_scalars(stamps, np.sin(stamps)[:, None], spread=0.01)[:, 0]
    np.testing.assert_allclose(wave, np.sin(stamps), atol=2e-3)


def test_mean_pose_is_robust() -> None:
    rng = np.random.default_rng(2)
    poses = geometry.make_pose(geometry.rotation_exp(rng.normal(0, 0.03, (40, 3))), rng.normal(0, 0.003, (40, 3)))
    poses[:8, :3, 3] += 0.3
    mean = mean_pose(poses)
    assert np.linalg.norm(mean[:3, 3]) < 0.002
    assert geometry.rotation_angle(mean, np.eye(4)) < 0.02


def scene(seed: int = 0) -> dict[str, np.ndarray]:
    """A right hand that closes on an object at 1.0 s, lifts it from 1.3 s to 2.5 s; the left hand idles."""
    rng = np.random.default_rng(seed)
    stamps = np.arange(120) / 30
    rise = np.clip((stamps - 1.3) / 1.2, 0, 1)
    rise = rise * rise * (3 - 2 * rise)
    objects = geometry.make_pose(
        geometry.rotation_exp(np.stack([0.9 * rise, 0 * rise, 0 * rise], 1)),
        np.stack([0 * rise, -0.18 + 0.1 * rise, 0.2 * rise], 1),
    )
    grasp = geometry.make_pose(geometry.from_rotation_6d([0, 0, 1, -1, 0, 0]), [0, 0, 0.08])
    approach = np.clip(1 - stamps / 0.9, 0, 1)
    back = geometry.make_pose(np.eye(3), np.stack([0 * approach, 0 * approach, -0.2 * approach], 1))
    hand = objects @ grasp @ back
    opening = 0.07 + 0.04 * np.clip((1.0 - stamps) / 0.2, 0, 1)
    landmarks = np.full((120, 2, 21, 3), np.nan)
    for t in range(120):
        landmarks[t, 1] = geometry.transform_points(hand[t], hand_landmarks(opening[t]))
        landmarks[t, 0] = hand_landmarks(0.1) + np.array([0.0, 0.3, 0.1])
    landmarks += rng.normal(0, 0.002, landmarks.shape)
    return {"stamps": stamps, "objects": objects, "hand": hand, "opening": opening, "landmarks": landmarks}


def track(s: dict[str, np.ndarray], objects: np.ndarray | None = None):
    return track_grippers(
        s["stamps"],
        s["landmarks"],
        *[np.isfinite(s["landmarks"]).all(axis=(2, 3)).astype(float)] * 2,
        {"bottle": s["objects"] if objects is None else objects},
        {"bottle": POINTS},
        {"bottle": (1,)},
    )


def test_grasp_is_found_where_the_hand_closes() -> None:
    s = scene()
    found = track(s)
    assert len(found.holds) == 1
    hold = found.holds[0]
    assert (hold.arm, hold.object, hold.end) == (1, "bottle", 120)
    assert abs(hold.start - 30) <= 3
    assert abs(hold.moves_from - 41) <= 4
    assert not found.closed[:, 0].any()
    assert found.closed[hold.start :, 1].all() and not found.closed[: hold.start, 1].any()


def test_held_pose_follows_the_object() -> None:
    s = scene()
    found = track(s)
    assert np.linalg.norm(found.poses[:, 1, :3, 3] - s["hand"][:, :3, 3], axis=1).max() < 0.008
    start = found.holds[0].start
    relative = geometry.inverse(found.object_poses["bottle"][start:]) @ found.poses[start:, 1]
    np.testing.assert_allclose(relative, np.broadcast_to(relative[0], relative.shape), atol=1e-9)
    assert (found.states == KeypointState.VISIBLE).all()


def test_a_hand_that_leaves_while_holding_is_filled_from_the_object() -> None:
    s = scene()
    s["landmarks"][60:, 1] = np.nan
    found = track(s)
    assert (found.states[60:, 1] == KeypointState.FILLED).all()
    assert np.linalg.norm(found.poses[60:, 1, :3, 3] - s["hand"][60:, :3, 3], axis=1).max() < 0.008
    assert found.closed[60:, 1].all()


def test_a_lost_object_follows_its_hand() -> None:
    s = scene()
    objects = s["objects"].copy()
    objects[50:75] = np.nan
    found = track(s, objects)
    error = np.linalg.norm(found.object_poses["bottle"][50:75, :3, 3] - s["objects"][50:75, :3, 3], axis=1)
    assert error.max() < 0.02


def test_an_idle_hand_out_of_sight_is_lost_not_invented() -> None:
    s = scene()
    s["landmarks"][40:80, 0] = np.nan
    s["landmarks"][100:105, 0] = np.nan
    found = track(s)
    assert (found.states[50:70, 0] == KeypointState.LOST).all() and np.isnan(found.poses[55, 0]).all()
    assert (found.states[101:104, 0] == KeypointState.FILLED).all()


def test_nothing_that_rests_is_held() -> None:
    s = scene()
    still = np.broadcast_to(s["objects"][0], s["objects"].shape)
    assert not moving(s["stamps"], still, POINTS).any()
    hand = np.stack([s["hand"], s["hand"]], axis=1)
    width = np.stack([s["opening"]] * 2, axis=1)
    assert find_holds(s["stamps"], hand, width, {"bottle": still}, {"bottle": POINTS}, {"bottle": (0, 1)}) == []


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ParseError, match="do not fit"):
        track_grippers(np.arange(3.0), np.zeros((2, 2, 21, 3)), np.zeros((3, 2)), np.zeros((3, 2)), {}, {}, {})


LID = Body(0.0, 0.0, 0.06, 0.19, ((0.0, 0.06), (0.02, 0.06), (0.03, 0.033), (0.19, 0.033)))
"""A wide edge and a knob, which is what the hand holds."""


@pytest.mark.parametrize("body", [Body(0.0, 0.0, 0.033, 0.19), LID])
def test_a_hidden_grasp_is_taken_from_the_approach_and_the_axis(body: Body) -> None:
    s = scene()
    invented = s["landmarks"].copy()
    # From the moment it closes, thumb and palm are made up; the index finger is seen.
    invented[27:, 1, [0, 1, 2, 3, 4, 5, 9]] += np.array([0.03, 0.05, -0.04])
    weights = np.ones((120, 2))
    weights[27:, 1] = 0.0
    found = track_grippers(
        s["stamps"],
        invented,
        weights,
        weights,
        {"bottle": s["objects"]},
        {"bottle": POINTS},
        {"bottle": (1,)},
        bodies={"bottle": body},
    )
    fit = found.fits[0]
    assert fit is not None and fit.enclosing
    grasp = geometry.inverse(s["objects"][60]) @ s["hand"][60]
    assert np.linalg.norm(fit.gripper_in_object[:3, 3] - grasp[:3, 3]) < 0.006
    # The test's palm lies on the approach axis itself, a real one a little beside it.
    assert geometry.rotation_angle(fit.gripper_in_object, grasp) < np.deg2rad(10)
    assert fit.opening == pytest.approx(2 * (0.033 + 0.0075))
    assert (found.states[:, 1] != KeypointState.LOST).all()
    assert (found.states[40:, 1] == KeypointState.FILLED).all()


def test_a_handle_is_no_enclosing_grasp() -> None:
    s = scene()
    found = track_grippers(
        s["stamps"],
        s["landmarks"],
        *[np.ones((120, 2))] * 2,
        {"bottle": s["objects"]},
        {"bottle": POINTS},
        {"bottle": (1,)},
        bodies={"bottle": Body(0.10, 0.05, 0.05, 0.2)},
    )
    fit = found.fits[0]
    assert fit is not None and not fit.enclosing
    grasp = geometry.inverse(s["objects"][60]) @ s["hand"][60]
    assert np.linalg.norm(fit.gripper_in_object[:3, 3] - grasp[:3, 3]) < 0.004


@pytest.mark.parametrize("seed", range(4))
def test_grasp_and_release_are_found_through_misread_fingers(seed: int) -> None:
    """Open fingers arrive 12 mm off a cylinder, close at 1.0 s, lift it, put it down, open at 3.0 s and leave."""
    rng = np.random.default_rng(seed)
    stamps = np.arange(135) / 30

    def step(start: float, end: float) -> np.ndarray:
        s = np.clip((stamps - start) / (end - start), 0, 1)
        return s**3 * (10 - 15 * s + 6 * s**2)

    body = Body(0.0, 0.0, 0.035, 0.15)
    height = 0.12 * (step(1.3, 1.8) - step(2.2, 2.7))
    objects = geometry.make_pose(np.eye(3), np.stack([0 * stamps, 0 * stamps, height], axis=1))
    gap = 0.012 * (1 - step(0.6, 1.0) + step(3.0, 3.4))
    back = 0.15 * (1 - step(0.0, 0.5) + step(3.5, 4.2))
    landmarks = np.full((135, 2, 21, 3), np.nan)
    for t in range(135):
        # The wrist lies at -x; fingers end at +y, one above the other, the thumb at -y.
        landmarks[t, 1] = [-0.09 - back[t], 0.0, 0.06]
        for finger, joint in enumerate((7, 8, 11, 12, 15, 16)):
            landmarks[t, 1, joint] = [-back[t], 0.042 + gap[t], 0.10 - 0.02 * (finger // 2)]
        landmarks[t, 1, 4] = [-back[t], -0.042 - gap[t], 0.10]
        if rng.random() < 0.2:
            # Every finger is taken for the one above it, and lies a little too near.
            landmarks[t, 1, [7, 8, 11, 12, 15, 16]] += [0.0, -0.006, 0.02]
        landmarks[t, 1, :, 2] += height[t]
    landmarks += rng.normal(0, 0.002, landmarks.shape)
    sure = np.isfinite(landmarks).all(axis=(2, 3)).astype(float)
    points = {"cup": np.array([[0.035, 0.0, 0.10], [0.03, 0.02, 0.03], [0.0, 0.035, 0.12]])}
    found = track_grippers(stamps, landmarks, sure, sure, {"cup": objects}, points, {"cup": (1,)}, bodies={"cup": body})
    assert len(found.holds) == 1
    # The last millimetre of a smooth motion takes two or three frames.
    assert abs(found.holds[0].start - 28) <= 4
    assert abs(found.holds[0].end - 92) <= 4
