"""One closed-loop episode in lock-step with an `Environment`, through the real command gate."""

import math
from collections import deque
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pad_policy.bundle import PolicyBundle
from pad_policy.chunking import JointChunk
from pad_policy.environment import Environment, JointMeasurement, KeypointObservation
from pad_policy.errors import ChunkError, RolloutError
from pad_policy.safety import CommandGate, SafetyReport
from pad_policy.smoothing import ChunkSmoother

_BEAT = 0.008
_CHECK = 0.2  # s between looks at the outcome
_REMEMBERED = 0.5  # s of joint measurements kept, to find the arms' pose at an image's instant


class PlanLike(Protocol):
    """A chunk, and which of its targets (2, H) were out of reach."""

    @property
    def chunk(self) -> JointChunk: ...
    @property
    def unreachable(self) -> NDArray[np.bool_]: ...


class Planner(Protocol):
    """What is rolled out: `pad_policy.runner.PolicyRunner`, or anything that plans chunks from observations."""

    def reset(self) -> None:
        """Forget everything seen."""

    def due(self, stamp: float, tolerance: float = 0.0) -> bool:
        """Whether it wants an observation of this stamp (s); `tolerance` s early is on time."""

    def observe(self, keypoints: KeypointObservation, measured: JointMeasurement) -> None:
        """Take in one observation."""

    @property
    def should_plan(self) -> bool:
        """Whether a new chunk is wanted."""

    def plan(self) -> PlanLike:
        """The next chunk, stamped with the newest observation."""


@dataclass(frozen=True)
class EpisodeResult:
    """One rollout. duration: s of simulated time until success was stable or time ran out.

    cause, detail, stage: the environment's words for why it is no success; empty for one.
    """

    seed: int
    success: bool
    cause: str
    detail: str
    stage: str
    duration: float
    chunks: int
    unreachable_targets: int
    safety: SafetyReport


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


def check_matches(bundle: PolicyBundle, environment: Environment) -> None:
    """Raise `MismatchError` unless the policy was made for this environment's task and keypoints."""
    bundle.check_matches(task=environment.task, keypoint_groups=list(environment.keypoint_groups))


def rollout(
    planner: Planner,
    gate: CommandGate,
    environment: Environment,
    seed: int,
    *,
    time_limit: float = 30.0,
    stable: float = 1.0,
    smoother: ChunkSmoother | None = None,
) -> EpisodeResult:
    """Run one episode; success must hold for `stable` s in a row within `time_limit` s of simulated time.

    smoother: what becomes of chunks before the gate gets them; None: nothing.

    The environment stands still while the policy thinks, so the result does not depend on the machine.
    """
    environment.reset(seed)
    planner.reset()
    smoother = smoother or ChunkSmoother()
    smoother.reset()
    gate.disable()
    measured = environment.advance(None, None, 0.0)
    start = measured.stamp
    gate.tick(start, measured)
    refusal = gate.enable(start)
    if refusal:
        raise RolloutError(f"the gate refused to start episode {seed}: {refusal}")
    chunks = unreachable = 0
    rejected = ""
    recent: deque[JointMeasurement] = deque([measured], maxlen=round(_REMEMBERED / _BEAT))
    success_since: float | None = None
    success, next_check = False, start
    while measured.stamp - start < time_limit:
        now = measured.stamp
        if planner.due(now, tolerance=_BEAT / 2):
            seen = environment.observe_keypoints()
            if np.any(seen.states):
                planner.observe(seen, min(recent, key=lambda joints: abs(joints.stamp - seen.stamp)))
                if planner.should_plan:
                    plan = planner.plan()
                    chunks += 1
                    unreachable += int(plan.unreachable.sum())
                    try:
                        gate.accept(smoother.smooth(plan.chunk), now)
                    except ChunkError as error:
                        rejected = str(error)
        if now >= next_check:
            next_check = now + _CHECK
            if not environment.outcome().success:
                success_since = None
            else:
                success_since = now if success_since is None else success_since
                success = now - success_since >= stable
                if success:
                    break
        output = gate.tick(now, measured)
        measured = environment.advance(output.joints, output.openings, _BEAT)
        if measured.stamp <= now:
            raise RolloutError("the environment's clock did not advance; advance() must simulate `seconds`")
        recent.append(measured)
    outcome = environment.outcome()
    cause = "" if success else outcome.cause or "timed out"
    detail = "" if success else outcome.detail or "success did not last"
    return EpisodeResult(
        seed=seed,
        success=success,
        cause=cause,
        detail=f"{detail}; a chunk was rejected: {rejected}" if rejected and not success else detail,
        stage="" if success else outcome.stage,
        duration=measured.stamp - start,
        chunks=chunks,
        unreachable_targets=unreachable,
        safety=gate.tick(measured.stamp, measured).report,
    )
