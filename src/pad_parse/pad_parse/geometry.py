"""Rigid-body geometry: SE(3), rotations, projection, rigid fits.

Conventions: SI units, radians, right-handed frames. A pose `T` is a (..., 4, 4) float64 matrix that maps points of
the child frame into the parent frame (`p_parent = T p_child`). Quaternions are (x, y, z, w). Camera
frames are optical: x right, y down, z forward. Every function broadcasts over leading axes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from pad_parse.errors import GeometryError

FloatArray = NDArray[np.float64]

_REFLECTION = np.array([1.0, -1.0, 1.0])
_SMOOTHED_AT_ONCE = 1024
"""Poses whose windows are in memory together."""


def make_pose(rotation: ArrayLike, translation: ArrayLike) -> FloatArray:
    """Pose (..., 4, 4) from rotation matrices (..., 3, 3) and translations (..., 3) in metres."""
    r = np.asarray(rotation, dtype=np.float64)
    t = np.asarray(translation, dtype=np.float64)
    if r.shape[-2:] != (3, 3) or t.shape[-1:] != (3,):
        raise GeometryError(f"make_pose needs (..., 3, 3) and (..., 3); got {r.shape} and {t.shape}")
    shape = np.broadcast_shapes(r.shape[:-2], t.shape[:-1])
    pose = np.zeros((*shape, 4, 4))
    pose[..., :3, :3] = r
    pose[..., :3, 3] = t
    pose[..., 3, 3] = 1.0
    return pose


def inverse(pose: ArrayLike) -> FloatArray:
    """Inverse of rigid poses (..., 4, 4)."""
    p = _pose(pose)
    r = np.swapaxes(p[..., :3, :3], -1, -2)
    return make_pose(r, -np.einsum("...ij,...j->...i", r, p[..., :3, 3]))


def compose(*poses: ArrayLike) -> FloatArray:
    """Product of poses (..., 4, 4), left to right: `compose(A, B)` maps B's child frame to A's parent."""
    if not poses:
        raise GeometryError("compose needs at least one pose")
    result = _pose(poses[0])
    for pose in poses[1:]:
        result = result @ _pose(pose)
    return result


def transform_points(pose: ArrayLike, points: ArrayLike) -> FloatArray:
    """Points (..., N, 3), or one point (3,), moved by poses (..., 4, 4); metres in, metres out."""
    p = _pose(pose)
    x = np.asarray(points, dtype=np.float64)
    if x.shape[-1:] != (3,):
        raise GeometryError(f"points must end in 3 coordinates; got shape {x.shape}")
    if x.ndim == 1:
        return np.einsum("...ij,j->...i", p[..., :3, :3], x) + p[..., :3, 3]
    return x @ np.swapaxes(p[..., :3, :3], -1, -2) + p[..., None, :3, 3]


def rotation_6d(rotation: ArrayLike) -> FloatArray:
    """(..., 6) = first column then second column of rotations (..., 3, 3)."""
    r = np.asarray(rotation, dtype=np.float64)
    if r.shape[-2:] != (3, 3):
        raise GeometryError(f"rotation_6d needs (..., 3, 3); got {r.shape}")
    return np.concatenate([r[..., :, 0], r[..., :, 1]], axis=-1)


def from_rotation_6d(vector: ArrayLike) -> FloatArray:
    """Rotations (..., 3, 3) from 6-D vectors (..., 6), made orthonormal by Gram-Schmidt.

    Raises:
        GeometryError: the two columns are zero or parallel.
    """
    d = np.asarray(vector, dtype=np.float64)
    if d.shape[-1:] != (6,):
        raise GeometryError(f"from_rotation_6d needs (..., 6); got {d.shape}")
    a, b = d[..., :3], d[..., 3:]
    length_a = np.linalg.norm(a, axis=-1, keepdims=True)
    x = a / np.maximum(length_a, 1e-300)
    y = b - np.sum(x * b, axis=-1, keepdims=True) * x
    length_y = np.linalg.norm(y, axis=-1, keepdims=True)
    scale_b = np.linalg.norm(b, axis=-1, keepdims=True)
    if not (
        np.all(length_a > 1e-9) and np.all(length_y > 1e-9 * np.maximum(scale_b, 1e-9)) and np.all(length_y > 1e-12)
    ):
        raise GeometryError("from_rotation_6d: a zero, parallel or non-finite pair of columns is no rotation")
    y = y / length_y
    return np.stack([x, y, np.cross(x, y)], axis=-1)


def quaternion_xyzw(pose: ArrayLike) -> FloatArray:
    """Unit quaternions (..., 4), xyzw with w >= 0, of poses (..., 4, 4) or rotations (..., 3, 3)."""
    p = np.asarray(pose, dtype=np.float64)
    if p.shape[-2:] not in ((3, 3), (4, 4)):
        raise GeometryError(f"quaternion_xyzw needs (..., 3, 3) or (..., 4, 4); got {p.shape}")
    r = p[..., :3, :3]
    q = Rotation.from_matrix(r.reshape(-1, 3, 3)).as_quat(canonical=True)
    return np.asarray(q, dtype=np.float64).reshape(*r.shape[:-2], 4)


def from_quaternion_xyzw(quaternion: ArrayLike) -> FloatArray:
    """Rotations (..., 3, 3) from quaternions (..., 4), xyzw, of any non-zero length."""
    q = np.asarray(quaternion, dtype=np.float64)
    if q.shape[-1:] != (4,):
        raise GeometryError(f"from_quaternion_xyzw needs (..., 4); got {q.shape}")
    if not np.all(np.linalg.norm(q, axis=-1) > 1e-12):
        raise GeometryError("from_quaternion_xyzw: a zero or non-finite quaternion is no rotation")
    return np.asarray(Rotation.from_quat(q.reshape(-1, 4)).as_matrix()).reshape(*q.shape[:-1], 3, 3)


def rotation_log(rotation: ArrayLike) -> FloatArray:
    """Rotation vectors (..., 3) in radians of rotations (..., 3, 3)."""
    r = np.asarray(rotation, dtype=np.float64)
    return np.asarray(Rotation.from_matrix(r.reshape(-1, 3, 3)).as_rotvec()).reshape(*r.shape[:-2], 3)


def rotation_exp(vector: ArrayLike) -> FloatArray:
    """Rotations (..., 3, 3) from rotation vectors (..., 3) in radians."""
    v = np.asarray(vector, dtype=np.float64)
    return np.asarray(Rotation.from_rotvec(v.reshape(-1, 3)).as_matrix()).reshape(*v.shape[:-1], 3, 3)


def rotation_angle(pose_a: ArrayLike, pose_b: ArrayLike) -> FloatArray:
    """Angle (...,) in radians between the rotations of poses (..., 4, 4) or rotations (..., 3, 3)."""
    a = np.asarray(pose_a, dtype=np.float64)[..., :3, :3]
    b = np.asarray(pose_b, dtype=np.float64)[..., :3, :3]
    return np.linalg.norm(rotation_log(np.swapaxes(a, -1, -2) @ b), axis=-1)


def yaw_pose(x: ArrayLike, y: ArrayLike, yaw: ArrayLike, z: ArrayLike = 0.0) -> FloatArray:
    """Upright poses (..., 4, 4) at (x, y, z) metres, turned by `yaw` radians about z."""
    x, y, z, yaw = np.broadcast_arrays(*(np.asarray(a, dtype=np.float64) for a in (x, y, z, yaw)))
    zero, one = np.zeros_like(x), np.ones_like(x)
    c, s = np.cos(yaw), np.sin(yaw)
    rotation = np.stack([np.stack([c, -s, zero], -1), np.stack([s, c, zero], -1), np.stack([zero, zero, one], -1)], -2)
    return make_pose(rotation, np.stack([x, y, z], -1))


def project(points_in_camera: ArrayLike, matrix: ArrayLike) -> FloatArray:
    """Pixels (..., N, 2) of points (..., N, 3) in the optical frame; `matrix` is (3, 3) in pixels.

    A point at or behind the camera plane has no pixel: its result is nan.
    """
    p = np.asarray(points_in_camera, dtype=np.float64)
    k = np.asarray(matrix, dtype=np.float64)
    z = np.where(p[..., 2] > 1e-9, p[..., 2], np.nan)
    u = (k[..., 0, 0] * p[..., 0] + k[..., 0, 1] * p[..., 1]) / z + k[..., 0, 2]
    v = k[..., 1, 1] * p[..., 1] / z + k[..., 1, 2]
    return np.stack([u, v], axis=-1)


def unproject(pixels: ArrayLike, depth: ArrayLike, matrix: ArrayLike) -> FloatArray:
    """Points (..., N, 3) in the optical frame from pixels (..., N, 2) and depths along z (..., N) in metres.

    A depth that is not positive and finite gives nan.
    """
    uv = np.asarray(pixels, dtype=np.float64)
    d = np.asarray(depth, dtype=np.float64)
    k = np.asarray(matrix, dtype=np.float64)
    z = np.where(np.isfinite(d) & (d > 0), d, np.nan)
    y = (uv[..., 1] - k[..., 1, 2]) / k[..., 1, 1] * z
    x = (uv[..., 0] - k[..., 0, 2]) / k[..., 0, 0] * z - k[..., 0, 1] / k[..., 0, 0] * y
    return np.stack([x, y, z], axis=-1)


def kabsch(a: ArrayLike, b: ArrayLike, weights: ArrayLike | None = None) -> FloatArray:
    """Rigid pose (..., 4, 4) that best maps points `a` (..., N, 3) onto `b` (..., N, 3): b ~ T a.

    Args:
        weights: non-negative (..., N); points of weight zero do not count. Equal weights if not given.

    Raises:
        GeometryError: shapes differ, fewer than three points, or no positive weight.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape or a.shape[-1:] != (3,) or a.ndim < 2:
        raise GeometryError(f"kabsch needs two (..., N, 3) arrays of one shape; got {a.shape} and {b.shape}")
    if a.shape[-2] < 3:
        raise GeometryError(f"kabsch needs at least 3 points; got {a.shape[-2]}")
    w = (
        np.ones(a.shape[:-1])
        if weights is None
        else np.broadcast_to(np.asarray(weights, dtype=np.float64), a.shape[:-1])
    )
    total = w.sum(axis=-1, keepdims=True)
    if not (np.all(w >= 0) and np.all(total > 0)):
        raise GeometryError("kabsch: weights must be non-negative with a positive sum")
    w = (w / total)[..., None]
    centre_a, centre_b = (w * a).sum(-2, keepdims=True), (w * b).sum(-2, keepdims=True)
    covariance = np.swapaxes(w * (a - centre_a), -1, -2) @ (b - centre_b)
    u, _, vt = np.linalg.svd(covariance)
    v = np.swapaxes(vt, -1, -2)
    sign = np.linalg.det(v @ np.swapaxes(u, -1, -2))
    v[..., :, 2] *= np.where(sign < 0, -1.0, 1.0)[..., None]
    rotation = v @ np.swapaxes(u, -1, -2)
    return make_pose(rotation, centre_b[..., 0, :] - np.einsum("...ij,...j->...i", rotation, centre_a[..., 0, :]))


def interpolate_pose(pose_a: ArrayLike, pose_b: ArrayLike, s: ArrayLike) -> FloatArray:
    """Poses (..., 4, 4) at fraction `s` (...) from `pose_a` (s = 0) to `pose_b` (s = 1): slerp and lerp."""
    a, b = _pose(pose_a), _pose(pose_b)
    fraction = np.asarray(s, dtype=np.float64)
    relative = rotation_log(np.swapaxes(a[..., :3, :3], -1, -2) @ b[..., :3, :3])
    rotation = a[..., :3, :3] @ rotation_exp(fraction[..., None] * relative)
    return make_pose(rotation, (1 - fraction)[..., None] * a[..., :3, 3] + fraction[..., None] * b[..., :3, 3])


def smooth_poses(poses: ArrayLike, sigma: float, weights: ArrayLike | None = None) -> FloatArray:
    """Poses (T, 4, 4) smoothed along time by a Gaussian of `sigma` samples, on SE(3) (no Euler angles).

    Near the ends the window is shortened evenly on both sides, so the first and last pose stay where they are.

    Args:
        weights: non-negative (T,), e.g. 0 for frames that were filled in; a window without weight keeps its own pose.
    """
    p = _pose(poses)
    if p.ndim != 3:
        raise GeometryError(f"smooth_poses needs (T, 4, 4); got {p.shape}")
    count = len(p)
    w = np.ones(count) if weights is None else np.asarray(weights, dtype=np.float64)
    if w.shape != (count,) or np.any(w < 0):
        raise GeometryError(f"smooth_poses: weights must be non-negative ({count},); got {w.shape}")
    if sigma <= 0 or count < 3:
        return p.copy()
    reach = max(1, int(np.ceil(3 * sigma)))
    offsets = np.arange(-reach, reach + 1)
    gaussian = np.exp(-0.5 * (offsets / sigma) ** 2)
    result = p.copy()
    for first in range(0, count, _SMOOTHED_AT_ONCE):
        at = np.arange(first, min(first + _SMOOTHED_AT_ONCE, count))
        half = np.minimum(reach, np.minimum(at, count - 1 - at))
        inside = np.abs(offsets) <= half[:, None]
        window = np.where(inside, at[:, None] + offsets, at[:, None])
        kernel = np.where(inside, gaussian * w[window], 0.0)
        total = kernel.sum(axis=1)
        moved = (half > 0) & (total > 1e-12)
        at, window, kernel = at[moved], window[moved], (kernel[moved] / total[moved, None])
        around = p[window]
        rotation = p[at, :3, :3]
        for _ in range(3):
            steps = rotation_log(np.swapaxes(rotation, -1, -2)[:, None] @ around[..., :3, :3])
            rotation = rotation @ rotation_exp(np.einsum("tk,tki->ti", kernel, steps))
        result[at] = make_pose(rotation, np.einsum("tk,tki->ti", kernel, around[..., :3, 3]))
    return result


def reflect_points(points: ArrayLike) -> FloatArray:
    """Points (..., 3) mirrored across the task frame's x-z plane: y -> -y."""
    return np.asarray(points, dtype=np.float64) * _REFLECTION


def reflect_pose(pose: ArrayLike) -> FloatArray:
    """Poses (..., 4, 4) mirrored across the x-z plane: x' = S x, R' = S R S, S = diag(1, -1, 1)."""
    p = _pose(pose)
    rotation = _REFLECTION[:, None] * p[..., :3, :3] * _REFLECTION
    return make_pose(rotation, reflect_points(p[..., :3, 3]))


def is_rigid(pose: ArrayLike, tolerance: float = 1e-6) -> NDArray[np.bool_]:
    """(...,) bool: whether (..., 4, 4) is finite, orthonormal, right-handed, with last row 0 0 0 1."""
    p = _pose(pose)
    r = p[..., :3, :3]
    with np.errstate(invalid="ignore"):
        finite = np.all(np.isfinite(p), axis=(-2, -1))
        orthonormal = np.all(np.abs(np.swapaxes(r, -1, -2) @ r - np.eye(3)) < tolerance, axis=(-2, -1))
        determinant = np.linalg.det(np.where(finite[..., None, None], r, np.eye(3))) > 0
        last_row = np.all(np.abs(p[..., 3, :] - [0, 0, 0, 1]) < tolerance, axis=-1)
    return finite & orthonormal & determinant & last_row


def _pose(pose: ArrayLike) -> FloatArray:
    p = np.asarray(pose, dtype=np.float64)
    if p.shape[-2:] != (4, 4):
        raise GeometryError(f"a pose must be (..., 4, 4); got {p.shape}")
    return p
