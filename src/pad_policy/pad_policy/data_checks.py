"""Early warnings: in which ways a dataset and a config do not fit, found before the first update."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pad_policy.actions import split
from pad_policy.bundle import DataFinding
from pad_policy.config import TrainingConfig
from pad_policy.training_data import TrainingData

_FEW_EPISODES = 100
_FEW_HELD_OUT = 5
_FEW_PASSES = 3
_SMALLEST_TRAVEL = 0.005  # m
_SMALLEST_STROKE = 0.005  # m
_LARGEST_STEP = 0.15  # m per policy step
_SHORT_EPISODES = 0.1  # recovery episodes that begin near the end are short
_MOSTLY_LOST = 0.5
_SHARE_OF_REGION = 0.5


@dataclass(frozen=True)
class DataCheck:
    """One question to a dataset and a config; `find` answers with what is wrong and what to do, or None."""

    name: str
    find: Callable[[TrainingData, TrainingConfig], str | None]


def check_data(data: TrainingData, config: TrainingConfig) -> list[DataFinding]:
    """Ask every check of `DATA_CHECKS`; the findings are warnings, training is possible all the same."""
    answers = ((check.name, check.find(data, config)) for check in DATA_CHECKS)
    return [DataFinding(check=name, message=message) for name, message in answers if message is not None]


def _few_episodes(data: TrainingData, config: TrainingConfig) -> str | None:
    count = len(data.episodes.episode_ends)
    if count >= _FEW_EPISODES:
        return None
    return f"{count} episodes; below {_FEW_EPISODES} most unseen placements fail; generate more demonstrations"


def _few_held_out(data: TrainingData, config: TrainingConfig) -> str | None:
    count = len(np.unique(data.cutter.episode_of_step[data.held_out_steps]))
    if count >= _FEW_HELD_OUT:
        return None
    if count == 0:
        return "no episode is held out, so no action error can be told; raise held_out_fraction or generate more"
    return f"the held-out action error rests on {count} episodes; raise held_out_fraction or generate more"


def _share_seen(data: TrainingData, config: TrainingConfig) -> str | None:
    passes = config.updates * config.batch_size / len(data.training_steps)
    if passes >= 1:
        return None
    return f"only {100 * passes:.0f} % of the training steps will be seen; raise updates or batch_size"


def _few_passes(data: TrainingData, config: TrainingConfig) -> str | None:
    passes = config.updates * config.batch_size / len(data.training_steps)
    if passes < 1 or passes >= _FEW_PASSES:
        return None
    return f"every training step is seen only {passes:.1f} times; raise updates towards {_FEW_PASSES} passes or more"


def _horizon(data: TrainingData, config: TrainingConfig) -> str | None:
    lengths = np.diff(data.episodes.episode_ends, prepend=0)
    reach = (config.horizons.horizon + config.horizons.history - 1) * data.cutter.stride
    short = int(np.sum(lengths <= reach))
    if short <= _SHORT_EPISODES * len(lengths):
        return None
    return (
        f"history and horizon together last {reach / data.episodes.rate_hz:.1f} s, as long as {short} of "
        f"{len(lengths)} episodes or longer; shorten them or raise horizons.rate_hz"
    )


def _still_actions(data: TrainingData, config: TrainingConfig) -> str | None:
    positions, _, openings = split(data.episodes.action)
    still = [
        what
        for what, moves in (
            ("left arm's position", np.ptp(positions[:, 0], axis=0).max() >= _SMALLEST_TRAVEL),
            ("right arm's position", np.ptp(positions[:, 1], axis=0).max() >= _SMALLEST_TRAVEL),
            ("left gripper's opening", np.ptp(openings[:, 0]) >= _SMALLEST_STROKE),
            ("right gripper's opening", np.ptp(openings[:, 1]) >= _SMALLEST_STROKE),
        )
        if not moves
    ]
    if not still:
        return None
    return f"commanded the same in every step: {', '.join(still)}; right only if the task does not use it"


def _coarse_steps(data: TrainingData, config: TrainingConfig) -> str | None:
    positions = split(data.episodes.ee)[0]
    stride = data.cutter.stride
    same = data.cutter.episode_of_step[stride:] == data.cutter.episode_of_step[:-stride]
    moved = np.linalg.norm(positions[stride:] - positions[:-stride], axis=-1)[same]
    fast = float(np.percentile(moved, 99)) if len(moved) else 0.0
    if fast <= _LARGEST_STEP:
        return None
    return (
        f"a gripper moves {100 * fast:.0f} cm in one policy step; raise horizons.rate_hz ({config.horizons.rate_hz:g})"
    )


def _start_points(data: TrainingData) -> np.ndarray:
    """Centre of each object's points at the start of each episode (E, O, 3), NaN if all are lost."""
    episodes = data.episodes
    first = np.concatenate([[0], episodes.episode_ends[:-1]])
    points = np.where(episodes.seen[first][..., None], episodes.keypoints[first], np.nan)
    centres = []
    for number in range(int(episodes.object_indices.max()) + 1):
        mine = points[:, episodes.object_indices == number]
        seen = np.isfinite(mine).all(axis=-1).sum(axis=1)
        centres.append(np.where(seen[:, None] > 0, np.nansum(mine, axis=1) / np.maximum(seen, 1)[:, None], np.nan))
    return np.stack(centres, axis=1)


def _noise(data: TrainingData, config: TrainingConfig) -> str | None:
    noise = float(np.hypot(config.noise.keypoint_noise, config.noise.keypoint_bias))
    spread = np.nanstd(_start_points(data)[..., :2], axis=0).max(axis=-1)
    hidden = spread < 2 * noise
    if not hidden.any():
        return None
    return (
        f"the noise on keypoints ({1000 * noise:.0f} mm) hides where objects start: the least spread of one is "
        f"{1000 * float(spread.min()):.0f} mm; lower noise.keypoint_noise and noise.keypoint_bias or widen the regions"
    )


def _lost_keypoints(data: TrainingData, config: TrainingConfig) -> str | None:
    lost = 1.0 - data.episodes.seen.mean(axis=0)
    mostly = np.flatnonzero(lost > _MOSTLY_LOST)
    if len(mostly) == 0:
        return None
    names = ", ".join(f"{data.episodes.keypoint_names[i]} {100 * lost[i]:.0f} %" for i in mostly[:4])
    more = f" and {len(mostly) - 4} more" if len(mostly) > 4 else ""
    return f"keypoints lost in most steps: {names}{more}; choose points that stay visible, or check the tracking"


def _coverage(data: TrainingData, config: TrainingConfig) -> str | None:
    """Whether placements fill their regions; the extent of N uniform draws is (N - 1) / (N + 1) of the region."""
    episodes = data.episodes
    count = len(episodes.episode_ends)
    if count < 10:
        return None
    extent = np.nanmax(_start_points(data)[..., :2], axis=0) - np.nanmin(_start_points(data)[..., :2], axis=0)
    narrow = []
    for number, name in enumerate(data.episodes.object_names):
        region = episodes.task.objects[name].region
        wanted = np.array([region.x[1] - region.x[0], region.y[1] - region.y[0]])
        for axis in range(2):
            if wanted[axis] > 0.02 and extent[number, axis] < _SHARE_OF_REGION * wanted[axis]:
                share = 100 * extent[number, axis] / wanted[axis]
                narrow.append(f"{name} {share:.0f} % of its region along {'xy'[axis]}")
    if not narrow:
        return None
    return f"placements cover only a part: {', '.join(narrow)}; expect failures elsewhere, or generate more"


def _repeated_episodes(data: TrainingData, config: TrainingConfig) -> str | None:
    first = np.concatenate([[0], data.episodes.episode_ends[:-1]])
    lengths = np.diff(data.episodes.episode_ends, prepend=0)
    starts = np.concatenate(
        [data.episodes.keypoints[first].reshape(len(first), -1), data.episodes.ee[first], lengths[:, None]], axis=1
    )
    repeated = len(starts) - len(np.unique(starts, axis=0))
    if repeated == 0:
        return None
    return f"{repeated} of {len(starts)} episodes begin and last exactly like another one; generate with other seeds"


#: Every warning there is, in the order in which they are told.
DATA_CHECKS: tuple[DataCheck, ...] = (
    DataCheck("few_episodes", _few_episodes),
    DataCheck("few_held_out", _few_held_out),
    DataCheck("share_seen", _share_seen),
    DataCheck("few_passes", _few_passes),
    DataCheck("horizon", _horizon),
    DataCheck("still_actions", _still_actions),
    DataCheck("coarse_steps", _coarse_steps),
    DataCheck("noise", _noise),
    DataCheck("lost_keypoints", _lost_keypoints),
    DataCheck("coverage", _coverage),
    DataCheck("repeated_episodes", _repeated_episodes),
)
