"""Node: task and motion planning. One trajectory as the service `/pad/generate_trajectory`, a dataset of many as the
action `/pad/generate_dataset`; the planning scene and the last trajectory as markers and trajectory messages."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from trajectory_msgs.msg import JointTrajectory
from visualization_msgs.msg import MarkerArray

from pad_augment.config import GeneratorConfig
from pad_augment.description import urdf_text
from pad_augment.errors import ConfigError, PadAugmentError
from pad_augment.kinematics import Robot, RobotProfile
from pad_augment.nodes.dataset_action import DatasetAction
from pad_augment.nodes.scene_markers import PlanningMarkers
from pad_augment.nodes.trajectory_messages import (
    display_message,
    keypoint_messages,
    moveit_messages,
    placements,
    trajectory_message,
)
from pad_augment.planning import PLANNERS
from pad_augment.planning.interface import Failure, PlanFailure
from pad_augment.trajectory import TaskPlanner, Trajectory
from pad_msgs.srv import GenerateTrajectory
from pad_parse import qos
from pad_parse.demonstration import Demonstration
from pad_parse.errors import PadParseError
from pad_parse.nodes.parameters import declare, required
from pad_parse.nodes.running import run_node

_SHOW_PERIOD, _SHOW_AFTER = 0.05, 0.2  # s
_SETTLED = 10.0  # s after which a graph that has just started is up
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
    Failure.TIME_OUT: GenerateTrajectory.Response.NO_PLAN,
}


class TampServer(Node):
    """Plans the demonstrated task for objects that stand elsewhere.

    It is up before it can plan: the first request may wait for some seconds. `fault` says why it never will.
    """

    def __init__(self) -> None:
        super().__init__("tamp_server")
        self.fault = ""
        declare(self, "demonstration", "", "Demonstration file (.demo.h5) made by `pad parse`.")
        declare(self, "robot", "", "Robot profile YAML.")
        planner = str(
            declare(self, "planner", "roboplan", "Planner; auto: moveit where it is installed.", choices=PLANNERS)
        )
        options = str(declare(self, "options", "", "NAME=VALUE of the generator, separated by spaces."))
        workers = int(
            declare(self, "workers", 0, "Processes that generate a dataset; 0: one per core.", limits=(0, 256))
        )
        config = GeneratorConfig.from_assignments(options.split())
        demonstration = Demonstration.load(Path(required(self, "demonstration", "FILE.demo.h5")))
        profile = Path(required(self, "robot", "PROFILE.yaml"))
        robot = Robot(RobotProfile.load(profile))
        self._planner = TaskPlanner(demonstration, robot, planner, config)
        self._show_moveit = moveit_messages()
        self._markers = PlanningMarkers(
            urdf_text(robot.profile.description), self._planner.shapes, self._planner.obstacles
        )
        self._markers_out = self.create_publisher(MarkerArray, "/pad/markers", qos.LATCHED)
        self._trajectory_out = self.create_publisher(JointTrajectory, "/pad/planned_trajectory", qos.LATCHED)
        self._display_out = None
        if self._show_moveit is not None:
            kind = self._show_moveit.DisplayTrajectory
            self._display_out = self.create_publisher(kind, "/display_planned_path", qos.LATCHED)
        self._to_show: tuple[Trajectory, JointTrajectory] | None = None
        self._answered = 0.0
        self._markers_out.publish(self._markers.markers(None, self.get_clock().now().to_msg()))
        self.create_timer(_SHOW_PERIOD, self._show, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._action = DatasetAction(self, profile, planner, config, workers or len(os.sched_getaffinity(0)))
        self.create_service(GenerateTrajectory, "/pad/generate_trajectory", self._on_request)
        self.get_logger().info(self._planner.choice)
        threading.Thread(target=self._prepare, name="prepare", daemon=True).start()
        self.get_logger().info(f"plans task '{demonstration.task.name}' for {robot.profile.name}")

    def _prepare(self) -> None:
        """Ready the planner while nobody asks, behind whatever else the machine has to start."""
        os.sched_setscheduler(threading.get_native_id(), os.SCHED_IDLE, os.sched_param(0))
        time.sleep(_SETTLED)  # whoever asks before has the planner made ready for it
        try:
            self._planner.prepare()
        except PadAugmentError as error:
            self.get_logger().fatal(str(error))
            self.fault = str(error)

    def destroy_node(self) -> None:
        """End the goal that is being worked on, if any, and the node."""
        self._action.destroy()
        super().destroy_node()

    def _on_request(
        self, request: GenerateTrajectory.Request, response: GenerateTrajectory.Response
    ) -> GenerateTrajectory.Response:
        planner = self._planner
        try:
            places = placements(request.objects)
        except ConfigError as error:
            response.error_code, response.error_message = response.BAD_REQUEST, str(error)
            return response
        try:
            trajectory = planner.plan(places, request.seed)
            stamp = self.get_clock().now().to_msg()
            response.joint_trajectory = trajectory_message(trajectory, planner.robot.joint_names, stamp)
            response.keypoints = keypoint_messages(trajectory, planner.demonstration, stamp)
            response.left_opening = trajectory.openings[:, 0].tolist()
            response.right_opening = trajectory.openings[:, 1].tolist()
            response.error_code = response.SUCCESS
            self._to_show, self._answered = (trajectory, response.joint_trajectory), time.monotonic()
        except ConfigError as error:
            response.error_code, response.error_message = response.UNKNOWN_OBJECT, str(error)
        except PlanFailure as failure:
            response.error_code, response.error_message = _CODES[failure.code], f"{failure.code.value}: {failure}"
        except Exception as error:  # a service must answer: the caller would wait for ever
            self.get_logger().error(f"{type(error).__name__}: {error}")
            response.error_code = response.INTERNAL
            response.error_message = f"{type(error).__name__}: {error}"
        return response

    def _show(self) -> None:
        """Publish the last trajectory once requests pause: drawing it takes as long as planning it."""
        if self._to_show is None or time.monotonic() - self._answered < _SHOW_AFTER:
            return
        (trajectory, message), self._to_show = self._to_show, None
        self._trajectory_out.publish(message)
        self._markers_out.publish(self._markers.markers(trajectory, message.header.stamp))
        if self._display_out is not None and self._show_moveit is not None:
            self._display_out.publish(display_message(self._show_moveit, self._planner.robot.profile.name, message))


def main() -> None:
    """Run the node; exit code 2 and one line when demonstration, robot or planner cannot be used."""
    run_node("tamp_server", TampServer, errors=(PadAugmentError, PadParseError))


if __name__ == "__main__":
    main()
