"""Error of predicted actions on demonstrations that were kept out of training."""

import numpy as np
import torch

from pad_policy.actions import decode
from pad_policy.bundle import HeldOutActionError
from pad_policy.config import TrainingConfig
from pad_policy.model import PolicyNetwork
from pad_policy.objective import make_objective
from pad_policy.training_data import TrainingData


def held_out_error(
    network: PolicyNetwork, data: TrainingData, config: TrainingConfig, device: torch.device, samples: int = 1024
) -> HeldOutActionError | None:
    """Error of sampled chunks on held-out episodes without noise; None if no episode is held out.

    It is not success: closed loop decides that.
    """
    if len(data.held_out_steps) == 0:
        return None
    rng = np.random.default_rng(config.seed)
    chosen = rng.choice(data.held_out_steps, size=min(len(data.held_out_steps), samples), replace=False)
    batch = data.cutter.cut(chosen, None, None)
    keypoints, valid, proprioception, _ = data.tensors(batch, device)

    def answer(noisy: np.ndarray, times: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            arguments = (torch.from_numpy(noisy).to(device), torch.from_numpy(times).to(device))
            return network(keypoints, valid, proprioception, *arguments).cpu().numpy()

    noise = rng.standard_normal(batch.actions.shape, dtype=np.float32)
    sampled = make_objective(config.objective).sample(answer, noise, config.denoising_steps)
    current = data.episodes.ee[chosen].astype(np.float64)
    frame = config.representation.action_frame
    got = decode(data.normaliser.actions.restore(sampled), current, frame)
    offset = (got - decode(batch.actions, current, frame)).reshape(*got.shape[:2], 2, 10)
    distance = np.linalg.norm(offset[..., :3], axis=-1)
    return HeldOutActionError(
        episodes=len(np.unique(data.cutter.episode_of_step[data.held_out_steps])),
        position_m=float(distance.mean()),
        position_p95_m=float(np.percentile(distance, 95)),
        first_step_position_m=float(distance[:, 0].mean()),
        opening_m=float(np.abs(offset[..., 9]).mean()),
    )
