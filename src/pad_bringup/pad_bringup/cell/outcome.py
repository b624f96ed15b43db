"""The verdict of physics on a pour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pad_bringup.cell.objects import DrinkModel, ObjectModel
from pad_parse import geometry


@dataclass(frozen=True)
class Outcome:
    """How things stand.

    success: the drink is in the cup, and both vessels are upright and on or above the table.
    fraction_in_cup: share of the drink inside the cup, 0 to 1.
    bottle_upright, cup_upright: tilted less than the limit and not fallen off.
    cause: why it is no success, in words; empty on success.
    """

    success: bool
    fraction_in_cup: float
    bottle_upright: bool
    cup_upright: bool
    cause: str


@dataclass(frozen=True)
class Criteria:
    """What counts as success. fraction_in_cup: 0 to 1; max_tilt: rad."""

    fraction_in_cup: float = 0.8
    max_tilt: float = 0.349


def judge(
    balls_in_task: NDArray[np.float64],
    poses: Mapping[str, NDArray[np.float64]],
    models: Mapping[str, ObjectModel],
    drink: DrinkModel,
    criteria: Criteria,
) -> Outcome:
    """Judge one instant.

    balls_in_task: (n, 3) m. poses: object -> (4, 4) in the task frame.
    """
    cup = models[drink.target]
    inside = contained(balls_in_task, poses[drink.target], cup)
    fraction = float(inside.mean())
    upright = {name: _upright(poses[name], criteria.max_tilt) for name in (drink.container, drink.target)}
    faults = [f"the {name} {reason}" for name, reason in upright.items() if reason]
    if fraction < criteria.fraction_in_cup:
        faults.append(f"{int(inside.sum())} of {len(inside)} balls are in the {drink.target}")
    return Outcome(
        success=not faults,
        fraction_in_cup=fraction,
        bottle_upright=not upright[drink.container],
        cup_upright=not upright[drink.target],
        cause="; ".join(faults),
    )


def contained(points_in_task: NDArray[np.float64], pose: NDArray[np.float64], vessel: ObjectModel) -> NDArray[np.bool_]:
    """(n,) which points (n, 3) lie inside a vessel at `pose` (4, 4)."""
    local = geometry.transform_points(geometry.inverse(pose), points_in_task)
    heights, radii = (np.array(v) for v in zip(*vessel.outer, strict=True))
    limit = np.interp(local[:, 2], heights, radii) - vessel.wall / 2
    return (local[:, 2] > 0) & (local[:, 2] < vessel.height) & (np.hypot(local[:, 0], local[:, 1]) < limit)


def _upright(pose: NDArray[np.float64], max_tilt: float) -> str:
    """Empty, or what is wrong."""
    if pose[2, 3] < -0.02:
        return "has fallen off the table"
    tilt = float(np.arccos(np.clip(pose[2, 2], -1.0, 1.0)))
    return f"is tilted by {np.degrees(tilt):.0f} degrees" if tilt > max_tilt else ""
