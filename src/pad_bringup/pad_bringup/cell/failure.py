"""Why an episode failed, judged from physics: what the fingers held, what fell, what was hit, where the drink went."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import mujoco
import numpy as np
from numpy.typing import NDArray

from pad_bringup.cell.goals import KEPT
from pad_bringup.cell.outcome import Criteria, contained

if TYPE_CHECKING:
    from pad_bringup.cell.cell import Cell

FloatArray = NDArray[np.float64]
Kind = Literal["missed grasp", "dropped", "spilled", "collided", "timed out"]

ARMS = ("left", "right")
PERIOD = 0.04
"""s between two looks."""

_SIDES = {"left": (0,), "right": (1,), "both": (0, 1)}
_CLOSED_FOR = 0.6
"""s that a gripper may be closed around nothing."""
_HELD_FOR = 0.2
"""s of clasping that count as a grasp."""
_LOST_FOR = 0.2
"""s without clasping that count as having let go."""
_LIFTED = 0.02
"""m above where it stood, at which an object counts as lifted."""
_PUSHED, _TOPPLED = 0.05, 0.35
"""m and rad by which an object that nobody has held must not move."""
_HARD = 40.0
"""N of a robot's contact that count as a collision; a pad that touches the table lightly does not."""


@dataclass(frozen=True)
class Failure:
    """What went wrong first.

    kind: of failure. where: which arm or object, in words. stage: name in the task's template. time: s after the reset.
    """

    kind: Kind
    where: str
    stage: str
    time: float

    @property
    def cause(self) -> str:
        """In words, alike for alike failures."""
        return f"{self.kind} ({self.where})" if self.where else self.kind

    def words(self, missing: str) -> str:
        """What went wrong where, and what is missing at this moment, in one line that `read_words` takes apart."""
        cause = "" if self.kind == "timed out" else f"{self.cause} "
        return f"{cause}in stage {self.stage}: {missing}"


def read_words(line: str) -> tuple[str, str, str]:
    """Cause, stage and what was missing, of a line of `Failure.words` at the end of an episode."""
    found = re.fullmatch(r"(?:(?P<cause>.+?) )??in stage (?P<stage>[^:]*): (?P<missing>.*)", line)
    return (found["cause"] or "timed out", found["stage"], found["missing"]) if found else (line, "", line)


@dataclass
class _Object:
    """What has become of one object."""

    start: FloatArray
    held_since: float | None = None
    let_go_since: float | None = None
    grasped: bool = False
    lifted: bool = False


@dataclass
class _Gripper:
    """What one gripper has to grasp: stage, object, and the opening (m) below which it is closing on it."""

    stage: str
    target: str
    width: float
    closed_since: float | None = None


@dataclass
class _Memory:
    objects: dict[str, _Object]
    grippers: dict[int, _Gripper]
    events: list[Failure] = field(default_factory=list)
    missed: dict[int, Failure] = field(default_factory=dict)  # by arm; forgotten when it has its object after all
    pushed: dict[str, Failure] = field(default_factory=dict)  # by object; likewise
    next_look: float = 0.0


class EpisodeWatch:
    """Watches one cell through an episode: `reset` after the cell's reset, `look` at least every `PERIOD` seconds."""

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        model = cell.model
        owners = [_owner(model.body(model.geom_bodyid[g]).name) for g in range(model.ngeom)]
        self._robot_of = np.array([ARMS.index(owner) if owner in ARMS else -1 for owner in owners])
        parts = [model.body(model.geom_bodyid[g]).name for g in range(model.ngeom)]
        self._of_gripper = np.array(["finger" in part or "gripper" in part for part in parts])
        self._free = np.array([owner.startswith(("object_", "ball_")) for owner in owners])
        self.reset()

    def reset(self) -> None:
        """Begin an episode from the cell's present state."""
        cell = self._cell
        objects = {name: _Object(cell.object_pose(name)) for name in cell.objects.models}
        grippers = {}
        for stage in cell.template.stages:
            for arm in _SIDES[stage.arm] if stage.kind == "grasp" else ():
                width = 2 * max(radius for _, radius in cell.objects.models[stage.object].outer)
                grippers.setdefault(arm, _Gripper(stage.name, stage.object, width))
        self._memory = _Memory(objects, grippers)

    def moved(self, name: str) -> None:
        """Somebody has moved an object by hand: where it is now is where it stands."""
        self._memory.objects[name].start = self._cell.object_pose(name)

    def look(self) -> None:
        """Take in the present state, if it is time to."""
        now = self._cell.time
        if now < self._memory.next_look - 1e-9:
            return
        self._memory.next_look = now + PERIOD
        holders = self._cell.holders()
        self._look_at_objects(now, holders)
        self._look_at_grippers(now, holders)
        self._look_at_contacts(now)
        self._look_at_drink(now)

    def failure(self) -> Failure:
        """What went wrong first; timed out where nothing did."""
        memory = self._memory
        events = sorted(
            [*memory.events, *memory.missed.values(), *memory.pushed.values()], key=lambda event: event.time
        )
        return events[0] if events else Failure("timed out", "", self._stage(None), self._cell.time)

    # -- what there is to see

    def _look_at_objects(self, now: float, holders: dict[str, frozenset[int]]) -> None:
        for name, thing in self._memory.objects.items():
            pose = self._cell.object_pose(name)
            if holders[name]:
                thing.let_go_since = None
                thing.held_since = now if thing.held_since is None else thing.held_since
                thing.grasped = thing.grasped or now - thing.held_since >= _HELD_FOR
                if thing.grasped:
                    self._memory.pushed.pop(name, None)
            else:
                thing.held_since = None
                thing.let_go_since = now if thing.let_go_since is None else thing.let_go_since
            risen = float(pose[2, 3] - thing.start[2, 3])
            if thing.grasped and holders[name]:
                thing.lifted = risen > _LIFTED
            elif thing.lifted and thing.let_go_since is not None and now - thing.let_go_since >= _LOST_FOR:
                # When it was last held it was in the air: nobody has put it down.
                self._note(thing.let_go_since, "dropped", name, name)
                thing.lifted = False
            away = float(np.linalg.norm(pose[:2, 3] - thing.start[:2, 3]))
            if not thing.grasped and name not in self._memory.pushed and (away > _PUSHED or _tilt(pose) > _TOPPLED):
                self._memory.pushed[name] = Failure("collided", f"pushed the {name}", self._stage(name), now)

    def _look_at_grippers(self, now: float, holders: dict[str, frozenset[int]]) -> None:
        gaps = self._cell.commanded[1]
        for arm, gripper in self._memory.grippers.items():
            thing = self._memory.objects[gripper.target]
            if arm in holders[gripper.target] or thing.lifted:
                gripper.closed_since = None
                if thing.grasped:
                    self._memory.missed.pop(arm, None)
            elif gaps[arm] >= gripper.width:
                gripper.closed_since = None
            else:
                gripper.closed_since = now if gripper.closed_since is None else gripper.closed_since
                if now - gripper.closed_since >= _CLOSED_FOR and arm not in self._memory.missed:
                    where = f"{ARMS[arm]} arm, {gripper.target}"
                    self._memory.missed[arm] = Failure("missed grasp", where, gripper.stage, gripper.closed_since)

    def _look_at_contacts(self, now: float) -> None:
        data = self._cell.data
        pairs = data.contact.geom[: data.ncon]
        first, second = pairs[:, 0], pairs[:, 1]
        arms = np.stack([self._robot_of[first], self._robot_of[second]], axis=1)
        between_arms = (arms >= 0).all(axis=1) & (arms[:, 0] != arms[:, 1])
        with_fixture = ((arms >= 0).sum(axis=1) == 1) & ~self._free[first] & ~self._free[second]
        # A gripper and what it holds touch; any other part of a robot must not touch an object.
        hard = ~np.where(arms[:, 0] >= 0, self._of_gripper[first], self._of_gripper[second])
        with_object = ((arms >= 0).sum(axis=1) == 1) & (self._free[first] | self._free[second]) & hard
        for index in np.flatnonzero(between_arms | with_fixture | with_object):
            force = np.zeros(6)
            mujoco.mj_contactForce(self._cell.model, data, int(index), force)
            if force[0] < _HARD:
                continue
            side = ARMS[arms[index].max()] if not between_arms[index] else ""
            where = "both arms" if between_arms[index] else f"{side} arm"
            self._note(now, "collided", where, None)

    def _look_at_drink(self, now: float) -> None:
        cell = self._cell
        drink = cell.objects.drink
        if drink is None:
            return
        to_keep = cell.goal.fraction_in_cup if isinstance(cell.goal, Criteria) else KEPT
        balls = cell.drink()
        inside = np.zeros(len(balls), dtype=bool)
        for name in (drink.container, drink.target):
            inside |= contained(balls, cell.object_pose(name), cell.objects.models[name])
        lost = ~inside & (balls[:, 2] < 3 * drink.radius)
        if lost.sum() > (1 - to_keep) * len(balls):
            self._note(now, "spilled", "", drink.container)

    # -- notes

    def _note(self, now: float, kind: Kind, where: str, thing: str | None) -> None:
        if all((event.kind, event.where) != (kind, where) for event in self._memory.events):
            self._memory.events.append(Failure(kind, where, self._stage(thing), now))

    def _stage(self, thing: str | None) -> str:
        """The first stage of the template that is not done, of those that are about an object if one is given."""
        stages = [s for s in self._cell.template.stages if thing is None or thing in (s.object, s.reference)]
        for stage in stages:
            if stage.kind == "skill" or not self._memory.objects[stage.object].grasped:
                return stage.name
        return stages[-1].name if stages else ""


def _owner(body: str) -> str:
    """Which arm a body belongs to; its own name for others."""
    return next((arm for arm in ARMS if body.startswith(f"{arm}_")), body)


def _tilt(pose: FloatArray) -> float:
    return float(np.arccos(np.clip(pose[2, 2], -1.0, 1.0)))
