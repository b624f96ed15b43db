"""The action as clients use it: feedback, result, cancel, and one clear message for what cannot be parsed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not there")
pytest.importorskip("pad_msgs", reason="the workspace with pad_msgs is not built or not sourced")

import cv2
import rclpy
from action_msgs.msg import GoalStatus
from rclpy.action import ActionClient
from rclpy.executors import SingleThreadedExecutor

from pad_msgs.action import ParseDemonstration

DOMAIN = 1 + os.getpid() % 39  # below those of pad_bringup.domain
ENVIRONMENT = {**os.environ, "ROS_DOMAIN_ID": str(DOMAIN), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}


class Client:
    def __init__(self):
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=DOMAIN)
        self.node = rclpy.create_node("client", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.action = ActionClient(self.node, ParseDemonstration, "/pad/parse_demonstration")
        self.feedback = []

    def until(self, there, seconds=60.0):
        deadline = time.monotonic() + seconds
        while not there():
            assert time.monotonic() < deadline, "nothing came in time"
            self.executor.spin_once(timeout_sec=0.05)

    def send(self, recording, output, task="pour"):
        goal = ParseDemonstration.Goal(recording=str(recording), task=task, output=str(output))
        future = self.action.send_goal_async(goal, feedback_callback=lambda m: self.feedback.append(m.feedback))
        self.until(future.done)
        return future.result()

    def result(self, handle):
        future = handle.get_result_async()
        self.until(future.done)
        return future.result()

    def close(self):
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)


@pytest.fixture(scope="module")
def client():
    process = subprocess.Popen(
        [sys.executable, "-m", "pad_parse.nodes.demonstration_server"],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    client = Client()
    try:
        client.until(client.action.server_is_ready, 90.0)
        yield client
        assert process.poll() is None, process.stdout.read()
    finally:
        client.close()
        process.send_signal(signal.SIGINT)
        try:
            output, _ = process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
    assert process.returncode == 0, output


@pytest.fixture(scope="module")
def noise(tmp_path_factory) -> Path:
    """A video without hands, long enough to be cancelled in the middle."""
    path = tmp_path_factory.mktemp("video") / "noise.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 30.0, (640, 480))
    rng = np.random.default_rng(0)
    tile = rng.integers(0, 255, (480, 640, 3), dtype=np.uint8)
    for _ in range(300):
        writer.write(tile)
    writer.release()
    return path


@pytest.mark.timeout(120)
def test_what_cannot_be_parsed_is_said_in_the_result(client, noise, tmp_path):
    out = tmp_path / "x.demo.h5"
    codes = ParseDemonstration.Result
    for recording, task, output, code, text in (
        ("/nowhere/bag", "pour", out, codes.BAD_RECORDING, "/nowhere/bag"),
        (noise, "juggle", out, codes.BAD_TASK, "juggle"),
        (noise, "pour", "", codes.BAD_TASK, "no output"),
    ):
        answer = client.result(client.send(recording, output, task))
        assert answer.status == GoalStatus.STATUS_ABORTED
        assert answer.result.error_code == code and text in answer.result.error_message
    assert not out.exists()


@pytest.mark.timeout(120)
def test_cancel_stops_in_the_middle_and_the_server_goes_on(client, noise, tmp_path):
    client.feedback.clear()
    out = tmp_path / "y.demo.h5"
    handle = client.send(noise, out)
    assert handle.accepted
    assert not client.send(noise, tmp_path / "z.demo.h5").accepted, "one recording at a time"
    client.until(lambda: len(client.feedback) > 1)
    assert all(0.0 <= f.fraction <= 1.0 and f.stage for f in client.feedback)
    cancelled = handle.cancel_goal_async()
    client.until(cancelled.done)
    answer = client.result(handle)
    assert answer.status == GoalStatus.STATUS_CANCELED
    assert answer.result.error_code == ParseDemonstration.Result.CANCELLED
    assert not out.exists()
    again = client.result(client.send("/nowhere/bag", out))
    assert again.result.error_code == ParseDemonstration.Result.BAD_RECORDING
