"""Procedural pictures for the cell: corner-rich labels that never repeat, and wood."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Colour = tuple[int, int, int]

PIXELS_PER_METRE = 5000


def label(circumference: float, height: float, base: Colour, inks: Sequence[Colour], seed: int) -> NDArray[np.uint8]:
    """A label that wraps around an object without a seam: random shapes of several sizes, all different.

    circumference, height: m of the surface that it covers.
    base, inks: RGB 0-255.
    seed: the same seed gives the same label.
    Returns (H, W, 3) uint8 RGB; column 0 and the last column are neighbours.
    """
    rng = np.random.default_rng(seed)
    width, rows = _even(circumference * PIXELS_PER_METRE), _even(height * PIXELS_PER_METRE)
    picture = np.full((rows, width, 3), base, np.uint8)
    # Large shapes first: they are seen from far away; small ones give corners near by.
    for size, share in ((0.030, 0.6), (0.019, 0.6), (0.012, 0.35)):
        count = int(share * circumference * height / (0.55 * size * size))
        for _ in range(count):
            centre = np.array([rng.uniform(0, width), rng.uniform(0, rows)])
            radius = size * PIXELS_PER_METRE * rng.uniform(0.35, 0.65)
            colour = tuple(int(c) for c in (*inks, base)[rng.integers(len(inks) + 1)])
            _draw(picture, centre, radius, colour, rng)
    return picture


def wood(size: int, seed: int) -> NDArray[np.uint8]:
    """(size, size, 3) uint8 RGB: boards with a grain along x."""
    rng = np.random.default_rng(seed)
    rough = rng.normal(size=(size, size)).astype(np.float32)
    grain = cv2.GaussianBlur(rough, (0, 0), sigmaX=size / 16, sigmaY=1.2, borderType=cv2.BORDER_REFLECT)
    knots = cv2.GaussianBlur(rough, (0, 0), sigmaX=size / 24, sigmaY=size / 48, borderType=cv2.BORDER_REFLECT)
    shade = 0.09 * grain / grain.std() + 0.05 * knots / knots.std()
    boards = 6
    for k in range(boards):
        rows = slice(k * size // boards, (k + 1) * size // boards)
        shade[rows] = np.roll(shade[rows], rng.integers(size), axis=1) + rng.normal(scale=0.05)
        shade[k * size // boards] -= 0.25
    picture = np.array([176, 140, 98], np.float32) * (1 + shade[..., None])
    return np.clip(picture, 0, 255).astype(np.uint8)


def _draw(
    picture: NDArray[np.uint8], centre: NDArray[np.float64], radius: float, colour: Colour, rng: np.random.Generator
) -> None:
    kind = rng.integers(4)
    turn = rng.uniform(0, 2 * np.pi)
    if kind == 3:
        corners = None
    else:
        count = (3, 4, 5)[kind]
        angles = turn + np.arange(count) * 2 * np.pi / count + rng.uniform(-0.25, 0.25, count)
        rays = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        corners = centre + radius * rng.uniform(0.6, 1.2, (count, 1)) * rays
    width = picture.shape[1]
    for offset in (-width, 0, width):
        if corners is None:
            at = (round(centre[0] + offset), round(centre[1]))
            thickness = max(2, int(radius * 0.35))
            cv2.circle(picture, at, int(radius * 0.7), colour, thickness=thickness, lineType=cv2.LINE_AA)
        else:
            points = np.round(corners + np.array([offset, 0])).astype(np.int32)
            cv2.fillPoly(picture, [points], colour, lineType=cv2.LINE_AA)


def _even(value: float) -> int:
    return round(value / 2) * 2
