"""Parameters of a node, from its own declarations: its constructor runs as far as it comes without files."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

from pad_bringup.errors import DocsError


@dataclass(frozen=True)
class DeclaredParameter:
    """A parameter as ROS sees it; limits: `least to greatest`, or empty."""

    name: str
    type: str
    default: str
    limits: str
    description: str
    read_only: bool


def implementation(module_name: str) -> str:
    """The module whose node a module's `main` runs: itself, or the one whose `run` it takes."""
    module = importlib.import_module(module_name)
    others = {value.__module__ for value in vars(module).values() if inspect.isfunction(value)}
    for name in (module_name, *sorted(other for other in others if ".nodes." in other)):
        if _node_classes(name):
            return name
    raise DocsError(f"{module_name} has no node class, and takes none of another module")


def node_class(module_name: str) -> type:
    """The node class of a module.

    Raises:
        DocsError: none or several.
    """
    found = _node_classes(module_name)
    if len(found) != 1:
        raise DocsError(f"{module_name} has {len(found)} node classes; one is needed")
    return found[0]


def _node_classes(module_name: str) -> list[type]:
    from rclpy.node import Node

    values = vars(importlib.import_module(module_name)).values()
    return [v for v in values if inspect.isclass(v) and issubclass(v, Node) and v.__module__ == module_name]


def parameters(module_name: str) -> list[DeclaredParameter]:
    """What the node of a module declares, in its order.

    Raises:
        DocsError: the source names a parameter that the constructor did not come to declare.
    """
    kind = node_class(module_name)
    declared: dict[str, DeclaredParameter] = {}
    needed = [p for p in inspect.signature(kind).parameters.values() if p.default is p.empty]
    wanted, all_known = _named_in_source(module_name)
    with _recording(declared, wanted if all_known else frozenset()):
        try:
            kind(*(mock.MagicMock() for _ in needed))
        except _AllDeclared:
            pass
        except Exception:  # it wants its files now, which are not here
            pass
    late = sorted(wanted - declared.keys())
    if late:
        raise DocsError(f"{module_name} declares {', '.join(late)} after it has read files; declare them first")
    return list(declared.values())


class _AllDeclared(BaseException):
    """Nothing more is to come from a constructor; what else it does (a web server, threads) must not happen."""


@contextmanager
def _recording(declared: dict[str, DeclaredParameter], wanted: frozenset[str]) -> Iterator[None]:
    """Nodes that are made meanwhile write down what they declare, and end when they have declared all of `wanted`."""
    from rclpy.node import Node
    from rclpy.parameter import Parameter

    def start(self: Any, name: str, *_: Any, **__: Any) -> None:
        self.held = {}

    def declare(self: Any, name: str, value: Any = None, descriptor: Any = None, *_: Any, **__: Any) -> Parameter:
        declared[name] = _declared(name, value, descriptor)
        default = None if isinstance(value, Parameter.Type) else value
        self.held[name] = Parameter(name, value=default)
        if wanted and wanted <= declared.keys():
            raise _AllDeclared
        return self.held[name]

    fakes: dict[str, Any] = {
        "__init__": start,
        "declare_parameter": declare,
        "get_parameter": lambda self, name: self.held[name],
        "add_on_set_parameters_callback": lambda self, callback: None,
    }
    silent = ("create_publisher", "create_subscription", "create_service", "create_client", "create_timer")
    for name in (*silent, "get_logger", "get_clock"):
        fakes[name] = lambda self, *_, **__: mock.MagicMock()
    kinds: list[Any] = [Node]
    try:
        from rclpy.lifecycle import LifecycleNode

        kinds.append(LifecycleNode)
    except ImportError:
        pass
    with mock.patch.multiple(Node, **fakes):
        if len(kinds) == 2:
            with mock.patch.object(kinds[1], "__init__", start):
                yield
        else:
            yield


def _declared(name: str, value: Any, descriptor: Any) -> DeclaredParameter:
    from rclpy.parameter import Parameter

    default, kind = value, type(value).__name__
    if isinstance(value, Parameter.Type):
        default, kind = "", value.name.lower().replace("_array", " array")
    elif isinstance(value, list | tuple):
        kind = f"{type(value[0]).__name__ if value else 'str'} array"
    limits = ""
    ranges = [*descriptor.integer_range, *descriptor.floating_point_range] if descriptor is not None else []
    if ranges:
        limits = f"{ranges[0].from_value:g} to {ranges[0].to_value:g}"
    return DeclaredParameter(
        name=name,
        type={"str": "string", "float": "double"}.get(kind, kind),
        default=_written(default),
        limits=limits,
        description=descriptor.description if descriptor is not None else "",
        read_only=bool(descriptor is not None and descriptor.read_only),
    )


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if value == "" or value is None:
        return ""
    return str(list(value)) if isinstance(value, tuple) else str(value)


def _named_in_source(module_name: str) -> tuple[frozenset[str], bool]:
    """Names in the calls that declare parameters, and whether these are all: a loop may declare more."""
    found, open_calls = set(), 0
    tree = ast.parse(inspect.getsource(importlib.import_module(module_name)))
    helpers = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name.startswith("_declare")]
    inside = {id(node) for helper in helpers for node in ast.walk(helper)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or id(node) in inside:
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if called == "declare" or called.startswith(("_declare", "declare_parameter")):
            texts = [a.value for a in node.args[:2] if isinstance(a, ast.Constant) and isinstance(a.value, str)]
            first = node.args[1 if called == "declare" else 0]
            if isinstance(first, ast.Constant):
                found.add(texts[0])
            else:
                open_calls += 1
    return frozenset(found), open_calls == 0
