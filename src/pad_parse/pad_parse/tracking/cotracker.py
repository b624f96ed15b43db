"""CoTracker3, online (Karaev et al. 2024), as a point tracker. Its code and weights are CC-BY-NC, to be installed."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pad_parse.errors import TrackingError
from pad_parse.tracking.point_tracker import TrackResult, check_start
from pad_parse.tracking.weights import load_weights, put_weights

LICENCE = "CoTracker3 is under CC-BY-NC 4.0: not for commercial use"
INSTALL = "pip install git+https://github.com/facebookresearch/co-tracker (CC-BY-NC 4.0, not for commercial use)"
DOWNLOAD = "scaled_online.pth from https://huggingface.co/facebook/cotracker3"
WINDOW = 16
STEP = WINDOW // 2


class CoTracker:
    """A `PointTracker` that answers 8 images at a time, from windows of 16.

    Memory is bounded: after `windows` windows the model begins anew from the last 8 images. Each point is then queried
    at the last of these images in which it was visible. While a point is visible in none of them the new beginning is
    put off, up to `windows` more; a point that is still hidden then is lost for good: a query at a place where it was
    not seen would follow something else.
    """

    def __init__(self, predictor: Any, *, windows: int = 20, device: str = "cpu") -> None:
        """predictor: a `cotracker.predictor.CoTrackerOnlinePredictor` of window length 16; see `load`.

        Raises:
            TrackingError: another window length, or windows < 1.
        """
        if int(predictor.step) != STEP:
            raise TrackingError(f"CoTracker must have windows of {WINDOW} images; this model has {2 * predictor.step}")
        if windows < 1:
            raise TrackingError(f"CoTracker must run at least 1 window before it begins anew; got {windows}")
        self._predictor = predictor.to(device)
        self._windows = windows
        self._device = device
        self._frames: deque[NDArray[np.uint8]] = deque(maxlen=WINDOW)
        self._started = False

    @classmethod
    def load(cls, checkpoint: Path, *, windows: int = 20, device: str = "cpu") -> CoTracker:
        """With the weights of a local file.

        Raises:
            TrackingError: the package or the weights are missing, or do not fit.
        """
        try:
            from cotracker.predictor import CoTrackerOnlinePredictor
        except ImportError as error:
            raise TrackingError(f"tracker cotracker is not installed ({error}); {INSTALL}") from error
        predictor = CoTrackerOnlinePredictor(checkpoint=None, window_len=WINDOW)
        put_weights(predictor.model, load_weights(checkpoint, "cotracker", DOWNLOAD), checkpoint, "cotracker")
        return cls(predictor, windows=windows, device=device)

    def start(self, rgb: NDArray[np.uint8], points: NDArray[np.float64]) -> None:
        """See `PointTracker.start`."""
        points = check_start(rgb, points)
        self._points = points.copy()
        self._lost = np.zeros(len(points), bool)
        self._frames.clear()
        self._frames.append(rgb)
        self._waiting: list[float] = []
        self._visible = np.ones((1, len(points)), bool)
        self._tracks = points[None].copy()
        self._started = True
        self._begin(np.zeros(len(points)), points)

    def step(self, rgb: NDArray[np.uint8], stamp: float) -> list[TrackResult]:
        """See `PointTracker.step`."""
        if not self._started:
            raise TrackingError("the tracker was not started; call start(rgb, points) first")
        if rgb.shape != self._frames[-1].shape:
            raise TrackingError(f"the image size changed from {self._frames[-1].shape} to {rgb.shape}")
        self._frames.append(rgb)
        self._waiting.append(stamp)
        full = len(self._frames) == WINDOW and len(self._waiting) >= STEP
        return self._answer() if full and self._due() else []

    def flush(self) -> list[TrackResult]:
        """See `PointTracker.flush`."""
        if not self._started:
            return []
        self._started = False
        return self._answer() if self._waiting else []

    def _due(self) -> bool:
        """The first window is full after 15 further images, each later one after 8."""
        return len(self._waiting) == (WINDOW - 1 if self._run == 0 and not self._again else STEP)

    def _begin(self, at: NDArray[np.float64], points: NDArray[np.float64], again: bool = False) -> None:
        import torch

        self._again, self._run = again, 0
        queries = torch.tensor(np.column_stack([at, points]), dtype=torch.float32, device=self._device)[None]
        with torch.inference_mode():
            self._predictor(self._video([self._frames[-1]]), is_first_step=True, queries=queries, add_support_grid=True)

    def _video(self, frames: list[NDArray[np.uint8]]) -> Any:
        import torch

        video = torch.from_numpy(np.stack(frames)).to(self._device)
        return video.permute(0, 3, 1, 2)[None].float()

    def _answer(self) -> list[TrackResult]:
        import torch

        new = len(self._waiting)
        # A window begins with the 8 images before the new ones; the very first one with the start image.
        old = 1 if self._run == 0 and not self._again else STEP
        frames = list(self._frames)[-(old + new) :]
        with torch.inference_mode():
            tracks, visible = self._predictor(self._video(frames), add_support_grid=True)
        self._tracks = tracks[0, -len(frames) :].cpu().numpy().astype(np.float64)
        self._visible = visible[0, -len(frames) :].cpu().numpy() & ~self._lost
        results = []
        for stamp, places, seen in zip(self._waiting, self._tracks[-new:], self._visible[-new:], strict=True):
            self._points = np.where(seen[:, None], places, self._points)
            results.append(TrackResult(stamp, self._points.copy(), seen.copy(), seen.astype(np.float64)))
        self._waiting = []
        self._run += 1
        if self._started:
            self._maybe_again()
        return results

    def _maybe_again(self) -> None:
        seen = self._visible[-STEP:]
        hidden = ~seen.any(axis=0) & ~self._lost
        if self._run < self._windows or (hidden.any() and self._run < 2 * self._windows):
            return
        self._lost |= hidden
        last = STEP - 1 - np.argmax(seen[::-1], axis=0)
        at = np.where(self._lost, STEP - 1, last)
        recent = self._tracks[-STEP:]
        self._begin(at.astype(np.float64), recent[at, np.arange(len(at))], again=True)
