"""Calibration boards: ChArUco and grids of AprilTags, from a small YAML file.

The board's frame: origin at the lower left corner of the printed pattern, x along its lower edge to the right, y up,
z out of the paper towards who looks at it; metres.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from pad_bringup.errors import CalibrationError
from pad_bringup.resources import named_or_path
from pad_parse.plain_yaml import PlainYamlError, load_plain_yaml

FloatArray = NDArray[np.float64]
LEAST_CORNERS = 8
"""Corners that an image must show to count."""

_Size = Annotated[float, Field(gt=0.001, le=2.0)]


class _BoardFile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    dictionary: str

    @model_validator(mode="after")
    def _dictionary_exists(self) -> _BoardFile:
        if self.dictionary not in DICTIONARIES:
            raise ValueError(f"dictionary {self.dictionary!r} is not known; known: {', '.join(DICTIONARIES)}")
        return self


class CharucoFile(_BoardFile):
    """A chessboard with markers in its white squares; lengths in metres."""

    kind: Literal["charuco"]
    columns: Annotated[int, Field(ge=3, le=60)]
    rows: Annotated[int, Field(ge=3, le=60)]
    square: _Size
    marker: _Size

    @model_validator(mode="after")
    def _marker_fits(self) -> CharucoFile:
        if self.marker >= self.square:
            raise ValueError("marker must be smaller than square")
        return self


class AprilTagFile(_BoardFile):
    """A grid of tags, numbered from `first_id` row by row from the upper left; lengths in metres."""

    kind: Literal["apriltag"]
    columns: Annotated[int, Field(ge=1, le=60)]
    rows: Annotated[int, Field(ge=1, le=60)]
    tag: _Size
    gap: _Size
    first_id: Annotated[int, Field(ge=0)] = 0


BoardFile = Annotated[CharucoFile | AprilTagFile, Field(discriminator="kind")]
DICTIONARIES = tuple(sorted({name for name in dir(cv2.aruco) if name.startswith("DICT_") and "H" not in name[-4:]}))


@dataclass(frozen=True, eq=False)
class Detection:
    """Corners of a board in one image.

    points: (N, 3) m in the board's frame; pixels: (N, 2), where the image shows them.
    """

    points: FloatArray
    pixels: FloatArray


class Board:
    """A board that can be drawn and found."""

    def __init__(self, layout: CharucoFile | AprilTagFile) -> None:
        """Raises CalibrationError: the dictionary has too few markers for the board."""
        self.layout = layout
        dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, layout.dictionary))
        size = (layout.columns, layout.rows)
        count, held = layout.columns * layout.rows, len(dictionary.bytesList)
        if isinstance(layout, CharucoFile):
            first, count = 0, count // 2
        else:
            first = layout.first_id
        if first + count > held:
            raise CalibrationError(
                f"a board of {size[0]} x {size[1]} needs the markers {first} to {first + count - 1}, but "
                f"{layout.dictionary} has {held}; take a larger dictionary or a smaller board"
            )
        self.dictionary = dictionary
        self._board: Any
        if isinstance(layout, CharucoFile):
            self._board = cv2.aruco.CharucoBoard(size, layout.square, layout.marker, dictionary)
        else:
            ids = np.arange(first, first + count, dtype=np.int32)
            self._board = cv2.aruco.GridBoard(size, layout.tag, layout.gap, dictionary, ids)

    @classmethod
    def load(cls, name: str | Path) -> Board:
        """A board by name (config/boards) or by the path of its YAML file.

        Raises:
            ResourceError: no such board.
            CalibrationError: the file is no board.
        """
        path = named_or_path(str(name), "config", "boards")
        try:
            content = load_plain_yaml(path.read_text(encoding="utf-8"))
            return cls(TypeAdapter(BoardFile).validate_python(content))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "file"
            raise CalibrationError(f"board {path}: {where}: {first['msg']}") from error
        except (OSError, UnicodeDecodeError, PlainYamlError) as error:
            raise CalibrationError(f"board {path} cannot be read: {' '.join(str(error).split())}") from error

    @property
    def size(self) -> tuple[float, float]:
        """Width and height (m) of the pattern."""
        layout = self.layout
        if isinstance(layout, CharucoFile):
            return layout.columns * layout.square, layout.rows * layout.square
        pitch = layout.tag + layout.gap
        return layout.columns * pitch - layout.gap, layout.rows * pitch - layout.gap

    @property
    def words(self) -> str:
        """What it is, in a line."""
        width, height = (1000 * side for side in self.size)
        layout = self.layout
        each = f"squares of {1000 * layout.square:g} mm" if isinstance(layout, CharucoFile) else ""
        each = each or f"tags of {1000 * layout.tag:g} mm"  # type: ignore[union-attr]
        return f"{layout.kind} board {layout.columns} x {layout.rows}, {each}, {width:g} x {height:g} mm"

    @cached_property
    def markers(self) -> list[tuple[int, FloatArray]]:
        """(id, (4, 3) m corners in the board's frame from the upper left clockwise) of every marker."""
        corners = [self._in_board(np.asarray(quad)) for quad in self._board.getObjPoints()]
        return list(zip(np.asarray(self._board.getIds()).ravel().tolist(), corners, strict=True))

    def detect(self, rgb: NDArray[np.uint8]) -> Detection | None:
        """The board's corners in an image (H, W, 3) uint8 RGB; None where fewer than `LEAST_CORNERS` are seen.

        A single tag has four corners, and all four then count.
        """
        grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
        parameters = cv2.aruco.DetectorParameters()
        if isinstance(self.layout, CharucoFile):
            detector = cv2.aruco.CharucoDetector(self._board, cv2.aruco.CharucoParameters(), parameters)
            pixels, ids = detector.detectBoard(grey)[:2]
            least = LEAST_CORNERS
            if ids is None:
                return None
            points = self._board.getChessboardCorners()[ids.ravel()]
        else:
            parameters.cornerRefinementMethod = cv2.aruco.CORNER_REFINE_APRILTAG
            quads, ids, _ = cv2.aruco.ArucoDetector(self.dictionary, parameters).detectMarkers(grey)
            known = dict(zip(np.asarray(self._board.getIds()).ravel().tolist(), self._board.getObjPoints()))
            seen = [] if ids is None else [k for k, number in enumerate(ids.ravel().tolist()) if number in known]
            least = min(LEAST_CORNERS, 4 * len(known))
            pixels = np.array([quads[k] for k in seen])
            points = np.array([known[int(ids.ravel()[k])] for k in seen])
        points, found = np.reshape(points, (-1, 3)), np.reshape(np.asarray(pixels, np.float64), (-1, 2))
        if len(points) < least or len(found) != len(points):
            return None
        return Detection(self._in_board(points), found)

    def _in_board(self, points: NDArray[Any]) -> FloatArray:
        """OpenCV's board frame (y down from the upper left corner) to ours."""
        return np.asarray(points, np.float64) * [1.0, -1.0, 1.0] + [0.0, self.size[1], 0.0]
