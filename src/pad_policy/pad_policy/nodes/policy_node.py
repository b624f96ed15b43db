"""Lifecycle node: keypoints and joint states in, chunks out. Configure loads, activate plans, deactivate forgets.

The actions `/pad/execute_task` and `/pad/approach` use it and the command gate for one goal at a time.
"""

import sys
from collections import deque
from collections.abc import Coroutine
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rcl_interfaces.msg import FloatingPointRange, ParameterDescriptor
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.clock import Clock, ClockType
from rclpy.exceptions import InvalidParameterValueException
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory
from visualization_msgs.msg import MarkerArray

from pad_augment.errors import PadAugmentError
from pad_augment.kinematics import Robot, RobotProfile
from pad_msgs.action import Approach, ExecuteTask
from pad_msgs.msg import ActionChunk, Keypoint, KeypointArray
from pad_parse import qos
from pad_parse.nodes.running import LOOK_EVERY, Interruption
from pad_policy.approach import away_from_start
from pad_policy.bundle import PolicyBundle
from pad_policy.errors import MismatchError, PolicyError
from pad_policy.inference import OnnxPolicy
from pad_policy.joint_history import JointHistory
from pad_policy.nodes import conversions
from pad_policy.nodes.approach_goal import ApproachGoal
from pad_policy.nodes.goals import Beats, Cancelled, GateClient, GoalEnd, ShutDown
from pad_policy.nodes.lifecycle import RefusingLifecycleNode
from pad_policy.nodes.task_goal import TaskGoal
from pad_policy.robot_limits import command_joint_names
from pad_policy.runner import PolicyRunner
from pad_policy.smoothing import SMOOTHINGS, ChunkSmoother

_FAREWELL = 1.0  # s for which a goal's end can still be asked for before its server closes
_NUMBERS = {  # name: default, least, most, description
    "blend_time": (0.6, 0.05, 10.0, "smoothing blend: s over which a chunk takes over from the one before."),
    "time_limit": (30.0, 0.1, 3600.0, "s that /pad/execute_task takes at most, where its goal does not say."),
    "start_distance": (0.45, 0.01, 10.0, "m that a TCP may be away from where the policy starts."),
    "start_turn": (1.8, 0.05, 3.2, "rad that a TCP may be turned away from how the policy starts."),
    "approach_speed": (0.25, 0.02, 1.0, "Share of the robot's velocities that /pad/approach uses."),
}


class PolicyNode(RefusingLifecycleNode):
    """Runs one policy in closed loop. `fault` holds the message of an error that must end the process."""

    def __init__(self) -> None:
        super().__init__("policy_node")
        self._declare("policy", "", "Policy folder made by `pad distill`.")
        self._declare("robot", "", "Robot profile YAML.")
        self._declare("task", "", "Name of the running task; must be the policy's. Empty: the policy's own.")
        self._declare("seed", 0, "Seed of the policy's sampling noise.")
        choices = ", ".join(SMOOTHINGS)
        self._declare(
            "smoothing",
            SMOOTHINGS[0],
            "What a new chunk makes of those before: none, it replaces them; blend, it cross-fades from the last; "
            f"ensemble, the mean of all that reach as far (temporal ensembling). One of: {choices}.",
        )
        for name, (default, least, most, described) in _NUMBERS.items():
            span = FloatingPointRange(from_value=least, to_value=most, step=0.0)
            self.declare_parameter(
                name,
                default,
                ParameterDescriptor(
                    description=f"{described} From {least} to {most}.", read_only=True, floating_point_range=[span]
                ),
            )
        self._start_distance = float(self.get_parameter("start_distance").value)
        self._start_turn = float(self.get_parameter("start_turn").value)
        self.time_limit = float(self.get_parameter("time_limit").value)
        self.approach_speed = float(self.get_parameter("approach_speed").value)
        self.fault = ""
        self.planning = False
        """Whether keypoints are answered with chunks."""
        self.keypoints: KeypointArray | None = None
        self.away = ""
        """Why the policy does not start from where the arms are; empty if it does."""
        self._active = False
        self._busy = self._taken = self._woken = False
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
        self._smoother = ChunkSmoother(
            self.get_parameter("smoothing").value, float(self.get_parameter("blend_time").value)
        )
        return bundle

    # -- what the goals see -----------------------------------------------------------------------------------

    @property
    def bundle(self) -> PolicyBundle:
        """The policy that is loaded."""
        if self._runner is None:
            raise PolicyError("policy_node is not configured")
        return self._runner.policy.bundle

    @property
    def robot(self) -> Robot:
        """The robot that runs."""
        if self._robot is None:
            raise PolicyError("policy_node is not configured")
        return self._robot

    def now(self) -> float:
        """s of the node's clock."""
        return 1e-9 * float(self.get_clock().now().nanoseconds)

    def visible_fraction(self) -> float:
        """Share of the newest keypoints that are seen, 0 to 1; nan without any."""
        points = self.keypoints.keypoints if self.keypoints is not None else []
        return sum(p.state == Keypoint.VISIBLE for p in points) / len(points) if points else float("nan")

    def chunk_age(self) -> float:
        """s since the observation behind the newest chunk; nan without one."""
        return self.now() - self._last_plan

    @property
    def active(self) -> bool:
        """Whether the node is in the state active."""
        return self._active

    async def take_over(self, *, wake: bool = False) -> None:
        """From here on, and not before, the goal has policy and gate to itself; afterwards both are as if started anew.

        The policy rests until the goal lets it plan, the gate is disabled. wake: be active while the goal lasts.
        """
        self._taken = True
        if wake and not self._active:
            self._woken = True
            self.trigger_activate()
        self.planning = False
        await self._gate.disable()

    def begin_planning(self, seed: int) -> None:
        """Answer keypoints with chunks from an empty history on, with the sampling noise of a seed."""
        if self._runner is None:
            raise PolicyError("policy_node is not configured")
        self._runner.reseed(np.random.default_rng(seed))
        self._forget()
        self._anew = self.planning = True

    def _on_enabled(self) -> None:
        """Whoever enables the gate may have moved the arms meanwhile: whether the policy may start is asked anew."""
        self._forget()
        self._anew = True

    def _forget(self) -> None:
        """Nothing seen so far counts any more; nor do images of before that are still on their way."""
        if self._runner is not None:
            self._runner.reset()
            self._smoother.reset()
            self.away, self._started, self._anew = "", False, False
            self._last_plan = float("nan")
            self.joints.since = max(self.joints.since, self.now())

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
        self.joints = JointHistory(robot.velocity_limits.ravel())
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
        self._beats = Beats(self)
        self._gate = GateClient(self, self._beats, self._on_enabled)
        self._task_goal = TaskGoal(self, self._beats, self._gate)
        self._approach_goal = ApproachGoal(self, self._beats, self._gate)
        self._servers = [
            ActionServer(
                self,
                ExecuteTask,
                "/pad/execute_task",
                self._execute_task,
                goal_callback=self._on_goal,
                cancel_callback=lambda _: CancelResponse.ACCEPT,
            ),
            ActionServer(
                self,
                Approach,
                "/pad/approach",
                self._approach,
                goal_callback=self._on_goal,
                cancel_callback=lambda _: CancelResponse.ACCEPT,
            ),
        ]
        self.get_logger().info(f"policy {bundle.folder} for task '{bundle.task.name}' is loaded")
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start planning with an empty history."""
        if self._runner is None:
            return TransitionCallbackReturn.ERROR
        self._forget()
        self._active = self.planning = True
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop planning and forget what was seen; the gate holds when chunks stop."""
        self._active = self.planning = False
        self._forget()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Close the topics and unload; not under a goal, which would never end and leave the gate enabled."""
        if self._busy:
            self.get_logger().warn("cleanup refused: a goal is under way; cancel it, or wait for its end")
            return TransitionCallbackReturn.FAILURE
        self._release()
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop planning for good and close the topics; a goal that is under way first brakes and disables the gate."""
        self._active = self.planning = False
        self._forget()
        if self._busy:
            self._beats.closing = True
        else:
            self._release()
        return super().on_shutdown(state)

    def _release(self) -> None:
        """Close the topics and unload, if anything is open."""
        self._active = self.planning = False
        if self._runner is None:
            return
        for part in (*self._servers, self._task_goal, self._approach_goal, self._gate, self._beats):
            part.destroy()
        for subscription in (self._keypoint_subscription, self._joint_subscription):
            self.destroy_subscription(subscription)
        for publisher in (self._chunks, self._actions, self._markers, self._diagnostics):
            self.destroy_publisher(publisher)
        self.destroy_timer(self._timer)
        self._runner = None

    def _release_soon(self) -> None:
        """Once the end of the last goal has been told."""

        def release() -> None:
            self.destroy_timer(timer)
            self._release()

        timer = self.create_timer(_FAREWELL, release, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _warm_up(self, policy: OnnxPolicy) -> None:
        """The first run of a network allocates its memory; have that done before the first keypoints."""
        manifest = policy.bundle.manifest
        to, count = policy.horizons.history, policy.keypoint_count
        ee = np.tile(np.array(manifest.start_ee), (to, 1))
        policy.chunk(np.zeros((to, count, 3)), np.ones((to, count)), ee, np.random.default_rng(0))

    def _fail(self, error: Exception) -> None:
        self.fault = str(error)
        self._active = self.planning = False

    # -- data -------------------------------------------------------------------------------------------------

    def _on_joint_states(self, message: JointState) -> None:
        measured = conversions.joint_measurement(message, self._arm_joints, self._finger_joints)
        if measured is None:
            return
        if self.joints.add(measured):
            self.get_logger().warn(
                "the robot is somewhere else at once, or the clock went back: the policy starts anew"
            )
            self._forget()

    def _on_keypoints(self, message: KeypointArray) -> None:
        runner = self._runner
        self.keypoints = message
        if not self.planning or runner is None:
            return
        observation = conversions.keypoint_observation(message)
        interval = observation.stamp - self._last_keypoints
        if 0 < interval < 0.5:
            self._keypoint_interval += 0.2 * (interval - self._keypoint_interval)
        self._last_keypoints = observation.stamp
        if observation.stamp <= self.joints.since:
            return
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
        measured = self.joints.at(observation.stamp)
        if measured is None:
            self.get_logger().warn("no joint states near the keypoints' stamp; waiting", throttle_duration_sec=5.0)
        if measured is None or not observation.states.any():
            self._skipped += 1
            return
        runner.observe(observation, measured)
        if runner.should_plan:
            self._plan(runner)

    def _plan(self, runner: PolicyRunner) -> None:
        # Before the gate is enabled each chunk may be the first that it follows.
        if not (self._started and self._gate.enabled) and not self._may_start():
            return
        started = perf_counter()
        try:
            plan = runner.plan()
        except PolicyError as error:
            self._skipped += 1
            self.get_logger().warn(f"no chunk this time: {error}", throttle_duration_sec=2.0)
            return
        self._started = True
        self._chunks.publish(conversions.trajectory_message(self._smoother.smooth(plan.chunk)))
        self._inference_ms.append(1e3 * (perf_counter() - started))
        self._last_plan = plan.chunk.stamp
        self._unreachable += int(plan.unreachable.sum())
        bundle, horizons = runner.policy.bundle, runner.policy.horizons
        self._actions.publish(conversions.action_message(bundle.task.name, plan.chunk.stamp, horizons.period, plan.ee))
        self._markers.publish(conversions.path_markers(plan.chunk.stamp, plan.ee, plan.unreachable))

    def _may_start(self) -> bool:
        """Whether the arms are near where the policy starts; asked before the first chunk that the gate may follow.

        Not where the gate has been following a policy's chunks: a policy_node that comes back after a crash goes on.
        """
        if self._gate.following and not self.away and not self._anew:
            return True
        measured = self.joints.newest
        if measured is None:
            return False
        joints = measured.positions.reshape(2, -1)
        self.away = away_from_start(
            np.stack([self.robot.fk(arm, joints[arm]) for arm in range(2)]),
            self.bundle.manifest.start_ee,
            self._start_distance,
            self._start_turn,
        )
        if self.away:
            self.get_logger().warn(self.away, throttle_duration_sec=5.0)
        return not self.away

    # -- goals ------------------------------------------------------------------------------------------------

    def _on_goal(self, request: object) -> GoalResponse:
        """One goal at a time; one that comes meanwhile is refused."""
        if self._busy or self._beats.closing:
            why = "another goal is under way" if self._busy else "policy_node was shut down"
            self.get_logger().warn(f"{type(request).__qualname__} refused: {why}")
            return GoalResponse.REJECT
        self._busy = True
        return GoalResponse.ACCEPT

    async def _execute_task(self, goal: ServerGoalHandle) -> ExecuteTask.Result:
        return await self._carry_out(goal, self._task_goal.run(goal), ExecuteTask.Result)

    async def _approach(self, goal: ServerGoalHandle) -> Approach.Result:
        return await self._carry_out(goal, self._approach_goal.run(goal), Approach.Result)

    async def _carry_out(self, goal: ServerGoalHandle, run: Coroutine[Any, Any, Any], kind: Any) -> Any:
        """The result of a goal, whatever happens. One that has not taken over leaves the policy and the gate alone."""
        began = self.now()
        self._beats.begin()
        try:
            result = await run
            goal_ends = goal.succeed
        except Cancelled:
            result, goal_ends = kind(error_code=kind.CANCELLED, error_message="cancelled"), goal.canceled
        except GoalEnd as end:
            result, goal_ends = kind(error_code=end.code, error_message=str(end)), goal.abort
        except ShutDown:
            result, goal_ends = kind(error_code=kind.STOPPED, error_message="policy_node was shut down"), goal.abort
        except Exception as error:  # whoever sent the goal must not wait for ever
            message = f"{type(error).__name__}: {error}; see the log of policy_node"
            result, goal_ends = kind(error_code=kind.INTERNAL, error_message=message), goal.abort
        if self._taken:
            self.planning = False
            await self._gate.disable()
            self._forget()
            if self._woken and self._active:  # unless somebody has deactivated it meanwhile
                self.trigger_deactivate()
            self.planning = self._active
        self._beats.end()
        self._busy = self._taken = self._woken = False
        if self._beats.closing:
            self._release_soon()
        result.duration = max(self.now() - began, 0.0)
        goal_ends()
        self.get_logger().info(f"{kind.__qualname__}: {result.error_message or 'success'} ({result.duration:.1f} s)")
        return result

    def _diagnose(self) -> None:
        now = 1e-9 * self.get_clock().now().nanoseconds
        keypoint_age, chunk_age = now - self._last_keypoints, now - self._last_plan
        status = DiagnosticStatus(name="policy_node", level=DiagnosticStatus.OK, message="planning")
        if not self._active:
            status.message = "inactive"
        elif self._busy and not self.planning:
            status.message = "a goal is being prepared"
        elif not keypoint_age < 1.0:
            status.level, status.message = DiagnosticStatus.WARN, "waiting for /pad/keypoints"
        elif self.away:
            status.level, status.message = DiagnosticStatus.ERROR, self.away
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
    interruption = Interruption()
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    node, fault = None, ""
    try:
        node = PolicyNode()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        try:
            node.load_parameters()
        except (PolicyError, PadAugmentError) as error:
            node.fault = str(error)
        interruption.started()
        while not (node.fault or interruption.came):
            executor.spin_once(timeout_sec=LOOK_EVERY)
        fault = node.fault
    except InvalidParameterValueException as error:
        fault = str(error)
    except KeyboardInterrupt:
        pass
    finally:
        if fault:
            rclpy.logging.get_logger("policy_node").fatal(fault)
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
    sys.exit(2 if fault else 0)


if __name__ == "__main__":
    main()
