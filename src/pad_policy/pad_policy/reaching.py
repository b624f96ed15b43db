"""From end-effector targets to joints; a target out of reach becomes the nearest reachable pose."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pad_augment.errors import IkError
from pad_parse.geometry import rotation_log

Array = NDArray[np.floating[Any]]

#: rad in one policy step: more means that the arm would have to flip over, not follow.
LARGEST_STEP = 0.7
#: m and rad up to which a target counts as reached.
POSITION_TOLERANCE, ROTATION_TOLERANCE = 0.005, 0.05

_ITERATIONS = 12
_DAMPING = 0.02
_LONGEST_ITERATION = 0.15  # rad
_ROTATION_WEIGHT = 0.2  # m per rad: how much a wrong angle weighs against a wrong place
_DIFFERENCE = 1e-6


class ArmKinematics(Protocol):
    """What is needed of `pad_augment.kinematics.Robot`. lower_limits, upper_limits: (2, 6) rad."""

    lower_limits: Array
    upper_limits: Array

    def fk(self, arm: int, q: Array) -> Array:
        """TCP poses (..., 4, 4) in the task frame of joints (..., 6)."""

    def ik_path(self, arm: int, poses: Array, seed: Array | None = None) -> Array:
        """Joints (H, 6) along poses (H, 4, 4), starting near `seed`, or `IkError`."""


@dataclass(frozen=True)
class Reached:
    """joints (H, 6) rad; unreachable (H,) True where the target was replaced by the nearest reachable pose."""

    joints: Array
    unreachable: NDArray[np.bool_]


def reach(robot: ArmKinematics, arm: int, targets: Array, seed: Array) -> Reached:
    """Joints along TCP targets (H, 4, 4) in the task frame, each near the last, starting near `seed` (6,).

    The closed form serves where it keeps the arm's posture. Where a target is out of reach, or the closed form would
    flip the arm over (one that is nearly stretched out can flip its elbow), the arm is led in small steps from where
    it is, which keeps its posture and ends as near to the target as it can come.
    """
    start = np.asarray(seed, np.float64)
    try:
        joints = robot.ik_path(arm, targets, start)
    except IkError:
        return _led(robot, arm, targets, start)
    path = np.vstack([start, joints])
    if np.abs(np.diff(path, axis=0)).max() > LARGEST_STEP or _changes_posture(robot, arm, path):
        return _led(robot, arm, targets, start)
    return Reached(joints, np.zeros(len(targets), bool))


def _changes_posture(robot: ArmKinematics, arm: int, joints: Array) -> bool:
    """Whether a path (K, 6) crosses a singularity: there, and only there, the Jacobian's determinant changes sign."""
    signs = np.sign(np.linalg.det(_jacobian(robot, arm, joints)))
    return bool(np.any(signs != signs[0]))


def _jacobian(robot: ArmKinematics, arm: int, joints: Array) -> Array:
    """(..., 6, 6) derivative of `_error`'s six numbers by the joints (..., 6)."""
    moved = np.concatenate([joints[..., None, :], joints[..., None, :] + _DIFFERENCE * np.eye(6)], axis=-2)
    poses = robot.fk(arm, moved)
    return np.swapaxes(_error(poses[..., :1, :, :], poses[..., 1:, :, :]), -1, -2) / _DIFFERENCE


def _led(robot: ArmKinematics, arm: int, targets: Array, start: Array) -> Reached:
    """Damped least squares from target to target, never through a singularity."""
    joints = np.empty((len(targets), 6))
    unreachable = np.zeros(len(targets), bool)
    q, jacobian = start, _jacobian(robot, arm, start)
    posture = np.sign(np.linalg.det(jacobian))
    for k, target in enumerate(targets):
        lowest = np.maximum(q - LARGEST_STEP, robot.lower_limits[arm])
        highest = np.minimum(q + LARGEST_STEP, robot.upper_limits[arm])
        for _ in range(_ITERATIONS):
            error = _error(robot.fk(arm, q), target)
            if np.abs(error).max() < 1e-4:
                break
            step = jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + _DAMPING**2 * np.eye(6), error)
            step *= min(1.0, _LONGEST_ITERATION / max(float(np.abs(step).max()), 1e-9))
            following = np.clip(q + step, lowest, highest)
            following_jacobian = _jacobian(robot, arm, following)
            if np.sign(np.linalg.det(following_jacobian)) != posture:
                break
            q, jacobian = following, following_jacobian
        joints[k] = q
        left = _error(robot.fk(arm, q), target)
        far = np.linalg.norm(left[:3]) > POSITION_TOLERANCE
        unreachable[k] = far or np.linalg.norm(left[3:]) > ROTATION_TOLERANCE * _ROTATION_WEIGHT
    return Reached(joints, unreachable)


def _error(pose: Array, target: Array) -> Array:
    """(..., 6) from poses to targets (..., 4, 4): m, and weighted rad, task axes."""
    turn = rotation_log(target[..., :3, :3] @ np.swapaxes(pose[..., :3, :3], -1, -2))
    return np.concatenate([target[..., :3, 3] - pose[..., :3, 3], _ROTATION_WEIGHT * turn], axis=-1)
