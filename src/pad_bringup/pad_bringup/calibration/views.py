"""Views of a board from files: an image, a folder of images (with or without views.yaml), or a recording.

A folder of images may hold a `views.yaml`::

    views:
      - image: 01.png                                # relative to the folder
        board_pose: [0.10, -0.20, 0.0, 0, 0, 90]     # of the board in the task frame: m, degrees (roll, pitch, yaw)
      - image: 02.png
        hand_pose: [0.15, 0.20, 0.30, 180, 0, 45]    # or of the hand that holds it (TCP, task frame)
      - image: 03.png
        joints: [0.1, -1.2, 1.5, 0.0, 0.3, 0.0]      # or the joints of that arm, rad
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pad_augment.kinematics import ARMS, Robot, RobotProfile
from pad_bringup import names
from pad_bringup.calibration.board import Board, Detection
from pad_bringup.calibration.poses import is_new, parse_pose, pose_from_words, still_joints
from pad_bringup.calibration.solving import BoardView
from pad_bringup.errors import CalibrationError
from pad_bringup.resources import named_or_path
from pad_parse.camera import Camera
from pad_parse.plain_yaml import PlainYamlError, load_plain_yaml
from pad_parse.recording import open_recording
from pad_parse.recording.bag_source import open_source
from pad_parse.recording.encoded import DamagedImageError, decode_colour
from pad_parse.recording.folder import CAMERA_FILE

FloatArray = NDArray[np.float64]
VIEWS_FILE = "views.yaml"
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
_STILL_FOR = 0.2  # s before and after an image that the arm must stand still
_Six = Annotated[tuple[float, ...], Field(min_length=6, max_length=6)]


class _View(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    image: str
    board_pose: _Six | None = None
    hand_pose: _Six | None = None
    joints: tuple[float, ...] | None = None

    @model_validator(mode="after")
    def _one_pose(self) -> _View:
        if sum(pose is not None for pose in (self.board_pose, self.hand_pose, self.joints)) > 1:
            raise ValueError("give one of board_pose, hand_pose and joints")
        return self


class _ViewsFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    views: Annotated[list[_View], Field(min_length=1, max_length=1000)]


@dataclass(frozen=True, eq=False)
class Method:
    """How the poses of the views are known.

    board_pose: (4, 4) of the board in the task frame, for views that state none; None where every view states its own.
    robot, arm: the hand of this arm (0 left, 1 right) holds the board; None: the board's own pose is known.
    """

    board_pose: FloatArray | None = None
    robot: Robot | None = None
    arm: int | None = None

    @classmethod
    def of(cls, board_pose: str | None, arm: str | None, robot: str) -> Method:
        """From the words of a command line; robot: name or path of a profile, read only where an arm is named.

        Raises:
            CalibrationError: both or something that is neither a pose nor an arm.
        """
        if board_pose is not None and arm is not None:
            raise CalibrationError("--board-pose and --arm exclude each other: a board lies still, or a hand holds it")
        if arm is None:
            return cls(None if board_pose is None else parse_pose(board_pose, "--board-pose"))
        if arm not in ARMS:
            raise CalibrationError(f"--arm is {arm!r}; choices: {', '.join(ARMS)}")
        profile = RobotProfile.load(named_or_path(robot, "config", "robots"))
        return cls(robot=Robot(profile), arm=ARMS.index(arm))

    @property
    def in_hand(self) -> bool:
        """Whether a hand holds the board."""
        return self.arm is not None

    def hand(self, joints: FloatArray, where: str = "the robot") -> FloatArray:
        """Pose (4, 4) of the hand (TCP) in the task frame for joints (n,) rad.

        Raises:
            CalibrationError: the robot's arms have another number of joints.
        """
        assert self.robot is not None and self.arm is not None
        count = self.robot.joints_per_arm
        if len(joints) != count:
            raise CalibrationError(
                f"{where}: {len(joints)} joints; an arm of {self.robot.profile.name} has {count} joints"
            )
        return self.robot.fk(self.arm, joints)

    def fixed_pose(self, where: str) -> FloatArray:
        """The board's one pose.

        Raises:
            CalibrationError: it is not known.
        """
        if self.in_hand:
            raise CalibrationError(f"{where} states neither joints nor hand_pose of the arm that holds the board")
        if self.board_pose is None:
            raise CalibrationError(
                f"where the board lies is not known for {where}: give --board-pose X,Y,Z,ROLL,PITCH,YAW (task frame, m "
                f"and degrees), a board_pose in {VIEWS_FILE}, or --arm for a board in a hand"
            )
        return self.board_pose


@dataclass(eq=False)
class Views:
    """What was found.

    camera: its pose plays no role. without_board: images in which the board was not seen. picture: the last image
    (H, W, 3) uint8 RGB with the board.
    """

    camera: Camera
    views: list[BoardView] = field(default_factory=list)
    without_board: list[str] = field(default_factory=list)
    picture: NDArray[np.uint8] | None = None

    def add(
        self,
        name: str,
        rgb: NDArray[np.uint8],
        depth: NDArray[np.float32] | None,
        board: Board,
        pose: FloatArray,
    ) -> bool:
        """Look for the board in an image (depth in m, or None) whose carrier's pose is (4, 4); whether it is there."""
        detection = board.detect(rgb)
        if detection is None:
            self.without_board.append(name)
            return False
        self.views.append(BoardView(name, detection, pose, _depth_at(detection, depth)))
        self.picture = rgb
        return True


def read_views(source: Path, board: Board, method: Method, camera: Camera | None = None, *, most: int = 30) -> Views:
    """The views of an image, a folder or a recording.

    camera: intrinsics, for images that bring none (a recording and a folder with camera.json bring theirs).
    most: take no more views than this from a recording.

    Raises:
        CalibrationError: nothing to read, or poses or the camera are not known.
        PadParseError: a recording or camera that cannot be read.
    """
    if source.is_dir() and (source / VIEWS_FILE).is_file():
        return _listed(source, board, method, camera)
    if source.suffix.lower() in IMAGE_SUFFIXES and source.is_file():
        return _images([source], board, method, _needed(camera, source))
    if source.is_dir() and not (source / CAMERA_FILE).is_file():
        images = sorted(path for path in source.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
        if images:
            return _images(images, board, method, _needed(camera, source))
    return _recording(source, board, method, camera, most)


def first_image(source: Path) -> NDArray[np.uint8]:
    """The first image (H, W, 3) uint8 RGB of whatever `read_views` reads.

    Raises:
        CalibrationError, PadParseError: there is none that can be read.
    """
    if source.suffix.lower() in IMAGE_SUFFIXES and source.is_file():
        return _image(source)
    if source.is_dir() and not (source / CAMERA_FILE).is_file():
        images = sorted(path for path in source.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
        if images:
            return _image(images[0])
    return next(open_recording(source).frames()).rgb


def _depth_at(detection: Detection, depth: NDArray[np.float32] | None) -> FloatArray | None:
    if depth is None:
        return None
    columns, rows = np.rint(detection.pixels).astype(int).T
    rows, columns = np.clip(rows, 0, depth.shape[0] - 1), np.clip(columns, 0, depth.shape[1] - 1)
    values = depth[rows, columns].astype(np.float64)
    return np.where(values > 0, values, np.nan)


def _needed(camera: Camera | None, source: Path) -> Camera:
    if camera is None:
        raise CalibrationError(
            f"{source} does not say what its camera is: give --camera FILE.yaml (width, height, matrix), or put a "
            f"{CAMERA_FILE} into the folder (docs/recordings.md)"
        )
    return camera


def _image(path: Path) -> NDArray[np.uint8]:
    try:
        return decode_colour(path.read_bytes(), path.name)
    except (OSError, DamagedImageError) as error:
        raise CalibrationError(f"image {path} cannot be read: {error}") from error


def _fitting(path: Path, camera: Camera) -> NDArray[np.uint8]:
    rgb = _image(path)
    if rgb.shape[:2] != (camera.height, camera.width):
        raise CalibrationError(
            f"image {path} has {rgb.shape[1]} x {rgb.shape[0]} pixels, its camera {camera.width} x {camera.height}"
        )
    return rgb


def _images(paths: list[Path], board: Board, method: Method, camera: Camera) -> Views:
    pairs = ((path, method.fixed_pose(path.name)) for path in paths)
    return _from_files(pairs, board, camera)


def _from_files(pairs: Iterator[tuple[Path, FloatArray]], board: Board, camera: Camera) -> Views:
    found = Views(camera)
    for path, pose in pairs:
        found.add(path.name, _fitting(path, camera), None, board, pose)
    return found


def _listed(folder: Path, board: Board, method: Method, camera: Camera | None) -> Views:
    file = folder / VIEWS_FILE
    try:
        listed = _ViewsFile.model_validate(load_plain_yaml(file.read_text(encoding="utf-8"))).views
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "file"
        raise CalibrationError(
            f"{file}: {where}: {first['msg']}; known keys: {', '.join(_View.model_fields)}"
        ) from error
    except (OSError, UnicodeDecodeError, PlainYamlError) as error:
        raise CalibrationError(f"{file} cannot be read: {' '.join(str(error).split())}") from error
    if camera is None and (folder / "camera.yaml").is_file():
        camera = Camera.load(folder / "camera.yaml")

    def pose(view: _View) -> FloatArray:
        where = f"{view.image} in {file}"
        if method.in_hand and view.joints is not None:
            return method.hand(np.array(view.joints), f"joints of {where}")
        if method.in_hand and view.hand_pose is not None:
            return pose_from_words(view.hand_pose, f"hand_pose of {where}")
        if not method.in_hand and view.board_pose is not None:
            return pose_from_words(view.board_pose, f"board_pose of {where}")
        return method.fixed_pose(where)

    def pairs() -> Iterator[tuple[Path, FloatArray]]:
        root = folder.resolve()
        for view in listed:
            path = (root / view.image).resolve()
            if not path.is_relative_to(root):
                raise CalibrationError(f"{file}: {view.image} lies outside the folder")
            yield path, pose(view)

    return _from_files(pairs(), board, _needed(camera, folder))


def _recording(source: Path, board: Board, method: Method, camera: Camera | None, most: int) -> Views:
    recording = open_recording(source)
    # Intrinsics of a recording without any are a guess; then those that were given count.
    taken = recording.camera if camera is None else camera
    if (taken.width, taken.height) != (recording.camera.width, recording.camera.height):
        raise CalibrationError(
            f"the camera given has {taken.width} x {taken.height} pixels, the images of {source} "
            f"{recording.camera.width} x {recording.camera.height}"
        )
    if camera is None and any("field of view" in assumption for assumption in recording.assumptions):
        raise CalibrationError(f"{source} has no camera_info: give --camera FILE.yaml (width, height, matrix)")
    pose_at: Callable[[float], FloatArray | None]
    if method.in_hand:
        pose_at = _hand_at(source, method)
    else:
        fixed = method.fixed_pose(source.name)
        every = max(1, recording.frame_count // most)
        pose_at = _every(every, fixed)
    found = Views(taken)
    for frame in recording.frames():
        pose = pose_at(frame.stamp)
        if pose is None or (method.in_hand and not is_new(pose, [view.pose for view in found.views])):
            continue
        found.add(f"{frame.stamp:.3f} s", frame.rgb, frame.depth, board, pose)
        if len(found.views) == most:
            break
    return found


def _every(step: int, pose: FloatArray) -> Callable[[float], FloatArray | None]:
    count = -1

    def at(_stamp: float) -> FloatArray | None:
        nonlocal count
        count += 1
        return pose if count % step == 0 else None

    return at


def _hand_at(source: Path, method: Method) -> Callable[[float], FloatArray | None]:
    """The hand's pose at an image's stamp (s) where the arm stands still; from the bag's joint states."""
    assert method.robot is not None and method.arm is not None
    wanted = method.robot.arms[method.arm].joints
    stamps, positions = [], []
    for _, message in open_source(source).messages({names.JOINT_STATES}):
        held = dict(zip(message.name, message.position))
        if all(name in held for name in wanted):
            stamps.append(message.header.stamp.sec + 1e-9 * message.header.stamp.nanosec)
            positions.append([float(held[name]) for name in wanted])
    if not stamps:
        raise CalibrationError(
            f"{source} has no {names.JOINT_STATES} of the {ARMS[method.arm]} arm ({', '.join(wanted)}); record them too"
        )
    times, joints = np.array(stamps), np.array(positions)

    def at(stamp: float) -> FloatArray | None:
        still = still_joints(times, joints, stamp - _STILL_FOR, stamp + _STILL_FOR)
        return None if still is None else method.hand(still)

    return at
