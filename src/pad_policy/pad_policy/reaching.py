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
    """What is needed of `pad_augment.kinematics.Robot`. lower_limits, upper_limits: (2, n) rad."""

    lower_limits: Array
    upper_limits: Array

    def fk(self, arm: int, q: Array) -> Array:
        """TCP poses (..., 4, 4) in the task frame of joints (..., n)."""

    def ik_path(self, arm: int, poses: Array, seed: Array | None = None) -> Array:
        """Joints (H, n) along poses (H, 4, 4), starting near `seed`, or `IkError`."""


@dataclass(frozen=True)
class Reached:
    """joints (H, n) rad; unreachable (H,) True where the target was replaced by the nearest reachable pose."""

    joints: Array
    unreachable: NDArray[np.bool_]


def reach(robot: ArmKinematics, arm: int, targets: Array, seed: Array) -> Reached:
    """Joints along TCP targets (H, 4, 4) in the task frame, each near the last, starting near `seed` (n,).

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
    """Whether a path (K, n) crosses a singularity."""
    postures = _postures(_jacobian(robot, arm, joints))
    return bool(np.any(postures != postures[0]))


def _postures(jacobians: Array) -> Array:
    """(...) sign of the determinants of Jacobians (..., 6, n): at a singularity, and only there, it changes.

    More than six joints can go round every singularity; such arms have one posture.
    """
    if jacobians.shape[-1] > 6:
        return np.ones(jacobians.shape[:-2])
    return np.asarray(np.sign(np.linalg.det(jacobians)))


def _jacobian(robot: ArmKinematics, arm: int, joints: Array) -> Array:
    """(..., 6, n) derivative of `_error`'s six numbers by the joints (..., n)."""
    steps = _DIFFERENCE * np.eye(joints.shape[-1])
    moved = np.concatenate([joints[..., None, :], joints[..., None, :] + steps], axis=-2)
    poses = robot.fk(arm, moved)
    return np.swapaxes(_error(poses[..., :1, :, :], poses[..., 1:, :, :]), -1, -2) / _DIFFERENCE


def _led(robot: ArmKinematics, arm: int, targets: Array, start: Array) -> Reached:
    """Damped least squares from target to target, never through a singularity."""
    joints = np.empty((len(targets), len(start)))
    unreachable = np.zeros(len(targets), bool)
    q, jacobian = start, _jacobian(robot, arm, start)
    posture = _postures(jacobian)
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
            if _postures(following_jacobian) != posture:
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
