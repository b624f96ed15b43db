"""The task planned once for the objects' places as they are: what `/pad/generate_trajectory` answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pad_augment.config import GeneratorConfig
from pad_augment.kinematics import Robot
from pad_augment.planning import make_planner
from pad_augment.planning.dynamics import joint_spline
from pad_augment.scene_plan import ScenePlanner
from pad_augment.skills import learn_skills
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
        config = config or GeneratorConfig()
        self.robot = robot
        self.demonstration = demonstration
        self._rate_hz = config.rate_hz
        skills = learn_skills(demonstration, level_grasps=config.level_grasps)
        self.object_names = list(skills.object_poses)
        self._scenes = ScenePlanner(skills, robot, make_planner(planner, robot, skills.shapes, config.rate_hz), config)

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
