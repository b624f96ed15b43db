"""The node graph as data: one truth for the launch files, `pad up` and the demo.

Everything that differs between uses is an `Argument`; `build_graph` turns argument values into `NodeEntry` records.
The launch files make launch actions of them, the supervisor processes. Nothing here needs ROS.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from types import MappingProxyType

from pad_augment.planning import PLANNERS
from pad_bringup import names, store
from pad_bringup.errors import GraphError, ResourceError
from pad_bringup.resources import named_or_path, resource
from pad_parse.task import known_tasks

ParameterValue = bool | int | float | str


def environment() -> dict[str, str]:
    """Variables that every process of the graph needs where the user has not set them."""
    # Fast DDS 2 and 3 know the file by different names; without it camera images are sent twice or get lost.
    profiles = str(resource("config", "transport", "fastdds.xml"))
    return {
        "FASTRTPS_DEFAULT_PROFILES_FILE": profiles,
        "FASTDDS_DEFAULT_PROFILES_FILE": profiles,
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",  # nothing of a simulated cell concerns other machines
    }


class OnExit(Enum):
    """What happens to the graph when a node stops by itself."""

    SHUTDOWN = "shutdown"  # the rest is stopped too: without this node nothing must move
    RESTART = "restart"  # it is started again, a few times
    IGNORE = "ignore"  # the rest goes on without it


@dataclass(frozen=True)
class NodeEntry:
    """One node of the graph.

    Attributes:
        name: node name, unique in the graph.
        package: ROS package of the executable.
        executable: name of the installed executable (`ros2 run PACKAGE EXECUTABLE`).
        module: Python module that does the same with `python -m MODULE`.
        parameters: ROS parameters, name -> value.
        namespace: namespace of the node ("" = none).
        lifecycle: whether it is a managed node that has to be configured and activated.
        on_exit: what happens when it stops.
        services: services that it offers once it is ready (absolute names).
        topics: topics that it publishes once it is ready (absolute names).
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

    def __post_init__(self) -> None:
        object.__setattr__(self, "parameters", MappingProxyType(dict(self.parameters)))

    @property
    def full_name(self) -> str:
        """Namespace and name, e.g. "/policy_node"."""
        return f"/{self.namespace.strip('/')}/{self.name}" if self.namespace.strip("/") else f"/{self.name}"


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


_SWITCH = ("true", "false")


def arguments(task: str | None = None) -> tuple[Argument, ...]:
    """All arguments of the graph, in the order in which they are shown.

    task: when given, the `task` argument is left out, because the caller has fixed it.
    """
    tasks = tuple(sorted(known_tasks()))
    declared = (
        Argument("task", "pour", "Task to run, by name.", tasks),
        Argument(
            "cell",
            "sim",
            "What stands in for robots and camera: the simulated cell, or none (drivers that already run).",
            ("sim", "none"),
        ),
        Argument("policy", "", "Policy folder; empty: the newest one that `pad demo` made for the task."),
        Argument(
            "demonstration",
            "",
            "Demonstration (.demo.h5) whose first frame the keypoints are found by; empty: the newest one of the task.",
        ),
        Argument("calibration", "", "Camera calibration YAML; empty: the newest one of the task."),
        Argument("robot", "ur5e_pair", "Robot profile: a name in config/robots, or the path of a YAML file."),
        Argument(
            "planner",
            "roboplan",
            "Planner of the server that plans a whole task; auto: moveit where it is installed, else roboplan; "
            "none: the server is not started.",
            (*PLANNERS, "none"),
        ),
        Argument("seed", "0", "Seed of the simulated cell's first placement."),
        Argument("camera_rate", "15.0", "Frames per simulated second of the simulated camera."),
        Argument("viewer", "true", "Whether to start the live viewer in the browser.", _SWITCH),
        Argument("viewer_port", "8080", "First loopback port that the viewer tries."),
        Argument("log_level", "info", "Least severity that the nodes log.", ("debug", "info", "warn", "error")),
    )
    return tuple(a for a in declared if task is None or a.name != "task")


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


def resolve(values: Mapping[str, str]) -> dict[str, str]:
    """Complete argument values with the defaults and check every one.

    Raises:
        GraphError: an unknown argument, or a value that is not one of the choices.
    """
    declared = {argument.name: argument for argument in arguments()}
    unknown = [name for name in values if name not in declared]
    if unknown:
        raise GraphError(f"unknown argument {unknown[0]!r}; known: {', '.join(declared)}")
    complete = {name: values.get(name, argument.default) for name, argument in declared.items()}
    for name, argument in declared.items():
        if argument.choices and complete[name] not in argument.choices:
            what = "there is no task" if name == "task" else f"{name} cannot be"
            raise GraphError(f"{what} {complete[name]!r}; choices: {', '.join(argument.choices)}")
    return complete


def build_graph(values: Mapping[str, str] | None = None) -> Graph:
    """The graph for argument values (name -> text; missing ones take their default).

    Raises:
        GraphError: an unknown argument or value, or a file that is not there; the message says what to do.
    """
    given = resolve(values or {})
    task = given["task"]
    robot = _robot(given["robot"])
    demonstration, policy, calibration = _files(given)
    simulated = given["cell"] == "sim"
    clock = {"use_sim_time": simulated}
    nodes: list[NodeEntry] = []
    if simulated:
        nodes.append(
            NodeEntry(
                name=names.SIM_CELL,
                package="pad_bringup",
                executable="sim_cell",
                module="pad_bringup.nodes.sim_cell",
                # The cell is the clock, so it alone does not follow it.
                parameters={
                    "task": task,
                    "robot": robot,
                    "seed": _integer(given, "seed", 0),
                    "camera_rate": _positive(given, "camera_rate"),
                },
                services=(names.CELL_RESET,),
                topics=(names.CLOCK, names.JOINT_STATES, names.COLOR_IMAGE, names.CELL_OUTCOME),
            )
        )
    nodes.append(
        NodeEntry(
            name=names.KEYPOINT_TRACKER,
            package="pad_parse",
            executable="keypoint_tracker",
            module="pad_parse.nodes.keypoint_tracker",
            parameters={"task": task, "reference": demonstration, "calibration": calibration, **clock},
            services=(names.LOCALISE_KEYPOINTS,),
            topics=(names.KEYPOINTS,),
        )
    )
    nodes.append(
        NodeEntry(
            name=names.POLICY_NODE,
            package="pad_policy",
            executable="policy_node",
            module="pad_policy.nodes.policy_node",
            parameters={"task": task, "policy": policy, "robot": robot, **clock},
            lifecycle=True,
        )
    )
    nodes.append(
        NodeEntry(
            name=names.COMMAND_GATE,
            package="pad_policy",
            executable="command_gate",
            module="pad_policy.nodes.command_gate",
            parameters={"robot": robot, **clock},
            services=(names.ENABLE, names.STOP),
            topics=(names.SAFETY,),
        )
    )
    if given["planner"] != "none":
        nodes.append(
            NodeEntry(
                name=names.TAMP_SERVER,
                package="pad_augment",
                executable="tamp_server",
                module="pad_augment.nodes.tamp_server",
                parameters={
                    "demonstration": demonstration,
                    "robot": robot,
                    "planner": given["planner"],
                    **clock,
                },
                # Nothing that moves depends on it.
                on_exit=OnExit.RESTART,
                services=(names.GENERATE_TRAJECTORY,),
            )
        )
    if given["viewer"] == "true":
        nodes.append(
            NodeEntry(
                name=names.VIEWER,
                package="pad_bringup",
                executable="viewer",
                module="pad_bringup.nodes.viewer",
                parameters={"robot": robot, "port": _integer(given, "viewer_port", 1), **clock},
                on_exit=OnExit.IGNORE,
            )
        )
    variables = environment()
    if not simulated:
        del variables["ROS_AUTOMATIC_DISCOVERY_RANGE"]  # the robot's drivers may run on another machine
    return Graph(task, tuple(nodes), given["log_level"], MappingProxyType(variables))


def _robot(value: str) -> str:
    try:
        return str(named_or_path(value, "config", "robots"))
    except ResourceError as error:
        raise GraphError(f"robot: {error}") from error


def _files(given: Mapping[str, str]) -> tuple[str, str, str]:
    """Demonstration, policy folder and camera file: as given, else the newest results of the task."""
    found: list[str] = []
    keys = ("demonstration", "policy", "calibration")
    newest = None if all(given[key] for key in keys) else store.newest(given["task"])
    for key in keys:
        value = given[key] or (getattr(newest, key) if newest else "")
        if not value:
            raise GraphError(
                f"no {key} is given and there is no result of task {given['task']!r} yet: "
                f"run `./pad demo {given['task']}` first, or name a {key}"
            )
        path = Path(value).expanduser().resolve()
        if not path.exists():
            raise GraphError(f"{key}: {path} does not exist")
        found.append(str(path))
    demonstration, policy, calibration = found
    _check_policy(Path(policy), given["task"])
    return demonstration, policy, calibration


def _check_policy(folder: Path, task: str) -> None:
    """Refuse a folder that is no policy, and a policy of another task, before any node is started."""
    try:
        made_for = json.loads((folder / "policy.json").read_text(encoding="utf-8"))["task"]["name"]
    except (OSError, ValueError, KeyError, TypeError):
        raise GraphError(f"policy: {folder} is no policy folder (it has no readable policy.json)") from None
    if made_for != task:
        raise GraphError(f"policy {folder} was made for task {made_for!r}, not {task!r}; name one of {task!r}")


def _integer(given: Mapping[str, str], name: str, least: int) -> int:
    try:
        value = int(given[name])
    except ValueError:
        raise GraphError(f"{name} must be a whole number; got {given[name]!r}") from None
    if value < least:
        raise GraphError(f"{name} must be at least {least}; got {value}")
    return value


def _positive(given: Mapping[str, str], name: str) -> float:
    try:
        value = float(given[name])
    except ValueError:
        raise GraphError(f"{name} must be a number; got {given[name]!r}") from None
    if not 0 < value < float("inf"):
        raise GraphError(f"{name} must be above 0; got {given[name]}")
    return value
