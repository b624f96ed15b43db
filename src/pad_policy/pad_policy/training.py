"""Distil a dataset into a policy folder."""

import logging
import math
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save

from pad_policy.actions import decode
from pad_policy.bundle import LOSSES, MANIFEST, NETWORK, WEIGHTS, Manifest, write_atomically, write_losses
from pad_policy.config import TrainingConfig
from pad_policy.errors import ConfigError, DatasetError
from pad_policy.model import PolicyNetwork, make_network
from pad_policy.muon import Muon
from pad_policy.normaliser import Affine, Normaliser
from pad_policy.objective import make_objective
from pad_policy.observation import InputLayout
from pad_policy.onnx_export import export
from pad_policy.samples import Batch, Episodes, SampleCutter

log = logging.getLogger(__name__)

#: progress(update, updates, loss, seconds_left)
Progress = Callable[[int, int, float, float], None]

#: Smallest scales: positions 2 cm, rotation-matrix entries 0.1, openings 1 cm.
_SMALLEST_EE_SCALE = np.tile(np.array([0.02] * 3 + [0.1] * 6 + [0.01]), 2)
_SMALLEST_DELTA_SCALE = np.tile(np.array([0.005] * 3 + [0.03] * 6 + [0.01]), 2)


def train(dataset_path: Path, out_dir: Path, config: TrainingConfig, progress: Progress | None = None) -> Path:
    """Train a policy on a dataset and write its folder; returns `out_dir`.

    The same dataset, config and thread count give the same weights. Raises `DatasetError` or `ConfigError`
    before anything is written.
    """
    episodes = Episodes.load(dataset_path)
    if config.episodes is not None:
        episodes = episodes.first(config.episodes)
    device = _device(config)
    out_dir = Path(out_dir)
    rng = np.random.default_rng(config.seed)
    cutter = SampleCutter(episodes, config.horizons, config.representation)
    training_steps, held_out_steps = _divide(cutter, config, rng)
    normaliser = _fit_normaliser(cutter, training_steps, config, rng)
    layout = InputLayout.of(
        config.horizons, config.representation, len(episodes.keypoint_groups), len(episodes.group_names)
    )
    threads_before = torch.get_num_threads()
    try:
        torch.set_num_threads(config.threads)
        with torch.random.fork_rng(devices=[]):  # initial weights come from torch's generator; leave it untouched
            torch.manual_seed(config.seed)
            model = make_network(config.network, layout, config.size, episodes.group_indices).to(device)
        started = time.monotonic()
        losses, averaged = _optimise(model, cutter, training_steps, normaliser, config, device, rng, progress)
        seconds = time.monotonic() - started
        model.load_state_dict(averaged)
        measures = _held_out_error(model, cutter, held_out_steps, normaliser, config, device)
    finally:
        torch.set_num_threads(threads_before)
    measures |= {
        "train_s": seconds,
        "updates_per_s": config.updates / seconds,
        "final_loss": float(losses[-1, 1]),
        "parameters": float(sum(p.numel() for p in model.parameters())),
    }
    out_dir.mkdir(parents=True, exist_ok=True)
    (out_dir / MANIFEST).unlink(missing_ok=True)  # without it the folder is no policy: never a half-new one
    write_atomically(out_dir / WEIGHTS, save({k: v.cpu().contiguous() for k, v in averaged.items()}))
    measures["onnx_max_abs_error"] = export(model, out_dir / NETWORK)
    write_losses(out_dir / LOSSES, losses)
    first_steps = np.concatenate([[0], episodes.episode_ends[:-1]])
    manifest = Manifest(
        code_version=_code_version(),
        task=episodes.task.model_dump(mode="json"),
        keypoint_names=episodes.keypoint_names,
        keypoint_groups=episodes.keypoint_groups,
        robot=episodes.robot,
        network=config.network,
        size=config.size,
        objective=config.objective,
        denoising_steps=config.denoising_steps,
        horizons=config.horizons,
        representation=config.representation,
        normaliser=normaliser.to_json(),
        training=config.model_dump(mode="json"),
        dataset={
            "path": str(dataset_path),
            "sha256": episodes.content_hash,
            "episodes": len(episodes.episode_ends),
            "steps": len(episodes.ee),
        },
        measures=measures,
        start_ee=np.median(episodes.ee[first_steps], axis=0).astype(float).tolist(),
    )
    write_atomically(out_dir / MANIFEST, manifest.model_dump_json(indent=1).encode())
    return out_dir


def _device(config: TrainingConfig) -> torch.device:
    try:
        device = torch.device(config.device)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"device '{config.device}' cannot be used: {str(error).splitlines()[0]}; "
            f"choose cpu{' or cuda:N' if torch.cuda.is_available() else ''}"
        ) from error
    return device


def _divide(cutter: SampleCutter, config: TrainingConfig, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Split the steps by episodes into training and held-out steps (indices)."""
    count = len(cutter.episodes.episode_ends)
    held_out = rng.permutation(count)[: round(config.held_out_fraction * count)]
    is_held_out = np.isin(cutter.episode_of_step, held_out)
    steps = np.arange(len(is_held_out))
    training = steps[~is_held_out]
    if len(training) < config.batch_size:
        raise DatasetError(
            f"the dataset has {len(training)} training steps, fewer than one batch of {config.batch_size}; "
            "generate more demonstrations or lower batch_size"
        )
    epochs = config.updates * config.batch_size / len(training)
    if epochs < 1:
        log.warning("only %.0f %% of the dataset will be seen; raise updates or generate less", 100 * epochs)
    return training, steps[is_held_out]


def _fit_normaliser(
    cutter: SampleCutter, steps: np.ndarray, config: TrainingConfig, rng: np.random.Generator
) -> Normaliser:
    chosen = rng.choice(steps, size=min(len(steps), 20_000), replace=False)
    batch = cutter.cut(chosen, config.noise, rng)
    keypoints = _fit_keypoints(batch, cutter.episodes.group_indices)
    scale = _SMALLEST_EE_SCALE if config.representation.action_frame == "absolute" else _SMALLEST_DELTA_SCALE
    repeats = batch.proprioception.shape[1] // 20
    return Normaliser(
        keypoints=keypoints,
        proprioception=Affine.fit(batch.proprioception, np.tile(_SMALLEST_EE_SCALE, repeats)),
        actions=Affine.fit(batch.actions, scale),
    )


def _fit_keypoints(batch: Batch, group_indices: list[int]) -> Affine:
    """Fit each group on its own: a bottle moves by centimetres in its region, the cup stands half a metre away."""
    groups = np.array(group_indices)
    fits = []
    for group in range(groups.max() + 1):
        mine = groups == group
        seen = batch.keypoints[:, mine][batch.valid[:, mine] > 0.5]
        if len(seen) == 0:
            raise DatasetError("a keypoint group is lost in every sampled step; check the demonstration's tracking")
        fits.append(Affine.fit(seen, 0.02))
    mean, scale = (np.stack([getattr(fits[g], name) for g in groups])[:, None] for name in ("mean", "scale"))
    return Affine(mean, scale)


def _tensors(batch: Batch, normaliser: Normaliser, device: torch.device) -> list[torch.Tensor]:
    arrays = (
        normaliser.keypoints.normalise(batch.keypoints),
        batch.valid,
        normaliser.proprioception.normalise(batch.proprioception),
        normaliser.actions.normalise(batch.actions),
    )
    return [torch.from_numpy(np.ascontiguousarray(x)).to(device, non_blocking=True) for x in arrays]


def _optimise(
    model: PolicyNetwork,
    cutter: SampleCutter,
    steps: np.ndarray,
    normaliser: Normaliser,
    config: TrainingConfig,
    device: torch.device,
    rng: np.random.Generator,
    progress: Progress | None,
) -> tuple[np.ndarray, dict[str, torch.Tensor]]:
    """Run `config.updates` updates; returns the loss curve (U, 2) and the averaged weights."""
    objective = make_objective(config.objective)
    parameters = list(model.parameters())
    optimisers = _optimisers(model, config)
    peaks = [optimiser.param_groups[0]["lr"] for optimiser in optimisers]
    averaged = [p.detach().clone() for p in parameters]
    losses = np.zeros((config.updates, 2))
    order = np.empty(0, np.int64)
    started = time.monotonic()
    smoothed = math.nan
    model.train()
    for update in range(config.updates):
        if len(order) < config.batch_size:
            order = np.concatenate([order, rng.permutation(steps)])
        chosen, order = order[: config.batch_size], order[config.batch_size :]
        keypoints, valid, proprioception, clean = _tensors(cutter.cut(chosen, config.noise, rng), normaliser, device)
        noise = torch.from_numpy(rng.standard_normal(clean.shape, dtype=np.float32)).to(device)
        times = objective.draw_times(len(chosen), rng)
        noisy, target = objective.corrupt(clean, noise, times)
        answer = model(keypoints, valid, proprioception, noisy, torch.from_numpy(times).to(device))
        loss = (answer - target).square().mean()
        model.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, config.gradient_clip)
        for optimiser, peak in zip(optimisers, peaks, strict=True):
            optimiser.param_groups[0]["lr"] = peak * _schedule(update, config)
            optimiser.step()
        decay = min(config.ema_decay, (1 + update) / (10 + update))  # short memory early on, or the start lingers
        with torch.no_grad():
            for average, parameter in zip(averaged, parameters, strict=True):
                average.lerp_(parameter, 1 - decay)
        value = loss.item()
        if not math.isfinite(value):
            raise DatasetError(f"the loss became {value} at update {update}; look for NaN in the dataset")
        losses[update] = update, value
        smoothed = value if math.isnan(smoothed) else 0.95 * smoothed + 0.05 * value
        if progress is not None and (update % 10 == 9 or update + 1 == config.updates):
            done = update + 1
            left = (time.monotonic() - started) / done * (config.updates - done)
            progress(done, config.updates, smoothed, left)
    names = [name for name, _ in model.named_parameters()]
    return losses, dict(zip(names, averaged, strict=True))


def _optimisers(model: PolicyNetwork, config: TrainingConfig) -> list[torch.optim.Optimizer]:
    """AdamW alone, or Muon for the blocks' matrices (a third of the updates do there) and AdamW for the rest."""
    matrices = [p for p in model.blocks.parameters() if p.ndim == 2] if config.optimiser == "muon" else []
    chosen = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    optimisers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(
            rest, lr=config.learning_rate, weight_decay=config.weight_decay, betas=(0.9, 0.95), fused=True
        )
    ]
    if matrices:
        optimisers.append(Muon(matrices, lr=config.matrix_learning_rate))
    return optimisers


def _schedule(update: int, config: TrainingConfig) -> float:
    """Learning-rate factor: linear warm-up, then half a cosine down to zero."""
    if update < config.warmup_updates:
        return (update + 1) / config.warmup_updates
    done = (update - config.warmup_updates) / max(1, config.updates - config.warmup_updates)
    return 0.5 * (1 + math.cos(math.pi * done))


def _held_out_error(
    model: PolicyNetwork,
    cutter: SampleCutter,
    steps: np.ndarray,
    normaliser: Normaliser,
    config: TrainingConfig,
    device: torch.device,
) -> dict[str, float]:
    """Error of sampled chunks on held-out episodes without noise. It is not success: closed loop decides that."""
    if len(steps) == 0:
        return {}
    rng = np.random.default_rng(config.seed)
    chosen = rng.choice(steps, size=min(len(steps), 1024), replace=False)
    batch = cutter.cut(chosen, None, None)
    keypoints, valid, proprioception, _ = _tensors(batch, normaliser, device)

    def network(noisy: np.ndarray, times: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            arguments = (torch.from_numpy(noisy).to(device), torch.from_numpy(times).to(device))
            return model(keypoints, valid, proprioception, *arguments).cpu().numpy()

    model.eval()
    noise = rng.standard_normal(batch.actions.shape, dtype=np.float32)
    answer = normaliser.actions.restore(make_objective(config.objective).sample(network, noise, config.denoising_steps))
    current = cutter.episodes.ee[chosen].astype(np.float64)
    frame = config.representation.action_frame
    got, wanted = decode(answer, current, frame), decode(batch.actions, current, frame)
    offset = (got - wanted).reshape(*got.shape[:2], 2, 10)
    distance = np.linalg.norm(offset[..., :3], axis=-1)
    return {
        "held_out_position_error_m": float(distance.mean()),
        "held_out_position_error_p95_m": float(np.percentile(distance, 95)),
        "held_out_first_step_error_m": float(distance[:, 0].mean()),
        "held_out_opening_error_m": float(np.abs(offset[..., 9]).mean()),
    }


def _code_version() -> str:
    try:
        return version("pad_policy")
    except PackageNotFoundError:
        return "source"
