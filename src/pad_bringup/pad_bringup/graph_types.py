"""What a node graph is made of, as plain data. Nothing here needs ROS."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType

from pad_bringup.errors import GraphError

ParameterValue = bool | int | float | str | list[str]


class OnExit(Enum):
    """What happens to the graph when a node stops by itself."""

    SHUTDOWN = "shutdown"  # the rest is stopped too: without this node nothing must move
    RESTART = "restart"  # it is started again, a few times; then as SHUTDOWN
    IGNORE = "ignore"  # the rest goes on without it
    FINISHES = "finishes"  # it ends by itself with code 0 when its work is done; any other end is as SHUTDOWN


@dataclass(frozen=True)
class NodeEntry:
    """One node of the graph.

    Attributes:
        name: node name, unique in the graph.
        package: ROS package of the executable.
        executable: name of the installed executable (`ros2 run PACKAGE EXECUTABLE`).
        module: Python module that does the same with `python -m MODULE`; "": a vendor's executable.
        parameters: ROS parameters, name -> value.
        parameter_files: further parameter files (paths), read before `parameters`.
        arguments: words for the executable that are no ROS arguments.
        remappings: (from, to) names.
        namespace: namespace of the node ("" = none).
        lifecycle: whether it is a managed node that has to be configured and activated.
        on_exit: what happens when it stops.
        services: services that it offers once it is ready (absolute names).
        topics: topics that it publishes once it is ready (absolute names).
        own_name: whether it names its nodes itself, so that it must not be renamed (several nodes in one process).
        niceness: 0 to 19; above 0 it gives way to the nodes that motion depends on when the machine is busy.
        anonymous: whether none of them is called `name`, so that nothing but its process can be looked for.
    """

    name: str
    package: str
    executable: str
    module: str
    parameters: Mapping[str, ParameterValue] = field(default_factory=dict)
    namespace: str = ""
    lifecycle: bool = False
    on_exit: OnExit = OnExit.SHUTDOWN
    services: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    parameter_files: tuple[str, ...] = ()
    remappings: tuple[tuple[str, str], ...] = ()
    own_name: bool = False
    anonymous: bool = False
    niceness: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "parameters", MappingProxyType(dict(self.parameters)))

    @property
    def full_name(self) -> str:
        """Namespace and name, e.g. "/policy_node"."""
        return f"/{self.namespace.strip('/')}/{self.name}" if self.namespace.strip("/") else f"/{self.name}"

    @property
    def logger(self) -> str:
        """Name of the node's logger, e.g. "lab.policy_node"."""
        return self.full_name.strip("/").replace("/", ".")


@dataclass(frozen=True)
class Argument:
    """One argument of the graph; values are text, as on a command line.

    Attributes:
        name: as in `name:=value`.
        default: value when it is not given.
        description: one sentence for people.
        choices: the allowed values; empty for free text.
    """

    name: str
    default: str
    description: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Graph:
    """Nodes to run together, and how.

    Attributes:
        task: name of the task.
        nodes: in the order in which they are started.
        log_level: least severity that the nodes log.
        environment: variables that the nodes need where the user has not set them.
    """

    task: str
    nodes: tuple[NodeEntry, ...]
    log_level: str = "info"
    environment: Mapping[str, str] = field(default_factory=dict)

    def node(self, name: str) -> NodeEntry:
        """The entry of that name.

        Raises:
            GraphError: there is none.
        """
        for entry in self.nodes:
            if entry.name == name:
                return entry
        raise GraphError(f"the graph has no node {name!r}; it has: {', '.join(e.name for e in self.nodes)}")
