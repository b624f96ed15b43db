"""Camera round trips and its file."""

import numpy as np
import pytest

from pad_parse import geometry
from pad_parse.camera import Camera
from pad_parse.errors import CameraError


def make_camera():
    pose = geometry.make_pose(geometry.rotation_exp([2.0, 0.1, -0.3]), [0.6, 0.0, 0.62])
    return Camera.from_horizontal_fov(640, 480, np.deg2rad(60), pose)


def test_task_pixels_round_trip(tmp_path):
    camera = make_camera()
    camera.save(tmp_path / "c.yaml")
    again = Camera.load(tmp_path / "c.yaml")
    assert np.array_equal(again.matrix, camera.matrix)
    pixels = np.array([[10.0, 20.0], [300.0, 400.0]])
    points = again.pixels_to_task(pixels, [0.5, 1.2])
    assert np.allclose(camera.task_to_pixels(points), pixels)


def test_unknown_pose_is_an_error_and_can_be_given():
    camera = Camera(make_camera().matrix, 640, 480)
    with pytest.raises(CameraError, match="not known"):
        camera.pixels_to_task([[1.0, 2.0]], [1.0])
    assert camera.with_extrinsics(np.eye(4)).pixels_to_task([[1.0, 2.0]], [1.0]).shape == (1, 3)


@pytest.mark.parametrize(
    "text", ["", "width: 3", "[1, 2", "width: 1\nheight: 1\nmatrix: [[0,0,0],[0,0,0],[0,0,1]]", "colour: 1"]
)
def test_wrong_file_is_one_clear_line(tmp_path, text):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(CameraError, match=r"c\.yaml") as caught:
        Camera.load(path)
    assert "\n" not in str(caught.value)


def test_missing_file():
    with pytest.raises(CameraError, match="does not exist"):
        Camera.load("/nowhere/c.yaml")
