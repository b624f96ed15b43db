"""What a policy needs from a world it is rolled out in: the `Environment` protocol and its data."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class JointMeasurement:
    """What the robots measure at one instant.

    stamp: s, the environment's own clock.
    positions: (2 n,) rad, the n joints of the left arm, then those of the right.
    openings: (2,) m, measured gap between the pads of the left and right gripper.
    """

    stamp: float
    positions: NDArray[np.floating[Any]]
    openings: NDArray[np.floating[Any]]


@dataclass(frozen=True)
class KeypointObservation:
    """The keypoints at one instant, as a tracker (or the truth) reports them.

    stamp: s, the environment's own clock.
    points_in_task: (N, 3) m, task frame, in the order of `Environment.keypoint_names`.
    states: (N,) uint8, values of `pad_parse.demonstration.KeypointState` (0 lost, 1 visible, 2 filled).
    """

    stamp: float
    points_in_task: NDArray[np.floating[Any]]
    states: NDArray[np.uint8]


@runtime_checkable
class OutcomeLike(Protocol):
    """The verdict of an environment.

    cause: why it is no success, alike for alike failures; detail: the same with figures; stage: of the task.
    """

    @property
    def success(self) -> bool: ...
    @property
    def cause(self) -> str: ...
    @property
    def detail(self) -> str: ...
    @property
    def stage(self) -> str: ...


@runtime_checkable
class Environment(Protocol):
    """A world that is stepped in lock-step by `pad_policy.rollout.rollout`.

    The rollout asks for keypoints at the policy's rate, plans, and lets the command gate turn the plan
    into one command per `advance` call (8 ms). Nothing moves while the policy thinks.
    """

    task: str
    keypoint_names: Sequence[str]
    keypoint_groups: Sequence[str]

    def reset(self, seed: int) -> None:
        """Start a new episode: robots at home, grippers open, objects placed by `seed` alone."""

    def advance(
        self, joints: NDArray[np.floating[Any]] | None, openings: NDArray[np.floating[Any]] | None, seconds: float
    ) -> JointMeasurement:
        """Command the arms, let `seconds` pass and measure.

        joints: (2 n,) rad position command, or None to leave the last command standing.
        openings: (2,) m commanded gaps, or None likewise.
        seconds: duration to simulate; 0 measures without letting time pass.
        """

    def observe_keypoints(self) -> KeypointObservation:
        """Return the newest keypoints: the truth now, or what a camera has seen last, stamped with its image."""

    def outcome(self) -> OutcomeLike:
        """Judge the episode as it stands now."""
