"""From end-effector targets to joints; a target out of reach becomes the nearest reachable one on the way."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pad_augment.errors import IkError
from pad_parse.geometry import interpolate_pose

Array = NDArray[np.floating[Any]]

#: rad in one policy step: more means that the arm would have to flip over, not follow.
LARGEST_STEP = 0.7
_HALVINGS = 5


class ArmKinematics(Protocol):
    """What is needed of `pad_augment.kinematics.Robot`."""

    def fk(self, arm_index: int, q: Array) -> Array:
        """TCP poses (..., 4, 4) in the task frame of joints (..., 6)."""

    def ik(self, arm_index: int, pose: Array, seed: Array | None = None) -> Array:
        """Joints (6,) of the branch closest to `seed`, or `IkError`."""

    def ik_path(self, arm_index: int, poses: Array, seed: Array | None = None) -> Array:
        """Joints (H, 6) along poses (H, 4, 4) without changing branches, or `IkError`."""


@dataclass(frozen=True)
class Reached:
    """joints (H, 6) rad; unreachable (H,) True where the target was replaced by the nearest reachable pose."""

    joints: Array
    unreachable: NDArray[np.bool_]


def reach(robot: ArmKinematics, arm: int, targets: Array, seed: Array) -> Reached:
    """Joints along TCP targets (H, 4, 4) in the task frame, each near the last, starting near `seed` (6,).

    Where the arm cannot reach a target, or only by flipping to another configuration, it goes as far as it can
    on the straight way there and stays.
    """
    whole = _whole_path(robot, arm, targets, seed)
    if whole is not None:
        return Reached(whole, np.zeros(len(targets), bool))
    joints = np.empty((len(targets), 6))
    unreachable = np.zeros(len(targets), bool)
    last: Array = np.asarray(seed, np.float64)
    pose = robot.fk(arm, last)
    for k, target in enumerate(targets):
        found = _near(robot, arm, target, last)
        reached = target
        if found is None:
            unreachable[k] = True
            found, reached = _part_of_the_way(robot, arm, pose, target, last)
        joints[k] = last = found
        pose = reached
    return Reached(joints, unreachable)


def _whole_path(robot: ArmKinematics, arm: int, targets: Array, seed: Array) -> Array | None:
    """All targets at once, or None when one of them needs the careful way."""
    try:
        joints = robot.ik_path(arm, targets, seed)
    except IkError:
        return None
    steps = np.abs(np.diff(np.vstack([seed, joints]), axis=0))
    return joints if steps.max() <= LARGEST_STEP else None


def _near(robot: ArmKinematics, arm: int, target: Array, seed: Array) -> Array | None:
    try:
        q = robot.ik(arm, target, seed)
    except IkError:
        return None
    return q if np.abs(q - seed).max() <= LARGEST_STEP else None


def _part_of_the_way(robot: ArmKinematics, arm: int, start: Array, target: Array, seed: Array) -> tuple[Array, Array]:
    """The farthest reachable pose between `start` and `target` by bisection: its joints and itself."""
    low, high, best, best_pose = 0.0, 1.0, seed, start
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        pose = interpolate_pose(start, target, np.float64(middle))
        found = _near(robot, arm, pose, seed)
        if found is None:
            high = middle
        else:
            low, best, best_pose = middle, found, pose
    return best, best_pose
