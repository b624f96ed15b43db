"""The running ROS graph as the supervisor sees it: who is there, what is offered, lifecycle transitions."""

from __future__ import annotations

import time
from collections import Counter

from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState

from pad_bringup.errors import SupervisorError
from pad_bringup.graph import NodeEntry
from pad_bringup.session import Session

_ANSWER = 3.0  # s
_LOADING = 20.0  # s; configuring loads and warms up


class NoAnswerError(SupervisorError):
    """Nobody answered in time."""


class RosProbe:
    """A `pad_bringup.supervisor.GraphProbe` over a `Session`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def missing(self, entry: NodeEntry) -> list[str]:
        """Names of the node, its services and topics that discovery has not found yet."""
        node = self._session.node
        if entry.anonymous:
            return []
        if entry.full_name not in self.node_names():
            return [f"node {entry.full_name}"]
        services = {name for name, _ in node.get_service_names_and_types()}
        wanted = [*entry.services, *([f"{entry.full_name}/change_state"] if entry.lifecycle else [])]
        lacking = [f"service {name}" for name in wanted if name not in services]
        lacking += [f"topic {name}" for name in entry.topics if node.count_publishers(name) == 0]
        return lacking

    def node_names(self) -> set[str]:
        """Full names of all nodes that discovery knows now."""
        names = self._session.node.get_node_names_and_namespaces()
        return {f"{namespace.rstrip('/')}/{name}" for name, namespace in names}

    def twice(self) -> set[str]:
        """Full names that more than one node has."""
        found = self._session.node.get_node_names_and_namespaces()
        counts = Counter(f"{namespace.rstrip('/')}/{name}" for name, namespace in found)
        return {name for name, count in counts.items() if count > 1}

    def activate(self, entry: NodeEntry, timeout: float) -> None:
        """Configure and activate a managed node.

        Raises:
            SupervisorError: a transition failed or nobody answered within `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while True:
            try:
                state = self.state(entry, _ANSWER)
                if state == State.PRIMARY_STATE_ACTIVE:
                    return
                if state not in (State.PRIMARY_STATE_UNCONFIGURED, State.PRIMARY_STATE_INACTIVE):
                    raise SupervisorError(f"{entry.name} could not be activated (lifecycle state {state}); see its log")
                if state == State.PRIMARY_STATE_UNCONFIGURED:
                    self.transition(entry, Transition.TRANSITION_CONFIGURE, _LOADING)
                self.transition(entry, Transition.TRANSITION_ACTIVATE, _LOADING)
                return
            except NoAnswerError:
                # Of a node that has been started again, the dead predecessor may have been asked.
                if time.monotonic() > deadline:
                    raise

    def transition(self, entry: NodeEntry, transition: int, timeout: float) -> None:
        """Make one transition (a constant of lifecycle_msgs/Transition).

        Raises:
            SupervisorError: the node refused it, or nobody answered within `timeout` seconds.
        """
        node = self._session.node
        client = node.create_client(ChangeState, f"{entry.full_name}/change_state")
        try:
            request = ChangeState.Request()
            request.transition.id = transition
            answer = self._session.call(client, request, timeout, NoAnswerError)
        finally:
            node.destroy_client(client)
        if not answer.success:
            raise SupervisorError(f"{entry.name} refused the lifecycle transition {transition}; see its log")

    def state(self, entry: NodeEntry, timeout: float) -> int:
        """The primary state of a managed node (a constant of lifecycle_msgs/State).

        Raises:
            NoAnswerError: nobody answered within `timeout` seconds.
        """
        node = self._session.node
        client = node.create_client(GetState, f"{entry.full_name}/get_state")
        try:
            answer = self._session.call(client, GetState.Request(), timeout, NoAnswerError)
        finally:
            node.destroy_client(client)
        return int(answer.current_state.id)
