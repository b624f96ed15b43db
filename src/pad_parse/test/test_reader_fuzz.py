"""Every reader of outside files, fed with damage: a typed error on one line or a valid result, and nothing else."""

import json

import h5py
import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recordings import (
    data_file,
    rgbd_messages,
    transforms,
    truth_messages,
    write_bag,
    write_folder,
    write_video,
)
from rosbags.rosbag2 import StoragePlugin
from test_demonstration import demonstration  # noqa: F401 - a fixture

from pad_parse.camera import Camera
from pad_parse.demonstration import Demonstration, seal
from pad_parse.errors import CameraError, DemonstrationError, PadParseError, TaskError
from pad_parse.recording import open_recording
from pad_parse.task import TaskSpec

pytestmark = pytest.mark.timeout(60)


def fuzzed(examples):
    """The same examples every time, and so many of them."""
    return settings(
        max_examples=examples,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
    )


# Headers and indexes lie at the ends of files, and damage hurts most there: places are counted from either end.
EDIT = st.tuples(
    st.booleans(), st.one_of(st.integers(0, 600), st.integers(0, 2**20)), st.binary(min_size=1, max_size=8)
)
DAMAGE = st.tuples(st.one_of(st.none(), st.none(), st.floats(0, 1)), st.lists(EDIT, min_size=1, max_size=4))


def damaged(raw, damage):
    """`raw` cut to a part, or with bytes at some places replaced."""
    cut, edits = damage
    if cut is not None:
        return raw[: int(cut * len(raw))]
    data = bytearray(raw)
    for from_end, place, new in edits:
        place = place % len(raw)
        place = max(0, len(raw) - place - len(new)) if from_end else place
        data[place : place + len(new)] = new
    return bytes(data[: len(raw)])


def survives(read, path, kind=PadParseError):
    """Whether reading worked; an error must be of `kind` and on one line."""
    try:
        read(path)
    except kind as error:
        assert str(error) and "\n" not in str(error)
        return False
    return True


def read_all(path):
    recording = open_recording(path)
    last = -np.inf
    for frame in recording.frames():
        assert frame.stamp > last and frame.rgb.shape == (recording.camera.height, recording.camera.width, 3)
        assert frame.depth is None or (frame.depth.shape == frame.rgb.shape[:2] and np.all(np.isfinite(frame.depth)))
        last = frame.stamp
    recording.truth()
    assert "\n" not in recording.report.summary()


@pytest.fixture(scope="module")
def bags(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bags")
    tf = transforms(("task_frame", "camera_link", np.eye(4)), ("camera_link", "camera_color_optical_frame", np.eye(4)))
    messages = [*rgbd_messages(3), ("/tf_static", "tf2_msgs/msg/TFMessage", 0.0, tf), *truth_messages(2)]
    files = {}
    for name, storage, packed in (
        ("mcap", StoragePlugin.MCAP, False),
        ("packed", StoragePlugin.MCAP, True),
        ("db3", StoragePlugin.SQLITE3, False),
    ):
        bag = write_bag(folder / name, messages, storage, packed=packed)
        read_all(bag)
        files[name] = (bag, data_file(bag))
    return files


@pytest.mark.parametrize("name", ["mcap", "packed", "db3"])
def test_bag_files(bags, tmp_path, name):
    raw = bags[name][1].read_bytes()
    file = tmp_path / bags[name][1].name

    @fuzzed(15)
    @given(DAMAGE)
    def run(damage):
        file.write_bytes(damaged(raw, damage))
        survives(read_all, file)

    run()


def test_bag_metadata(bags):
    metadata = bags["mcap"][0] / "metadata.yaml"
    raw = metadata.read_bytes()

    @fuzzed(6)
    @given(DAMAGE)
    def run(damage):
        metadata.write_bytes(damaged(raw, damage))
        survives(read_all, metadata.parent)

    run()


def test_videos(tmp_path):
    raw = write_video(tmp_path / "whole.mp4", 8).read_bytes()
    file = tmp_path / "clip.mp4"

    @fuzzed(100)
    @given(DAMAGE)
    def run(damage):
        file.write_bytes(damaged(raw, damage))
        survives(read_all, file)

    run()


def test_folders(tmp_path):
    path = write_folder(tmp_path / "rec", 2, suffix=".jpg")
    names = sorted((path / "colour").iterdir())
    (path / "colour.txt").write_text("".join(f"{i / 30} colour/{name.name}\n" for i, name in enumerate(names)))
    read_all(path)
    files = sorted(item for item in path.rglob("*") if item.is_file())
    whole = {file: file.read_bytes() for file in files}

    @fuzzed(200)
    @given(st.sampled_from(files), DAMAGE)
    def run(file, damage):
        file.write_bytes(damaged(whole[file], damage))
        survives(read_all, path)
        file.write_bytes(whole[file])

    run()


VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(10**400), 10**400),
        st.floats(),
        st.text(max_size=8),
        st.sampled_from([10**30, -1, 0, "..", "\0", "nan", "1e999", "2001-99-99", "pour"]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=6), inner, max_size=3)),
    max_leaves=8,
)
WHERE = st.lists(st.integers(0, 30), min_size=1, max_size=6)


def with_value(content, where, value):
    """A copy of nested lists and dicts in which one place, found by the numbers `where`, holds another value."""
    if not where or not isinstance(content, dict | list) or not content:
        return value
    keys = list(content) if isinstance(content, dict) else range(len(content))
    chosen = keys[where[0] % len(keys)]
    changed = with_value(content[chosen], where[1:], value)
    if isinstance(content, dict):
        return {**content, chosen: changed}
    return [*content[:chosen], changed, *content[chosen + 1 :]]


YAML_TEXT = st.one_of(
    st.text(max_size=60),
    st.text(alphabet="{}[]:,&*!|>-?'\"#%@` \n\tab01.~", max_size=60),
    st.sampled_from(
        [
            "!!timestamp x",
            "!!int ''",
            "!!bool maybe",
            "!!python/object/apply:os.system [ls]",
            "a: &a [*a, *a]",
            "x: 2001-13-41",
            "1" * 4400,
            "[" * 1200,
            "{a: " * 1200,
            "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
            + "\n".join(
                f"{c}: &{c} [{', '.join([f'*{p}'] * 10)}]" for p, c in zip("abcdefgh", "bcdefghi", strict=True)
            ),
            "\ud800",
        ]
    ),
)


@pytest.mark.parametrize(("reader", "kind"), [(TaskSpec.load, TaskError), (Camera.load, CameraError)])
def test_yaml_of_any_text(tmp_path, reader, kind):
    file = tmp_path / "file.yaml"

    @fuzzed(60)
    @given(YAML_TEXT)
    def run(text):
        file.write_bytes(text.encode("utf-8", "surrogatepass"))
        survives(reader, file, kind)

    run()


def test_task_and_camera_files_with_a_changed_value(tmp_path):
    pour = yaml.safe_load(TaskSpec.load("pour").to_yaml())
    camera = {"width": 640, "height": 480, "matrix": np.eye(3).tolist(), "transform_camera_to_task": np.eye(4).tolist()}
    task_file, camera_file = tmp_path / "task.yaml", tmp_path / "camera.yaml"

    @fuzzed(120)
    @given(WHERE, VALUES)
    def run(where, value):
        task_file.write_text(yaml.safe_dump(with_value(pour, where, value)), encoding="utf-8")
        survives(TaskSpec.load, task_file, TaskError)
        camera_file.write_text(yaml.safe_dump(with_value(camera, where, value)), encoding="utf-8")
        survives(Camera.load, camera_file, CameraError)

    run()


def test_sidecars_and_camera_json_with_a_changed_value(tmp_path):
    path = write_folder(tmp_path / "rec", 1)
    content = json.loads((path / "camera.json").read_text()) | {"depth_scale": 0.001, "distortion": [0.1, 0, 0, 0]}
    pour = yaml.safe_load(TaskSpec.load("pour").to_yaml())

    @fuzzed(100)
    @given(WHERE, VALUES)
    def run(where, value):
        (path / "camera.json").write_text(json.dumps(with_value(content, where, value)))
        (path / "task.yaml").write_text(yaml.safe_dump(with_value(pour, where, value)), encoding="utf-8")
        survives(read_all, path)

    run()


def test_demonstration_files(demonstration, tmp_path):  # noqa: F811
    raw = demonstration.save(tmp_path / "whole.demo.h5").read_bytes()
    file = tmp_path / "damaged.demo.h5"

    @fuzzed(100)
    @given(DAMAGE)
    def run(damage):
        data = damaged(raw, damage)
        file.write_bytes(data)
        assert survives(Demonstration.load, file, DemonstrationError) == (data == raw)

    run()


def test_demonstration_content(demonstration, tmp_path):  # noqa: F811
    """Files whose digest is right and whose content is not what it should be."""
    raw = demonstration.save(tmp_path / "whole.demo.h5").read_bytes()
    file = tmp_path / "changed.demo.h5"
    with h5py.File(tmp_path / "whole.demo.h5") as whole:
        names: list[str] = []
        whole.visit(names.append)
    texts = ["keypoint_names", "keypoint_groups", "keypoint_objects", "task", "segments", "measures"]
    shapes = st.lists(st.integers(0, 6), max_size=4).map(tuple)
    kinds = st.sampled_from(["f8", "u1", "i8", "?", "S3", "f4", "c16", h5py.string_dtype()])

    @fuzzed(100)
    @given(st.sampled_from(names), st.sampled_from(texts), shapes, kinds, st.booleans(), WHERE, VALUES)
    def run(name, text, shape, kind, same_kind, where, value):
        file.write_bytes(raw)
        with h5py.File(file, "a") as content:
            if same_kind:
                stored = json.loads(content[text][()].tobytes())
                new = json.dumps(with_value(stored, where, value)).encode()
                del content[text]
                content[text] = np.frombuffer(new, np.uint8)
            else:
                del content[name]
                content.create_dataset(name, shape, kind)
        seal(file)
        survives(Demonstration.load, file, DemonstrationError)

    run()
