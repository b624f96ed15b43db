"""Planners for two arms behind one interface, `BimanualPlanner`: `roboplan`, `moveit` and `straight_line`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pad_augment.errors import ConfigError, PlanningError
from pad_augment.planning.interface import BimanualPlanner, Shape

if TYPE_CHECKING:
    from pad_augment.kinematics import Robot

PLANNERS = ("auto", "moveit", "roboplan", "straight_line")
"""Names that `make_planner` knows. auto: moveit where it is installed, else roboplan."""


def choose_planner(name: str) -> tuple[str, str]:
    """The planner that a name stands for here, and why, in one line for people.

    Raises:
        ConfigError: there is no such planner.
        PlanningError: it is not installed here.
    """
    if name not in PLANNERS:
        raise ConfigError(f"there is no planner {name!r}; known: {', '.join(PLANNERS)}")
    if name not in ("auto", "moveit"):
        return name, f"planner {name}, as asked"
    from pad_augment.planning.moveit_host import why_absent

    absent = why_absent()
    if absent is None:
        return "moveit", "planner moveit, as asked" if name == "moveit" else "planner moveit: MoveIt is installed"
    if name == "auto":
        return "roboplan", f"planner roboplan: {absent}"
    others = ", ".join(other for other in PLANNERS if other != "moveit")
    raise PlanningError(f"planner moveit is not there: {absent}; or choose: {others}")


def make_planner(name: str, robot: Robot, shapes: Mapping[str, Shape], rate_hz: float) -> BimanualPlanner:
    """A planner by name for objects of the given shapes, whose trajectories have `rate_hz` steps per second.

    Raises:
        ConfigError: there is no such planner.
        PlanningError: it is not installed here.
        RobotError: the robot profile lacks what the planner needs.
    """
    name, _ = choose_planner(name)
    # Each is imported when it is asked for: together they take a second.
    if name == "straight_line":
        from pad_augment.planning.straight_line import StraightLinePlanner

        return StraightLinePlanner(robot, rate_hz)
    if name == "roboplan":
        from pad_augment.planning.roboplan import RoboplanPlanner

        return RoboplanPlanner(robot, shapes, rate_hz)
    from pad_augment.planning.moveit import MoveItPlanner

    return MoveItPlanner(robot, shapes, rate_hz)
