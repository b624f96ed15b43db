"""Hands with sleeves in a MuJoCo scene: a skin on motion-captured bones, moved by writing poses."""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from pad_bringup.cell.human.hand import Hand, Side
from pad_bringup.cell.human.shape import BONE_COUNT, FINGERS, FOREARM, JOINT_INDEX, JOINTS, finger_joints

FloatArray = NDArray[np.float64]

# Skin colour decides whether hand models see the hand (default grey: hardly ever).
_BACK, _SIDE, _PALM = np.array([0.75, 0.53, 0.41]), np.array([0.80, 0.58, 0.46]), np.array([0.86, 0.65, 0.54])
_KNUCKLE, _NAIL = np.array([0.70, 0.45, 0.36]), np.array([0.88, 0.70, 0.64])
_SLEEVE_RADIUS, _SLEEVE_START, _SLEEVE_END = 0.042, 0.095, 0.34
_SLEEVE_COLOUR = (0.22, 0.27, 0.36, 1.0)
_KNUCKLE_LINE = 0.5
"""Where along the texture the fingers begin; the forearm is at 0, the fingertips are at 1."""
_SKIN = "human_skin"
_SKIN_GROUP = 0


class HandActor:
    """One hand that can be put into a scene and posed.

    hand: its geometry. `add_to` a specification before it is compiled, `bind` to the compiled model, then `place`.
    """

    def __init__(self, side: Side) -> None:
        self.hand = Hand(side)
        self._prefix = f"human_{side}"
        self._mocap: NDArray[np.int64] | None = None

    def add_to(self, spec: mujoco.MjSpec) -> None:
        """Add the skin, its bones and the sleeve to a scene."""
        if all(material.name != _SKIN for material in spec.materials):
            _add_skin_material(spec)
        for i in range(BONE_COUNT):
            body = spec.worldbody.add_body(name=self._bone(i), mocap=True)
            if i == FOREARM:
                body.add_geom(
                    name=f"{self._prefix}_sleeve",
                    type=mujoco.mjtGeom.mjGEOM_CAPSULE,
                    fromto=[0, 0, _SLEEVE_START, 0, 0, _SLEEVE_END],
                    size=[_SLEEVE_RADIUS, 0, 0],
                    rgba=_SLEEVE_COLOUR,
                    contype=0,
                    conaffinity=0,
                )
        used = [i for i in range(BONE_COUNT) if np.any(self.hand.weights[:, i] > 0)]
        vertices = [np.nonzero(self.hand.weights[:, i] > 0)[0] for i in used]
        quaternions = Rotation.from_matrix(self.hand.rest[used, :3, :3]).as_quat(scalar_first=True)
        spec.add_skin(
            name=self._prefix,
            material=_SKIN,
            group=_SKIN_GROUP,
            vert=self.hand.vertices.ravel().tolist(),
            texcoord=_texture_coordinates(self.hand).ravel().tolist(),
            face=np.ascontiguousarray(self.hand.faces).ravel().tolist(),
            bodyname=[self._bone(i) for i in used],
            bindpos=self.hand.rest[used, :3, 3].ravel().tolist(),
            bindquat=quaternions.ravel().tolist(),
            vertid=[v.tolist() for v in vertices],
            vertweight=[self.hand.weights[v, i].tolist() for i, v in zip(used, vertices, strict=True)],
        )

    def bind(self, model: mujoco.MjModel) -> None:
        """Find the hand's bones in the compiled model."""
        self._mocap = np.array([model.body(self._bone(i)).mocapid[0] for i in range(BONE_COUNT)])

    def place(self, data: mujoco.MjData, frames: FloatArray) -> None:
        """Put the bones at `frames` (26, 4, 4) in the task frame; takes effect with the next `mj_kinematics`."""
        if self._mocap is None:
            raise RuntimeError("bind the hand to the compiled model before placing it")
        data.mocap_pos[self._mocap] = frames[:, :3, 3]
        data.mocap_quat[self._mocap] = Rotation.from_matrix(frames[:, :3, :3]).as_quat(scalar_first=True)

    def _bone(self, index: int) -> str:
        return f"{self._prefix}_{JOINTS[index] if index < FOREARM else 'forearm'}"


def _texture_coordinates(hand: Hand) -> FloatArray:
    """(V, 2): how dorsal the surface is (0 palm, 1 back), and where it lies from forearm (0) to fingertips (1)."""
    corners = hand.vertices[hand.faces]
    face_normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.zeros_like(hand.vertices)
    for k in range(3):
        np.add.at(normals, hand.faces[:, k], face_normals)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)

    along_bones = np.zeros((len(hand.vertices), BONE_COUNT))
    dorsal_axes = hand.rest[:, :3, 1]
    palm = np.clip((0.12 - hand.vertices[:, 2]) / 0.215, 0, 1) * _KNUCKLE_LINE
    along_bones[:] = palm[:, None]
    for finger in FINGERS:
        joints = [JOINT_INDEX[joint] for joint in finger_joints(finger)[1:]]
        positions = hand.rest[joints, :3, 3]
        lengths = np.linalg.norm(np.diff(positions, axis=0), axis=1)
        lengths[-1] += 0.009
        starts = np.concatenate([[0.0], np.cumsum(lengths)])
        for k, joint in enumerate(joints[:-1]):
            distance = (hand.vertices - positions[k]) @ -hand.rest[joint, :3, 2]
            share = np.clip((starts[k] + distance) / starts[-1], 0, 1)
            along_bones[:, joint] = _KNUCKLE_LINE + (1 - _KNUCKLE_LINE) * share
    along = (hand.weights * along_bones).sum(axis=1)
    axes = hand.weights @ dorsal_axes
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    dorsal = (np.einsum("ij,ij->i", normals, axes) + 1) / 2
    return np.stack([np.clip(dorsal, 0.01, 0.99), np.clip(along, 0.01, 0.99)], axis=1)


def _add_skin_material(spec: mujoco.MjSpec) -> None:
    size = 128
    along, dorsal = np.meshgrid(np.linspace(0, 1, size), np.linspace(0, 1, size), indexing="ij")
    dorsal, along = dorsal[..., None], along[..., None]
    image = np.where(
        dorsal > 0.5,
        _SIDE + (_BACK - _SIDE) * np.clip((dorsal - 0.5) * 3, 0, 1),
        _SIDE + (_PALM - _SIDE) * np.clip((0.5 - dorsal) * 3, 0, 1),
    )
    for joint in (0.5, 0.73, 0.87):
        share = np.exp(-(((along - joint) / 0.02) ** 2)) * np.clip((dorsal - 0.7) * 5, 0, 1)
        image = image + 0.5 * share * (_KNUCKLE - image)
    nail = np.clip((along - 0.925) / 0.01, 0, 1) * np.clip((0.985 - along) / 0.005, 0, 1)
    image = image + nail * np.clip((dorsal - 0.84) / 0.03, 0, 1) * (_NAIL - image)
    pixels = (np.clip(image, 0, 1) * 255).astype(np.uint8)
    texture = spec.add_texture(name=_SKIN, type=mujoco.mjtTexture.mjTEXTURE_2D, width=size, height=size, nchannel=3)
    texture.data = pixels.tobytes()
    material = spec.add_material(name=_SKIN, specular=0.15, shininess=0.2)
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = _SKIN
