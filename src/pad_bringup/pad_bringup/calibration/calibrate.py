"""Views in, camera file out: solved, judged, and written only if it is good enough."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pad_bringup.calibration.overlay import draw_task_axes
from pad_bringup.calibration.solving import BoardView, Solution, solve_hand_eye, solve_known_poses
from pad_bringup.calibration.views import Views, first_image
from pad_bringup.errors import CalibrationError
from pad_parse import geometry
from pad_parse.camera import Camera

FloatArray = NDArray[np.float64]
LEAST_DEPTH_ERROR = 0.03
"""Share by which measured and computed depth of the board may differ before one of them must be wrong."""


@dataclass(frozen=True)
class Limits:
    """What a calibration must keep to be written: root mean square residuals, one standard deviation of the pose."""

    pixels: float = 1.0
    millimetres: float = 2.0
    uncertainty_mm: float = 2.0
    uncertainty_degrees: float = 0.3


@dataclass(frozen=True, eq=False)
class Calibration:
    """A camera with its pose, how well it is known, and what that rests on."""

    camera: Camera
    solution: Solution
    views: tuple[str, ...]
    notes: tuple[str, ...]
    picture: NDArray[np.uint8]

    def save(self, path: Path) -> None:
        """Write the camera file that every node reads.

        Raises:
            CalibrationError: it cannot be written.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CalibrationError(f"{path.parent} cannot be made: {error.strerror or error}") from error
        self.camera.save(path)


def calibrate(found: Views, limits: Limits, *, in_hand: bool) -> Calibration:
    """The camera's pose in the task frame.

    Raises:
        CalibrationError: no view, views that do not determine the pose, or figures beyond a limit; the message says
            which and what to look for.
    """
    views = found.views
    if not views:
        looked = f"; images without the board: {', '.join(found.without_board[:8])}" if found.without_board else ""
        raise CalibrationError(
            f"the board was seen in no image{looked}. Is it the right one (--board), whole, flat, lit, and large "
            "enough (a marker's side at least 20 pixels)?"
        )
    solution = (solve_hand_eye if in_hand else solve_known_poses)(views, found.camera.matrix)
    _judge(solution, views, limits, in_hand=in_hand)
    assert found.picture is not None
    camera = found.camera.with_extrinsics(solution.camera_to_task)
    return Calibration(
        camera=camera,
        solution=solution,
        views=tuple(view.name for view in views),
        notes=tuple(_notes(found, solution, in_hand=in_hand)),
        picture=draw_task_axes(found.picture, camera),
    )


def check_picture(source: Path, camera: Camera) -> NDArray[np.uint8]:
    """The first image of an image file, folder or recording with the task frame drawn on it: (H, W, 3) uint8 RGB.

    Raises:
        CalibrationError, PadParseError: no image, or one of another size than the camera's.
    """
    rgb = first_image(source)
    if rgb.shape[:2] != (camera.height, camera.width):
        raise CalibrationError(
            f"the image of {source} has {rgb.shape[1]} x {rgb.shape[0]} pixels, the calibration {camera.width} x "
            f"{camera.height}: it belongs to another resolution or camera"
        )
    return draw_task_axes(rgb, camera)


def _judge(solution: Solution, views: list[BoardView], limits: Limits, *, in_hand: bool) -> None:
    worst = int(np.argmax(solution.view_pixels))
    robot = ", hands reported wrongly (another --robot, its own calibration), a board that slips" if in_hand else ""
    poses = "" if in_hand or len({view.pose.tobytes() for view in views}) == 1 else ", a board pose measured wrongly"
    if solution.pixels > limits.pixels or solution.millimetres > limits.millimetres:
        raise CalibrationError(
            f"refused: the residual is {solution.pixels:.2f} px and {solution.millimetres:.2f} mm on the board, more "
            f"than {limits.pixels:g} px or {limits.millimetres:g} mm; worst view: {views[worst].name} with "
            f"{solution.view_pixels[worst]:.2f} px. Likely: intrinsics of another resolution, lens distortion, a board "
            f"that is bent or blurred{robot}{poses}"
        )
    if solution.depth_scale is not None and abs(solution.depth_scale - 1) > LEAST_DEPTH_ERROR:
        raise CalibrationError(
            f"refused: the depth camera sees the board at {100 * solution.depth_scale:.1f} % of the distance that its "
            "size says. Measure a printed square (or tag) and correct the board's file, or check the intrinsics"
        )
    if solution.uncertainty_mm > limits.uncertainty_mm or solution.uncertainty_degrees > limits.uncertainty_degrees:
        raise CalibrationError(
            f"refused: the views leave {solution.uncertainty_mm:.2f} mm and {solution.uncertainty_degrees:.2f} degrees "
            f"open (one standard deviation; at most {limits.uncertainty_mm:g} mm and {limits.uncertainty_degrees:g} "
            "degrees). Take more views, closer and more tilted"
        )


def _notes(found: Views, solution: Solution, *, in_hand: bool) -> list[str]:
    notes = []
    if found.without_board:
        notes.append(f"the board was not seen in {len(found.without_board)} images")
    if not in_hand and len({view.pose.tobytes() for view in found.views}) == 1:
        notes.append(
            "the board stood in one place: an error in its measured pose shows up nowhere; check with --check, or use "
            "several places"
        )
    if in_hand:
        moved = solution.board_to_carrier
        place, angles = np.round(moved[:3, 3], 4), np.round(np.degrees(geometry.rotation_log(moved[:3, :3])), 2)
        notes.append(f"the board in the hand: {place.tolist()} m, rotation vector {angles.tolist()} degrees")
    return notes
