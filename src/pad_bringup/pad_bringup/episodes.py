"""Runs episodes through a running node graph: reset, localise, hand over to the policy, watch, judge."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from numpy.typing import NDArray
from sensor_msgs.msg import Image
from std_srvs.srv import SetBool, Trigger

from pad_bringup import names
from pad_bringup.errors import EpisodeError
from pad_bringup.losses import Losses
from pad_bringup.session import Session
from pad_bringup.success import EpisodeResult
from pad_msgs.msg import CellOutcome, KeypointArray, SafetyState
from pad_msgs.srv import LocaliseKeypoints, ResetCell
from pad_parse import qos
from pad_parse.recording.images import colour_image, stamp_seconds

SAFETY_COUNTERS = (
    *("position_limited", "velocity_limited", "acceleration_limited", "jerk_limited"),
    *("workspace_limited", "distance_limited"),
    *("rejected_chunks", "stale_holds", "keypoint_holds", "pauses"),
)


@dataclass(frozen=True)
class EpisodeLimits:
    """When an episode ends.

    Attributes:
        time_limit: simulated seconds after the hand-over.
        confirm: simulated seconds that success must last.
        silence: real seconds without an outcome message after which the cell counts as dead.
        call_timeout: real seconds that one service call may take.
        localise_attempts: tries of the localisation, each in a newer image.
    """

    time_limit: float = 30.0
    confirm: float = 1.0
    silence: float = 20.0
    call_timeout: float = 20.0
    localise_attempts: int = 3


@dataclass(frozen=True)
class Clip:
    """Camera images of one episode.

    Attributes:
        rate: images per simulated second, on average.
        frames: each (H, W, 3) uint8 RGB.
    """

    rate: float
    frames: list[NDArray[np.uint8]]


class EpisodeRunner:
    """Drives episodes as a client of the node graph; it moves no robot itself."""

    def __init__(
        self,
        session: Session,
        *,
        limits: EpisodeLimits | None = None,
        still_wanted: Callable[[], None] | None = None,
        clip_rate: float = 5.0,
        clip_width: int = 480,
    ) -> None:
        """Connect; the graph may still be starting.

        session: the client node to work with.
        limits: when an episode ends.
        still_wanted: called a few times a second; raises to give up (a node died, the user pressed Ctrl-C).
        clip_rate: images kept per simulated second.
        clip_width: width in pixels that kept images are scaled down to.
        """
        self._session = session
        self._limits = limits or EpisodeLimits()
        self._still_wanted = still_wanted or (lambda: None)
        self._clip_interval = 1.0 / clip_rate
        self._clip_width = clip_width
        self._lock = threading.Lock()
        self._outcome: CellOutcome | None = None
        self._outcome_at = 0.0
        self._safety: SafetyState | None = None
        self._counted: dict[str, int] = {}  # interventions before this episode, by cause
        self._losses: Losses | None = None  # while an episode runs
        self._frames: list[tuple[float, NDArray[np.uint8]]] = []  # (simulated stamp, image)
        self._next_frame: float | None = None  # simulated stamp from which the next image is kept; None: keep none
        node = session.node
        node.create_subscription(CellOutcome, names.CELL_OUTCOME, self._on_outcome, qos.LATEST)
        node.create_subscription(SafetyState, names.SAFETY, self._on_safety, qos.LATEST)
        node.create_subscription(KeypointArray, names.KEYPOINTS, self._on_keypoints, qos.LATEST)
        self._images: Any = None
        self._reset = node.create_client(ResetCell, names.CELL_RESET)
        self._localise = node.create_client(LocaliseKeypoints, names.LOCALISE_KEYPOINTS)
        self._stop = node.create_client(Trigger, names.STOP)
        self._enable = node.create_client(SetBool, names.ENABLE)
        self._change_state = node.create_client(ChangeState, f"/{names.POLICY_NODE}/change_state")
        self._get_state = node.create_client(GetState, f"/{names.POLICY_NODE}/get_state")

    def run(self, seed: int) -> tuple[EpisodeResult, Clip]:
        """Run one episode: hand over, watch, take back.

        Raises:
            EpisodeError: a node does not answer, refuses, or the cell has gone silent.
        """
        begin = time.monotonic()
        objects, failure = self.hand_over(seed)
        if failure:
            wall = time.monotonic() - begin
            return EpisodeResult(seed, False, f"not localised: {failure}", 0.0, wall, objects=objects), Clip(1.0, [])
        if self._images is None:  # not before: who only hands over is not sent a megabyte for each image
            node = self._session.node
            self._images = node.create_subscription(Image, names.COLOR_IMAGE, self._on_image, qos.CAMERA)
        with self._lock:
            self._frames, self._next_frame, self._losses = [], 0.0, Losses()
        outcome, seconds, success = self._watch(seed)
        self._switch_gate(False)
        self._policy(Transition.TRANSITION_DEACTIVATE, State.PRIMARY_STATE_INACTIVE)
        with self._lock:
            frames, self._frames, self._next_frame = self._frames, [], None
            losses, self._losses = self._losses, None
        result = EpisodeResult(
            seed=seed,
            success=success,
            cause="" if success else (outcome.cause or "success did not last"),
            seconds=seconds,
            wall_seconds=time.monotonic() - begin,
            objects=objects,
            interventions={name: count - self._counted[name] for name, count in self._counts().items()},
            longest_loss=None if losses is None else losses.longest,
        )
        return result, _clip(frames)

    def hand_over(self, seed: int) -> tuple[dict[str, tuple[float, float, float]], str]:
        """Gate off, policy off, reset, localise, policy on, gate on.

        Returns:
            where the objects stand (x, y, yaw), and why the keypoints were not found ("": they were).

        Raises:
            EpisodeError: a node does not answer or refuses.
        """
        self._switch_gate(False)
        self._policy(Transition.TRANSITION_DEACTIVATE, State.PRIMARY_STATE_INACTIVE)
        objects = self._reset_cell(seed)
        failure = self._find_keypoints()
        if failure:
            return objects, failure
        self._policy(Transition.TRANSITION_ACTIVATE, State.PRIMARY_STATE_ACTIVE)
        self._counted = self._counts()
        self._switch_gate(True)
        return objects, ""

    def _counts(self) -> dict[str, int]:
        """How often the gate has stepped in since it started, by cause; waits for its first word."""
        deadline = time.monotonic() + self._limits.call_timeout
        while True:
            with self._lock:
                safety = self._safety
            if safety is not None:
                return {name: int(getattr(safety, name)) for name in SAFETY_COUNTERS}
            if time.monotonic() > deadline:
                raise EpisodeError(
                    f"{names.SAFETY} has been silent for {self._limits.call_timeout:.0f} s; see command_gate's log"
                )
            self._still_wanted()
            time.sleep(0.02)

    def _watch(self, seed: int) -> tuple[CellOutcome, float, bool]:
        """Wait for the verdict: the last outcome, simulated seconds since the hand-over, success."""
        start: float | None = None
        since: float | None = None
        with self._lock:
            self._outcome, self._outcome_at = None, time.monotonic()
        while True:
            self._still_wanted()
            time.sleep(0.02)
            with self._lock:
                outcome, received = self._outcome, self._outcome_at
            if time.monotonic() - received > self._limits.silence:
                raise EpisodeError(
                    f"{names.CELL_OUTCOME} has been silent for {self._limits.silence:.0f} s; see sim_cell's log"
                )
            if outcome is None or outcome.seed != seed:
                continue
            now = float(outcome.time)
            start = now if start is None else start
            if not outcome.success:
                since = None
            elif since is None:
                since = now
            if since is not None and now - since >= self._limits.confirm:
                return outcome, now - start, True
            if now - start >= self._limits.time_limit:
                return outcome, now - start, False

    def _find_keypoints(self) -> str:
        """Localise with a few tries; returns the last reason for failure, "" if it worked."""
        message = ""
        for _ in range(self._limits.localise_attempts):
            answer = self._call(self._localise, LocaliseKeypoints.Request())
            if answer.success:
                return ""
            message = str(answer.message)
        return message or "no reason given"

    def _reset_cell(self, seed: int) -> dict[str, tuple[float, float, float]]:
        answer = self._call(self._reset, ResetCell.Request(seed=seed))
        if not answer.success:
            raise EpisodeError(f"{names.CELL_RESET} refused seed {seed}: {answer.message}")
        return {item.name: _planar(item.pose) for item in answer.objects}

    def enable(self) -> None:
        """Let the gate follow chunks; lifts a stop.

        Raises:
            EpisodeError: it refuses or does not answer.
        """
        self._switch_gate(True)

    def stop(self) -> None:
        """Have the gate stop the arms until it is enabled again.

        Raises:
            EpisodeError: it does not answer.
        """
        self._call(self._stop, Trigger.Request())

    def _switch_gate(self, on: bool) -> None:
        answer = self._call(self._enable, SetBool.Request(data=on))
        if not answer.success:
            raise EpisodeError(f"{names.ENABLE} refused to switch {'on' if on else 'off'}: {answer.message}")

    def _policy(self, transition: int, wanted: int) -> None:
        if self._call(self._get_state, GetState.Request()).current_state.id == wanted:
            return
        request = ChangeState.Request()
        request.transition.id = transition
        if not self._call(self._change_state, request).success:
            raise EpisodeError(f"{names.POLICY_NODE} refused the lifecycle transition {transition}; see its log")

    def _call(self, client: Any, request: Any) -> Any:
        return self._session.call(client, request, self._limits.call_timeout, EpisodeError, self._still_wanted)

    def _on_outcome(self, message: CellOutcome) -> None:
        with self._lock:
            self._outcome, self._outcome_at = message, time.monotonic()

    def _on_safety(self, message: SafetyState) -> None:
        with self._lock:
            self._safety = message

    def _on_keypoints(self, message: KeypointArray) -> None:
        states = np.array([point.state for point in message.keypoints], np.uint8)
        with self._lock:
            if self._losses is not None and len(states):
                self._losses.see(stamp_seconds(message.header), states)

    def _on_image(self, message: Image) -> None:
        stamp = stamp_seconds(message.header)
        with self._lock:
            if self._next_frame is None or stamp < self._next_frame:
                return
            self._next_frame = max(self._next_frame + self._clip_interval, stamp + self._clip_interval / 2)
        image = colour_image(message)
        if message.width > self._clip_width:
            size = (self._clip_width, round(message.height * self._clip_width / message.width))
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        with self._lock:
            self._frames.append((stamp, np.ascontiguousarray(image)))


def _clip(frames: list[tuple[float, NDArray[np.uint8]]]) -> Clip:
    """Stamped images as a clip at the rate at which they really came."""
    duration = frames[-1][0] - frames[0][0] if frames else 0.0
    return Clip((len(frames) - 1) / duration if duration > 0 else 1.0, [image for _, image in frames])


def _planar(pose: Any) -> tuple[float, float, float]:
    q = pose.orientation
    yaw = math.atan2(2 * (q.w * q.z + q.x * q.y), 1 - 2 * (q.y * q.y + q.z * q.z))
    return float(pose.position.x), float(pose.position.y), yaw
