"""A board on paper: PDF or PNG in true size."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pad_bringup.calibration.board import Board, CharucoFile
from pad_bringup.errors import CalibrationError
from pad_parse.files import write_atomically

PAPERS = {"a4": (0.297, 0.210), "a3": (0.420, 0.297), "a2": (0.594, 0.420), "letter": (0.2794, 0.2159)}
"""Width and height (m) of the sheets, landscape."""

_PNG_PIXELS_PER_METRE = 20_000
_POINT = 0.0254 / 72  # m
_MARGIN = 0.005  # m that no printer prints on
_CAPTION = 0.006  # m below the pattern


def black_rectangles(board: Board) -> list[tuple[float, float, float, float]]:
    """(x, y, width, height) m of everything black, in the board's frame."""
    layout, found = board.layout, []
    if isinstance(layout, CharucoFile):
        side, height = layout.square, board.size[1]
        found += [
            (column * side, height - (row + 1) * side, side, side)
            for row in range(layout.rows)
            for column in range(layout.columns)
            if (row + column) % 2 == 0
        ]
    cells = board.dictionary.markerSize + 2
    for number, corners in board.markers:
        picture = cv2.aruco.generateImageMarker(board.dictionary, number, cells)
        left, top = corners[0, :2]
        cell = (corners[1, 0] - left) / cells
        for row, line in enumerate(picture):
            edges = np.flatnonzero(np.diff(np.concatenate([[0], line == 0, [0]]).astype(int)))
            for begin, end in edges.reshape(-1, 2):
                found.append((left + begin * cell, top - (row + 1) * cell, (end - begin) * cell, cell))
    return found


def picture(board: Board, pixels_per_metre: float, margin: float = 0.0) -> NDArray[np.uint8]:
    """(H, W) uint8: the pattern with a white margin (m) all around."""
    columns, rows = (round((side + 2 * margin) * pixels_per_metre) for side in board.size)
    sheet = np.full((rows, columns), 255, np.uint8)
    for x, y, width, height in black_rectangles(board):
        left, right = (round((margin + value) * pixels_per_metre) for value in (x, x + width))
        top, bottom = (round((margin + board.size[1] - value) * pixels_per_metre) for value in (y + height, y))
        sheet[top:bottom, left:right] = 0
    return sheet


def print_board(board: Board, path: Path, paper: str = "a4") -> None:
    """Write the board for a sheet of paper (a name of `PAPERS`), landscape; the suffix decides: .pdf or .png.

    Raises:
        CalibrationError: unknown paper or suffix, the board does not fit, or the file cannot be written.
    """
    if paper not in PAPERS:
        raise CalibrationError(f"paper {paper!r} is not known; known: {', '.join(PAPERS)}")
    sheet = PAPERS[paper]
    if any(side + 2 * (_MARGIN + _CAPTION) > room for side, room in zip(board.size, sheet, strict=True)):
        raise CalibrationError(
            f"a {board.words} does not fit on {paper} ({1000 * sheet[0]:g} x {1000 * sheet[1]:g} mm with margins); "
            f"take a larger paper ({', '.join(PAPERS)}) or a smaller board"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix.lower() == ".pdf":
            write_atomically(path, _pdf(board, sheet))
        elif path.suffix.lower() == ".png":
            _write_png(board, sheet, path)
        else:
            raise CalibrationError(f"{path}: a board is written as .pdf or .png")
    except OSError as error:
        raise CalibrationError(f"board {path} cannot be written: {error.strerror or error}") from error


def _write_png(board: Board, sheet: tuple[float, float], path: Path) -> None:
    scale = _PNG_PIXELS_PER_METRE
    page = np.full((round(sheet[1] * scale), round(sheet[0] * scale)), 255, np.uint8)
    pattern = picture(board, scale)
    top, left = (page.shape[0] - pattern.shape[0]) // 2, (page.shape[1] - pattern.shape[1]) // 2
    page[top : top + pattern.shape[0], left : left + pattern.shape[1]] = pattern
    dots = scale * 0.0254
    Image.fromarray(page).convert("1").save(path, dpi=(dots, dots))


def _pdf(board: Board, sheet: tuple[float, float]) -> str:
    """One page, drawn in metres: rectangles, the frame's name at its origin, and what to measure."""
    left, bottom = ((room - side) / 2 for room, side in zip(sheet, board.size, strict=True))
    scale = 1 / _POINT
    lines = [f"{scale:.8f} 0 0 {scale:.8f} {left * scale:.5f} {bottom * scale:.5f} cm", "0 g"]
    lines += [f"{x:.7f} {y:.7f} {width:.7f} {height:.7f} re" for x, y, width, height in black_rectangles(board)]
    lines.append("f")
    text = f"{board.words}. Print at 100 %; measure it. Origin of the board's frame: this corner, x right, y up."
    lines += ["BT", "/F1 0.003 Tf", f"0 {-_CAPTION:.4f} Td", f"({text}) Tj", "ET"]
    content = "\n".join(lines)
    page = " ".join(f"{side * scale:.4f}" for side in sheet)
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {page}] /Contents 4 0 R "
        "/Resources << /Font << /F1 5 0 R >> >> >>",
        f"<< /Length {len(content)} >>\nstream\n{content}\nendstream",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    made, places = "%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(made))
        made += f"{number} 0 obj\n{body}\nendobj\n"
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    return (
        f"{made}xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}"
        f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(made)}\n%%EOF\n"
    )
