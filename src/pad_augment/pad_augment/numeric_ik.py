"""Inverse kinematics of an arm with six joints and no closed form: damped Newton steps along many paths at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from pad_parse import geometry

FloatArray = NDArray[np.float64]

TOLERANCE = 1e-6
"""m and rad up to which a pose counts as reached."""
_ITERATIONS = 60
_LARGEST_STEP = 0.25
"""rad in one iteration: a Newton step beyond it says little."""
_DAMPING = 1e-2
"""Share of the error that is kept as damping: none is left at the solution, so that convergence is quadratic there."""


class Obstruction(Enum):
    """Why a path cannot be followed."""

    OUT_OF_REACH = "out of reach"
    JOINT_LIMIT = "outside the joint limits"


@dataclass(frozen=True, eq=False)
class SerialChain:
    """n joints in a row: `fixed[0] turn(axes[0]) fixed[1] ...`; fixed (n + 1, 4, 4), axes (n, 3) unit vectors."""

    fixed: FloatArray
    axes: FloatArray

    def pose_and_jacobian(self, q: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Pose (B, 4, 4) of the chain's end and its derivative (B, 6, n), m and rad in the root's axes, at q (B, n)."""
        count = len(self.axes)
        pose = np.broadcast_to(self.fixed[0], (len(q), 4, 4))
        origins, directions = np.empty((2, len(q), count, 3))
        for i, axis in enumerate(self.axes):
            origins[:, i], directions[:, i] = pose[:, :3, 3], pose[:, :3, :3] @ axis
            pose = (
                pose @ geometry.make_pose(geometry.rotation_exp(q[:, i, None] * axis), np.zeros(3)) @ self.fixed[i + 1]
            )
        linear = np.cross(directions, pose[:, None, :3, 3] - origins)
        return pose, np.swapaxes(np.concatenate([linear, directions], axis=-1), -1, -2)


def follow_paths(
    chain: SerialChain,
    poses: FloatArray,
    lengths: Sequence[int],
    seeds: FloatArray,
    limits: tuple[FloatArray, FloatArray],
) -> tuple[FloatArray, list[tuple[int, Obstruction] | None]]:
    """Joints along B paths, one after the other in `poses` (S, 4, 4): each pose from the solution of the one before.

    lengths: poses of each path. seeds: (B, n) rad, where each path starts. limits: lower and upper (n,) rad.

    Returns:
        (S, n) rad, and per path None or the index within it of the pose that cannot be reached, and why; rows from
        there on are nan.
    """
    starts = np.cumsum([0, *lengths])[:-1]
    counts = np.asarray(lengths)
    joints = np.full((len(poses), seeds.shape[1]), np.nan)
    failures: list[tuple[int, Obstruction] | None] = [None] * len(counts)
    going = np.flatnonzero(counts > 0)
    q = np.array(seeds, dtype=np.float64)
    for step in range(int(counts.max(initial=0))):
        going = going[counts[going] > step]
        if not len(going):
            break
        found, reached = _reach(chain, poses[starts[going] + step], q[going])
        inside = ((found >= limits[0]) & (found <= limits[1])).all(axis=1)
        for path, near in zip(going[~(reached & inside)], reached[~(reached & inside)], strict=True):
            failures[path] = step, Obstruction.JOINT_LIMIT if near else Obstruction.OUT_OF_REACH
        going, found = going[reached & inside], found[reached & inside]
        q[going] = joints[starts[going] + step] = found
    return joints, failures


def _reach(chain: SerialChain, targets: FloatArray, start: FloatArray) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Joints (B, n) at targets (B, 4, 4), from joints (B, n) nearby, and (B,) whether they are."""
    q = start.copy()
    reached = np.zeros(len(q), bool)
    for _ in range(_ITERATIONS):
        left = np.flatnonzero(~reached)
        pose, jacobian = chain.pose_and_jacobian(q[left])
        turn = geometry.rotation_log(targets[left, :3, :3] @ np.swapaxes(pose[:, :3, :3], -1, -2))
        error = np.concatenate([targets[left, :3, 3] - pose[:, :3, 3], turn], axis=-1)
        size = np.abs(error).max(axis=1)
        reached[left[size < TOLERANCE]] = True
        far = size >= TOLERANCE
        if not far.any():
            break
        left, error, jacobian = left[far], error[far], jacobian[far]
        transposed = np.swapaxes(jacobian, -1, -2)
        damping = (_DAMPING * np.linalg.norm(error, axis=1)) ** 2 + 1e-12
        square = jacobian @ transposed + damping[:, None, None] * np.eye(6)
        change = (transposed @ np.linalg.solve(square, error[..., None]))[..., 0]
        change *= np.minimum(1.0, _LARGEST_STEP / np.maximum(np.abs(change).max(axis=1), 1e-12))[:, None]
        q[left] += change
    return q, reached
