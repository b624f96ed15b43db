"""The action `/pad/approach`: a planned way to where the policy starts, through the gate."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from rclpy.action.server import ServerGoalHandle
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from pad_msgs.action import Approach as ApproachAction
from pad_msgs.msg import Keypoint, SafetyState
from pad_parse import qos
from pad_policy.approach import (
    RATE_HZ,
    Approach,
    Obstacle,
    TouchingError,
    obstacles_of,
    plan_approach,
    start_posture,
)
from pad_policy.environment import JointMeasurement
from pad_policy.errors import ApproachError
from pad_policy.nodes import conversions
from pad_policy.nodes.goals import BEAT, Beats, GateClient, GoalEnd
from pad_policy.robot_limits import command_joint_names

if TYPE_CHECKING:
    from pad_policy.nodes.policy_node import PolicyNode

_OLDEST_JOINTS = 0.5  # s
_OLDEST_KEYPOINTS = 2.0  # s
_PATIENCE = 5.0  # s without progress after which the arms count as blocked
_CHUNK_EVERY = 0.1  # s
_Codes = ApproachAction.Result


class ApproachGoal:
    """Carries out goals of Approach."""

    def __init__(self, node: PolicyNode, beats: Beats, gate: GateClient) -> None:
        self._node = node
        self._beats = beats
        self._gate = gate
        self._chunks = node.create_publisher(JointTrajectory, "/pad/approach_chunk", qos.LATEST)

    def destroy(self) -> None:
        """Leave the topic."""
        self._node.destroy_publisher(self._chunks)

    async def run(self, goal: ServerGoalHandle) -> ApproachAction.Result:
        """Plan, and unless no more is wanted lead the arms there; `GoalEnd` or `Cancelled` when it ends otherwise."""
        if not goal.request.plan_only:
            state = await self._gate.state(goal, _Codes.NOT_READY)
            if state.state == SafetyState.STOPPED:
                raise GoalEnd(_Codes.STOPPED, f"the gate is stopped: {state.cause}. When all is well, call /pad/enable")
            await self._node.take_over()
        self._tell(goal, "planning", 0.0)
        measured, obstacles = self._measured(), self._obstacles()
        way = await self._plan(goal, measured, obstacles)
        result = ApproachAction.Result(
            error_code=_Codes.SUCCESS, joint_trajectory=self._message(way, measured.stamp), objects=list(obstacles)
        )
        if not goal.request.plan_only:
            await self._lead(goal, way, measured.openings)
        return result

    def _measured(self) -> JointMeasurement:
        measured = self._node.joints.newest
        age = float("inf") if measured is None else self._node.now() - measured.stamp
        if measured is None or age > _OLDEST_JOINTS:
            said = "no joint states have arrived" if measured is None else f"the joint states are {age:.1f} s old"
            raise GoalEnd(_Codes.NOT_READY, f"{said}; start the robot driver or the cell")
        return measured

    def _obstacles(self) -> dict[str, Obstacle]:
        message = self._node.keypoints
        if message is None or self._node.now() - conversions.seconds(message.header.stamp) > _OLDEST_KEYPOINTS:
            self._node.get_logger().warn(
                "no keypoints: the way keeps clear of the cell and the arms only; call /pad/localise_keypoints first, "
                "or clear the table"
            )
            return {}
        points = np.array([(k.position.x, k.position.y, k.position.z) for k in message.keypoints])
        known = np.array([k.state != Keypoint.LOST for k in message.keypoints])
        return obstacles_of(points, known, [k.object for k in message.keypoints])

    async def _plan(
        self, goal: ServerGoalHandle, measured: JointMeasurement, obstacles: dict[str, Obstacle]
    ) -> NDArray[np.floating]:
        robot = self._node.robot
        found: list[NDArray[np.floating] | Exception] = []

        def search() -> None:
            try:
                posture = start_posture(robot, self._node.bundle.manifest.start_ee)
                speed = self._node.approach_speed
                found.append(plan_approach(robot, measured.positions, posture, measured.openings, obstacles, speed))
            except Exception as error:  # the goal must not wait for ever
                found.append(error)

        threading.Thread(target=search, name="approach", daemon=True).start()
        while not found:
            await self._beats.wait(goal)
        (way,) = found
        if isinstance(way, ApproachError):
            raise GoalEnd(_Codes.COLLISION if isinstance(way, TouchingError) else _Codes.NO_PLAN, str(way)) from way
        if isinstance(way, Exception):
            raise way
        return way

    async def _lead(self, goal: ServerGoalHandle, way: NDArray[np.floating], openings: NDArray[np.floating]) -> None:
        node = self._node
        self._tell(goal, "enabling", 0.0)
        state = await self._gate.enable(goal, stopped=_Codes.STOPPED, not_ready=_Codes.NOT_READY)
        approach = Approach(way, openings, command_joint_names(node.robot))
        sent, progress, progressed = -np.inf, -1.0, node.now()
        while True:
            now, measured = node.now(), self._measured()
            if approach.arrived(measured.positions):
                return
            if now < progressed:
                raise GoalEnd(_Codes.STOPPED, "the clock has gone back: the cell was started anew")
            if now - sent >= _CHUNK_EVERY - 0.5 * BEAT:
                sent = now
                self._chunks.publish(conversions.trajectory_message(approach.chunk(now, measured.positions)))
            if approach.fraction > progress:
                progress, progressed = approach.fraction, now
            elif now - progressed > _PATIENCE:
                raise GoalEnd(
                    _Codes.BLOCKED,
                    f"the arms have not followed for {_PATIENCE:.0f} s at {100 * progress:.0f} % of the way: "
                    f"{state.cause or f'the gate gives {state.room:.3f} m of room'}; look at /pad/safety",
                )
            self._tell(goal, "moving" if state.state == SafetyState.RUNNING else "holding", progress, state.cause)
            await self._beats.wait(goal)
            state = await self._gate.moving(goal, stopped=_Codes.STOPPED, not_ready=_Codes.NOT_READY)

    def _message(self, way: NDArray[np.floating], stamp: float) -> JointTrajectory:
        message = JointTrajectory(joint_names=list(self._node.robot.joint_names))
        message.header.stamp = conversions.time_message(stamp)
        message.header.frame_id = conversions.TASK_FRAME
        for index, row in enumerate(way):
            time = conversions.duration_message(index / RATE_HZ)
            message.points.append(JointTrajectoryPoint(positions=row.tolist(), time_from_start=time))
        return message

    @staticmethod
    def _tell(goal: ServerGoalHandle, stage: str, fraction: float, cause: str = "") -> None:
        goal.publish_feedback(ApproachAction.Feedback(stage=stage, fraction=max(fraction, 0.0), cause=cause))
