"""The default planner: RRT-Connect in roboplan's scene where the straight lines are blocked."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from types import ModuleType

import numpy as np
import roboplan.core as rp
from numpy.typing import NDArray

from pad_augment.kinematics import Robot
from pad_augment.planning.collisions import CollisionScene
from pad_augment.planning.interface import Shape
from pad_augment.planning.proving import ProvingPlanner, moving_arms

FloatArray = NDArray[np.float64]
_SEARCH_STEP = 0.05
_LARGEST_TREE = 2000
_LONGEST_BRANCH = 1.0
"""rad. With long ones nearly none is free where the arms stand close to something, and the tree, which is what ends a
search, does not grow: one scene in five hundred took half a minute.
"""
_SHORTCUTS = 100
_SEARCHES = 4
"""For arms of seven joints: two of three shortened ways graze what they go round. Of six, one way is looked for."""
_BOTH = "both_arms"
_GROUPS = ("left_arm", "right_arm")
_EXTENSION = "roboplan.rrt._rrt_ext"


def _search_module() -> ModuleType:
    """roboplan's RRT, without the rest of its package, which imports viewers and takes most of a second."""
    if _EXTENSION in sys.modules:
        return sys.modules[_EXTENSION]
    package = find_spec("roboplan.rrt")
    spec = PathFinder.find_spec(_EXTENSION, package.submodule_search_locations) if package is not None else None
    if spec is None or spec.loader is None:
        return import_module("roboplan.rrt")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules[_EXTENSION] = module
    return module


class RoboplanPlanner(ProvingPlanner):
    """See `ProvingPlanner`. The robot's SRDF must have groups `left_arm`, `right_arm` and `both_arms`."""

    name = "roboplan"
    repeatable = True

    def __init__(self, robot: Robot, shapes: Mapping[str, Shape], rate_hz: float) -> None:
        self._scene = CollisionScene(robot, shapes)
        super().__init__(robot, shapes, rate_hz, self._scene)

    def _ways(
        self,
        index: int,
        start: FloatArray,
        goal: FloatArray,
        openings: FloatArray,
        steps: int,
        rng: np.random.Generator,
    ) -> Iterator[FloatArray]:
        for _ in range(_SEARCHES if self._robot.redundant else 1):
            path = self._search(start, goal, openings, rng)
            if path is None:
                return
            yield self._timed(path, steps, rounded=True)
            yield self._timed(path, steps)

    def _search(
        self, start: FloatArray, goal: FloatArray, openings: FloatArray, rng: np.random.Generator
    ) -> FloatArray | None:
        """Corners (n, 2 n) rad of a collision-free path, shortened; None if there is none."""
        rrt = _search_module()
        scene = self._scene.scene
        seed = int(rng.integers(1, 2**31 - 1))
        scene.setRngSeed(seed)
        scene.setJointPositions(self._scene.posture(start, openings))
        moving = moving_arms(start, goal)
        group = _GROUPS[moving[0]] if len(moving) == 1 else _BOTH
        every = np.arange(len(start))
        columns = [int(c) for arm in moving or (0, 1) for c in every[self._robot.columns(arm)]]
        search = rrt.RRT(
            scene,
            rrt.RRTOptions(
                group_name=group,
                max_nodes=_LARGEST_TREE,
                max_connection_distance=_LONGEST_BRANCH,
                collision_check_step_size=_SEARCH_STEP,
                rrt_connect=True,
            ),
        )
        search.setRngSeed(seed)
        names = [self._robot.joint_names[column] for column in columns]
        try:
            path = search.plan(
                rp.JointConfiguration(names, start[columns]), rp.JointConfiguration(names, goal[columns])
            )
        except RuntimeError:
            return None
        options = rp.PathShortcuttingOptions(
            group_name=group, max_step_size=_SEARCH_STEP, max_iters=_SHORTCUTS, seed=seed
        )
        path = rp.PathShortcutter(scene, options).shortcut(path)
        order = [path.joint_names.index(name) for name in names]
        corners = np.tile(start, (len(path.positions), 1))
        corners[:, columns] = [np.asarray(corner)[order] for corner in path.positions]
        return corners
