"""Every core imports on a machine without ROS: plain Python, numpy in, numpy out."""

import json
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1] / "src"

# What may use ROS, next to the nodes themselves.
ROS_SIDE = {
    "pad_parse.qos",
    "pad_bringup.bench.faults.flood",
    "pad_bringup.bench.faults.injections",
    "pad_bringup.bench.faults.relay",
    "pad_bringup.bench.faults.running_graph",
    "pad_bringup.bench.faults.world",
    "pad_bringup.bench.graph.camera_to_command",
    "pad_bringup.bench.graph.graph_up",
    "pad_bringup.bench.graph.hold_stop",
    "pad_bringup.bench.graph.live",
    "pad_bringup.bench.graph.rates",
    "pad_bringup.bench.graph.safety_log",
    "pad_bringup.bench.graph.soak",
    "pad_bringup.bench.graph.traffic",
    "pad_bringup.calibration.live",
    "pad_bringup.camera_messages",
    "pad_bringup.episodes",
    "pad_bringup.launch_description",
    "pad_bringup.evaluation.in_graph",
    "pad_bringup.live_camera",
    "pad_bringup.ros_probe",
    "pad_bringup.running",
    "pad_bringup.session",
    "pad_bringup.up",
}

IMPORT_ALL = """
import importlib, importlib.abc, json, sys, traceback

BLOCKED = ("rclpy", "launch", "launch_ros", "ament_index_python", "builtin_interfaces", "rosidl_runtime_py", "tf2_ros")

class WithoutRos(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top in BLOCKED or top.endswith(("_msgs", "_srvs")):
            raise ModuleNotFoundError(f"{name} is blocked by the test", name=name)
        return None

sys.meta_path.insert(0, WithoutRos())
failures = {}
for name in json.loads(sys.argv[1]):
    try:
        importlib.import_module(name)
    except BaseException:
        failures[name] = traceback.format_exc(limit=-3)
print(json.dumps(failures))
"""


def core_modules() -> list[str]:
    """Dotted names of all core modules of the four Python packages."""
    names = []
    for package in ("pad_parse", "pad_augment", "pad_policy", "pad_bringup"):
        root = SOURCE / package
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            if "nodes" not in parts and parts[-1] != "__main__" and name not in ROS_SIDE:
                names.append(name)
    return names


def test_every_core_imports_with_ros_blocked() -> None:
    names = core_modules()
    assert len(names) > 20
    result = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, json.dumps(names)], capture_output=True, text=True, timeout=110, check=False
    )
    assert result.returncode == 0, result.stderr[-2000:]
    failures = json.loads(result.stdout.splitlines()[-1])
    assert not failures, "\n".join(f"{name}:\n{trace}" for name, trace in failures.items())


def test_the_exceptions_exist() -> None:
    for name in ROS_SIDE:
        package = name.partition(".")[0]
        assert (SOURCE / package / f"{name.replace('.', '/')}.py").is_file(), f"{name} is gone: take it off the list"
