"""Bags and videos: what is read, how streams are paired, and what damaged files end in."""

import os
from pathlib import Path

import numpy as np
import pytest
from recordings import (
    COLOUR,
    DEPTH,
    HEIGHT,
    INFO,
    WIDTH,
    camera_info,
    colour_frame,
    compressed,
    compressed_depth_data,
    depth_frame,
    image,
    jpeg,
    png,
    rgbd_messages,
    transforms,
    write_bag,
    write_video,
)
from rosbags.rosbag2 import StoragePlugin

from pad_parse import geometry
from pad_parse.camera import Camera
from pad_parse.errors import RecordingError
from pad_parse.recording import open_recording
from pad_parse.task import TaskSpec


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
    report = recording.report
    assert np.all(np.diff(stamps) > 0) and len(stamps) == report.frames == 20 - report.unpaired_colour
    assert report.unpaired_colour == 4 and report.out_of_order == 2 and report.complete
    assert report.dropped == 4 and np.isclose(report.period, 1 / 30)
    assert len(report.gaps) == 1 and np.isclose(report.gaps[0].seconds, 5 / 30)
    assert "4 colour images have no depth image within 20 ms." in report.summary()
    next(recording.frames())
    assert recording.report == report, "a look at the beginning must not replace what a whole pass found"


def rates(colour_hz, depth_hz, seconds=2.0, shift=0.0):
    """Messages of both streams at their own rates, in order of time."""
    messages = [(INFO, "sensor_msgs/msg/CameraInfo", 0.0, camera_info())]
    for i, stamp in enumerate(np.arange(0, seconds, 1 / colour_hz)):
        messages.append((COLOUR, "sensor_msgs/msg/Image", stamp, image(stamp, colour_frame(i), "rgb8")))
    for i, stamp in enumerate(np.arange(0, seconds, 1 / depth_hz) + shift):
        messages.append((DEPTH, "sensor_msgs/msg/Image", stamp, image(stamp, depth_frame(i), "16UC1")))
    return sorted(messages, key=lambda m: m[2])


@pytest.mark.parametrize(
    ("colour_hz", "depth_hz", "shift", "tolerance", "frames", "unpaired_colour", "unpaired_depth"),
    [
        (30, 30, 0.010, 0.02, 60, 0, 0),
        (30, 30, 0.010, 0.005, 0, None, None),
        (30, 15, 0.0, 0.005, 30, 30, 0),
        (15, 30, 0.0, 0.005, 30, 0, 30),
        (30, 15, 0.0, 0.04, 60, 0, 0),
        (6, 5, 0.0, 0.02, 2, 10, 8),
    ],
)
def test_each_colour_image_takes_the_nearest_depth_within_the_tolerance(
    tmp_path, colour_hz, depth_hz, shift, tolerance, frames, unpaired_colour, unpaired_depth
):
    path = write_bag(tmp_path / "bag", rates(colour_hz, depth_hz, shift=shift))
    if frames == 0:
        with pytest.raises(RecordingError, match="within 5 ms"):
            open_recording(path, pairing_tolerance=tolerance)
        return
    recording = open_recording(path, pairing_tolerance=tolerance)
    for frame in recording.frames():
        of_depth = round((float(frame.depth[0, 0]) - 0.5) * 1000) / depth_hz + shift
        nearest = np.min(np.abs(np.arange(0, 2, 1 / depth_hz) + shift - frame.stamp))
        assert abs(of_depth - frame.stamp) <= nearest + 1e-6 <= tolerance + 2e-6
    report = recording.report
    assert (report.frames, report.unpaired_colour, report.unpaired_depth) == (frames, unpaired_colour, unpaired_depth)
    assert report.worst_pairing <= tolerance and report.pairing_tolerance == tolerance


@pytest.mark.parametrize("tolerance", [-0.001, 1.5, float("nan")])
def test_a_tolerance_out_of_range_is_refused(tmp_path, tolerance):
    with pytest.raises(RecordingError, match="out of range"):
        open_recording(tmp_path, pairing_tolerance=tolerance)


def test_repeated_stamps_are_counted_and_unstamped_images_refused(tmp_path):
    messages = rgbd_messages(10)
    messages += [messages[-2], messages[-1]]
    recording = open_recording(write_bag(tmp_path / "bag", messages))
    assert sum(1 for _ in recording.frames()) == 10
    assert recording.report.duplicates == 2 and "repeat the stamp" in recording.report.summary()
    unstamped = [(INFO, "sensor_msgs/msg/CameraInfo", 0.0, camera_info())]
    for i in range(5):
        unstamped.append((COLOUR, "sensor_msgs/msg/Image", i / 30, image(0.0, colour_frame(i), "rgb8")))
    recording = open_recording(write_bag(tmp_path / "unstamped", unstamped))
    with pytest.raises(RecordingError, match="same stamp"):
        list(recording.frames())


def test_colour_alone_is_a_monocular_recording_and_said_so(tmp_path):
    recording = open_recording(write_bag(tmp_path / "bag", rgbd_messages(5, depth=False)))
    assert not recording.has_depth and recording.frame_count == 5
    assert all(frame.depth is None for frame in recording.frames())
    assert any("monocular" in text for text in recording.report.assumptions)
    messages = rgbd_messages(5, depth=False, info=False)
    recording = open_recording(write_bag(tmp_path / "bare", messages))
    assert (recording.camera.width, recording.camera.height) == (WIDTH, HEIGHT)
    assert any("60 degrees is assumed" in text for text in recording.report.assumptions)


def test_several_topics_must_be_chosen_from(tmp_path):
    other = "/camera/left/image_raw"
    messages = [m for m in rgbd_messages(4) if m[0] != COLOUR]
    for i in range(4):
        for topic in (other, "/camera/right/image_raw"):
            messages.append((topic, "sensor_msgs/msg/Image", i / 30, image(i / 30, colour_frame(i), "rgb8")))
    path = write_bag(tmp_path / "bag", messages)
    with pytest.raises(RecordingError, match=r"several colour topics.*colour_topic"):
        open_recording(path)
    recording = open_recording(path, colour_topic=other, depth_topic=DEPTH)
    assert recording.colour_topic == other and sum(1 for _ in recording.frames()) == 4
    with pytest.raises(RecordingError, match="no topic /nothing"):
        open_recording(path, colour_topic="/nothing")


def test_packed_streams(tmp_path):
    rng = np.random.default_rng(2)
    v, u = np.mgrid[:HEIGHT, :WIDTH]
    smooth = np.dstack([2 * u + 20, 3 * v + 40, 200 - 2 * u]).astype(np.uint8)
    values = rng.integers(300, 2000, (HEIGHT, WIDTH)).astype(np.uint16)
    values[:5] = 0
    for i, (colour_data, depth_codec) in enumerate([(jpeg(smooth), "png"), (png(smooth[..., ::-1]), "rvl")]):
        depth_data = compressed_depth_data(values, depth_codec)
        kind = "sensor_msgs/msg/CompressedImage"
        messages = [
            (INFO, "sensor_msgs/msg/CameraInfo", 0.0, camera_info()),
            (f"{COLOUR}/compressed", kind, 0.0, compressed(0, colour_data, "rgb8; jpeg compressed bgr8")),
            (f"{DEPTH}/compressedDepth", kind, 0.0, compressed(0, depth_data, f"16UC1; compressedDepth {depth_codec}")),
        ]
        recording = open_recording(write_bag(tmp_path / f"bag{i}", messages))
        frame = next(recording.frames())
        assert recording.has_depth and np.abs(frame.rgb.astype(int) - smooth).max() <= (8 if i == 0 else 0)
        assert np.allclose(frame.depth, values / 1000, atol=1e-6)


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
    tf = transforms(("base", "camera_link", np.eye(4)))
    messages = [*rgbd_messages(3), ("/tf_static", "tf2_msgs/msg/TFMessage", 0.0, tf)]
    recording = open_recording(write_bag(tmp_path / "other", messages))
    assert any("does not connect task_frame and camera_color" in text for text in recording.assumptions)


def test_annotation_beside_the_bag(tmp_path):
    path = write_bag(tmp_path / "bag", rgbd_messages(3))
    TaskSpec.load("pour").save(path / "task.yaml")
    assert open_recording(path).annotation.name == "pour"


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        (rgbd_messages(3, colour=False), "no colour image topic"),
        (rgbd_messages(3, info=False), "no camera_info"),
        (rgbd_messages(3, depth_offset=5.0), "has a partner"),
        ([(INFO, "sensor_msgs/msg/CameraInfo", 0.0, camera_info())], "no colour image topic"),
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


CLIP = Path(os.environ.get("PAD_REAL_CLIPS", "")) / "pour_kettle.mp4"


@pytest.mark.skipif(not CLIP.is_file(), reason="PAD_REAL_CLIPS names no folder with pour_kettle.mp4")
def test_real_clip_streams():
    recording = open_recording(CLIP)
    stamps = [f.stamp for _, f in zip(range(20), recording.frames(), strict=False)]
    assert len(stamps) == 20 and np.all(np.diff(stamps) > 0)
