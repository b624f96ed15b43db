"""Bags and videos: what is read, how streams are paired, and what damaged files end in."""

import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from pad_parse import geometry
from pad_parse.camera import Camera
from pad_parse.errors import RecordingError
from pad_parse.recording import open_recording
from pad_parse.task import TaskSpec

STORE = get_typestore(Stores.ROS2_JAZZY)
T = STORE.types
COLOUR, DEPTH, INFO = (
    "/camera/color/image_raw",
    "/camera/aligned_depth_to_color/image_raw",
    "/camera/color/camera_info",
)
WIDTH, HEIGHT = 48, 32


def header(stamp, frame="camera_color_optical_frame"):
    nanoseconds = round(stamp * 1e9)
    time = T["builtin_interfaces/msg/Time"](sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)
    return T["std_msgs/msg/Header"](stamp=time, frame_id=frame)


def image(stamp, array, encoding):
    array = np.ascontiguousarray(array)
    return T["sensor_msgs/msg/Image"](
        header=header(stamp),
        height=array.shape[0],
        width=array.shape[1],
        encoding=encoding,
        is_bigendian=0,
        step=array.strides[0],
        data=array.view(np.uint8).reshape(-1),
    )


def colour_frame(i, width=WIDTH):
    return np.full((HEIGHT, width, 3), [i, 10, 200], np.uint8)


def depth_frame(i, width=WIDTH):
    return np.full((HEIGHT, width), 500 + i, np.uint16)


def camera_info():
    k = np.array([50.0, 0, 24, 0, 50, 16, 0, 0, 1])
    return T["sensor_msgs/msg/CameraInfo"](
        header=header(0),
        height=HEIGHT,
        width=WIDTH,
        distortion_model="plumb_bob",
        d=np.zeros(5),
        k=k,
        r=np.eye(3).ravel(),
        p=np.zeros(12),
        binning_x=0,
        binning_y=0,
        roi=T["sensor_msgs/msg/RegionOfInterest"](x_offset=0, y_offset=0, height=0, width=0, do_rectify=False),
    )


def transforms(*edges):
    messages = []
    for parent, child, pose in edges:
        q, p = geometry.quaternion_xyzw(pose), pose[:3, 3]
        transform = T["geometry_msgs/msg/Transform"](
            translation=T["geometry_msgs/msg/Vector3"](*p), rotation=T["geometry_msgs/msg/Quaternion"](*q)
        )
        messages.append(
            T["geometry_msgs/msg/TransformStamped"](header=header(0, parent), child_frame_id=child, transform=transform)
        )
    return T["tf2_msgs/msg/TFMessage"](transforms=messages)


def write_bag(path, messages, storage=StoragePlugin.MCAP):
    """`messages`: (topic, type, receive time in s, message)."""
    with Writer(path, version=9, storage_plugin=storage) as writer:
        connections = {}
        for topic, kind, stamp, message in messages:
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=STORE)
            writer.write(connections[topic], round(stamp * 1e9) + 10**9, STORE.serialize_cdr(message, kind))
    return path


def rgbd_messages(count, *, info=True, colour=True, depth=True, depth_offset=0.0):
    messages = [(INFO, "sensor_msgs/msg/CameraInfo", 0.0, camera_info())] if info else []
    for i in range(count):
        stamp = i / 30
        if colour:
            messages.append((COLOUR, "sensor_msgs/msg/Image", stamp, image(stamp, colour_frame(i), "rgb8")))
        if depth:
            shifted = stamp + depth_offset
            messages.append((DEPTH, "sensor_msgs/msg/Image", stamp, image(shifted, depth_frame(i), "16UC1")))
    return messages


@pytest.mark.parametrize("storage", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_rgbd_bag(tmp_path, storage):
    path = write_bag(tmp_path / "bag", rgbd_messages(12, depth_offset=0.004), storage)
    recording = open_recording(path)
    assert recording.has_depth and recording.frame_count == 12 and COLOUR in recording.topics
    assert recording.camera.matrix[0, 0] == 50 and recording.annotation is None and recording.truth() is None
    for _ in range(2):
        frames = list(recording.frames())
        assert len(frames) == 12
    assert np.allclose([f.stamp for f in frames], np.arange(12) / 30)
    assert frames[5].rgb[3, 4].tolist() == [5, 10, 200]
    assert frames[5].depth.dtype == np.float32 and np.isclose(frames[5].depth[0, 0], 0.505)


def test_single_mcap_file_is_a_recording(tmp_path):
    path = write_bag(tmp_path / "bag", rgbd_messages(4))
    file = next(path.glob("*.mcap"))
    assert len(list(open_recording(file).frames())) == 4


def test_streams_of_different_rates_and_disorder_are_paired_and_counted(tmp_path):
    messages = rgbd_messages(20)
    lacking = [m for i, m in enumerate(messages) if not (m[0] == DEPTH and 20 <= i <= 26)]
    lacking.append((COLOUR, "sensor_msgs/msg/Image", 1.0, image(0.1, colour_frame(99), "rgb8")))
    lacking.append((DEPTH, "sensor_msgs/msg/Image", 1.0, image(0.1, depth_frame(99), "16UC1")))
    recording = open_recording(write_bag(tmp_path / "bag", lacking))
    stamps = [f.stamp for f in recording.frames()]
    assert np.all(np.diff(stamps) > 0) and len(stamps) == 20 - recording.counts.without_depth
    assert recording.counts.without_depth == 4 and recording.counts.out_of_order == 1
    assert "without a depth image" in recording.counts.summary()


def test_encodings_agree(tmp_path):
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    metres = rng.uniform(0.3, 2, (HEIGHT, WIDTH)).astype(np.float32)
    metres[0, 0] = np.nan
    rgba = np.dstack([rgb, np.zeros((HEIGHT, WIDTH), np.uint8)])
    for i, (array, encoding) in enumerate([(rgb, "rgb8"), (rgb[..., ::-1], "bgr8"), (rgba, "rgba8")]):
        messages = [
            (INFO, "sensor_msgs/msg/CameraInfo", 0.0, camera_info()),
            (COLOUR, "sensor_msgs/msg/Image", 0.0, image(0, array, encoding)),
            (DEPTH, "sensor_msgs/msg/Image", 0.0, image(0, metres, "32FC1")),
        ]
        frame = next(open_recording(write_bag(tmp_path / f"bag{i}", messages)).frames())
        assert np.array_equal(frame.rgb, rgb)
        assert frame.depth[0, 0] == 0 and np.array_equal(frame.depth[1:], metres[1:])


def test_extrinsics_from_tf_static_then_calibration_file(tmp_path):
    a = geometry.yaw_pose(0.6, 0, 0.4, 0.62)
    b = geometry.make_pose(geometry.rotation_exp([1.0, 0.2, 0.1]), [0.0, 0.01, 0])
    tf = transforms(("task_frame", "camera_link", a), ("camera_link", "camera_color_optical_frame", b))
    messages = [*rgbd_messages(3), ("/tf_static", "tf2_msgs/msg/TFMessage", 0.0, tf)]
    path = write_bag(tmp_path / "bag", messages)
    assert np.allclose(open_recording(path).camera.transform_camera_to_task, a @ b)
    Camera(np.array([[50.0, 0, 24], [0, 50, 16], [0, 0, 1]]), WIDTH, HEIGHT, np.eye(4)).save(path / "camera.yaml")
    assert np.array_equal(open_recording(path).camera.transform_camera_to_task, np.eye(4))


def test_without_extrinsics_it_is_said(tmp_path):
    recording = open_recording(write_bag(tmp_path / "bag", rgbd_messages(3)))
    assert recording.camera.transform_camera_to_task is None
    assert any("pose in the task frame is not known" in text for text in recording.assumptions)


def test_annotation_beside_the_bag(tmp_path):
    path = write_bag(tmp_path / "bag", rgbd_messages(3))
    TaskSpec.load("pour").save(path / "task.yaml")
    assert open_recording(path).annotation.name == "pour"


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        (rgbd_messages(3, depth=False), "no depth image topic, so it is no RGB-D"),
        (rgbd_messages(3, colour=False), "no colour image topic"),
        (rgbd_messages(3, info=False), "no camera_info"),
        (rgbd_messages(3, depth_offset=5.0), "has a partner"),
        ([(INFO, "sensor_msgs/msg/CameraInfo", 0.0, camera_info())], "no depth image topic"),
    ],
)
def test_a_bag_without_the_needed_streams_is_one_clear_line(tmp_path, messages, text):
    path = write_bag(tmp_path / "bag", messages)
    with pytest.raises(RecordingError, match=text) as caught:
        open_recording(path)
    assert "\n" not in str(caught.value)


def test_changing_resolution_and_unaligned_depth(tmp_path):
    messages = rgbd_messages(3)
    messages.append((COLOUR, "sensor_msgs/msg/Image", 1.0, image(1.0, colour_frame(1, 40), "rgb8")))
    messages.append((DEPTH, "sensor_msgs/msg/Image", 1.0, image(1.0, depth_frame(1, 40), "16UC1")))
    recording = open_recording(write_bag(tmp_path / "bag", messages))
    with pytest.raises(RecordingError, match="changes from 48 x 32 to 40 x 32"):
        list(recording.frames())
    messages = rgbd_messages(1, depth=False)
    messages.append((DEPTH, "sensor_msgs/msg/Image", 0.0, image(0.0, depth_frame(1, 40), "16UC1")))
    with pytest.raises(RecordingError, match="aligned to colour"):
        open_recording(write_bag(tmp_path / "other", messages))


def test_missing_empty_and_unknown(tmp_path):
    with pytest.raises(RecordingError, match="does not exist"):
        open_recording(tmp_path / "nothing")
    (tmp_path / "folder").mkdir()
    with pytest.raises(RecordingError, match="empty folder"):
        open_recording(tmp_path / "folder")
    (tmp_path / "zero.mp4").touch()
    with pytest.raises(RecordingError, match="0 bytes"):
        open_recording(tmp_path / "zero.mp4")
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(RecordingError, match="unknown kind"):
        open_recording(tmp_path / "notes.txt")


def drain(path):
    """Read everything; a damaged file may end in a RecordingError and in nothing else."""
    try:
        recording = open_recording(path)
        recording.truth()
        for _ in recording.frames():
            pass
    except RecordingError as error:
        assert "\n" not in str(error)
        return False
    return True


@pytest.mark.timeout(60)
@pytest.mark.parametrize("storage", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_truncated_and_flipped_bags_never_crash_or_hang(tmp_path, storage):
    path = write_bag(tmp_path / "bag", rgbd_messages(6), storage)
    file = next(p for p in path.iterdir() if p.name != "metadata.yaml")
    raw, metadata = file.read_bytes(), (path / "metadata.yaml").read_bytes()
    rng = np.random.default_rng(5)
    for size in rng.integers(0, len(raw) // 2, 6):
        file.write_bytes(raw[:size])
        assert not drain(path)
    # Headers and indexes are where damage hurts; image bytes are almost all of the file.
    places = np.r_[rng.integers(0, 2000, 12), rng.integers(len(raw) - 4000, len(raw), 12), rng.integers(0, len(raw), 6)]
    for place in places:
        data = bytearray(raw)
        data[place] ^= 1 << int(rng.integers(8))
        file.write_bytes(bytes(data))
        drain(path)
    file.write_bytes(raw)
    for place in rng.integers(0, len(metadata), 8):
        data = bytearray(metadata)
        data[place] ^= 1 << int(rng.integers(8))
        (path / "metadata.yaml").write_bytes(bytes(data))
        drain(path)


def test_memory_does_not_grow_with_length(tmp_path):
    peaks = []
    for count in (30, 240):
        recording = open_recording(write_bag(tmp_path / f"bag{count}", rgbd_messages(count)))
        tracemalloc.start()
        assert sum(1 for _ in recording.frames()) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 2 * peaks[0] + 2_000_000


def write_video(path, count=20):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 25.0, (64, 48))
    assert writer.isOpened()
    for i in range(count):
        writer.write(np.full((48, 64, 3), [10, 10, 10 * i], np.uint8))
    writer.release()
    return path


def test_video(tmp_path):
    recording = open_recording(write_video(tmp_path / "clip.mp4"))
    assert not recording.has_depth and recording.frame_count == 20
    assert any("60 degrees" in text for text in recording.assumptions)
    frames = list(recording.frames())
    assert len(frames) == 20 and frames[0].depth is None
    assert np.allclose(np.diff([f.stamp for f in frames]), 1 / 25, atol=2e-3)
    assert frames[10].rgb[20, 20, 0] > 80 > frames[10].rgb[20, 20, 2]


def test_video_with_its_own_calibration(tmp_path):
    path = write_video(tmp_path / "clip.mp4")
    Camera.from_horizontal_fov(64, 48, 1.2).save(tmp_path / "clip.camera.yaml")
    recording = open_recording(path)
    assert recording.assumptions == [] and np.isclose(recording.camera.matrix[0, 0], 32 / np.tan(0.6))
    Camera.from_horizontal_fov(65, 48, 1.2).save(tmp_path / "clip.camera.yaml")
    with pytest.raises(RecordingError, match="calibration"):
        open_recording(path)


@pytest.mark.timeout(60)
def test_damaged_videos_never_crash(tmp_path):
    path = write_video(tmp_path / "clip.mp4")
    raw = path.read_bytes()
    rng = np.random.default_rng(1)
    for size in (1, 100, len(raw) // 2):
        path.write_bytes(raw[:size])
        assert not drain(path)
    for _ in range(25):
        data = bytearray(raw)
        for place in rng.integers(0, len(raw), 3):
            data[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(data))
        drain(path)
    path.write_text("this is no video at all")
    assert not drain(path)


SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"


@pytest.mark.skipif(not (SHARED / "pour_kettle.mp4").is_file(), reason="the real clip pour_kettle.mp4 is not here")
def test_real_clip_streams():
    recording = open_recording(SHARED / "pour_kettle.mp4")
    stamps = [f.stamp for _, f in zip(range(20), recording.frames(), strict=False)]
    assert len(stamps) == 20 and np.all(np.diff(stamps) > 0)
