"""Planners for two arms behind one interface, `BimanualPlanner`: `straight_line` and `roboplan`."""

from __future__ import annotations

from collections.abc import Mapping

from pad_augment.errors import PlanningError
from pad_augment.kinematics import Robot
from pad_augment.planning.interface import BimanualPlanner, Shape
from pad_augment.planning.roboplan import RoboplanPlanner
from pad_augment.planning.straight_line import StraightLinePlanner

PLANNERS = ("roboplan", "straight_line")
"""Names that `make_planner` knows."""


def make_planner(name: str, robot: Robot, shapes: Mapping[str, Shape], rate_hz: float) -> BimanualPlanner:
    """A planner by name for objects of the given shapes, whose trajectories have `rate_hz` steps per second.

    Raises:
        PlanningError: there is no such planner.
    """
    if name == "straight_line":
        return StraightLinePlanner(robot, rate_hz)
    if name == "roboplan":
        return RoboplanPlanner(robot, shapes, rate_hz)
    raise PlanningError(f"there is no planner {name!r}; known: {', '.join(PLANNERS)}")
