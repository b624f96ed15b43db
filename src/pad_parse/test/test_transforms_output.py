"""Frames for RViz on /tf, where tf2_msgs is there; without it the node says so and goes on."""

import importlib.util
import os
import time

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not there")

import rclpy
from rclpy.executors import SingleThreadedExecutor

from pad_parse import geometry, qos
from pad_parse.nodes.transforms import TransformOutput

WITH_TF = importlib.util.find_spec("tf2_msgs") is not None


@pytest.fixture
def node():
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=60 + os.getpid() % 40)
    node = rclpy.create_node("frames", context=context)
    yield node
    node.destroy_node()
    rclpy.shutdown(context=context)


@pytest.mark.skipif(not WITH_TF, reason="tf2_msgs is not installed (it comes with a ROS host)")
def test_frames_are_below_the_task_frame(node):
    from tf2_msgs.msg import TFMessage

    received = {}
    for topic, profile in (("/tf", qos.TRANSFORMS), ("/tf_static", qos.LATCHED)):
        node.create_subscription(TFMessage, topic, lambda m, t=topic: received.setdefault(t, m), profile)
    output, pose = TransformOutput(node), geometry.yaw_pose(0.1, -0.2, 0.5)
    stamp = node.get_clock().now().to_msg()
    output.static("camera", np.eye(4), stamp)
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    deadline = time.monotonic() + 40.0
    while len(received) < 2 and time.monotonic() < deadline:
        output.moving({"object/cup": pose}, stamp)
        executor.spin_once(timeout_sec=0.1)
    executor.shutdown()
    assert received["/tf_static"].transforms[0].child_frame_id == "camera"
    (moved,) = received["/tf"].transforms
    assert (moved.header.frame_id, moved.child_frame_id, moved.header.stamp) == ("task_frame", "object/cup", stamp)
    t, q = moved.transform.translation, moved.transform.rotation
    assert np.allclose([t.x, t.y, t.z], pose[:3, 3])
    assert np.allclose([q.x, q.y, q.z, q.w], geometry.quaternion_xyzw(pose))


@pytest.mark.skipif(WITH_TF, reason="tf2_msgs is installed")
def test_without_tf2_nothing_is_published_and_nothing_breaks(node):
    output = TransformOutput(node)
    output.moving({"object/cup": np.eye(4)}, node.get_clock().now().to_msg())
    output.static("camera", np.eye(4), node.get_clock().now().to_msg())
    assert not {"/tf", "/tf_static"} & {name for name, _ in node.get_topic_names_and_types()}
