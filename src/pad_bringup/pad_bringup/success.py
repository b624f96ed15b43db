"""How well a policy does: the result of one episode, and the summary of many with its Wilson interval."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from pad_bringup.cell.failure import read_words
from pad_policy.rollout import wilson_interval


@dataclass(frozen=True)
class EpisodeResult:
    """One rollout.

    Attributes:
        seed: of the placement.
        success: whether the task's conditions held for the whole confirmation time.
        cause: why it is not a success; "" for a success.
        seconds: simulated seconds until the verdict.
        wall_seconds: real seconds, reset and localisation included.
        objects: name -> (x, y, yaw) of the start, metres and radians in the task frame.
        interventions: name -> how often the command gate changed or refused something.
        longest_loss: s for which a keypoint was lost without a break, at the most; None: no keypoints were seen.
    """

    seed: int
    success: bool
    cause: str
    seconds: float
    wall_seconds: float
    objects: dict[str, tuple[float, float, float]] = field(default_factory=dict)
    interventions: dict[str, int] = field(default_factory=dict)
    longest_loss: float | None = None


@dataclass(frozen=True)
class SuccessSummary:
    """Many episodes in a few numbers.

    Attributes:
        episodes: how many were run.
        successes: how many succeeded.
        rate: successes / episodes, 0 to 1; 0 without episodes.
        low, high: 95 % Wilson interval of the rate.
        causes: kind of failure (first fault, without figures) -> how often, most frequent first.
    """

    episodes: int
    successes: int
    rate: float
    low: float
    high: float
    causes: dict[str, int]


def summarise(results: Sequence[EpisodeResult]) -> SuccessSummary:
    """The summary of episode results."""
    successes = sum(result.success for result in results)
    low, high = wilson_interval(successes, len(results))
    causes = Counter(_kind(result.cause) for result in results if not result.success)
    rate = successes / len(results) if results else 0.0
    return SuccessSummary(len(results), successes, rate, low, high, dict(causes.most_common()))


def _kind(cause: str) -> str:
    """ "missed grasp (left arm, cup) in stage grasp_cup: 3 of 25 ..." -> "missed grasp (left arm, cup)"; of other lines
    "the cup is tilted by 43 degrees; 3 of 25 ..." -> "the cup is tilted by N degrees"."""
    return re.sub(r"\d+(\.\d+)?", "N", read_words(cause)[0].split(";")[0]).strip() or "unknown"
