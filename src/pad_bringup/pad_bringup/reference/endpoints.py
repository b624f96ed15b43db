"""Topics, services and actions of a node, read from the source of its module and of what it is composed of.

The calls that create them are found in the syntax tree; their arguments are worked out as far as they are made of
constants, names of modules, loops over literals and the functions of `pad_bringup.names`. What depends on parameters or
files stays open.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

PACKAGES = ("pad_parse.", "pad_augment.", "pad_policy.", "pad_bringup.")
OPEN = "decided at run time"

# Call -> (kind, places of the interface, the name and the QoS among the positional arguments).
_CALLS = {
    "create_publisher": ("publishes", 0, 1, 2),
    "create_lifecycle_publisher": ("publishes", 0, 1, 2),
    "create_subscription": ("subscribes", 0, 1, 3),
    "create_service": ("serves", 0, 1, None),
    "create_client": ("calls", 0, 1, None),
    "ActionServer": ("action", 1, 2, None),
    "ActionClient": ("calls action", 1, 2, None),
}

# Interfaces that nodes import only where they are installed.
_IMPORTED_LATE = {
    "/tf": "tf2_msgs/TFMessage",
    "/tf_static": "tf2_msgs/TFMessage",
    "/display_planned_path": "moveit_msgs/DisplayTrajectory",
}
_BUILTINS = {"enumerate": enumerate, "zip": zip, "range": range, "sorted": sorted}


@dataclass(frozen=True, order=True)
class Endpoint:
    """One topic, service or action of a node; qos: the name of its profile in pad_parse.qos, a depth, or empty."""

    kind: str
    name: str
    interface: str
    qos: str


class _UnknownError(Exception):
    """An expression that only the running node knows."""


def endpoints(module_name: str) -> list[Endpoint]:
    """Of the node in a module, with those of the helper modules that it imports from `nodes` packages."""
    found: set[Endpoint] = set()
    for name in _composed_of(module_name):
        module = importlib.import_module(name)
        _Walker(vars(module), found).visit(ast.parse(inspect.getsource(module)), {})
        if name == "pad_parse.nodes.camera_stream":
            for topic, offers in module._OFFERS.items():
                found = {item for item in found if item.name != OPEN}
                kinds = " or ".join(_interface(kind) for _, kind in offers)
                found.add(Endpoint("subscribes", topic, kinds, "that of the publisher"))
    return sorted(found)


def _composed_of(module_name: str) -> Iterator[str]:
    """The module and the helpers of nodes that it imports, themselves no nodes."""
    yield module_name
    module = importlib.import_module(module_name)
    helpers = {
        value.__module__ for value in vars(module).values() if inspect.isclass(value) or inspect.isfunction(value)
    }
    for name in sorted(helpers - {module_name}):
        if name.startswith(PACKAGES) and ".nodes." in name and not hasattr(importlib.import_module(name), "main"):
            yield name


class _Walker:
    def __init__(self, names: Mapping[str, Any], found: set[Endpoint]) -> None:
        self._names, self._found = names, found

    def visit(self, node: ast.AST, known: dict[str, Any]) -> None:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            known = dict(known)
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            self.visit(node.value, known)
            try:
                known[node.targets[0].id] = self._value(node.value, known)
            except _UnknownError:
                known.pop(node.targets[0].id, None)
            return
        if isinstance(node, ast.For):
            for inner in self._bound(node.target, node.iter, known):
                for statement in node.body:
                    self.visit(statement, inner)
            return
        if isinstance(node, ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp):
            first = node.generators[0]
            parts = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
            for inner in self._bound(first.target, first.iter, known):
                for part in parts:
                    self.visit(part, inner)
            return
        if isinstance(node, ast.Call):
            self._call(node, known)
        for child in ast.iter_child_nodes(node):
            self.visit(child, known)

    def _bound(self, target: ast.expr, items: ast.expr, known: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """What is known in each turn of a loop; one turn with less where the loop cannot be worked out."""
        bound = {part.id for part in ast.walk(target) if isinstance(part, ast.Name)}
        try:
            values = list(self._value(items, known))
        except (_UnknownError, TypeError):
            yield {name: value for name, value in known.items() if name not in bound}
            return
        for value in values:
            if isinstance(target, ast.Name):
                yield {**known, target.id: value}
            elif isinstance(target, ast.Tuple) and all(isinstance(part, ast.Name) for part in target.elts):
                yield {**known, **{part.id: one for part, one in zip(target.elts, value)}}  # type: ignore[attr-defined]
            else:
                yield {name: value for name, value in known.items() if name not in bound}

    def _call(self, node: ast.Call, known: dict[str, Any]) -> None:
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if called not in _CALLS:
            return
        kind, interface_at, name_at, qos_at = _CALLS[called]

        def argument(place: int | None) -> Any:
            if place is None or place >= len(node.args):
                return None
            try:
                return self._value(node.args[place], known)
            except _UnknownError:
                return OPEN

        name, interface, profile = argument(name_at), argument(interface_at), argument(qos_at)
        written = _IMPORTED_LATE.get(str(name)) or _interface(interface)
        self._found.add(Endpoint(kind, str(name), written, _profile(profile)))

    def _value(self, node: ast.expr, known: dict[str, Any]) -> Any:
        match node:
            case ast.Constant(value=value):
                return value
            case ast.Name(id=name):
                if name in known:
                    return known[name]
                if name in self._names:
                    return self._names[name]
                if name in _BUILTINS:
                    return _BUILTINS[name]
            case ast.Attribute(value=owner, attr=attribute):
                held = self._value(owner, known)
                if isinstance(held, types.ModuleType | type):
                    return getattr(held, attribute)
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                return tuple(self._value(part, known) for part in parts)
            case ast.JoinedStr(values=parts):
                return "".join(str(self._value(part, known)) for part in parts)
            case ast.FormattedValue(value=part):
                return self._value(part, known)
            case ast.Call(func=function, args=arguments):
                called = self._value(function, known)
                if called in _BUILTINS.values() or getattr(called, "__module__", "") == "pad_bringup.names":
                    return called(*(self._value(argument, known) for argument in arguments))
        raise _UnknownError(ast.unparse(node))


def _interface(kind: Any) -> str:
    """package/Name of a message, service or action class."""
    if not isinstance(kind, type):
        return OPEN
    return f"{kind.__module__.partition('.')[0]}/{kind.__name__}"


def _profile(profile: Any) -> str:
    from pad_parse import qos

    if profile is None:
        return ""
    if isinstance(profile, int):
        return f"depth {profile}"
    return next((name for name, value in vars(qos).items() if value is profile), OPEN)
