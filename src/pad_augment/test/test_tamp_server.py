"""tamp_server as a real process over DDS."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pour_scene
import pytest

rclpy = pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("pad_msgs.srv", reason="needs the built workspace (pad_msgs)")

from action_msgs.msg import GoalStatus  # noqa: E402
from builtin_interfaces.msg import Time  # noqa: E402
from geometry_msgs.msg import Point, Pose, Quaternion  # noqa: E402
from rclpy.action import ActionClient  # noqa: E402
from rclpy.action.client import ClientGoalHandle  # noqa: E402
from rclpy.context import Context  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.node import Node  # noqa: E402
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint  # noqa: E402
from visualization_msgs.msg import Marker, MarkerArray  # noqa: E402

from pad_augment.dataset import Dataset  # noqa: E402
from pad_augment.description import urdf_text  # noqa: E402
from pad_augment.nodes.scene_markers import PlanningMarkers  # noqa: E402
from pad_augment.nodes.trajectory_messages import display_message  # noqa: E402
from pad_augment.planning.moveit_host import why_absent  # noqa: E402
from pad_augment.trajectory import TaskPlanner  # noqa: E402
from pad_msgs.action import GenerateDataset  # noqa: E402
from pad_msgs.msg import ObjectPose  # noqa: E402
from pad_msgs.srv import GenerateTrajectory  # noqa: E402
from pad_parse import qos  # noqa: E402

DOMAIN = 1 + os.getpid() % 39  # below those of pad_bringup.domain
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
    process = start(f"demonstration:={demonstration}", f"robot:={pour_scene.PROFILE}", "planner:=auto", "workers:=1")
    yield process
    process.send_signal(signal.SIGINT)
    try:
        output = process.communicate(timeout=60)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    assert process.returncode == 0, output
    assert "Traceback" not in output, output
    # It says what it took, and why.
    assert ("planner roboplan: moveit.planning cannot be" if why_absent() else "planner moveit: MoveIt is") in output


class Client:
    """Asks the server and waits for the answer."""

    def __init__(self) -> None:
        self.context = Context()
        rclpy.init(context=self.context, domain_id=DOMAIN)
        self.node = Node("asker", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.client = self.node.create_client(GenerateTrajectory, "/pad/generate_trajectory")
        self.action = ActionClient(self.node, GenerateDataset, "/pad/generate_dataset")
        self.feedback: list[GenerateDataset.Feedback] = []
        self.markers: list[MarkerArray] = []
        self.planned: list[JointTrajectory] = []
        self.node.create_subscription(MarkerArray, "/pad/markers", self.markers.append, qos.LATCHED)
        self.node.create_subscription(JointTrajectory, "/pad/planned_trajectory", self.planned.append, qos.LATCHED)

    def ask(self, **places: tuple[float, float]) -> GenerateTrajectory.Response:
        request = GenerateTrajectory.Request(
            objects=[
                ObjectPose(name=name, pose=Pose(position=Point(x=x, y=y, z=0.0), orientation=Quaternion(w=1.0)))
                for name, (x, y) in places.items()
            ]
        )
        return self.call(request)

    def call(self, request: GenerateTrajectory.Request) -> GenerateTrajectory.Response:
        future = self.client.call_async(request)
        self.until(future.done)
        return future.result()

    def until(self, there: Callable[[], bool], seconds: float = 40.0) -> None:
        deadline = time.monotonic() + seconds
        while not there():
            assert time.monotonic() < deadline, "nothing came in time"
            self.executor.spin_once(timeout_sec=0.05)

    def send(self, demonstration: Path, output: Path, episodes: int, seed: int = 0) -> ClientGoalHandle:
        goal = GenerateDataset.Goal(demonstration=str(demonstration), output=str(output), episodes=episodes, seed=seed)
        future = self.action.send_goal_async(goal, feedback_callback=lambda m: self.feedback.append(m.feedback))
        self.until(future.done)
        return future.result()

    def result(self, handle: ClientGoalHandle) -> tuple[int, GenerateDataset.Result]:
        future = handle.get_result_async()
        self.until(future.done, 60.0)
        return future.result().status, future.result().result

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)


@pytest.fixture(scope="module")
def client(
    server: subprocess.Popen[str], demonstration: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Client]:
    client = Client()
    assert client.client.wait_for_service(timeout_sec=40)
    yield client
    # The server is told to end in the middle of a dataset; see its fixture.
    client.feedback.clear()
    assert client.send(demonstration, tmp_path_factory.mktemp("unfinished") / "set", 2000).accepted
    client.until(lambda: any(f.accepted > 0 for f in client.feedback))
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


def test_the_last_trajectory_is_shown(client: Client) -> None:
    response = client.ask(bottle=(0.03, -0.18), cup=(-0.01, 0.19))
    stamp = response.joint_trajectory.header.stamp
    client.until(lambda: any(message.header.stamp == stamp for message in client.planned))
    client.until(lambda: client.markers[-1].markers[0].header.stamp == stamp)
    assert client.planned[-1] == response.joint_trajectory
    shown = {(m.ns, m.id): m for m in client.markers[-1].markers if m.action == Marker.ADD}
    assert shown["planning/table", 0].scale.y == 1.3
    standing = [m.pose.position for (space, _), m in shown.items() if space == "planning/objects"]
    assert sorted((round(p.x, 3), round(p.y, 3)) for p in standing) == [(-0.01, 0.19), (0.03, -0.18)]
    robot = pour_scene.robot()
    positions = np.array([point.positions for point in response.joint_trajectory.points])
    for arm in (0, 1):
        path = np.array([(p.x, p.y, p.z) for p in shown["planning/path", arm].points])
        np.testing.assert_allclose(path, robot.fk(arm, positions[:, 6 * arm : 6 * arm + 6])[:, :3, 3], atol=1e-6)
    assert sum(space == "planning/ghosts" for space, _ in shown) == 6


@pytest.mark.parametrize(
    ("places", "code", "message"),
    [
        ({"bottle": (0.0, -0.2)}, GenerateTrajectory.Response.UNKNOWN_OBJECT, "needed: bottle, cup"),
        ({"bottle": (0.0, -0.2), "jug": (0, 0)}, GenerateTrajectory.Response.UNKNOWN_OBJECT, "needed: bottle, cup"),
        (
            {"bottle": (0.0, -0.2), "cup": (0.0, 0.2), "jug": (0.1, 0)},
            GenerateTrajectory.Response.UNKNOWN_OBJECT,
            "needed: bottle, cup",
        ),
        ({"bottle": (np.nan, -0.2), "cup": (0, 0.2)}, GenerateTrajectory.Response.BAD_REQUEST, "is not finite"),
        ({"bottle": (0.0, 0.2), "cup": (0.0, 0.2)}, GenerateTrajectory.Response.COLLISION, "collision"),
        ({"bottle": (0.0, -0.2), "cup": (1.5, 0.2)}, GenerateTrajectory.Response.UNREACHABLE, "unreachable_left"),
    ],
)
def test_failures_are_answered_with_their_code(client: Client, places: dict, code: int, message: str) -> None:
    response = client.ask(**{name: (float(x), float(y)) for name, (x, y) in places.items()})
    assert response.error_code == code and message in response.error_message
    assert not response.joint_trajectory.points


def test_poses_that_are_none_are_refused(client: Client) -> None:
    response = client.call(GenerateTrajectory.Request(objects=[ObjectPose(name="cup", pose=Pose())] * 2))
    assert response.error_code == response.BAD_REQUEST and "given twice" in response.error_message
    zero = Quaternion(x=0.0, y=0.0, z=0.0, w=0.0)
    response = client.call(GenerateTrajectory.Request(objects=[ObjectPose(name="cup", pose=Pose(orientation=zero))]))
    assert response.error_code == response.BAD_REQUEST and "length 1" in response.error_message


def test_a_dataset_is_generated_with_feedback(client: Client, demonstration: Path, tmp_path: Path) -> None:
    client.until(lambda: client.action.server_is_ready())
    client.feedback.clear()
    handle = client.send(demonstration, tmp_path / "set", 8, seed=3)
    assert handle.accepted
    other = client.send(demonstration, tmp_path / "other", 8)
    assert not other.accepted  # one at a time
    # The service goes on answering meanwhile.
    assert client.ask(bottle=(0.0, -0.2), cup=(0.0, 0.2)).error_code == GenerateTrajectory.Response.SUCCESS
    status, result = client.result(handle)
    assert (status, result.error_code, result.error_message) == (GoalStatus.STATUS_SUCCEEDED, result.SUCCESS, "")
    dataset = Dataset.open(result.dataset)
    assert len(dataset) == result.accepted == 8 <= result.attempted
    assert sum(result.rejection_counts) == result.attempted - 8
    assert len(result.rejection_causes) == len(result.rejection_counts)
    assert client.feedback and all(0 <= f.fraction <= 1 and f.accepted <= 8 for f in client.feedback)
    assert {f.stage for f in client.feedback} <= {"read", "generate"}


def test_a_cancelled_dataset_keeps_what_is_finished(client: Client, demonstration: Path, tmp_path: Path) -> None:
    client.feedback.clear()
    handle = client.send(demonstration, tmp_path / "set", 60)
    client.until(lambda: any(f.accepted > 0 for f in client.feedback))
    cancelled = handle.cancel_goal_async()
    client.until(cancelled.done)
    status, result = client.result(handle)
    assert status == GoalStatus.STATUS_CANCELED and result.error_code == result.CANCELLED
    kept = result.accepted
    assert 0 < kept < 60 and str(kept) in result.error_message
    client.feedback.clear()
    again = client.send(demonstration, tmp_path / "set", 60)
    status, result = client.result(again)
    assert result.error_code == result.SUCCESS and len(Dataset.open(result.dataset)) == 60
    assert all(f.accepted == 0 or f.accepted > kept for f in client.feedback)  # it went on, and did not begin anew


def test_wrong_dataset_goals_are_answered(client: Client, demonstration: Path, tmp_path: Path) -> None:
    assert not client.send(demonstration, tmp_path / "set", 0).accepted
    _, result = client.result(client.send(tmp_path / "none.demo.h5", tmp_path / "set", 2))
    assert result.error_code == result.BAD_DEMONSTRATION and "does not exist" in result.error_message
    assert not result.dataset
    occupied = tmp_path / "file"
    occupied.write_text("mine")
    _, result = client.result(client.send(demonstration, occupied, 2))
    assert result.error_code == result.BAD_REQUEST and "file" in result.error_message
    assert occupied.read_text() == "mine"


@pytest.mark.skipif(why_absent() is None, reason="MoveIt is installed here")
def test_a_planner_that_is_not_installed_ends_it_with_one_line(demonstration: Path) -> None:
    process = start(f"demonstration:={demonstration}", f"robot:={pour_scene.PROFILE}", "planner:=moveit")
    output = process.communicate(timeout=40)[0]
    assert process.returncode == 2 and "Traceback" not in output, output
    assert "planner moveit is not there" in output and "choose: auto, roboplan, straight_line" in output


def test_what_is_no_longer_there_is_taken_off_the_display() -> None:
    planner = TaskPlanner(pour_scene.demonstration(), pour_scene.robot(), "straight_line")
    markers = PlanningMarkers(urdf_text(planner.robot.profile.description), planner.shapes, planner.obstacles)
    stamp = Time()
    first = markers.markers(planner.plan(pour_scene.START), stamp)
    assert all(m.action == Marker.ADD for m in first.markers)
    second = markers.markers(None, stamp)
    gone = {(m.ns, m.id) for m in second.markers if m.action == Marker.DELETE}
    assert gone == {(m.ns, m.id) for m in first.markers if m.ns != "planning/table"} and gone


def test_moveits_display_gets_the_whole_trajectory() -> None:
    """moveit_msgs is not installed everywhere: a stand-in for its three messages."""

    class Message:
        def __init__(self, **fields: object) -> None:
            self.__dict__.update(fields)

    module = ModuleType("moveit_msgs.msg")
    module.DisplayTrajectory = module.RobotTrajectory = module.RobotState = Message
    trajectory = JointTrajectory(joint_names=["a"], points=[JointTrajectoryPoint(positions=[0.5])])
    message = display_message(module, "pair", trajectory)
    assert message.model_id == "pair" and message.trajectory[0].joint_trajectory is trajectory
    assert message.trajectory_start.joint_state.name == ["a"]
    assert list(message.trajectory_start.joint_state.position) == [0.5]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ((), "parameter 'demonstration' is missing"),
        (("planner:=magic",), "choices: auto, moveit, roboplan, straight_line"),
        (("options:=speed=-1",), "speed"),
        (("demonstration:=/none.demo.h5", f"robot:={pour_scene.PROFILE}"), "does not exist"),
    ],
)
def test_bad_parameters_end_it_with_one_line(parameters: tuple[str, ...], message: str) -> None:
    process = start(*parameters)
    output = process.communicate(timeout=40)[0]
    assert process.returncode == 2, output
    assert message in output and "Traceback" not in output
