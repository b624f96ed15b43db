"""Export of the network to ONNX and the proof that the export answers the same."""

import warnings
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from pad_policy.errors import BundleError
from pad_policy.model import PolicyNetwork

INPUT_NAMES = ["keypoints", "valid", "proprioception", "noisy", "times"]
TOLERANCE = 1e-5


def example_inputs(model: PolicyNetwork, batch: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Normalised inputs with some points lost, shaped as the networks' `forward` takes them."""
    layout = model.layout
    points = rng.standard_normal((batch, layout.keypoints, layout.history, layout.features), dtype=np.float32)
    valid = (rng.random(points.shape[:3]) > 0.2).astype(np.float32)
    valid[:, 0] = 0.0
    return [
        points,
        valid,
        rng.standard_normal((batch, layout.proprioception), dtype=np.float32),
        rng.standard_normal((batch, layout.horizon, 20), dtype=np.float32),
        rng.random(batch, dtype=np.float32),
    ]


def export(model: PolicyNetwork, path: Path) -> float:
    """Write `model` to `path` with a free batch size and return the largest deviation; above 1e-5 is an error."""
    model = model.eval().cpu()
    rng = np.random.default_rng(0)
    arguments = tuple(torch.from_numpy(x) for x in example_inputs(model, 2, rng))
    with warnings.catch_warnings():
        # The newer exporter needs another package and writes the same graph.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            model,
            arguments,
            str(path),
            input_names=INPUT_NAMES,
            output_names=["answer"],
            dynamic_axes={name: {0: "batch"} for name in [*INPUT_NAMES, "answer"]},
            opset_version=17,
            dynamo=False,
        )
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    worst = 0.0
    for batch in (1, 5):
        inputs = example_inputs(model, batch, rng)
        with torch.no_grad():
            expected = model(*(torch.from_numpy(x) for x in inputs)).numpy()
        answer = session.run(None, dict(zip(INPUT_NAMES, inputs, strict=True)))[0]
        worst = max(worst, float(np.abs(answer - expected).max()))
    if worst > TOLERANCE:
        path.unlink()
        raise BundleError(f"the ONNX export deviates by {worst:.1e} from the network (allowed {TOLERANCE:.0e})")
    return worst
