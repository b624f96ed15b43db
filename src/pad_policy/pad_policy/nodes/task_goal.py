"""The action `/pad/execute_task`: the task once, from finding its objects to success, time-out or cancel."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rclpy.action.server import ServerGoalHandle
from std_msgs.msg import Bool

from pad_msgs.action import ExecuteTask
from pad_msgs.msg import CellOutcome, SafetyState
from pad_msgs.srv import LocaliseKeypoints
from pad_parse import qos
from pad_policy.errors import MismatchError
from pad_policy.nodes import conversions
from pad_policy.nodes.goals import Beats, GateClient, GoalEnd
from pad_policy.success_watch import SuccessWatch

if TYPE_CHECKING:
    from pad_policy.nodes.policy_node import PolicyNode

_ATTEMPTS = 3  # localisations, each in a newer image
_CONFIRM = 1.0  # s that the cell's success must last
_Codes = ExecuteTask.Result


class TaskGoal:
    """Carries out goals of ExecuteTask. Success is what the cell says, or true on `/pad/success`."""

    def __init__(self, node: PolicyNode, beats: Beats, gate: GateClient) -> None:
        self._node = node
        self._beats = beats
        self._gate = gate
        self._watch = SuccessWatch(_CONFIRM)
        self._said = False
        self._localise = node.create_client(LocaliseKeypoints, "/pad/localise_keypoints")
        self._subscriptions = [
            node.create_subscription(CellOutcome, "/cell/outcome", self._on_outcome, qos.STATUS),
            node.create_subscription(Bool, "/pad/success", self._on_success, qos.LATEST),
        ]

    def destroy(self) -> None:
        """Leave topics and services."""
        self._node.destroy_client(self._localise)
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)

    def _on_outcome(self, message: CellOutcome) -> None:
        self._watch.see(message.success, conversions.seconds(message.header.stamp))

    def _on_success(self, message: Bool) -> None:
        self._said |= message.data

    async def run(self, goal: ServerGoalHandle) -> ExecuteTask.Result:
        """Do the task; `GoalEnd` or `Cancelled` when it ends otherwise. The gate is disabled by whoever called."""
        node, request = self._node, goal.request
        try:
            node.bundle.check_matches(task=request.task or None)
        except MismatchError as error:
            raise GoalEnd(_Codes.WRONG_TASK, str(error)) from error
        if not (math.isfinite(request.time_limit) and request.time_limit >= 0):
            raise GoalEnd(_Codes.NOT_READY, f"time_limit must be 0 or more seconds; got {request.time_limit}")
        limit = float(request.time_limit) or node.time_limit
        state = await self._gate.state(goal, _Codes.NOT_READY)
        if state.state == SafetyState.STOPPED:
            raise GoalEnd(_Codes.STOPPED, f"the gate is stopped: {state.cause}. When all is well, call /pad/enable")
        await node.take_over(wake=True)
        self._tell(goal, "localising", 0.0)
        await self._find(goal)
        if not node.active:
            raise GoalEnd(_Codes.STOPPED, "policy_node was deactivated")
        self._tell(goal, "enabling", 0.0)
        refused = state.far_starts
        node.begin_planning(int(request.seed))
        state = await self._gate.enable(goal, stopped=_Codes.STOPPED, not_ready=_Codes.NOT_READY)
        began, self._watch, self._said = node.now(), SuccessWatch(_CONFIRM), False
        while not (self._watch.done or self._said):
            passed = node.now() - began
            if passed < 0:
                raise GoalEnd(_Codes.STOPPED, "the clock has gone back: the cell was started anew")
            if passed >= limit:
                raise GoalEnd(_Codes.TIMED_OUT, f"{limit:g} s have passed without success; {state.cause or 'it moved'}")
            if node.away or state.far_starts > refused:
                raise GoalEnd(_Codes.FAR_FROM_START, node.away or state.cause)
            self._tell(
                goal, "running" if state.state == SafetyState.RUNNING else "holding", passed / limit, state.cause
            )
            await self._beats.wait(goal)
            if not node.planning:
                raise GoalEnd(_Codes.STOPPED, "policy_node was deactivated")
            state = await self._gate.moving(goal, stopped=_Codes.STOPPED, not_ready=_Codes.NOT_READY)
        return ExecuteTask.Result(error_code=_Codes.SUCCESS)

    async def _find(self, goal: ServerGoalHandle) -> None:
        for _ in range(_ATTEMPTS):
            answer = await self._beats.call(self._localise, LocaliseKeypoints.Request(), goal, _Codes.NOT_READY)
            if answer.success:
                return
        raise GoalEnd(_Codes.LOCALISATION_FAILED, answer.message)

    def _tell(self, goal: ServerGoalHandle, stage: str, fraction: float, cause: str = "") -> None:
        goal.publish_feedback(
            ExecuteTask.Feedback(
                stage=stage,
                fraction=min(fraction, 1.0),
                visible_fraction=self._node.visible_fraction(),
                chunk_age=self._node.chunk_age(),
                cause=cause,
            )
        )
