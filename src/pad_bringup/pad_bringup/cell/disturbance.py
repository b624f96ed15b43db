"""A person's hand that moves an object while the arms reach for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pad_bringup.cell.cell import Cell

FloatArray = NDArray[np.float64]

DISTANCE = 0.10
"""m that the object is moved."""
SECONDS = 0.6
"""s that the hand takes, from rest to rest."""

_GRIPPER = 0.075
"""m from the TCP to the outside of an open finger."""
_GAP = 0.02
"""m that a moved object keeps, seen from above, to other objects and to the grippers."""
_FOLLOW = 0.02
"""s in which the hand makes up for what friction has held back."""
_HEADINGS = 72


class MovedObject:
    """Moves one object `DISTANCE` over the table, once the gripper that reaches for it has come half its way.

    Nothing is moved in a task whose objects all stand on one another: nobody moves a container from under its lid.

    The object, the moment and the heading follow from `rng` and the motion; the object stays upright within its region
    and clear of the grippers and of the other objects. What is in it is carried along by its walls.
    """

    def __init__(self, cell: Cell, rng: np.random.Generator) -> None:
        """cell: just reset."""
        self._cell = cell
        self.name = ""
        self.moving = False
        fixed = cell.objects.in_stacks()
        grasps = [stage for stage in cell.template.stages if stage.kind == "grasp" and stage.object not in fixed]
        self.done = not grasps
        if self.done:
            return
        stage = grasps[int(rng.integers(len(grasps)))]
        self.name = stage.object
        self._arms = {"left": (0,), "right": (1,), "both": (0, 1)}[stage.arm]
        self._headings = rng.permutation(_HEADINGS) * (2 * np.pi / _HEADINGS)
        self._first = self._distance()
        joint = cell.model.joint(f"object_{self.name}")
        self._dof, turn = int(joint.dofadr[0]), int(joint.qposadr[0]) + 3
        self._turn = slice(turn, turn + 4)
        self._upright = cell.data.qpos[self._turn].copy()
        self._from: FloatArray | None = None
        self._way = np.zeros(2)
        self._began = 0.0

    def act(self) -> None:
        """Do what is due at this moment; call before each short step of the cell."""
        if self.done:
            return
        if self._from is None:
            if self._distance() > 0.5 * self._first:
                return
            way = self._free_way()
            if way is None:  # no room now; later perhaps
                return
            self._from, self._way, self._began = self._cell.object_pose(self.name)[:2, 3], way, self._cell.time
            self.moving = True
        elapsed = self._cell.time - self._began
        if elapsed >= SECONDS:
            self._set_velocity(np.zeros(2))
            self.moving, self.done = False, True
            return
        s = elapsed / SECONDS
        share = s**3 * (10 - 15 * s + 6 * s**2)
        rate = 30 * s**2 * (1 - s) ** 2 / SECONDS
        behind = self._from + share * self._way - self._cell.object_pose(self.name)[:2, 3]
        self._set_velocity(rate * self._way + behind / _FOLLOW)

    def _set_velocity(self, planar: FloatArray) -> None:
        # The hand holds it upright: dragged at its foot alone, a bottle leans over.
        self._cell.data.qpos[self._turn] = self._upright
        self._cell.data.qvel[self._dof : self._dof + 2] = planar
        self._cell.data.qvel[self._dof + 3 : self._dof + 6] = 0.0

    def _distance(self) -> float:
        """m from the nearest of the grippers that reach for it."""
        place = self._cell.object_pose(self.name)[:3, 3]
        return min(float(np.linalg.norm(self._cell.tcp_pose(arm)[:3, 3] - place)) for arm in self._arms)

    def _free_way(self) -> FloatArray | None:
        cell = self._cell
        start = cell.object_pose(self.name)[:2, 3]
        radius = self._radius(self.name)
        region = cell.template.objects[self.name].region
        low, high = np.array([region.x[0], region.y[0]]), np.array([region.x[1], region.y[1]])
        for heading in self._headings:
            way = DISTANCE * np.array([np.cos(heading), np.sin(heading)])
            end = start + way
            if np.any(end < low) or np.any(end > high):
                continue
            others = [
                _to_segment(cell.object_pose(other)[:2, 3], start, end) - radius - self._radius(other) - _GAP
                for other in cell.objects.models
                if other != self.name
            ]
            grippers = [_to_segment(cell.tcp_pose(arm)[:2, 3], start, end) - radius - _GRIPPER - _GAP for arm in (0, 1)]
            if min([*others, *grippers]) > 0:
                return way
        return None

    def _radius(self, name: str) -> float:
        return max(radius for _, radius in self._cell.objects.models[name].outer)


def _to_segment(point: FloatArray, start: FloatArray, end: FloatArray) -> float:
    """m from a point to the way from `start` to `end`, all (2,)."""
    way = end - start
    share = np.clip(np.dot(point - start, way) / np.dot(way, way), 0.0, 1.0)
    return float(np.linalg.norm(point - start - share * way))
