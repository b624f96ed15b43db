"""Cores import without ROS; what a node imports does not pull in torch."""

import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "pad_policy"
TORCH_SIDE = {"model", "muon", "onnx_export", "held_out", "data_checks", "training"} | {
    f"training_{name}" for name in ("data", "devices", "loop", "state")
}


def import_with(blocked: list[str], modules: list[str]) -> subprocess.CompletedProcess:
    lines = ["import sys", *(f"sys.modules[{name!r}] = None" for name in blocked)]
    lines += [f"import pad_policy.{module}" for module in modules]
    return subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, timeout=60)


def test_cores_import_without_ros_and_run_time_modules_without_torch() -> None:
    modules = sorted(path.stem for path in PACKAGE.glob("*.py") if path.stem != "__init__")
    assert set(modules) >= TORCH_SIDE
    done = import_with(["rclpy"], modules)
    assert done.returncode == 0, done.stderr
    done = import_with(["rclpy", "torch"], [m for m in modules if m not in TORCH_SIDE])
    assert done.returncode == 0, done.stderr
