"""Closed-loop use of a policy: history at its rate, prediction, joints. Shared by the node and the rollouts."""

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pad_policy.actions import from_poses, poses, split
from pad_policy.chunking import JointChunk
from pad_policy.environment import JointMeasurement, KeypointObservation
from pad_policy.errors import PolicyError
from pad_policy.inference import OnnxPolicy
from pad_policy.reaching import ArmKinematics, reach

Array = NDArray[np.floating[Any]]

_OPEN = 0.8
"""Share of its opening at the start from which on a gripper holds nothing."""
_MOVED_POINTS = 3
"""A single point may be wrong."""
_SETTLING = 0.2
"""s that the arms stand after an object has last moved by itself."""


@dataclass(frozen=True)
class Plan:
    """One answer of the policy.

    ee: (H, 20) commanded end effectors as predicted. chunk: the same in joints, stamped with the observation.
    unreachable: (2, H) bool, targets of each arm that were replaced by the nearest reachable pose.
    """

    ee: Array
    chunk: JointChunk
    unreachable: NDArray[np.bool_]


class PolicyRunner:
    """Feeds a policy with observations at its own rate and turns its answers into joint chunks."""

    def __init__(
        self, policy: OnnxPolicy, robot: ArmKinematics, joint_names: list[str], rng: np.random.Generator
    ) -> None:
        self.policy = policy
        self._robot = robot
        self._joint_names = list(joint_names)
        self._rng = rng
        self._history: deque[tuple[Array, NDArray, Array]] = deque(maxlen=policy.horizons.history)
        self._due = -np.inf
        self._since_plan = 0
        self._stamp = -np.inf
        self._joints: Array | None = None
        self._opening: Array | None = None
        self._planned_for: tuple[Array, NDArray] | None = None
        self._stands_until = -np.inf
        start = np.asarray(policy.bundle.manifest.start_ee).reshape(2, -1)
        self._open = _OPEN * start[:, -1]

    def reset(self) -> None:
        """Forget everything seen: the next observation starts a new episode."""
        self._history.clear()
        self._due = self._stamp = -np.inf
        self._since_plan = 0
        self._planned_for = None
        self._stands_until = -np.inf

    def reseed(self, rng: np.random.Generator) -> None:
        """Sample with another generator from now on."""
        self._rng = rng

    def due(self, stamp: float, tolerance: float = 0.0) -> bool:
        """Whether an observation with this stamp (s) belongs in the history; `tolerance` s early is on time."""
        return stamp >= self._due - tolerance

    def observe(self, keypoints: KeypointObservation, measured: JointMeasurement) -> None:
        """Add one observation; `measured` belongs to the same instant as the keypoints, as nearly as is known."""
        count = self.policy.keypoint_count
        if keypoints.points_in_task.shape != (count, 3) or keypoints.states.shape != (count,):
            raise PolicyError(
                f"the policy looks at {count} keypoints, the observation has {keypoints.points_in_task.shape}; "
                "run the tracker on the demonstration the policy was made from"
            )
        period = self.policy.horizons.period
        stamp = keypoints.stamp
        if stamp < self._stamp or stamp > self._due + 3 * period:
            self._history.clear()  # a gap or a clock that went back: the old steps are not this one's past
            self._since_plan = 0
        self._due = stamp + period if abs(stamp - self._due) > period else self._due + period
        self._stamp = stamp
        joints = measured.positions.reshape(2, -1)
        self._joints, self._opening = joints, measured.openings
        grippers = np.stack([self._robot.fk(arm, joints[arm]) for arm in range(2)])
        ee = from_poses(grippers, measured.openings)
        entry = (keypoints.points_in_task, keypoints.states, ee)
        if not self._history:
            self._history.extend([entry] * self.policy.horizons.history)
        else:
            self._history.append(entry)
        self._since_plan -= 1
        if self._is_surprised(keypoints, measured):
            self._since_plan, self._stands_until = 0, stamp + _SETTLING

    def _is_surprised(self, keypoints: KeypointObservation, measured: JointMeasurement) -> bool:
        """Whether somebody else has moved an object since the last chunk: with open grippers nothing of ours moves."""
        surprise = self.policy.horizons.surprise
        if self._planned_for is None or surprise == 0 or np.any(measured.openings < self._open):
            return False
        points, states = self._planned_for
        known = (states > 0) & (keypoints.states > 0)
        moved = np.linalg.norm(keypoints.points_in_task[known] - points[known], axis=-1) > surprise
        return int(moved.sum()) >= _MOVED_POINTS

    @property
    def should_plan(self) -> bool:
        """Whether enough of the last chunk has been carried out that a new one is wanted."""
        return bool(self._history) and self._since_plan <= 0

    def plan(self) -> Plan:
        """Predict from the history; the chunk carries the stamp of the newest observation.

        While an object moves by itself the arms are to stand where they are: whoever moves it may be near them.
        """
        if not self._history or self._joints is None or self._opening is None:
            raise PolicyError("plan() needs an observation first")
        keypoints, states, ee = (np.stack(column) for column in zip(*self._history, strict=True))
        if self._stamp < self._stands_until:
            self._since_plan, self._planned_for = 1, (keypoints[-1], states[-1])
            return self._standing(ee[-1], self._joints, self._opening)
        targets = self.policy.chunk(keypoints, states, ee, self._rng)
        gripper_targets = poses(targets)
        reached = [reach(self._robot, arm, gripper_targets[:, arm], self._joints[arm]) for arm in range(2)]
        _, _, openings = split(targets)
        self._since_plan = self.policy.horizons.execute
        self._planned_for = keypoints[-1], states[-1]
        chunk = self._chunk(np.concatenate([r.joints for r in reached], axis=1), np.maximum(openings, 0.0))
        return Plan(targets, chunk, np.stack([r.unreachable for r in reached]))

    def _standing(self, ee: Array, joints: Array, opening: Array) -> Plan:
        """A plan that stays at `ee` (20,), where the arms were observed: joints (2, n) rad, opening (2,) m."""
        count = self.policy.horizons.horizon
        chunk = self._chunk(np.tile(joints.ravel(), (count, 1)), np.tile(opening, (count, 1)))
        return Plan(np.tile(ee, (count, 1)), chunk, np.zeros((2, count), dtype=bool))

    def _chunk(self, positions: Array, openings: Array) -> JointChunk:
        horizons = self.policy.horizons
        times = np.arange(1, horizons.horizon + 1) * horizons.period
        return JointChunk(self._stamp, self._joint_names, times, positions, openings)
