"""Grasps that the robot can carry out: the person's, or, out of reach, the same turned about the object."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np

from pad_augment.grasp_turns import AS_SHOWN, Turns, turned
from pad_augment.planning.interface import Failure, PlanFailure
from pad_augment.sampling import Placement
from pad_augment.scene_plan import ScenePlanner
from pad_augment.skills import SkillSet

MakePlanner = Callable[[SkillSet], ScenePlanner]
TURN_STEP = np.radians(20.0)
DIPS = (0.0, 0.1, 0.2, 0.3, 0.4)
"""rad that are tried."""
ENOUGH = 0.5
"""Share of the trial scenes that must be carried out."""
GOOD = 0.9
"""Share that is looked for: what is refused too often in one part of the table is missing in the dataset there."""
_MORE_TRIED = 40
"""Turns that are tried for more than enough."""
_QUICK_SCENES = 4


def choose_turns(
    skills: SkillSet, quick: MakePlanner, thorough: MakePlanner, scenes: Sequence[Placement], limit: float
) -> Turns:
    """The smallest turns of both grasps with which the robot carries out nearly all trial scenes, else the best ones.

    Where some scenes fail, only the dip is tried first: a person's arm lies flatter on the table than a robot's can. It
    is assumed that an object that is taken from one side can be taken from another: grasps are turned about their
    objects only where too few scenes are left without, and by no more than `limit` (rad; 0: leave grasps as they are).

    quick: a scene planner that leaves collisions out, to sort out what cannot work; thorough: the one to be used.
    """
    best = (_share(thorough(skills), scenes), AS_SHOWN)
    if best[0] == 1.0 or limit <= 0:
        return AS_SHOWN
    if best[0] >= ENOUGH:
        for dip in DIPS[1:]:
            turns = Turns(dip=dip)
            share = _share(thorough(turned(skills, turns)), scenes)
            if share > best[0]:
                best = (share, turns)
            if share == 1.0:
                break
        return best[1]
    steps = int(limit / TURN_STEP + 1e-9)
    angles = [float(TURN_STEP * k) for k in range(-steps, steps + 1)]
    candidates = sorted(
        (Turns(left, right, dip) for left, right, dip in itertools.product(angles, angles, DIPS)),
        key=lambda turns: turns.effort,
    )
    # A grasp that its arm reaches in no scene is not tried again with every grasp of the other arm.
    out_of_reach: set[tuple[Failure, float, float]] = set()
    few = scenes[:_QUICK_SCENES]
    left = _MORE_TRIED
    for turns in candidates:
        ways = ((Failure.UNREACHABLE_LEFT, turns.left, turns.dip), (Failure.UNREACHABLE_RIGHT, turns.right, turns.dip))
        if out_of_reach.intersection(ways):
            continue
        candidate = turned(skills, turns)
        failures = _failures(quick(candidate), few)
        out_of_reach.update(way for way in ways if failures.count(way[0]) > len(few) * (1 - ENOUGH))
        if len(failures) > len(few) * (1 - ENOUGH) or _share(thorough(candidate), few) < ENOUGH:
            continue
        share = _share(thorough(candidate), scenes)
        if share > best[0]:
            best = (share, turns)
        left -= best[0] >= ENOUGH
        if share >= GOOD or left < 0:
            break
    return best[1]


def _share(planner: ScenePlanner, scenes: Sequence[Placement]) -> float:
    return 1.0 - len(_failures(planner, scenes)) / len(scenes)


def _failures(planner: ScenePlanner, scenes: Sequence[Placement]) -> list[Failure]:
    """Why scenes could not be carried out, one code for each that could not."""
    results = planner.run(
        [planner.planned(planner.scene(placement), np.random.default_rng(i)) for i, placement in enumerate(scenes)]
    )
    return [result.code for result in results if isinstance(result, PlanFailure)]
