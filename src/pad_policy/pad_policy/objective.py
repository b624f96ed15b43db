"""Objectives: what the network is taught and how its answers become a chunk.

Written with plain arithmetic, so that the same lines serve torch tensors in training and numpy arrays in a node.
Time s runs from 0 (noise) to 1 (data) for flow matching and is the diffusion level in [0, 1] for DDPM.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pad_policy.errors import ConfigError

Array = NDArray[np.float32]
Network = Callable[[Array, Array], Array]


class Objective(Protocol):
    """A way to teach and to sample."""

    def draw_times(self, count: int, rng: np.random.Generator) -> Array:
        """Training times (count,) in [0, 1]."""

    def corrupt(self, clean: Any, noise: Any, times: Array) -> tuple[Any, Any]:
        """Network input and target, both like `clean` (B, H, D), at `times` (B,)."""

    def sample(self, network: Network, noise: Array, steps: int) -> Array:
        """Turn noise (B, H, D) into chunks with `steps` evaluations of network(x, times (B,))."""


def _like(values: Array, reference: Any) -> Any:
    """Shape (B,) values for broadcasting over (B, H, D), as the same kind of array as `reference`."""
    values = np.asarray(values, np.float32)[:, None, None]
    return values if isinstance(reference, np.ndarray) else reference.new_tensor(values)


class FlowMatching:
    """Straight paths from noise to data, sampled with Euler steps.

    The network answers the clean chunk c, which stands for the velocity (c - x) / (1 - s). A small network learns
    that many times faster than the velocity itself, which would have it reproduce the noise exactly.
    """

    def draw_times(self, count: int, rng: np.random.Generator) -> Array:
        """Uniform; the last Euler step starts well before 1, so times near 1 need no training."""
        return (0.95 * rng.random(count)).astype(np.float32)

    def corrupt(self, clean: Any, noise: Any, times: Array) -> tuple[Any, Any]:
        """x_s = (1 - s) noise + s clean; target clean."""
        s = _like(times, clean)
        return (1 - s) * noise + s * clean, clean

    def sample(self, network: Network, noise: Array, steps: int) -> Array:
        """Euler integration over s = 0, 1/steps, ...; the last step lands on the network's own answer."""
        x = noise
        for k in range(steps):
            clean = network(x, np.full(len(x), k / steps, np.float32))
            x = x + (clean - x) / np.float32(steps - k)
        return x


class Ddpm:
    """Diffusion with a cosine schedule; the network answers the clean chunk; sampled with DDIM steps."""

    def _levels(self, times: Any) -> tuple[Any, Any]:
        angle = np.clip(np.asarray(times, np.float32), 0.0, 0.999) * np.pi / 2
        return np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)

    def draw_times(self, count: int, rng: np.random.Generator) -> Array:
        """Uniform noise levels."""
        return rng.random(count, dtype=np.float32)

    def corrupt(self, clean: Any, noise: Any, times: Array) -> tuple[Any, Any]:
        """x = cos(s pi/2) clean + sin(s pi/2) noise; target clean."""
        signal, spread = self._levels(times)
        return _like(signal, clean) * clean + _like(spread, clean) * noise, clean

    def sample(self, network: Network, noise: Array, steps: int) -> Array:
        """Deterministic DDIM from level 1 to 0."""
        x = noise
        levels = np.linspace(1.0, 0.0, steps + 1)
        for level, following in pairwise(levels):
            clean = network(x, np.full(len(x), level, np.float32))
            signal, spread = self._levels(level)
            next_signal, next_spread = self._levels(following)
            x = next_signal * clean + next_spread * (x - signal * clean) / spread
        return x.astype(np.float32)


class Regression:
    """Behaviour cloning: the network answers the chunk from the observation alone, in one evaluation."""

    def draw_times(self, count: int, rng: np.random.Generator) -> Array:
        """There is only one time, 0."""
        return np.zeros(count, np.float32)

    def corrupt(self, clean: Any, noise: Any, times: Array) -> tuple[Any, Any]:
        """Input 0, target clean."""
        return 0.0 * clean, clean

    def sample(self, network: Network, noise: Array, steps: int) -> Array:
        """The network's answer; neither the noise nor more steps could change it."""
        return network(np.zeros_like(noise), np.zeros(len(noise), np.float32))


OBJECTIVES: dict[str, type[FlowMatching] | type[Ddpm] | type[Regression]] = {
    "flow_matching": FlowMatching,
    "ddpm": Ddpm,
    "regression": Regression,
}


def make_objective(name: str) -> Objective:
    """Return the objective called `name`, or raise `ConfigError` listing the known ones."""
    if name not in OBJECTIVES:
        raise ConfigError(f"unknown objective '{name}'; choose one of {', '.join(OBJECTIVES)}")
    return OBJECTIVES[name]()
