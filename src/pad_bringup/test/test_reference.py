"""docs/reference says what the code says, and the reading of the code is right."""

import re
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")
pytest.importorskip("pad_msgs.msg", reason="pad_msgs is not built; build the workspace and source it")

from pad_bringup.reference import pages
from pad_bringup.reference.endpoints import endpoints
from pad_bringup.reference.parameters import parameters

DOCS = Path(__file__).resolve().parents[3] / "docs"


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    return pages.pages()


def test_the_committed_pages_are_what_the_code_says(made: dict[str, str]) -> None:
    old = [name for name, text in made.items() if (DOCS / "reference" / name).read_text(encoding="utf-8") != text]
    assert not old, f"docs/reference/{', '.join(old)} is not what the code says: run {pages.COMMAND}"


def test_every_node_of_the_graph_and_every_verb_is_in(made: dict[str, str]) -> None:
    from bootstrap.commands import CLI

    for verb in CLI:
        assert f"\n## {verb}\n" in made[pages.CLI_PAGE]
    for name in ("keypoint_tracker", "policy_node", "command_gate", "sim_cell", "mock_cell", "recorder"):
        assert f"\n## {name}\n" in made[pages.NODES_PAGE]


def test_declarations_are_read_with_range_and_choices() -> None:
    declared = {item.name: item for item in parameters("pad_parse.nodes.keypoint_tracker")}
    limit = declared["confidence_limit"]
    assert (limit.type, limit.default, limit.limits) == ("double", "0.5", "0 to 1")
    assert limit.description.startswith("Confidence below") and limit.read_only
    assert "One of: classical" in declared["localiser"].description


def test_topics_of_loops_helpers_and_the_camera_are_found() -> None:
    gate = {(item.kind, item.name): item for item in endpoints("pad_policy.nodes.command_gate")}
    for side in ("left", "right"):
        item = gate["publishes", f"/{side}_forward_position_controller/commands"]
        assert (item.interface, item.qos) == ("std_msgs/Float64MultiArray", "COMMAND")
    assert gate["serves", "/pad/stop"].interface == "std_srvs/Trigger"
    tracker = {(item.kind, item.name) for item in endpoints("pad_parse.nodes.keypoint_tracker")}
    assert {("subscribes", "/camera/color/image_raw"), ("publishes", "/tf")} <= tracker
    assert ("serves", "/pad/localise_keypoints") in tracker


def test_links_and_commands_of_the_docs_exist() -> None:
    """Every relative link leads somewhere, every ./pad command names a verb and options that there are."""
    import typer

    from bootstrap.commands import OWN
    from pad_bringup.cli import app

    verbs = typer.main.get_command(app).commands
    files = [*DOCS.rglob("*.md"), DOCS.parent / "README.md", DOCS.parent / "docker" / "README.md"]
    wrong = []
    for path in files:
        text = path.read_text(encoding="utf-8")
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
            if not (path.parent / link).exists():
                wrong.append(f"{path.name}: {link}")
        for verb, rest in re.findall(r"\./pad +([a-z]+(?:-[a-z]+)*)([^`\n|#]*)", text):
            if verb not in verbs:
                if verb not in OWN:
                    wrong.append(f"{path.name}: ./pad {verb}")
                continue
            known = {name for parameter in verbs[verb].params for name in (*parameter.opts, *parameter.secondary_opts)}
            for option in re.findall(r"(?<!\S)(--?[a-z][a-z-]*)", rest):
                if option not in {*known, "--help", "-h"}:
                    wrong.append(f"{path.name}: ./pad {verb} {option}")
    assert not wrong, wrong


def test_the_task_of_the_how_to_is_one() -> None:
    from pad_parse.task import TaskSpec

    (example,) = re.findall(r"```yaml\n(.*?)```", (DOCS / "new_task.md").read_text(encoding="utf-8"), re.DOTALL)
    assert TaskSpec.from_yaml(example).keypoint_count == 11


def test_the_index_leads_to_every_page() -> None:
    text = (DOCS / "README.md").read_text(encoding="utf-8")
    assert not [page.name for page in DOCS.rglob("*.md") if page.name != "README.md" and page.name + ")" not in text]
    assert "(docs/README.md)" in (DOCS.parent / "README.md").read_text(encoding="utf-8")
