"""Progress of long work on the terminal: a bar per stage; on stderr, so that stdout stays data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

Update = Callable[[float, str], None]
"""Called with the fraction that is done (0 to 1) and a few words."""


class StageProgress:
    """Bars for one stage after the other; without a terminal one line per finished stage."""

    def __init__(self) -> None:
        self.console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description:<10}"),
            BarColumn(bar_width=30),
            TimeElapsedColumn(),
            TextColumn("{task.fields[words]}"),
            console=self.console,
            disable=not self.console.is_terminal,
        )

    def __enter__(self) -> StageProgress:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    @contextmanager
    def stage(self, name: str) -> Iterator[Update]:
        """A bar for the time of the `with` block; the last words stay."""
        task = self._progress.add_task(name, total=1.0, words="")
        last = ""

        def update(fraction: float, words: str) -> None:
            nonlocal last
            last = words
            self._progress.update(task, completed=min(1.0, max(0.0, fraction)), words=escape(words))

        yield update
        self._progress.update(task, completed=1.0)
        if not self.console.is_terminal:
            self.say(f"{name:<10} {last}")

    def say(self, line: str) -> None:
        """One line beside the bars."""
        self.console.print(line, markup=False, highlight=False)
