"""Ways around found by MoveIt; what is asked and answered is the same as for roboplan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from pad_augment.kinematics import Robot
from pad_augment.planning.dynamics import limit_ratios
from pad_augment.planning.interface import Failure, PlanFailure, Shape
from pad_augment.planning.moveit_host import moveit_host
from pad_augment.planning.moveit_scene import BOTH_ARMS, MoveItScene
from pad_augment.planning.proving import ProvingPlanner, moving_arms

FloatArray = NDArray[np.float64]
_ONE_ARM = ("left_arm", "right_arm")
_SEARCHES = 3
"""A way that spills, or is too tight when checked finely, is searched for anew."""
_CORNER = 0.01
"""rad by which time parameterisation may leave the way that was found, at its corners."""
_TRIES_TO_SLOW = 6
_TIMED_OUT = -6  # moveit_msgs/MoveItErrorCodes.TIMED_OUT


class MoveItPlanner(ProvingPlanner):
    """See `ProvingPlanner`; collisions are MoveIt's planning scene's word.

    One planning group of all joints, joint goals; an arm that is to keep still is left out. The SRDF must have the
    groups `both_arms`, `left_arm` and `right_arm`. `PlanningComponent.plan` of moveit_py keeps Python's interpreter
    lock, so nothing else in the process runs meanwhile. OMPL cannot be seeded through moveit_py: only ways around
    differ from run to run.
    """

    name = "moveit"
    repeatable = False
    looks_first = True

    def __init__(self, robot: Robot, shapes: Mapping[str, Shape], rate_hz: float) -> None:
        """Raises: PlanningError: MoveIt is not there. RobotError: the robot profile has no set-up for it."""
        self._host = moveit_host(robot.profile)
        self._scene = MoveItScene(self._host, robot, shapes)
        super().__init__(robot, shapes, rate_hz, self._scene)

    def _ways(
        self,
        index: int,
        start: FloatArray,
        goal: FloatArray,
        openings: FloatArray,
        steps: int,
        rng: np.random.Generator,
    ) -> Iterator[FloatArray]:
        for _ in range(_SEARCHES):
            yield self._found(index, start, goal, openings, steps)

    def _found(self, index: int, start: FloatArray, goal: FloatArray, openings: FloatArray, steps: int) -> FloatArray:
        """(K, 2 n) rad, a way that MoveIt found, within the limits and at least `steps` long."""
        moving = moving_arms(start, goal)
        group = _ONE_ARM[moving[0]] if len(moving) == 1 else BOTH_ARMS
        with self._host.lock:
            component = self._host.component(group)
            component.set_goal_state(robot_state=self._scene.state(goal, openings))
            component.set_start_state(robot_state=self._scene.state(start, openings))
            response = component.plan(
                single_plan_parameters=self._host.request_parameters(), planning_scene=self._scene.scene
            )
        if not response:
            code = response.error_code.val
            failure = Failure.TIME_OUT if code == _TIMED_OUT else Failure.NO_PATH
            raise PlanFailure(failure, index, f"MoveIt found no way through stretch {index} (its error code {code})")
        trajectory = response.trajectory
        timed = trajectory.apply_totg_time_parameterization(
            velocity_scaling_factor=1.0,
            acceleration_scaling_factor=1.0,
            path_tolerance=_CORNER,
            resample_dt=1 / self._rate_hz,
        )
        if not timed:
            raise PlanFailure(Failure.NO_PATH, index, f"MoveIt could not time the way through stretch {index}")
        message = trajectory.get_robot_trajectory_msg().joint_trajectory
        return self._resampled(message, start, goal, steps)

    def _resampled(self, message: Any, start: FloatArray, goal: FloatArray, steps: int) -> FloatArray:
        """(K, 2 n) rad from `trajectory_msgs/JointTrajectory`, in steps of the planner's rate and within the limits."""
        times = np.array([p.time_from_start.sec + 1e-9 * p.time_from_start.nanosec for p in message.points])
        path = np.tile(start, (len(times), 1))
        for column, name in enumerate(message.joint_names):
            path[:, self._robot.joint_names.index(name)] = [point.positions[column] for point in message.points]
        path[0], path[-1] = start, goal  # MoveIt holds them to its tolerance only
        times, fresh = np.unique(times, return_index=True)
        curve = PchipInterpolator(times - times[0], path[fresh], axis=0)
        seconds = max(float(times[-1] - times[0]), (steps - 1) / self._rate_hz)
        for _ in range(_TRIES_TO_SLOW):
            count = max(1, int(np.ceil(seconds * self._rate_hz - 1e-9)))
            out = curve(np.linspace(0, times[-1] - times[0], count + 1))
            velocity, acceleration = limit_ratios(self._robot, out, self._rate_hz)
            excess = max(velocity.max(), np.sqrt(acceleration.max()))
            if excess <= 1.0:
                break
            seconds = 1.05 * excess * count / self._rate_hz
        return out
