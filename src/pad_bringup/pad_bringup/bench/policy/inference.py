"""How fast a policy answers on one core, alone and beside a busy one, and how soon after its process starts."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np

from pad_bringup.bench.benchmark import BenchSettings, Say
from pad_bringup.bench.policy.study import Study
from pad_bringup.errors import BenchError
from pad_policy.inference import OnnxPolicy

KEYS = ("chunk_p95_ms", "chunk_p95_loaded_ms", "first_chunk_s", "onnx_max_abs_error")

COUNT, QUICK = 500, 20
STARTS, QUICK_STARTS = 5, 1
_RATE = 20.0
"""Hz at which chunks are asked for: caches cool down in between, as they do in a node."""
_FIRST = """
import sys, time
from pathlib import Path
import numpy as np
from pad_policy.inference import OnnxPolicy
policy = OnnxPolicy(Path(sys.argv[1]))
history, count = policy.horizons.history, policy.keypoint_count
ee = np.tile(np.array(policy.bundle.manifest.start_ee), (history, 1))
policy.chunk(np.zeros((history, count, 3)), np.ones((history, count)), ee, np.random.default_rng(0))
print(time.clock_gettime(time.CLOCK_MONOTONIC))
"""

Observation = tuple[np.ndarray, np.ndarray, np.ndarray]


def measure(settings: BenchSettings, say: Say) -> dict[str, float | None]:
    """A chunk is all of `OnnxPolicy.chunk`: features, every flow step in ONNX Runtime on one thread, decoding."""
    study = Study(settings, say)
    demos = max(study.extent.demos)
    folder = study.policy(f"curve_{demos}_seed{settings.seed}", demos)
    count = QUICK if settings.quick else COUNT
    policy = OnnxPolicy(folder)
    alone = chunk_times(policy, count)
    cores = len(os.sched_getaffinity(0))
    loaded: float | None = None
    if cores > 1:
        with _Busy(cores - 1):
            loaded = float(1e3 * np.percentile(chunk_times(policy, count), 95))
    else:
        say("chunk_p95_loaded_ms needs a second core")
    return {
        "chunk_p95_ms": float(1e3 * np.percentile(alone, 95)),
        "chunk_p95_loaded_ms": loaded,
        "first_chunk_s": float(np.median([_first_chunk(folder) for _ in range(_starts(settings))])),
        "onnx_max_abs_error": policy.bundle.manifest.measures["onnx_max_abs_error"],
    }


def _starts(settings: BenchSettings) -> int:
    return QUICK_STARTS if settings.quick else STARTS


def stand_still(policy: OnnxPolicy) -> Observation:
    """An observation: keypoints about the middle of the table, arms at the start."""
    history, count = policy.horizons.history, policy.keypoint_count
    points = np.random.default_rng(0).uniform([-0.05, -0.2, 0.0], [0.05, 0.2, 0.2], (count, 3))
    ee = np.tile(np.array(policy.bundle.manifest.start_ee), (history, 1))
    return np.tile(points, (history, 1, 1)), np.ones((history, count), np.uint8), ee


def ask(policy: OnnxPolicy, observation: Observation) -> None:
    """One chunk."""
    policy.chunk(*observation, np.random.default_rng(0))


def chunk_times(policy: OnnxPolicy, count: int) -> np.ndarray:
    """(count,) s of wall time per chunk; one more before them warms up."""
    observation = stand_still(policy)
    ask(policy, observation)
    times = []
    for _ in range(count):
        time.sleep(1 / _RATE)
        began = time.perf_counter()
        ask(policy, observation)
        times.append(time.perf_counter() - began)
    return np.array(times)


def _first_chunk(folder: Path) -> float:
    """s from the start of a process to its first chunk."""
    began = time.clock_gettime(time.CLOCK_MONOTONIC)
    done = subprocess.run(
        [sys.executable, "-c", _FIRST, str(folder)], capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode:
        raise BenchError(f"a process could not run policy {folder}: {done.stderr.strip().splitlines()[-1]}")
    return float(done.stdout) - began


class _Busy:
    """Processes that do nothing but keep cores busy."""

    def __init__(self, count: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._ready = [context.Event() for _ in range(count)]
        self._processes = [context.Process(target=_spin, args=(ready,), daemon=True) for ready in self._ready]

    def __enter__(self) -> None:
        for process in self._processes:
            process.start()
        for ready in self._ready:
            ready.wait(60)

    def __exit__(self, *exception: object) -> None:
        for process in self._processes:
            process.kill()
            process.join()


def _spin(ready: Event) -> None:
    ready.set()
    while True:
        pass
