"""The updates themselves, on one device or on one of several that work on the same batch."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pad_policy.config import TrainingConfig
from pad_policy.errors import DatasetError
from pad_policy.held_out import held_out_error
from pad_policy.objective import make_objective
from pad_policy.training_data import TrainingData
from pad_policy.training_log import TrainingLog
from pad_policy.training_state import CHECKPOINT, TrainingState, make_fingerprint

#: progress(update, updates, loss, seconds_left)
Progress = Callable[[int, int, float, float], None]

_REPORT_EVERY = 10
_HELD_OUT_SAMPLES = 256


@dataclass(frozen=True)
class Share:
    """Which part of the work is ours: rank of count; how the network is called and its gradients are gathered."""

    rank: int = 0
    count: int = 1
    wrap: Callable[[torch.nn.Module], Callable[..., torch.Tensor]] = lambda network: network
    backward: Callable[[torch.Tensor], Any] = torch.Tensor.backward


def run_updates(
    state: TrainingState,
    data: TrainingData,
    config: TrainingConfig,
    device: torch.device,
    out_dir: Path,
    progress: Progress | None,
    share: Share = Share(),
) -> None:
    """Bring `state` to `config.updates` updates; the first of several also writes checkpoints and reports."""
    leads = share.rank == 0
    fingerprint = make_fingerprint(data, config)
    objective = make_objective(config.objective)
    parameters = list(state.model.parameters())
    network = share.wrap(state.model)
    peaks = (config.learning_rate, config.matrix_learning_rate)
    begun = state.update
    smoothed = _smoothed(state.losses[:begun])
    clock = _Clock(state)
    log = TrainingLog(out_dir, begun) if leads and config.tensorboard else None
    state.model.train()
    while state.update < config.updates:
        update = state.update
        if len(state.order) < config.batch_size:
            state.order = np.concatenate([state.order, state.rng.permutation(data.training_steps)])
        chosen, state.order = state.order[: config.batch_size], state.order[config.batch_size :]
        rng = state.rng
        if share.count > 1:  # every device disturbs its own part; nothing of that needs to be stored
            chosen = chosen[share.rank :: share.count]
            rng = np.random.default_rng([config.seed, update, share.rank])
        keypoints, valid, proprioception, clean = data.tensors(data.cutter.cut(chosen, config.noise, rng), device)
        noise = torch.from_numpy(rng.standard_normal(clean.shape, dtype=np.float32)).to(device)
        times = objective.draw_times(len(chosen), rng)
        noisy, target = objective.corrupt(clean, noise, times)
        with torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
            answer = network(keypoints, valid, proprioception, noisy, torch.from_numpy(times).to(device))
        loss = (answer.float() - target).square().mean()
        state.model.zero_grad(set_to_none=True)
        share.backward(loss)
        gradient = torch.nn.utils.clip_grad_norm_(parameters, config.gradient_clip)
        factor = _schedule(update, config)
        for optimiser, peak in zip(state.optimisers, peaks, strict=False):
            optimiser.param_groups[0]["lr"] = peak * factor
            optimiser.step()
        decay = min(config.ema_decay, (1 + update) / (10 + update))  # short memory early on, or the start lingers
        with torch.no_grad():
            for average, parameter in zip(state.averaged.parameters(), parameters, strict=True):
                average.lerp_(parameter, 1 - decay)
        value = loss.item()
        if not math.isfinite(value):
            raise DatasetError(f"the loss became {value} at update {update}; look for NaN in the dataset")
        state.losses[update] = value
        state.update = done = update + 1
        smoothed = value if math.isnan(smoothed) else 0.95 * smoothed + 0.05 * value
        last = done == config.updates
        if not leads:
            continue
        if log is not None:
            if done % _REPORT_EVERY == 0 or last:
                rates = [optimiser.param_groups[0]["lr"] for optimiser in state.optimisers]
                log.update(done, value, rates, float(gradient))
            if done % config.held_out_every == 0 and not last:
                error = held_out_error(state.averaged, data, config, device, _HELD_OUT_SAMPLES)
                log.held_out(done, error)
        if done % config.checkpoint_every == 0 or last:
            clock.stop()
            state.save(out_dir / CHECKPOINT, fingerprint)
        if progress is not None and (done % _REPORT_EVERY == 0 or last):
            progress(done, config.updates, smoothed, clock.elapsed() / (done - begun) * (config.updates - done))
    if log is not None:
        log.close()


class _Clock:
    """Adds the time of this process to that of those before it."""

    def __init__(self, state: TrainingState) -> None:
        self._state = state
        self._before = state.seconds, state.cpu_seconds
        self._started = time.monotonic(), time.process_time()

    def elapsed(self) -> float:
        """Seconds in this process."""
        return time.monotonic() - self._started[0]

    def stop(self) -> None:
        """Note the time so far in the state."""
        self._state.seconds = self._before[0] + self.elapsed()
        self._state.cpu_seconds = self._before[1] + time.process_time() - self._started[1]


def _smoothed(losses: np.ndarray) -> float:
    """The running mean that the progress shows, as it stood after these losses."""
    smoothed = math.nan
    for value in losses[-200:]:
        smoothed = float(value) if math.isnan(smoothed) else 0.95 * smoothed + 0.05 * float(value)
    return smoothed


def _schedule(update: int, config: TrainingConfig) -> float:
    """Learning-rate factor: linear warm-up, then half a cosine down to zero."""
    if update < config.warmup_updates:
        return (update + 1) / config.warmup_updates
    done = (update - config.warmup_updates) / max(1, config.updates - config.warmup_updates)
    return 0.5 * (1 + math.cos(math.pi * done))
