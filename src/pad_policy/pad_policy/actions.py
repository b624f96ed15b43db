"""End-effector vectors and how a policy expresses its targets in them.

An EE vector of one arm is (10,): position 3 (m, task frame), first two columns of R 6, opening 1 (m); both
arms are (20,), left then right. All functions broadcast over leading axes.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pad_parse.geometry import from_rotation_6d, rotation_6d, rotation_exp
from pad_policy.config import ActionFrame

Array = NDArray[np.floating[Any]]

EE_SIZE = 20


def split(ee: Array) -> tuple[Array, Array, Array]:
    """Split EE vectors (..., 20) into positions (..., 2, 3), rotations (..., 2, 3, 3), openings (..., 2)."""
    arms = np.asarray(ee).reshape(*np.shape(ee)[:-1], 2, 10)
    return arms[..., :3], from_rotation_6d(arms[..., 3:9]), arms[..., 9]


def join(positions: Array, rotations: Array, openings: Array) -> Array:
    """Inverse of `split`: (..., 2, 3), (..., 2, 3, 3), (..., 2) -> (..., 20)."""
    arms = np.concatenate([positions, rotation_6d(rotations), openings[..., None]], axis=-1)
    return arms.reshape(*arms.shape[:-2], EE_SIZE)


def poses(ee: Array) -> Array:
    """TCP poses in the task frame (..., 2, 4, 4) of EE vectors (..., 20)."""
    positions, rotations, _ = split(ee)
    out = np.zeros((*positions.shape[:-1], 4, 4))
    out[..., :3, :3] = rotations
    out[..., :3, 3] = positions
    out[..., 3, 3] = 1.0
    return out


def from_poses(gripper_poses: Array, openings: Array) -> Array:
    """EE vectors (..., 20) of TCP poses in the task frame (..., 2, 4, 4) and openings (..., 2) in m."""
    return join(gripper_poses[..., :3, 3], gripper_poses[..., :3, :3], openings)


def encode(targets: Array, current: Array, frame: ActionFrame) -> Array:
    """Express targets (..., H, 20) relative to the measured EE `current` (..., 20) as `frame` says."""
    if frame == "absolute":
        return np.asarray(targets)
    position, rotation, opening = split(targets)
    base_position, base_rotation, _ = split(current)
    base_position, base_rotation = base_position[..., None, :, :], base_rotation[..., None, :, :, :]
    inverse = np.swapaxes(base_rotation, -1, -2)
    offset = position - base_position
    if frame == "delta":
        return join(offset, rotation @ inverse, opening)
    return join((inverse @ offset[..., None])[..., 0], inverse @ rotation, opening)


def decode(encoded: Array, current: Array, frame: ActionFrame) -> Array:
    """Inverse of `encode`; rotations come out orthonormal, whatever the network answered."""
    position, rotation, opening = split(encoded)
    if frame != "absolute":
        base_position, base_rotation, _ = split(current)
        base_position, base_rotation = base_position[..., None, :, :], base_rotation[..., None, :, :, :]
        if frame == "delta":
            position, rotation = base_position + position, rotation @ base_rotation
        else:
            position = base_position + (base_rotation @ position[..., None])[..., 0]
            rotation = base_rotation @ rotation
    return join(position, rotation, opening)


def perturb(ee: Array, position: Array, rotation: Array, opening: Array) -> Array:
    """Disturb EE vectors (..., 20) by offsets (..., 2, 3) m, rotation vectors (..., 2, 3) rad, (..., 2) m."""
    p, r, w = split(ee)
    return join(p + position, rotation_exp(rotation) @ r, np.maximum(w + opening, 0.0))


def displace(ee: Array, change: Array) -> Array:
    """EE vectors (..., 20) whose TCPs are moved by `change` (..., 2, 4, 4), given in each gripper's own frame."""
    return from_poses(poses(ee) @ change, split(ee)[2])
