"""Generated demonstrations in the cell's physics: do keypoints go where they are said to, and does the drink arrive?"""

from __future__ import annotations

import time

import numpy as np

from pad_augment.scene_plan import ScenePlan, ScenePlanner
from pad_bringup.bench.augment import source
from pad_bringup.bench.benchmark import BenchSettings, Say
from pad_bringup.cell import Cell
from pad_bringup.cell.outcome import Outcome

KEYS = ("keypoint_vs_physics_mean_mm", "open_loop_success", "rollout_1000_s")

COUNT, QUICK = 100, 2
_BEAT = 0.008
_REST = 0.4


def measure(settings: BenchSettings, say: Say) -> dict[str, float | None]:
    """Whole episodes (none that begins with a push) are carried out open loop from the objects' true places.

    The time of the rollouts, for 1000, is what generators pay that try their demonstrations in a simulator.
    """
    count = QUICK if settings.quick else COUNT
    work = source.scene_work("roboplan", settings.seed, recovery_probability=0.0, displacement_probability=0.0)
    plans: list[ScenePlan] = []
    first = 0
    while len(plans) < count:
        plans += [plan for plan in work.attempt(range(first, first + 32)) if isinstance(plan, ScenePlan)]
        first += 32
    cell = Cell("pour")
    try:
        errors, good, seconds = [], 0, 0.0
        for index, plan in enumerate(plans[:count]):
            began = time.perf_counter()
            error, outcome = _roll_out(cell, work.scene_planner, plan, work.config.rate_hz, index)
            seconds += time.perf_counter() - began
            errors.append(error)
            good += outcome.success
            if not outcome.success:
                say(f"scene {index}: {outcome.cause}")
    finally:
        cell.close()
    say(f"{good} of {count} succeed; keypoints {1000 * np.mean(errors):.2f} mm off in the mean")
    return {
        "keypoint_vs_physics_mean_mm": 1000 * float(np.mean(errors)),
        "open_loop_success": good / count,
        "rollout_1000_s": seconds / count * 1000,
    }


def _roll_out(cell: Cell, planner: ScenePlanner, plan: ScenePlan, rate_hz: float, seed: int) -> tuple[float, Outcome]:
    """m by which keypoints are off in the mean over steps and points, and what became of the drink."""
    joints, command, expected = plan.plan.joints, plan.command, planner.keypoints(plan)
    places = {
        name: (float(pose[0, 3]), float(pose[1, 3]), float(np.arctan2(pose[1, 0], pose[0, 0])))
        for name, pose in plan.placement.items()
    }
    cell.reset(places, np.random.default_rng(seed), joints=joints[0])
    beats = round(1 / rate_hz / _BEAT)
    errors = []
    for step in range(len(joints) - 1):
        for share in np.arange(1, beats + 1) / beats:
            cell.command(
                (1 - share) * joints[step] + share * joints[step + 1],
                (1 - share) * command[step] + share * command[step + 1],
            )
            cell.step(1 / rate_hz / beats)
        errors.append(np.linalg.norm(cell.keypoints() - expected[step + 1], axis=1).mean())
    cell.step(_REST)
    return float(np.mean(errors)), cell.outcome()
