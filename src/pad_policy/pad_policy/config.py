"""Hyper-parameters of a policy and of its training, documented and checked against each other.

Horizons, drawn for history 3, horizon 8, execute 2 (one column is one policy step, 1 / rate_hz seconds)::

    step          t-2  t-1   t   t+1  t+2  t+3  t+4  t+5  t+6  t+7  t+8
    observed       o    o    o
    predicted                     a    a    a    a    a    a    a    a
    executed                      x    x    (then a new chunk takes over)
"""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pad_policy.errors import ConfigError

Size = Literal["tiny", "small", "base"]
NetworkName = Literal["kp_rdt", "mlp"]
ObjectiveName = Literal["flow_matching", "ddpm", "regression"]
ActionFrame = Literal["absolute", "delta", "gripper"]
KeypointFrames = Literal["task", "task_and_grippers"]

#: (width, layers, heads) of the network by name.
SIZES: dict[str, tuple[int, int, int]] = {"tiny": (64, 3, 4), "small": (128, 4, 4), "base": (256, 6, 8)}


class Horizons(BaseModel):
    """When the policy looks and how far it plans; stored in policy.json."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rate_hz: float = Field(5.0, gt=0, le=50, description="policy steps per second")
    history: int = Field(3, ge=1, le=16, description="To: observations per decision, newest included")
    horizon: int = Field(8, ge=1, le=64, description="H: predicted steps per chunk")
    execute: int = Field(2, ge=1, description="steps carried out before the next chunk is asked for")
    surprise: float = Field(
        0.015,
        ge=0,
        description="m; keypoints that have moved farther since the last chunk, while nothing is held, are moved by "
        "somebody: the arms stand until they rest, then ask for a chunk at once; 0: never",
    )

    @model_validator(mode="after")
    def _check(self) -> "Horizons":
        if self.execute > self.horizon:
            raise ValueError(f"execute ({self.execute}) must not exceed horizon ({self.horizon})")
        return self

    @property
    def period(self) -> float:
        """Seconds between two policy steps."""
        return 1.0 / self.rate_hz


class Representation(BaseModel):
    """What the numbers that enter and leave the network mean; stored in policy.json."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    action_frame: ActionFrame = Field(
        "delta",
        description="absolute: targets in the task frame; delta: position difference and rotation relative to "
        "the measured end effector, task axes; gripper: the target's pose in the measured gripper frame",
    )
    keypoint_frames: KeypointFrames = Field(
        "task_and_grippers",
        description="task: keypoints in the task frame only; task_and_grippers: also relative to both measured end "
        "effectors, which makes reaching alike wherever in the cell it happens",
    )
    proprioception_history: bool = Field(
        True, description="feed the end effectors of all `history` steps, so that waits and turning points differ"
    )


class ObservationNoise(BaseModel):
    """Errors put on training observations, like those of a tracker and of a lagging robot."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    keypoint_noise: float = Field(0.003, ge=0, description="m, standard deviation per point and step")
    keypoint_bias: float = Field(0.004, ge=0, description="m, standard deviation, one offset per object and sample")
    drop_probability: float = Field(0.05, ge=0, lt=1, description="chance that a point is lost in a step")
    lost_point_probability: float = Field(0.05, ge=0, lt=1, description="chance that a point is lost throughout")
    stale_probability: float = Field(0.1, ge=0, lt=1, description="chance that a sample's newest keypoints are old")
    position_noise: float = Field(0.004, ge=0, description="m, standard deviation of a free end effector's position")
    rotation_noise: float = Field(0.035, ge=0, description="rad, standard deviation per axis of its orientation")
    grasp_offset: float = Field(
        0.007, ge=0, description="m, standard deviation per axis of where in the gripper a held object sits"
    )
    grasp_turn: float = Field(
        0.07,
        ge=0,
        description="rad, standard deviation of its turn about the closing axis; a third about the other axes",
    )
    opening_noise: float = Field(0.002, ge=0, description="m, standard deviation of the gripper opening")


class TrainingConfig(BaseModel):
    """Everything `pad_policy.training.train` can be told."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    episodes: int | None = Field(
        None, ge=1, description="use only the dataset's first episodes, this many; without it all of them"
    )
    network: NetworkName = Field(
        "kp_rdt", description="kp_rdt: transformer over keypoint tokens; mlp: plain layers over all inputs flattened"
    )
    size: Size = Field(
        "tiny",
        description="tiny 64 x 3, small 128 x 4, base 256 x 6 (width x layers); an mlp is four times as wide",
    )
    objective: ObjectiveName = Field(
        "flow_matching",
        description="flow_matching, ddpm: generative; regression: the chunk directly, as in behaviour cloning",
    )
    denoising_steps: int = Field(
        4, ge=1, le=100, description="network evaluations per chunk; regression takes 1, which is its default"
    )
    horizons: Horizons = Horizons()
    representation: Representation = Representation()
    noise: ObservationNoise = ObservationNoise()
    updates: int = Field(4000, ge=1, description="optimiser steps; the budget is counted in updates, not time")
    batch_size: int = Field(64, ge=2, description="samples per update")
    optimiser: Literal["muon", "adamw"] = Field(
        "muon",
        description="muon: orthogonalised momentum for the blocks' matrices, AdamW for the rest; adamw: AdamW for all",
    )
    learning_rate: float = Field(3e-3, gt=0, description="peak rate of AdamW; cosine to zero after the warm-up")
    matrix_learning_rate: float = Field(0.02, gt=0, description="peak rate of Muon; the same schedule")
    warmup_updates: int = Field(50, ge=0, description="updates of linear warm-up; by default at most a tenth of all")
    weight_decay: float = Field(1e-4, ge=0, description="AdamW weight decay")
    gradient_clip: float = Field(1.0, gt=0, description="largest gradient norm")
    ema_decay: float = Field(0.995, ge=0, lt=1, description="decay of the averaged weights that are saved")
    held_out_fraction: float = Field(0.05, ge=0, le=0.5, description="episodes kept out for the action error")
    seed: int = Field(0, ge=0, description="decides initial weights, batches and noise")
    device: str = Field("cpu", description="torch device, e.g. cpu or cuda:0; taken as said, never replaced")
    devices: int = Field(
        1,
        ge=1,
        le=64,
        description="how many share each batch: GPUs, or processes on the cpu; needs lightning-fabric",
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="bfloat16: automatic mixed precision of the network, on CUDA only; weights stay float32"
    )
    threads: int = Field(
        1, ge=1, description="torch threads on the CPU; more than one gain little here and collapse on a busy machine"
    )
    checkpoint_every: int = Field(100, ge=1, description="updates between checkpoints, from which training goes on")
    tensorboard: bool = Field(False, description="write TensorBoard event files into the policy folder")
    held_out_every: int = Field(
        500, ge=1, description="updates between held-out action errors in the TensorBoard files"
    )

    @model_validator(mode="before")
    @classmethod
    def _defaults(cls, data: Any) -> Any:
        """Fill in the defaults that follow from other fields."""
        if not isinstance(data, dict):
            return data
        defaults: dict[str, int] = {}
        if data.get("objective") == "regression":
            defaults["denoising_steps"] = 1
        if str(data.get("updates", "")).isdecimal():
            defaults["warmup_updates"] = min(50, int(data["updates"]) // 10)
        return {**defaults, **data}

    @model_validator(mode="after")
    def _check(self) -> "TrainingConfig":
        if self.objective == "regression" and self.denoising_steps != 1:
            raise ValueError(
                f"objective regression answers in one evaluation, not in {self.denoising_steps}; "
                "leave denoising_steps out or choose flow_matching or ddpm"
            )
        if self.warmup_updates >= self.updates:
            raise ValueError(
                f"warmup_updates ({self.warmup_updates}) must be smaller than updates ({self.updates}); "
                "lower the warm-up or train longer"
            )
        if self.precision == "bfloat16" and not self.device.startswith("cuda"):
            raise ValueError(
                f"precision bfloat16 is for CUDA, the device is '{self.device}'; choose float32 or another device"
            )
        if self.devices > 1 and self.device not in ("cpu", "cuda"):
            raise ValueError(f"devices is {self.devices}: choose device cuda or cpu, not one of them ('{self.device}')")
        if self.batch_size % self.devices:
            raise ValueError(f"batch_size ({self.batch_size}) must be a multiple of devices ({self.devices})")
        return self

    @classmethod
    def from_assignments(cls, texts: Sequence[str], **options: Any) -> "TrainingConfig":
        """Build a config from texts `name=value` on top of options; `noise.keypoint_noise=0` reaches into a part."""
        for text in texts:
            name, equals, value = text.partition("=")
            if not equals:
                raise ConfigError(f"{text!r} is no NAME=VALUE; known names: {', '.join(cls.model_fields)}")
            *parts, last = name.strip().split(".")
            target = options
            for part in parts:
                target = target.setdefault(part, {})
                if not isinstance(target, dict):
                    raise ConfigError(f"{text!r}: '{part}' has no parts")
            target[last] = value.strip()
        return cls.from_options(**options)

    @classmethod
    def from_options(cls, **options: object) -> "TrainingConfig":
        """Build a config from loose options; an unknown or contradictory one is a `ConfigError` in one line."""
        try:
            return cls.model_validate(options)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "training options"
            known = f"; known: {', '.join(cls.model_fields)}" if first["type"] == "extra_forbidden" else ""
            raise ConfigError(f"{where}: {first['msg']}{known}") from error
