"""The node graphs as data: one truth for the launch files, `pad up` and the demo.

Everything that differs between uses is an `Argument`; `build_graph` turns argument values into `NodeEntry` records.
The launch files make launch actions of them, the supervisor processes. Nothing here needs ROS.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from pad_bringup import names, store
from pad_bringup.errors import GraphError, ResourceError
from pad_bringup.graph_arguments import OWN_CELLS, Use, arguments, resolve, whole
from pad_bringup.graph_entries import Common
from pad_bringup.graph_types import Argument, Graph, NodeEntry, OnExit, ParameterValue
from pad_bringup.resources import named_or_path, resource
from pad_bringup.ur5e_driver import driver_nodes

__all__ = [
    "Argument",
    "Graph",
    "NodeEntry",
    "OnExit",
    "ParameterValue",
    "Use",
    "arguments",
    "build_graph",
    "environment",
    "resolve",
]

_REAL = ("ur5e", "none")
"""Cells whose camera and arms are real."""


def environment() -> dict[str, str]:
    """Variables that every process of the graph needs where the user has not set them."""
    # Fast DDS 2 and 3 know the file by different names; without it camera images are sent twice or get lost.
    profiles = str(resource("config", "transport", "fastdds.xml"))
    return {
        "FASTRTPS_DEFAULT_PROFILES_FILE": profiles,
        "FASTDDS_DEFAULT_PROFILES_FILE": profiles,
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",  # nothing of a simulated cell concerns other machines
    }


def build_graph(values: Mapping[str, str] | None = None, use: Use = Use.RUN) -> Graph:
    """The graph for argument values (name -> text; missing ones take their default).

    Raises:
        GraphError: an unknown argument or value, or a file that is not there; the message says what to do.
    """
    given = resolve(values or {}, use)
    follows_clock = {
        Use.RUN: given.get("cell") in OWN_CELLS,
        Use.PARSE: bool(given.get("bag")),
        Use.REPLAY: True,
    }.get(use, False)
    sim_time = follows_clock if given["use_sim_time"] == "auto" else given["use_sim_time"] == "true"
    common = Common(given, _robot(given["robot"]), sim_time)
    builders = {Use.RUN: _run, Use.PARSE: _parse, Use.AUGMENT: _augment, Use.REPLAY: _replay, Use.RVIZ: _rviz}
    nodes = builders[use](common)
    if given.get("move_group") == "true":
        nodes.append(common.move_group())
    if given.get("viewer") == "true":
        nodes.append(common.viewer())
    if given.get("record") == "true":
        nodes.append(common.recorder())
    if given.get("rviz") == "true":
        described = any(entry.name == "robot_state_publisher" for entry in nodes)
        nodes += [] if described else [common.robot_state_publisher(_description(common.robot))]
        nodes += [common.status_markers()] if use is Use.RUN else []
        nodes.append(common.rviz({Use.PARSE: "parse", Use.REPLAY: "parse", Use.AUGMENT: "augment"}.get(use, "run")))
    variables = environment()
    if given.get("cell", "sim") in _REAL:
        del variables["ROS_AUTOMATIC_DISCOVERY_RANGE"]  # the robot's drivers may run on another machine
    return Graph(given["task"], tuple(nodes), given["log_level"], MappingProxyType(variables))


def _run(common: Common) -> list[NodeEntry]:
    given = common.given
    demonstration, policy, calibration = _files(given)
    nodes: list[NodeEntry] = []
    cell = given["cell"]
    if cell in OWN_CELLS:
        if given["camera"] != "none":
            raise GraphError(f"camera:={given['camera']} and cell:={cell} exclude each other: the cell has a camera")
        nodes.append(common.cell({"sim": names.SIM_CELL, "mock": names.MOCK_CELL}[cell]))
    elif cell == "ur5e":
        drivers, description = driver_nodes(given)
        nodes += [common.robot_state_publisher(description), *drivers]
    if given["camera"] == "realsense":
        nodes.append(common.realsense())
    nodes += [
        common.keypoint_tracker(demonstration, calibration),
        common.policy_node(policy),
        common.command_gate(),
    ]
    if given["planner"] != "none":
        nodes.append(common.tamp_server(demonstration))
    return nodes


def _parse(common: Common) -> list[NodeEntry]:
    given = common.given
    nodes: list[NodeEntry] = []
    if given["bag"]:
        if given["camera"] != "none":
            raise GraphError(f"camera:={given['camera']} and bag exclude each other: the recording is the camera")
        nodes.append(common.replay(_existing("bag", given["bag"])))
    elif given["camera"] == "realsense":
        nodes.append(common.realsense())
    calibration = _existing("calibration", given["calibration"]) if given["calibration"] else ""
    if not calibration and not given["bag"] and store.calibration_file().is_file():
        calibration = str(store.calibration_file())
    if not calibration:
        raise GraphError("parse needs calibration:=CAMERA.yaml, the camera's pose in the task frame (`pad calibrate`)")
    nodes += [common.hand_tracker(calibration), common.demonstration_server()]
    if given["demonstration"]:
        nodes.append(common.keypoint_tracker(_existing("demonstration", given["demonstration"]), calibration))
    return nodes


def _augment(common: Common) -> list[NodeEntry]:
    given = common.given
    demonstration = given["demonstration"] or getattr(store.newest(given["task"]), "demonstration", "")
    if not demonstration:
        raise GraphError(_nothing_yet("demonstration", given["task"]))
    options = {"workers": whole(given, "workers", 0), "options": given["options"]}
    return [common.tamp_server(_existing("demonstration", demonstration), options)]


def _replay(common: Common) -> list[NodeEntry]:
    given = common.given
    if not given["bag"]:
        raise GraphError("replay needs bag:=PATH, a rosbag2 folder or .mcap file")
    nodes = [common.replay(_existing("bag", given["bag"]))]
    if given["demonstration"] or given["calibration"]:
        files = {}
        for key in ("demonstration", "calibration"):
            if not given[key]:
                raise GraphError(f"finding keypoints in a recording needs demonstration and calibration; no {key}")
            files[key] = _existing(key, given[key])
        nodes.append(common.keypoint_tracker(files["demonstration"], files["calibration"]))
    return nodes


def _rviz(common: Common) -> list[NodeEntry]:
    view, file = common.given["view"], common.given["file"]
    if file and view == "run":
        raise GraphError("file and view:=run exclude each other; a file is looked at with view:=parse or view:=augment")
    extra = [common.status_markers()] if view == "run" else []
    extra += [common.player(_existing("file", file))] if file else []
    return [common.robot_state_publisher(_description(common.robot)), *extra, common.rviz(view)]


def _robot(value: str) -> str:
    try:
        return str(named_or_path(value, "config", "robots"))
    except ResourceError as error:
        raise GraphError(f"robot: {error}") from error


def _description(robot: str) -> str:
    from pad_augment.description import urdf_text
    from pad_augment.errors import RobotError
    from pad_augment.kinematics import RobotProfile

    try:
        return urdf_text(RobotProfile.load(robot).description)
    except RobotError as error:
        raise GraphError(f"robot: {error}") from error


def _existing(key: str, value: str) -> str:
    path = Path(value).expanduser().resolve()
    if not path.exists():
        raise GraphError(f"{key}: {path} does not exist")
    return str(path)


def _nothing_yet(key: str, task: str) -> str:
    return (
        f"no {key} is given and there is no result of task {task!r} yet: run `./pad demo {task}` first, or name a {key}"
    )


def _files(given: Mapping[str, str]) -> tuple[str, str, str]:
    """Demonstration, policy folder and camera file: as given, else the newest results of the task.

    A real camera is where this machine's calibration says, never where the simulated one stood.
    """
    found: list[str] = []
    keys = ("demonstration", "policy", "calibration")
    newest = None if all(given[key] for key in keys) else store.newest(given["task"])
    for key in keys:
        value = given[key] or (getattr(newest, key) if newest else "")
        if key == "calibration" and given["cell"] in _REAL and not given[key]:
            value = str(store.calibration_file()) if store.calibration_file().is_file() else ""
            if not value:
                raise GraphError(
                    f"where the camera is, is not known: there is no {store.calibration_file()}. Run `pad calibrate` "
                    "or give calibration:=CAMERA.yaml"
                )
        if not value:
            raise GraphError(_nothing_yet(key, given["task"]))
        found.append(_existing(key, value))
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
