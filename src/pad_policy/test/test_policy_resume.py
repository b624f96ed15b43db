"""A training that is killed goes on as if it had not been; one of another kind is not gone on with by mistake."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import policy_toy
import pytest

from pad_policy.config import TrainingConfig
from pad_policy.errors import CheckpointError
from pad_policy.training import train
from pad_policy.training_state import CHECKPOINT

OPTIONS = {"updates": 36, "batch_size": 16, "warmup_updates": 5, "checkpoint_every": 4}
FILES = ("model.safetensors", "model.onnx", "losses.csv")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return policy_toy.write_dataset(tmp_path_factory.mktemp("data") / "toy.zarr", 6, seed=0)


def kill_after_a_checkpoint(dataset: Path, out: Path, config: TrainingConfig, delay: float) -> None:
    """Train in a process of its own and end it by SIGKILL `delay` s after it wrote a checkpoint."""
    checkpoint = out / CHECKPOINT
    before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0

    def wait_near_the_end(done: int, *_: object) -> None:
        while done >= OPTIONS["updates"] - 10:  # on a busy machine the killer may be late
            time.sleep(1)

    child = multiprocessing.get_context("fork").Process(
        target=train, args=(dataset, out, config, wait_near_the_end), kwargs={"notice": lambda line: None}
    )
    child.start()
    deadline = time.monotonic() + 60
    while not (checkpoint.exists() and checkpoint.stat().st_mtime_ns > before):
        assert child.is_alive() and time.monotonic() < deadline, "no checkpoint was written"
        time.sleep(0.002)
    time.sleep(delay)
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    assert child.exitcode == -signal.SIGKILL


def test_a_killed_training_ends_with_the_same_bytes(dataset: Path, tmp_path: Path) -> None:
    config = TrainingConfig(**OPTIONS)  # Muon for the blocks' matrices, AdamW for the rest
    whole = train(dataset, tmp_path / "whole", config)
    out = tmp_path / "killed"
    for delay in (0.02, 0.0):
        kill_after_a_checkpoint(dataset, out, config, delay)
    assert not (out / "policy.json").exists()
    notices: list[str] = []
    train(dataset, out, config, notice=notices.append)
    (resumed,) = (line for line in notices if line.startswith("going on after update"))
    assert int(resumed.split()[4]) >= 2 * OPTIONS["checkpoint_every"]
    for name in FILES:
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name
    assert not (out / CHECKPOINT).exists()


def interrupted(dataset: Path, out: Path, config: TrainingConfig, at: int) -> Path:
    """A policy folder whose training was left at update `at`."""

    def stop(done: int, *_: object) -> None:
        if done >= at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(dataset, out, config, stop, notice=lambda line: None)
    return out / CHECKPOINT


def test_what_was_half_written_does_not_count(dataset: Path, tmp_path: Path) -> None:
    config = TrainingConfig(**OPTIONS)
    checkpoint = interrupted(dataset, tmp_path / "policy", config, 10)
    half = checkpoint.with_name(f".{CHECKPOINT}.1234.tmp")
    half.write_bytes(checkpoint.read_bytes()[:1000])
    interrupted(dataset, tmp_path / "policy", config, 20)
    assert not half.exists()


def test_another_training_is_not_gone_on_with(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "policy"
    config = TrainingConfig(**OPTIONS)
    checkpoint = interrupted(dataset, out, config, 10)
    with pytest.raises(CheckpointError, match=r"unfinished training of another kind \(updates 36, now 37\)"):
        train(dataset, out, TrainingConfig(**{**OPTIONS, "updates": 37}))
    other = policy_toy.write_dataset(tmp_path / "other.zarr", 6, seed=1)
    with pytest.raises(CheckpointError, match=r"dataset\.sha256"):
        train(other, out, config)
    checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=f"{CHECKPOINT}: damaged"):
        train(dataset, out, config)
    short = {**OPTIONS, "updates": 8}
    train(other, out, TrainingConfig(**short), overwrite=True)
    assert len(np.loadtxt(out / "losses.csv", delimiter=",", skiprows=1)) == 8


def test_two_trainings_do_not_share_a_folder(dataset: Path, tmp_path: Path) -> None:
    out, config = tmp_path / "policy", TrainingConfig(**OPTIONS)

    def meanwhile(done: int, *_: object) -> None:
        if done == 1:
            with pytest.raises(CheckpointError, match="another process trains into"):
                train(dataset, out, config)

    train(dataset, out, config, meanwhile)
    train(dataset, out, config)


def test_reporting_may_change_between_the_parts(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "policy"
    interrupted(dataset, out, TrainingConfig(**OPTIONS), 10)
    notices: list[str] = []
    interrupted(dataset, out, TrainingConfig(**{**OPTIONS, "checkpoint_every": 5}), 20)
    train(dataset, out, TrainingConfig(**{**OPTIONS, "checkpoint_every": 50}), notice=notices.append)
    assert any(line.startswith("going on after update 20 of 36") for line in notices)
