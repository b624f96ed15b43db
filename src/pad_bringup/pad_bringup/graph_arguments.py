"""The arguments of every node graph: one truth for the launch files and the command line."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from pad_augment.planning import PLANNERS
from pad_bringup.errors import GraphError
from pad_bringup.graph_types import Argument
from pad_bringup.splits import SPLITS
from pad_parse.task import known_tasks


class Use(Enum):
    """What a graph is for; each has a launch file."""

    RUN = "run"  # the policy moves the arms
    PARSE = "parse"  # a human shows the task to the camera, or a recording does
    AUGMENT = "augment"  # motions are planned and datasets generated
    REPLAY = "replay"  # a recording is looked at
    RVIZ = "rviz"  # RViz beside a graph that already runs


OWN_CELLS = ("sim", "mock")
CELLS = (*OWN_CELLS, "ur5e", "none")
_SWITCH = ("true", "false")
_EVERY = tuple(Use)
_MOVES, _SEES = (Use.RUN,), (Use.RUN, Use.PARSE)

_NEWEST = "empty: the newest one of the task"

_DECLARED: tuple[tuple[tuple[Use, ...], Argument], ...] = (
    (
        _MOVES,
        Argument(
            "cell",
            "sim",
            "What stands for robots and camera: sim (physics), mock (no physics, commands come back as joint states), "
            "ur5e (Universal Robots' driver for two arms), none (drivers that already run).",
            CELLS,
        ),
    ),
    (
        _MOVES,
        Argument(
            "smoothing",
            "none",
            "What a new chunk makes of those before: none, it replaces them; blend, it cross-fades from the last; "
            "ensemble, the mean of all that reach as far.",
            ("none", "blend", "ensemble"),
        ),
    ),
    (
        _MOVES,
        Argument(
            "gate",
            "",
            "NAME=VALUE of the command gate's numbers, separated by spaces, as gate:='speed=0.3 keypoint_timeout=1'.",
        ),
    ),
    (_MOVES, Argument("policy", "", "Policy folder; empty: the newest one that `pad demo` made for the task.")),
    (
        _EVERY[:-1],
        Argument(
            "demonstration",
            "",
            f"Demonstration (.demo.h5) whose first frame the keypoints are found by; {_NEWEST}. "
            "parse and replay: empty starts no keypoint tracker.",
        ),
    ),
    (
        (Use.RUN, Use.PARSE, Use.REPLAY),
        Argument(
            "calibration",
            "",
            "Camera calibration YAML; empty: what `pad calibrate` wrote; cells sim and mock: the newest one of the "
            "task; recordings: none.",
        ),
    ),
    (_EVERY, Argument("robot", "ur5e_pair", "Robot profile: a name in config/robots, or the path of a YAML file.")),
    (
        (Use.RUN,),
        Argument(
            "planner",
            "roboplan",
            "Planner of the server that plans a whole task; auto: moveit where it is installed, else roboplan; "
            "none: the server is not started.",
            (*PLANNERS, "none"),
        ),
    ),
    (
        (Use.AUGMENT,),
        Argument("planner", "auto", "Planner; auto: moveit where it is installed, else roboplan.", PLANNERS),
    ),
    (
        (Use.RUN, Use.AUGMENT),
        Argument("move_group", "false", "Whether to start MoveIt's move_group too (a ROS host with MoveIt).", _SWITCH),
    ),
    ((Use.AUGMENT,), Argument("workers", "0", "Processes that generate a dataset; 0: one per core.")),
    ((Use.AUGMENT,), Argument("options", "", "NAME=VALUE of the generator, separated by spaces.")),
    ((Use.PARSE,), Argument("bag", "", "Recording (rosbag2) that is played as the camera; empty: a live camera.")),
    ((Use.REPLAY,), Argument("bag", "", "Recording (rosbag2 folder or .mcap file) that is played; has to be given.")),
    ((Use.PARSE, Use.REPLAY), Argument("rate", "1.0", "Recorded seconds per real second.")),
    ((Use.PARSE, Use.REPLAY), Argument("loop", "false", "Whether the recording starts again at its end.", _SWITCH)),
    (_MOVES, Argument("seed", "0", "cell sim, mock: seed of the first placement.")),
    (
        _MOVES,
        Argument(
            "split",
            "none",
            "cell sim, mock: what is new in each episode's scene, as in the paper's protocol; none: nothing.",
            ("none", *SPLITS),
        ),
    ),
    (_MOVES, Argument("camera_rate", "15.0", "cell sim, mock: frames per simulated second of the camera.")),
    (
        _SEES,
        Argument(
            "camera",
            "none",
            "Camera driver to start: realsense (realsense2_camera), or none where one runs already or the cell has it.",
            ("none", "realsense"),
        ),
    ),
    (_MOVES, Argument("left_robot_ip", "", "cell ur5e: address of the left arm's controller.")),
    (_MOVES, Argument("right_robot_ip", "", "cell ur5e: address of the right arm's controller.")),
    (
        _MOVES,
        Argument("use_mock_hardware", "false", "cell ur5e: ros2_control's mock components for both arms.", _SWITCH),
    ),
    (
        _MOVES,
        Argument("gripper_plugin", "", "cell ur5e: ros2_control hardware plugin of both grippers; mock needs none."),
    ),
    (_MOVES, Argument("left_kinematics", "", "cell ur5e: the left arm's file from ur_calibration; empty: nominal.")),
    (_MOVES, Argument("right_kinematics", "", "cell ur5e: the right arm's file from ur_calibration; empty: nominal.")),
    (_EVERY[:-1], Argument("viewer", "true", "Whether to start the live viewer in the browser.", _SWITCH)),
    (_EVERY[:-1], Argument("viewer_port", "8080", "First loopback port that the viewer tries.")),
    (_EVERY[:-1], Argument("rviz", "false", "Whether to start RViz too (a ROS host with rviz2).", _SWITCH)),
    (
        (Use.RVIZ,),
        Argument("view", "run", "What to look at: which of the RViz configurations.", ("run", "parse", "augment")),
    ),
    (
        (Use.RVIZ,),
        Argument(
            "file", "", "view parse, augment: demonstration or dataset to play; empty: what a running graph says."
        ),
    ),
    ((Use.RVIZ,), Argument("episode", "0", "Episode of a dataset.")),
    (
        _EVERY[:-1],
        Argument("record", "false", "Whether to record inputs, chunks, commands and safety (MCAP).", _SWITCH),
    ),
    (
        _EVERY[:-1],
        Argument("record_to", "", "Folder of the recording, new; empty: one named by the time in ~/.local/share/pad."),
    ),
    (_EVERY, Argument("namespace", "", "Namespace of PAD's nodes; topics keep their names.")),
    (
        _EVERY,
        Argument(
            "use_sim_time",
            "auto",
            "Whether nodes follow /clock; auto: where a simulated cell or a recording gives it.",
            ("auto", *_SWITCH),
        ),
    ),
    (_EVERY, Argument("log_level", "info", "Least severity that the nodes log.", ("debug", "info", "warn", "error"))),
)


def arguments(task: str | None = None, use: Use = Use.RUN) -> tuple[Argument, ...]:
    """All arguments of the graph for `use`, in the order in which they are shown.

    task: when given, the `task` argument is left out, because the caller has fixed it.
    """
    declared = tuple(argument for uses, argument in _DECLARED if use in uses)
    if task is not None:
        return declared
    return (Argument("task", "pour", "Task to run, by name.", tuple(sorted(known_tasks()))), *declared)


def resolve(values: Mapping[str, str], use: Use = Use.RUN) -> dict[str, str]:
    """Complete argument values with the defaults and check every one.

    Raises:
        GraphError: an unknown argument, or a value that is not one of the choices.
    """
    declared = {argument.name: argument for argument in arguments(None, use)}
    unknown = [name for name in values if name not in declared]
    if unknown:
        raise GraphError(f"unknown argument {unknown[0]!r}; known: {', '.join(declared)}")
    complete = {name: values.get(name, argument.default) for name, argument in declared.items()}
    for name, argument in declared.items():
        if argument.choices and complete[name] not in argument.choices:
            what = "there is no task" if name == "task" else f"{name} cannot be"
            raise GraphError(f"{what} {complete[name]!r}; choices: {', '.join(argument.choices)}")
    return complete


def whole(given: Mapping[str, str], name: str, least: int) -> int:
    """The whole number of an argument.

    Raises:
        GraphError: it is none, or less than `least`.
    """
    try:
        value = int(given[name])
    except ValueError:
        raise GraphError(f"{name} must be a whole number; got {given[name]!r}") from None
    if value < least:
        raise GraphError(f"{name} must be at least {least}; got {value}")
    return value


def positive(given: Mapping[str, str], name: str) -> float:
    """The positive number of an argument.

    Raises:
        GraphError: it is none.
    """
    try:
        value = float(given[name])
    except ValueError:
        raise GraphError(f"{name} must be a number; got {given[name]!r}") from None
    if not 0 < value < float("inf"):
        raise GraphError(f"{name} must be above 0; got {given[name]}")
    return value
