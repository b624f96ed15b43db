"""Two robots, objects and a camera in one simulated cell, driven by joint position commands."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

import mujoco
import numpy as np
from numpy.typing import ArrayLike, NDArray

from pad_augment.kinematics import Robot, RobotProfile
from pad_bringup.cell import scene
from pad_bringup.cell.goals import Goal, State, Verdict, goal_of
from pad_bringup.cell.objects import DrinkModel, load_objects
from pad_bringup.cell.outcome import Criteria, Outcome, judge
from pad_bringup.cell.rendering import RgbdRenderer
from pad_bringup.cell.variation import Variation, draw_variation, place_distractors
from pad_bringup.errors import CellError
from pad_bringup.resources import named_or_path
from pad_bringup.splits import Split
from pad_parse import geometry
from pad_parse.camera import Camera
from pad_parse.task import TaskSpec

FloatArray = NDArray[np.float64]
Placements = Mapping[str, tuple[float, float, float]]

START_OPENING = 0.10
"""m; opening of the grippers after a reset, where they open that far."""
_SETTLE_TIME = 0.4
_APART = 0.12
"""m between the bases of two objects in drawn placements; closer, a gripper cannot pass between them."""
_TRIES = 1000


class Cell:
    """The simulated cell. Not thread-safe; `CameraView` lets another thread render.

    Joint order: n joints of the left arm, then n of the right. Grippers: left, right.
    """

    def __init__(
        self,
        task: str = "pour",
        *,
        profile: str | Path = "ur5e_pair",
        camera_size: tuple[int, int] = (640, 480),
        variation: tuple[Split, int] | None = None,
    ) -> None:
        """task: a task that has objects in `config/objects`. profile: robot profile, name or path. camera_size: pixels.

        variation: split of the paper's protocol and seed: its scene instead of the task's own.

        Raises:
            CellError: the cell has no such task.
            pad_augment.errors.RobotError: the profile or its description is wrong.
        """
        self.task = task
        self.objects = load_objects(task)
        self.template = TaskSpec.load(task)
        if self.objects.keypoint_groups != self.template.keypoint_groups:
            raise CellError(
                f"config/objects/{task}.yaml has keypoints {self.objects.keypoint_groups}, "
                f"the task template {self.template.keypoint_groups}; they must agree"
            )
        self.profile = RobotProfile.load(named_or_path(str(profile), "config", "robots"))
        self.camera: Camera = scene.scaled_camera(camera_size)
        arms = (self.profile.arms.left, self.profile.arms.right)
        self._variation = Variation()
        if variation is not None:
            split, seed = variation
            opening = min(arm.max_opening for arm in arms)
            self._variation = draw_variation(split, self.objects, opening, seed)
            self.objects = self._variation.objects or self.objects
        self.goal: Criteria | Goal
        if self.objects.drink is not None and self.objects.drink.target != self.objects.drink.container:
            self.goal = Criteria(**self.template.success)
        else:
            self.goal = goal_of(self.template.success, self.objects)
        spec = scene.build_spec(
            objects=self.objects,
            distractors=self._variation.distractors,
            profile=self.profile,
            camera=self.camera,
        )
        self._variation.apply(spec)
        self.model: mujoco.MjModel = spec.compile()
        self.data = mujoco.MjData(self.model)
        self.joint_names = [name for arm in arms for name in arm.joints]
        self.finger_names = [arm.finger_joint for arm in arms]
        self._home = np.concatenate([arm.home for arm in arms])
        self._max_opening = np.array([arm.max_opening for arm in arms])
        self._joints = self._addresses(self.joint_names)
        self._fingers = self._addresses(self.finger_names)
        mimics = [name for names in Robot(self.profile).mimic_joints for name in names]
        self._mimics = self._addresses(mimics)
        self._joint_servos = np.array([self.model.actuator(name).id for name in self.joint_names])
        self._filters = self.model.actuator_actadr[self._joint_servos]
        self._finger_servos = np.array([self.model.actuator(name).id for name in self.finger_names])
        balls = 0 if self.objects.drink is None else self.objects.drink.count
        self._balls = np.array([self.model.body(scene.ball_name(k)).id for k in range(balls)], dtype=np.intp)
        self._other_kind = np.zeros(balls, dtype=bool)
        if self.objects.drink is not None:
            container = self.objects.models[self.objects.drink.container]
            self._other_kind = scene.of_other_kind(scene.drink_positions(container, self.objects.drink))
        self._bodies = {name: self.model.body(scene.body_name(name)).id for name in self.objects.models}
        self._finger_bodies = [
            tuple(self.model.joint(name).bodyid[0] for name in pair)
            for pair in zip(self.finger_names, mimics, strict=True)
        ]
        self._surplus = 0.0
        self._view: CameraView | None = None
        self.reset()

    def sample_placements(
        self, rng: np.random.Generator, *, swapped: bool | None = None
    ) -> dict[str, tuple[float, float, float]]:
        """Object -> (x, y, yaw) drawn evenly from the task's regions, none too near another; m, rad, task frame.

        What stands on another object is where that one is; its own region is not looked at.

        swapped: whether the objects change sides; None: half of the times where the task swaps sides, else never.

        Raises:
            CellError: the regions leave no room for the objects.
        """
        stack = self.objects.stack()
        regions = {name: self.template.objects[name].region for name in self.objects.models if name not in stack}
        for _ in range(_TRIES):
            places = {n: (rng.uniform(*r.x), rng.uniform(*r.y), rng.uniform(*r.yaw)) for n, r in regions.items()}
            spots = [np.array(place[:2]) for place in places.values()]
            if all(np.linalg.norm(a - b) >= _APART for a, b in combinations(spots, 2)):
                if swapped if swapped is not None else self.template.swap_sides and rng.uniform() < 0.5:
                    places = {name: (x, -y, -yaw) for name, (x, y, yaw) in places.items()}
                return self.objects.places(places)
        raise CellError(f"the regions of {self.task} never leave {_APART} m between objects; widen them")

    def reset(
        self,
        placements: Placements | None = None,
        rng: np.random.Generator | None = None,
        *,
        joints: ArrayLike | None = None,
    ) -> None:
        """Start anew at time 0: robots at home with open grippers, objects placed, the drink settled in its container.

        placements: object -> (x, y, yaw), m and rad; an object that is not given stands at its home, or on what it
        stands on.
        rng: shakes the drink's start a little; None: always the same.
        joints: (2 n,) rad to start from instead of home.

        Raises:
            CellError: unknown object, values that are not finite, or objects that overlap.
        """
        start = self._home if joints is None else np.asarray(joints, dtype=np.float64)
        places = self.objects.places(placements or {})
        self._check(places)
        mujoco.mj_resetData(self.model, self.data)
        qpos = self.data.qpos
        openings = np.minimum(START_OPENING, self._max_opening)
        self.command(start, openings)
        self.data.act[self._filters] = start
        qpos[self._joints[0]] = start
        qpos[self._fingers[0]] = qpos[self._mimics[0]] = openings / 2
        for name, (x, y, yaw) in places.items():
            address = self.model.joint(scene.body_name(name)).qposadr[0]
            z = self.objects.rest_height(name)
            qpos[address : address + 7] = [x, y, z, np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)]
        if self.objects.drink is not None:
            self._place_drink(self.objects.drink, places[self.objects.drink.container], rng)
        self._place_distractors(places)
        self._surplus = 0.0
        mujoco.mj_step(self.model, self.data, nstep=round(_SETTLE_TIME / scene.TIME_STEP))
        self.data.time = 0.0
        mujoco.mj_forward(self.model, self.data)

    def command(self, q: ArrayLike, openings: ArrayLike) -> None:
        """Set the position commands that the servos follow from now on.

        q: (2 n,) rad. openings: (2,) m between the pads, clipped to what the grippers can do.

        Raises:
            CellError: wrong size or not finite.
        """
        joints, gaps = np.asarray(q, dtype=np.float64), np.asarray(openings, dtype=np.float64)
        count = len(self.joint_names)
        fits = joints.shape == (count,) and gaps.shape == (2,)
        if not (fits and np.isfinite(joints).all() and np.isfinite(gaps).all()):
            raise CellError(
                f"a command is {count} finite joint positions and 2 finite openings; "
                f"got {joints.shape} and {gaps.shape}"
            )
        self.data.ctrl[self._joint_servos] = joints
        self.data.ctrl[self._finger_servos] = np.clip(gaps, 0.0, self._max_opening) / 2

    def step(self, seconds: float) -> None:
        """Let physics run; parts of a time step (2 ms) are carried over to the next call."""
        if not seconds >= 0:
            raise CellError(f"time cannot go back: {seconds} s")
        self._surplus += seconds
        steps = int(self._surplus / scene.TIME_STEP + 1e-6)
        self._surplus -= steps * scene.TIME_STEP
        if steps:
            mujoco.mj_step(self.model, self.data, nstep=steps)

    @property
    def time(self) -> float:
        """Simulated s since the reset."""
        return float(self.data.time)

    @property
    def commanded(self) -> tuple[FloatArray, FloatArray]:
        """The commands that stand: (2 n,) rad and (2,) m."""
        return self.data.ctrl[self._joint_servos].copy(), 2 * self.data.ctrl[self._finger_servos]

    @property
    def joint_positions(self) -> FloatArray:
        """(2 n,) rad."""
        return self.data.qpos[self._joints[0]].copy()

    @property
    def joint_velocities(self) -> FloatArray:
        """(2 n,) rad/s."""
        return self.data.qvel[self._joints[1]].copy()

    @property
    def finger_positions(self) -> FloatArray:
        """(2,) m; position of the driven finger joints, half the opening."""
        return self.data.qpos[self._fingers[0]].copy()

    @property
    def finger_velocities(self) -> FloatArray:
        """(2,) m/s."""
        return self.data.qvel[self._fingers[1]].copy()

    @property
    def openings(self) -> FloatArray:
        """(2,) m; gap between the pads."""
        return self.data.qpos[self._fingers[0]] + self.data.qpos[self._mimics[0]]

    def object_pose(self, name: str) -> FloatArray:
        """(4, 4) pose of an object in the task frame.

        Raises:
            CellError: unknown object.
        """
        if name not in self._bodies:
            raise CellError(f"there is no object {name!r}; known: {', '.join(self._bodies)}")
        body = self._bodies[name]
        return geometry.make_pose(self.data.xmat[body].reshape(3, 3), self.data.xpos[body])

    def tcp_pose(self, arm: int) -> FloatArray:
        """(4, 4) true pose of a TCP in the task frame; arm: 0 left, 1 right."""
        arms = (self.profile.arms.left, self.profile.arms.right)
        body = self.data.body(arms[arm].tcp_link)
        return geometry.make_pose(body.xmat.reshape(3, 3), body.xpos)

    def keypoints(self) -> FloatArray:
        """(N, 3) true keypoints in the task frame, m, in the order of `objects.keypoint_names`."""
        points = [
            geometry.transform_points(self.object_pose(name), local)
            for name, local in self.objects.keypoints_in_object().items()
        ]
        return np.concatenate(points)

    def drink(self) -> FloatArray:
        """(n, 3) m; the balls in the task frame."""
        return self.data.xpos[self._balls].copy()

    def holders(self) -> dict[str, frozenset[int]]:
        """Object -> arms (0 left, 1 right) that clasp it: both their fingers touch it."""
        bodies = self.model.geom_bodyid[self.data.contact.geom[: self.data.ncon]]
        touching = {(int(a), int(b)) for pair in bodies for a, b in (pair, pair[::-1])}
        fingers = list(enumerate(self._finger_bodies))
        return {
            name: frozenset(arm for arm, pair in fingers if all((finger, body) in touching for finger in pair))
            for name, body in self._bodies.items()
        }

    def outcome(self) -> Outcome | Verdict:
        """The verdict as things stand now."""
        poses = {name: self.object_pose(name) for name in self._bodies}
        if isinstance(self.goal, Goal):
            state = State(poses, self.holders(), self.drink(), self._other_kind)
            return self.goal.judge(state, self.objects.models)
        assert self.objects.drink is not None
        return judge(self.drink(), poses, self.objects.models, self.objects.drink, self.goal)

    def camera_view(self) -> CameraView:
        """A renderer of its own for another thread; make it in that thread."""
        return CameraView(self.model, self.camera)

    def render(self) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Colour (H, W, 3) uint8 RGB and depth (H, W) float32 in m along the optical axis."""
        if self._view is None:
            self._view = self.camera_view()
        return self._view.render(self.data.qpos)

    def close(self) -> None:
        """Free the graphics context, if one was made."""
        if self._view is not None:
            self._view.close()
            self._view = None

    def _addresses(self, names: list[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where joints lie in qpos and qvel."""
        joints = [self.model.joint(name) for name in names]
        return np.array([j.qposadr[0] for j in joints]), np.array([j.dofadr[0] for j in joints])

    def _check(self, places: Placements) -> None:
        for name, place in places.items():
            if name not in self._bodies:
                raise CellError(f"there is no object {name!r}; known: {', '.join(self._bodies)}")
            if len(place) != 3 or not np.isfinite(place).all():
                raise CellError(f"the place of {name} must be finite x, y, yaw; got {place}")
            if abs(place[0]) > 0.35 or abs(place[1]) > 0.6:
                raise CellError(f"{name} at x {place[0]:.3f}, y {place[1]:.3f} m would not stand on the table")
        names = [name for name in places if name not in self.objects.stack()]
        for k, a in enumerate(names):
            for b in names[k + 1 :]:
                need = sum(max(radius for _, radius in self.objects.models[n].outer) for n in (a, b))
                if np.hypot(places[a][0] - places[b][0], places[a][1] - places[b][1]) < need:
                    raise CellError(f"{a} and {b} would stand inside each other")

    def _place_distractors(self, places: Placements) -> None:
        things = self._variation.distractors
        rng = np.random.default_rng([self._variation.seed, 13])
        for k, (x, y, yaw) in enumerate(place_distractors(things, self.objects, places, rng)):
            body = self.model.body(scene.distractor_name(k))
            # In the model, where every camera view finds it, and in this state.
            body.pos, body.quat = [x, y, 0.0], [np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)]
            self.data.mocap_pos[body.mocapid[0]], self.data.mocap_quat[body.mocapid[0]] = body.pos, body.quat

    def _place_drink(
        self, drink: DrinkModel, place: tuple[float, float, float], rng: np.random.Generator | None
    ) -> None:
        local = scene.drink_positions(self.objects.models[drink.container], drink)
        if rng is not None:
            local = local + rng.uniform(-1e-4, 1e-4, local.shape)
        points = geometry.transform_points(geometry.yaw_pose(place[0], place[1], place[2]), local)
        for k, point in enumerate(points):
            body = self.model.body(scene.ball_name(k))
            first = self.model.jnt_qposadr[body.jntadr[0]]
            # Slide joints count from where the model put the body.
            self.data.qpos[first : first + 3] = point - body.pos


class CameraView:
    """Renders the cell from joint positions, with its own copy of the state. Belongs to the thread that makes it."""

    def __init__(self, model: mujoco.MjModel, camera: Camera) -> None:
        self._model = model
        self._data = mujoco.MjData(model)
        self._standing = np.flatnonzero(model.body_mocapid >= 0)
        self._renderer = RgbdRenderer(model, scene.CAMERA, camera.width, camera.height)

    def render(self, qpos: FloatArray) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Colour (H, W, 3) uint8 RGB and depth (H, W) float32 in m of the state with positions `qpos` (nq,)."""
        self._data.qpos[:] = qpos
        places = self._model.body_mocapid[self._standing]
        self._data.mocap_pos[places] = self._model.body_pos[self._standing]
        self._data.mocap_quat[places] = self._model.body_quat[self._standing]
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_camlight(self._model, self._data)
        return self._renderer.render(self._data)

    def close(self) -> None:
        """Free the graphics context."""
        self._renderer.close()
