"""What the actions of policy_node share: waiting inside a goal, and the command gate as a client sees it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

from rclpy.action.server import ServerGoalHandle
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.task import Future
from std_srvs.srv import SetBool

from pad_msgs.msg import SafetyState
from pad_parse import qos

BEAT = 0.05  # s between two looks of a goal
_ANSWER = 20.0  # s that a service may take
_SILENCE = 20.0  # s without /pad/safety after which the gate counts as gone


class GoalEnd(Exception):
    """A goal ends before it is reached: code is one of its result's constants."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Cancelled(Exception):
    """Whoever sent the goal has cancelled it."""


class ShutDown(Exception):
    """The node is being shut down under the goal."""


class Beats:
    """Lets a goal wait without holding up the node: it looks again every BEAT s of real time."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._next: Future = Future()
        self._timer = node.create_timer(BEAT, self._on_timer, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._timer.cancel()
        self.closing = False
        """Whether goals are to end, because the node is being shut down."""

    def begin(self) -> None:
        """Start to beat."""
        self._timer.reset()

    def end(self) -> None:
        """Stop beating."""
        self._timer.cancel()

    def destroy(self) -> None:
        """Give the timer back."""
        self._node.destroy_timer(self._timer)

    def _on_timer(self) -> None:
        waiting, self._next = self._next, Future()
        waiting.set_result(None)

    async def wait(self, goal: ServerGoalHandle | None = None) -> None:
        """Wait for the next beat. goal: raises `Cancelled` if it is asked to end, `ShutDown` if the node is."""
        await self._next
        if goal is not None and self.closing:
            raise ShutDown
        if goal is not None and goal.is_cancel_requested:
            raise Cancelled

    async def call(self, client: Any, request: Any, goal: ServerGoalHandle | None, not_ready: int) -> Any:
        """The answer of a service; `GoalEnd` with code `not_ready` if there is none."""
        deadline = time.monotonic() + _ANSWER
        while not client.service_is_ready():
            if time.monotonic() > deadline:
                raise GoalEnd(not_ready, f"nobody offers {client.srv_name}; start the node that does")
            await self.wait(goal)
        future = client.call_async(request)
        while not future.done():
            if time.monotonic() > deadline:
                client.remove_pending_request(future)
                raise GoalEnd(not_ready, f"{client.srv_name} did not answer within {_ANSWER:.0f} s")
            await self.wait(goal)
        return future.result()


def _lets_through(state: SafetyState) -> bool:
    return state.state in (SafetyState.RUNNING, SafetyState.HOLDING)


class GateClient:
    """The command gate as a goal uses it: enabled for the goal and disabled after it; a latched stop is left alone.

    stopped, not_ready: the result codes of the goal for a gate that stops, and for one that does not answer.
    """

    def __init__(self, node: Node, beats: Beats, on_enabled: Callable[[], None]) -> None:
        """on_enabled: called whenever the gate has been idle or stopped, and lets chunks through from now on."""
        self._node = node
        self._beats = beats
        self._state: SafetyState | None = None
        self._heard = float("-inf")
        self._on_enabled = on_enabled
        self._enabled: bool | None = None
        self._subscription = node.create_subscription(SafetyState, "/pad/safety", self._on_safety, qos.STATUS)
        self._client = node.create_client(SetBool, "/pad/enable")

    def destroy(self) -> None:
        """Leave the topic and the service."""
        self._node.destroy_subscription(self._subscription)
        self._node.destroy_client(self._client)

    def _on_safety(self, message: SafetyState) -> None:
        self._state, self._heard = message, time.monotonic()
        before, self._enabled = self._enabled, _lets_through(message)
        if before is False and self._enabled:
            self._on_enabled()

    @property
    def enabled(self) -> bool:
        """Whether the gate lets chunks through, as far as is known."""
        return bool(self._enabled)

    @property
    def following(self) -> bool:
        """Whether the gate follows a policy's chunks: a chunk of /pad/approach has no observation, and so no age."""
        state = self._state
        return state is not None and _lets_through(state) and math.isfinite(state.chunk_age)

    async def state(self, goal: ServerGoalHandle, not_ready: int) -> SafetyState:
        """What the gate says now; waits for its first word."""
        began = time.monotonic()
        while self._state is None or time.monotonic() - self._heard > _SILENCE:
            if time.monotonic() - max(self._heard, began) > _SILENCE:
                raise GoalEnd(not_ready, "command_gate says nothing on /pad/safety; start it, or look at its log")
            await self._beats.wait(goal)
        return self._state

    async def enable(self, goal: ServerGoalHandle, *, stopped: int, not_ready: int) -> SafetyState:
        """Enable the gate from rest; returns what it says then."""
        state = await self.state(goal, not_ready)
        if state.state == SafetyState.STOPPED:
            raise GoalEnd(
                stopped,
                f"the gate is stopped: {state.cause}. When all is well, call /pad/enable and send the goal again",
            )
        answer = await self._beats.call(self._client, SetBool.Request(data=True), goal, not_ready)
        if not answer.success:
            raise GoalEnd(not_ready, f"the gate may not be enabled: {answer.message}")
        self._state = None
        state = await self.state(goal, not_ready)
        while state.state == SafetyState.IDLE:
            await self._beats.wait(goal)
            state = await self.state(goal, not_ready)
        return state

    async def moving(self, goal: ServerGoalHandle, *, stopped: int, not_ready: int) -> SafetyState:
        """What the gate says now; `GoalEnd` if it lets nothing through any more."""
        state = await self.state(goal, not_ready)
        if state.state == SafetyState.STOPPED:
            raise GoalEnd(stopped, f"the gate has stopped: {state.cause}")
        if state.state == SafetyState.IDLE:
            raise GoalEnd(stopped, "the gate was disabled")
        return state

    async def disable(self) -> None:
        """Brake and disable the gate, if it answers."""
        try:
            await self._beats.call(self._client, SetBool.Request(data=False), None, 0)
        except GoalEnd as error:
            self._node.get_logger().error(f"the gate could not be disabled: {error}")
