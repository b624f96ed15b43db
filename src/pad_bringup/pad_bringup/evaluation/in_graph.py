"""Episodes through the real node graph, as processes and in real time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from pad_bringup.cell.failure import read_words
from pad_bringup.episodes import Clip, EpisodeLimits, EpisodeRunner
from pad_bringup.errors import EpisodeError, SupervisorError
from pad_bringup.evaluation.result import EpisodeRecord, clip_path
from pad_bringup.resources import resource
from pad_bringup.running import running_graph
from pad_bringup.splits import Split
from pad_bringup.success import EpisodeResult
from pad_bringup.video import write_webm
from pad_policy.smoothing import Smoothing


def evaluate_in_graph(
    policy: Path,
    demonstration: Path,
    task: str,
    robot: str,
    seeds: Sequence[int],
    logs: Path,
    *,
    time_limit: float,
    clips: Path | None,
    progress: Callable[[int, int], None],
    tell: Callable[[str], None],
    split: Split | None = None,
    smoothing: Smoothing = "none",
    keep: Callable[[list[EpisodeRecord]], None] = lambda records: None,
) -> list[EpisodeRecord]:
    """Run one episode per seed, one after the other.

    A graph that falls silent or loses a node is started again: that is no verdict on the policy.

    split: of the paper's protocol; None: the task's own scene.
    logs: folder for the nodes' logs. clips: folder for a video of every failure and of the first success.
    smoothing: of chunks, see `ChunkSmoother`. keep: called with the records so far after every episode.

    Raises:
        EpisodeError, SupervisorError: the graph does not start, or fails twice in the same episode.
    """
    values = {
        "task": task,
        "robot": robot,
        "viewer": "false",
        "split": split or "none",
        "smoothing": smoothing,
        "policy": str(policy.resolve()),
        "demonstration": str(demonstration.resolve()),
        "calibration": str(resource("config", "cameras", "cell.yaml")),
    }
    records: list[EpisodeRecord] = []
    failed_at, starts = -1, 0
    while len(records) < len(seeds):
        starts += 1
        try:
            with running_graph(values, logs / f"start_{starts}", tell=tell) as running:
                runner = EpisodeRunner(
                    running.session, limits=EpisodeLimits(time_limit=time_limit), still_wanted=running.supervisor.check
                )
                for seed in seeds[len(records) :]:
                    result, clip = runner.run(seed)
                    wanted = not result.success or not any(record.success for record in records)
                    records.append(_record(result, clip, clips if wanted else None))
                    keep(records)
                    progress(len(records), sum(record.success for record in records))
        except (EpisodeError, SupervisorError) as error:
            if failed_at == len(records):
                raise
            failed_at = len(records)
            tell(f"the node graph is started again after {len(records)} episodes: {error}")
    return records


def _record(result: EpisodeResult, clip: Clip, clips: Path | None) -> EpisodeRecord:
    unseen = "not localised: "
    if result.success:
        cause = stage = detail = ""
    elif result.cause.startswith(unseen):
        cause, stage, detail = "not localised", "localisation", result.cause.removeprefix(unseen)
    else:
        cause, stage, missing = read_words(result.cause)
        detail = f"{cause}; at the end: {missing}"
    written = None
    if clips is not None and clip.frames:
        written = str(write_webm(clip.frames, 2 * clip.rate, clip_path(clips, result.seed, cause)).resolve())
    return EpisodeRecord(
        seed=result.seed,
        success=result.success,
        cause=cause,
        detail=detail,
        stage=stage,
        duration=round(result.seconds, 3),
        interventions=result.interventions,
        longest_loss=result.longest_loss,
        clip=written,
    )
