"""How much a benchmark tries: options of its own, given as NAME=VALUE."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from pad_bringup.bench.benchmark import BenchSettings
from pad_bringup.errors import BenchError


class BenchExtent(BaseModel):
    """Base of a benchmark's options; `--set NAME=VALUE`. Less than the defaults is not for the record.

    quick: what `--quick` asks for. Options that are tuples are given with commas between their values.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    quick: ClassVar[dict[str, Any]] = {}

    @classmethod
    def of(cls, settings: BenchSettings) -> Self:
        """The extent that was asked for.

        Raises:
            BenchError: an assignment is wrong; the message lists the known names.
        """
        known = ", ".join(cls.model_fields)
        chosen: dict[str, Any] = dict(cls.quick) if settings.quick else {}
        for text in settings.assignments:
            name, equals, value = (part.strip() for part in text.partition("="))
            if not equals:
                raise BenchError(f"{text!r} is no NAME=VALUE; known names: {known}")
            field = cls.model_fields.get(name)
            several = field is not None and isinstance(field.default, tuple)
            chosen[name] = value.split(",") if several else value
        try:
            return cls.model_validate(chosen)
        except ValidationError as error:
            first = error.errors()[0]
            raise BenchError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}; known: {known}") from error
