"""Answers `/pad/generate_trajectory`: the demonstrated task, planned for objects that stand elsewhere."""

import sys
from pathlib import Path

import numpy as np
import rclpy
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from pad_augment.errors import ConfigError, PadAugmentError
from pad_augment.kinematics import Robot, RobotProfile
from pad_augment.planning import PLANNERS
from pad_augment.planning.interface import Failure, PlanFailure
from pad_augment.trajectory import TaskPlanner, Trajectory
from pad_msgs.msg import Keypoint, KeypointArray, ObjectPose
from pad_msgs.srv import GenerateTrajectory
from pad_parse.demonstration import Demonstration
from pad_parse.errors import PadParseError
from pad_parse.ros_transforms import pose_matrix

_CODES = {
    Failure.UNREACHABLE_LEFT: GenerateTrajectory.Response.UNREACHABLE,
    Failure.UNREACHABLE_RIGHT: GenerateTrajectory.Response.UNREACHABLE,
    Failure.JOINT_LIMIT: GenerateTrajectory.Response.UNREACHABLE,
    Failure.SELF_COLLISION: GenerateTrajectory.Response.COLLISION,
    Failure.ARMS_COLLISION: GenerateTrajectory.Response.COLLISION,
    Failure.OBJECT_COLLISION: GenerateTrajectory.Response.COLLISION,
    Failure.NO_PATH: GenerateTrajectory.Response.NO_PLAN,
    Failure.VELOCITY: GenerateTrajectory.Response.NO_PLAN,
    Failure.ACCELERATION: GenerateTrajectory.Response.NO_PLAN,
}


class TampServer(Node):
    """Task and motion planning as a service."""

    def __init__(self) -> None:
        super().__init__("tamp_server")
        self._declare("demonstration", "", "Demonstration file (.demo.h5) made by `pad parse`.")
        self._declare("robot", "", "Robot profile YAML.")
        self._declare("planner", "roboplan", f"Planner: {' or '.join(PLANNERS)}.")
        self._planner: TaskPlanner | None = None

    def _declare(self, name: str, default: object, description: str) -> None:
        self.declare_parameter(name, default, ParameterDescriptor(description=description, read_only=True))

    def start(self) -> None:
        """Load what the parameters point to, then offer the service; raises typed errors."""
        for name in ("demonstration", "robot"):
            if not self.get_parameter(name).value:
                raise ConfigError(f"parameter '{name}' is missing; set it with --ros-args -p {name}:=PATH")
        demonstration = Demonstration.load(Path(self.get_parameter("demonstration").value))
        robot = Robot(RobotProfile.load(Path(self.get_parameter("robot").value)))
        self._planner = TaskPlanner(demonstration, robot, self.get_parameter("planner").value)
        self._service = self.create_service(GenerateTrajectory, "/pad/generate_trajectory", self._on_request)
        self.get_logger().info(f"ready to plan task '{demonstration.task.name}' for {robot.profile.name}")

    def _on_request(
        self, request: GenerateTrajectory.Request, response: GenerateTrajectory.Response
    ) -> GenerateTrajectory.Response:
        planner = self._planner
        if planner is None:
            response.error_code = response.NOT_READY
            response.error_message = "the server has not loaded its demonstration yet; ask again"
            return response
        try:
            trajectory = planner.plan(placements(request.objects), request.seed)
            response.joint_trajectory = trajectory_message(trajectory, planner.robot.joint_names)
            stamp = self.get_clock().now().to_msg()
            response.joint_trajectory.header.stamp = stamp
            response.keypoints = keypoint_messages(trajectory, planner.demonstration, stamp)
            response.left_opening = trajectory.openings[:, 0].tolist()
            response.right_opening = trajectory.openings[:, 1].tolist()
            response.error_code = response.SUCCESS
        except ConfigError as error:
            response.error_code, response.error_message = response.UNKNOWN_OBJECT, str(error)
        except PlanFailure as failure:
            response.error_code, response.error_message = _CODES[failure.code], f"{failure.code.value}: {failure}"
        except Exception as error:  # a service must answer: the caller would wait for ever
            self.get_logger().error(f"{type(error).__name__}: {error}")
            response.error_code = response.INTERNAL
            response.error_message = f"{type(error).__name__}: {error}"
        return response


def placements(objects: list[ObjectPose]) -> dict[str, np.ndarray]:
    """Object -> pose (4, 4) in the task frame.

    Raises:
        ConfigError: an object is given twice, or its pose is none.
    """
    out: dict[str, np.ndarray] = {}
    for item in objects:
        p, q = item.pose.position, item.pose.orientation
        values = np.array([p.x, p.y, p.z, q.x, q.y, q.z, q.w])
        if item.name in out:
            raise ConfigError(f"object {item.name!r} is given twice")
        if not np.isfinite(values).all() or abs(np.linalg.norm(values[3:]) - 1.0) > 1e-3:
            raise ConfigError(f"the pose of {item.name!r} is not finite, or its quaternion is not of length 1")
        out[item.name] = pose_matrix(p, q)
    return out


def trajectory_message(trajectory: Trajectory, joint_names: list[str]) -> JointTrajectory:
    """Positions and velocities of all arm joints."""
    message = JointTrajectory(joint_names=joint_names)
    message.header.frame_id = "task_frame"
    for time, joints, velocities in zip(trajectory.times, trajectory.joints, trajectory.velocities, strict=True):
        nanoseconds = round(float(time) * 1e9)
        after = Duration(sec=nanoseconds // 1_000_000_000, nanosec=nanoseconds % 1_000_000_000)
        message.points.append(
            JointTrajectoryPoint(positions=joints.tolist(), velocities=velocities.tolist(), time_from_start=after)
        )
    return message


def keypoint_messages(trajectory: Trajectory, demonstration: Demonstration, stamp: object) -> list[KeypointArray]:
    """Expected keypoints, one array per point of the trajectory."""
    named = list(
        zip(demonstration.keypoint_names, demonstration.keypoint_groups, demonstration.keypoint_objects, strict=True)
    )
    out = []
    for points in trajectory.keypoints:
        message = KeypointArray(task=demonstration.task.name)
        message.header.frame_id, message.header.stamp = "task_frame", stamp
        for (name, group, owner), (x, y, z) in zip(named, points.tolist(), strict=True):
            message.keypoints.append(
                Keypoint(
                    name=name,
                    group=group,
                    object=owner,
                    position=Point(x=x, y=y, z=z),
                    state=Keypoint.FILLED,
                    confidence=1.0,
                    u=float("nan"),
                    v=float("nan"),
                )
            )
        out.append(message)
    return out


def main(args: list[str] | None = None) -> None:
    """Run the node; exit code 2 with one line when demonstration, robot or planner cannot be used."""
    rclpy.init(args=args)
    node = TampServer()
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    fault = False
    try:
        node.start()
        executor.spin()
    except (PadAugmentError, PadParseError) as error:
        node.get_logger().fatal(str(error))
        fault = True
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        executor.shutdown(timeout_sec=1.0)
        node.destroy_node()
        rclpy.try_shutdown()
    sys.exit(2 if fault else 0)


if __name__ == "__main__":
    main()
