"""The task planned once for the objects' places as they are: what `/pad/generate_trajectory` answers."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pad_augment.config import GeneratorConfig
from pad_augment.errors import ConfigError
from pad_augment.generator import SceneWork, collision_shapes
from pad_augment.kinematics import Robot
from pad_augment.planning import choose_planner
from pad_augment.planning.dynamics import joint_spline
from pad_augment.planning.interface import Shape
from pad_augment.scene_plan import ScenePlanner
from pad_parse import geometry
from pad_parse.demonstration import Demonstration

FloatArray = NDArray[np.float64]
_AWAY = -100.0
"""m, height of obstacles that are not there."""


@dataclass(frozen=True, eq=False)
class Trajectory:
    """T points, evenly spaced in time, from rest to rest.

    times: (T,) s from 0. joints, velocities: (T, 2 n) rad, rad/s. openings: (T, 2) m commanded between the pads.
    keypoints: (T, N, 3) m expected in the task frame. poses: (T, 2, 4, 4) TCPs in the task frame. objects: object ->
    (T, 4, 4) in the task frame.
    """

    times: FloatArray
    joints: FloatArray
    velocities: FloatArray
    openings: FloatArray
    keypoints: FloatArray
    poses: FloatArray
    objects: Mapping[str, FloatArray]


class TaskPlanner:
    """Plans one demonstration's task for one robot. One thread may plan at a time; `prepare` may run beside it.

    Attributes:
        choice: which planner was taken, and why, for people.
        objects: names of the task's objects. obstacles: names that a scene may have besides.
        shapes: object or obstacle -> cylinder.
    """

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
            ConfigError, PlanningError: there is no such planner, or it is not installed.
        """
        config = config or GeneratorConfig()
        planner, self.choice = choose_planner(planner)
        self._work = work = SceneWork(demonstration, robot.profile, config, 0, planner)
        self._scenes: ScenePlanner | None = None
        self._preparing = threading.Lock()
        self.robot = robot
        self.demonstration = demonstration
        self.objects = tuple(work.skills.object_poses)
        self.obstacles = tuple(config.obstacle_shapes())
        self.shapes: dict[str, Shape] = collision_shapes(work.skills, config)
        self._rate_hz = config.rate_hz

    def prepare(self) -> ScenePlanner:
        """Choose how the grasps are turned, which takes seconds; the first `plan` does it if nobody has."""
        with self._preparing:
            if self._scenes is None:
                self._scenes = self._work.with_chosen_turns().scene_planner
            return self._scenes

    def plan(self, placement: Mapping[str, FloatArray], seed: int = 0) -> Trajectory:
        """The whole task from the robot's home, for objects at poses (4, 4) in the task frame.

        Obstacles that are not given are not there.

        Raises:
            PlanFailure: with the cause.
            ConfigError: an object is missing or not known.
        """
        missing = [name for name in self.objects if name not in placement]
        unknown = [name for name in placement if name not in (*self.objects, *self.obstacles)]
        if missing or unknown:
            raise ConfigError(
                f"poses are given for {', '.join(placement) or 'nothing'}; needed: {', '.join(sorted(self.objects))}"
                + (f"; possible: {', '.join(self.obstacles)}" if self.obstacles else "")
            )
        away = {name: geometry.make_pose(np.eye(3), [i, 0.0, _AWAY]) for i, name in enumerate(self.obstacles)}
        scenes = self.prepare()
        scene = scenes.plan({**away, **placement}, np.random.default_rng(seed))
        joints = scene.plan.joints
        times = np.arange(len(joints)) / self._rate_hz
        return Trajectory(
            times=times,
            joints=joints,
            velocities=joint_spline(joints, self._rate_hz)(times, 1),
            openings=scene.command,
            keypoints=scenes.keypoints(scene),
            poses=scene.plan.poses,
            objects={name: scene.objects[name] for name in placement},
        )
