"""What stands in the way: how many scenes are carried out among 0, 3 and 6 obstacles, and what planning buys."""

from __future__ import annotations

from pad_augment.scene_plan import ScenePlan
from pad_bringup.bench.augment import source
from pad_bringup.bench.benchmark import BenchSettings, Say

OBSTACLES = (0, 3, 6)
KEYS = tuple(f"{kind}_{count}_obstacles" for count in OBSTACLES for kind in ("acceptance", "line_acceptance"))

SCENES, QUICK = 160, 8


def measure(settings: BenchSettings, say: Say) -> dict[str, float | None]:
    """Share of the scenes that become demonstrations, by the planner, and by straight lines that are checked after."""
    scenes = QUICK if settings.quick else SCENES
    out: dict[str, float | None] = {}
    for obstacles in OBSTACLES:
        planned = source.scene_work(
            "roboplan", settings.seed, recovery_probability=0.0, displacement_probability=0.0, obstacles=obstacles
        )
        lines = source.scene_work(
            "straight_line", settings.seed, recovery_probability=0.0, displacement_probability=0.0, obstacles=obstacles
        )
        good = free = 0
        for first in range(0, scenes, 32):
            indices = range(first, min(first + 32, scenes))
            good += sum(isinstance(plan, ScenePlan) for plan in planned.attempt(indices))
            followed = [plan for plan in lines.attempt(indices) if isinstance(plan, ScenePlan)]
            free += sum(not lines.scene_planner.collides_again(plan, 0.005) for plan in followed)
        say(f"{obstacles} obstacles: {good} of {scenes} planned, {free} by straight lines")
        out[f"acceptance_{obstacles}_obstacles"] = good / scenes
        out[f"line_acceptance_{obstacles}_obstacles"] = free / scenes
    return out
