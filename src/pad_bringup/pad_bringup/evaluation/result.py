"""The one format of an evaluation's results, whatever the mode; written as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from pad_parse.files import write_atomically
from pad_policy.rollout import wilson_interval
from pad_policy.smoothing import Smoothing

Mode = Literal["state", "vision", "graph"]
MODES: tuple[Mode, ...] = ("state", "vision", "graph")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EpisodeRecord(_Strict):
    """One rollout.

    Attributes:
        seed: of the placement.
        success: whether the task's conditions held for the confirmation time.
        cause: why it is no success, one of a few kinds ("missed grasp (left arm, cup)", "spilled", ...); "" for one.
        detail: the same with figures, and what was still missing at the end.
        stage: of the task's template in which it went wrong; "localisation" before the first; "" for a success.
        duration: s, simulated, from the hand-over to the policy until the verdict.
        chunks: answers of the policy; None where they are not counted (graph).
        interventions: how often the command gate stepped in, by kind.
        longest_loss: s for which a keypoint was lost without a break, at the most; None where nothing was tracked.
        clip: video of the episode, if one was written.
    """

    seed: int
    success: bool
    cause: str
    detail: str
    stage: str
    duration: float
    chunks: int | None = None
    interventions: dict[str, int] = {}
    longest_loss: float | None = None
    clip: str | None = None


def clip_path(folder: Path, seed: int, cause: str) -> Path:
    """Where the clip of an episode lies; cause: "" for a success."""
    return folder / f"{seed}-{cause.split(' (')[0].replace(' ', '-') or 'success'}.webm"


class Totals(_Strict):
    """Many episodes in a few numbers.

    Attributes:
        success: share, 0 to 1. episodes: how many. wilson95: 95 % Wilson interval of the share.
        causes: failures by cause, most frequent first. stages: failures by stage.
    """

    success: float
    episodes: int
    wilson95: tuple[float, float]
    causes: dict[str, int]
    stages: dict[str, int]

    @classmethod
    def of(cls, records: Sequence[EpisodeRecord]) -> Totals:
        """The totals of episodes; a share of 0 where there are none."""
        good = sum(record.success for record in records)
        failures = [record for record in records if not record.success]
        low, high = wilson_interval(good, len(records))
        return cls(
            success=round(good / len(records), 4) if records else 0.0,
            episodes=len(records),
            wilson95=(round(low, 4), round(high, 4)),
            causes=dict(Counter(record.cause for record in failures).most_common()),
            stages=dict(Counter(record.stage for record in failures).most_common()),
        )

    def words(self) -> str:
        """One line for people."""
        good = round(self.success * self.episodes)
        low, high = self.wilson95
        return f"{good} of {self.episodes} succeeded (95 % interval {100 * low:.0f} to {100 * high:.0f} %)"

    def beside(self, policy: Totals) -> str:
        """What to add about a baseline beside the policy: that it is not clearly below, or nothing."""
        if self.wilson95[1] < policy.wilson95[0]:
            return ""
        return "; not clearly below the policy: the 95 % intervals overlap, so these placements do not tell them apart"


class Evaluation(Totals):
    """One way of acting, over many seeds.

    Attributes:
        mode: where the keypoints come from and what carries the policy out.
        method: "policy", or a baseline's name.
        task, robot, policy: what was evaluated; policy is the folder.
        disturbed: whether an object was moved by hand while the arms reached for it.
        smoothing: of the policy's chunks, see `ChunkSmoother`.
        time_limit: s, simulated, after which an episode has failed.
        results: one per seed, by seed.
        baselines: other ways of acting on the same seeds.
    """

    mode: Mode
    method: str
    task: str
    robot: str
    policy: str
    disturbed: bool
    smoothing: Smoothing = "none"
    time_limit: float
    results: list[EpisodeRecord]
    baselines: list[Evaluation] = []

    def save(self, path: Path) -> None:
        """Write as JSON, as a whole."""
        write_atomically(path, self.model_dump_json(indent=1) + "\n")
