"""A task as the robot does it by script: proof that the cell, the grippers and the motion work together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pad_augment.kinematics import Robot
from pad_bringup.cell.cell import Cell
from pad_bringup.cell.demonstrations import gripper_grasps, held_objects, task_motion
from pad_bringup.cell.goals import Verdict
from pad_bringup.cell.outcome import Outcome

_RATE = 125.0
SQUEEZE = 0.02
"""m by which the commanded opening of a closed gripper is less than the object's width."""


@dataclass(frozen=True)
class ScriptedRun:
    """joints: (T, 2 n) rad and openings: (T, 2) m as commanded at 125 Hz; outcome at the end.

    tracking_error: (T, 2) m between commanded and true TCP.
    slip: m by which the right hand's object moved in its gripper while held.
    """

    joints: NDArray[np.float64]
    openings: NDArray[np.float64]
    tracking_error: NDArray[np.float64]
    slip: float
    outcome: Outcome | Verdict


def scripted_run(cell: Cell, robot: Robot) -> ScriptedRun:
    """Do the cell's task from its present state (just reset), knowing the true object poses.

    Raises:
        pad_augment.errors.IkError: a pose is out of reach.
    """
    start = np.stack([robot.fk(arm, robot.home[arm]) for arm in range(2)])
    poses = {name: cell.object_pose(name) for name in cell.objects.models}
    names, grasps = held_objects(cell.task), gripper_grasps(cell.objects)
    motion = task_motion(cell.objects, poses, grasps, start, start_openings=cell.openings, rate=_RATE)
    joints = np.concatenate([robot.ik_path(arm, motion.gripper_poses[:, arm]) for arm in range(2)], axis=1)
    # Closing and squeezing go together, so that the grip is firm before the lift.
    widths = np.array([grasps[name].width for name in names])
    wide = np.array([grasps[name].opening for name in names])
    share = np.clip((wide - motion.openings) / (wide - widths), 0, 1)
    openings = motion.openings - SQUEEZE * share
    errors = np.empty((len(joints), 2))
    first = last = None
    for k, (q, gaps) in enumerate(zip(joints, openings, strict=True)):
        cell.command(q, gaps)
        cell.step(1 / _RATE)
        tcp = [cell.tcp_pose(arm)[:3, 3] for arm in range(2)]
        errors[k] = [np.linalg.norm(tcp[arm] - motion.gripper_poses[k, arm, :3, 3]) for arm in range(2)]
        if motion.held[k, 1]:
            last = np.linalg.inv(cell.tcp_pose(1)) @ cell.object_pose(names[1])
            first = last if first is None else first
    slip = 0.0 if first is None or last is None else float(np.linalg.norm(last[:3, 3] - first[:3, 3]))
    return ScriptedRun(joints, openings, errors, slip, cell.outcome())
