"""Training on several devices of one machine, through Lightning Fabric (an optional extra)."""

import threading
from multiprocessing.context import SpawnContext
from pathlib import Path
from typing import Any

import torch
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException

from pad_policy.config import TrainingConfig
from pad_policy.errors import ConfigError, DatasetError
from pad_policy.training_data import TrainingData
from pad_policy.training_loop import Progress, Share, run_updates
from pad_policy.training_state import CHECKPOINT, TrainingState, make_fingerprint


def run_on_devices(dataset_path: Path, out_dir: Path, config: TrainingConfig, progress: Progress | None) -> None:
    """Run all updates in `config.devices` processes and leave the last checkpoint in `out_dir`.

    Every process reads the dataset, sees its part of every batch and makes the same step, because gradients are
    averaged; the first one writes checkpoints. They go on from a checkpoint that is there.
    """
    try:
        from lightning_fabric import Fabric
    except ImportError as error:
        raise ConfigError(
            "several devices need the package lightning-fabric; install it (pip install lightning-fabric) or "
            "train with devices=1"
        ) from error
    available = torch.cuda.device_count() if config.device == "cuda" else config.devices
    if config.devices > available:
        raise ConfigError(f"devices is {config.devices}, but {available} CUDA devices are there; lower it")
    fabric = Fabric(accelerator=config.device, devices=config.devices, strategy="ddp_spawn", precision="32-true")
    reports = SpawnContext().SimpleQueue()
    listener = threading.Thread(target=_pass_on, args=(reports, progress), daemon=True)
    listener.start()
    try:
        fabric.launch(_work, dataset_path, out_dir, config, reports)
    except ProcessExitedException as error:
        raise DatasetError(
            f"a process of the training on {config.devices} devices was ended from outside, perhaps out of memory; the "
            "same command goes on from the last checkpoint"
        ) from error
    except ProcessRaisedException as error:
        last = str(error).strip().splitlines()[-1]
        raise DatasetError(f"training on {config.devices} devices ended early: {last}") from error
    finally:
        reports.put(None)
        listener.join(timeout=5)


def _work(fabric: Any, dataset_path: Path, out_dir: Path, config: TrainingConfig, reports: Any) -> None:
    """One process of several."""
    torch.set_num_threads(config.threads)
    data = TrainingData.prepare(dataset_path, config)
    state = TrainingState.start(data, config, fabric.device)
    checkpoint = out_dir / CHECKPOINT
    if checkpoint.exists():
        state.restore(checkpoint, make_fingerprint(data, config))
    fabric.barrier()  # nobody writes a checkpoint before all have read it
    share = Share(fabric.global_rank, fabric.world_size, fabric.setup_module, fabric.backward)
    run_updates(state, data, config, fabric.device, out_dir, lambda *report: reports.put(report), share)


def _pass_on(reports: Any, progress: Progress | None) -> None:
    while (report := reports.get()) is not None:
        if progress is not None:
            progress(*report)
