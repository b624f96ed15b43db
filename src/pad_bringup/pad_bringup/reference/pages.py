"""The pages themselves, as Markdown: nodes, and the command line."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from pathlib import Path
from typing import Any

from pad_bringup.errors import DocsError
from pad_bringup.reference.endpoints import OPEN, Endpoint, endpoints
from pad_bringup.reference.parameters import DeclaredParameter, implementation, node_class, parameters
from pad_parse.files import write_atomically

NODES_PAGE, CLI_PAGE = "nodes.md", "cli.md"
COMMAND = "./pad docs"
_MADE = f"<!-- Made by `{COMMAND}` from the code; a test compares. Change the code, then run it again. -->"
_PREFIX = re.compile(r"^(Lifecycle n|N)ode( `\w+`)?: ")
_FAULT = re.compile(r"\s*`fault`[^.]*\.")
_KINDS = {
    "publishes": "publishes",
    "subscribes": "subscribes to",
    "serves": "service",
    "action": "action",
    "calls": "calls service",
    "calls action": "calls action",
}


def pages() -> dict[str, str]:
    """File name -> text of every page of the reference."""
    return {NODES_PAGE: nodes_page(), CLI_PAGE: cli_page()}


def folder() -> Path:
    """docs/reference of the source tree.

    Raises:
        DocsError: this is an installation, not the source tree.
    """
    root = Path(__file__).resolve().parents[4]
    if not (root / "docs").is_dir():
        raise DocsError(f"{root} has no docs/: the reference is written in the source tree only")
    return root / "docs" / "reference"


def stale(place: Path) -> list[str]:
    """Names of the pages in a folder that are not what the code says."""
    return [
        name
        for name, text in pages().items()
        if not (place / name).is_file() or (place / name).read_text(encoding="utf-8") != text
    ]


def write(place: Path) -> list[Path]:
    """Write every page; returns their paths."""
    place.mkdir(parents=True, exist_ok=True)
    made = []
    for name, text in pages().items():
        write_atomically(place / name, text)
        made.append(place / name)
    return made


def node_modules() -> list[str]:
    """Modules of all nodes, from the entry points of the packages' setup.py, in the order of the data's flow."""
    found = []
    source = Path(__file__).resolve().parents[3]
    for package in ("pad_parse", "pad_augment", "pad_policy", "pad_bringup"):
        for node in ast.walk(ast.parse((source / package / "setup.py").read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and ".nodes." in node.value:
                found.append(node.value.partition("=")[2].partition(":")[0].strip())
    return found


def nodes_page() -> str:
    """Nodes with parameters, topics, services and actions; QoS profiles; arguments of the graph."""
    modules = node_modules()
    lines = [
        _MADE,
        "",
        "# Nodes, topics, services, actions",
        "",
        "Interfaces of PAD's own are in [`pad_msgs`](../../src/pad_msgs); metres, radians, seconds throughout. "
        "Parameters are read-only where nothing else is said. QoS profiles are [below](#qos-profiles).",
        "",
        *(f"- [{_node_name(m)}](#{_node_name(m)}) ({m.partition('.')[0]})" for m in modules),
        "",
    ]
    for module in modules:
        lines += _node(module)
    lines += _qos() + _graph()
    return "\n".join(lines).rstrip() + "\n"


def _node_name(module: str) -> str:
    return module.rpartition(".")[2]


def _node(module: str) -> list[str]:
    text = _PREFIX.sub("", inspect.getdoc(importlib.import_module(module)) or "")
    text = text[:1].upper() + text[1:]
    own = implementation(module)
    # `fault` is between the node and what runs it.
    more = _FAULT.sub("", (inspect.getdoc(node_class(own)) or "").strip())
    lines = [f"## {_node_name(module)}", "", _joined(text), "", _joined(more), "", _where(module, own), ""]
    declared = parameters(own)
    if declared:
        lines += ["| parameter | type | default | range | description |", "|---|---|---|---|---|"]
        lines += [_parameter(item) for item in declared]
        lines.append("")
    found = endpoints(own)
    if found:
        lines += ["| | name | interface | QoS |", "|---|---|---|---|"]
        lines += [_endpoint(item) for kind in _KINDS for item in found if item.kind == kind]
        lines.append("")
    return lines


def _where(module: str, own: str) -> str:
    from rclpy.lifecycle import LifecycleNode

    managed = "A lifecycle node. " if issubclass(node_class(own), LifecycleNode) else ""
    return f"{managed}Module: `{module}`."


def _parameter(item: DeclaredParameter) -> str:
    words = item.description if item.read_only else f"{item.description} Can be changed while it runs."
    default = f"`{item.default}`" if item.default else ""
    return f"| `{item.name}` | {item.type} | {default} | {item.limits} | {_cell(words)} |"


def _endpoint(item: Endpoint) -> str:
    name = item.name if item.name == OPEN else f"`{item.name}`"
    interface = item.interface if item.interface == OPEN else f"`{item.interface}`"
    return f"| {_KINDS[item.kind]} | {name} | {interface} | {item.qos} |"


def _qos() -> list[str]:
    from pad_parse import qos

    lines = ["## QoS profiles", "", "| profile | depth | reliability | durability | for |", "|---|---|---|---|---|"]
    body = ast.parse(inspect.getsource(qos)).body
    for statement, after in zip(body, [*body[1:], None]):
        if not (isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name)):
            continue
        name = statement.targets[0].id
        words = ""
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            words = str(after.value.value)
        profile = getattr(qos, name)
        how = (profile.reliability.name.lower().replace("_", " "), profile.durability.name.lower().replace("_", " "))
        lines.append(f"| {name} | {profile.depth} | {how[0]} | {how[1]} | {_cell(words)} |")
    return [*lines, ""]


def _graph() -> list[str]:
    from pad_bringup.graph_arguments import Use, arguments

    lines = [
        "## Arguments of the graph",
        "",
        "As `name:=value`, for `./pad up TASK` and the launch files. In brackets: which uses have it.",
        "",
        "| argument | default | choices | description |",
        "|---|---|---|---|",
    ]
    uses: dict[tuple[str, str, str, str], list[str]] = {}
    for use in Use:
        for item in arguments("pour", use):
            key = (item.name, item.default, ", ".join(item.choices), item.description)
            uses.setdefault(key, []).append(use.value)
    for (name, default, choices, words), held in uses.items():
        where = "" if len(held) == len(Use) else f" ({', '.join(held)})"
        lines.append(f"| `{name}`{where} | {f'`{default}`' if default else ''} | {choices} | {_cell(words)} |")
    return [*lines, ""]


def cli_page() -> str:
    """Every verb of ./pad with its arguments and options."""
    import typer

    from pad_bringup.cli import app

    lines = [
        _MADE,
        "",
        "# Command line",
        "",
        "`./pad VERB --help` says the same. Exit status: 0 only on success, 1 on a fault of PAD's own, 2 with one "
        "line on bad input, 130 after Ctrl-C. With `--json` the last line is one JSON object.",
        "",
        "`./pad setup` (makes the environment; `--force`: anew), `./pad test` (linter, type checker, tests; further "
        "words go to pytest) and `./pad doctor` (what is found and missing; `--json`) are done by `./pad` itself.",
        "",
    ]
    command: Any = typer.main.get_command(app)
    for name, verb in command.commands.items():
        words = " ".join(_usage(parameter) for parameter in verb.params if parameter.param_type_name == "argument")
        lines += [
            f"## {name}",
            "",
            f"`./pad {f'{name} {words}'.strip()}`",
            "",
            _joined(inspect.cleandoc(verb.help or "")),
            "",
        ]
        rows = [_option(parameter) for parameter in verb.params if parameter.name != "help"]
        if rows:
            lines += ["| | default | description |", "|---|---|---|", *rows, ""]
    return "\n".join(lines).rstrip() + "\n"


def _usage(parameter: Any) -> str:
    name = (parameter.metavar or parameter.name).upper()
    name = f"{name}..." if parameter.nargs == -1 else name
    return name if parameter.required else f"[{name}]"


def _option(parameter: Any) -> str:
    names = parameter.opts if parameter.param_type_name == "option" else [_usage(parameter)]
    names = [*names, *parameter.secondary_opts]
    default = parameter.default
    if callable(default) or default is None or default in ([], ()) or default is False:
        default = ""
    least, most = parameter.min, parameter.max
    limits = ""
    if least is not None or most is not None:
        limits = f" Range: {'' if least is None else f'{least:g}'} to {'' if most is None else f'{most:g}'}."
        limits = limits.replace(": to", ": up to").replace(" to .", " and more.")
    shown = "" if default == "" else f"`{str(default).lower() if isinstance(default, bool) else default}`"
    written = ", ".join(f"`{name}`" for name in names)
    return f"| {written} | {shown} | {_cell((parameter.help or '') + limits)} |"


def _joined(text: str) -> str:
    """One line per paragraph, cross-references as plain names."""
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
