"""Several devices make the steps that one would make with the whole batch; they go on after a kill as well."""

import sys
from pathlib import Path

import numpy as np
import policy_toy
import pytest
from safetensors.numpy import load_file

from pad_policy.config import ObservationNoise, TrainingConfig
from pad_policy.errors import ConfigError
from pad_policy.training import train

#: Without noise, and by regression, the only chance is in the order of the steps, which all share.
OPTIONS = {
    "updates": 20,
    "batch_size": 16,
    "warmup_updates": 5,
    "checkpoint_every": 5,
    "objective": "regression",
    "denoising_steps": 1,
    "learning_rate": 3e-4,
    "optimiser": "adamw",
    "noise": ObservationNoise(**dict.fromkeys(ObservationNoise.model_fields, 0.0)),
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return policy_toy.write_dataset(tmp_path_factory.mktemp("data") / "toy.zarr", 8, seed=0)


def test_two_processes_make_the_steps_of_one(dataset: Path, tmp_path: Path) -> None:
    pytest.importorskip("lightning_fabric", reason="lightning-fabric, an optional extra, is not installed")
    quiet = {"notice": lambda line: None}
    one = train(dataset, tmp_path / "one", TrainingConfig(**OPTIONS), **quiet)
    config = TrainingConfig(**OPTIONS, devices=2)
    reports: list[tuple] = []
    two = train(dataset, tmp_path / "two", config, lambda *report: reports.append(report), **quiet)
    assert [report[0] for report in reports] == [10, 20]
    losses = [np.loadtxt(folder / "losses.csv", delimiter=",", skiprows=1)[:, 1] for folder in (one, two)]
    assert losses[1][-1] < losses[1][0]
    weights = [load_file(folder / "model.safetensors") for folder in (one, two)]
    for name, values in weights[0].items():
        np.testing.assert_allclose(weights[1][name], values, atol=2e-4, err_msg=name)


def test_without_fabric_the_error_says_what_to_do(dataset: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    with pytest.raises(ConfigError, match="pip install lightning-fabric"):
        train(dataset, tmp_path / "policy", TrainingConfig(**OPTIONS, devices=2), notice=lambda line: None)
    assert not (tmp_path / "policy").exists()
