"""Grasps that the robot can carry out: the person's, or, out of reach, the same turned about the object."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from pad_augment.grasp_turns import AS_SHOWN, Turns, turned
from pad_augment.planning.interface import Failure, PlanFailure
from pad_augment.sampling import Placement
from pad_augment.scene_plan import ScenePlan, ScenePlanner
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
SMALL_STEP = float(np.radians(5.0))
"""rad, of the last small turns."""
_FURTHEST = 4
"""Steps either way; the last one is only looked at."""
_QUICK_SCENES = 4


def choose_turns(
    skills: SkillSet,
    quick: MakePlanner,
    thorough: MakePlanner,
    direct: MakePlanner,
    scenes: Sequence[Placement],
    corners: Sequence[Placement],
    limit: float,
) -> Turns:
    """The turns of both grasps with which the robot carries out nearly all trial scenes, and the most of the corners.

    First the smallest ones for the trial scenes; then a little more, one hand after the other, if more of the corners
    can be carried out so. There the objects are as far off and as much turned as they may be, and a policy does not
    learn what no demonstration shows.

    quick: a scene planner that leaves collisions out, to sort out what cannot work; thorough: the one to be used;
    direct: the same without searches. limit: rad; 0: leave grasps as they are.
    """
    if limit <= 0:
        return AS_SHOWN
    turns = _turns_for(skills, quick, thorough, scenes, limit)
    lost = _lost(direct(turned(skills, turns)), corners)
    for hand in ("left", "right"):
        few = list({code: scene for scene, code in lost}.values())  # one of each cause
        angles = [getattr(turns, hand) + SMALL_STEP * k for k in range(-_FURTHEST, _FURTHEST + 1)]
        ways = [replace(turns, **{hand: angle}) for angle in angles]
        still = np.array([len(_lost(direct(turned(skills, way)), few)) if few else 0 for way in ways])
        # Not at the edge of what goes: its neighbours count, too.
        cost = still[:-2] + 2 * still[1:-1] + still[2:]
        middle = _FURTHEST - 1
        for k in sorted(range(len(cost)), key=lambda k: (cost[k], abs(k - middle))):
            if cost[k] >= cost[middle]:
                break
            now = _lost(direct(turned(skills, ways[k + 1])), corners)
            if len(now) < len(lost) and abs(angles[k + 1]) <= limit:
                turns, lost = ways[k + 1], now
                break
    return turns


def _turns_for(
    skills: SkillSet, quick: MakePlanner, thorough: MakePlanner, scenes: Sequence[Placement], limit: float
) -> Turns:
    """The smallest turns of both grasps with which the robot carries out nearly all trial scenes, else the best ones.

    Where some scenes fail, only the dip is tried first: a person's arm lies flatter on the table than a robot's can. It
    is assumed that an object that is taken from one side can be taken from another: grasps are turned about their
    objects only where too few scenes are left without, and by no more than `limit`.
    """
    best = (_share(thorough(skills), scenes), AS_SHOWN)
    if best[0] == 1.0:
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
    return [result.code for result in _results(planner, scenes) if isinstance(result, PlanFailure)]


def _lost(planner: ScenePlanner, scenes: Sequence[Placement]) -> list[tuple[Placement, Failure]]:
    """The scenes that could not be carried out, and why."""
    results = zip(scenes, _results(planner, scenes), strict=True)
    return [(scene, result.code) for scene, result in results if isinstance(result, PlanFailure)]


def _results(planner: ScenePlanner, scenes: Sequence[Placement]) -> list[ScenePlan | PlanFailure]:
    return planner.run(
        [planner.planned(planner.scene(placement), np.random.default_rng(i)) for i, placement in enumerate(scenes)]
    )
