"""Robust, zero-phase smoothing of poses and scalars along time, on SE(3) and with uneven stamps.

At every frame a low-order polynomial is fitted to the neighbours in the tangent space of that frame's pose, with
weights that fall off with time and that turn outliers off (Tukey), and evaluated at the frame: a weighted
Savitzky-Golay filter that also bridges gaps.
"""

from __future__ import annotations

import numpy as np

from pad_parse import geometry
from pad_parse.errors import GeometryError


def smooth_scalars(
    stamps: np.ndarray,
    values: np.ndarray,
    weights: np.ndarray | None = None,
    *,
    half_window: float = 0.25,
    order: int = 2,
    spread: float,
) -> np.ndarray:
    """Values (T, D) smoothed; nan or weight 0 = not seen (the result bridges what the window covers, else nan).

    stamps (T,) s; half_window s; spread: the noise (same unit as the values) beyond which a sample is an outlier at
    three times as much.
    """
    data = np.asarray(values, dtype=np.float64)
    flat = data.reshape(len(data), -1)
    weight = np.ones(len(flat)) if weights is None else np.asarray(weights, dtype=np.float64)
    weight = np.where(np.isfinite(flat).all(axis=1), weight, 0.0)
    result = np.full_like(flat, np.nan)
    for t in range(len(flat)):
        near, reach = _neighbours(stamps, weight, t, half_window)
        fit = _local_fit(stamps[near] - stamps[t], flat[near], weight[near], reach, order, spread)
        if fit is not None:
            result[t] = fit
    return result.reshape(data.shape)


def smooth_trajectory(
    stamps: np.ndarray,
    poses: np.ndarray,
    weights: np.ndarray | None = None,
    *,
    half_window: float = 0.25,
    order: int = 2,
    position_spread: float = 0.006,
    rotation_spread: float = 0.12,
) -> np.ndarray:
    """Poses (T, 4, 4) smoothed on SE(3); weight 0 or nan = not seen (bridged where the window covers, else nan).

    stamps (T,) s; weights (T,); half_window s; position_spread m and rotation_spread rad as in `smooth_scalars`.
    """
    data = np.asarray(poses, dtype=np.float64)
    if data.ndim != 3 or data.shape[1:] != (4, 4):
        raise GeometryError(f"poses must be (T, 4, 4), got {data.shape}")
    weight = np.ones(len(data)) if weights is None else np.asarray(weights, dtype=np.float64)
    weight = np.where(np.isfinite(data).all(axis=(1, 2)), weight, 0.0)
    result = np.full_like(data, np.nan)
    position = smooth_scalars(
        stamps, data[:, :3, 3], weight, half_window=half_window, order=order, spread=position_spread
    )
    for t in range(len(data)):
        near, reach = _neighbours(stamps, weight, t, half_window)
        if not len(near) or not np.isfinite(position[t]).all():
            continue
        # Tangent space at a robust centre of the window, so that an outlier at t does not define it.
        centre = _medoid(data[near, :3, :3])
        tangent = geometry.rotation_log(centre.T @ data[near, :3, :3])
        fit = _local_fit(stamps[near] - stamps[t], tangent, weight[near], reach, order, rotation_spread)
        if fit is not None:
            result[t] = geometry.make_pose(centre @ geometry.rotation_exp(fit), position[t])
    return result


def mean_pose(
    poses: np.ndarray,
    weights: np.ndarray | None = None,
    *,
    position_spread: float = 0.008,
    rotation_spread: float = 0.12,
) -> np.ndarray:
    """Robust mean (4, 4) of poses (T, 4, 4): medoid, then Tukey-weighted means of position and rotation."""
    data = np.asarray(poses, dtype=np.float64)
    weight = np.ones(len(data)) if weights is None else np.asarray(weights, dtype=np.float64)
    keep = np.isfinite(data).all(axis=(1, 2)) & (weight > 0)
    if not keep.any():
        raise GeometryError("no finite pose with a positive weight to take the mean of")
    data, weight = data[keep], weight[keep]
    rotation, position = _medoid(data[:, :3, :3]), np.median(data[:, :3, 3], axis=0)
    for _ in range(6):
        tangent = geometry.rotation_log(rotation.T @ data[:, :3, :3])
        offset = data[:, :3, 3] - position
        for_rotation = weight * _tukey(np.linalg.norm(tangent, axis=1), rotation_spread)
        for_position = weight * _tukey(np.linalg.norm(offset, axis=1), position_spread)
        if for_rotation.sum() > 0:
            rotation = rotation @ geometry.rotation_exp(
                (for_rotation[:, None] * tangent).sum(axis=0) / for_rotation.sum()
            )
        if for_position.sum() > 0:
            position = position + (for_position[:, None] * offset).sum(axis=0) / for_position.sum()
    return geometry.make_pose(rotation, position)


def _medoid(rotations: np.ndarray) -> np.ndarray:
    """The rotation (3, 3) with the least summed angle to the others (at most 40 candidates looked at)."""
    step = max(1, len(rotations) // 40)
    candidates = rotations[::step]
    cosine = (np.einsum("aij,bij->ab", candidates, rotations) - 1) / 2
    return candidates[np.arccos(np.clip(cosine, -1, 1)).sum(axis=1).argmin()]


def _tukey(distance: np.ndarray, spread: float) -> np.ndarray:
    # The scale follows the data where it is noisier than expected, so that not everything becomes an outlier.
    scale = 4.7 * max(spread, 1.48 * float(np.median(distance))) if len(distance) else spread
    return np.where(distance < scale, (1 - (distance / scale) ** 2) ** 2, 0.0)


def _neighbours(stamps: np.ndarray, weight: np.ndarray, t: int, half_window: float) -> tuple[np.ndarray, float]:
    """Samples to fit at frame t, and the reach in s: at the ends of the recording it grows on the one side there is."""
    room = min(half_window, stamps[t] - stamps[0], stamps[-1] - stamps[t])
    reach = 2 * half_window - room
    if not (weight[np.abs(stamps - stamps[t]) <= half_window] > 0).any():
        return np.zeros(0, dtype=np.int64), reach
    return np.nonzero((np.abs(stamps - stamps[t]) <= reach) & (weight > 0))[0], reach


def _trusted(scaled: np.ndarray, values: np.ndarray, weights: np.ndarray, spread: float) -> np.ndarray:
    """First weights (n,) 0..1: distance from a line through most samples (least absolute deviations).

    Without this an outlier at the end of the recording would bend the polynomial to itself.
    """
    degree = min(1, len(scaled) - 1)
    basis = scaled[:, None] ** np.arange(degree + 1)
    distance = np.linalg.norm(values - np.median(values, axis=0), axis=1)
    for _ in range(8):
        weighted = basis * (weights / np.maximum(distance, 0.3 * spread))[:, None]
        gram = weighted.T @ basis
        gram[np.diag_indices_from(gram)] *= 1 + 1e-9
        gram[np.diag_indices_from(gram)] += 1e-12
        distance = np.linalg.norm(values - basis @ np.linalg.solve(gram, weighted.T @ values), axis=1)
    return _tukey(distance, 2 * spread)


def _local_fit(
    time: np.ndarray, values: np.ndarray, weights: np.ndarray, half_window: float, order: int, spread: float
) -> np.ndarray | None:
    """Value (D,) at time 0 of a robust local polynomial; None without samples."""
    if not len(time):
        return None
    scaled = time / half_window
    kernel = weights * (1 - np.abs(scaled) ** 3 * 0.999) ** 3
    # A polynomial must not extrapolate: samples on one side only allow a line, few samples a constant.
    one_sided = time.min() > 1e-9 or time.max() < -1e-9
    degree = min(order, len(time) - 1, 1 if one_sided else order)
    if one_sided and np.abs(time).min() > 0.5 * half_window:
        degree = 0
    basis = scaled[:, None] ** np.arange(degree + 1)
    robust = _trusted(scaled, values, weights, spread)
    for _ in range(4):
        w = kernel * robust
        if w.sum() < 1e-9:
            return np.asarray(np.median(values, axis=0))
        weighted = basis * w[:, None]
        ridge = np.diag([1e-9] + [1e-6] * degree) * w.sum()
        coefficients = np.linalg.solve(weighted.T @ basis + ridge, weighted.T @ values)
        robust = _tukey(np.linalg.norm(values - basis @ coefficients, axis=1), spread)
    return np.asarray(coefficients[0])
