"""The paper's own setting: straight lines in the end-effector space, no collision checks."""

from __future__ import annotations

import numpy as np

from pad_augment.kinematics import Robot
from pad_augment.planning.following import check_dynamics, follow
from pad_augment.planning.interface import Plan, PlanRequest


class StraightLinePlanner:
    """Follows the poses as asked, within reach, joint limits, velocities and accelerations. Sees no obstacle."""

    name = "straight_line"
    finds_ways = False

    def __init__(self, robot: Robot, rate_hz: float) -> None:
        self._robot = robot
        self._rate_hz = rate_hz

    def plan(self, request: PlanRequest, rng: np.random.Generator) -> Plan:
        """See `BimanualPlanner.plan`; nothing is drawn from `rng`."""
        lengths = tuple(len(stretch) for stretch in request.stretches)
        joints = follow(self._robot, request.stretches, request.start)
        check_dynamics(self._robot, joints, lengths, self._rate_hz, request.moving)
        return Plan(
            joints=joints,
            poses=np.concatenate([s.poses for s in request.stretches]),
            openings=np.concatenate([s.openings for s in request.stretches]),
            lengths=lengths,
            ways=("line",) * len(lengths),
        )
