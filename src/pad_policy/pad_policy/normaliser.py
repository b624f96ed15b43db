"""Affine normalisation of the network's inputs and outputs, fitted once on the dataset."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pad_policy.errors import BundleError

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Affine:
    """y = (x - mean) / scale over the last axes; mean and scale have the shape of what they normalise."""

    mean: Array
    scale: Array

    @classmethod
    def fit(cls, samples: NDArray[np.floating], smallest_scale: NDArray[np.floating] | float) -> "Affine":
        """Fit on samples (S, ...); `smallest_scale` keeps constant dimensions from blowing up noise."""
        mean = samples.mean(axis=0)
        scale = np.maximum(samples.std(axis=0), smallest_scale)
        return cls(mean.astype(np.float32), scale.astype(np.float32))

    def normalise(self, x: NDArray[np.floating]) -> Array:
        """Map raw values (..., *shape) to about zero mean and unit variance."""
        return ((x - self.mean) / self.scale).astype(np.float32)

    def restore(self, y: NDArray[np.floating]) -> NDArray[np.float64]:
        """Inverse of `normalise`."""
        return y.astype(np.float64) * self.scale + self.mean

    def to_json(self) -> dict[str, list]:
        """Plain lists for policy.json."""
        return {"mean": self.mean.tolist(), "scale": self.scale.tolist()}

    @classmethod
    def from_json(cls, data: dict) -> "Affine":
        """Read what `to_json` wrote."""
        mean, scale = np.asarray(data["mean"], np.float32), np.asarray(data["scale"], np.float32)
        if mean.shape != scale.shape or not np.all(scale > 0) or not np.all(np.isfinite(mean)):
            raise BundleError(f"normaliser is damaged: mean {mean.shape}, scale {scale.shape}; distil the policy again")
        return cls(mean, scale)


@dataclass(frozen=True)
class Normaliser:
    """keypoints: (N, 1, F), equal within a group; proprioception: (P,); actions: (H, 20), each step on its own."""

    keypoints: Affine
    proprioception: Affine
    actions: Affine

    def to_json(self) -> dict[str, dict]:
        """Plain data for policy.json."""
        return {name: getattr(self, name).to_json() for name in ("keypoints", "proprioception", "actions")}

    @classmethod
    def from_json(cls, data: dict) -> "Normaliser":
        """Read what `to_json` wrote."""
        try:
            return cls(**{k: Affine.from_json(data[k]) for k in ("keypoints", "proprioception", "actions")})
        except KeyError as error:
            raise BundleError(f"normaliser lacks {error}; distil the policy again") from error
