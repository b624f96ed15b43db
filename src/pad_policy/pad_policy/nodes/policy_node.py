"""Lifecycle node: keypoints and joint states in, chunks out. Configure loads, activate plans, deactivate forgets."""

import sys
from collections import deque
from pathlib import Path
from time import perf_counter

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory
from visualization_msgs.msg import MarkerArray

from pad_augment.errors import PadAugmentError
from pad_augment.kinematics import Robot, RobotProfile
from pad_msgs.msg import ActionChunk, KeypointArray
from pad_parse import qos
from pad_policy.bundle import PolicyBundle
from pad_policy.environment import JointMeasurement
from pad_policy.errors import MismatchError, PolicyError
from pad_policy.inference import OnnxPolicy
from pad_policy.nodes import conversions
from pad_policy.robot_limits import command_joint_names
from pad_policy.runner import PolicyRunner

_JOINT_BUFFER = 1.0  # s of joint states kept, to find the arms' pose at an image's instant
_OLDEST_JOINTS = 0.3  # s between keypoints and joint states beyond which they do not belong together


class PolicyNode(LifecycleNode):
    """Runs one policy in closed loop. `fault` holds the message of an error that must end the process."""

    def __init__(self) -> None:
        super().__init__("policy_node")
        self._declare("policy", "", "Policy folder made by `pad distill`.")
        self._declare("robot", "", "Robot profile YAML.")
        self._declare("task", "", "Name of the running task; must be the policy's. Empty: the policy's own.")
        self._declare("seed", 0, "Seed of the policy's sampling noise.")
        self.fault = ""
        self._active = False
        self._runner: PolicyRunner | None = None
        self._robot: Robot | None = None

    def _declare(self, name: str, default: object, description: str) -> None:
        self.declare_parameter(name, default, ParameterDescriptor(description=description, read_only=True))

    def load_parameters(self) -> PolicyBundle:
        """Read what the parameters point to and check that it belongs together; raises typed errors."""
        for name in ("policy", "robot"):
            if not self.get_parameter(name).value:
                raise PolicyError(f"parameter '{name}' is missing; set it with --ros-args -p {name}:=PATH")
        bundle = PolicyBundle.load(Path(self.get_parameter("policy").value))
        profile = RobotProfile.load(Path(self.get_parameter("robot").value))
        bundle.check_matches(task=self.get_parameter("task").value or None, robot=profile.name)
        self._robot = Robot(profile)
        return bundle

    # -- lifecycle --------------------------------------------------------------------------------------------

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load and warm up the policy, open the topics."""
        try:
            bundle = self.load_parameters()
            policy = OnnxPolicy(bundle.folder)
        except (PolicyError, PadAugmentError) as error:
            self._fail(error)
            return TransitionCallbackReturn.FAILURE
        robot = self._robot
        if robot is None:
            return TransitionCallbackReturn.ERROR
        names = command_joint_names(robot)
        self._arm_joints, self._finger_joints = names[:-2], names[-2:]
        rng = np.random.default_rng(self.get_parameter("seed").value)
        self._runner = PolicyRunner(policy, robot, names, rng)
        self._warm_up(policy)
        self._joints: deque[JointMeasurement] = deque()
        self._keypoint_interval = 0.0
        self._last_keypoints = self._last_plan = float("nan")
        self._inference_ms: deque[float] = deque(maxlen=100)
        self._unreachable = self._skipped = 0
        self._chunks = self.create_publisher(JointTrajectory, "/pad/joint_chunk", qos.LATEST)
        self._actions = self.create_publisher(ActionChunk, "/pad/action_chunk", qos.LATEST)
        self._markers = self.create_publisher(MarkerArray, "/pad/markers", qos.STATUS)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", qos.STATUS)
        self._keypoint_subscription = self.create_subscription(
            KeypointArray, "/pad/keypoints", self._on_keypoints, qos.LATEST
        )
        self._joint_subscription = self.create_subscription(
            JointState, "/joint_states", self._on_joint_states, qos.JOINT_STATES
        )
        self._timer = self.create_timer(1.0, self._diagnose)
        self.get_logger().info(f"policy {bundle.folder} for task '{bundle.task.name}' is loaded")
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start planning with an empty history."""
        if self._runner is None:
            return TransitionCallbackReturn.ERROR
        self._runner.reset()
        self._active = True
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop planning and forget what was seen; the gate holds when chunks stop."""
        self._active = False
        if self._runner is not None:
            self._runner.reset()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Close the topics and unload."""
        self._active = False
        for subscription in (self._keypoint_subscription, self._joint_subscription):
            self.destroy_subscription(subscription)
        for publisher in (self._chunks, self._actions, self._markers, self._diagnostics):
            self.destroy_publisher(publisher)
        self.destroy_timer(self._timer)
        self._runner = None
        return TransitionCallbackReturn.SUCCESS

    def _warm_up(self, policy: OnnxPolicy) -> None:
        """The first run of a network allocates its memory; have that done before the first keypoints."""
        manifest = policy.bundle.manifest
        to, count = policy.horizons.history, policy.keypoint_count
        ee = np.tile(np.array(manifest.start_ee), (to, 1))
        policy.chunk(np.zeros((to, count, 3)), np.ones((to, count)), ee, np.random.default_rng(0))

    def _fail(self, error: Exception) -> None:
        self.fault = str(error)
        self._active = False

    # -- data -------------------------------------------------------------------------------------------------

    def _on_joint_states(self, message: JointState) -> None:
        measured = conversions.joint_measurement(message, self._arm_joints, self._finger_joints)
        if measured is None:
            return
        if self._joints and measured.stamp <= self._joints[-1].stamp:
            self._joints.clear()
        self._joints.append(measured)
        while measured.stamp - self._joints[0].stamp > _JOINT_BUFFER:
            self._joints.popleft()

    def _on_keypoints(self, message: KeypointArray) -> None:
        runner = self._runner
        if not self._active or runner is None:
            return
        observation = conversions.keypoint_observation(message)
        interval = observation.stamp - self._last_keypoints
        if 0 < interval < 0.5:
            self._keypoint_interval += 0.2 * (interval - self._keypoint_interval)
        self._last_keypoints = observation.stamp
        half = 0.5 * min(self._keypoint_interval, runner.policy.horizons.period)
        if not runner.due(observation.stamp, tolerance=half):
            return
        try:
            runner.policy.bundle.check_matches(
                task=message.task or None, keypoint_groups=[k.group for k in message.keypoints]
            )
        except MismatchError as error:
            self._fail(error)
            return
        measured = self._joints_at(observation.stamp)
        if measured is None or not observation.states.any():
            self._skipped += 1
            return
        runner.observe(observation, measured)
        if runner.should_plan:
            self._plan(runner)

    def _joints_at(self, stamp: float) -> JointMeasurement | None:
        """The joint states nearest to an image's stamp."""
        nearest = min(self._joints, key=lambda joints: abs(joints.stamp - stamp), default=None)
        if nearest is None or abs(nearest.stamp - stamp) > _OLDEST_JOINTS:
            self.get_logger().warn("no joint states near the keypoints' stamp; waiting", throttle_duration_sec=5.0)
            return None
        return nearest

    def _plan(self, runner: PolicyRunner) -> None:
        started = perf_counter()
        try:
            plan = runner.plan()
        except PolicyError as error:
            self._skipped += 1
            self.get_logger().warn(f"no chunk this time: {error}", throttle_duration_sec=2.0)
            return
        self._chunks.publish(conversions.trajectory_message(plan.chunk))
        self._inference_ms.append(1e3 * (perf_counter() - started))
        self._last_plan = plan.chunk.stamp
        self._unreachable += int(plan.unreachable.sum())
        bundle, horizons = runner.policy.bundle, runner.policy.horizons
        self._actions.publish(conversions.action_message(bundle.task.name, plan.chunk.stamp, horizons.period, plan.ee))
        self._markers.publish(conversions.path_markers(plan.chunk.stamp, plan.ee, plan.unreachable))

    def _diagnose(self) -> None:
        now = 1e-9 * self.get_clock().now().nanoseconds
        keypoint_age, chunk_age = now - self._last_keypoints, now - self._last_plan
        status = DiagnosticStatus(name="policy_node", level=DiagnosticStatus.OK, message="planning")
        if not self._active:
            status.message = "inactive"
        elif not keypoint_age < 1.0:
            status.level, status.message = DiagnosticStatus.WARN, "waiting for /pad/keypoints"
        elif not chunk_age < 1.5:
            status.level, status.message = DiagnosticStatus.WARN, "no chunk: check joint states and lost keypoints"
        values = {
            "keypoint_age_s": keypoint_age,
            "chunk_age_s": chunk_age,
            "chunk_ms_p95": float(np.percentile(self._inference_ms, 95)) if self._inference_ms else float("nan"),
            "unreachable_targets": self._unreachable,
            "observations_skipped": self._skipped,
        }
        status.values = [KeyValue(key=key, value=f"{value:g}") for key, value in values.items()]
        message = DiagnosticArray(status=[status])
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)


def main(args: list[str] | None = None) -> None:
    """Run the node; exit code 2 with one line when policy, task, keypoints or robot do not fit together."""
    rclpy.init(args=args)
    node = PolicyNode()
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        try:
            node.load_parameters()
        except (PolicyError, PadAugmentError) as error:
            node.fault = str(error)
        while rclpy.ok() and not node.fault:
            executor.spin_once(timeout_sec=0.2)
        if node.fault:
            node.get_logger().fatal(node.fault)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        executor.shutdown(timeout_sec=1.0)
        fault = node.fault
        node.destroy_node()
        rclpy.try_shutdown()
    sys.exit(2 if fault else 0)


if __name__ == "__main__":
    main()
