"""Data flows one way: no package imports one that lies downstream of it."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src"
FLOW = ("pad_msgs", "pad_parse", "pad_augment", "pad_policy", "pad_bringup")


def imported_packages(path: Path) -> set[str]:
    """Top-level names that a module imports, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(), filename=str(path))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("package", FLOW[1:])
def test_no_upstream_package_imports_a_downstream_one(package: str) -> None:
    downstream = set(FLOW[FLOW.index(package) + 1 :]) | {"bootstrap"}
    wrong = {
        str(path.relative_to(SOURCE)): sorted(found)
        for path in sorted((SOURCE / package / package).rglob("*.py"))
        if (found := imported_packages(path) & downstream)
    }
    assert not wrong


@pytest.mark.parametrize("package", FLOW[1:])
def test_manifest_names_the_packages_that_are_imported(package: str) -> None:
    manifest = (SOURCE / package / "package.xml").read_text()
    used = set()
    for path in (SOURCE / package / package).rglob("*.py"):
        used |= imported_packages(path)
    ros = {name for name in used if name.endswith(("_msgs", "_srvs", "_interfaces")) or name in ("rclpy", *FLOW)}
    missing = [name for name in sorted(ros - {package}) if f"depend>{name}</" not in manifest]
    assert not missing, f"{package}/package.xml lacks {missing}"


def test_bootstrap_uses_the_standard_library_only() -> None:
    import sys

    allowed = set(sys.stdlib_module_names) | {"bootstrap"}
    wrong = {
        path.name: sorted(found)
        for path in (SOURCE.parent / "bootstrap").glob("*.py")
        if (found := imported_packages(path) - allowed)
    }
    assert not wrong
