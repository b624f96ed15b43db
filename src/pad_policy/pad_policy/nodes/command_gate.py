"""Node: joint chunks in, limited commands out at 125 Hz. The only publisher of commands; starts disabled."""

import math
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import rclpy
from numpy.typing import NDArray
from rcl_interfaces.msg import FloatingPointRange, ParameterDescriptor
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.exceptions import InvalidParameterValueException
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future
from rclpy.topic_endpoint_info import TopicEndpointInfo
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import SetBool, Trigger
from trajectory_msgs.msg import JointTrajectory

from pad_augment.errors import PadAugmentError
from pad_augment.kinematics import Robot, RobotProfile
from pad_msgs.msg import Keypoint, KeypointArray, SafetyState
from pad_parse import qos
from pad_parse.nodes.running import LOOK_EVERY, Interruption
from pad_policy.clearance import ArmClearance
from pad_policy.environment import JointMeasurement
from pad_policy.errors import ChunkError, PolicyError
from pad_policy.gate_parameters import NUMBERS, TIMING
from pad_policy.guard import MotionGuard, Workspace
from pad_policy.keypoint_health import HealthLimits, KeypointHealth
from pad_policy.nodes import conversions
from pad_policy.robot_limits import command_joint_names, gate_limits
from pad_policy.safety import CommandGate, GateState, GateTiming, SafetyReport

_CHUNKS, _APPROACH_CHUNKS = "/pad/joint_chunk", "/pad/approach_chunk"
_PERIOD = 0.008
_REPORT_EVERY = 0.1
_GRIP_EVERY = 0.1  # s after which a gripper is told again what has not changed
_LEASE = 25.0  # s of real time after which discovery has forgotten a node that died
_UNKNOWN = "_NODE_NAME_UNKNOWN_"  # what rmw calls the node of an endpoint that it has heard of first
_LAST_BRAKE = 0.5  # s of real time that moving arms get to brake when the node is ended
_START_UP = 3.0  # s of real time for which /pad/enable waits for the first joint states
#: m, task frame: x, y, z of the lower, then of the upper corner
_WORKSPACE = [-0.6, -0.8, 0.0, 0.6, 0.8, 0.9]


class CommandGateNode(Node):
    """Wires `CommandGate` to topics and services."""

    def __init__(self) -> None:
        super().__init__("command_gate")
        self.declare_parameter("robot", "", ParameterDescriptor(description="Robot profile YAML.", read_only=True))
        for name, (default, least, most, description) in NUMBERS.items():
            span = FloatingPointRange(from_value=least, to_value=most, step=0.0)
            described = f"{description} From {least} to {most}."
            self.declare_parameter(
                name,
                default,
                ParameterDescriptor(description=described, read_only=True, floating_point_range=[span]),
            )
        for side in ("left", "right"):
            described = f"Box that the {side} TCP stays in: x, y, z of its lower and its upper corner, m, task frame."
            self.declare_parameter(
                f"{side}_workspace", _WORKSPACE, ParameterDescriptor(description=described, read_only=True)
            )
        self.declare_parameter(
            "dry_run",
            False,
            ParameterDescriptor(description="Whether to publish previews only and command nothing.", read_only=True),
        )

    def start(self) -> None:
        """Read the robot and open the topics; raises typed errors."""
        path = self.get_parameter("robot").value
        if not path:
            raise PolicyError("parameter 'robot' is missing; set it with --ros-args -p robot:=PROFILE.yaml")
        robot = Robot(RobotProfile.load(Path(path)))
        names = command_joint_names(robot)
        self._arm_joints, self._finger_joints = names[:-2], names[-2:]
        limits = gate_limits(
            robot,
            speed=self._number("speed"),
            acceleration=self._number("acceleration"),
            jerk_time=self._number("jerk_time"),
        )
        self._dry_run = bool(self.get_parameter("dry_run").value)
        timing = GateTiming(**{name: self._number(name) for name in TIMING})
        if self._dry_run:  # nobody follows previews
            timing = replace(timing, largest_lag=math.inf)
        self._gate = CommandGate(names, limits, timing, self._guard(robot), KeypointHealth(self._health_limits()))
        self._at_rest: Future = Future()
        self._arrived: Future = Future()
        self._points: dict[int, NDArray[np.float64]] = {}
        self._measured: JointMeasurement | None = None
        self._reported, self._state = float("-inf"), GateState.IDLE
        self._beat, self._pauses = float("-inf"), 0
        self._gripped, self._openings = float("-inf"), np.full(2, np.nan)
        self._seen: dict[str, dict[bytes, float]] = {}  # topic with several publishers -> gid -> monotonic s
        sides = ("left", "right")
        self._arm_commands = [
            self.create_publisher(Float64MultiArray, f"/{side}_forward_position_controller/commands", qos.COMMAND)
            for side in sides
        ]
        self._gripper_commands = [
            self.create_publisher(Float64MultiArray, f"/{side}_gripper_position_controller/commands", qos.COMMAND)
            for side in sides
        ]
        self._preview = self.create_publisher(JointState, "/pad/preview", qos.LATEST)
        self._safety = self.create_publisher(SafetyState, "/pad/safety", qos.STATUS)
        self.create_subscription(KeypointArray, "/pad/keypoints", self._on_keypoints, qos.LATEST)
        self.create_subscription(JointTrajectory, _CHUNKS, lambda m: self._on_chunk(m, by_sight=True), qos.LATEST)
        self.create_subscription(
            JointTrajectory, _APPROACH_CHUNKS, lambda m: self._on_chunk(m, by_sight=False), qos.LATEST
        )
        self.create_subscription(JointState, "/joint_states", self._on_joint_states, qos.JOINT_STATES)
        # In a group of its own: while it waits for the arms to rest, the beat must go on.
        self.create_service(SetBool, "/pad/enable", self._on_enable, callback_group=MutuallyExclusiveCallbackGroup())
        self.create_service(Trigger, "/pad/stop", self._on_stop)
        self.create_timer(_PERIOD, self._on_timer)

    def _number(self, name: str) -> float:
        return float(self.get_parameter(name).value)

    def _guard(self, robot: Robot) -> MotionGuard:
        boxes = []
        for side in ("left", "right"):
            box = list(self.get_parameter(f"{side}_workspace").value)
            if len(box) != 6:
                raise PolicyError(f"parameter '{side}_workspace' needs 6 numbers, it has {len(box)}")
            boxes.append(np.reshape(box, (2, 3)))
        corners = np.array(boxes)
        clearance = ArmClearance(
            robot, between_arms=self._number("between_arms"), within_arm=self._number("within_arm")
        )
        return MotionGuard(Workspace(corners[:, 0], corners[:, 1]), clearance)

    def _health_limits(self) -> HealthLimits:
        return HealthLimits(
            timeout=self._number("keypoint_timeout"),
            lost_timeout=self._number("lost_timeout"),
            largest_jump=self._number("largest_keypoint_jump"),
        )

    def _on_keypoints(self, message: KeypointArray) -> None:
        known: dict[str, list[bool]] = {}
        jump = 0.0
        points = {}
        for index, keypoint in enumerate(message.keypoints):
            there = keypoint.state != Keypoint.LOST
            known.setdefault(keypoint.group, []).append(there)
            if there:
                p = keypoint.position
                points[index] = np.array([p.x, p.y, p.z])
                if index in self._points:
                    jump = max(jump, float(np.linalg.norm(points[index] - self._points[index])))
        self._points = points
        shares = {group: sum(values) / len(values) for group, values in known.items()}
        self._gate.see_keypoints(conversions.seconds(message.header.stamp), shares, jump)

    def _now(self) -> float:
        return 1e-9 * self.get_clock().now().nanoseconds

    def _on_joint_states(self, message: JointState) -> None:
        measured = conversions.joint_measurement(message, self._arm_joints, self._finger_joints)
        if measured is not None:
            self._measured = measured
            if not self._arrived.done():
                self._arrived.set_result(None)

    def _on_chunk(self, message: JointTrajectory, *, by_sight: bool) -> None:
        try:
            self._gate.accept(conversions.joint_chunk(message), self._now(), by_sight=by_sight)
        except ChunkError as error:
            self.get_logger().warn(str(error), throttle_duration_sec=1.0)

    async def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        if request.data:
            if self._measured is None:
                await self._first_joint_states()
            now = self._now()
            self._gate.tick(now, self._measured)
            problem = self._rivals() or self._gate.enable(now)
            response.success, response.message = not problem, problem or "enabled: waiting for a chunk"
        else:
            self._gate.disable()
            if self._gate.braking:
                if self._at_rest.done():
                    self._at_rest = Future()
                await self._at_rest
            response.success, response.message = True, "disabled"
        self.get_logger().info(response.message)
        return response

    async def _first_joint_states(self) -> None:
        """Wait until some have come: in a graph that has just started, robot and gate may not have met yet."""
        self._arrived = Future()

        def give_up() -> None:
            timer.cancel()
            if not self._arrived.done():
                self._arrived.set_result(None)

        # By the steady clock: without a robot there may be no other.
        timer = self.create_timer(_START_UP, give_up, clock=Clock(clock_type=ClockType.STEADY_TIME))
        await self._arrived
        self.destroy_timer(timer)

    def _rivals(self) -> str:
        """Why the chunks or the arms are not this graph's alone; an empty string if they are. To be asked steadily."""
        doubles = [self._doubles(topic) for topic in (_CHUNKS, _APPROACH_CHUNKS)]
        return self._other_gates() or next(filter(None, doubles), "")

    def _other_gates(self) -> str:
        """Who else commands the arms. A gate that died before this one was started is unknown here."""
        for publisher in (*self._arm_commands, *self._gripper_commands):
            topic = publisher.topic_name
            if self.count_publishers(topic) > 1:
                names = sorted(_full_name(p) or "an unnamed node" for p in self.get_publishers_info_by_topic(topic))
                return f"{len(names)} nodes command the arms on {topic}: {', '.join(names)}; stop all but one"
        return ""

    def _doubles(self, topic: str) -> str:
        """Why the chunks on a topic cannot be trusted: more than one node publishes them."""
        if self.count_publishers(topic) < 2:
            self._seen.pop(topic, None)
            return ""
        found = self.get_publishers_info_by_topic(topic)
        now, before = time.monotonic(), self._seen.get(topic, {})
        seen = self._seen[topic] = {gid: before.get(gid, now) for gid in (bytes(p.endpoint_gid) for p in found)}
        names = sorted({_full_name(p) for p in found} - {""})
        if len(names) > 1:
            return f"{len(names)} nodes publish {topic}: {', '.join(names)}; stop all but one"
        # A node that was started again after a crash is still listed with its predecessor for a while.
        if len(seen) > 1 and now - sorted(seen.values())[1] > _LEASE:
            return (
                f"{len(seen)} nodes of one name ({', '.join(names)}) have published {topic} for over {_LEASE:.0f} s: "
                "is there a second graph in this ROS domain? Stop all but one"
            )
        return ""

    def _on_stop(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._gate.stop("stopped by /pad/stop; call /pad/enable to go on")
        response.success, response.message = True, "stopped until enabled again"
        self.get_logger().warn(response.message)
        return response

    def come_to_rest(self, spin: Callable[[], None]) -> None:
        """Brake arms that move, before the node leaves; spin: lets it beat once."""
        self._gate.stop("command_gate was ended")
        deadline = time.monotonic() + _LAST_BRAKE
        while self._gate.braking and time.monotonic() < deadline:
            spin()

    def _on_timer(self) -> None:
        now = self._now()
        output = self._gate.tick(now, self._measured)
        if output.report.pauses > self._pauses:
            self.get_logger().warn(
                f"no beat for {now - self._beat:.2f} s, because the machine is too busy or the clock has jumped; the "
                "arms have waited at the last command",
                throttle_duration_sec=1.0,
            )
        self._beat, self._pauses = now, output.report.pauses
        if not self._gate.braking and not self._at_rest.done():
            self._at_rest.set_result(None)
        if output.joints is not None and output.openings is not None:
            if self._dry_run:
                preview = JointState(name=[*self._arm_joints, *self._finger_joints])
                preview.header.stamp = conversions.time_message(now)
                preview.position = [*output.joints.tolist(), *(0.5 * output.openings).tolist()]
                self._preview.publish(preview)
            else:
                self._command(now, output.joints, output.openings)
        changed = output.report.state != self._state
        if changed or not 0 <= now - self._reported < _REPORT_EVERY:
            self._reported, self._state = now, output.report.state
            rivals = self._rivals()
            if rivals and self._state in (GateState.RUNNING, GateState.HOLDING):
                self._gate.stop(rivals)
                self.get_logger().error(rivals)
            self._safety.publish(self._safety_message(now, output.report))

    def _command(self, now: float, joints: NDArray[np.floating], openings: NDArray[np.floating]) -> None:
        for publisher, positions in zip(self._arm_commands, np.split(joints, 2), strict=True):
            publisher.publish(Float64MultiArray(data=positions.tolist()))
        # Grippers rest most of the time, and each message wakes whoever drives them.
        if not 0 <= now - self._gripped < _GRIP_EVERY or not np.array_equal(openings, self._openings):
            self._gripped, self._openings = now, openings.copy()
            for publisher, opening in zip(self._gripper_commands, openings, strict=True):
                publisher.publish(Float64MultiArray(data=[0.5 * float(opening)]))

    @staticmethod
    def _safety_message(now: float, report: SafetyReport) -> SafetyState:
        message = SafetyState(
            state=int(report.state),
            cause=report.cause,
            position_limited=report.position_limited,
            velocity_limited=report.velocity_limited,
            acceleration_limited=report.acceleration_limited,
            rejected_chunks=report.rejected_chunks,
            stale_holds=report.stale_holds,
            chunk_age=_known(report.chunk_age),
            joint_state_age=_known(report.joint_state_age),
            jerk_limited=report.jerk_limited,
            workspace_limited=report.workspace_limited,
            distance_limited=report.distance_limited,
            keypoint_holds=report.keypoint_holds,
            pauses=report.pauses,
            far_starts=report.far_starts,
            keypoint_age=_known(report.keypoint_age),
            room=report.room,
        )
        message.header.stamp = conversions.time_message(now)
        message.header.frame_id = conversions.TASK_FRAME
        return message


def _full_name(endpoint: TopicEndpointInfo) -> str:
    """Namespace and name; an empty string while only the endpoint is discovered, or for what is no ROS node."""
    if endpoint.node_name == _UNKNOWN:
        return ""
    return f"{endpoint.node_namespace.rstrip('/')}/{endpoint.node_name}"


def _known(age: float) -> float:
    """An age for a message: nan where there is none."""
    return age if math.isfinite(age) else math.nan


def main(args: list[str] | None = None) -> None:
    """Run the node; exit code 2 with one line when the robot profile is missing or wrong."""
    interruption = Interruption()
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    node, fault = None, ""
    try:
        node = CommandGateNode()
        node.start()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        interruption.started()
        while not interruption.came:
            executor.spin_once(timeout_sec=LOOK_EVERY)
        node.come_to_rest(lambda: executor.spin_once(timeout_sec=_PERIOD))
    except (InvalidParameterValueException, PolicyError, PadAugmentError) as error:
        fault = str(error)
        rclpy.logging.get_logger("command_gate").fatal(fault)
    except KeyboardInterrupt:
        pass
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
    sys.exit(2 if fault else 0)


if __name__ == "__main__":
    main()
