"""What each part is good for: one thing is left out or replaced, everything else stays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pad_bringup.bench.benchmark import BenchSettings, Say
from pad_bringup.bench.policy.study import NO_RECOVERY, Study
from pad_bringup.evaluation.result import Evaluation
from pad_policy.config import ObservationNoise

KEYS = (
    "ablation_none",
    "ablation_no_recovery",
    "ablation_no_noise",
    "ablation_mlp_head",
    "ablation_one_step",
    "ablation_ddpm",
)


def measure(settings: BenchSettings, say: Say) -> dict[str, float | None]:
    """Success in state mode on the same placements, one training each."""
    results = rows(Study(settings, say))
    return {key: results[key].success for key in KEYS}


def rows(study: Study) -> dict[str, Evaluation]:
    """Key -> its evaluation.

    mlp_head: plain layers instead of the transformer, the objective stays. one_step: the same weights with one flow
    step instead of four.
    """
    demos = study.extent.ablation_demos
    quiet = dict.fromkeys(ObservationNoise.model_fields, 0.0)

    def full() -> Path:
        return study.policy(f"curve_{demos}_seed{study.seed}", demos)

    make: dict[str, Callable[[], Path]] = {
        "ablation_none": full,
        "ablation_no_recovery": lambda: study.policy("no_recovery", demos, variant=NO_RECOVERY),
        "ablation_no_noise": lambda: study.policy("no_noise", demos, noise=quiet),
        "ablation_mlp_head": lambda: study.policy("mlp_head", demos, network="mlp"),
        "ablation_one_step": lambda: study.with_steps(full(), 1),
        "ablation_ddpm": lambda: study.policy("ddpm", demos, objective="ddpm", denoising_steps=10),
    }
    names = {key: key for key in KEYS} | {"ablation_none": f"curve_{demos}_seed{study.seed}"}
    return {key: study.evaluation(names[key], make[key], study.extent.placements) for key in KEYS}
