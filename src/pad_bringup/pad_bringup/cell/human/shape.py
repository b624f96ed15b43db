"""The shape of a human right hand, made by code: surface mesh, skinning weights and rest skeleton.

A signed distance made of round cones on an anthropometric skeleton is meshed by marching cubes, relaxed and put back
onto the surface. Every finger is blended with the palm on its own and the fingers are joined by a hard minimum, so that
they never grow together. Bone lengths are average adult phalanges, radii typical finger breadths, in millimetres inside
this module; what it returns is in metres.

Frame of the hand: origin at the anatomical wrist, -z towards the fingers, +y dorsal (out of the back of the hand), so
that the thumb of a right hand lies at -x. Each joint's own -z points to the next joint and its +y is dorsal.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy.sparse as sparse
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from skimage.measure import marching_cubes

FloatArray = NDArray[np.float64]

FINGERS: tuple[str, ...] = ("thumb", "index", "middle", "ring", "little")


def finger_joints(finger: str) -> tuple[str, ...]:
    """Joint names of one finger from metacarpal to tip; the thumb has no intermediate phalanx."""
    middle = () if finger == "thumb" else (f"{finger}_intermediate",)
    return (f"{finger}_metacarpal", f"{finger}_proximal", *middle, f"{finger}_distal", f"{finger}_tip")


JOINTS: tuple[str, ...] = ("wrist", *(joint for finger in FINGERS for joint in finger_joints(finger)))
"""The 25 joints; a parent always comes before its children."""
JOINT_INDEX: dict[str, int] = {joint: i for i, joint in enumerate(JOINTS)}
FOREARM = len(JOINTS)
"""Index of one more bone, the forearm: it starts at the wrist and points to the elbow (+z)."""
BONE_COUNT = len(JOINTS) + 1

FOREARM_LENGTH = 0.1
"""How far the surface reaches from the wrist along the forearm, metres."""

# Millimetres: metacarpal, proximal, (intermediate,) distal bone with the soft tip.
_LENGTHS = {
    "thumb": (46.2, 31.6, 21.7 + 5.7),
    "index": (68.1, 39.8, 22.4, 15.8 + 3.8),
    "middle": (64.6, 44.6, 26.3, 17.4 + 4.0),
    "ring": (58.0, 41.4, 25.7, 17.3 + 4.0),
    "little": (53.7, 32.7, 18.1, 16.0 + 3.7),
}
# Millimetres: at the knuckle, the inner joint, (the outer joint,) the tip.
_RADII = {
    "thumb": (12.0, 10.3, 8.4),
    "index": (10.6, 9.2, 8.0, 6.9),
    "middle": (10.8, 9.4, 8.2, 7.1),
    "ring": (10.2, 8.8, 7.7, 6.7),
    "little": (9.2, 7.7, 6.8, 5.9),
}
# Millimetres: where the metacarpals begin, in the hand's frame.
_BASES = {
    "thumb": (-23.0, -12.0, -27.0),
    "index": (-13.0, -3.0, -28.0),
    "middle": (-2.0, -2.0, -31.0),
    "ring": (8.0, -3.0, -30.0),
    "little": (17.0, -6.0, -29.0),
}
# Degrees in the relaxed, open rest pose: yaw (+ to the thumb), pitch (- to the palm), roll of each bone.
_ANGLES = {
    "thumb": ((38, -26, 66), (42, -20, 66), (46, -18, 66)),
    "index": ((9.5, 0, 4), (4, -5, 3), (3, -8, 2), (2, -8, 2)),
    "middle": ((1, 2, -2), (-2, -6, -2), (-2, -9, -2), (-2, -9, -2)),
    "ring": ((-8.5, 0, -8), (-9, -7, -8), (-8, -10, -8), (-8, -10, -8)),
    "little": ((-18, -4, -16), (-18, -8, -15), (-17, -11, -14), (-16, -11, -14)),
}
_TIP_INSET = 9.0
"""The tip joint lies this far inside the end of the finger, millimetres: where hand models put a fingertip."""
_SHAFT = 0.95
"""A phalanx is this much thinner in its middle than the mean of its ends."""

# Blend widths (mm) of the smooth minimum. Wide blends inflate the palm, which costs detection.
_BLEND_PALM, _BLEND_FINGER, _BLEND_THUMB, _BLEND_PHALANX = 8.0, 7.0, 10.0, 3.0
_VOXEL = 4.0
_PROJECTIONS = 4
_SMOOTH_FINGERS, _SMOOTH_PALM = 8, 36
_MOST_BONES = 4


@dataclass(frozen=True, eq=False)
class HandShape:
    """A right hand at rest.

    Attributes:
        vertices: (V, 3) metres in the hand's frame.
        faces: (F, 3) indices, counter-clockwise seen from outside.
        weights: (V, 26) share of each bone (25 joints, then the forearm); rows sum to 1, at most four are positive.
        rest: (26, 4, 4) pose of each bone in the hand's frame.
    """

    vertices: FloatArray
    faces: NDArray[np.int64]
    weights: FloatArray
    rest: FloatArray


@lru_cache(maxsize=1)
def build_hand_shape() -> HandShape:
    """The right hand (about 5,700 vertices); takes 1-2 s the first time and is kept for the process."""
    frames = _rest_frames()
    surface = _Surface(frames)
    vertices, faces = _mesh(surface)
    average = _neighbour_average(len(vertices), faces)
    for i in range(_PROJECTIONS):
        if i < _PROJECTIONS - 1:
            vertices = vertices + 0.5 * (average @ vertices - vertices)
        gradient = surface.gradient(vertices)
        step = surface(vertices) / np.maximum((gradient * gradient).sum(axis=1), 0.2)
        vertices = vertices - step[:, None] * gradient
    weights = _weights(vertices, average, frames)
    corners = vertices[faces]
    if np.einsum("ij,ij->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) < 0:
        faces = faces[:, ::-1]
    rest = np.concatenate([frames, np.eye(4)[None]])
    rest[:, :3, 3] *= 1e-3
    shape = HandShape(vertices * 1e-3, np.ascontiguousarray(faces), weights, rest)
    for array in (shape.vertices, shape.faces, shape.weights, shape.rest):
        array.flags.writeable = False
    return shape


def _rest_frames() -> FloatArray:
    """(25, 4, 4) poses of the joints at rest, millimetres."""
    frames = np.tile(np.eye(4), (len(JOINTS), 1, 1))
    for finger in FINGERS:
        lengths, angles = _LENGTHS[finger], _ANGLES[finger]
        position = np.array(_BASES[finger])
        for k, joint in enumerate(finger_joints(finger)):
            rotation = Rotation.from_euler("YXZ", angles[min(k, len(angles) - 1)], degrees=True).as_matrix()
            frames[JOINT_INDEX[joint], :3, :3] = rotation
            frames[JOINT_INDEX[joint], :3, 3] = position
            if k < len(lengths):
                inset = _TIP_INSET if k == len(lengths) - 1 else 0.0
                position = position - rotation[:, 2] * (lengths[k] - inset)
    return frames


def _cone(points: FloatArray, start: FloatArray, end: FloatArray, radius_start: float, radius_end: float) -> FloatArray:
    """Signed distance (P,) of points (P, 3) from a round cone, radius interpolated along its axis."""
    axis = end - start
    along = np.clip((points - start) @ axis / (axis @ axis), 0, 1)
    distance = np.linalg.norm(points - start - along[:, None] * axis, axis=1)
    return distance - (radius_start + (radius_end - radius_start) * along)


def _blend(a: FloatArray, b: FloatArray, width: float) -> FloatArray:
    """Smooth minimum: equal to the minimum where the two differ by more than `width`."""
    h = np.maximum(width - np.abs(a - b), 0) / width
    return np.minimum(a, b) - h * h * width / 4


def _blend_all(parts: list[FloatArray], width: float) -> FloatArray:
    result = parts[0]
    for part in parts[1:]:
        result = _blend(result, part, width)
    return result


class _Surface:
    """Signed distance (mm) of the hand at rest: negative inside."""

    def __init__(self, frames: FloatArray) -> None:
        self._frames = frames

    def __call__(self, points: FloatArray) -> FloatArray:
        """Distances (P,) of points (P, 3)."""
        palm = self._palm(points)
        result = np.full(len(points), np.inf)
        for finger in FINGERS:
            width = _BLEND_THUMB if finger == "thumb" else _BLEND_FINGER
            result = np.minimum(result, _blend(palm, self._finger(points, finger), width))
        return result

    def gradient(self, points: FloatArray, step: float = 0.05) -> FloatArray:
        """Gradient (P, 3) at points (P, 3) by central differences."""
        shifts = step * np.eye(3)
        return np.stack([(self(points + s) - self(points - s)) / (2 * step) for s in shifts], axis=1)

    def _position(self, joint: str) -> FloatArray:
        return self._frames[JOINT_INDEX[joint], :3, 3]

    def _rotation(self, joint: str) -> FloatArray:
        return self._frames[JOINT_INDEX[joint], :3, :3]

    def _finger(self, points: FloatArray, finger: str) -> FloatArray:
        joints, radii = finger_joints(finger)[1:], _RADII[finger]
        last = self._rotation(joints[-1])
        end = self._position(joints[-1]) - last[:, 2] * (_TIP_INSET - radii[-1])
        knots = [*(self._position(joint) for joint in joints[:-1]), end]
        parts = []
        for i, (a, b) in enumerate(zip(knots[:-1], knots[1:], strict=True)):
            middle = (a + b) / 2
            if i == len(knots) - 2:
                # The pulp sits on the palmar side of the last phalanx, its nail side is flat.
                parts.append(_cone(points, a, end - last[:, 1] * 0.6, radii[i], radii[i + 1]))
                pulp = (middle - last[:, 1], end - last[:, 1] * 1.2)
                parts.append(_cone(points, *pulp, radii[i + 1] * 0.95, radii[i + 1] * 0.9))
            else:
                waist = 0.5 * (radii[i] + radii[i + 1]) * _SHAFT
                middle = middle - self._rotation(joints[i])[:, 1] * 0.8
                parts += [_cone(points, a, middle, radii[i], waist), _cone(points, middle, b, waist, radii[i + 1])]
        return _blend_all(parts, _BLEND_PHALANX)

    def _palm(self, points: FloatArray) -> FloatArray:
        position, rotation, at = self._position, self._rotation, np.array
        forearm_end = FOREARM_LENGTH * 1e3
        arm = [_cone(points, at([s * 9.5, 0.0, 2.0]), at([s * 12.5, -2.0, forearm_end]), 19.0, 27.0) for s in (-1, 1)]
        carpus = [_cone(points, at([s * 9.5, 0.0, 2.0]), at([s * 12.0, -3.0, -30.0]), 19.0, 14.5) for s in (-1, 1)]
        result = _blend_all(arm + carpus, 10.0)

        for finger, near, far in zip(FINGERS[1:], (12.5, 12.5, 12.0, 11.5), (11.02, 11.02, 10.42, 9.82), strict=True):
            base, knuckle = finger_joints(finger)[:2]
            start = position(base) + at([0.0, -3.0, 0.0])
            end = position(knuckle) - rotation(knuckle)[:, 2] * 3.0 + at([0.0, -2.5, 0.0])
            result = _blend(result, _cone(points, start, end, near, far), _BLEND_PALM)

        little, index, ring = position("little_proximal"), position("index_proximal"), position("ring_proximal")
        heel = _cone(points, at([20.0, -11.0, -22.0]), little + at([1.0, -4.0, 10.0]), 13.0, 10.5)
        result = _blend(result, heel, _BLEND_PALM)
        pad = _cone(points, index + at([1.0, -6.0, 6.0]), ring + at([8.0, -6.0, 6.0]), 8.0, 8.0)
        result = _blend(result, pad, _BLEND_PALM)

        a, b = position("thumb_metacarpal"), position("thumb_proximal")
        palmar = rotation("thumb_metacarpal")[:, 1]
        result = _blend(result, _cone(points, a - palmar, b - palmar, 13.5, 12.0), _BLEND_THUMB)
        ball = (a * 0.7 + at([-8.0, -16.0, -28.0]) * 0.3, b * 0.5 + at([-14.0, -16.0, -60.0]) * 0.5)
        result = _blend(result, _cone(points, *ball, 13.5, 10.5), _BLEND_THUMB)
        beside_index = position("index_metacarpal") * 0.45 + index * 0.55 + at([-3.0, -4.0, 0.0])
        result = _blend(result, _cone(points, a * 0.35 + b * 0.65, beside_index, 7.0, 7.5), _BLEND_THUMB)

        webs = []
        for finger in FINGERS[1:]:
            knuckle = finger_joints(finger)[1]
            p, r = position(knuckle), rotation(knuckle)
            top = p + r[:, 1] * 2.1
            ridge = _cone(points, top, top + r[:, 2] * 12.0, 7.3 if finger == "little" else 8.2, 5.5)
            result = _blend(result, ridge, 5.0)
            webs.append(p - r[:, 2] * 9.0 * _LENGTHS[finger][1] / 42 - r[:, 1] * 2.5)
        for start, end in zip(webs[:-1], webs[1:], strict=True):
            result = _blend(result, _cone(points, start, end, 6.5, 6.5), _BLEND_PALM)
        return result


def _mesh(surface: _Surface) -> tuple[FloatArray, NDArray[np.int64]]:
    """Vertices (V, 3) mm and faces (F, 3) of the zero level."""
    low = np.array([-100.0, -75.0, -205.0])
    high = np.array([65.0, 45.0, FOREARM_LENGTH * 1e3 + 40.0])
    counts = ((high - low) / _VOXEL).astype(int) + 1
    axes = [low[i] + _VOXEL * np.arange(counts[i]) for i in range(3)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    distances = surface(grid.reshape(-1, 3)).reshape(counts)
    vertices, faces, _, _ = marching_cubes(distances, 0.0, spacing=(_VOXEL,) * 3)
    return vertices.astype(np.float64) + low, faces.astype(np.int64)


def _neighbour_average(count: int, faces: NDArray[np.int64]) -> sparse.spmatrix:
    """(V, V) matrix that replaces a vertex value by the mean of its neighbours' values."""
    edges = np.concatenate([faces[:, :2], faces[:, 1:], faces[:, [2, 0]]])
    edges = np.concatenate([edges, edges[:, ::-1]])
    adjacency = sparse.csr_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), (count, count))
    adjacency.data[:] = 1
    return sparse.diags(1 / np.asarray(adjacency.sum(axis=1)).ravel()) @ adjacency


def _weights(vertices: FloatArray, average: sparse.spmatrix, frames: FloatArray) -> FloatArray:
    """(V, 26): the nearest bone of each vertex, spread over the mesh; further on the palm than on the fingers."""
    owners: list[int] = []
    distances: list[FloatArray] = []

    def bone(owner: int, start: FloatArray, end: FloatArray, radius_start: float, radius_end: float) -> None:
        axis = end - start
        along = np.clip((vertices - start) @ axis / (axis @ axis), 0, 1)
        distance = np.linalg.norm(vertices - start - along[:, None] * axis, axis=1)
        owners.append(owner)
        distances.append(distance / (radius_start + (radius_end - radius_start) * along))

    origin = np.zeros(3)
    bone(FOREARM, origin, np.array([0.0, 0.0, FOREARM_LENGTH * 1e3 + 30.0]), 24.0, 30.0)
    bone(0, origin, np.array([0.0, -4.0, -30.0]), 24.0, 20.0)
    for finger in FINGERS:
        joints, radii = finger_joints(finger), _RADII[finger]
        for k, (joint, following) in enumerate(zip(joints[:-1], joints[1:], strict=True)):
            frame = frames[JOINT_INDEX[following]]
            end = frame[:3, 3] - (frame[:3, 2] * 5 if following.endswith("tip") else 0)
            ends = (radii[k - 1], radii[k]) if k else ((14.0, 13.0) if finger == "thumb" else (12.0, 12.0))
            bone(JOINT_INDEX[joint], frames[JOINT_INDEX[joint], :3, 3], end, *ends)
    nearest = np.array(owners)[np.argmin(distances, axis=0)]
    hard = np.zeros((len(vertices), BONE_COUNT))
    hard[np.arange(len(vertices)), nearest] = 1
    for finger in FINGERS[1:]:
        # These metacarpals never move against the wrist.
        metacarpal = JOINT_INDEX[f"{finger}_metacarpal"]
        hard[:, 0] += hard[:, metacarpal]
        hard[:, metacarpal] = 0

    diffusion = 0.5 * (average + sparse.eye(len(vertices)))

    def spread(values: FloatArray, steps: int) -> FloatArray:
        for _ in range(steps):
            values = diffusion @ values
        return values

    on_palm = hard[:, [FOREARM, 0, JOINT_INDEX["thumb_metacarpal"]]].sum(axis=1)
    on_fingers = hard[:, [JOINT_INDEX[j] for f in FINGERS for j in finger_joints(f)[1:-1]]].sum(axis=1)
    wide_share = np.clip(1 - 2.5 * spread(on_fingers, _SMOOTH_FINGERS), 0, 1) * on_palm
    wide_share = spread(wide_share, 6)[:, None]
    weights = spread(hard, _SMOOTH_FINGERS) * (1 - wide_share) + spread(hard, _SMOOTH_PALM) * wide_share
    smallest_kept = -np.sort(-weights, axis=1)[:, _MOST_BONES - 1 : _MOST_BONES]
    weights[weights < np.maximum(smallest_kept, 0.02)] = 0
    return weights / weights.sum(axis=1, keepdims=True)
