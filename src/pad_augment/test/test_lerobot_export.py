"""Datasets as LeRobot datasets: read back by LeRobot itself, and nothing left where an export ends early."""

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from pour_scene import TASK

from pad_augment.dataset import STEP_ARRAYS, Dataset, DatasetWriter, Rows
from pad_augment.errors import ExportError
from pad_augment.export import export_lerobot
from pad_parse.task import TaskSpec

LENGTHS = (7, 2, 5)
MODULE = "lerobot.datasets.lerobot_dataset"


def written(folder, *, rate_hz=10.0, joints=True):
    """A dataset of made-up numbers; one keypoint is lost throughout."""
    rng = np.random.default_rng(0)
    task = TaskSpec.load(TASK)
    count, steps = len(task.keypoint_names), sum(LENGTHS)
    shapes = {"keypoints": (count, 3), "keypoint_states": (count,), "joints": (12,), "segments": (2,)}
    data = {name: rng.normal(size=(steps, *shapes.get(name, (20,)))).astype(kind) for name, kind in STEP_ARRAYS.items()}
    data["keypoint_states"] = rng.integers(1, 3, (steps, count), np.uint8)
    data["keypoints"][:, 3], data["keypoint_states"][:, 3] = np.nan, 0
    if not joints:
        data["joints"][:] = np.nan
    arrays = {f"data/{name}": values for name, values in data.items()}
    arrays["meta/object_poses"] = np.tile(np.eye(4), (len(LENGTHS), len(task.objects), 1, 1))
    writer = DatasetWriter(folder, "made up")
    writer.append(Rows(arrays, LENGTHS, len(LENGTHS)), {})
    named = {"task": task.model_dump_json(), "keypoint_names": task.keypoint_names, "robot": "ur5e_pair"}
    return Dataset.open(writer.finish({**named, "rate_hz": rate_hz}))


class Recorder:
    """Stands where LeRobot's own class does, to end an export in its midst."""

    @classmethod
    def create(cls, *, root, **options):
        root.mkdir()
        return cls()

    def add_frame(self, frame):
        self.last = frame

    def save_episode(self):
        raise KeyboardInterrupt


@pytest.fixture
def interrupted(monkeypatch):
    """LeRobot as if Ctrl-C came with the first episode."""
    quiet = SimpleNamespace(disable_progress_bars=lambda: None, enable_progress_bars=lambda: None)
    module = ModuleType(MODULE)
    module.LeRobotDataset, module.datasets, module.CODEBASE_VERSION = Recorder, quiet, "v0"
    monkeypatch.setitem(sys.modules, MODULE, module)


@pytest.mark.parametrize("joints", [True, False])
def test_lerobot_reads_back_what_was_exported(tmp_path, monkeypatch, joints):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    library = pytest.importorskip(MODULE, reason="LeRobot is not installed (an optional extra)", exc_type=ImportError)
    dataset, told = written(tmp_path / "ours", joints=joints), []
    report = export_lerobot(dataset, tmp_path / "theirs", lambda done, total: told.append((done, total)))
    assert (report.episodes, report.steps) == (3, 14) and told == [(1, 3), (2, 3), (3, 3)]

    theirs = library.LeRobotDataset("pad/theirs", root=tmp_path / "theirs")
    assert (theirs.num_episodes, theirs.num_frames, theirs.fps) == (3, 14, 10)
    rows = [theirs[i] for i in range(len(theirs))]
    assert {row["task"] for row in rows} == {dataset.task.description.strip() or dataset.task.name}
    ends = dataset.episode_ends
    np.testing.assert_array_equal([int(row["episode_index"]) for row in rows], np.repeat([0, 1, 2], LENGTHS))
    np.testing.assert_allclose(
        [float(row["timestamp"]) for row in rows], np.concatenate([np.arange(n) / 10 for n in LENGTHS]), atol=1e-6
    )

    points = dataset.array("keypoints")
    points[:, 3] = 0.0
    following = np.arange(1, 15)
    following[ends - 1] = ends - 1
    expected = {
        "observation.state": dataset.array("ee"),
        "observation.environment_state": points.reshape(14, -1),
        "observation.keypoint_states": dataset.array("keypoint_states"),
        "action": dataset.array("action")[following],
    }
    if joints:
        expected["observation.joints"] = dataset.array("joints")
    assert set(expected) == set(report.features) == {n for n in theirs.features if n.startswith(("obs", "action"))}
    for name, values in expected.items():
        read = np.stack([row[name].numpy() for row in rows])
        np.testing.assert_array_equal(read, values, err_msg=name)
        feature = theirs.features[name]
        assert feature["dtype"] == values.dtype.name and len(feature["names"]) == values.shape[1]
        mean = np.asarray(theirs.meta.stats[name]["mean"])
        np.testing.assert_allclose(mean, values.mean(axis=0), atol=1e-5)
    names = theirs.features["observation.environment_state"]["names"]
    assert names[:4] == [*(f"{dataset.attributes['keypoint_names'][0]}.{axis}" for axis in "xyz"), "bottle_body_0.x"]
    assert theirs.features["action"]["names"][9:13] == ["left.opening", "right.x", "right.y", "right.z"]


def test_an_interrupted_export_leaves_nothing(tmp_path, interrupted):
    dataset = written(tmp_path / "ours")
    with pytest.raises(KeyboardInterrupt):
        export_lerobot(dataset, tmp_path / "deep" / "theirs")
    assert not list((tmp_path / "deep").iterdir())


def test_what_cannot_be_exported_says_why(tmp_path, monkeypatch, interrupted):
    dataset = written(tmp_path / "ours")
    (tmp_path / "taken").mkdir()
    with pytest.raises(ExportError, match=r"taken exists already"):
        export_lerobot(dataset, tmp_path / "taken")
    (tmp_path / "file").touch()
    with pytest.raises(ExportError, match=r"cannot be written"):
        export_lerobot(dataset, tmp_path / "file" / "theirs")
    with pytest.raises(ExportError, match=r"has 12\.5; generate one with --set rate_hz=12"):
        export_lerobot(written(tmp_path / "odd", rate_hz=12.5), tmp_path / "theirs")
    monkeypatch.setitem(sys.modules, MODULE, None)
    with pytest.raises(ExportError, match=r"pip install 'lerobot"):
        export_lerobot(dataset, tmp_path / "theirs")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "odd", "ours", "taken"]
