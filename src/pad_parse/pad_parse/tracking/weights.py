"""Weights of learned trackers: only files that cannot run code when they are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pad_parse.errors import TrackingError


def load_weights(path: Path, tracker: str, download: str) -> dict[str, Any]:
    """The state dictionary in a file: `.safetensors`, or a torch file read with `weights_only`.

    Raises:
        TrackingError: no such file (says that `tracker` needs it and where to `download` it), or it is not readable
            without running code.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise TrackingError(f"tracker {tracker} needs its weights, and {path} is not a file; download {download}")
    import torch

    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(str(path)))
        state = torch.load(path, map_location="cpu", weights_only=True)
    except ImportError as error:
        raise TrackingError(f"{path} is a safetensors file; pip install safetensors") from error
    except Exception as error:  # torch raises many kinds for a file that is damaged or holds more than tensors
        raise TrackingError(f"{path} holds no readable weights for {tracker} ({error}); download {download}") from error
    state = state.get("model", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not state:
        raise TrackingError(f"{path} holds no weights but a {type(state).__name__}; download {download}")
    return state


def put_weights(model: Any, state: dict[str, Any], path: Path, tracker: str) -> None:
    """Load `state` into a torch model.

    Raises:
        TrackingError: the names or shapes are those of another model.
    """
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        first = str(error).strip().splitlines()[:2]
        raise TrackingError(f"{path} does not hold weights of {tracker}: {' '.join(first)}") from error
    model.eval()
