"""Fits a natural grasp of a standing cylinder (bottle, cup) to the synthetic hand.

A least-squares fit over thumb (5), fingers (4 x 4) and wrist (6 variables). The pads lie on the surface and face it,
nothing enters the object or the table, fingers stay level with their knuckles, and the gripper that the landmarks stand
for is centred on the object's axis with the wanted approach direction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from pad_bringup.cell.human.errors import GraspError
from pad_bringup.cell.human.hand import Hand, Side, gripper_pose
from pad_bringup.cell.human.shape import BONE_COUNT, FINGERS, FOREARM, JOINT_INDEX, JOINTS

FloatArray = NDArray[np.float64]

MAX_OFF_AXIS = 0.008
"""The midpoint of thumb tip and index tip may lie this far (m) from the object's axis."""
MAX_PENETRATION = 0.004
"""The skin may enter the object this deep (m): soft tissue gives way."""

_PAD_DISTAL, _PAD_PALMAR = 0.004, 0.007
_TABLE_CLEARANCE = 0.004
_EVERY = 5
_LONG_FINGERS = FINGERS[1:]
_STARTS = ((0.45, -0.2), (0.6, 0.1))
"""(curl of the fingers, flexion of the thumb) in radians; one start alone can end crumpled."""

# Joint, axis and bounds (rad) of each posture variable. Axis: 0 flexion, 1 abduction, 2 twist.
_THUMB = (
    ("thumb_metacarpal", 0, -0.6, 0.9),
    ("thumb_metacarpal", 1, -0.6, 0.6),
    ("thumb_metacarpal", 2, -0.5, 0.5),
    ("thumb_proximal", 0, -0.3, 1.0),
    ("thumb_distal", 0, -0.3, 1.1),
)
_FINGER = (
    ("proximal", 0, -0.2, 1.5),
    ("proximal", 1, -0.25, 0.25),
    ("intermediate", 0, 0.0, 1.7),
    ("distal", 0, 0.0, 1.0),
)
_VARIABLES: tuple[tuple[int, int, float, float], ...] = tuple(
    [(JOINT_INDEX[joint], axis, low, high) for joint, axis, low, high in _THUMB]
    + [(JOINT_INDEX[f"{f}_{part}"], axis, low, high) for f in _LONG_FINGERS for part, axis, low, high in _FINGER]
)
_ROWS = np.array([v[0] for v in _VARIABLES])
_AXES = np.array([v[1] for v in _VARIABLES])
_LOW = np.array([v[2] for v in _VARIABLES])
_HIGH = np.array([v[3] for v in _VARIABLES])
_COUNT = len(_VARIABLES)


@dataclass(frozen=True, eq=False)
class Grasp:
    """A hand closed on an object.

    Attributes:
        side: "left" or "right".
        posture: (25, 3) closed hand.
        wrist_in_object: (4, 4).
        gripper_in_object: (4, 4) gripper frame of the closed hand's landmarks.
        opening: m, between thumb tip and index tip.
        off_axis: m, from the gripper's origin to the object's axis.
        penetration: m, the deepest point of the skin inside the object.
        pad_gap: m, the largest distance of a pad from the surface.
    """

    side: Side
    posture: FloatArray
    wrist_in_object: FloatArray
    gripper_in_object: FloatArray
    opening: float
    off_axis: float
    penetration: float
    pad_gap: float


def fit_grasp(side: Side, radius: float, height: float, approach: ArrayLike) -> Grasp:
    """The grasp of a cylinder of `radius` (m) about its z axis, standing on the plane z = 0.

    height: z (m) of the gripper's centre. approach: direction (3,) of the gripper's z axis, in the object's frame.

    Raises:
        GraspError: the fit ends off the axis or inside the object.
    """
    direction = np.asarray(approach, dtype=np.float64)
    direction = direction / np.linalg.norm(direction)
    if side == "left":
        # The left hand's problem is the right one's, seen in a mirror.
        direction = direction * [1.0, -1.0, 1.0]
    fit = _Fit(radius, height, direction)
    best: FloatArray | None = None
    lowest = np.inf
    for curl, thumb in _STARTS:
        result = least_squares(
            fit.residuals, fit.start(curl, thumb), bounds=fit.bounds(), x_scale="jac", max_nfev=60, ftol=1e-4, xtol=1e-5
        )
        if result.cost < lowest:
            best, lowest = result.x, result.cost
    assert best is not None
    posture, wrist = fit.unpack(best)
    hand = Hand(side)
    if side == "left":
        wrist = np.diag([1.0, -1.0, 1.0, 1.0]) @ wrist @ np.diag([-1.0, 1.0, 1.0, 1.0])
    frames = hand.forward(posture, wrist)
    landmarks = hand.landmarks(frames)
    gripper = gripper_pose(landmarks)
    depth = radius - np.linalg.norm(hand.surface(frames)[:, :2], axis=1)
    gaps = np.abs(np.linalg.norm(_pads(frames)[:, :2], axis=1) - radius)
    grasp = Grasp(
        side=side,
        posture=posture,
        wrist_in_object=wrist,
        gripper_in_object=gripper,
        opening=float(np.linalg.norm(landmarks[8] - landmarks[4])),
        off_axis=float(np.hypot(*gripper[:2, 3])),
        penetration=float(max(0.0, depth.max())),
        pad_gap=float(gaps.max()),
    )
    if grasp.off_axis > MAX_OFF_AXIS or grasp.penetration > MAX_PENETRATION:
        raise GraspError(
            f"the {side} hand's grasp of a cylinder of radius {radius * 1e3:.0f} mm at {height * 1e3:.0f} mm ends "
            f"{grasp.off_axis * 1e3:.1f} mm off the axis and {grasp.penetration * 1e3:.1f} mm inside; "
            f"at most {MAX_OFF_AXIS * 1e3:.0f} and {MAX_PENETRATION * 1e3:.0f} mm are allowed. "
            "Choose another height or approach direction"
        )
    return grasp


class _Fit:
    """The residuals of the right hand's grasp; object frame, metres."""

    def __init__(self, radius: float, height: float, approach: FloatArray) -> None:
        self._hand = Hand("right")
        self._radius, self._height, self._approach = radius, height, approach
        touching = self._hand.weights[:, FOREARM] < 0.5
        self._sample = np.nonzero(touching)[0][::_EVERY]
        # Fingers point 45 degrees right of the approach, the palm faces left, the thumb's side is up.
        horizontal = np.array([approach[0], approach[1], 0.0]) / np.hypot(approach[0], approach[1])
        fingers = Rotation.from_rotvec([0, 0, -np.pi / 4]).apply(horizontal)
        palm = np.cross([0.0, 0.0, 1.0], fingers)
        self._rotation = np.stack([np.cross(palm, fingers), -palm, -fingers], axis=1)
        self._position = np.array([0.0, 0.0, height - 0.012]) - palm * (radius + 0.035) - fingers * 0.10

    def start(self, curl: float, thumb: float) -> FloatArray:
        values = np.zeros(_COUNT + 6)
        for i, (joint, axis, _, _) in enumerate(_VARIABLES):
            if axis == 0:
                values[i] = thumb if JOINTS[joint].startswith("thumb") else curl
        return np.clip(values, *self.bounds())

    def bounds(self) -> tuple[FloatArray, FloatArray]:
        wrist = np.array([0.12, 0.12, 0.06, 1.0, 1.0, 1.0])
        return np.concatenate([_LOW, -wrist]), np.concatenate([_HIGH, wrist])

    def unpack(self, values: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(posture (25, 3), wrist pose (4, 4))."""
        angles = np.zeros((BONE_COUNT - 1, 3))
        angles[_ROWS, _AXES] = values[:_COUNT]
        wrist = np.eye(4)
        wrist[:3, :3] = self._rotation @ Rotation.from_rotvec(values[_COUNT + 3 :]).as_matrix()
        wrist[:3, 3] = self._position + values[_COUNT : _COUNT + 3]
        return angles, wrist

    def residuals(self, values: FloatArray) -> FloatArray:
        """Each residual is about 1 where it begins to matter."""
        angles, wrist = self.unpack(values)
        frames = self._hand.forward(angles, wrist)
        skin = self._hand.surface(frames, self._sample)
        pads = _pads(frames)
        from_axis = np.linalg.norm(pads[:, :2], axis=1)
        outward = np.concatenate([pads[:, :2] / from_axis[:, None], np.zeros((5, 1))], axis=1)
        tips = frames[[JOINT_INDEX[f"{f}_tip"] for f in FINGERS]]
        knuckles = frames[[JOINT_INDEX[f"{f}_proximal"] for f in _LONG_FINGERS], 2, 3]
        gripper = gripper_pose(self._hand.landmarks(frames))
        fingers = values[5:_COUNT].reshape(4, 4)
        parts = [
            (from_axis - self._radius) / 0.001,
            np.maximum(self._radius - np.linalg.norm(skin[:, :2], axis=1), 0) / 0.001,
            np.maximum(_TABLE_CLEARANCE - skin[:, 2], 0) / 0.001,
            (tips[:, :3, 1] - outward).ravel() * 1.5,
            (pads[1:, 2] - knuckles) / 0.008,
            gripper[:2, 3] / 0.0015,
            [(gripper[2, 3] - self._height) / 0.003],
            (gripper[:3, 2] - self._approach) / 0.08,
            [gripper[2, 1] / 0.04],
            values[:5] / 0.6,
            fingers[:, 1] / 0.15,
            (fingers[:, 0] - fingers[:, 0].mean()) / 0.25,
            (fingers[:, 2] - fingers[:, 2].mean()) / 0.25,
            (fingers[:, 3] - 0.55 * fingers[:, 2]) / 0.15,
            values[_COUNT + 3 :] / 1.0,
        ]
        return np.concatenate([np.asarray(part, dtype=np.float64) for part in parts])


def _pads(frames: FloatArray) -> FloatArray:
    """Finger pads (5, 3) of bone poses (26, 4, 4): a little distal and palmar of the tip joints."""
    tips = frames[[JOINT_INDEX[f"{finger}_tip"] for finger in FINGERS]]
    return tips[:, :3, 3] - _PAD_DISTAL * tips[:, :3, 2] - _PAD_PALMAR * tips[:, :3, 1]
