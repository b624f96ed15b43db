"""The entries of PAD's own nodes: what each one is given, offers and leaves behind when it stops."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pad_bringup import names, store
from pad_bringup.errors import GraphError
from pad_bringup.graph_arguments import OWN_CELLS, positive, whole
from pad_bringup.graph_types import NodeEntry, OnExit, ParameterValue
from pad_bringup.moveit_setup import move_group_parameters
from pad_bringup.resources import resource

RECORDED_TOPICS = (
    names.COLOR_IMAGE,
    names.COLOR_INFO,
    names.ALIGNED_DEPTH_IMAGE,
    names.JOINT_STATES,
    names.KEYPOINTS,
    names.HANDS,
    names.ACTION_CHUNK,
    names.JOINT_CHUNK,
    names.APPROACH_CHUNK,
    names.PREVIEW,
    *(names.arm_command_topic(arm) for arm in names.ARMS),
    *(names.gripper_command_topic(arm) for arm in names.ARMS),
    names.SAFETY,
    names.PLANNED_TRAJECTORY,
    names.CELL_OUTCOME,
    names.DIAGNOSTICS,
    names.TF,
    names.TF_STATIC,
)
"""Inputs, chunks, commands and safety: what `record:=true` writes."""

_BEHIND = 5  # niceness
"""Niceness of nodes that only look, plan ahead or record."""


@dataclass(frozen=True)
class Common:
    """What every entry of one graph shares.

    given: the resolved arguments. robot: path of the profile. sim_time: whether nodes follow /clock.
    """

    given: Mapping[str, str]
    robot: str
    sim_time: bool

    @property
    def _clock(self) -> dict[str, ParameterValue]:
        return {"use_sim_time": self.sim_time}

    def _entry(
        self,
        name: str,
        package: str,
        parameters: Mapping[str, ParameterValue],
        *,
        on_exit: OnExit,
        services: tuple[str, ...] = (),
        topics: tuple[str, ...] = (),
        lifecycle: bool = False,
        niceness: int = 0,
        remappings: tuple[tuple[str, str], ...] = (),
    ) -> NodeEntry:
        return NodeEntry(
            name=name,
            package=package,
            executable=name,
            module=f"{package}.nodes.{name}",
            parameters=parameters,
            namespace=self.given["namespace"],
            on_exit=on_exit,
            services=services,
            topics=topics,
            lifecycle=lifecycle,
            niceness=niceness,
            remappings=remappings,
        )

    def cell(self, name: str) -> NodeEntry:
        """A cell's node. It is the clock, so it alone does not follow it; and the world, so it cannot come back."""
        return self._entry(
            name,
            "pad_bringup",
            {
                "task": self.given["task"],
                "robot": self.robot,
                "seed": whole(self.given, "seed", 0),
                "split": self.given["split"],
                "camera_rate": positive(self.given, "camera_rate"),
            },
            on_exit=OnExit.SHUTDOWN,
            services=(names.CELL_RESET,),
            topics=(names.CLOCK, names.CELL_CLOCK, names.JOINT_STATES, names.COLOR_IMAGE, names.CELL_OUTCOME),
        )

    def realsense(self) -> NodeEntry:
        """Intel's camera driver, with colour and depth of one size and stamp, on the topics that PAD reads."""
        return NodeEntry(
            name="camera",
            package="realsense2_camera",
            executable="realsense2_camera_node",
            module="",
            parameters={
                "enable_sync": True,
                "align_depth.enable": True,
                "rgb_camera.color_profile": "640x480x30",
                "depth_module.depth_profile": "640x480x30",
            },
            on_exit=OnExit.RESTART,
            topics=(names.COLOR_IMAGE, names.ALIGNED_DEPTH_IMAGE),
        )

    def keypoint_tracker(self, demonstration: str, calibration: str) -> NodeEntry:
        """While it is away the gate holds; afterwards the keypoints have to be found again."""
        return self._entry(
            names.KEYPOINT_TRACKER,
            "pad_parse",
            {
                "task": self.given["task"],
                "reference": demonstration,
                "calibration": calibration,
                "other_instances": self.given.get("split") == "object",
                **self._clock,
            },
            on_exit=OnExit.RESTART,
            services=(names.LOCALISE_KEYPOINTS,),
            topics=(names.KEYPOINTS,),
        )

    def hand_tracker(self, calibration: str) -> NodeEntry:
        """Live hands, to see whether the recording will do."""
        return self._entry(
            names.HAND_TRACKER,
            "pad_parse",
            {"calibration": calibration, **self._clock},
            on_exit=OnExit.RESTART,
            topics=(names.HANDS,),
        )

    def demonstration_server(self) -> NodeEntry:
        """Parses recordings by action."""
        return self._entry(
            names.DEMONSTRATION_SERVER,
            "pad_parse",
            self._clock,
            on_exit=OnExit.RESTART,
            services=(f"{names.PARSE_DEMONSTRATION}/_action/send_goal",),
        )

    def policy_node(self, policy: str) -> NodeEntry:
        """While it is away no chunks come and the gate holds; it comes back active, with an empty history."""
        return self._entry(
            names.POLICY_NODE,
            "pad_policy",
            {
                "task": self.given["task"],
                "policy": policy,
                "robot": self.robot,
                "smoothing": self.given["smoothing"],
                **self._clock,
            },
            on_exit=OnExit.RESTART,
            lifecycle=True,
        )

    def command_gate(self) -> NodeEntry:
        """Without it there are no commands; it comes back disabled, so that a person decides to go on."""
        return self._entry(
            names.COMMAND_GATE,
            "pad_policy",
            {"robot": self.robot, **self._gate_numbers(), **self._clock},
            on_exit=OnExit.RESTART,
            services=(names.ENABLE, names.STOP),
            topics=(names.SAFETY,),
            remappings=((names.CLOCK, names.CELL_CLOCK),) if self.given["cell"] in OWN_CELLS else (),
        )

    def _gate_numbers(self) -> Mapping[str, float]:
        if not self.given["gate"]:
            return {}
        from pad_policy.errors import ConfigError
        from pad_policy.gate_parameters import gate_numbers

        try:
            return gate_numbers(self.given["gate"])
        except ConfigError as error:
            raise GraphError(f"gate: {error}") from error

    def tamp_server(self, demonstration: str, options: Mapping[str, ParameterValue] | None = None) -> NodeEntry:
        """Nothing that moves depends on it."""
        parameters = {"demonstration": demonstration, "robot": self.robot, "planner": self.given["planner"]}
        return self._entry(
            names.TAMP_SERVER,
            "pad_augment",
            {**parameters, **(options or {}), **self._clock},
            on_exit=OnExit.RESTART,
            services=(names.GENERATE_TRAJECTORY,),
            niceness=_BEHIND,
        )

    def replay(self, bag: str) -> NodeEntry:
        """Plays a recording as the camera, and is the clock; ends with the recording."""
        return self._entry(
            names.REPLAY,
            "pad_bringup",
            {"bag": bag, "rate": positive(self.given, "rate"), "loop": self.given["loop"] == "true"},
            on_exit=OnExit.FINISHES,
        )

    def viewer(self) -> NodeEntry:
        """It only looks."""
        return self._entry(
            names.VIEWER,
            "pad_bringup",
            {"robot": self.robot, "port": whole(self.given, "viewer_port", 1), **self._clock},
            on_exit=OnExit.IGNORE,
            niceness=_BEHIND,
        )

    def status_markers(self) -> NodeEntry:
        """The gate's state as text for RViz."""
        return self._entry(names.STATUS_MARKERS, "pad_bringup", self._clock, on_exit=OnExit.IGNORE, niceness=_BEHIND)

    def recorder(self) -> NodeEntry:
        """A recording that fails says so and stops no robot; what it has written stays readable."""
        chosen = self.given["record_to"]
        out = Path(chosen).expanduser().resolve() if chosen else _by_the_time()
        if out.exists():
            raise GraphError(f"record_to: {out} exists already; choose another folder")
        return self._entry(
            names.RECORDER,
            "pad_bringup",
            {"out": str(out), "topics": list(RECORDED_TOPICS), **self._clock},
            on_exit=OnExit.IGNORE,
            niceness=_BEHIND,
        )

    def player(self, file: str) -> NodeEntry:
        """A demonstration or an episode of a dataset, for RViz."""
        return self._entry(
            names.PLAYER,
            "pad_bringup",
            {"file": file, "episode": whole(self.given, "episode", 0), "robot": self.robot, **self._clock},
            on_exit=OnExit.SHUTDOWN,
            topics=(names.MARKERS,),
        )

    def robot_state_publisher(self, description: str) -> NodeEntry:
        """The robot's description and the frames of its links."""
        return NodeEntry(
            name="robot_state_publisher",
            package="robot_state_publisher",
            executable="robot_state_publisher",
            module="",
            parameters={"robot_description": description, **self._clock},
            on_exit=OnExit.RESTART,
            topics=(names.ROBOT_DESCRIPTION,),
        )

    def move_group(self) -> NodeEntry:
        """MoveIt for RViz and for people's own requests; PAD's planner has its own inside tamp_server."""
        return NodeEntry(
            name="move_group",
            package="moveit_ros_move_group",
            executable="move_group",
            module="",
            parameters={**move_group_parameters(self.robot), **self._clock},
            on_exit=OnExit.RESTART,
            own_name=True,
        )

    def rviz(self, view: str) -> NodeEntry:
        """RViz with the configuration for one use: run, parse or augment."""
        return NodeEntry(
            name="rviz",
            package="rviz2",
            executable="rviz2",
            module="",
            parameters=self._clock,
            arguments=("-d", str(resource("rviz", f"{view}.rviz"))),
            on_exit=OnExit.IGNORE,
        )


def _by_the_time() -> Path:
    return store.data_home() / "recordings" / time.strftime("run-%Y%m%d-%H%M%S")
