"""cv_bridge and tf2 where they exist, rosbags-image and scipy where they do not: the same numbers."""

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recordings import image

from pad_parse import geometry, ros_transforms
from pad_parse.errors import GeometryError, RecordingError
from pad_parse.recording import images
from pad_parse.recording.encoded import DamagedImageError

needs_cv_bridge = pytest.mark.skipif(
    images.backend() != "cv_bridge", reason="cv_bridge is not importable here (it comes with a ROS host)"
)
needs_tf2 = pytest.mark.skipif(
    ros_transforms.backend() != "tf2",
    reason="tf2_py and tf_transformations are not importable here (a ROS host has them)",
)
RNG = np.random.default_rng(4)
RGB = RNG.integers(0, 255, (6, 8, 3), dtype=np.uint8)


def colour_message(encoding):
    size = images.COLOUR_ENCODINGS[encoding]
    if encoding == "rgb8":
        return image(0, RGB, encoding)
    return image(0, RNG.integers(0, 255, (6, 8, size), dtype=np.uint8).squeeze(), encoding)


@needs_cv_bridge
def test_cv_bridge_and_rosbags_image_give_the_same_numbers():
    for encoding in images.COLOUR_ENCODINGS:
        message = colour_message(encoding)
        assert np.array_equal(*[images.colour_image(message, chosen) for chosen in images.BACKENDS]), encoding
    metres = RNG.uniform(0.3, 2, (6, 8)).astype(np.float32)
    for encoding in images.DEPTH_ENCODINGS:
        message = image(0, metres if encoding == "32FC1" else (1000 * metres).astype(np.uint16), encoding)
        assert np.array_equal(*[images.depth_image(message, chosen) for chosen in images.BACKENDS]), encoding


@pytest.mark.parametrize("encoding", images.COLOUR_ENCODINGS)
def test_each_colour_encoding_is_read(encoding):
    result = images.colour_image(colour_message(encoding))
    assert result.shape == (6, 8, 3) and result.dtype == np.uint8 and result.flags.writeable


def test_channels_come_in_the_stated_order():
    alpha = np.dstack([RGB, np.full((6, 8), 9, np.uint8)])
    flipped = alpha[..., [2, 1, 0, 3]]
    for array, encoding in [(RGB, "rgb8"), (RGB[..., ::-1], "bgr8"), (alpha, "rgba8"), (flipped, "bgra8")]:
        assert np.array_equal(images.colour_image(image(0, array, encoding)), RGB)
    grey = images.colour_image(image(0, RGB[..., 0], "mono8"))
    assert all(np.array_equal(grey[..., i], RGB[..., 0]) for i in range(3))
    # One colour everywhere: a Bayer image of it is that colour again.
    mosaic = np.tile(np.array([[200, 90], [90, 30]], np.uint8), (4, 4))
    assert np.all(images.colour_image(image(0, mosaic, "bayer_rggb8"))[2:-2, 2:-2] == [200, 90, 30])


def test_padded_rows_and_data_of_either_kind():
    padded = np.zeros((6, 8 * 3 + 5), np.uint8)
    padded[:, : 8 * 3] = RGB.reshape(6, -1)
    message = image(0, padded, "rgb8")
    message.width = 8
    assert np.array_equal(images.colour_image(message), RGB)
    message.data = bytes(message.data)  # as rclpy may hold it
    assert np.array_equal(images.colour_image(message), RGB)


def test_what_cannot_be_is_an_error():
    with pytest.raises(RecordingError, match="'8UC3' is not read; use one of rgb8"):
        images.colour_image(image(0, RGB, "8UC3"))
    with pytest.raises(RecordingError, match="'rgb8' is not read; use one of 16UC1"):
        images.depth_image(image(0, RGB, "rgb8"))
    message = image(0, RGB, "rgb8")
    message.width = 2**31
    with pytest.raises(DamagedImageError, match="cannot be"):
        images.colour_image(message)
    message = image(0, RGB, "rgb8")
    message.data = message.data[:-1]
    with pytest.raises(DamagedImageError, match="143 bytes of 144"):
        images.colour_image(message)


@pytest.fixture
def cv_bridge(monkeypatch):
    """A stand-in module; its `answer` is what its conversion returns or raises."""
    module = ModuleType("cv_bridge")
    module.answer = np.array([[[3, 2, 1]]], np.uint8)

    class CvBridge:
        def imgmsg_to_cv2(self, message, encoding):
            if isinstance(module.answer, Exception):
                raise module.answer
            return module.answer

    module.CvBridge = CvBridge
    monkeypatch.setitem(sys.modules, "cv_bridge", module)
    for cached in (images.backend, images._converter):
        cached.cache_clear()
    yield module
    for cached in (images.backend, images._converter):
        cached.cache_clear()


@pytest.mark.parametrize(
    ("answer", "backend"),
    [
        (np.array([[[3, 2, 1]]], np.uint8), "cv_bridge"),
        (np.array([[[1, 2, 3]]], np.uint8), "rosbags-image"),
        (AttributeError("_ARRAY_API not found"), "rosbags-image"),
    ],
)
def test_a_cv_bridge_that_does_not_work_is_not_used(cv_bridge, answer, backend):
    cv_bridge.answer = answer
    assert images.backend() == backend


ANGLES = st.floats(-3.0, 3.0)
POSES = st.tuples(*[ANGLES] * 6).map(lambda v: geometry.make_pose(geometry.rotation_exp(v[:3]), v[3:]))


def transform_message(pose):
    translation, rotation = SimpleNamespace(), SimpleNamespace()
    message = SimpleNamespace(translation=translation, rotation=rotation)
    ros_transforms.fill_pose(message, pose)
    return message


@settings(max_examples=30, deadline=None, derandomize=True)
@given(POSES)
def test_poses_survive_a_message(pose):
    message = transform_message(pose)
    assert np.allclose(ros_transforms.pose_matrix(message.translation, message.rotation), pose, atol=1e-9)
    assert message.rotation.w >= 0


def test_a_transform_that_is_no_pose_is_refused():
    message = transform_message(np.eye(4))
    message.rotation.w = 0.0
    with pytest.raises(GeometryError, match="no pose"):
        ros_transforms.pose_matrix(message.translation, message.rotation)
    message.rotation.w, message.translation.x = 1.0, float("nan")
    with pytest.raises(GeometryError, match="no pose"):
        ros_transforms.pose_matrix(message.translation, message.rotation)


def tree_of(edges, chosen):
    tree = ros_transforms.frame_tree(chosen)
    for parent, child, pose in edges:
        tree.add(parent, child, pose)
    return tree


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.lists(POSES, min_size=5, max_size=5))
def test_chains_of_frames(poses):
    a, b, c, d, e = poses
    edges = [("task_frame", "table", a), ("table", "/mount", b), ("mount", "camera", c), ("table", "robot", d)]
    tree = tree_of([*edges, ("elsewhere", "island", e)], "scipy")
    assert np.allclose(tree.lookup("task_frame", "camera"), a @ b @ c, atol=1e-9)
    assert np.allclose(tree.lookup("robot", "camera"), geometry.inverse(d) @ b @ c, atol=1e-9)
    assert np.allclose(tree.lookup("camera", "task_frame"), geometry.inverse(a @ b @ c), atol=1e-9)
    assert tree.lookup("task_frame", "island") is None and tree.lookup("task_frame", "nothing") is None
    assert np.array_equal(tree.lookup("camera", "/camera"), np.eye(4))
    tree.add("task_frame", "mount", e)
    assert np.allclose(tree.lookup("task_frame", "camera"), e @ c, atol=1e-9)


def test_a_loop_of_frames_ends():
    pose = geometry.yaw_pose(0.1, 1, 0, 0)
    tree = tree_of([("a", "b", pose), ("b", "c", pose), ("c", "a", pose)], "scipy")
    assert tree.lookup("a", "z") is None and tree.lookup("z", "a") is None and tree.lookup("b", "a") is not None


@needs_tf2
@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.lists(POSES, min_size=3, max_size=3))
def test_tf2_and_scipy_give_the_same_transforms(poses):
    edges = [("task_frame", "a", poses[0]), ("a", "b", poses[1]), ("task_frame", "c", poses[2])]
    first, second = (tree_of(edges, chosen) for chosen in ros_transforms.BACKENDS)
    for target, source in [("task_frame", "b"), ("c", "b"), ("b", "task_frame")]:
        assert np.allclose(first.lookup(target, source), second.lookup(target, source), atol=1e-9)
    assert first.lookup("task_frame", "nothing") is second.lookup("task_frame", "nothing") is None
    for pose in poses:
        quaternions = [ros_transforms.quaternion_of(pose, chosen) for chosen in ros_transforms.BACKENDS]
        assert np.allclose(*quaternions, atol=1e-9)
        message = transform_message(pose)
        matrices = [
            ros_transforms.pose_matrix(message.translation, message.rotation, c) for c in ros_transforms.BACKENDS
        ]
        assert np.allclose(*matrices, atol=1e-9)
