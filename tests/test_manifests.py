"""The packages' manifests: valid for colcon and rosdep, in step with the code."""

import ast
import configparser
from pathlib import Path

import pytest
from catkin_pkg.package import parse_package

SOURCE = Path(__file__).resolve().parents[1] / "src"
PACKAGES = ("pad_msgs", "pad_parse", "pad_augment", "pad_policy", "pad_bringup")
EXECUTABLES = {
    "pad_parse": {"keypoint_tracker", "hand_tracker", "demonstration_server"},
    "pad_augment": {"tamp_server"},
    "pad_policy": {"policy_node", "command_gate"},
    "pad_bringup": {"sim_cell", "mock_cell", "player", "recorder", "status_markers", "replay", "viewer", "pad"},
}


def entry_points(package: str) -> dict[str, tuple[str, str]]:
    """Module and function by executable, read from setup.py without running it."""
    tree = ast.parse((SOURCE / package / "setup.py").read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "entry_points":
            points = ast.literal_eval(node.value)["console_scripts"]
            pairs = (point.replace(" ", "").split("=") for point in points)
            return {name: tuple(target.split(":")) for name, target in pairs}
    raise AssertionError(f"{package}/setup.py has no entry_points")


@pytest.mark.parametrize("name", PACKAGES)
def test_manifest_is_valid(name: str) -> None:
    warnings: list[str] = []
    package = parse_package(str(SOURCE / name / "package.xml"), warnings=warnings)
    package.validate(warnings=warnings)
    assert not warnings
    assert package.package_format == 3
    assert package.name == name
    assert [str(text) for text in package.licenses] == ["Apache-2.0"]
    assert package.get_build_type() == ("ament_cmake" if name == "pad_msgs" else "ament_python")


def test_all_packages_carry_one_version() -> None:
    versions = {parse_package(str(SOURCE / name / "package.xml")).version for name in PACKAGES}
    assert len(versions) == 1
    version = versions.pop()
    for name in EXECUTABLES:
        assert f'version="{version}"' in (SOURCE / name / "setup.py").read_text()


@pytest.mark.parametrize("name", sorted(EXECUTABLES))
def test_package_installs_where_ros_looks(name: str) -> None:
    settings = configparser.ConfigParser()
    settings.read(SOURCE / name / "setup.cfg")
    assert settings["develop"]["script_dir"] == f"$base/lib/{name}"
    assert settings["install"]["install_scripts"] == f"$base/lib/{name}"
    assert (SOURCE / name / "resource" / name).is_file()


@pytest.mark.parametrize("name", sorted(EXECUTABLES))
def test_entry_points_resolve(name: str) -> None:
    points = entry_points(name)
    assert set(points) == EXECUTABLES[name]
    for executable, (module, function) in points.items():
        path = SOURCE / name / f"{module.replace('.', '/')}.py"
        assert path.is_file(), f"{name}: executable {executable} names {module}, which does not exist"
        defined = {node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}
        assert function in defined, f"{module} has no function {function}"


@pytest.mark.parametrize("name", sorted(EXECUTABLES))
def test_files_beside_the_code_are_installed_with_it(name: str) -> None:
    tree = ast.parse((SOURCE / name / "setup.py").read_text())
    keywords = [node for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg == "package_data"]
    patterns = ast.literal_eval(keywords[0].value) if keywords else {}
    folders = {package: SOURCE / name / package.replace(".", "/") for package in patterns}
    installed = {path for package, globs in patterns.items() for glob in globs for path in folders[package].glob(glob)}
    files = [path for path in (SOURCE / name / name).rglob("*") if path.is_file()]
    caches = ("__pycache__", ".ruff_cache", ".mypy_cache")
    beside = {path for path in files if path.suffix != ".py" and not any(part in caches for part in path.parts)}
    assert beside <= installed


def test_every_interface_is_built_and_commented() -> None:
    build = (SOURCE / "pad_msgs" / "CMakeLists.txt").read_text()
    interfaces = [path for kind in ("msg", "srv", "action") for path in (SOURCE / "pad_msgs" / kind).iterdir()]
    assert len(interfaces) >= 17
    for path in interfaces:
        assert f'"{path.parent.name}/{path.name}"' in build
        lines = path.read_text().splitlines()
        assert lines[0].startswith("# "), f"{path.name} does not say what it is"
        fields = [line for line in lines if line and not line.startswith("#") and "=" not in line and line != "---"]
        bare = [line for line in fields if "#" not in line and not line.startswith(("std_msgs/Header", "bool success"))]
        assert not bare, f"{path.name}: fields without a comment: {bare}"
