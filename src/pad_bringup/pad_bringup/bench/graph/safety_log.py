"""What `/pad/safety` and the commands said, and when: how a hold or a stop is timed."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rclpy.serialization import deserialize_message
from trajectory_msgs.msg import JointTrajectory

from pad_bringup import names
from pad_bringup.bench.graph.traffic import ClockMap, Passage
from pad_msgs.msg import KeypointArray, SafetyState
from pad_parse.recording.images import stamp_seconds
from pad_policy.keypoint_health import HealthLimits
from pad_policy.safety import GateTiming

_STILL = 1e-4  # rad between two commands; below it the arms are told to stand


@dataclass(frozen=True)
class SafetyWord:
    """One message: when it left (s, this machine's clock), its stamp, state and cause."""

    left: float
    stamp: float
    state: int
    cause: str
    rejected: int


class SafetyLog:
    """Keeps what the gate says and commands, and what it decides from. `topics` is for `Traffic`."""

    def __init__(self) -> None:
        self.clock = ClockMap()
        self.words: list[SafetyWord] = []
        self.commands: list[tuple[float, NDArray[np.float64]]] = []  # when it left, left arm's joints
        self.keypoints: list[tuple[float, float]] = []  # stamp, when it left
        self.known: dict[str, float] = {}  # keypoint group -> stamp at which a point of it was known last
        self.chunks: list[tuple[float, float]] = []  # when the last point is due, when it left
        self.joint_states: list[tuple[float, float]] = []
        self.topics = {
            names.CELL_CLOCK: self.clock.take,
            names.SAFETY: self._on_safety,
            names.arm_command_topic("left"): self._on_command,
            names.KEYPOINTS: self._on_keypoints,
            names.JOINT_CHUNK: lambda p: self.chunks.append((_last_due(p.data), p.left)),
            names.JOINT_STATES: lambda p: self.joint_states.append((p.stamp, p.left)),
        }

    def _on_safety(self, passage: Passage) -> None:
        message = deserialize_message(passage.data, SafetyState)
        self.words.append(
            SafetyWord(
                passage.left,
                stamp_seconds(message.header),
                int(message.state),
                str(message.cause),
                int(message.rejected_chunks),
            )
        )

    def _on_command(self, passage: Passage) -> None:
        values = np.frombuffer(passage.data, "<f8", 6, len(passage.data) - 48)
        self.commands.append((passage.left, values))

    def _on_keypoints(self, passage: Passage) -> None:
        message = deserialize_message(passage.data, KeypointArray)
        self.keypoints.append((passage.stamp, passage.left))
        for keypoint in message.keypoints:
            if keypoint.state:
                self.known[keypoint.group] = passage.stamp

    @property
    def state(self) -> int | None:
        """The gate's newest state; None before its first word."""
        return self.words[-1].state if self.words else None

    def first(self, state: int, since: float) -> SafetyWord | None:
        """The first word of that state that left after `since` (s, this machine's clock)."""
        return next((word for word in self.words if word.left >= since and word.state == state), None)

    def moving(self, seconds: float = 0.2, least: float = 0.05) -> bool:
        """Whether the last `seconds` of commands moved a joint of the left arm by `least` rad/s or more."""
        recent = [c for c in self.commands[-200:] if c[0] > self.commands[-1][0] - seconds] if self.commands else []
        if len(recent) < 5 or not self.words or self.words[-1].state != SafetyState.RUNNING:
            return False
        return bool(np.abs(recent[-1][1] - recent[0][1]).max() > least * (recent[-1][0] - recent[0][0]))

    def limit(self, node: str, before: float) -> float:
        """Stamp from which on the gate must hold, because what `node` sent last before `before` is stale then."""
        inputs, allowed = {
            names.KEYPOINT_TRACKER: (self.keypoints, HealthLimits().timeout),
            names.POLICY_NODE: (self.chunks, GateTiming().chunk_overrun),
            names.SIM_CELL: (self.joint_states, GateTiming().joint_state_timeout),
        }[node]
        return allowed + [stamp for stamp, left in inputs if left <= before][-1]

    def came_to_rest(self, since: float) -> float | None:
        """s of this machine's clock from which on all commands that came were alike; None without a command."""
        later = [c for c in self.commands if c[0] >= since]
        if not later:
            return None
        rest = later[-1][0]
        for when, joints in reversed(later):
            if np.abs(joints - later[-1][1]).max() > _STILL:
                break
            rest = when
        return rest


def _last_due(data: bytes) -> float:
    """s, stamp at which the last point of a JointTrajectory is due."""
    message = deserialize_message(data, JointTrajectory)
    end = message.points[-1].time_from_start
    seconds, nanoseconds = struct.unpack_from("<iI", data, 4)
    return float(seconds + end.sec + 1e-9 * (nanoseconds + end.nanosec))
