"""The task planned once for the objects' places as they are: what `/pad/generate_trajectory` answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pad_augment.config import GeneratorConfig
from pad_augment.generator import SceneWork
from pad_augment.kinematics import Robot
from pad_augment.planning.dynamics import joint_spline
from pad_parse.demonstration import Demonstration

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Trajectory:
    """T points, evenly spaced in time, from rest to rest.

    times: (T,) s from 0. joints, velocities: (T, 12) rad, rad/s. openings: (T, 2) m commanded between the pads.
    keypoints: (T, N, 3) m expected in the task frame.
    """

    times: FloatArray
    joints: FloatArray
    velocities: FloatArray
    openings: FloatArray
    keypoints: FloatArray


class TaskPlanner:
    """Plans one demonstration's task for one robot. Not thread-safe."""

    def __init__(
        self,
        demonstration: Demonstration,
        robot: Robot,
        planner: str = "roboplan",
        config: GeneratorConfig | None = None,
    ) -> None:
        """planner: see `make_planner`.

        Raises:
            GroundingError: the demonstration does not fit its template.
            PlanningError: there is no such planner.
        """
        work = SceneWork(demonstration, robot.profile, config or GeneratorConfig(), 0, planner)
        work = replace(work, turns=work.chosen_turns())
        self.robot = robot
        self.demonstration = demonstration
        self._rate_hz = work.config.rate_hz
        self._scenes = work.scene_planner

    def plan(self, placement: Mapping[str, FloatArray], seed: int = 0) -> Trajectory:
        """The whole task from the robot's home, for objects at poses (4, 4) in the task frame.

        Raises:
            PlanFailure: with the cause.
            ConfigError: an object is missing or not known.
        """
        scene = self._scenes.plan(placement, np.random.default_rng(seed))
        joints = scene.plan.joints
        times = np.arange(len(joints)) / self._rate_hz
        return Trajectory(
            times=times,
            joints=joints,
            velocities=joint_spline(joints, self._rate_hz)(times, 1),
            openings=scene.command,
            keypoints=self._scenes.keypoints(scene),
        )
