"""Node: joint chunks in, limited commands out at 125 Hz. The only publisher of commands; starts disabled."""

import sys
from pathlib import Path

import rclpy
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import SetBool, Trigger
from trajectory_msgs.msg import JointTrajectory

from pad_augment.errors import PadAugmentError
from pad_augment.kinematics import Robot, RobotProfile
from pad_msgs.msg import SafetyState
from pad_parse import qos
from pad_policy.environment import JointMeasurement
from pad_policy.errors import ChunkError, PolicyError
from pad_policy.nodes import conversions
from pad_policy.robot_limits import command_joint_names, gate_limits
from pad_policy.safety import CommandGate, SafetyReport

_PERIOD = 0.008
_REPORT_EVERY = 0.1


class CommandGateNode(Node):
    """Wires `CommandGate` to topics and services."""

    def __init__(self) -> None:
        super().__init__("command_gate")
        self.declare_parameter("robot", "", ParameterDescriptor(description="Robot profile YAML.", read_only=True))

    def start(self) -> None:
        """Read the robot and open the topics; raises typed errors."""
        path = self.get_parameter("robot").value
        if not path:
            raise PolicyError("parameter 'robot' is missing; set it with --ros-args -p robot:=PROFILE.yaml")
        robot = Robot(RobotProfile.load(Path(path)))
        names = command_joint_names(robot)
        self._arm_joints, self._finger_joints = names[:12], names[12:]
        self._gate = CommandGate(names, gate_limits(robot))
        self._measured: JointMeasurement | None = None
        self._reported = float("-inf")
        sides = ("left", "right")
        self._arm_commands = [
            self.create_publisher(Float64MultiArray, f"/{side}_forward_position_controller/commands", qos.COMMAND)
            for side in sides
        ]
        self._gripper_commands = [
            self.create_publisher(Float64MultiArray, f"/{side}_gripper_position_controller/commands", qos.COMMAND)
            for side in sides
        ]
        self._safety = self.create_publisher(SafetyState, "/pad/safety", qos.STATUS)
        self.create_subscription(JointTrajectory, "/pad/joint_chunk", self._on_chunk, qos.LATEST)
        self.create_subscription(JointState, "/joint_states", self._on_joint_states, qos.JOINT_STATES)
        self.create_service(SetBool, "/pad/enable", self._on_enable)
        self.create_service(Trigger, "/pad/stop", self._on_stop)
        self.create_timer(_PERIOD, self._on_timer)

    def _now(self) -> float:
        return 1e-9 * self.get_clock().now().nanoseconds

    def _on_joint_states(self, message: JointState) -> None:
        measured = conversions.joint_measurement(message, self._arm_joints, self._finger_joints)
        if measured is not None:
            self._measured = measured

    def _on_chunk(self, message: JointTrajectory) -> None:
        try:
            self._gate.accept(conversions.joint_chunk(message), self._now())
        except ChunkError as error:
            self.get_logger().warn(str(error), throttle_duration_sec=1.0)

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        if request.data:
            now = self._now()
            self._gate.tick(now, self._measured)
            problem = self._gate.enable(now)
            response.success, response.message = not problem, problem or "enabled: waiting for a chunk"
        else:
            self._gate.disable()
            response.success, response.message = True, "disabled"
        self.get_logger().info(response.message)
        return response

    def _on_stop(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._gate.stop("stopped by /pad/stop; call /pad/enable to go on")
        response.success, response.message = True, "stopped until enabled again"
        self.get_logger().warn(response.message)
        return response

    def _on_timer(self) -> None:
        now = self._now()
        output = self._gate.tick(now, self._measured)
        if output.joints is not None and output.openings is not None:
            for arm in range(2):
                joints = output.joints[6 * arm : 6 * arm + 6].tolist()
                self._arm_commands[arm].publish(Float64MultiArray(data=joints))
                finger = 0.5 * float(output.openings[arm])
                self._gripper_commands[arm].publish(Float64MultiArray(data=[finger]))
        if not 0 <= now - self._reported < _REPORT_EVERY:
            self._reported = now
            self._safety.publish(self._safety_message(now, output.report))

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
            chunk_age=report.chunk_age if report.chunk_age != float("inf") else float("nan"),
            joint_state_age=report.joint_state_age if report.joint_state_age != float("inf") else float("nan"),
        )
        message.header.stamp = conversions.time_message(now)
        message.header.frame_id = conversions.TASK_FRAME
        return message


def main(args: list[str] | None = None) -> None:
    """Run the node; exit code 2 with one line when the robot profile is missing or wrong."""
    rclpy.init(args=args)
    node = CommandGateNode()
    code = 0
    try:
        node.start()
        rclpy.spin(node)
    except (PolicyError, PadAugmentError) as error:
        node.get_logger().fatal(str(error))
        code = 2
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
    sys.exit(code)


if __name__ == "__main__":
    main()
