"""Learned features of every patch of an image, from a DINOv2 checkpoint that the user installs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pad_parse.errors import LocalisationError

_INSTALL = (
    "install PyTorch and `pip install transformers safetensors`, and download a DINOv2 checkpoint with registers or "
    "without, e.g. `hf download facebook/dinov2-small --local-dir DIR` (Apache-2.0)"
)
_MEAN, _SPREAD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


class DenseFeatures(Protocol):
    """Describes every patch of an image."""

    patch: int
    """Side of a patch in px."""

    def describe(self, rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Descriptors (h, w, d) of unit length of an image (h patch, w patch, 3)."""
        ...


class Dinov2Features:
    """A DINOv2 vision transformer in inference, on the CPU or on a GPU where PyTorch has one.

    Only safetensors weights are read, only from the given folder; nothing is downloaded and no code of the checkpoint's
    is run.
    """

    def __init__(self, checkpoint: str | os.PathLike[str]) -> None:
        """checkpoint: folder with config.json and model.safetensors.

        Raises:
            LocalisationError: the packages are missing, or the folder holds no usable checkpoint.
        """
        folder = Path(checkpoint)
        missing = [name for name in ("config.json", "model.safetensors") if not (folder / name).is_file()]
        if missing:
            raise LocalisationError(f"DINOv2 checkpoint {folder} lacks {' and '.join(missing)}; {_INSTALL}")
        try:
            import torch
            from safetensors import SafetensorError
            from transformers import AutoModel
        except ImportError as error:
            raise LocalisationError(
                f"the dinov2 localiser needs a package that is not here: {error}; {_INSTALL}"
            ) from error
        self._torch = torch
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            model: Any = AutoModel.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, trust_remote_code=False
            )
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise LocalisationError(f"DINOv2 checkpoint {folder} cannot be loaded: {error}; {_INSTALL}") from error
        if not model.config.model_type.startswith("dinov2"):
            raise LocalisationError(f"{folder} is a {model.config.model_type} model, not DINOv2; {_INSTALL}")
        self._model = model.eval().to(self._device)
        self.patch = int(model.config.patch_size)
        self._extra = 1 + int(getattr(model.config, "num_register_tokens", 0))

    def describe(self, rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `DenseFeatures`."""
        torch = self._torch
        rows, columns = rgb.shape[0] // self.patch, rgb.shape[1] // self.patch
        scaled = ((rgb / 255.0 - _MEAN) / _SPREAD).transpose(2, 0, 1)[None].astype(np.float32)
        with torch.inference_mode():
            tokens = self._model(pixel_values=torch.from_numpy(scaled).to(self._device)).last_hidden_state
        patches = tokens[0, self._extra :].float().cpu().numpy().reshape(rows, columns, -1)
        return np.asarray(patches / np.maximum(np.linalg.norm(patches, axis=-1, keepdims=True), 1e-9), np.float32)
