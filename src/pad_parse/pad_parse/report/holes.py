"""A picture of where the depth camera saw nothing."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from pad_parse.report.media import Media


def top_share(without_depth: NDArray[np.float32]) -> float:
    """Share of frames without depth at which the map's colours end: few pixels (1 %) have more, at least 5 %."""
    return max(0.05, float(np.quantile(without_depth, 0.99)))


def hole_map(without_depth: NDArray[np.float32], rgb: NDArray[np.uint8] | None, width: int = 480) -> Media:
    """The share of frames without depth as colour over the grey first image; colours end at `top_share`.

    without_depth: (H, W) in [0, 1]; rgb: (H, W, 3) uint8 or None; width: px of the picture.
    """
    height = round(without_depth.shape[0] * width / without_depth.shape[1])
    # Holes are thin: the worst pixel of each patch shows.
    kernel = np.ones((max(1, without_depth.shape[1] // width),) * 2, np.uint8)
    share = cv2.resize(cv2.dilate(without_depth, kernel), (width, height), interpolation=cv2.INTER_AREA)
    share = np.clip(share / top_share(without_depth), 0, 1)
    grey = np.full(share.shape, 90, np.uint8)
    if rgb is not None:
        grey = cv2.resize(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), (width, height), interpolation=cv2.INTER_AREA)
    colours = cv2.applyColorMap(np.round(255 * share).astype(np.uint8), cv2.COLORMAP_INFERNO)
    # A pixel that always had depth shows the image; one at the end of the scale shows the colour.
    weight = np.clip(share * 2, 0, 0.95)[..., None]
    picture = (1 - weight) * (0.6 * grey[..., None]) + weight * colours
    _, data = cv2.imencode(".png", np.round(picture).astype(np.uint8))
    return Media("image/png", bytes(data))


def scale_gradient() -> str:
    """The colours of the map from 0 to 100 % as a CSS gradient."""
    steps = np.linspace(0, 255, 9).round().astype(np.uint8)[None]
    colours = cv2.applyColorMap(steps, cv2.COLORMAP_INFERNO)[0]
    return f"linear-gradient(90deg, {', '.join('#{2:02x}{1:02x}{0:02x}'.format(*map(int, c)) for c in colours)})"
