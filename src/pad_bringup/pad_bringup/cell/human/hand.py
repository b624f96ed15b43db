"""A posed human hand: forward kinematics, the skinned surface and the 21 landmarks of a right or a left hand.

Frames: see `shape`. The left hand is the right one mirrored in x. A posture is an array (25, 3) of flexion, abduction
and twist in radians per joint, added to the rest pose; flexion > 0 closes, abduction > 0 turns towards the thumb. One
posture means the mirrored thing on the other hand.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from pad_bringup.cell.human.shape import (
    FINGERS,
    FOREARM,
    JOINT_INDEX,
    JOINTS,
    build_hand_shape,
    finger_joints,
)

FloatArray = NDArray[np.float64]
Side = Literal["left", "right"]

LANDMARK_JOINTS: tuple[str, ...] = (
    "wrist",
    *finger_joints("thumb"),
    *(joint for finger in FINGERS[1:] for joint in finger_joints(finger)[1:]),
)
"""The joint of each of the 21 landmarks."""

WRIST_LANDMARK_OFFSET = 0.020
"""Hand models mark the wrist this far (m) towards the fingers of the anatomical joint."""
THUMB_BASE_LANDMARK_OFFSET = 0.018
"""Hand models mark the thumb's base this far (m) along the metacarpal from its joint."""
MAX_WRIST_BEND = np.radians(60)
"""The forearm is never bent further against the hand, whatever the elbow asks for."""

_PARENTS: tuple[int, ...] = tuple(
    -1 if joint == "wrist" else (0 if joint.endswith("metacarpal") else JOINT_INDEX[joint] - 1) for joint in JOINTS
)
_LANDMARK_INDEX = np.array([JOINT_INDEX[joint] for joint in LANDMARK_JOINTS])
_THUMB_BASE = LANDMARK_JOINTS.index("thumb_metacarpal")


def posture(**angles: tuple[float, ...]) -> FloatArray:
    """A posture (25, 3) from `joint=(flexion, abduction, twist)` in radians; trailing zeros may be left out."""
    result = np.zeros((len(JOINTS), 3))
    for joint, values in angles.items():
        result[JOINT_INDEX[joint], : len(values)] = values
    return result


class Hand:
    """One hand's geometry; holds no pose.

    Attributes:
        side: "left" or "right".
        vertices: (V, 3) rest surface in the hand's frame, metres.
        faces: (F, 3), counter-clockwise seen from outside.
        weights: (V, 26) skinning weights.
        rest: (26, 4, 4) bone poses at rest in the hand's frame.
    """

    def __init__(self, side: Side) -> None:
        if side not in ("left", "right"):
            raise ValueError(f"a hand is 'left' or 'right', not {side!r}")
        shape = build_hand_shape()
        self.side: Side = side
        self.vertices, self.faces, self.weights, self.rest = shape.vertices, shape.faces, shape.weights, shape.rest
        self._sign = 1.0
        if side == "left":
            mirror = np.diag([-1.0, 1.0, 1.0, 1.0])
            self.vertices = self.vertices * [-1.0, 1.0, 1.0]
            self.faces = self.faces[:, ::-1]
            self.rest = mirror @ self.rest @ mirror
            self._sign = -1.0
        self._inverse_rest = np.linalg.inv(self.rest)
        self._local = np.array(
            [np.eye(4) if p < 0 else self._inverse_rest[p] @ self.rest[i] for i, p in enumerate(_PARENTS)]
        )

    def forward(self, angles: ArrayLike, wrist: ArrayLike | None = None, elbow: ArrayLike | None = None) -> FloatArray:
        """Bone poses (26, 4, 4) in the frame that `wrist` is given in.

        angles: posture (25, 3). wrist: (4, 4), identity if not given. elbow: point (3,) m that the forearm is aimed at;
        without it the forearm continues the hand.
        """
        a = np.asarray(angles, dtype=np.float64)
        base = np.eye(4) if wrist is None else np.asarray(wrist, dtype=np.float64)
        euler = np.stack([self._sign * a[:, 1], -a[:, 0], self._sign * a[:, 2]], axis=1)
        local = self._local.copy()
        local[:, :3, :3] = local[:, :3, :3] @ Rotation.from_euler("YXZ", euler).as_matrix()
        frames = np.empty((len(JOINTS) + 1, 4, 4))
        frames[0] = base
        for i in range(1, len(JOINTS)):
            frames[i] = frames[_PARENTS[i]] @ local[i]
        frames[FOREARM] = base if elbow is None else _aimed(base, np.asarray(elbow, dtype=np.float64))
        return frames

    def surface(self, frames: ArrayLike, subset: slice | NDArray[np.int64] = slice(None)) -> FloatArray:
        """Skinned vertices (V, 3), or those of `subset`, for bone poses (26, 4, 4)."""
        matrices = (np.asarray(frames, dtype=np.float64) @ self._inverse_rest)[:, :3]
        vertices = self.vertices[subset]
        blended = np.tensordot(self.weights[subset], matrices, axes=1)
        return np.einsum("nij,nj->ni", blended[:, :, :3], vertices) + blended[:, :, 3]

    def landmarks(self, frames: ArrayLike) -> FloatArray:
        """The 21 landmarks (21, 3), where hand models put them, for bone poses (26, 4, 4)."""
        f = np.asarray(frames, dtype=np.float64)[_LANDMARK_INDEX]
        points = f[:, :3, 3].copy()
        points[0] -= WRIST_LANDMARK_OFFSET * f[0, :3, 2]
        points[_THUMB_BASE] -= THUMB_BASE_LANDMARK_OFFSET * f[_THUMB_BASE, :3, 2]
        return points


def gripper_pose(landmarks: ArrayLike) -> FloatArray:
    """The gripper poses (..., 4, 4) that landmarks (..., 21, 3) stand for.

    Origin midway between thumb tip and index tip, y from thumb tip to index tip, z (approach) from the palm's centre
    to the origin made orthogonal to y, x = y cross z.
    """
    p = np.asarray(landmarks, dtype=np.float64)
    thumb, index = p[..., 4, :], p[..., 8, :]
    origin = (thumb + index) / 2
    y = index - thumb
    y = y / np.linalg.norm(y, axis=-1, keepdims=True)
    z = origin - (p[..., 0, :] + p[..., 5, :] + p[..., 9, :]) / 3
    z = z - np.sum(z * y, axis=-1, keepdims=True) * y
    z = z / np.linalg.norm(z, axis=-1, keepdims=True)
    pose = np.zeros((*origin.shape[:-1], 4, 4))
    pose[..., :3, 0], pose[..., :3, 1], pose[..., :3, 2] = np.cross(y, z), y, z
    pose[..., :3, 3] = origin
    pose[..., 3, 3] = 1.0
    return pose


def _aimed(wrist: FloatArray, elbow: FloatArray) -> FloatArray:
    """The wrist's pose, its z axis turned straight towards the elbow by at most `MAX_WRIST_BEND`."""
    z, direction = wrist[:3, 2], elbow - wrist[:3, 3]
    direction = direction / np.linalg.norm(direction)
    axis = np.cross(z, direction)
    sine = float(np.linalg.norm(axis))
    result = wrist.copy()
    if sine > 1e-6:
        angle = min(float(np.arctan2(sine, z @ direction)), MAX_WRIST_BEND)
        result[:3, :3] = Rotation.from_rotvec(axis / sine * angle).as_matrix() @ wrist[:3, :3]
    return result
