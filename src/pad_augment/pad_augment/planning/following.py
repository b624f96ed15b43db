"""Joint positions along given TCP poses of both arms, and whether the joints can go that fast."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pad_augment.errors import IkError, JointLimitError
from pad_augment.kinematics import Robot
from pad_augment.planning.dynamics import limit_ratios
from pad_augment.planning.interface import Failure, PlanFailure, Stretch

FloatArray = NDArray[np.float64]
_UNREACHABLE = (Failure.UNREACHABLE_LEFT, Failure.UNREACHABLE_RIGHT)


def follow(robot: Robot, stretches: Sequence[Stretch], start: FloatArray | None) -> FloatArray:
    """(T, 12) rad along all poses of the stretches; one choice of arm posture for the whole way.

    start: (12,) rad to begin near; None: home.

    Raises:
        PlanFailure: out of reach or outside the joint limits.
    """
    poses = np.concatenate([stretch.poses for stretch in stretches])
    seeds = robot.home if start is None else start.reshape(2, 6)
    out = np.empty((len(poses), 12))
    for arm in (0, 1):
        try:
            out[:, 6 * arm : 6 * arm + 6] = robot.ik_path(arm, poses[:, arm], seeds[arm])
        except IkError as error:
            code = Failure.JOINT_LIMIT if isinstance(error, JointLimitError) else _UNREACHABLE[arm]
            raise PlanFailure(code, stretch_of(stretches, error.index), str(error)) from error
    return out


def check_dynamics(
    robot: Robot, joints: FloatArray, lengths: Sequence[int], rate_hz: float, moving: bool = False
) -> None:
    """Refuse joints (T, 12) rad that are too fast at `rate_hz`; `lengths` are the steps of each stretch.

    moving: whether the arms are in motion at the first step.

    Raises:
        PlanFailure: VELOCITY or ACCELERATION.
    """
    velocity, acceleration = limit_ratios(robot, joints, rate_hz, moving=moving)
    for code, ratio in ((Failure.VELOCITY, velocity), (Failure.ACCELERATION, acceleration)):
        if ratio.max() > 1.0:
            step = int(ratio.argmax())
            stretch = int(np.searchsorted(np.cumsum(lengths), step, side="right"))
            raise PlanFailure(
                code,
                stretch,
                f"a joint reaches {ratio.max():.2f} of its {code.value} limit in step {step}",
                float(ratio.max()),
            )


def stretch_of(stretches: Sequence[Stretch], step: int) -> int:
    """Index of the stretch that holds a step of the whole timeline."""
    return int(np.searchsorted(np.cumsum([len(s) for s in stretches]), step, side="right"))
