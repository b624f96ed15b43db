"""What training needs of a dataset: which steps teach, which are kept out, and the normaliser fitted on them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pad_policy.config import TrainingConfig
from pad_policy.errors import DatasetError
from pad_policy.normaliser import Affine, Normaliser
from pad_policy.observation import InputLayout
from pad_policy.samples import Batch, Episodes, SampleCutter

#: Smallest scales: positions 2 cm, rotation-matrix entries 0.1, openings 1 cm.
_SMALLEST_EE_SCALE = np.tile(np.array([0.02] * 3 + [0.1] * 6 + [0.01]), 2)
_SMALLEST_DELTA_SCALE = np.tile(np.array([0.005] * 3 + [0.03] * 6 + [0.01]), 2)


@dataclass(frozen=True)
class TrainingData:
    """A dataset divided by episodes; steps are indices into it.

    rng: the generator as it stands after the division and the fit; training draws on from there.
    """

    episodes: Episodes
    cutter: SampleCutter
    training_steps: NDArray[np.int64]
    held_out_steps: NDArray[np.int64]
    normaliser: Normaliser
    layout: InputLayout
    rng: np.random.Generator

    @classmethod
    def prepare(cls, dataset_path: Path, config: TrainingConfig) -> "TrainingData":
        """Read a dataset and divide it; `DatasetError` says why it cannot teach what the config asks for."""
        episodes = Episodes.load(dataset_path)
        if config.episodes is not None:
            episodes = episodes.first(config.episodes)
        rng = np.random.default_rng(config.seed)
        cutter = SampleCutter(episodes, config.horizons, config.representation)
        training_steps, held_out_steps = _divide(cutter, config, rng)
        return cls(
            episodes=episodes,
            cutter=cutter,
            training_steps=training_steps,
            held_out_steps=held_out_steps,
            normaliser=_fit_normaliser(cutter, training_steps, config, rng),
            layout=InputLayout.of(
                config.horizons, config.representation, len(episodes.keypoint_groups), len(episodes.group_names)
            ),
            rng=rng,
        )

    def fingerprint(self) -> dict[str, Any]:
        """Tells this dataset from others, as plain data."""
        episodes = self.episodes
        return {
            "sha256": episodes.content_hash,
            "rate_hz": episodes.rate_hz,
            "keypoint_groups": episodes.keypoint_groups,
            "object_indices": episodes.object_indices.tolist(),
        }

    def tensors(self, batch: Batch, device: torch.device) -> list[torch.Tensor]:
        """Normalised keypoints, valid, proprioception and actions of a batch on the device."""
        arrays = (
            self.normaliser.keypoints.normalise(batch.keypoints),
            batch.valid,
            self.normaliser.proprioception.normalise(batch.proprioception),
            self.normaliser.actions.normalise(batch.actions),
        )
        return [torch.from_numpy(np.ascontiguousarray(x)).to(device, non_blocking=True) for x in arrays]


def _divide(
    cutter: SampleCutter, config: TrainingConfig, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
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
    return training, steps[is_held_out]


def _fit_normaliser(
    cutter: SampleCutter, steps: NDArray[np.int64], config: TrainingConfig, rng: np.random.Generator
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
