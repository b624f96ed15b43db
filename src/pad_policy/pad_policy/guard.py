"""Where the arms may be: a box for each TCP, and distances between the links."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pad_policy.clearance import ArmClearance
from pad_policy.errors import ConfigError

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Workspace:
    """Boxes that the TCPs stay in, m in the task frame. lower, upper: (2, 3), left and right arm."""

    lower: Array
    upper: Array

    def __post_init__(self) -> None:
        for name in ("lower", "upper"):
            value = np.array(getattr(self, name), np.float64)
            if value.shape != (2, 3) or not np.all(np.isfinite(value)):
                raise ConfigError(f"workspace '{name}' must be 2 x 3 finite numbers, got shape {value.shape}")
            object.__setattr__(self, name, value)
        if np.any(self.lower >= self.upper):
            raise ConfigError("a workspace box needs lower < upper on every axis")


@dataclass(frozen=True)
class Whereabouts:
    """Where postures are. outside: (K, 2) m, how far each TCP is outside its box, 0 inside.

    room: (K,) m, how much farther apart the links are than they have to be; below 0 too close.
    """

    outside: Array
    room: Array


class MotionGuard:
    """Judges postures against the workspace and the distances."""

    def __init__(self, workspace: Workspace, clearance: ArmClearance, margin: float = 0.003) -> None:
        """margin: m, by which the gate keeps clear of both, because it looks at moments, not at all between them."""
        self._workspace = workspace
        self._clearance = clearance
        self._margin = margin

    def look(self, commands: Array, *, exact: bool = False) -> Whereabouts:
        """Judge commands (K, D): joints rad, then openings m. exact: without the margin."""
        margin = 0.0 if exact else self._margin
        poses = self._clearance.poses(commands)
        tcps = self._clearance.tcps(poses)
        beyond = np.maximum(self._workspace.lower + margin - tcps, tcps - self._workspace.upper + margin)
        return Whereabouts(np.maximum(beyond, 0.0).max(axis=2), self._clearance.room(poses) - margin)
