"""From raw observations to the network's inputs: one code path for training and inference."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pad_policy.actions import split
from pad_policy.config import Horizons, Representation

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class InputLayout:
    """Sizes of the network's inputs.

    keypoints: N tokens; history: To steps each; features: numbers per point and step (3 or 9);
    proprioception: numbers of the proprioception token (20 or To x 20); horizon: H; groups: number of groups.
    """

    keypoints: int
    history: int
    features: int
    proprioception: int
    horizon: int
    groups: int

    @classmethod
    def of(cls, horizons: Horizons, representation: Representation, keypoints: int, groups: int) -> "InputLayout":
        """Work the sizes out from what the policy looks at."""
        return cls(
            keypoints=keypoints,
            history=horizons.history,
            features=3 if representation.keypoint_frames == "task" else 9,
            proprioception=20 * (horizons.history if representation.proprioception_history else 1),
            horizon=horizons.horizon,
            groups=groups,
        )


def keypoint_features(points: Array, ee: Array, representation: Representation) -> Array:
    """Describe keypoints to the network.

    points: (B, To, N, 3) m, task frame, oldest step first. ee: (B, To, 20). Returns (B, N, To, F): the task-frame
    coordinates and, if asked for, the same points relative to the newest left and right end effector, in the axes
    in which the policy's actions are expressed: the way to a point and the action that goes there then look alike.
    """
    parts = [points]
    if representation.keypoint_frames == "task_and_grippers":
        position, rotation, _ = split(ee[:, -1])
        for arm in range(2):
            offset = points - position[:, None, None, arm]
            if representation.action_frame == "gripper":
                offset = offset @ rotation[:, None, arm]  # each row x becomes R^T x
            parts.append(offset)
    return np.concatenate(parts, axis=-1).transpose(0, 2, 1, 3)


def proprioception(ee: Array, representation: Representation) -> Array:
    """Flatten the EE history (B, To, 20) to the proprioception token's input (B, P)."""
    return ee.reshape(len(ee), -1) if representation.proprioception_history else ee[:, -1]
