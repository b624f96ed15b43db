"""Where the work is done: in this process, in several, or by Ray; the order of the results is the same."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import select
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import forkserver
from typing import Any, Protocol

from pad_augment.errors import ConfigError, WorkerLostError

EXECUTORS = ("local", "processes", "ray")
"""Names that `make_executor` knows."""
_AHEAD = 3
"""Pieces of work per worker that are given out before the first of them is asked for."""
_work: Callable[[int], Any] | None = None


class Executor(Protocol):
    """Does numbered work."""

    def run(self, work: Callable[[int], Any], first: int, count: int) -> Generator[Any, None, None]:
        """`work(first)`, `work(first + 1)`, ... up to `count`, in this order. Closing the generator drops the rest."""
        ...


class LocalExecutor:
    """Works in this process."""

    def run(self, work: Callable[[int], Any], first: int, count: int) -> Generator[Any, None, None]:
        """See `Executor.run`."""
        yield from map(work, range(first, count))


class ProcessExecutor:
    """Works in `workers` processes; `work` is pickled once for each of them."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._context = multiprocessing.get_context("forkserver")
        # What every worker needs is imported once, by the server that they are forked from, while work is prepared.
        self._context.set_forkserver_preload(["pad_augment.generator", "pad_augment.planning.roboplan"])
        forkserver.ensure_running()

    def run(self, work: Callable[[int], Any], first: int, count: int) -> Generator[Any, None, None]:
        """See `Executor.run`."""
        start = (work, os.getpid())
        pool = ProcessPoolExecutor(self.workers, mp_context=self._context, initializer=_start, initargs=start)
        try:
            waiting: deque[Future[Any]] = deque()
            submitted = first
            while submitted < count or waiting:
                while submitted < count and len(waiting) < _AHEAD * self.workers:
                    waiting.append(pool.submit(_run, submitted))
                    submitted += 1
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise WorkerLostError(
                "a worker process ended by itself: killed, or out of memory; the same command, perhaps with fewer "
                "workers, goes on from what is finished"
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


class RayExecutor:
    """Works in `workers` Ray tasks at a time: on the cluster that Ray is connected to, else on this machine."""

    def __init__(self, workers: int) -> None:
        """Raises: ConfigError: Ray is not installed."""
        try:
            import ray
        except ImportError as error:
            raise ConfigError("executor ray needs Ray, which is not installed: pip install 'ray[default]'") from error
        self._ray = ray
        self.workers = workers

    def run(self, work: Callable[[int], Any], first: int, count: int) -> Generator[Any, None, None]:
        """See `Executor.run`."""
        ray = self._ray
        mine = not ray.is_initialized()
        if mine:
            # A cluster is joined through RAY_ADDRESS, as everywhere in Ray.
            local = {} if os.environ.get("RAY_ADDRESS") else {"num_cpus": self.workers}
            ray.init(include_dashboard=False, log_to_driver=False, configure_logging=False, **local)
        try:
            actor = ray.remote(_RayWorker)
            pool = [actor.remote(work) for _ in range(self.workers)]
            waiting: deque[Any] = deque()
            submitted = first
            while submitted < count or waiting:
                while submitted < count and len(waiting) < _AHEAD * self.workers:
                    waiting.append(pool[submitted % self.workers].run.remote(submitted))
                    submitted += 1
                yield ray.get(waiting.popleft())
        except ray.exceptions.RayActorError as error:
            raise WorkerLostError(
                "a Ray worker ended by itself: killed, or out of memory; the same command goes on from what is finished"
            ) from error
        finally:
            if mine:
                ray.shutdown()


class _RayWorker:
    def __init__(self, work: Callable[[int], Any]) -> None:
        self._work = work

    def run(self, number: int) -> Any:
        return self._work(number)


def make_executor(workers: int, name: str | None = None) -> Executor:
    """An executor by name; None: this process for one worker, else processes.

    Raises:
        ConfigError: there is no such executor, or it is not installed.
    """
    if name is None:
        name = "local" if workers <= 1 else "processes"
    if name == "local":
        return LocalExecutor()
    if name == "processes":
        return ProcessExecutor(workers)
    if name == "ray":
        return RayExecutor(workers)
    raise ConfigError(f"there is no executor {name!r}; known: {', '.join(EXECUTORS)}")


def _start(work: Callable[[int], Any], parent: int) -> None:
    global _work
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops the pool
    _end_with(parent)
    _work = work


def _end_with(parent: int) -> None:
    """A worker whose parent is killed ends as well: nobody else would end it."""

    def watch() -> None:
        with contextlib.suppress(ProcessLookupError):
            select.select([os.pidfd_open(parent)], [], [])  # readable once it has ended
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _run(number: int) -> Any:
    if _work is None:
        raise RuntimeError("the worker was not started with work to do")
    return _work(number)
