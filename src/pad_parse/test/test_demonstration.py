"""The demonstration type and its file: round trip, validation, hostile files."""

import dataclasses

import h5py
import numpy as np
import pytest

from pad_parse.camera import Camera
from pad_parse.demonstration import Demonstration, KeypointState, Reference, Segment, SegmentKind, seal
from pad_parse.errors import DemonstrationError
from pad_parse.task import TaskSpec


@pytest.fixture(scope="module")
def demonstration():
    rng = np.random.default_rng(0)
    task = TaskSpec.load("pour")
    count, points = 5, task.keypoint_count
    camera = Camera.from_horizontal_fov(64, 48, 1.0, np.eye(4))
    return Demonstration(
        stamps=np.arange(count) / 30,
        keypoints=rng.normal(size=(count, points, 3)),
        keypoint_states=np.full((count, points), KeypointState.VISIBLE),
        keypoint_names=task.keypoint_names,
        keypoint_groups=task.keypoint_groups,
        keypoint_objects=task.keypoint_objects,
        gripper_poses=np.tile(np.eye(4), (count, 2, 1, 1)),
        gripper_openings=np.full((count, 2), 0.05),
        gripper_closed=np.zeros((count, 2), bool),
        gripper_states=np.ones((count, 2)),
        object_poses={name: np.tile(np.eye(4), (count, 1, 1)) for name in task.objects},
        landmarks=np.full((count, 2, 21, 3), np.nan),
        task=task,
        source="test",
        reference=Reference(
            rng.integers(0, 255, (48, 64, 3), dtype=np.uint8),
            np.ones((48, 64)),
            camera,
            rng.uniform(0, 40, (points, 2)),
            rng.normal(size=(points, 3)),
        ),
        segments=[
            Segment(0, SegmentKind.MOTION, 0, 3),
            Segment(1, SegmentKind.SYNC_SKILL, 1, 5, "pour", "bottle", "cup", 0.9, "x"),
        ],
        measures={"rigidity_mm": 1.5},
    )


def test_round_trip(demonstration, tmp_path):
    path = demonstration.save(tmp_path / "d.demo.h5")
    again = Demonstration.load(path)
    for name in ("stamps", "keypoints", "keypoint_states", "gripper_poses", "gripper_closed", "landmarks"):
        assert np.array_equal(
            getattr(again, name), getattr(demonstration, name), equal_nan=name in ("keypoints", "landmarks")
        )
    assert again.segments == demonstration.segments
    assert again.task == demonstration.task and again.measures == demonstration.measures
    assert np.array_equal(again.reference.rgb, demonstration.reference.rgb)
    assert np.array_equal(again.reference.camera.matrix, demonstration.reference.camera.matrix)
    assert not again.keypoints.flags.writeable
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stamps": np.zeros(5)}, "increasing"),
        ({"keypoints": np.zeros((5, 3, 3))}, r"must be \(5, 11, 3\)"),
        ({"keypoints": np.full((5, 11, 3), np.nan)}, "finite"),
        ({"keypoint_states": np.full((5, 11), 7)}, "valid: 0 LOST"),
        ({"gripper_poses": np.zeros((5, 2, 4, 4))}, "rigid"),
        ({"gripper_openings": np.full((5, 2), -1.0)}, "not negative"),
        ({"object_poses": {"kettle": np.tile(np.eye(4), (5, 1, 1))}}, "known: bottle, cup"),
        ({"segments": [Segment(0, SegmentKind.IDLE, 2, 9)]}, "ends after"),
    ],
)
def test_wrong_values_are_refused(demonstration, change, message):
    with pytest.raises(DemonstrationError, match=message):
        dataclasses.replace(demonstration, **change)


def test_lost_points_may_be_nan(demonstration):
    states = np.zeros((5, 11))
    dataclasses.replace(demonstration, keypoints=np.full((5, 11, 3), np.nan), keypoint_states=states)


def test_empty_segment_is_refused():
    with pytest.raises(DemonstrationError, match="empty"):
        Segment(0, SegmentKind.IDLE, 3, 3)


def test_missing_and_foreign_files(tmp_path):
    with pytest.raises(DemonstrationError, match="does not exist"):
        Demonstration.load(tmp_path / "no.demo.h5")
    (tmp_path / "text.demo.h5").write_text("hello")
    with pytest.raises(DemonstrationError, match="no demonstration file"):
        Demonstration.load(tmp_path / "text.demo.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(DemonstrationError, match="no demonstration"):
        Demonstration.load(tmp_path / "other.h5")


def test_links_and_huge_arrays_are_refused(demonstration, tmp_path):
    path = demonstration.save(tmp_path / "d.demo.h5")
    with h5py.File(path, "a") as file:
        del file["keypoints"]
        file["keypoints"] = h5py.ExternalLink("/etc/passwd", "/x")
    seal(path)
    with pytest.raises(DemonstrationError, match="is a link"):
        Demonstration.load(path)
    path = demonstration.save(tmp_path / "e.demo.h5")
    with h5py.File(path, "a") as file:
        del file["stamps"]
        file.create_dataset("stamps", shape=(10**12,), dtype="f8", chunks=(1024,))
    seal(path)
    with pytest.raises(DemonstrationError, match="elements"):
        Demonstration.load(path)


def test_version_1_loads_with_unknown_uncertainty(demonstration, tmp_path):
    path = demonstration.save(tmp_path / "old.demo.h5")
    with h5py.File(path, "r+") as file:
        file.attrs["schema_version"] = 1
        del file["keypoint_uncertainty"], file["gripper_uncertainty"]
    seal(path)
    old = Demonstration.load(path)
    assert np.isnan(old.keypoint_uncertainty).all() and np.isnan(old.gripper_uncertainty).all()
    assert np.array_equal(old.keypoints, demonstration.keypoints, equal_nan=True)


@pytest.mark.parametrize("bad", [-0.001, np.inf])
def test_senseless_uncertainty_is_refused(demonstration, bad):
    values = np.full(demonstration.gripper_states.shape, bad)
    with pytest.raises(DemonstrationError, match="gripper_uncertainty must be metres"):
        dataclasses.replace(demonstration, gripper_uncertainty=values)
