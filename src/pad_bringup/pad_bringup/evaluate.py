"""Rollouts of a policy in the cell, without nodes: lock-step, with the true keypoints and a tracker's errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pad_augment.kinematics import Robot
from pad_bringup.cell import Cell
from pad_bringup.cell.environment import CellEnvironment
from pad_bringup.errors import DemoError
from pad_bringup.progress import StageProgress
from pad_policy.bundle import PolicyBundle
from pad_policy.inference import OnnxPolicy
from pad_policy.robot_limits import command_joint_names, gate_limits
from pad_policy.rollout import Evaluation, rollout
from pad_policy.runner import PolicyRunner
from pad_policy.safety import CommandGate


def evaluate_policy(policy: Path, *, episodes: int, seed: int, robot: str, progress: StageProgress) -> dict[str, Any]:
    """Roll a policy folder out on `episodes` placements; returns success, episodes, wilson95 and causes.

    seed: the first placement's; the others follow.
    robot: robot profile, by name or path.

    Raises:
        PolicyError: no policy, or one of another robot.
        DemoError: fewer than one episode.
        CellError: the cell has no such task.
    """
    if episodes < 1:
        raise DemoError(f"--episodes must be at least 1; got {episodes}")
    bundle = PolicyBundle.load(policy)
    cell = Cell(bundle.task.name, profile=robot)
    try:
        bundle.check_matches(robot=cell.profile.name)
        model = Robot(cell.profile)
        names = command_joint_names(model)
        environment = CellEnvironment(cell)
        results = []
        with progress.stage("evaluate") as update:
            for index in range(episodes):
                rng = np.random.default_rng([seed, index])
                runner = PolicyRunner(OnnxPolicy(policy), model, names, rng)
                gate = CommandGate(names, gate_limits(model))
                results.append(rollout(runner, gate, environment, seed + index))
                good = sum(result.success for result in results)
                update((index + 1) / episodes, f"{good} of {index + 1} episodes succeeded")
    finally:
        cell.close()
    evaluation = Evaluation(results)
    low, high = evaluation.wilson95
    return {
        "success": round(evaluation.successes / episodes, 4),
        "episodes": episodes,
        "wilson95": [round(low, 4), round(high, 4)],
        "causes": evaluation.causes,
    }
