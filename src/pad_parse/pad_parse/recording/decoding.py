"""Pairs of images as they lie in a file -> checked frames."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pad_parse.camera import Camera
from pad_parse.errors import RecordingError
from pad_parse.recording.encoded import DamagedImageError
from pad_parse.recording.lens import Lens
from pad_parse.recording.recording import Frame
from pad_parse.recording.report import Tally

_PATIENCE = 10  # damaged images, beyond as many as there are good ones, before the recording is given up


@dataclass(frozen=True, eq=False)
class FrameDecoder:
    """Decodes and checks the images of one recording.

    Attributes:
        path: named in errors.
        camera: the size that images must have.
        camera_source: where that size comes from, for errors.
        lens: the distortion to take out, None for none.
        colour: image as it lies in the file -> (H, W, 3) uint8 RGB.
        depth: image as it lies in the file -> (H, W) float32 metres.
    """

    path: Path
    camera: Camera
    camera_source: str
    lens: Lens | None
    colour: Callable[[Any], NDArray[np.uint8]]
    depth: Callable[[Any], NDArray[np.float32]]

    def frames(self, images: Iterable[tuple[float, Any, Any | None]], tally: Tally) -> Iterator[Frame]:
        """Frames of (stamp in s, colour, depth or None). Images that cannot be decoded are left out and counted.

        Raises:
            RecordingError: images of another size than the camera's, depth of another size than colour, hardly any
            image that can be decoded, no frame at all.
        """
        for stamp, colour, depth in images:
            try:
                rgb = self.colour(colour)
                metres = None if depth is None else self.depth(depth)
            except DamagedImageError as error:
                tally.damaged += 1
                if tally.damaged > tally.frames + _PATIENCE:
                    raise RecordingError(
                        f"recording {self.path}: {tally.damaged} images are damaged, {tally.frames} are good; "
                        f"the latest: {error}"
                    ) from error
                continue
            self._check_sizes(stamp, rgb, metres, tally)
            if self.lens is not None:
                rgb = self.lens.rectify_colour(rgb)
                metres = None if metres is None else self.lens.rectify_depth(metres)
            yield Frame(stamp, rgb, metres)
        if tally.frames <= 1 and tally.duplicates > 1:
            raise RecordingError(
                f"recording {self.path}: all images carry the same stamp; the camera driver must stamp its images"
            )
        if tally.frames == 0 and tally.damaged:
            raise RecordingError(f"recording {self.path}: none of its {tally.damaged} images can be decoded")

    def _check_sizes(
        self, stamp: float, rgb: NDArray[np.uint8], metres: NDArray[np.float32] | None, tally: Tally
    ) -> None:
        height, width = rgb.shape[:2]
        if (width, height) != (self.camera.width, self.camera.height):
            size = f"{self.camera.width} x {self.camera.height}"
            if tally.frames:
                raise RecordingError(
                    f"recording {self.path}: the colour image changes from {size} to {width} x {height} at "
                    f"{stamp:.3f} s; record with one resolution, or split the recording there"
                )
            raise RecordingError(
                f"recording {self.path}: {self.camera_source} is for {size} pixels, the images have {width} x {height}"
            )
        if metres is not None and metres.shape != (height, width):
            raise RecordingError(
                f"recording {self.path}: depth is {metres.shape[1]} x {metres.shape[0]}, colour {width} x {height} at "
                f"{stamp:.3f} s; record depth aligned to colour"
            )
