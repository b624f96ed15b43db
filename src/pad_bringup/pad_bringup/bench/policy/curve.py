"""Learning curve in state mode: demonstrations x training seeds x unseen placements."""

from __future__ import annotations

import numpy as np

from pad_bringup.bench.benchmark import BenchSettings, Say
from pad_bringup.bench.policy.study import Study

POINTS = (100, 250, 500, 750, 1000)
KEYS = (*(f"success_{demos}" for demos in POINTS), "success_1000_spread", "train_cpu_s")


def measure(settings: BenchSettings, say: Say) -> dict[str, float | None]:
    """Mean success over training seeds at each number of demonstrations; spread: highest less lowest, at the most.

    train_cpu_s: of one training, mean. The largest number of demonstrations comes first: it is the one that counts.
    """
    study = Study(settings, say)
    extent = study.extent
    figures: dict[str, float | None] = dict.fromkeys(KEYS)
    for demos in sorted(extent.demos, reverse=True):
        successes, seconds = [], []
        for seed in range(settings.seed, settings.seed + extent.training_seeds):
            name = f"curve_{demos}_seed{seed}"
            policy = study.policy(name, demos, seed=seed)
            seconds.append(study.train_seconds(policy))
            successes.append(study.evaluation(name, lambda p=policy: p, extent.placements).success)  # type: ignore[misc]
        say(f"{demos} demonstrations: success {', '.join(f'{s:.2f}' for s in successes)} by training seed")
        if demos in POINTS:
            figures[f"success_{demos}"] = float(np.mean(successes))
        if demos == 1000:
            figures["success_1000_spread"] = float(np.ptp(successes))
            figures["train_cpu_s"] = float(np.mean(seconds))
    missing = [str(point) for point in POINTS if point not in extent.demos]
    if missing:
        say(f"not measured: {', '.join(missing)} demonstrations")
    return figures
