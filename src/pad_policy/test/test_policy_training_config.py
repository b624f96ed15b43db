"""Every hyper-parameter changes what it says; the README tells the same as the code."""

import hashlib
import re
import struct
from pathlib import Path

import numpy as np
import policy_toy
import pytest
from pydantic import BaseModel

from pad_policy.bundle import LOSSES, MANIFEST, NETWORK, WEIGHTS
from pad_policy.config import TrainingConfig
from pad_policy.data_checks import DATA_CHECKS
from pad_policy.errors import ConfigError
from pad_policy.objective import make_objective
from pad_policy.training import train
from pad_policy.training_log import FOLDER
from pad_policy.training_state import CHECKPOINT

README = Path(__file__).parents[1] / "README.md"
BASE = {"updates": 4, "batch_size": 8, "warmup_updates": 2}

#: A change of every field, dotted into its parts, that must change the trained weights.
CHANGES: dict[str, object] = {
    "episodes": 8,
    "network": "mlp",
    "size": "small",
    "objective": "ddpm",
    "horizons.rate_hz": 2.0,
    "horizons.history": 2,
    "horizons.horizon": 6,
    "representation.action_frame": "absolute",
    "representation.keypoint_frames": "task",
    "representation.proprioception_history": False,
    "noise.keypoint_noise": 0.0,
    "noise.keypoint_bias": 0.0,
    "noise.drop_probability": 0.5,
    "noise.lost_point_probability": 0.5,
    "noise.stale_probability": 0.9,
    "noise.position_noise": 0.0,
    "noise.rotation_noise": 0.0,
    "noise.grasp_offset": 0.0,
    "noise.grasp_turn": 0.0,
    "noise.opening_noise": 0.0,
    "updates": 5,
    "batch_size": 9,
    "optimiser": "adamw",
    "learning_rate": 1e-3,
    "matrix_learning_rate": 0.01,
    "warmup_updates": 3,
    "weight_decay": 0.5,
    "gradient_clip": 0.01,
    "ema_decay": 0.0,
    "held_out_fraction": 0.3,
    "seed": 1,
}

#: Fields that do not touch the weights: what they do change is tested by name.
ELSEWHERE = {
    "horizons.execute": "the runner asks for a chunk every `execute` steps: test_policy_rollout",
    "horizons.surprise": "how far an object moves by itself before the runner plans anew: test_policy_rollout",
    "denoising_steps": "test_denoising_steps_are_network_evaluations",
    "device": "test_unsuitable_datasets_are_refused",
    "devices": "test_policy_devices",
    "precision": "test_options_are_checked",
    "threads": "the machine's cores only",
    "checkpoint_every": "test_policy_resume",
    "tensorboard": "test_event_files_tell_the_training",
    "held_out_every": "test_event_files_tell_the_training",
}


def fields(model: type[BaseModel], prefix: str = "") -> dict[str, object]:
    """Leaf fields of a config by dotted name."""
    found: dict[str, object] = {}
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            found |= fields(inner, f"{prefix}{name}.")
        else:
            found[prefix + name] = field
    return found


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return policy_toy.write_dataset(tmp_path_factory.mktemp("data") / "toy.zarr", 10, seed=0)


@pytest.fixture(scope="module")
def quick_train(dataset: Path, tmp_path_factory: pytest.TempPathFactory):
    """Train with options changed and return a hash of the weights; without the export, which decides nothing here."""

    def run(**changes: object) -> str:
        texts = [f"{name}={value}" for name, value in changes.items()]
        config = TrainingConfig.from_assignments(texts, **BASE)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("pad_policy.training.export", lambda network, path: 0.0)
            folder = train(dataset, tmp_path_factory.mktemp("policy"), config, notice=lambda line: None)
        return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()

    return run


@pytest.fixture(scope="module")
def base_weights(quick_train) -> str:
    return quick_train()


def test_every_field_is_accounted_for() -> None:
    assert set(CHANGES) | set(ELSEWHERE) == set(fields(TrainingConfig))
    assert not set(CHANGES) & set(ELSEWHERE)


@pytest.mark.parametrize("name", CHANGES)
def test_every_hyper_parameter_changes_the_weights(quick_train, base_weights: str, name: str) -> None:
    assert quick_train(**{name: CHANGES[name]}) != base_weights


@pytest.mark.parametrize(("name", "evaluations"), [("flow_matching", 3), ("ddpm", 3), ("regression", 1)])
def test_denoising_steps_are_network_evaluations(name: str, evaluations: int) -> None:
    calls: list[float] = []

    def network(noisy: np.ndarray, times: np.ndarray) -> np.ndarray:
        calls.append(float(times[0]))
        return noisy

    make_objective(name).sample(network, np.ones((1, 8, 20), np.float32), 3)
    assert len(calls) == evaluations


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Read event files: records of length, its checksum, an event, its checksum."""
    from tensorboardX.proto.event_pb2 import Event

    found: dict[str, list[tuple[int, float]]] = {}
    for path in sorted(folder.iterdir()):
        content, at = path.read_bytes(), 0
        while at < len(content):
            (length,) = struct.unpack_from("<Q", content, at)
            event = Event.FromString(content[at + 12 : at + 12 + length])
            at += 16 + length
            for value in event.summary.value:
                found.setdefault(value.tag, []).append((event.step, value.simple_value))
    return found


def test_event_files_tell_the_training(dataset: Path, tmp_path: Path) -> None:
    config = TrainingConfig(
        updates=30, batch_size=8, warmup_updates=10, held_out_fraction=0.2, tensorboard=True, held_out_every=12
    )
    folder = train(dataset, tmp_path / "policy", config, notice=lambda line: None)
    found = scalars(folder / "tensorboard")
    losses = np.loadtxt(folder / "losses.csv", delimiter=",", skiprows=1)[:, 1]
    np.testing.assert_allclose(found["loss"], [(u, losses[u - 1]) for u in (10, 20, 30)], atol=1e-5)
    for name, peak in (("adamw", config.learning_rate), ("muon", config.matrix_learning_rate)):
        rates = found[f"learning_rate/{name}"]
        assert rates[0][1] == pytest.approx(peak) and rates[0][1] > rates[1][1] > rates[2][1] > 0
    assert all(norm > 0 for _, norm in found["gradient_norm"])
    held_out = found["held_out_action_error_not_success/position_m"]
    assert [update for update, _ in held_out] == [12, 24] and all(value > 0 for _, value in held_out)
    plain = train(
        dataset, tmp_path / "plain", config.model_copy(update={"tensorboard": False}), notice=lambda line: None
    )
    assert not (plain / "tensorboard").exists()
    assert (plain / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()


def test_without_tensorboardx_the_error_says_what_to_do(dataset: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tensorboardX", None)
    with pytest.raises(ConfigError, match="pip install tensorboardX"):
        train(dataset, tmp_path, TrainingConfig(**BASE, tensorboard=True), notice=lambda line: None)


def hyper_parameter_rows() -> list[str]:
    """The rows that the README's table must have."""
    return [
        f"| `{name}` | {'all' if field.default is None else field.default} | {field.description} |"
        for name, field in fields(TrainingConfig).items()
    ]


def test_the_readme_lists_every_hyper_parameter_in_the_words_of_the_code() -> None:
    section = README.read_text().split("### Hyper-parameters")[1].split("###")[0]
    rows = re.findall(r"^\| `[a-z_.]+` \| .+ \|$", section, re.MULTILINE)
    assert rows == hyper_parameter_rows()


def test_the_readme_lists_every_data_check_and_every_file() -> None:
    text = README.read_text()
    for name in [check.name for check in DATA_CHECKS] + [MANIFEST, WEIGHTS, NETWORK, LOSSES, CHECKPOINT, FOLDER]:
        assert f"`{name}" in text, name
