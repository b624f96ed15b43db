"""The camera's pose from boards at known poses, or from a board that an arm holds, by all reprojections.

Poses are (4, 4), metres: C maps the optical frame to the task frame, G_i the board or the hand of view i to the task
frame, X the board to the hand (eye-to-hand: unknown but the same in all views; else the identity). A corner p of the
board is seen at the projection of C^-1 G_i X p; least squares over all of these gives C and X. For eye-to-hand they
start from the linear solution of C T_i = G_i X by the Kronecker product (M. Shah, "Solving the robot-world/hand-eye
calibration problem using the Kronecker product", 2013), where T_i is each view's own pose of the board in the camera.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from pad_bringup.calibration.board import Detection
from pad_bringup.errors import CalibrationError
from pad_parse import geometry

FloatArray = NDArray[np.float64]
LEAST_HAND_VIEWS = 4
_PIXEL_NOISE = 0.05
"""Corners are never trusted to be seen better than this, pixels."""

_MIRRORED = 1.3
"""A mirrored pose of the board whose residual is below this factor of the best one's explains the image too."""


@dataclass(frozen=True, eq=False)
class BoardView:
    """A board in one image.

    pose: (4, 4) of what carries the board in the task frame: the board itself where its pose is known, else the hand.
    depth: (N,) m along the optical axis that a depth camera measured at the corners; nan where it did not.
    """

    name: str
    detection: Detection
    pose: FloatArray
    depth: FloatArray | None = None


@dataclass(frozen=True, eq=False)
class Solution:
    """A camera pose and how well it is known.

    Attributes:
        camera_to_task: (4, 4), optical frame -> task frame, m.
        board_to_carrier: (4, 4): the board in the hand's frame; the identity for boards at known poses.
        pixels: root mean square distance between seen and computed corners, pixels.
        millimetres: the same on the board: between a corner and where its pixel's ray meets the board.
        view_pixels: (V,) pixels of each view.
        uncertainty_mm, uncertainty_degrees: one standard deviation of what the pose says about a point among the
            boards, and of its rotation, from the residuals.
        depth_scale: median of measured by computed depth of the corners; None without a depth camera.
    """

    camera_to_task: FloatArray
    board_to_carrier: FloatArray
    pixels: float
    millimetres: float
    view_pixels: FloatArray
    uncertainty_mm: float
    uncertainty_degrees: float
    depth_scale: float | None


def solve_known_poses(views: Sequence[BoardView], matrix: FloatArray) -> Solution:
    """The camera's pose from boards whose poses in the task frame are known. matrix: (3, 3) pixels.

    Raises:
        CalibrationError: no views, or a second camera pose explains the images as well (a small board).
    """
    if not views:
        raise CalibrationError("no view of the board was given")
    problem = _Problem(views, matrix, board_in_hand=False)
    ends = []
    for view in views[:8]:
        for in_camera in _board_poses(view.detection, matrix):
            ends.append(problem.refined(view.pose @ geometry.inverse(in_camera), np.eye(4)))
    ends.sort(key=lambda end: end.cost)
    best = problem.solution(ends[0])
    for end in ends[1:]:
        other = problem.solution(end)
        apart = np.degrees(geometry.rotation_angle(best.camera_to_task, other.camera_to_task))
        if apart > 1.0 and other.pixels < _MIRRORED * best.pixels + 0.02:
            raise CalibrationError(
                f"two camera poses {apart:.0f} degrees apart explain the images ({best.pixels:.2f} and "
                f"{other.pixels:.2f} px): the board is too small, too far away or seen straight on; move it closer, "
                "tilt it, or take several places"
            )
    return best


def solve_hand_eye(views: Sequence[BoardView], matrix: FloatArray) -> Solution:
    """The camera's pose, and the board's in the hand, from images of a board that the hand holds.

    Raises:
        CalibrationError: fewer than `LEAST_HAND_VIEWS` views, or hands that are turned about one axis only.
    """
    if len(views) < LEAST_HAND_VIEWS:
        raise CalibrationError(
            f"{len(views)} views of the board in the hand; at least {LEAST_HAND_VIEWS} (better 10 to 20) are needed, "
            "with the hand turned about different axes"
        )
    hands = np.array([view.pose for view in views])
    turns = geometry.rotation_log((geometry.inverse(hands[:1]) @ hands[1:])[:, :3, :3])
    spread = np.degrees(np.linalg.svd(turns, compute_uv=False)[1] / np.sqrt(len(turns)))
    if spread < 3.0:
        raise CalibrationError(
            f"the hand was turned about one axis only (the second spread is {spread:.1f} degrees, 3 are needed): the "
            "camera's place along that axis stays open; turn the hand about two axes by 20 degrees and more"
        )
    problem = _Problem(views, matrix, board_in_hand=True)
    both = [_board_poses(view.detection, matrix) for view in views]
    chosen = np.array([poses[0] for poses in both])
    for _ in range(5):
        camera, board = _linear_hand_eye(hands, chosen)
        expected = geometry.inverse(camera) @ hands @ board
        before = chosen
        # A flat board looks much the same mirrored: of the two poses the one that fits the other views.
        chosen = np.array(
            [min(p, key=lambda pose, e=e: float(geometry.rotation_angle(pose, e))) for p, e in zip(both, expected)]
        )
        if np.array_equal(before, chosen):
            break
    return problem.solution(problem.refined(camera, board))


@dataclass(frozen=True, eq=False)
class _End:
    """Where an optimisation ended."""

    camera: FloatArray
    board: FloatArray
    cost: float
    jacobian: FloatArray


class _Problem:
    """All reprojections of all views as one least-squares problem."""

    def __init__(self, views: Sequence[BoardView], matrix: FloatArray, *, board_in_hand: bool) -> None:
        self._views, self._matrix, self._free = views, np.asarray(matrix, np.float64), 12 if board_in_hand else 6
        self._carriers = np.concatenate([np.broadcast_to(v.pose, (len(v.detection.points), 4, 4)) for v in views])
        self._points = np.concatenate([view.detection.points for view in views])
        self._pixels = np.concatenate([view.detection.pixels for view in views])
        self._centre = np.zeros(3)

    def _in_task(self, board: FloatArray) -> FloatArray:
        in_carrier = geometry.transform_points(board, self._points)
        return np.einsum("nij,nj->ni", self._carriers[:, :3, :3], in_carrier) + self._carriers[:, :3, 3]

    def _project(self, camera: FloatArray, board: FloatArray) -> FloatArray:
        x, y, z = geometry.transform_points(geometry.inverse(camera), self._in_task(board)).T
        z = np.maximum(z, 1e-3)  # behind the camera: very wrong, but finite
        homogeneous = np.stack([x / z, y / z, np.ones_like(z)])
        return (self._matrix @ homogeneous)[:2].T

    def _moved(self, camera: FloatArray, board: FloatArray, step: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The camera turned about the middle of the boards and moved, in the task frame; the board in its own."""
        rotation = geometry.rotation_exp(step[:3])
        turn = geometry.make_pose(rotation, self._centre - rotation @ self._centre + step[3:6])
        if self._free == 6:
            return turn @ camera, board
        return turn @ camera, board @ geometry.make_pose(geometry.rotation_exp(step[6:9]), step[9:12])

    def refined(self, camera: FloatArray, board: FloatArray) -> _End:
        """The optimum next to a first guess; single wrong corners count little."""
        self._centre = self._in_task(board).mean(axis=0)

        def residuals(step: FloatArray) -> FloatArray:
            return (self._project(*self._moved(camera, board, step)) - self._pixels).ravel()

        result = least_squares(residuals, np.zeros(self._free), loss="soft_l1", x_scale="jac")
        camera, board = self._moved(camera, board, result.x)
        # Cleaned of what rounding and many products leave.
        return _End(_rigid(camera), _rigid(board), float(result.cost), np.asarray(result.jac))

    def solution(self, end: _End) -> Solution:
        """The figures of an optimum."""
        distances = np.linalg.norm(self._project(end.camera, end.board) - self._pixels, axis=1)
        pixels = float(np.sqrt(np.mean(distances**2)))
        splits = np.cumsum([len(view.detection.points) for view in self._views])[:-1]
        per_view = np.array([np.sqrt(np.mean(part**2)) for part in np.split(distances, splits)])
        freedom = max(1, distances.size * 2 - self._free)
        noise = max(float(np.sqrt(np.sum(distances**2) / freedom)), _PIXEL_NOISE)
        information = end.jacobian.T @ end.jacobian
        if np.linalg.cond(information) > 1e14:
            spread = np.full(6, np.inf)
        else:
            spread = noise * np.sqrt(np.diag(np.linalg.inv(information))[:6])
        return Solution(
            camera_to_task=end.camera,
            board_to_carrier=end.board,
            pixels=pixels,
            millimetres=1000 * float(np.sqrt(np.mean(self._on_board(end) ** 2))),
            view_pixels=per_view,
            uncertainty_mm=1000 * float(np.linalg.norm(spread[3:])),
            uncertainty_degrees=float(np.degrees(np.linalg.norm(spread[:3]))),
            depth_scale=self._depth_scale(end),
        )

    def _on_board(self, end: _End) -> FloatArray:
        """(N,) m between each corner and where its pixel's ray meets the board's plane."""
        board_to_camera = geometry.inverse(end.camera) @ self._carriers @ end.board
        corners = np.einsum("nij,nj->ni", board_to_camera[:, :3, :3], self._points) + board_to_camera[:, :3, 3]
        normals, origins = board_to_camera[:, :3, 2], board_to_camera[:, :3, 3]
        rays = np.linalg.solve(self._matrix, np.column_stack([self._pixels, np.ones(len(self._pixels))]).T).T
        along = np.sum(normals * origins, axis=1) / np.sum(normals * rays, axis=1)
        return np.linalg.norm(rays * along[:, None] - corners, axis=1)

    def _depth_scale(self, end: _End) -> float | None:
        measured = [np.full(len(v.detection.points), np.nan) if v.depth is None else v.depth for v in self._views]
        computed = geometry.transform_points(geometry.inverse(end.camera), self._in_task(end.board))[:, 2]
        ratios = np.concatenate(measured) / computed
        ratios = ratios[np.isfinite(ratios)]
        return float(np.median(ratios)) if len(ratios) >= 4 else None


def _board_poses(detection: Detection, matrix: FloatArray) -> list[FloatArray]:
    """The poses (4, 4) of the board in the camera that one image allows, best first: a flat board has up to two."""
    points, pixels = detection.points.reshape(-1, 1, 3), detection.pixels.reshape(-1, 1, 2)
    try:
        _, turns, places, _ = cv2.solvePnPGeneric(points, pixels, matrix, None, flags=cv2.SOLVEPNP_IPPE)
    except cv2.error as error:
        raise CalibrationError(f"a view of the board allows no pose: {error.err}") from error
    if not turns:
        raise CalibrationError("a view of the board allows no pose; leave it out")
    return [geometry.make_pose(cv2.Rodrigues(turn)[0], place.ravel()) for turn, place in zip(turns, places)]


def _linear_hand_eye(hands: FloatArray, boards: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(C, X) of C T_i = G_i X from hands G (V, 4, 4) and boards in the camera T (V, 4, 4)."""
    cross = sum(np.kron(g[:3, :3], t[:3, :3]) for g, t in zip(hands, boards, strict=True))
    left, _, right = np.linalg.svd(cross)
    # vec of R_C and R_X (row by row) are the singular vectors of the largest singular value, up to scale and sign.
    turn_camera, turn_board = _nearest_rotations(left[:, 0].reshape(3, 3), right[0].reshape(3, 3))
    rows = np.zeros((3 * len(hands), 6))
    wanted = np.zeros(3 * len(hands))
    for k, (g, t) in enumerate(zip(hands, boards, strict=True)):
        rows[3 * k : 3 * k + 3] = np.hstack([np.eye(3), -g[:3, :3]])
        wanted[3 * k : 3 * k + 3] = g[:3, 3] - turn_camera @ t[:3, 3]
    places = np.linalg.lstsq(rows, wanted, rcond=None)[0]
    return geometry.make_pose(turn_camera, places[:3]), geometry.make_pose(turn_board, places[3:])


def _nearest_rotations(a: FloatArray, b: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Both matrices as rotations; their common sign is free."""
    if np.linalg.det(a) < 0:
        a, b = -a, -b
    return _rotation(a), _rotation(b)


def _rotation(matrix: FloatArray) -> FloatArray:
    left, _, right = np.linalg.svd(matrix)
    return left @ np.diag([1.0, 1.0, np.linalg.det(left @ right)]) @ right


def _rigid(pose: FloatArray) -> FloatArray:
    return geometry.make_pose(_rotation(pose[:3, :3]), pose[:3, 3])
