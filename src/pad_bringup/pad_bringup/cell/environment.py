"""The cell as a world that a policy is rolled out in, in lock-step: the true keypoints with a tracker's errors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from pad_bringup.cell.cell import Cell
from pad_bringup.cell.outcome import Outcome
from pad_parse.demonstration import KeypointState
from pad_policy.environment import JointMeasurement, KeypointObservation


class TrackerErrors(BaseModel):
    """Errors put on the true keypoints, so that state mode is not easier than a camera."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    noise: float = Field(0.002, ge=0, description="m, standard deviation per point and observation")
    bias: float = Field(0.003, ge=0, description="m, standard deviation, one offset per object and episode")


class CellEnvironment:
    """`pad_policy.environment.Environment` on the simulated cell, in state mode.

    Nothing moves while the policy thinks. The clock goes on over resets; everything random follows from the seed.
    """

    def __init__(self, cell: Cell, errors: TrackerErrors | None = None) -> None:
        self.cell = cell
        self.task = cell.task
        self.keypoint_names: Sequence[str] = cell.objects.keypoint_names
        self.keypoint_groups: Sequence[str] = cell.objects.keypoint_groups
        self._errors = errors or TrackerErrors()
        self._rng = np.random.default_rng(0)
        self._bias = np.zeros((len(self.keypoint_names), 3))

    def reset(self, seed: int) -> None:
        """Robots at home, objects where `seed` says, the drink in its container."""
        self._rng = np.random.default_rng([seed, 3])
        self.cell.reset(self.cell.sample_placements(np.random.default_rng(seed)), np.random.default_rng(seed))
        owners = self.cell.objects.keypoint_objects
        offsets = {name: self._rng.normal(0.0, self._errors.bias, 3) for name in self.cell.objects.models}
        self._bias = np.array([offsets[name] for name in owners])

    def advance(
        self, joints: NDArray[np.float64] | None, openings: NDArray[np.float64] | None, seconds: float
    ) -> JointMeasurement:
        """Command the arms (12,) rad and the openings (2,) m, let `seconds` pass, and measure."""
        if joints is not None or openings is not None:
            standing, gaps = self.cell.commanded
            self.cell.command(standing if joints is None else joints, gaps if openings is None else openings)
        self.cell.step(seconds)
        return JointMeasurement(self.cell.time, self.cell.joint_positions, self.cell.openings)

    def observe_keypoints(self) -> KeypointObservation:
        """The true keypoints now, (N, 3) m in the task frame, with the errors of a tracker."""
        points = self.cell.keypoints() + self._bias
        points = points + self._rng.normal(0.0, self._errors.noise, points.shape)
        return KeypointObservation(self.cell.time, points, np.full(len(points), KeypointState.VISIBLE, np.uint8))

    def outcome(self) -> Outcome:
        """The verdict as things stand now."""
        return self.cell.outcome()
