"""The nodes of both cells as real processes over DDS: rates, one stamp per picture set, commands, reset, Ctrl-C."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("pad_msgs.msg", reason="needs the built workspace (pad_msgs)")

from rclpy.context import Context  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.node import Node  # noqa: E402
from sensor_msgs.msg import CameraInfo, Image, JointState  # noqa: E402
from std_msgs.msg import Float64MultiArray  # noqa: E402

from pad_bringup import names  # noqa: E402
from pad_bringup.graph import environment  # noqa: E402
from pad_msgs.msg import CellOutcome, KeypointArray, ObjectPose  # noqa: E402
from pad_msgs.srv import ResetCell  # noqa: E402
from pad_parse import qos  # noqa: E402

DOMAIN = 1 + os.getpid() % 39  # below those of pad_bringup.domain
STAMPED = {
    "colour": (Image, names.COLOR_IMAGE, qos.CAMERA_OUT),
    "depth": (Image, names.ALIGNED_DEPTH_IMAGE, qos.CAMERA_OUT),
    "info": (CameraInfo, names.COLOR_INFO, qos.CAMERA_OUT),
    "joints": (JointState, names.JOINT_STATES, qos.JOINT_STATES),
    "outcome": (CellOutcome, names.CELL_OUTCOME, qos.STATUS),
    "truth": (KeypointArray, "/ground_truth/keypoints", qos.STATUS),
}


class Listener:
    """Collects what the cell says and talks to it."""

    def __init__(self) -> None:
        self.context = Context()
        rclpy.init(context=self.context, domain_id=DOMAIN)
        self.node = Node("listener", context=self.context, start_parameter_services=False)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.heard: dict[str, list] = {key: [] for key in STAMPED}
        for key, (kind, topic, profile) in STAMPED.items():
            self.node.create_subscription(kind, topic, self.heard[key].append, profile)
        self.arm = self.node.create_publisher(Float64MultiArray, names.arm_command_topic("left"), qos.COMMAND)
        self.gripper = self.node.create_publisher(Float64MultiArray, names.gripper_command_topic("left"), qos.COMMAND)
        self.reset = self.node.create_client(ResetCell, names.CELL_RESET)

    def until(self, done, seconds: float = 60.0) -> None:
        end = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < end, f"timed out; heard { ({k: len(v) for k, v in self.heard.items()}) }"
            self.executor.spin_once(timeout_sec=0.05)

    def call_reset(self, request: ResetCell.Request) -> ResetCell.Response:
        future = self.reset.call_async(request)
        self.until(future.done)
        return future.result()

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)


def _environment() -> dict[str, str]:
    return {**environment(), **os.environ} | {
        "ROS_DOMAIN_ID": str(DOMAIN),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "OMP_NUM_THREADS": "1",
    }


def _command(node: str, *parameters: str) -> list[str]:
    wanted = [word for parameter in parameters for word in ("-p", parameter)]
    return [sys.executable, "-m", f"pad_bringup.nodes.{node}", "--ros-args", *wanted]


@pytest.fixture(scope="module", params=["sim_cell", "mock_cell"])
def process(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[subprocess.Popen, Path]]:
    log = tmp_path_factory.mktemp(request.param) / "log"
    with log.open("wb") as stream:
        running = subprocess.Popen(
            _command(request.param, "seed:=5", "camera_rate:=10.0"),
            env=_environment(),
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    yield running, log
    if running.poll() is None:
        running.kill()
    running.wait()


@pytest.fixture(scope="module")
def listener(process: tuple[subprocess.Popen, Path]) -> Iterator[Listener]:
    for name, value in environment().items():
        os.environ.setdefault(name, value)
    found = Listener()
    yield found
    found.close()


def _stamp(message) -> float:
    return message.header.stamp.sec + message.header.stamp.nanosec * 1e-9


def _lately(listener: Listener, joint: str) -> float:
    message = listener.heard["joints"][-1]
    return message.position[list(message.name).index(joint)]


def test_publishes_under_the_robots_names(listener: Listener) -> None:
    listener.until(lambda: all(len(messages) > 2 for messages in listener.heard.values()), 40.0)
    joints = listener.heard["joints"][-1]
    assert len(joints.name) == 14
    assert (joints.name[0], joints.name[-1]) == ("left_shoulder_pan_joint", "right_finger_joint")
    assert np.isfinite(joints.position).all() and len(joints.velocity) == 14
    steps = np.diff([_stamp(m) for m in listener.heard["joints"]])
    assert np.median(steps) == pytest.approx(0.008, abs=1e-6) and steps.min() > 0
    colour, depth = listener.heard["colour"][-1], listener.heard["depth"][-1]
    assert (colour.encoding, depth.encoding) == ("rgb8", "16UC1")
    assert len(colour.data) == 640 * 480 * 3 and len(depth.data) == 640 * 480 * 2
    common = {_stamp(m) for m in listener.heard["colour"]} & {_stamp(m) for m in listener.heard["depth"]}
    assert common & {_stamp(m) for m in listener.heard["info"]}
    millimetres = np.frombuffer(bytes(depth.data), "<u2").reshape(480, 640)
    assert 500 < millimetres[400, 320] < 900
    assert len(listener.heard["truth"][-1].keypoints) == 11
    assert listener.heard["outcome"][-1].seed == 5


def test_obeys_commands_and_refuses_bad_ones(listener: Listener, process: tuple[subprocess.Popen, Path]) -> None:
    listener.until(lambda: listener.arm.get_subscription_count() > 0 and listener.gripper.get_subscription_count() > 0)
    before = np.array(listener.heard["joints"][-1].position[:6])
    listener.arm.publish(Float64MultiArray(data=(before + [0.1, 0, 0, 0, 0, 0]).tolist()))
    listener.gripper.publish(Float64MultiArray(data=[0.02]))
    listener.until(lambda: abs(_lately(listener, "left_shoulder_pan_joint") - before[0] - 0.1) < 2e-3)
    listener.until(lambda: abs(_lately(listener, "left_finger_joint") - 0.02) < 1e-3)
    listener.arm.publish(Float64MultiArray(data=[float("nan")] * 6))
    time.sleep(0.1)
    listener.arm.publish(Float64MultiArray(data=[0.0] * 5))
    listener.gripper.publish(Float64MultiArray(data=[0.0, 0.0]))
    mark = len(listener.heard["joints"])
    listener.until(lambda: len(listener.heard["joints"]) > mark + 60)
    assert abs(_lately(listener, "left_shoulder_pan_joint") - before[0] - 0.1) < 2e-3
    assert abs(_lately(listener, "left_finger_joint") - 0.02) < 1e-3
    assert "command ignored" in process[1].read_text()


def test_reset_places_objects_and_time_goes_on(listener: Listener) -> None:
    assert listener.reset.wait_for_service(timeout_sec=40.0)
    wanted = ObjectPose(name="cup")
    wanted.pose.position.x, wanted.pose.position.y, wanted.pose.orientation.w = 0.03, 0.2, 1.0
    answer = listener.call_reset(ResetCell.Request(seed=9, objects=[wanted]))
    assert answer.success, answer.message
    placed = {item.name: item.pose.position for item in answer.objects}
    assert placed["cup"].x == pytest.approx(0.03, abs=1e-3) and placed["cup"].y == pytest.approx(0.2, abs=1e-3)
    listener.until(lambda: listener.heard["outcome"][-1].seed == 9)
    refused = listener.call_reset(ResetCell.Request(seed=1, objects=[ObjectPose(name="jug")]))
    assert not refused.success and "no object 'jug'" in refused.message
    by_seed = [listener.call_reset(ResetCell.Request(seed=2)).objects for _ in range(2)]
    assert by_seed[0] == by_seed[1]
    steps = np.diff([_stamp(m) for m in listener.heard["joints"]])
    assert steps.min() > 0


def test_ends_cleanly_on_ctrl_c(process: tuple[subprocess.Popen, Path]) -> None:
    running, log = process
    running.send_signal(signal.SIGINT)
    assert running.wait(timeout=60) == 0
    assert "Traceback" not in log.read_text()


def test_bad_task_is_one_clear_line() -> None:
    done = subprocess.run(
        _command("sim_cell", "task:=juggle"), env=_environment(), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert "it has: " in done.stderr + done.stdout and "pour" in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
