"""TransferCube as a world that a policy is rolled out in, in lock-step, with the true keypoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pad_augment.kinematics import Robot
from pad_bringup.aloha.simulation import CONTROL_PERIOD, EPISODE_STEPS, FULL_REWARD, READY_STEPS, AlohaSimulation
from pad_parse.demonstration import KeypointState
from pad_parse.task import TaskSpec
from pad_policy.environment import JointMeasurement, KeypointObservation

FloatArray = NDArray[np.float64]

# By the best reward: what is missing, and the stage of the task that it is missing in.
_CAUSES = {
    0: ("missed grasp", "the right gripper never touched the cube", "pick"),
    1: ("missed grasp", "the cube was not lifted", "pick"),
    2: ("missed hand-over", "the left gripper did not touch the cube", "take_over"),
    3: ("dropped", "the left gripper touched the cube only as it lay on the table", "take_over"),
}


@dataclass(frozen=True)
class AlohaOutcome:
    """success: gym-aloha gave its full reward within its episode. cause, detail, stage: what was missing, and where."""

    success: bool
    cause: str = ""
    detail: str = ""
    stage: str = ""


class AlohaEnvironment:
    """`pad_policy.environment.Environment` on gym-aloha's TransferCube.

    It takes one action every 20 ms: commands in between wait for the next one. Its clock goes on over resets.

    Attributes:
        episode_time: s from a reset until gym-aloha ends the episode.
    """

    episode_time = (EPISODE_STEPS - READY_STEPS) * CONTROL_PERIOD

    def __init__(self, simulation: AlohaSimulation, robot: Robot, task: TaskSpec) -> None:
        self.simulation = simulation
        self.task = task.name
        self.keypoint_names: Sequence[str] = task.keypoint_names
        self.keypoint_groups: Sequence[str] = task.keypoint_groups
        self._home = robot.home.ravel()
        self._widest = min(arm.max_opening for arm in robot.arms)
        self._joints, self._openings = self._home, np.full(2, self._widest)
        self._time = self._due = 0.0

    def reset(self, seed: int) -> None:
        """The cube where gym-aloha puts it for `seed`; the episode's first actions take the arms to their home."""
        self.simulation.reset(seed)
        self.simulation.get_ready(self._home, self._widest)
        self._joints, self._openings = self._home, np.full(2, self._widest)
        self._due = self._time + CONTROL_PERIOD

    def advance(
        self, joints: NDArray[np.float64] | None, openings: NDArray[np.float64] | None, seconds: float
    ) -> JointMeasurement:
        """Command the arms (12,) rad and the openings (2,) m, let `seconds` pass, and measure."""
        self._joints = self._joints if joints is None else joints
        self._openings = self._openings if openings is None else openings
        self._time += seconds
        while self._time >= self._due - 1e-9:
            self.simulation.step(self._joints, self._openings)
            self._due += CONTROL_PERIOD
        return JointMeasurement(self._time, self.simulation.joints, self.simulation.openings)

    def observe_keypoints(self) -> KeypointObservation:
        """The true keypoints now, (N, 3) m in the task frame."""
        points = self.simulation.keypoints
        return KeypointObservation(self._time, points, np.full(len(points), KeypointState.VISIBLE, np.uint8))

    def outcome(self) -> AlohaOutcome:
        """The verdict as things stand now: once the full reward is given, it stays."""
        best = self.simulation.best_reward
        return AlohaOutcome(True) if best == FULL_REWARD else AlohaOutcome(False, *_CAUSES[best])
