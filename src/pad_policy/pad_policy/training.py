"""Distil a dataset into a policy folder."""

import fcntl
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save

from pad_policy.bundle import LOSSES, MANIFEST, NETWORK, WEIGHTS, Manifest, write_atomically, write_losses
from pad_policy.config import TrainingConfig
from pad_policy.data_checks import check_data
from pad_policy.errors import CheckpointError, ConfigError
from pad_policy.held_out import held_out_error
from pad_policy.onnx_export import export
from pad_policy.training_data import TrainingData
from pad_policy.training_devices import run_on_devices
from pad_policy.training_loop import Progress, run_updates
from pad_policy.training_state import CHECKPOINT, TrainingState, make_fingerprint

log = logging.getLogger(__name__)


def train(
    dataset_path: Path,
    out_dir: Path,
    config: TrainingConfig,
    progress: Progress | None = None,
    *,
    overwrite: bool = False,
    notice: Callable[[str], None] = log.warning,
) -> Path:
    """Train a policy on a dataset and write its folder; returns `out_dir`.

    The same dataset, config and thread count give the same weights, also when the process is killed at any moment
    and the same call repeated: it goes on from the folder's last checkpoint, on a CPU bit for bit.

    `notice` is told, before the first update, where training goes on and in which ways the dataset and the config do
    not fit. Raises `DatasetError` or `ConfigError` before anything is written, `CheckpointError` if another process
    trains into the folder, or if it holds an unfinished training of another dataset or config and `overwrite` is
    False.
    """
    out_dir = Path(out_dir)
    device = _device(config)
    data = TrainingData.prepare(dataset_path, config)
    findings = check_data(data, config)
    for finding in findings:
        notice(f"{finding.check}: {finding.message}")
    with _alone(out_dir):
        checkpoint = out_dir / CHECKPOINT
        if overwrite:
            checkpoint.unlink(missing_ok=True)
        threads_before = torch.get_num_threads()
        try:
            torch.set_num_threads(config.threads)
            state = TrainingState.start(data, config, device)
            if checkpoint.exists():
                state.restore(checkpoint, make_fingerprint(data, config))
                notice(f"going on after update {state.update} of {config.updates}, from {checkpoint}")
            if config.devices > 1 and state.update < config.updates:
                run_on_devices(dataset_path, out_dir, config, progress)
                state.restore(checkpoint, make_fingerprint(data, config))
            else:
                run_updates(state, data, config, device, out_dir, progress)
            error = held_out_error(state.averaged, data, config, device)
        finally:
            torch.set_num_threads(threads_before)
        (out_dir / MANIFEST).unlink(missing_ok=True)  # without it the folder is no policy: never a half-new one
        weights = {name: p.detach().cpu().contiguous() for name, p in state.averaged.named_parameters()}
        write_atomically(out_dir / WEIGHTS, save(weights))
        measures = {
            "train_s": state.seconds,
            "train_cpu_s": state.cpu_seconds,
            "updates_per_s": config.updates / state.seconds,
            "final_loss": float(state.losses[-1]),
            "parameters": float(sum(p.numel() for p in state.averaged.parameters())),
            "onnx_max_abs_error": export(state.averaged, out_dir / NETWORK),
        }
        write_losses(out_dir / LOSSES, state.losses)
        episodes = data.episodes
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
            normaliser=data.normaliser.to_json(),
            training=config.model_dump(mode="json"),
            dataset={
                "path": str(dataset_path),
                "sha256": episodes.content_hash,
                "episodes": len(episodes.episode_ends),
                "steps": len(episodes.ee),
            },
            measures=measures,
            held_out_action_error=error,
            data_checks=findings,
            start_ee=np.median(episodes.ee[first_steps], axis=0).astype(float).tolist(),
        )
        write_atomically(out_dir / MANIFEST, manifest.model_dump_json(indent=1).encode())
        checkpoint.unlink(missing_ok=True)
        return out_dir


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other processes from training into a folder at the same time; the kernel gives it free with this one."""
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CheckpointError(
                f"another process trains into {folder}; wait for it, or choose another place"
            ) from None
        yield
    finally:
        if made and not any(folder.iterdir()):  # refused before anything was written
            folder.rmdir()
        os.close(handle)


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


def _code_version() -> str:
    try:
        return version("pad_policy")
    except PackageNotFoundError:
        return "source"
