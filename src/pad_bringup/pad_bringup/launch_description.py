"""The node graph as a launch description, for hosts with `launch` and `launch_ros`; used by the files in `launch/`."""

from __future__ import annotations

import os

import launch
import launch.events.process
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    LogInfo,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
)
from launch.event_handlers import OnProcessExit, OnProcessStart
from launch.events import Shutdown, matches_action
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState
from lifecycle_msgs.msg import Transition

from pad_bringup.graph import Graph, NodeEntry, OnExit, Use, arguments, build_graph
from pad_bringup.restarts import Restarts


def graph_description(task: str | None = None, use: Use = Use.RUN) -> launch.LaunchDescription:
    """Declare every argument of the graph, and start the nodes that their values ask for.

    task: fixes the task; then `task` is no argument.
    use: what the graph is for.
    """
    declared = arguments(task, use)
    actions: list[launch.LaunchDescriptionEntity] = [
        DeclareLaunchArgument(
            argument.name,
            default_value=argument.default,
            description=argument.description,
            choices=list(argument.choices) or None,
        )
        for argument in declared
    ]

    def nodes(context: launch.LaunchContext) -> list[launch.LaunchDescriptionEntity]:
        values = {a.name: LaunchConfiguration(a.name).perform(context) for a in declared}
        return graph_actions(build_graph(values if task is None else {**values, "task": task}, use))

    return launch.LaunchDescription([*actions, OpaqueFunction(function=nodes)])


def graph_actions(graph: Graph) -> list[launch.LaunchDescriptionEntity]:
    """Launch actions that run `graph`: environment, nodes, lifecycle transitions, exit policies."""
    actions: list[launch.LaunchDescriptionEntity] = [
        SetEnvironmentVariable(name, value) for name, value in graph.environment.items() if name not in os.environ
    ]
    for entry in graph.nodes:
        actions += _node_actions(entry, graph.log_level)
    return actions


def _node_actions(entry: NodeEntry, log_level: str) -> list[launch.LaunchDescriptionEntity]:
    kind = LifecycleNode if entry.lifecycle else Node
    node = kind(
        package=entry.package,
        executable=entry.executable,
        name=None if entry.own_name else entry.name,
        namespace=entry.namespace,
        parameters=[*entry.parameter_files, *([dict(entry.parameters)] if entry.parameters else [])],
        remappings=list(entry.remappings),
        arguments=list(entry.arguments),
        ros_arguments=["--log-level", f"{entry.logger}:={log_level}"],
        prefix=f"nice -n {entry.niceness}" if entry.niceness else None,
        output="both",
        emulate_tty=True,
        respawn=entry.on_exit is OnExit.RESTART,
        respawn_delay=1.0,
        respawn_max_retries=-1,  # `_ExitPolicy` counts, and shuts down within the delay
    )
    actions: list[launch.LaunchDescriptionEntity] = [node]
    if entry.on_exit is not OnExit.IGNORE:
        actions.append(RegisterEventHandler(OnProcessExit(target_action=node, on_exit=_ExitPolicy(entry.on_exit))))
    if entry.lifecycle:
        configure = EmitEvent(event=_transition(node, Transition.TRANSITION_CONFIGURE))
        activate = EmitEvent(event=_transition(node, Transition.TRANSITION_ACTIVATE))
        actions.append(RegisterEventHandler(OnProcessStart(target_action=node, on_start=[configure])))
        actions.append(
            RegisterEventHandler(
                OnStateTransition(
                    target_lifecycle_node=node,
                    start_state="configuring",
                    goal_state="inactive",
                    entities=[activate],
                )
            )
        )
    return actions


class _ExitPolicy:
    """Stops the rest when a node has stopped that the graph needs, unless that is happening already."""

    def __init__(self, on_exit: OnExit) -> None:
        self._on_exit, self._restarts = on_exit, Restarts()

    def __call__(
        self, event: launch.events.process.ProcessExited, context: launch.LaunchContext
    ) -> list[launch.LaunchDescriptionEntity]:
        if context.is_shutdown:
            return []
        if self._on_exit is OnExit.FINISHES and event.returncode == 0:
            return [LogInfo(msg=f"{event.process_name} has finished")]
        if self._on_exit is OnExit.RESTART and self._restarts.allow():
            return [LogInfo(msg=f"{event.process_name} has stopped: starting it again")]
        reason = f"{event.process_name} has stopped with exit code {event.returncode}"
        return [LogInfo(msg=f"{reason}: stopping the graph"), EmitEvent(event=Shutdown(reason=reason))]


def _transition(node: LifecycleNode, transition: int) -> ChangeState:
    return ChangeState(lifecycle_node_matcher=matches_action(node), transition_id=transition)
