"""Run a distilled policy on one CPU thread: numpy and ONNX Runtime, no torch."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from pad_policy.actions import decode
from pad_policy.bundle import NETWORK, PolicyBundle
from pad_policy.errors import BundleError, PolicyError
from pad_policy.objective import make_objective
from pad_policy.observation import keypoint_features, proprioception

Array = NDArray[np.floating[Any]]


class OnnxPolicy:
    """A policy folder, ready to answer observations with chunks."""

    def __init__(self, folder: Path) -> None:
        self.bundle = PolicyBundle.load(folder)
        self.horizons = self.bundle.manifest.horizons
        self._objective = make_objective(self.bundle.manifest.objective)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        path = self.bundle.folder / NETWORK
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), sess_options=options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime raises its own, undocumented classes
            raise BundleError(f"{path}: not a readable network: {error}; distil the policy again") from error

    @property
    def keypoint_count(self) -> int:
        """N, the number of keypoints the policy looks at."""
        return len(self.bundle.manifest.keypoint_groups)

    def chunk(self, keypoints: Array, states: NDArray, ee: Array, rng: np.random.Generator) -> Array:
        """Predict the next commands.

        keypoints (To, N, 3) m in the task frame, oldest first; states (To, N), 0 = lost, whose positions are not
        looked at; ee (To, 20), or (20,) for a policy without proprioception history, measured. Returns (H, 20):
        commanded EE vectors in the task frame, step k due k / rate_hz seconds (k = 1 .. H) after the newest
        observation.
        """
        to, count = self.horizons.history, self.keypoint_count
        ee = np.asarray(ee, np.float64)
        if ee.shape == (20,) and not self.bundle.manifest.representation.proprioception_history:
            ee = np.tile(ee, (to, 1))
        if np.shape(keypoints) != (to, count, 3) or np.shape(states) != (to, count) or ee.shape != (to, 20):
            raise PolicyError(
                f"the policy takes keypoints ({to}, {count}, 3), states ({to}, {count}), ee ({to}, 20); got "
                f"{np.shape(keypoints)}, {np.shape(states)}, {ee.shape}"
            )
        valid = np.asarray(states) != 0
        points = np.where(valid[..., None], keypoints, 0.0)
        if not np.all(np.isfinite(points)) or not np.all(np.isfinite(ee)):
            raise PolicyError("keypoints that are not lost and the end effectors must be finite numbers")
        manifest, normaliser = self.bundle.manifest, self.bundle.normaliser
        features = keypoint_features(points[None], ee[None], manifest.representation)
        inputs = {
            "keypoints": normaliser.keypoints.normalise(features),
            "valid": valid.T[None].astype(np.float32),
            "proprioception": normaliser.proprioception.normalise(proprioception(ee[None], manifest.representation)),
        }

        def network(noisy: NDArray, times: NDArray) -> NDArray:
            feeds = {**inputs, "noisy": noisy.astype(np.float32), "times": times.astype(np.float32)}
            return self._session.run(None, feeds)[0]

        noise = rng.standard_normal((1, self.horizons.horizon, 20), dtype=np.float32)
        answer = self._objective.sample(network, noise, manifest.denoising_steps)
        targets = normaliser.actions.restore(answer[0])
        return decode(targets, ee[-1], manifest.representation.action_frame)
