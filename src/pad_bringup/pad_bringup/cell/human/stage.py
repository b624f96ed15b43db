"""Plays the demonstrator's motion in the cell without robots, with the drink under physics, and films it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from pad_bringup.cell import scene
from pad_bringup.cell.human.actor import HandActor
from pad_bringup.cell.human.motion import SIDES, HumanMotion
from pad_bringup.cell.objects import DrinkModel, TaskObjects
from pad_bringup.cell.rendering import RgbdRenderer
from pad_parse import geometry
from pad_parse.camera import Camera

FloatArray = NDArray[np.float64]

_LONGEST_STEP = 0.002
_SETTLE_TIME = 0.4


@dataclass(frozen=True, eq=False)
class Shot:
    """One instant of the demonstration.

    Attributes:
        index: of the motion's sample.
        rgb: (H, W, 3) uint8.
        depth: (H, W) float32 m along the optical axis, exact; 0 where there is nothing.
        landmarks: (2, 21, 3) m in the task frame; left, right hand.
        drink: (n, 3) m; the balls in the task frame.
    """

    index: int
    rgb: NDArray[np.uint8]
    depth: NDArray[np.float32]
    landmarks: FloatArray
    drink: FloatArray


class Stage:
    """A scene of its own for one motion. The hands carry the objects exactly; only the drink obeys physics."""

    def __init__(self, motion: HumanMotion, objects: TaskObjects, camera: Camera) -> None:
        """Build the scene; `camera` sets the size of the images.

        Raises:
            CellError: no off-screen OpenGL.
        """
        self._motion, self._objects = motion, objects
        self._actors = tuple(HandActor(side) for side in SIDES)
        self._hands = (self._actors[0].hand, self._actors[1].hand)
        spec = scene.build_spec(robots=False, task=objects.task, camera=camera)
        for actor in self._actors:
            actor.add_to(spec)
        scene.touch_drink_only(spec, objects)
        self._frame_time = float(motion.stamps[1] - motion.stamps[0])
        self._substeps = int(np.ceil(self._frame_time / _LONGEST_STEP - 1e-9))
        spec.option.timestep = self._frame_time / self._substeps
        self._model = spec.compile()
        self._data = mujoco.MjData(self._model)
        for actor in self._actors:
            actor.bind(self._model)
        joints = {name: self._model.joint(scene.body_name(name)) for name in objects.models}
        self._addresses = {name: (int(j.qposadr[0]), int(j.dofadr[0])) for name, j in joints.items()}
        balls = 0 if objects.drink is None else objects.drink.count
        self._balls = np.array([self._model.body(scene.ball_name(k)).id for k in range(balls)], dtype=np.intp)
        self._renderer = RgbdRenderer(self._model, scene.CAMERA, camera.width, camera.height)
        if objects.drink is not None:
            self._pour_in(objects.drink)

    def shots(self) -> Iterator[Shot]:
        """The whole motion, shot by shot, from its first sample; to be used once."""
        for index in range(len(self._motion.stamps)):
            if index:
                self._advance(index - 1)
            for name, poses in self._motion.objects.items():
                self._place(name, poses[index])
            frames = self._motion.frames(index, self._hands)
            for actor, bones in zip(self._actors, frames, strict=True):
                actor.place(self._data, bones)
            mujoco.mj_kinematics(self._model, self._data)
            mujoco.mj_camlight(self._model, self._data)
            rgb, depth = self._renderer.render(self._data)
            landmarks = np.stack([hand.landmarks(bones) for hand, bones in zip(self._hands, frames, strict=True)])
            yield Shot(index, rgb, depth, landmarks, self._data.xpos[self._balls].copy())

    def close(self) -> None:
        """Free the graphics context."""
        self._renderer.close()

    def _pour_in(self, drink: DrinkModel) -> None:
        container = self._motion.objects[drink.container][0]
        points = geometry.transform_points(
            container, scene.drink_positions(self._objects.models[drink.container], drink)
        )
        for ball, point in zip(self._balls, points, strict=True):
            first = self._model.jnt_qposadr[self._model.body_jntadr[ball]]
            # Slide joints count from where the model put the body.
            self._data.qpos[first : first + 3] = point - self._model.body_pos[ball]
        for _ in range(round(_SETTLE_TIME / self._model.opt.timestep)):
            for name, poses in self._motion.objects.items():
                self._place(name, poses[0])
            mujoco.mj_step(self._model, self._data)

    def _advance(self, index: int) -> None:
        """Physics from sample `index` to the next one."""
        shares = np.arange(self._substeps) / self._substeps
        paths: dict[str, FloatArray] = {}
        velocities: dict[str, FloatArray] = {}
        for name, poses in self._motion.objects.items():
            here, there = poses[index], poses[index + 1]
            paths[name] = _positions(geometry.interpolate_pose(here, there, shares))
            # Linear in the task frame, angular in the object's: MuJoCo's free joints want it so.
            turn = geometry.rotation_log(here[:3, :3].T @ there[:3, :3])
            velocities[name] = np.concatenate([there[:3, 3] - here[:3, 3], turn]) / self._frame_time
        for step in range(self._substeps):
            for name, path in paths.items():
                position, freedom = self._addresses[name]
                self._data.qpos[position : position + 7] = path[step]
                self._data.qvel[freedom : freedom + 6] = velocities[name]
            mujoco.mj_step(self._model, self._data)

    def _place(self, name: str, pose: FloatArray) -> None:
        """Put an object at `pose` (4, 4), at rest."""
        position, freedom = self._addresses[name]
        self._data.qpos[position : position + 7] = _positions(pose)
        self._data.qvel[freedom : freedom + 6] = 0.0


def _positions(poses: FloatArray) -> FloatArray:
    """(..., 7) positions of a free joint, x y z and quaternion w x y z, for poses (..., 4, 4)."""
    quaternion = np.roll(geometry.quaternion_xyzw(poses), 1, axis=-1)
    return np.concatenate([poses[..., :3, 3], quaternion], axis=-1)
