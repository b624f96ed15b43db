"""Straight lines in the end-effector space, as in the paper; no collision checks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pad_augment.kinematics import Robot
from pad_augment.planning.following import as_asked, follow, too_fast
from pad_augment.planning.interface import Plan, PlanFailure, PlanRequest


class StraightLinePlanner:
    """Follows the poses as asked, within reach, joint limits, velocities and accelerations. Sees no obstacle."""

    name = "straight_line"
    finds_ways = False
    repeatable = True

    def __init__(self, robot: Robot, rate_hz: float) -> None:
        self._robot = robot
        self._rate_hz = rate_hz

    def plan(self, request: PlanRequest, rng: np.random.Generator) -> Plan:
        """See `BimanualPlanner.plan`; nothing is drawn from `rng`."""
        (result,) = self.plan_many([request], [rng])
        if isinstance(result, PlanFailure):
            raise result
        return result

    def plan_many(
        self, requests: Sequence[PlanRequest], rngs: Sequence[np.random.Generator]
    ) -> list[Plan | PlanFailure]:
        """See `BimanualPlanner.plan_many`."""
        return lines(self._robot, requests, self._rate_hz)


def lines(robot: Robot, requests: Sequence[PlanRequest], rate_hz: float) -> list[Plan | PlanFailure]:
    """Per request the plan that follows its poses, or why the arms cannot; collisions are not looked at."""
    out: list[Plan | PlanFailure] = []
    found = follow(robot, requests)
    reached = [(r, j) for r, j in zip(requests, found, strict=True) if not isinstance(j, PlanFailure)]
    speeds = iter(too_fast(robot, [j for _, j in reached], [r for r, _ in reached], rate_hz) if reached else [])
    for request, joints in zip(requests, found, strict=True):
        if isinstance(joints, PlanFailure):
            out.append(joints)
        else:
            out.append(next(speeds) or as_asked(request, joints))
    return out
