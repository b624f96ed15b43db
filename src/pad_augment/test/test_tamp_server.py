"""tamp_server as a real process over DDS."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pour_scene
import pytest

rclpy = pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("pad_msgs.srv", reason="needs the built workspace (pad_msgs)")

from geometry_msgs.msg import Point, Pose, Quaternion  # noqa: E402
from rclpy.context import Context  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.node import Node  # noqa: E402

from pad_msgs.msg import ObjectPose  # noqa: E402
from pad_msgs.srv import GenerateTrajectory  # noqa: E402

DOMAIN = 1 + (os.getpid() + 50) % 100
ENVIRONMENT = {**os.environ, "ROS_DOMAIN_ID": str(DOMAIN), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}


def start(*parameters: str) -> subprocess.Popen[str]:
    arguments = [argument for parameter in parameters for argument in ("-p", parameter)]
    return subprocess.Popen(
        [sys.executable, "-m", "pad_augment.nodes.tamp_server", "--ros-args", *arguments],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture(scope="module")
def demonstration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pour_scene.demonstration().save(tmp_path_factory.mktemp("demo") / "pour.demo.h5")


@pytest.fixture(scope="module")
def server(demonstration: Path) -> Iterator[subprocess.Popen[str]]:
    process = start(f"demonstration:={demonstration}", f"robot:={pour_scene.PROFILE}")
    yield process
    process.send_signal(signal.SIGINT)
    try:
        output = process.communicate(timeout=20)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    assert process.returncode == 0, output
    assert "Traceback" not in output, output


class Client:
    """Asks the server and waits for the answer."""

    def __init__(self) -> None:
        self.context = Context()
        rclpy.init(context=self.context, domain_id=DOMAIN)
        self.node = Node("asker", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.client = self.node.create_client(GenerateTrajectory, "/pad/generate_trajectory")

    def ask(self, **places: tuple[float, float]) -> GenerateTrajectory.Response:
        request = GenerateTrajectory.Request(
            objects=[
                ObjectPose(name=name, pose=Pose(position=Point(x=x, y=y, z=0.0), orientation=Quaternion(w=1.0)))
                for name, (x, y) in places.items()
            ]
        )
        future = self.client.call_async(request)
        self.executor.spin_until_future_complete(future, timeout_sec=30)
        response = future.result()
        assert response is not None
        return response

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)


@pytest.fixture(scope="module")
def client(server: subprocess.Popen[str]) -> Iterator[Client]:
    client = Client()
    assert client.client.wait_for_service(timeout_sec=40)
    yield client
    client.close()


def test_a_scene_is_answered_with_both_arms_and_the_keypoints(client: Client) -> None:
    response = client.ask(bottle=(0.02, -0.2), cup=(-0.02, 0.2))
    assert (response.error_code, response.error_message) == (response.SUCCESS, "")
    trajectory = response.joint_trajectory
    robot = pour_scene.robot()
    assert trajectory.joint_names == robot.joint_names
    positions = np.array([point.positions for point in trajectory.points])
    np.testing.assert_allclose(positions[0], robot.home.ravel(), atol=1e-6)
    times = np.array([p.time_from_start.sec + 1e-9 * p.time_from_start.nanosec for p in trajectory.points])
    assert times[0] == 0 and (np.diff(times) > 0).all()
    assert len(response.keypoints) == len(response.left_opening) == len(response.right_opening) == len(positions)
    first = response.keypoints[0]
    assert first.task == "pour" and first.header.frame_id == "task_frame" and len(first.keypoints) == 11
    assert {k.object for k in first.keypoints} == {"bottle", "cup"}


def test_it_answers_fast(client: Client) -> None:
    rng = np.random.default_rng(0)
    client.ask(bottle=(0.0, -0.2), cup=(0.0, 0.2))
    seconds = []
    for _ in range(5):
        begin = time.perf_counter()
        client.ask(bottle=(rng.uniform(-0.05, 0.05), -0.2), cup=(0.0, 0.2))
        seconds.append(time.perf_counter() - begin)
    assert np.median(seconds) < 2.0


@pytest.mark.parametrize(
    ("places", "code", "message"),
    [
        ({"bottle": (0.0, -0.2)}, GenerateTrajectory.Response.UNKNOWN_OBJECT, "needed: bottle, cup"),
        ({"bottle": (0.0, -0.2), "jug": (0, 0)}, GenerateTrajectory.Response.UNKNOWN_OBJECT, "needed: bottle, cup"),
        ({"bottle": (0.0, -0.2), "cup": (1.5, 0.2)}, GenerateTrajectory.Response.UNREACHABLE, "unreachable_left"),
    ],
)
def test_failures_are_answered_with_their_code(client: Client, places: dict, code: int, message: str) -> None:
    response = client.ask(**{name: (float(x), float(y)) for name, (x, y) in places.items()})
    assert response.error_code == code and message in response.error_message
    assert not response.joint_trajectory.points


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ((), "parameter 'demonstration' is missing"),
        (("demonstration:=/none.demo.h5", f"robot:={pour_scene.PROFILE}"), "does not exist"),
    ],
)
def test_bad_parameters_end_it_with_one_line(parameters: tuple[str, ...], message: str) -> None:
    process = start(*parameters)
    output = process.communicate(timeout=40)[0]
    assert process.returncode == 2, output
    assert message in output and "Traceback" not in output
