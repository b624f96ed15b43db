"""Closed-loop evaluation of a policy in lock-step with an `Environment`, through the real command gate."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pad_policy.environment import Environment
from pad_policy.errors import ChunkError, RolloutError
from pad_policy.runner import PolicyRunner
from pad_policy.safety import CommandGate, SafetyReport

_BEAT = 0.008


@dataclass(frozen=True)
class EpisodeResult:
    """One rollout. duration: s of simulated time until success was stable or time ran out."""

    seed: int
    success: bool
    cause: str
    duration: float
    chunks: int
    unreachable_targets: int
    safety: SafetyReport


@dataclass(frozen=True)
class Evaluation:
    """Rollouts over several seeds."""

    episodes: list[EpisodeResult]

    @property
    def successes(self) -> int:
        """Number of successful episodes."""
        return sum(episode.success for episode in self.episodes)

    @property
    def causes(self) -> dict[str, int]:
        """Failures counted by cause."""
        counts: dict[str, int] = {}
        for episode in self.episodes:
            if not episode.success:
                counts[episode.cause] = counts.get(episode.cause, 0) + 1
        return counts

    @property
    def wilson95(self) -> tuple[float, float]:
        """95 % Wilson interval of the success rate."""
        return wilson_interval(self.successes, len(self.episodes))


def wilson_interval(successes: int, trials: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson score interval of a proportion; (0, 1) when nothing was tried."""
    if not 0 <= successes <= trials:
        raise RolloutError(f"{successes} successes in {trials} trials is impossible")
    if trials == 0:
        return 0.0, 1.0
    rate = successes / trials
    scale = 1 + z * z / trials
    centre = (rate + z * z / (2 * trials)) / scale
    half = z * math.sqrt(rate * (1 - rate) / trials + z * z / (4 * trials * trials)) / scale
    return max(0.0, centre - half), min(1.0, centre + half)


def rollout(
    runner: PolicyRunner,
    gate: CommandGate,
    environment: Environment,
    seed: int,
    *,
    time_limit: float = 30.0,
    stable: float = 1.0,
) -> EpisodeResult:
    """Run one episode; success must hold for `stable` s in a row within `time_limit` s of simulated time.

    The environment stands still while the policy thinks, so the result does not depend on the machine.
    """
    bundle = runner.policy.bundle
    bundle.check_matches(task=environment.task, keypoint_groups=list(environment.keypoint_groups))
    environment.reset(seed)
    runner.reset()
    gate.disable()
    measured = environment.advance(None, None, 0.0)
    start = measured.stamp
    gate.tick(start, measured)
    refusal = gate.enable(start)
    if refusal:
        raise RolloutError(f"the gate refused to start episode {seed}: {refusal}")
    chunks = unreachable = 0
    rejected = ""
    success_since: float | None = None
    while measured.stamp - start < time_limit:
        now = measured.stamp
        if runner.due(now, tolerance=_BEAT / 2):
            runner.observe(environment.observe_keypoints(), measured)
            if runner.should_plan:
                plan = runner.plan()
                chunks += 1
                unreachable += int(plan.unreachable.sum())
                try:
                    gate.accept(plan.chunk, now)
                except ChunkError as error:
                    rejected = str(error)
            if environment.outcome().success:
                success_since = now if success_since is None else success_since
                if now - success_since >= stable:
                    break
            else:
                success_since = None
        output = gate.tick(now, measured)
        before = measured.stamp
        measured = environment.advance(output.joints, output.openings, _BEAT)
        if measured.stamp <= before:
            raise RolloutError("the environment's clock did not advance; advance() must simulate `seconds`")
    outcome = environment.outcome()
    success = success_since is not None and outcome.success
    cause = "" if success else (f"chunk rejected: {rejected}" if rejected else outcome.cause or "timed out")
    return EpisodeResult(
        seed=seed,
        success=success,
        cause=cause,
        duration=measured.stamp - start,
        chunks=chunks,
        unreachable_targets=unreachable,
        safety=gate.tick(measured.stamp, measured).report,
    )


def evaluate(
    make_runner: Callable[[int], PolicyRunner],
    make_gate: Callable[[], CommandGate],
    environment: Environment,
    seeds: Iterable[int],
    *,
    time_limit: float = 30.0,
    progress: Callable[[EpisodeResult], None] | None = None,
) -> Evaluation:
    """Roll out one episode per seed, each with a fresh runner (seeded by the seed) and a fresh gate."""
    episodes = []
    for seed in seeds:
        result = rollout(make_runner(seed), make_gate(), environment, seed, time_limit=time_limit)
        episodes.append(result)
        if progress is not None:
            progress(result)
    return Evaluation(episodes)
