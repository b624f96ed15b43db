"""Baselines without a policy: generated demonstrations carried out as they are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pad_augment.dataset import Dataset
from pad_augment.kinematics import Robot
from pad_bringup.errors import EvaluationError
from pad_parse import geometry
from pad_parse.demonstration import Demonstration
from pad_policy.chunking import JointChunk
from pad_policy.environment import JointMeasurement, KeypointObservation
from pad_policy.reaching import reach

FloatArray = NDArray[np.float64]
Baseline = Literal["open_loop", "nearest_neighbour"]
BASELINES: tuple[Baseline, ...] = ("open_loop", "nearest_neighbour")

_LEAD = 0.5
"""s from the first observation to the replay's first command."""


@dataclass(frozen=True, eq=False)
class Library:
    """Demonstrations to replay: those that begin at the start, without a push, and with the task's own hands.

    Attributes:
        dataset: where they are.
        episodes: (E,) their numbers in it.
        first_keypoints: (E, N, 3) m, at their start.
    """

    dataset: Dataset
    episodes: NDArray[np.int64]
    first_keypoints: FloatArray

    @classmethod
    def open(cls, path: Path) -> Library:
        """Read a dataset folder.

        Raises:
            pad_augment.errors.DatasetError: it is none.
            EvaluationError: none of its demonstrations begins at the start.
        """
        dataset = Dataset.open(path)
        plain = np.ones(len(dataset), dtype=bool)
        for name in ("disturbances", "mirrored"):
            rows = dataset.rows(name)
            if rows is not None:
                plain &= rows == 0
        chosen = np.flatnonzero(plain)
        if not len(chosen):
            raise EvaluationError(f"dataset {path} has no undisturbed demonstration to replay; generate some")
        starts = np.concatenate([[0], dataset.episode_ends[:-1]])
        return cls(dataset, chosen, dataset.array("keypoints")[starts[chosen]].astype(np.float64))

    def nearest(self, keypoints: FloatArray, valid: NDArray[np.bool_]) -> int:
        """The episode that begins most like these keypoints (N, 3), by the mean distance of the valid ones (N,)."""
        distances = np.linalg.norm(self.first_keypoints - keypoints, axis=-1)[:, valid].mean(axis=1)
        return int(self.episodes[np.argmin(distances)])


class Replay:
    """Carries out one generated demonstration from home, blind to what happens; a `pad_policy.rollout.Planner`.

    open_loop: in every scene the demonstration whose scene is nearest to the source demonstration's.
    nearest_neighbour: the one whose scene is nearest to the scene at hand, by its first keypoints.
    """

    def __init__(
        self,
        baseline: Baseline,
        library: Library,
        source: Demonstration | None,
        robot: Robot,
        joint_names: list[str],
    ) -> None:
        """source: the demonstration that the dataset was made of; needed for open_loop.

        Raises:
            EvaluationError: open_loop without a source.
        """
        self._library = library
        self._robot = robot
        self._joint_names = joint_names
        self._episode: int | None = None
        if baseline == "open_loop":
            if source is None:
                raise EvaluationError("open-loop replay needs the source demonstration; give --demonstration")
            first = np.asarray(source.keypoints[0], dtype=np.float64)
            self._episode = library.nearest(first, np.isfinite(first).all(axis=1))
        self.reset()

    def reset(self) -> None:
        """A new episode."""
        self._seen: tuple[KeypointObservation, JointMeasurement] | None = None
        self._planned = False

    def due(self, stamp: float, tolerance: float = 0.0) -> bool:
        """Only the first observation is looked at."""
        return self._seen is None

    def observe(self, keypoints: KeypointObservation, measured: JointMeasurement) -> None:
        """Take in the scene."""
        self._seen = (keypoints, measured)

    @property
    def should_plan(self) -> bool:
        """Once."""
        return self._seen is not None and not self._planned

    def plan(self) -> ReplayPlan:
        """The whole demonstration as one chunk."""
        assert self._seen is not None
        self._planned = True
        seen, measured = self._seen
        number = self._episode
        if number is None:
            number = self._library.nearest(seen.points_in_task, seen.states > 0)
        dataset = self._library.dataset
        action = dataset.episode(number).action.astype(np.float64)
        start = measured.positions.reshape(2, -1)
        reached = [reach(self._robot, arm, _poses(action, arm), start[arm]) for arm in range(2)]
        chunk = JointChunk(
            stamp=seen.stamp,
            joint_names=self._joint_names,
            times=_LEAD + np.arange(len(action)) / float(dataset.attributes["rate_hz"]),
            positions=np.concatenate([r.joints for r in reached], axis=1),
            openings=action[:, [9, 19]],
        )
        return ReplayPlan(chunk, np.stack([r.unreachable for r in reached]))


@dataclass(frozen=True, eq=False)
class ReplayPlan:
    """chunk: what is carried out. unreachable: (2, T) bool, targets that were replaced by the nearest pose."""

    chunk: JointChunk
    unreachable: NDArray[np.bool_]


def _poses(action: FloatArray, arm: int) -> FloatArray:
    own = action[:, 10 * arm : 10 * arm + 10]
    return geometry.make_pose(geometry.from_rotation_6d(own[:, 3:9]), own[:, :3])
