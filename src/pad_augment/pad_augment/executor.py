"""Where the work is done: in this process, or in several, each with a scene of its own; the order of results is the same."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator
from typing import Any

_CHUNK = 4
_work: Callable[[int], Any] | None = None


def run_in_order(work: Callable[[int], Any], count: int, workers: int) -> Iterator[Any]:
    """`work(0), work(1), ...` in this order, computed by `workers` processes (1: in this one).

    Work that nobody asks for any more is dropped when the iterator is closed.
    """
    if workers <= 1:
        yield from map(work, range(count))
        return
    context = multiprocessing.get_context("forkserver")
    with context.Pool(workers, initializer=_start, initargs=(work,)) as pool:
        waiting = []
        submitted = 0
        while submitted < count or waiting:
            while submitted < count and len(waiting) < 3 * workers:
                indices = range(submitted, min(submitted + _CHUNK, count))
                waiting.append(pool.apply_async(_run, (indices,)))
                submitted = indices.stop
            yield from waiting.pop(0).get()


def _start(work: Callable[[int], Any]) -> None:
    global _work
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops the pool
    _work = work


def _run(indices: range) -> list[Any]:
    assert _work is not None
    return [_work(index) for index in indices]
