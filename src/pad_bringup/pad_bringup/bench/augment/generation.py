"""Generation in the end-effector space, the paper's own setting: time, growth and memory, on one core."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from pad_bringup.bench.benchmark import BenchSettings, Say

KEYS = ("ee_1000_s", "ee_100k_s", "ee_100k_peak_mb")

SMALL, LARGE, QUICK = 1000, 100_000, 200
# In a process of its own: its memory is its own, and a first small run leaves imports out of the time.
_SCRIPT = """
import json, resource, sys, time
from pathlib import Path
from pad_augment.generator import generate
from pad_bringup.bench.augment.source import demonstration, profile_path
demo, out, count, seed = demonstration(), Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
generate(demo, profile_path(), out / "warm", 10, seed, "straight_line")
began = time.perf_counter()
generate(demo, profile_path(), out / str(count), count, seed, "straight_line")
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"seconds": time.perf_counter() - began, "peak_mb": peak}))
"""


def measure(settings: BenchSettings, say: Say) -> dict[str, float | None]:
    """Wall-clock seconds for a dataset on disk, and the largest memory of the process, for 1000 and for 100,000."""
    if settings.quick:
        figures = _run(settings.work / "quick", QUICK, settings.seed)
        say(f"{QUICK} demonstrations in {figures['seconds']:.2f} s; too few for the record")
        return dict.fromkeys(KEYS)
    small = _run(settings.work / "small", SMALL, settings.seed)
    say(f"{SMALL}: {small['seconds']:.2f} s, {small['peak_mb']:.0f} MB")
    large = _run(settings.work / "large", LARGE, settings.seed)
    say(f"{LARGE}: {large['seconds']:.1f} s, {large['peak_mb']:.0f} MB")
    return {
        "ee_1000_s": small["seconds"],
        "ee_100k_s": large["seconds"],
        "ee_100k_peak_mb": large["peak_mb"],
    }


def _run(folder: Path, count: int, seed: int) -> dict[str, float]:
    folder.mkdir(parents=True)
    command = [sys.executable, "-c", _SCRIPT, str(folder), str(count), str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"generation ended with {done.returncode}: {done.stderr[-500:]}")
    values: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return values
