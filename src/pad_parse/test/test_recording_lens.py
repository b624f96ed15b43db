"""Lens distortion: a point seen through the lens is found where the pinhole camera sees it."""

import cv2
import numpy as np
import pytest
from recordings import COLOUR, DEPTH, INFO, camera_info, colour_frame, depth_frame, image, rgbd_messages, write_bag

from pad_parse.camera import Camera
from pad_parse.errors import CameraError, RecordingError
from pad_parse.geometry import project
from pad_parse.recording import open_recording
from pad_parse.recording.lens import lens

CAMERA = Camera.from_horizontal_fov(320, 240, 1.2)
MODELS = [
    ("plumb_bob", [-0.25, 0.08, 0.001, -0.002, -0.01]),
    ("rational_polynomial", [0.3, 0.05, 0.001, 0.001, 0.01, 0.6, 0.1, 0.02]),
    ("equidistant", [-0.02, 0.01, -0.004, 0.001]),
]


@pytest.mark.parametrize(("model", "numbers"), MODELS)
def test_a_distorted_dot_is_moved_to_where_it_belongs(model, numbers):
    points = np.array([[0.25, -0.12, 1.0], [-0.4, 0.3, 1.0], [0.1, 0.05, 1.0]])
    if model == "equidistant":
        seen, _ = cv2.fisheye.projectPoints(points[:, None], np.zeros(3), np.zeros(3), CAMERA.matrix, np.array(numbers))
    else:
        seen, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), CAMERA.matrix, np.array(numbers))
    v, u = np.mgrid[:240, :320]
    picture = sum(np.exp(-((u - x) ** 2 + (v - y) ** 2) / 8.0) for x, y in seen.reshape(-1, 2))
    rectified = lens(CAMERA, model, numbers).rectify_depth(picture.astype(np.float32))
    for x, y in project(points, CAMERA.matrix):
        near = (abs(u - x) < 8) & (abs(v - y) < 8)
        weights = rectified * near
        found = np.array([(weights * u).sum(), (weights * v).sum()]) / weights.sum()
        assert np.linalg.norm(found - [x, y]) < 0.5
    assert np.linalg.norm(seen.reshape(-1, 2) - project(points, CAMERA.matrix), axis=1).max() > 2


def test_no_distortion_no_lens_and_wrong_ones_are_refused():
    assert lens(CAMERA, "plumb_bob", [0.0] * 5) is None and lens(CAMERA, "", []) is None
    with pytest.raises(CameraError, match="'thin_prism' is not known; known: plumb_bob"):
        lens(CAMERA, "thin_prism", [0.1] * 5)
    with pytest.raises(CameraError, match="equidistant takes 4 finite"):
        lens(CAMERA, "equidistant", [0.1] * 5)


def with_distortion(numbers, model="plumb_bob"):
    info = camera_info()
    info.d, info.distortion_model = np.array(numbers), model
    info.p = np.array([40.0, 0, 23, 0, 0, 41, 15, 0, 0, 0, 1, 0])
    return info


def messages_on(colour_topic, info, frame="camera_color_optical_frame"):
    depth = image(0, depth_frame(0), "16UC1")
    depth.header.frame_id = frame
    return [
        (INFO, "sensor_msgs/msg/CameraInfo", 0.0, info),
        (colour_topic, "sensor_msgs/msg/Image", 0.0, image(0, colour_frame(0), "rgb8")),
        (DEPTH, "sensor_msgs/msg/Image", 0.0, depth),
    ]


def test_images_that_the_driver_has_rectified_take_p_and_no_distortion(tmp_path):
    info = with_distortion([0.4, 0, 0, 0, 0])
    raw = open_recording(write_bag(tmp_path / "raw", messages_on(COLOUR, info)))
    rectified = open_recording(write_bag(tmp_path / "rect", messages_on("/camera/color/image_rect", info)))
    assert raw.camera.matrix[0, 0] == 50 and not np.all(next(raw.frames()).rgb[..., 2] == 200)
    assert rectified.camera.matrix[0].tolist() == [40, 0, 23] and np.all(next(rectified.frames()).rgb[..., 2] == 200)


def test_an_unknown_distortion_model_is_one_clear_line(tmp_path):
    path = write_bag(tmp_path / "bag", messages_on(COLOUR, with_distortion([0.4] * 4, "bent")))
    with pytest.raises(RecordingError, match="'bent' is not known"):
        open_recording(path)


def test_depth_of_another_frame_is_said(tmp_path):
    messages = messages_on(COLOUR, camera_info(), "camera_depth_optical_frame")
    recording = open_recording(write_bag(tmp_path / "bag", messages))
    assert any("'camera_depth_optical_frame'" in text for text in recording.assumptions)
    recording = open_recording(write_bag(tmp_path / "aligned", rgbd_messages(2)))
    assert not any("taken as aligned" in text for text in recording.assumptions)
