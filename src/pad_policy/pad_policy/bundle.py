"""The policy folder: `model.safetensors`, `model.onnx`, `policy.json`. No pickle anywhere."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from pad_parse.task import TaskSpec
from pad_policy.config import Horizons, NetworkName, ObjectiveName, Representation, Size
from pad_policy.errors import BundleError, MismatchError
from pad_policy.normaliser import Normaliser
from pad_policy.observation import InputLayout

SCHEMA_VERSION = 1
MANIFEST, WEIGHTS, NETWORK, LOSSES = "policy.json", "model.safetensors", "model.onnx", "losses.csv"


class HeldOutActionError(BaseModel):
    """How far predicted actions are from those of demonstrations kept out of training. It is not success.

    Means over steps, arms and chunks; position_p95_m is the 95th percentile, first_step_position_m of step 1 only.
    """

    model_config = ConfigDict(extra="forbid")

    note: str = "error of predicted actions, not success: `pad evaluate` measures success"
    episodes: int
    position_m: float
    position_p95_m: float
    first_step_position_m: float
    opening_m: float

    def values(self) -> dict[str, float]:
        """The errors by name, m."""
        return self.model_dump(exclude={"note", "episodes"})


class DataFinding(BaseModel):
    """A way in which the dataset and the config do not fit; `check` names one of `pad_policy.data_checks`."""

    model_config = ConfigDict(extra="forbid")

    check: str
    message: str


class Manifest(BaseModel):
    """Contents of policy.json: everything a node needs beside the network."""

    model_config = ConfigDict(extra="forbid")

    schema_version: int = SCHEMA_VERSION
    code_version: str
    task: dict[str, Any]
    keypoint_names: list[str]
    keypoint_groups: list[str]
    robot: str
    network: NetworkName = "kp_rdt"
    size: Size
    objective: ObjectiveName
    denoising_steps: int
    horizons: Horizons
    representation: Representation
    normaliser: dict[str, dict[str, list]]
    training: dict[str, Any]
    dataset: dict[str, Any]
    measures: dict[str, float]
    held_out_action_error: HeldOutActionError | None = None
    data_checks: list[DataFinding] = []
    start_ee: list[float]


class PolicyBundle:
    """A policy folder that was read and checked."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest
        self.normaliser = Normaliser.from_json(manifest.normaliser)
        self.task = TaskSpec.model_validate(manifest.task)

    @classmethod
    def load(cls, folder: Path) -> "PolicyBundle":
        """Read a policy folder; `BundleError` names the file that is missing or wrong."""
        folder = Path(folder)
        if not folder.is_dir():
            raise BundleError(f"{folder}: no such policy folder; make one with `pad distill`")
        for name in (MANIFEST, NETWORK):
            if not (folder / name).is_file():
                raise BundleError(f"{folder}: {name} is missing; distil the policy again")
        try:
            data = json.loads((folder / MANIFEST).read_text())
            version = data.get("schema_version") if isinstance(data, dict) else None
            if version != SCHEMA_VERSION:
                raise BundleError(
                    f"{folder / MANIFEST}: schema version {version}, this code reads {SCHEMA_VERSION}; "
                    "distil the policy again"
                )
            return cls(folder, Manifest.model_validate(data))
        except (json.JSONDecodeError, ValidationError) as error:
            raise BundleError(f"{folder / MANIFEST}: damaged: {str(error).splitlines()[0]}") from error

    @property
    def group_names(self) -> list[str]:
        """Keypoint groups in the network's order."""
        return list(dict.fromkeys(self.manifest.keypoint_groups))

    @property
    def group_indices(self) -> list[int]:
        """Each point's index into `group_names`."""
        return [self.group_names.index(group) for group in self.manifest.keypoint_groups]

    @property
    def layout(self) -> InputLayout:
        """Sizes of the network's inputs."""
        manifest = self.manifest
        return InputLayout.of(
            manifest.horizons, manifest.representation, len(manifest.keypoint_groups), len(self.group_names)
        )

    def check_matches(
        self, *, task: str | None = None, keypoint_groups: list[str] | None = None, robot: str | None = None
    ) -> None:
        """Raise `MismatchError` unless the policy was made for this task, these groups and this robot."""
        if task is not None and task != self.task.name:
            raise MismatchError(
                f"policy {self.folder} was distilled for task '{self.task.name}', but task '{task}' is running; "
                f"give the policy of '{task}' or run '{self.task.name}'"
            )
        mine = self.manifest.keypoint_groups
        if keypoint_groups is not None and list(keypoint_groups) != mine:
            raise MismatchError(
                f"policy {self.folder} expects keypoint groups {_counted(mine)}, but got "
                f"{_counted(keypoint_groups)}; run the tracker on the demonstration the policy was made from"
            )
        if robot is not None and self.manifest.robot and robot != self.manifest.robot:
            raise MismatchError(
                f"policy {self.folder} was distilled for robot '{self.manifest.robot}', but robot '{robot}' is "
                "running; generate a dataset and distil for that robot"
            )


def _counted(groups: list[str]) -> str:
    return ", ".join(f"{name} x{list(groups).count(name)}" for name in dict.fromkeys(groups)) or "none"


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old one or the new one, never a half, even after a power cut."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def write_losses(path: Path, losses: np.ndarray) -> None:
    """Write the losses (U,) as CSV of (update, loss)."""
    lines = [f"{update},{loss:.6f}" for update, loss in enumerate(losses)]
    write_atomically(path, ("\n".join(["update,loss", *lines]) + "\n").encode())
