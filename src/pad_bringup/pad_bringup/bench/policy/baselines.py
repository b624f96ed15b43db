"""Simpler ways to act, on the same placements; with the ablations in one table, `table.md` in the work folder."""

from __future__ import annotations

from pad_bringup.bench.benchmark import BenchSettings, Say
from pad_bringup.bench.policy import ablations
from pad_bringup.bench.policy.study import Study
from pad_bringup.evaluation.baselines import BASELINES
from pad_bringup.evaluation.result import Evaluation
from pad_parse.files import write_atomically

KEYS = ("baseline_open_loop", "baseline_nearest_neighbour", "baseline_mlp_cloning")

_TITLES = {
    "ablation_none": "Kp-RDT",
    "ablation_no_recovery": "without recovery data",
    "ablation_no_noise": "without noise on training observations",
    "ablation_mlp_head": "MLP instead of the transformer",
    "ablation_one_step": "1 flow step",
    "ablation_ddpm": "DDPM, 10 steps",
    "baseline_open_loop": "baseline: open-loop replay",
    "baseline_nearest_neighbour": "baseline: nearest-neighbour replay",
    "baseline_mlp_cloning": "baseline: behaviour cloning with an MLP",
}


def measure(settings: BenchSettings, say: Say) -> dict[str, float | None]:
    """Success in state mode."""
    study = Study(settings, say)
    demos, placements = study.extent.ablation_demos, study.extent.placements
    main = ablations.rows(study)
    results = {
        f"baseline_{name}": study.evaluation(
            f"baseline_{name}",
            lambda: study.policy(f"curve_{demos}_seed{study.seed}", demos),
            placements,
            baseline=name,
            dataset=study.dataset(),
            demonstration=study.source(),
        )
        for name in BASELINES
    }
    results["baseline_mlp_cloning"] = study.evaluation(
        "baseline_mlp_cloning",
        lambda: study.policy("mlp_cloning", demos, network="mlp", objective="regression"),
        placements,
    )
    table = _table({**main, **results})
    write_atomically(study.work / "table.md", table)
    for line in table.splitlines():
        say(line)
    for key in KEYS:
        if beside := results[key].beside(results["ablation_none"]):
            say(f"{_TITLES[key]}{beside}")
    return {key: results[key].success for key in KEYS}


def _table(results: dict[str, Evaluation]) -> str:
    lines = ["| what | success | 95 % interval | failures |", "|---|---|---|---|"]
    for key, result in results.items():
        low, high = result.wilson95
        causes = ", ".join(f"{count} {cause}" for cause, count in result.causes.items()) or "-"
        rate = f"{round(result.success * result.episodes)}/{result.episodes}"
        lines.append(f"| {_TITLES[key]} | {rate} | {100 * low:.0f} to {100 * high:.0f} % | {causes} |")
    return "\n".join(lines) + "\n"
