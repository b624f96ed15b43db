"""RGB-D folders: the layout, its stamps, and what is refused."""

import json

import numpy as np
import pytest
from recordings import HEIGHT, WIDTH, colour_frame, depth_frame, png, write_folder

from pad_parse import geometry
from pad_parse.errors import RecordingError
from pad_parse.recording import open_recording
from pad_parse.task import TaskSpec


def change_camera(path, **values):
    content = json.loads((path / "camera.json").read_text()) | values
    (path / "camera.json").write_text(json.dumps({k: v for k, v in content.items() if v is not None}))


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_folder_with_stamps_in_the_names(tmp_path, suffix):
    pose = geometry.yaw_pose(0.3, 0.1, 0.2, 0.6)
    path = write_folder(tmp_path / "rec", suffix=suffix, transform_camera_to_task=pose.tolist())
    TaskSpec.load("pour").save(path / "task.yaml")
    recording = open_recording(path)
    assert recording.has_depth and recording.frame_count == 6 and recording.annotation.name == "pour"
    assert np.allclose(recording.camera.transform_camera_to_task, pose) and recording.assumptions == []
    frames = list(recording.frames())
    assert np.allclose([f.stamp for f in frames], np.arange(6) / 30, atol=1e-6)
    assert np.abs(frames[4].rgb[3, 4].astype(int) - [4, 10, 200]).max() <= 3
    assert np.isclose(frames[4].depth[0, 0], 0.504)
    assert recording.report.frames == 6 and 0.0039 < recording.report.worst_pairing < 0.0041


def test_depth_scale_stamp_unit_and_rate(tmp_path):
    path = write_folder(tmp_path / "rec", 3, depth_scale=0.0002)
    assert np.isclose(next(open_recording(path).frames()).depth[0, 0], 0.1)
    path = write_folder(tmp_path / "numbered", 0, rate=15.0)
    (path / "depth").mkdir()
    for i in range(4):
        (path / "colour" / f"frame_{i:06d}.png").write_bytes(png(colour_frame(i)))
        (path / "depth" / f"{i:06d}.png").write_bytes(png(depth_frame(i)))
    assert np.allclose([f.stamp for f in open_recording(path).frames()], np.arange(4) / 15)
    change_camera(path, rate=None, stamp_unit="ms")
    assert np.allclose([f.stamp for f in open_recording(path).frames()], np.arange(4) / 1000)


def test_lists_of_files_in_any_order(tmp_path):
    path = write_folder(tmp_path / "rec", 4)
    files = sorted((path / "colour").iterdir())
    lines = [f"{10 + i / 10} colour/{file.name}" for i, file in enumerate(files)]
    (path / "rgb.txt").write_text("# stamps\n" + "\n".join(reversed(lines)) + "\n\n")
    depth = sorted((path / "depth").iterdir())
    (path / "depth.txt").write_text("\n".join(f"{10.001 + i / 10} depth/{f.name}" for i, f in enumerate(depth)))
    frames = list(open_recording(path).frames())
    assert np.allclose([f.stamp for f in frames], 10 + np.arange(4) / 10)
    assert [int(f.rgb[0, 0, 0]) for f in frames] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "line", ["x colour/0.000000.png", "1.0", "1.0 ../outside.png", "1.0 /etc/hostname", "nan colour/0.000000.png"]
)
def test_a_list_that_is_none_or_leads_elsewhere_is_refused(tmp_path, line):
    path = write_folder(tmp_path / "rec", 2)
    (tmp_path / "outside.png").write_bytes(png(colour_frame(0)))
    (path / "colour.txt").write_text(f"{line}\n")
    with pytest.raises(RecordingError, match=r"colour\.txt, line 1"):
        open_recording(path)


def test_without_depth_it_is_monocular(tmp_path):
    recording = open_recording(write_folder(tmp_path / "rec", depth=False))
    assert not recording.has_depth and any("monocular" in text for text in recording.assumptions)
    assert len(list(recording.frames())) == 6


def test_distortion_is_taken_out(tmp_path):
    path = write_folder(tmp_path / "rec", 2)
    plain = next(open_recording(path).frames())
    change_camera(path, distortion=[0.4, 0.0, 0.0, 0.0, 0.0])
    bent = next(open_recording(path).frames())
    assert np.all(plain.rgb[:, :, 2] == 200) and not np.all(bent.rgb[:, :, 2] == 200)
    change_camera(path, distortion=[0.4, 0.1])
    with pytest.raises(RecordingError, match="plumb_bob takes 4 or 5"):
        open_recording(path)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"width": None}, "width: Field required"),
        ({"colour_space": "rgb"}, "known keys: width"),
        ({"depth_scale": 0}, "depth_scale"),
        ({"depth_scale": "a lot"}, "depth_scale"),
        ({"matrix": [[0, 0, 0], [0, 0, 0], [0, 0, 1]]}, "focal lengths"),
        ({"transform_camera_to_task": [[1, 0, 0, 0], [0, 2, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]}, "rigid"),
        ({"width": 20}, "camera.json is for 20 x 32 pixels, the images have 48 x 32"),
    ],
)
def test_a_camera_file_that_does_not_fit_is_one_clear_line(tmp_path, change, text):
    path = write_folder(tmp_path / "rec", 2)
    change_camera(path, **change)
    with pytest.raises(RecordingError, match=text) as caught:
        open_recording(path)
    assert "camera.json" in str(caught.value) and "\n" not in str(caught.value)


def test_other_faults_are_clear(tmp_path):
    path = write_folder(tmp_path / "none", 0)
    with pytest.raises(RecordingError, match="no colour images"):
        open_recording(path)
    path = write_folder(tmp_path / "unnamed", 1)
    (path / "colour" / "first.png").write_bytes(png(colour_frame(0)))
    with pytest.raises(RecordingError, match=r"first\.png has no stamp"):
        open_recording(path)
    path = write_folder(tmp_path / "size", 2)
    (path / "depth" / "9.png").write_bytes(png(depth_frame(0, WIDTH // 2)))
    (path / "colour" / "9.png").write_bytes(png(colour_frame(0)))
    with pytest.raises(RecordingError, match=f"depth is 24 x {HEIGHT}"):
        list(open_recording(path).frames())
    path = write_folder(tmp_path / "eight_bit", 2)
    for file in (path / "depth").iterdir():
        file.write_bytes(png(np.zeros((HEIGHT, WIDTH), np.uint8)))
    with pytest.raises(RecordingError, match="none of its 2 images"):
        open_recording(path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "photo.jpg").write_bytes(b"x")
    with pytest.raises(RecordingError, match=r"RGB-D folder has camera\.json"):
        open_recording(tmp_path / "other")


def test_damaged_images_are_left_out_and_counted(tmp_path):
    path = write_folder(tmp_path / "rec", 12)
    files = sorted((path / "colour").iterdir())
    files[3].write_bytes(files[3].read_bytes()[:60])
    files[7].write_bytes(b"")
    recording = open_recording(path)
    assert len(list(recording.frames())) == 10
    assert recording.report.damaged == 2 and "could not be decoded" in recording.report.summary()
