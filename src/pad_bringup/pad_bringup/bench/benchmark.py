"""A benchmark: named sections, each a module that measures a few keys."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from pad_bringup.errors import BenchError

# In the order in which they run. A section is the module `pad_bringup.bench.<benchmark>.<section>` with `KEYS` and
# `measure(settings, say) -> {key: figure or None}`.
BENCHMARKS: dict[str, tuple[str, ...]] = {
    "parse": ("warps", "human", "clips", "timing", "localisation"),
    "augment": ("generation", "proof", "physics", "clutter", "service"),
    "policy": ("inference", "curve", "ablations", "baselines", "vision"),
    "aloha": ("transfer_cube",),
    "tasks": ("protocol",),
    "graph": ("graph_up", "camera_to_command", "hold_stop", "rates", "soak", "fuzz"),
    "faults": ("running_graph",),
}

Say = Callable[[str], None]


@dataclass(frozen=True)
class BenchSettings:
    """What every section gets.

    Attributes:
        work: a folder for files; the caller removes it, unless its user wants to go on with it.
        seed: decides everything random.
        quick: a few samples, to see that it runs; such figures are not for the record.
        clips: folder of real clips, or None.
        assignments: NAME=VALUE of the sections' own options.
    """

    work: Path
    seed: int = 0
    quick: bool = False
    clips: Path | None = None
    assignments: tuple[str, ...] = ()


def section(benchmark: str, name: str) -> ModuleType:
    """The module of a section.

    Raises:
        BenchError: no such benchmark or section; the message lists those that are.
    """
    sections = BENCHMARKS.get(benchmark)
    if sections is None:
        raise BenchError(f"there is no benchmark {benchmark!r}; there are: {', '.join(BENCHMARKS)}")
    if name not in sections:
        raise BenchError(f"benchmark {benchmark} has no section {name!r}; it has: {', '.join(sections)}")
    return importlib.import_module(f"pad_bringup.bench.{benchmark}.{name}")


def run(benchmark: str, only: Sequence[str], settings: BenchSettings, say: Say) -> dict[str, float | None]:
    """Measure the sections named in `only` (all of them if empty).

    Returns:
        key -> figure; None where it could not be measured here, which `say` was told the reason of.

    Raises:
        BenchError: unknown names, or a section that gave other keys than it declares.
    """
    modules = {name: section(benchmark, name) for name in only or BENCHMARKS.get(benchmark, (benchmark,))}
    figures: dict[str, float | None] = {}
    for name, module in modules.items():
        say(f"{benchmark}: {name}")
        measured = module.measure(settings, say)
        if set(measured) != set(module.KEYS):
            raise BenchError(f"section {name} gave {sorted(measured)} instead of {sorted(module.KEYS)}")
        figures |= {key: measured[key] for key in module.KEYS}
    return figures
