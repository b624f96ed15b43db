"""The cell without physics: joints follow their commands with a lag, nothing else moves. Cheap, and it never slips."""

from __future__ import annotations

from pathlib import Path

import mujoco
import numpy as np

from pad_bringup.cell.cell import Cell
from pad_bringup.errors import CellError
from pad_bringup.splits import Split

DEFAULT_LAG = 0.03
"""s; about what a position-controlled arm of this size has."""


class MockCell(Cell):
    """Under the same interface as `Cell`: commands come back as joint states, q' = (command - q) / lag.

    Speeds are limited as in the robot profile. Objects stay where a reset puts them, so that no task can succeed here;
    the camera shows them and the moving arms as in the simulated cell.
    """

    def __init__(
        self,
        task: str = "pour",
        *,
        profile: str | Path = "ur5e_pair",
        camera_size: tuple[int, int] = (640, 480),
        variation: tuple[Split, int] | None = None,
        lag: float = DEFAULT_LAG,
    ) -> None:
        """lag: time constant in s; the rest as `Cell`.

        Raises:
            CellError: the lag is not positive, or the cell has no such task.
            pad_augment.errors.RobotError: the profile or its description is wrong.
        """
        if not (np.isfinite(lag) and lag > 0):
            raise CellError(f"the lag must be above 0 s; got {lag}")
        super().__init__(task, profile=profile, camera_size=camera_size, variation=variation)
        self._lag = lag
        arms = (self.profile.arms.left, self.profile.arms.right)
        self._speeds = np.concatenate([arm.velocity_limits for arm in arms])

    def step(self, seconds: float) -> None:
        """Let time pass: the exact answer of the lag to the command that stands, no faster than the limits."""
        if not seconds >= 0:
            raise CellError(f"time cannot go back: {seconds} s")
        if seconds == 0:
            return
        joints, openings = self.commanded
        share = 1.0 - np.exp(-seconds / self._lag)
        change = np.clip(share * (joints - self.joint_positions), -seconds * self._speeds, seconds * self._speeds)
        fingers = share * (openings / 2 - self.finger_positions)
        self.data.qpos[self._joints[0]] += change
        self.data.qvel[self._joints[1]] = change / seconds
        for positions, velocities in (self._fingers, self._mimics):
            self.data.qpos[positions] += fingers
            self.data.qvel[velocities] = fingers / seconds
        self.data.time += seconds
        mujoco.mj_kinematics(self.model, self.data)
