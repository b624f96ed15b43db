"""Online BootsTAPIR (Doersch et al. 2024; Apache-2.0) as a point tracker. The user installs its code and weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pad_parse.errors import TrackingError
from pad_parse.tracking.point_tracker import TrackResult, check_start
from pad_parse.tracking.weights import load_weights, put_weights

INSTALL = "pip install git+https://github.com/google-deepmind/tapnet einshape dm-tree (Apache-2.0)"
DOWNLOAD = "https://storage.googleapis.com/dm-tapnet/bootstap/causal_bootstapir_checkpoint.pt"
SIDE = 256
"""Images are given to the model at this width and height (px)."""


class Tapir:
    """A `PointTracker` that answers each image at once.

    The model's memory of a point is a causal state of fixed size, so a stream may be as long as it likes and needs no
    new beginning: a point is always compared with the features of its first image.
    """

    def __init__(self, model: Any, *, device: str = "cpu") -> None:
        """model: a causal `tapnet.torch.tapir_model.TAPIR` in evaluation mode; see `load`."""
        self._model = model.to(device)
        self._device = device
        self._size: tuple[int, ...] | None = None

    @classmethod
    def load(cls, checkpoint: Path, *, device: str = "cpu") -> Tapir:
        """With the weights of a local file.

        Raises:
            TrackingError: the package or the weights are missing, or do not fit.
        """
        model = new_model()
        put_weights(model, load_weights(checkpoint, "tapir", DOWNLOAD), checkpoint, "tapir")
        return cls(model, device=device)

    def start(self, rgb: NDArray[np.uint8], points: NDArray[np.float64]) -> None:
        """See `PointTracker.start`."""
        import torch

        points = check_start(rgb, points)
        self._size = rgb.shape
        self._scale = np.array([rgb.shape[1], rgb.shape[0]]) / SIDE
        self._points = points.copy()
        # Query points are (image, row, column), with pixel corners as whole numbers.
        queries = np.column_stack([np.zeros(len(points)), ((points + 0.5) / self._scale)[:, ::-1]])
        with torch.inference_mode():
            video = self._video(rgb)
            self._queries = self._model.get_query_features(
                video,
                is_training=False,
                query_points=torch.tensor(queries, dtype=torch.float32, device=self._device)[None],
                feature_grids=self._model.get_feature_grids(video, is_training=False),
            )
            state = self._model.construct_initial_causal_state(len(points), len(self._queries.resolutions) - 1)
            self._state = [{k: v.to(self._device) for k, v in layer.items()} for layer in state]
            # The first image also passes through the causal state, as in the model's training.
            self._estimate(video)

    def step(self, rgb: NDArray[np.uint8], stamp: float) -> list[TrackResult]:
        """See `PointTracker.step`; one result per image."""
        import torch

        if self._size is None:
            raise TrackingError("the tracker was not started; call start(rgb, points) first")
        if rgb.shape != self._size:
            raise TrackingError(f"the image size changed from {self._size} to {rgb.shape}")
        with torch.inference_mode():
            places, certainty = self._estimate(self._video(rgb))
        visible = certainty > 0.5
        self._points = np.where(visible[:, None], places * self._scale - 0.5, self._points)
        return [TrackResult(stamp, self._points.copy(), visible, certainty * visible)]

    def flush(self) -> list[TrackResult]:
        """See `PointTracker.flush`; nothing is ever held back."""
        return []

    def _estimate(self, video: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Places (N, 2) in the model's pixels and the probability (N,) that a point is visible and where it says."""
        import torch

        found = self._model.estimate_trajectories(
            video.shape[-3:-1],
            is_training=False,
            feature_grids=self._model.get_feature_grids(video, is_training=False),
            query_features=self._queries,
            query_points_in_video=None,
            query_chunk_size=64,
            causal_context=self._state,
            get_causal_context=True,
        )
        self._state = found["causal_context"]
        tracks, hidden, far = found["tracks"][-1], found["occlusion"][-1], found["expected_dist"][-1]
        certainty = (1 - torch.sigmoid(hidden)) * (1 - torch.sigmoid(far))
        return tracks[0, :, 0].cpu().numpy().astype(np.float64), certainty[0, :, 0].cpu().numpy().astype(np.float64)

    def _video(self, rgb: NDArray[np.uint8]) -> Any:
        import torch

        small = cv2.resize(rgb, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        return torch.from_numpy(small).to(self._device)[None, None].float() / 255 * 2 - 1


def new_model() -> Any:
    """The causal model, without trained weights.

    Raises:
        TrackingError: its package is missing.
    """
    try:
        from tapnet.torch import tapir_model
    except ImportError as error:
        raise TrackingError(f"tracker tapir is not installed ({error}); {INSTALL}") from error
    return tapir_model.TAPIR(pyramid_level=1, use_casual_conv=True).eval()
