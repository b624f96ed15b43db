"""policy_node and command_gate as real processes over DDS, with a fake robot that obeys and a fake tracker."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import IO
from unittest.mock import MagicMock

import numpy as np
import policy_toy
import pytest

rclpy = pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("pad_msgs.msg", reason="needs the built workspace (pad_msgs)")

from geometry_msgs.msg import Point  # noqa: E402
from lifecycle_msgs.msg import Transition  # noqa: E402
from lifecycle_msgs.srv import ChangeState  # noqa: E402
from rclpy.action import ActionClient  # noqa: E402
from rclpy.context import Context  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.node import Node  # noqa: E402
from sensor_msgs.msg import JointState  # noqa: E402
from std_msgs.msg import Bool, Float64MultiArray  # noqa: E402
from std_srvs.srv import SetBool, Trigger  # noqa: E402
from trajectory_msgs.msg import JointTrajectory  # noqa: E402

from pad_augment.kinematics import Robot, RobotProfile  # noqa: E402
from pad_msgs.action import Approach, ExecuteTask  # noqa: E402
from pad_msgs.msg import ActionChunk, Keypoint, KeypointArray, SafetyState  # noqa: E402
from pad_msgs.srv import LocaliseKeypoints  # noqa: E402
from pad_parse import qos  # noqa: E402
from pad_policy.approach import start_posture  # noqa: E402
from pad_policy.bundle import PolicyBundle  # noqa: E402
from pad_policy.chunking import JointChunk  # noqa: E402
from pad_policy.config import TrainingConfig  # noqa: E402
from pad_policy.nodes.conversions import trajectory_message  # noqa: E402
from pad_policy.nodes.goals import GateClient  # noqa: E402
from pad_policy.robot_limits import command_joint_names, gate_limits  # noqa: E402
from pad_policy.training import train  # noqa: E402

PROFILE = Path(__file__).parents[2] / "pad_bringup/config/robots/ur5e_pair.yaml"
OTHER_ROBOT = PROFILE.with_name("aloha_pair.yaml")
DOMAIN = 1 + os.getpid() % 39  # below those of pad_bringup.domain
SIDES = ("left", "right")


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    dataset = policy_toy.write_dataset(tmp_path_factory.mktemp("data") / "toy.zarr", 6, seed=0, robot="ur5e_pair")
    config = TrainingConfig(updates=6, batch_size=16, warmup_updates=1, threads=1)
    return train(dataset, tmp_path_factory.mktemp("policy"), config)


@pytest.fixture(scope="module")
def robot() -> Robot:
    return Robot(RobotProfile.load(PROFILE))


class FakeWorld(Node):
    """A robot that is where it was last told to be, and keypoints that stand still."""

    def __init__(self, robot: Robot, context: Context) -> None:
        super().__init__("fake_world", context=context)
        self.names = command_joint_names(robot)
        self.values = np.concatenate([robot.home.ravel(), [0.05, 0.05]])
        self.commands: list[tuple[float, np.ndarray]] = []
        self.chunks: list[JointTrajectory] = []
        self.actions: list[ActionChunk] = []
        self.safety: list[SafetyState] = []
        self.alive = True
        self.findable = self.obeys = True
        self.groups = list(policy_toy.GROUPS)
        self.create_service(LocaliseKeypoints, "/pad/localise_keypoints", self._localise)
        self.success = self.create_publisher(Bool, "/pad/success", qos.LATEST)
        for arm, side in enumerate(SIDES):
            self.create_subscription(
                Float64MultiArray, f"/{side}_forward_position_controller/commands", self._arm(arm), qos.COMMAND
            )
            self.create_subscription(
                Float64MultiArray, f"/{side}_gripper_position_controller/commands", self._finger(arm), qos.COMMAND
            )
        self.create_subscription(JointTrajectory, "/pad/joint_chunk", self.chunks.append, qos.LATEST)
        self.create_subscription(ActionChunk, "/pad/action_chunk", self.actions.append, qos.LATEST)
        self.create_subscription(SafetyState, "/pad/safety", self.safety.append, qos.STATUS)
        self.joint_states = self.create_publisher(JointState, "/joint_states", qos.JOINT_STATES)
        self.keypoints = self.create_publisher(KeypointArray, "/pad/keypoints", qos.LATEST)
        self.create_timer(0.008, self._publish_joints)
        self.create_timer(1 / 15, self._publish_keypoints)
        self.points = policy_toy.ToyWorld(np.random.default_rng(0)).keypoints()

    def _arm(self, arm: int):
        def receive(message: Float64MultiArray) -> None:
            if self.obeys:
                self.values[6 * arm : 6 * arm + 6] = message.data
            if arm == 1:
                self.commands.append((time.monotonic(), self.values.copy()))

        return receive

    def _finger(self, arm: int):
        def receive(message: Float64MultiArray) -> None:
            self.values[12 + arm] = message.data[0]

        return receive

    def _localise(
        self, request: LocaliseKeypoints.Request, response: LocaliseKeypoints.Response
    ) -> LocaliseKeypoints.Response:
        response.success, response.message = self.findable, "" if self.findable else "no bottle in the image"
        return response

    def _publish_joints(self) -> None:
        if self.alive:
            message = JointState(name=self.names[::-1], position=self.values[::-1].tolist())
            message.header.stamp = self.get_clock().now().to_msg()
            self.joint_states.publish(message)

    def _publish_keypoints(self) -> None:
        message = KeypointArray(task="pour")
        message.header.stamp = self.get_clock().now().to_msg()
        for group, name, (x, y, z) in zip(self.groups, policy_toy.POINT_OBJECTS, self.points, strict=True):
            point = Point(x=float(x), y=float(y), z=float(z))
            message.keypoints.append(Keypoint(group=group, object=name, position=point, state=Keypoint.VISIBLE))
        self.keypoints.publish(message)


class Graph:
    """The two nodes as processes and a fake world in this one."""

    def __init__(self, robot: Robot, policy: Path, **gate: float) -> None:
        self.context = Context()
        rclpy.init(context=self.context, domain_id=DOMAIN)
        self.world = FakeWorld(robot, self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.world)
        # Files, not pipes: a full pipe would stop a node that logs, and nobody reads while it runs.
        self._open = ExitStack()
        self._logs = [self._open.enter_context(tempfile.TemporaryFile("w+")) for _ in range(2)]  # noqa: SIM115
        self.processes = [
            start("policy_node", self._logs[0], policy=policy, robot=PROFILE, task="pour"),
            start("command_gate", self._logs[1], robot=PROFILE, **gate),
        ]

    def spin(self, seconds: float, until=lambda: False) -> bool:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.executor.spin_once(timeout_sec=0.02)
            if until():
                return True
        return until()

    def call(self, kind, name: str, request):
        client = self.world.create_client(kind, name)
        assert self.spin(20, client.service_is_ready), f"{name} did not appear"
        future = client.call_async(request)
        assert self.spin(20, future.done), f"{name} did not answer"
        self.world.destroy_client(client)
        return future.result()

    def transition(self, number: int) -> bool:
        request = ChangeState.Request()
        request.transition.id = number
        return self.call(ChangeState, "/policy_node/change_state", request).success

    def goal(self, kind, name: str, goal, during=lambda handle, feedback: False):
        """Send a goal, call `during` until it is true, and wait for the end: feedback and result."""
        client, feedback = ActionClient(self.world, kind, name), []
        assert self.spin(20, client.server_is_ready), f"{name} did not appear"
        sent = client.send_goal_async(goal, feedback_callback=lambda m: feedback.append(m.feedback))
        assert self.spin(20, sent.done)
        handle = sent.result()
        assert handle.accepted
        end = handle.get_result_async()
        acted = []

        def over() -> bool:
            if not acted and feedback and during(handle, feedback[-1]):
                acted.append(True)
            return end.done()

        assert self.spin(60, over), f"{name} did not end: {feedback[-1:]}"
        client.destroy()
        return feedback, end.result().result

    def state(self) -> int:
        return self.world.safety[-1].state

    def put(self, joints: np.ndarray) -> None:
        """Put the idle arms at joints (12,), and go on when the gate, which starts from what it read, has read them."""
        self.world.obeys = False  # commands that are still on the way would move them from there
        assert self.spin(60, lambda: self.state() in (SafetyState.IDLE, SafetyState.STOPPED))
        self.spin(0.2)
        self.world.values[:12] = joints
        now = self.world.get_clock().now().nanoseconds / 1e9

        def read() -> bool:
            state = self.world.safety[-1]
            return state.header.stamp.sec + state.header.stamp.nanosec / 1e9 - state.joint_state_age > now

        assert self.spin(60, read), self.world.safety[-1]
        self.world.obeys = True

    def running_soon(self) -> bool:
        """Whether the gate follows chunks, within a moment."""
        return self.spin(0.2, lambda: self.state() == SafetyState.RUNNING)

    def log(self, k: int) -> str:
        """What process k has said so far."""
        self._logs[k].seek(0)
        return self._logs[k].read()

    def close(self) -> list[int]:
        for process in self.processes:
            process.send_signal(signal.SIGINT)
        codes = [process.wait(timeout=60) for process in self.processes]
        self.errors = [self.log(k) for k in range(2)]
        self._open.close()
        self.executor.shutdown()
        self.world.destroy_node()
        rclpy.shutdown(context=self.context)
        return codes


def start(node: str, log: IO[str] | None = None, **parameters: object) -> subprocess.Popen:
    command = [sys.executable, "-m", f"pad_policy.nodes.{node}", "--ros-args"]
    for name, value in parameters.items():
        command += ["-p", f"{name}:={value}"]
    environment = {**os.environ, "ROS_DOMAIN_ID": str(DOMAIN), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    return subprocess.Popen(command, env=environment, stderr=log or subprocess.PIPE, text=True)


@pytest.mark.slow
def test_the_arms_follow_the_policy_through_the_gate(robot: Robot, policy: Path) -> None:
    graph = Graph(robot, policy)
    world = graph.world
    world.values[:12] = start_posture(robot, PolicyBundle.load(policy).manifest.start_ee)
    try:
        assert not graph.transition(Transition.TRANSITION_ACTIVATE), "nothing is loaded yet"
        assert graph.transition(Transition.TRANSITION_CONFIGURE)
        assert graph.spin(60, lambda: bool(world.safety)) and graph.state() == SafetyState.IDLE
        assert graph.spin(1.0) or not world.chunks, "an inactive policy must not plan"
        assert graph.transition(Transition.TRANSITION_ACTIVATE)
        assert not graph.transition(Transition.TRANSITION_CONFIGURE), "it is loaded"
        assert graph.spin(60, lambda: len(world.chunks) > 1)
        assert not world.commands, "a disabled gate must not command"

        chunk = world.chunks[-1]
        assert list(chunk.joint_names) == world.names and len(chunk.points) == 8
        assert len(world.actions[-1].left) == len(world.actions[-1].right) == 8

        answer = graph.call(SetBool, "/pad/enable", SetBool.Request(data=True))
        assert answer.success, answer.message
        assert graph.spin(60, lambda: graph.state() == SafetyState.RUNNING), world.safety[-1].cause
        world.commands.clear()
        assert graph.spin(60, lambda: len(world.commands) > 100), f"only {len(world.commands)} commands in 60 s"
        values = np.array([v for _, v in world.commands])
        largest = np.abs(np.diff(values[:, :12], axis=0)).max(axis=0)
        assert np.all(largest <= gate_limits(robot).velocity[:12] * 0.05), "a command jumped"
        lost = world.values[12:].copy() + 1e-3  # as where a command was lost
        world.values[12:] = lost
        assert graph.spin(60, lambda: np.all(world.values[12:] != lost)), "a gripper was not told again"

        broken = JointTrajectory(joint_names=chunk.joint_names, points=chunk.points)
        broken.header.stamp = world.get_clock().now().to_msg()
        broken.points[0].positions[0] = float("nan")
        rival = world.create_publisher(JointTrajectory, "/pad/joint_chunk", qos.LATEST)
        assert graph.spin(60, lambda: graph.state() == SafetyState.STOPPED)
        assert "2 nodes publish /pad/joint_chunk: " in world.safety[-1].cause
        rival.publish(broken)
        assert graph.spin(60, lambda: world.safety[-1].rejected_chunks >= 1)
        assert not graph.call(SetBool, "/pad/enable", SetBool.Request(data=True)).success
        world.destroy_publisher(rival)
        assert graph.spin(60, lambda: graph.call(SetBool, "/pad/enable", SetBool.Request(data=True)).success)
        assert graph.spin(60, lambda: graph.state() == SafetyState.RUNNING), world.safety[-1].cause

        assert graph.call(Trigger, "/pad/stop", Trigger.Request()).success
        assert graph.spin(60, lambda: graph.state() == SafetyState.STOPPED)
        assert graph.spin(60, lambda: len({v.tobytes() for _, v in world.commands[-5:]}) == 1), "the arms do not rest"
        still = world.commands[-1][1]
        graph.spin(0.3)
        np.testing.assert_allclose(world.commands[-1][1], still)

        assert graph.call(SetBool, "/pad/enable", SetBool.Request(data=True)).success
        assert graph.spin(60, lambda: graph.state() == SafetyState.RUNNING)
        assert graph.transition(Transition.TRANSITION_DEACTIVATE)
        assert graph.spin(60, lambda: graph.state() == SafetyState.HOLDING)
        world.alive = False
        assert graph.spin(60, lambda: "joint states" in world.safety[-1].cause or graph.state() == SafetyState.HOLDING)
    finally:
        codes = graph.close()
    assert codes == [0, 0]


@pytest.mark.slow
def test_goals_go_through_the_gate_and_end_as_they_should(robot: Robot, policy: Path) -> None:
    graph = Graph(robot, policy, speed=0.8)
    world, codes = graph.world, ExecuteTask.Result
    start = start_posture(robot, PolicyBundle.load(policy).manifest.start_ee)
    running = lambda handle, feedback: feedback.stage == "running" and world.success.publish(Bool(data=True)) is None  # noqa: E731
    cancel = lambda handle, feedback: feedback.stage in ("running", "moving") and bool(handle.cancel_goal_async())  # noqa: E731

    def execute(during=lambda handle, feedback: False, **goal):
        return graph.goal(ExecuteTask, "/pad/execute_task", ExecuteTask.Goal(**goal), during)

    def approach(during=lambda handle, feedback: False, **goal):
        return graph.goal(Approach, "/pad/approach", Approach.Goal(**goal), during)

    try:
        world.values[:12] = start
        world.values[0] += 1.3
        assert graph.transition(Transition.TRANSITION_CONFIGURE) and graph.transition(Transition.TRANSITION_ACTIVATE)
        assert graph.spin(60, lambda: bool(world.safety))

        _, result = execute(task="mix_bowl")
        assert result.error_code == codes.WRONG_TASK and "'mix_bowl'" in result.error_message
        world.findable = False
        _, result = execute()
        assert (result.error_code, result.error_message) == (codes.LOCALISATION_FAILED, "no bottle in the image")
        world.findable = True
        _, result = execute()
        assert result.error_code == codes.FAR_FROM_START, result.error_message
        assert "/pad/approach" in result.error_message and not world.chunks

        _, result = approach(plan_only=True)
        assert result.error_code == Approach.Result.SUCCESS, result.error_message
        assert set(result.objects) == set(policy_toy.POINT_OBJECTS) and len(result.joint_trajectory.points) > 2
        still = world.values.copy()
        _, result = approach(cancel)
        assert result.error_code == Approach.Result.CANCELLED
        assert np.any(world.values != still) and np.abs(world.values[:12] - start).max() > 0.1
        feedback, result = approach()
        assert result.error_code == Approach.Result.SUCCESS, result.error_message
        assert feedback[-1].stage == "moving" and np.abs(world.values[:12] - start).max() < 0.05
        assert graph.spin(60, lambda: graph.state() == SafetyState.IDLE)

        feedback, result = execute(running, time_limit=60.0)
        assert result.error_code == codes.SUCCESS and result.error_message == ""
        assert feedback[0].stage == "localising" and feedback[-1].visible_fraction == 1.0
        assert any(f.stage == "running" and f.chunk_age < 20.0 for f in feedback)
        assert graph.spin(60, lambda: graph.state() == SafetyState.IDLE), "the gate must be disabled after a goal"

        graph.put(start)
        _, result = execute(cancel, time_limit=60.0)
        assert result.error_code == codes.CANCELLED
        graph.put(start)
        feedback, result = execute(time_limit=0.3)
        assert result.error_code == codes.TIMED_OUT and "0.3 s" in result.error_message

        graph.put(start)

        def stop(handle, feedback) -> bool:
            if feedback.stage == "running":
                world.create_client(Trigger, "/pad/stop").call_async(Trigger.Request())
            return feedback.stage == "running"

        _, result = execute(stop, time_limit=60.0)
        assert result.error_code == codes.STOPPED and "/pad/stop" in result.error_message
        _, result = execute()
        assert result.error_code == codes.STOPPED, "a goal must not lift a stop"
        assert graph.call(SetBool, "/pad/enable", SetBool.Request(data=True)).success

        assert graph.spin(60, lambda: graph.state() in (SafetyState.RUNNING, SafetyState.HOLDING))
        world.obeys = False  # reset, as a cell is
        world.values[0] += 1.5
        assert graph.spin(60, lambda: graph.state() == SafetyState.STOPPED)
        assert "the robot was reset or moved" in world.safety[-1].cause

        world.groups[-1] = "something_else"
        assert graph.spin(60, lambda: graph.processes[0].poll() is not None), "other keypoint groups must end it"
        assert "something_else" in graph.log(0)
    finally:
        codes_of_processes = graph.close()
    assert codes_of_processes == [2, 0], graph.errors[1]


@pytest.mark.slow
def test_arms_that_were_moved_while_the_gate_was_off_do_not_start_the_policy(robot: Robot, policy: Path) -> None:
    graph = Graph(robot, policy)
    world = graph.world
    client = world.create_client(SetBool, "/pad/enable")

    def enable(on: bool) -> bool:
        answer = client.call_async(SetBool.Request(data=on))
        assert graph.spin(60, answer.done), f"enable {on}: {world.safety[-1]}"
        return answer.result().success

    start = start_posture(robot, PolicyBundle.load(policy).manifest.start_ee)
    world.values[:12] = start
    try:
        assert graph.transition(Transition.TRANSITION_CONFIGURE) and graph.transition(Transition.TRANSITION_ACTIVATE)
        assert graph.spin(60, lambda: bool(world.safety) and client.service_is_ready())
        for off in (lambda: enable(False), lambda: graph.call(Trigger, "/pad/stop", Trigger.Request()).success):
            runs = graph.spin(60, lambda: enable(True) and graph.running_soon())
            assert runs, f"{world.safety[-1]}\n{world.values[:12] - start}\n{graph.log(0)[-2000:]}"
            assert off()
            assert graph.spin(60, lambda: graph.state() in (SafetyState.IDLE, SafetyState.STOPPED))
            world.obeys = False  # led by hand, without a leap
            for _ in range(100):
                world.values[0] += 0.013
                graph.spin(0.02)
            world.obeys = True
            assert graph.spin(60, lambda: enable(True) and graph.state() == SafetyState.HOLDING)
            graph.spin(0.5)  # what was under way has come
            world.chunks.clear()
            graph.spin(2.0)
            assert not world.chunks and graph.state() == SafetyState.HOLDING, world.safety[-1]
            assert enable(False)
            graph.put(start)
    finally:
        codes = graph.close()
    assert codes == [0, 0] and "far from where the policy starts" in graph.errors[0]


@pytest.mark.slow
@pytest.mark.parametrize("busy", [False, True])
def test_shutting_down_stops_the_policy(robot: Robot, policy: Path, busy: bool) -> None:
    graph = Graph(robot, policy)
    world = graph.world
    world.values[:12] = start_posture(robot, PolicyBundle.load(policy).manifest.start_ee)
    shutdown = Transition.TRANSITION_ACTIVE_SHUTDOWN
    try:
        assert graph.transition(Transition.TRANSITION_CONFIGURE) and graph.transition(Transition.TRANSITION_ACTIVATE)
        if busy:
            client = world.create_client(ChangeState, "/policy_node/change_state")

            def shut_down(handle, feedback) -> bool:
                request = ChangeState.Request()
                request.transition.id = shutdown
                return feedback.stage == "running" and bool(client.call_async(request))

            goal = ExecuteTask.Goal(time_limit=60.0)
            _, result = graph.goal(ExecuteTask, "/pad/execute_task", goal, shut_down)
            assert result.error_code == ExecuteTask.Result.STOPPED, result.error_message
            assert result.error_message == "policy_node was shut down"
            assert graph.spin(60, lambda: graph.state() == SafetyState.IDLE)
        else:
            assert graph.call(SetBool, "/pad/enable", SetBool.Request(data=True)).success
            assert graph.spin(60, lambda: bool(world.safety) and graph.state() == SafetyState.RUNNING)
            assert graph.transition(shutdown)
            assert graph.spin(60, lambda: graph.state() == SafetyState.HOLDING)
        assert graph.spin(60, lambda: world.count_publishers("/pad/joint_chunk") == 0), "still a rival"
        world.chunks.clear()
        graph.spin(1.0)
        assert not world.chunks
    finally:
        codes = graph.close()
    assert codes == [0, 0], "\n".join(graph.errors)


@pytest.mark.slow
def test_goals_that_only_ask_or_are_refused_leave_the_policy_and_the_gate_alone(robot: Robot, policy: Path) -> None:
    graph = Graph(robot, policy)
    world, codes = graph.world, ExecuteTask.Result
    world.values[:12] = start_posture(robot, PolicyBundle.load(policy).manifest.start_ee)
    execute = lambda **goal: graph.goal(ExecuteTask, "/pad/execute_task", ExecuteTask.Goal(**goal))[1]  # noqa: E731
    try:
        assert graph.transition(Transition.TRANSITION_CONFIGURE) and graph.transition(Transition.TRANSITION_ACTIVATE)
        assert graph.call(SetBool, "/pad/enable", SetBool.Request(data=True)).success
        running = lambda: bool(world.safety) and graph.state() == SafetyState.RUNNING  # noqa: E731
        assert graph.spin(60, running)
        world.safety.clear()
        assert execute(task="mix_bowl").error_code == codes.WRONG_TASK
        assert execute(time_limit=-1.0).error_code == codes.NOT_READY
        _, result = graph.goal(Approach, "/pad/approach", Approach.Goal(plan_only=True))
        assert result.error_code == Approach.Result.SUCCESS, result.error_message
        assert graph.spin(60, running), "it goes on by itself"
        assert {s.state for s in world.safety} <= {SafetyState.RUNNING, SafetyState.HOLDING}
        assert graph.call(Trigger, "/pad/stop", Trigger.Request()).success
        assert graph.spin(60, lambda: graph.state() == SafetyState.STOPPED)
        assert execute().error_code == codes.STOPPED
        world.chunks.clear()
        assert graph.spin(60, lambda: bool(world.chunks)), "the policy went on planning"
    finally:
        codes_of_processes = graph.close()
    assert codes_of_processes == [0, 0]


@pytest.mark.slow
def test_a_goal_that_is_deactivated_says_so_and_nothing_is_unloaded_under_it(robot: Robot, policy: Path) -> None:
    graph = Graph(robot, policy)
    world = graph.world
    start = start_posture(robot, PolicyBundle.load(policy).manifest.start_ee)
    world.values[:12] = start
    client, answers = world.create_client(ChangeState, "/policy_node/change_state"), []

    def change(*numbers: int):
        def during(handle, feedback) -> bool:
            if feedback.stage not in ("running", "moving"):
                return False
            for number in numbers:
                request = ChangeState.Request()
                request.transition.id = number
                answers.append(client.call_async(request))
            return True

        return during

    try:
        assert graph.transition(Transition.TRANSITION_CONFIGURE)  # and so the goal is what activates it
        during = change(Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP)
        _, result = graph.goal(ExecuteTask, "/pad/execute_task", ExecuteTask.Goal(time_limit=60.0), during)
        assert result.error_code == ExecuteTask.Result.STOPPED and "deactivated" in result.error_message, result
        graph.put(start + 1.3 * np.eye(12)[0])
        during = change(Transition.TRANSITION_CLEANUP)
        _, result = graph.goal(Approach, "/pad/approach", Approach.Goal(), during)
        assert result.error_code == Approach.Result.SUCCESS, result.error_message
        assert graph.spin(60, lambda: all(answer.done() for answer in answers))
        assert [answer.result().success for answer in answers] == [True, False, False]
        assert graph.transition(Transition.TRANSITION_CLEANUP)
        assert graph.transition(Transition.TRANSITION_CONFIGURE)
    finally:
        codes = graph.close()
    assert codes == [0, 0], "\n".join(graph.errors)


def test_chunks_of_an_approach_are_no_policys() -> None:
    enabled: list[bool] = []
    gate = GateClient(MagicMock(), MagicMock(), lambda: enabled.append(True))
    hear = lambda state, age: gate._on_safety(SafetyState(state=state, chunk_age=age))  # noqa: E731
    hear(SafetyState.RUNNING, 0.1)  # met at work: a node that was started again
    assert gate.enabled and gate.following and not enabled
    hear(SafetyState.RUNNING, float("nan"))
    assert gate.enabled and not gate.following
    for off in (SafetyState.IDLE, SafetyState.STOPPED):
        hear(off, 0.1)
        assert not gate.enabled and not gate.following
        hear(SafetyState.HOLDING, float("nan"))
        hear(SafetyState.RUNNING, 0.1)
    assert len(enabled) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("node", "wrong", "words"),
    [
        ("policy_node", {"task": "mix_bowl"}, "distilled for task 'pour', but task 'mix_bowl'"),
        ("policy_node", {"policy": "/nowhere/policy"}, "no such policy folder"),
        ("policy_node", {"robot": OTHER_ROBOT}, "distilled for robot 'ur5e_pair', but robot 'aloha_pair' is running"),
        ("policy_node", {"smoothing": "kalman"}, "none, blend, ensemble"),
        ("command_gate", {"speed": 7.0}, "speed"),
        ("command_gate", {"robot": "/nowhere/robot.yaml"}, "/nowhere/robot.yaml"),
    ],
)
def test_bad_input_ends_in_one_line_and_exit_code_2(policy: Path, node: str, wrong: dict, words: str) -> None:
    parameters = {"policy": policy, "robot": PROFILE, "task": "pour"} if node == "policy_node" else {"robot": PROFILE}
    process = start(node, **{**parameters, **wrong})
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 2
    lines = [line for line in errors.splitlines() if "FATAL" in line]
    assert len(lines) == 1 and words in lines[0]


@pytest.mark.slow
def test_enabling_waits_for_the_robot_that_is_about_to_come(robot: Robot) -> None:
    process = start("command_gate", robot=PROFILE)
    context = Context()
    rclpy.init(context=context, domain_id=DOMAIN)
    node = rclpy.create_node("late_robot", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    try:
        enable = node.create_client(SetBool, "/pad/enable")
        assert enable.wait_for_service(timeout_sec=30)
        future = enable.call_async(SetBool.Request(data=True))
        joints = node.create_publisher(JointState, "/joint_states", qos.LATEST)
        names = command_joint_names(robot)
        began = time.monotonic()
        while not future.done() and time.monotonic() - began < 30:
            state = JointState(name=list(names), position=[*robot.home.ravel().tolist(), 0.05, 0.05])
            state.header.stamp = node.get_clock().now().to_msg()
            joints.publish(state)
            executor.spin_once(timeout_sec=0.05)
        assert future.done() and future.result().success, future.result()
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        executor.shutdown()
        node.destroy_node()
        rclpy.shutdown(context=context)
    assert process.returncode == 0


@pytest.mark.slow
def test_a_dry_run_shows_the_whole_motion_though_the_arms_stand(robot: Robot) -> None:
    """Nobody follows a preview: that the arms are not where it is is no fault."""
    process = start("command_gate", robot=PROFILE, dry_run="true")
    context = Context()
    rclpy.init(context=context, domain_id=DOMAIN)
    world = FakeWorld(robot, context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(world)
    previews: list[JointState] = []
    world.create_subscription(JointState, "/pad/preview", previews.append, qos.LATEST)
    chunks = world.create_publisher(JointTrajectory, "/pad/approach_chunk", qos.LATEST)
    enable = world.create_client(SetBool, "/pad/enable")
    home, moved = robot.home.ravel(), 0.0
    try:
        assert enable.wait_for_service(timeout_sec=30)
        enabled = enable.call_async(SetBool.Request(data=True))
        deadline, sent = time.monotonic() + 60, float("-inf")
        while moved < 0.45 and time.monotonic() < deadline:
            executor.spin_once(timeout_sec=0.02)
            if enabled.done() and previews and time.monotonic() - sent > 0.3:
                sent = time.monotonic()
                target = np.array(previews[-1].position[:12])
                target[5] = home[5] + 0.5
                now = 1e-9 * world.get_clock().now().nanoseconds
                rows, openings = np.tile(target, (2, 1)), np.full((2, 2), 0.1)
                chunk = JointChunk(now, world.names, np.array([0.5, 1.0]), rows, openings)
                chunks.publish(trajectory_message(chunk))
            moved = previews[-1].position[5] - home[5] if previews else 0.0
        assert moved >= 0.45, world.safety[-1]
        deadline = time.monotonic() + 1.0
        while time.monotonic() < deadline:
            executor.spin_once(timeout_sec=0.02)
        assert not world.commands and world.safety[-1].state != SafetyState.STOPPED
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        executor.shutdown()
        world.destroy_node()
        rclpy.shutdown(context=context)
    assert process.returncode == 0
