"""Everything that training changes, written to one file from which it goes on as if it had never stopped."""

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from pad_policy.bundle import write_atomically
from pad_policy.config import TrainingConfig
from pad_policy.errors import CheckpointError
from pad_policy.model import PolicyNetwork, make_network
from pad_policy.muon import Muon
from pad_policy.training_data import TrainingData

#: In the policy folder while training is unfinished.
CHECKPOINT = "checkpoint.safetensors"

#: Fields that do not touch the weights, so that they may change between the parts of a training.
_FREE_FIELDS = {"checkpoint_every", "held_out_every", "tensorboard"}


@dataclass
class TrainingState:
    """One training under way.

    averaged: the same network with the averaged weights. order: steps of the current pass that are still to be seen.
    losses (updates,), filled up to `update`, the number of finished updates. seconds, cpu_seconds: spent so far.
    """

    model: PolicyNetwork
    averaged: PolicyNetwork
    optimisers: list[torch.optim.Optimizer]
    rng: np.random.Generator
    order: NDArray[np.int64]
    losses: NDArray[np.float64]
    update: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    @classmethod
    def start(cls, data: TrainingData, config: TrainingConfig, device: torch.device) -> "TrainingState":
        """The state before the first update."""
        with torch.random.fork_rng(devices=[]):  # initial weights come from torch's generator; leave it untouched
            torch.manual_seed(config.seed)
            model = make_network(config.network, data.layout, config.size, data.episodes.group_indices).to(device)
        averaged = copy.deepcopy(model).requires_grad_(False)
        return cls(
            model=model,
            averaged=averaged,
            optimisers=_optimisers(model, config),
            rng=copy.deepcopy(data.rng),
            order=np.empty(0, np.int64),
            losses=np.zeros(config.updates),
        )

    def save(self, path: Path, fingerprint: Mapping[str, Any]) -> None:
        """Write the state at once or not at all; `fingerprint` says what it was trained on and how."""
        tensors = {"order": torch.from_numpy(self.order), "losses": torch.from_numpy(self.losses)}
        for part, network in (("model", self.model), ("averaged", self.averaged)):
            tensors |= {f"{part}.{name}": parameter.detach() for name, parameter in network.named_parameters()}
        for number, optimiser in enumerate(self.optimisers):
            for index, entries in optimiser.state_dict()["state"].items():
                tensors |= {f"optimiser.{number}.{index}.{name}": value for name, value in entries.items()}
        words = {
            "fingerprint": fingerprint,
            "update": self.update,
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
            "rng": self.rng.bit_generator.state,
        }
        content = save({k: v.cpu().contiguous() for k, v in tensors.items()}, {"state": json.dumps(words)})
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in path.parent.glob(f".{path.name}.*.tmp"):  # of a process that was killed while it wrote
            left.unlink(missing_ok=True)
        write_atomically(path, content)

    def restore(self, path: Path, fingerprint: Mapping[str, Any]) -> None:
        """Go on from a file of `save`; `CheckpointError` if it is damaged or tells of another training."""
        try:
            with safe_open(str(path), "pt") as file:
                words = json.loads((file.metadata() or {})["state"])
                # Cloned: a tensor of the file lies anywhere in memory, and results depend on the alignment.
                tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
            differences = _differences(words["fingerprint"], json.loads(json.dumps(fingerprint)))
            if differences:
                raise CheckpointError(
                    f"{path.parent} holds an unfinished training of another kind ({'; '.join(differences)}); go on "
                    "with it by the options and the dataset it was begun with, choose another folder, or overwrite it"
                )
            self._fill(words, tensors)
        except (SafetensorError, json.JSONDecodeError, KeyError, RuntimeError, ValueError, OSError) as error:
            raise CheckpointError(
                f"{path}: damaged ({str(error).splitlines()[0]}); overwrite it or choose another folder"
            ) from error

    def _fill(self, words: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
        with torch.no_grad():
            for part, network in (("model", self.model), ("averaged", self.averaged)):
                for name, parameter in network.named_parameters():
                    parameter.copy_(tensors[f"{part}.{name}"])
        for number, optimiser in enumerate(self.optimisers):
            state: dict[int, dict[str, torch.Tensor]] = {}
            for key, value in tensors.items():
                parts = key.split(".")
                if parts[:2] == ["optimiser", str(number)]:
                    state.setdefault(int(parts[2]), {})[parts[3]] = value
            optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
        self.order = tensors["order"].numpy()
        self.losses = tensors["losses"].numpy()
        self.rng.bit_generator.state = words["rng"]
        self.update = int(words["update"])
        self.seconds, self.cpu_seconds = float(words["seconds"]), float(words["cpu_seconds"])


def make_fingerprint(data: TrainingData, config: TrainingConfig) -> dict[str, Any]:
    """What decides the weights: the dataset, the config and torch's version."""
    options = config.model_dump(mode="json", exclude=_FREE_FIELDS)
    return {"dataset": data.fingerprint(), "config": options, "torch": str(torch.__version__)}


def _differences(before: Any, now: Any, name: str = "") -> list[str]:
    """Say where two fingerprints differ: `noise.drop_probability 0.05, now 0.1`."""
    if isinstance(before, dict) and isinstance(now, dict):
        found = []
        for key in sorted(before.keys() | now.keys()):
            inner = f"{name}.{key}" if name and name != "config" else key
            found += _differences(before.get(key), now.get(key), inner)
        return found
    if before == now:
        return []
    return [name if isinstance(before, list) else f"{name} {str(before)[:12]}, now {str(now)[:12]}"]


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
