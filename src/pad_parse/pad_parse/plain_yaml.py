"""YAML from elsewhere: plain data only, of bounded size."""

from __future__ import annotations

from typing import Any

import yaml

MAX_TEXT = 1_000_000
MAX_VALUES = 50_000


class PlainYamlError(Exception):
    """The text is no YAML, or YAML with more than plain data."""


def load_plain_yaml(text: str) -> Any:
    """Lists, dicts, strings, numbers, dates, booleans, None.

    Raises:
        PlainYamlError: no YAML, other data, nested too deeply, more than `MAX_TEXT` characters, or more than
        `MAX_VALUES` values once aliases are written out (a few lines of aliases can stand for gigabytes).
    """
    if len(text) > MAX_TEXT:
        raise PlainYamlError(f"it has {len(text)} characters; at most {MAX_TEXT} are read")
    try:
        content = yaml.safe_load(text)
    # Besides its own errors, the constructors of single values (dates, numbers) let these through.
    except (
        yaml.YAMLError,
        ArithmeticError,
        AttributeError,
        LookupError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        raise PlainYamlError(" ".join(str(error).split())[:300] or type(error).__name__) from error
    _check_size(content)
    return content


def _check_size(content: Any) -> None:
    left, count = [content], 0
    while left:
        value = left.pop()
        count += 1
        if count > MAX_VALUES:
            raise PlainYamlError(f"its aliases stand for more than {MAX_VALUES} values")
        if isinstance(value, dict):
            left.extend(value.values())
        elif isinstance(value, list):
            left.extend(value)
