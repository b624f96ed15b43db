"""What is finished of an evaluation that does not come to its end: in a file after every episode, and said."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Protocol

from pad_bringup import store


class Result(Protocol):
    """An evaluation's result, finished or not."""

    def save(self, path: Path) -> None:
        """Write as a whole."""


class Kept:
    """A context manager; call it with the result so far. Whatever ends the block early, the file stays and is named."""

    def __init__(self, out: Path | None, tell: Callable[[str], None]) -> None:
        """out: the result's file; None: one in the cache, which goes when all is finished. tell: gets the line."""
        self._out, self._tell = out, tell
        self._path = out or store.cache_home() / "evaluations" / f"evaluate-{os.getpid()}.json"
        self._written = False

    def __call__(self, result: Result) -> None:
        """Write the result so far."""
        result.save(self._path)
        self._written = True

    def __enter__(self) -> Kept:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and self._written:
            self._tell(f"the episodes that were finished are in {self._path}")
        elif kind is None and self._out is None:
            self._path.unlink(missing_ok=True)
