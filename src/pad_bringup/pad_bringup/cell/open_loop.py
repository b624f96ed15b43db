"""Carry out gripper commands open loop in the cell: does a generated demonstration do in physics what it says?"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pad_augment.kinematics import Robot
from pad_bringup.cell.cell import Cell
from pad_bringup.cell.outcome import Outcome
from pad_parse import geometry

FloatArray = NDArray[np.float64]

_BEAT = 0.008


def replay_action(cell: Cell, robot: Robot, action: ArrayLike, rate_hz: float, *, rest: float = 1.0) -> Outcome:
    """Command `action` step by step from the cell's present state and judge what came of it.

    action: (T, 20) commands, left then right arm: position 3 (m), rot6d 6, opening 1 (m), in the task frame.
    rate_hz: steps per second; joint commands are interpolated in between and sent every 8 ms.
    rest: s for which the last command stands before the verdict.

    Raises:
        pad_augment.errors.IkError: a pose is out of reach.
    """
    steps = np.asarray(action, dtype=np.float64)
    start = cell.joint_positions.reshape(2, -1)
    joints = np.concatenate([robot.ik_path(arm, _poses(steps, arm), start[arm]) for arm in range(2)], axis=1)
    known = np.arange(len(steps)) / rate_hz
    commands = np.concatenate([joints, steps[:, [9, 19]]], axis=1)
    for when in np.arange(0.0, known[-1] + rest, _BEAT):
        now = np.array([np.interp(when, known, column) for column in commands.T])
        cell.command(now[:-2], now[-2:])
        cell.step(_BEAT)
    return cell.outcome()


def _poses(steps: FloatArray, arm: int) -> FloatArray:
    own = steps[:, 10 * arm : 10 * arm + 10]
    return geometry.make_pose(geometry.from_rotation_6d(own[:, 3:9]), own[:, :3])
