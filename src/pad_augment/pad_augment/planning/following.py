"""Joint positions along given TCP poses of both arms, and whether the joints can go that fast."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pad_augment.errors import JointLimitError
from pad_augment.kinematics import ARMS, Robot
from pad_augment.planning.dynamics import limit_ratios_of_many
from pad_augment.planning.interface import Failure, Plan, PlanFailure, PlanRequest, Stretch

FloatArray = NDArray[np.float64]
_SAME_POSTURE = 1.2
"""rad in any joint from where an arm stands to where its way begins; what is farther off, it cannot just set out from.
"""
_UNREACHABLE = (Failure.UNREACHABLE_LEFT, Failure.UNREACHABLE_RIGHT)


def follow(robot: Robot, requests: Sequence[PlanRequest]) -> list[FloatArray | PlanFailure]:
    """Per request joints (T, 2 n) rad along all poses of its stretches: one choice of arm posture for the whole way.

    A failure says that the poses are out of reach from the posture in which an arm stands, or outside its limits.
    """
    if not requests:
        return []
    poses = np.concatenate([stretch.poses for request in requests for stretch in request.stretches])
    lengths = [sum(len(stretch) for stretch in request.stretches) for request in requests]
    seeds = np.stack([robot.home if r.start is None else r.start.reshape(robot.home.shape) for r in requests])
    solved = [robot.ik_paths(arm, poses[:, arm], lengths, seeds[:, arm]) for arm in (0, 1)]
    joints = np.concatenate([found for found, _ in solved], axis=1)
    out: list[FloatArray | PlanFailure] = []
    for index, (request, part) in enumerate(zip(requests, split(joints, lengths), strict=True)):
        error = next((failures[index] for _, failures in solved if failures[index] is not None), None)
        if error is None:
            away = np.abs(part[0].reshape(robot.home.shape) - seeds[index]).max(axis=1)
            arm = int(away.argmax())
            if away[arm] <= _SAME_POSTURE:
                out.append(part)
            else:
                message = f"the {ARMS[arm]} arm can do it only from another posture, {away[arm]:.1f} rad from its own"
                out.append(PlanFailure(_UNREACHABLE[arm], 0, message))
        else:
            code = Failure.JOINT_LIMIT if isinstance(error, JointLimitError) else _UNREACHABLE[error.arm]
            out.append(PlanFailure(code, stretch_of(request.stretches, error.index), str(error)))
    return out


def too_fast(
    robot: Robot, joints: Sequence[FloatArray], requests: Sequence[PlanRequest], rate_hz: float
) -> list[PlanFailure | None]:
    """Per request why joints (T, 2 n) rad are too fast at `rate_hz`: VELOCITY or ACCELERATION; None if they are not.

    The stretches of each request must be as long as its joints.
    """
    lengths = [len(part) for part in joints]
    ratios = limit_ratios_of_many(robot, np.concatenate(joints), lengths, rate_hz, [r.moving for r in requests])
    out: list[PlanFailure | None] = []
    parts = zip(requests, *(split(ratio, lengths) for ratio in ratios), strict=True)
    for request, velocity, acceleration in parts:
        failure = None
        for code, ratio in ((Failure.VELOCITY, velocity), (Failure.ACCELERATION, acceleration)):
            step = int(ratio.argmax())
            if ratio[step] > 1.0:
                message = f"a joint reaches {ratio[step]:.2f} of its {code.value} limit in step {step}"
                failure = PlanFailure(code, stretch_of(request.stretches, step), message, float(ratio[step]))
                break
        out.append(failure)
    return out


def as_asked(request: PlanRequest, joints: FloatArray) -> Plan:
    """The plan that follows every pose."""
    return Plan(
        joints=joints,
        poses=np.concatenate([s.poses for s in request.stretches]),
        openings=np.concatenate([s.openings for s in request.stretches]),
        lengths=tuple(len(s) for s in request.stretches),
        ways=("line",) * len(request.stretches),
    )


def split(rows: FloatArray, lengths: Sequence[int]) -> list[FloatArray]:
    """Parts of `lengths` rows each."""
    ends = np.cumsum(lengths)
    return [rows[end - length : end] for end, length in zip(ends, lengths, strict=True)]


def stretch_of(stretches: Sequence[Stretch], step: int) -> int:
    """Index of the stretch that holds a step of the whole timeline."""
    return int(np.searchsorted(np.cumsum([len(s) for s in stretches]), step, side="right"))
