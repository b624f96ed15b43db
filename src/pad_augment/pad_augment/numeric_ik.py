"""Inverse kinematics of an arm without a closed form: damped Newton steps along many paths at once.

An arm with more than six joints reaches a pose in endlessly many ways. Its path obeys

    dq/ds = J# t + k (I - J# J) (q0 - q),     s: way of the hand, m and rad; t = dx/ds

so that the joints lean towards a posture q0 without moving the hand, as far as the hand goes (gradient projection;
Liegeois 1977, section III). A hand that keeps still keeps its elbow still, and how fast or in how many steps it goes
changes nothing. A joint that meets its limit stays there while the others go on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pad_parse import geometry

FloatArray = NDArray[np.float64]

TOLERANCE = 1e-6
"""m and rad up to which a pose counts as reached."""
_ITERATIONS = 60
_LARGEST_STEP = 0.25
"""rad in one iteration: a Newton step beyond it says little."""
_LEANING = 2.0
"""k above, 1 / (m or rad): a third of the distance to the posture is left after half of one."""
_DAMPING = 1e-2
"""Share of the error that is kept as damping: none is left at the solution, so that convergence is quadratic there."""

_NEARLY_BACK = -0.9
"""Cosine of a turn that is nearly half a one."""


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
        moves = self._moves(q)
        pose = np.broadcast_to(self.fixed[0], (len(q), 4, 4))
        origins, directions = np.empty((2, len(q), count, 3))
        for i, axis in enumerate(self.axes):
            origins[:, i], directions[:, i] = pose[:, :3, 3], pose[:, :3, :3] @ axis
            pose = pose @ moves[:, i]
        lever = pose[:, None, :3, 3] - origins
        jacobian = np.empty((len(q), 6, count))
        for i, (j, k) in enumerate(((1, 2), (2, 0), (0, 1))):
            jacobian[:, i] = directions[..., j] * lever[..., k] - directions[..., k] * lever[..., j]
            jacobian[:, 3 + i] = directions[..., i]
        return pose, jacobian

    def _moves(self, q: FloatArray) -> FloatArray:
        """(B, n, 4, 4) from before each joint to before the next: its turn (Rodrigues' formula), then what is fixed."""
        sine, cosine = np.sin(q)[..., None, None], np.cos(q)[..., None, None]
        still, first, second = self._turning
        return np.asarray(still + sine * first + (1 - cosine) * second)

    @cached_property
    def _turning(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Three times (n, 4, 4): `_moves` at zero, and what sine and 1 - cosine of the joints are multiplied by."""
        cross = np.zeros((len(self.axes), 4, 4))
        for matrix, (x, y, z) in zip(cross, self.axes, strict=True):
            matrix[:3, :3] = [[0, -z, y], [z, 0, -x], [-y, x, 0]]
        after = self.fixed[1:]
        return after, cross @ after, cross @ cross @ after


def follow_paths(
    chain: SerialChain,
    poses: FloatArray,
    lengths: Sequence[int],
    seeds: FloatArray,
    limits: tuple[FloatArray, FloatArray],
    leaning: FloatArray | None = None,
) -> tuple[FloatArray, list[tuple[int, Obstruction] | None]]:
    """Joints along B paths, one after the other in `poses` (S, 4, 4): each pose from the solution of the one before.

    lengths: poses of each path. seeds: (B, n) rad, where each path starts. limits: lower and upper (n,) rad.
    leaning: (n,) rad, towards which joints lean that the hand leaves free; None: for arms with six joints.

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
        targets = poses[starts[going] + step]
        if leaning is None:
            found, reached = _reach(chain, targets, q[going])
        else:
            found, reached = _reach_leaning(chain, targets, q[going], limits, leaning)
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
        error = _error(pose, targets[left])
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


def _error(poses: FloatArray, targets: FloatArray) -> FloatArray:
    """(B, 6) m and rad from poses (B, 4, 4) to targets, in the root's axes."""
    turn = targets[:, :3, :3] @ np.swapaxes(poses[:, :3, :3], -1, -2)
    axis = 0.5 * (turn[:, [2, 0, 1], [1, 2, 0]] - turn[:, [1, 2, 0], [2, 0, 1]])
    sine, cosine = np.linalg.norm(axis, axis=1), 0.5 * (np.trace(turn, axis1=1, axis2=2) - 1.0)
    error = np.empty((len(poses), 6))
    error[:, :3] = targets[:, :3, 3] - poses[:, :3, 3]
    error[:, 3:] = axis * (np.arctan2(sine, cosine) / np.maximum(sine, 1e-12))[:, None]
    back = cosine < _NEARLY_BACK  # the axis is not seen in the sines there
    if back.any():
        error[back, 3:] = geometry.rotation_log(turn[back])
    return error


def _reach_leaning(
    chain: SerialChain,
    targets: FloatArray,
    start: FloatArray,
    limits: tuple[FloatArray, FloatArray],
    leaning: FloatArray,
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """`_reach` for more than six joints, within their limits and leaning towards a posture (n,)."""
    q = np.clip(start, *limits)
    reached = np.zeros(len(q), bool)
    free = np.ones(q.shape, bool)
    for _ in range(_ITERATIONS):
        left = np.flatnonzero(~reached)
        pose, jacobian = chain.pose_and_jacobian(q[left])
        error = _error(pose, targets[left])
        far = np.abs(error).max(axis=1) >= TOLERANCE
        reached[left[~far]] = True
        if not far.any():
            break
        left, error, jacobian = left[far], error[far], jacobian[far] * free[left[far], None, :]
        transposed = np.swapaxes(jacobian, -1, -2)
        distance = np.linalg.norm(error, axis=1)
        square = jacobian @ transposed + ((_DAMPING * distance) ** 2 + 1e-12)[:, None, None] * np.eye(6)
        change = (transposed @ np.linalg.solve(square, error[..., None]))[..., 0]
        share = np.minimum(1.0, _LARGEST_STEP / np.maximum(np.abs(change).max(axis=1), 1e-12))
        lean = np.minimum(_LEANING * share * distance, 0.5)[:, None] * (leaning - q[left]) * free[left]
        lean -= (transposed @ np.linalg.solve(square, jacobian @ lean[..., None]))[..., 0]
        wanted = q[left] + share[:, None] * change + lean
        q[left] = np.clip(wanted, *limits)
        free[left] &= q[left] == wanted
    return q, reached
