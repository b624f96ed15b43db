"""Where the work is done: in this process, or in several; the order of the results is the same."""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Protocol

from pad_augment.errors import GenerationError

_CHUNK = 4
_work: Callable[[int], Any] | None = None


class Executor(Protocol):
    """Does numbered work."""

    def run(self, work: Callable[[int], Any], count: int) -> Generator[Any, None, None]:
        """`work(0), work(1), ...` up to `count`, in this order. Closing the generator drops what is not asked for."""
        ...


class LocalExecutor:
    """Works in this process."""

    def run(self, work: Callable[[int], Any], count: int) -> Generator[Any, None, None]:
        """See `Executor.run`."""
        yield from map(work, range(count))


class ProcessExecutor:
    """Works in `workers` processes; `work` is pickled once for each of them."""

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def run(self, work: Callable[[int], Any], count: int) -> Generator[Any, None, None]:
        """See `Executor.run`."""
        context = multiprocessing.get_context("forkserver")
        # What every worker needs is imported once, by the server that they are forked from.
        context.set_forkserver_preload(["pad_augment.generator"])
        pool = ProcessPoolExecutor(self.workers, mp_context=context, initializer=_start, initargs=(work,))
        try:
            waiting: deque[Future[list[Any]]] = deque()
            submitted = 0
            while submitted < count or waiting:
                while submitted < count and len(waiting) < 3 * self.workers:
                    indices = range(submitted, min(submitted + _CHUNK, count))
                    waiting.append(pool.submit(_run, indices))
                    submitted = indices.stop
                yield from waiting.popleft().result()
        except BrokenProcessPool as error:
            raise GenerationError(
                "a worker process ended by itself: killed, or out of memory; try again, with fewer workers"
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def make_executor(workers: int) -> Executor:
    """One worker works in this process, more in processes of their own."""
    return LocalExecutor() if workers <= 1 else ProcessExecutor(workers)


def _start(work: Callable[[int], Any]) -> None:
    global _work
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops the pool
    _work = work


def _run(indices: range) -> list[Any]:
    if _work is None:
        raise RuntimeError("the worker was not started with work to do")
    return [_work(index) for index in indices]
