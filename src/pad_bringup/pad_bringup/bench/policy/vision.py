"""The same policy through the camera: as things stand, and with an object moved 10 cm by hand while the arms reach."""

from __future__ import annotations

from pathlib import Path

from pad_bringup.bench.benchmark import BenchSettings, Say
from pad_bringup.bench.policy.study import Study

KEYS = ("vision_success", "vision_moved_success", "state_moved_success")


def measure(settings: BenchSettings, say: Say) -> dict[str, float | None]:
    """Success in vision mode; state_moved: with true keypoints, to tell the policy's part from the tracker's."""
    study = Study(settings, say)
    demos, episodes = max(study.extent.demos), study.extent.vision_episodes

    def policy() -> Path:
        return study.policy(f"curve_{demos}_seed{study.seed}", demos)

    figures = {}
    for key, disturbed, vision in (
        ("vision_success", False, True),
        ("vision_moved_success", True, True),
        ("state_moved_success", True, False),
    ):
        options = {"vision": vision, "disturbed": disturbed}
        if vision:
            options |= {"demonstration": study.source()}
        figures[key] = study.evaluation(key.removesuffix("_success"), policy, episodes, **options).success
    return figures
