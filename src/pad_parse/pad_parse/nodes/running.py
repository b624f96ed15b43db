"""What a node's `main` does: start, spin until told to stop or until a fault, and end with a code that says which."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn, Protocol

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from pad_parse.errors import PadParseError

_LOOK_EVERY = 0.2  # s, longest time that a signal waits


class FaultyNode(Protocol):
    """A node that can find out that it is of no use any more: `fault` then says why."""

    fault: str


def run_node(
    name: str,
    make: Callable[[], FaultyNode],
    errors: tuple[type[Exception], ...] = (PadParseError,),
    args: list[str] | None = None,
) -> NoReturn:
    """Run the node that `make` makes and end the process: with 0 when told to stop, 2 on one of `errors` or a fault.

    args: the command line; None: the process's own.
    """
    # Not rclpy's handlers: they end the context in another thread, under the feet of whatever is being published.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    code = _run(name, make, errors)
    # At once: threads that are still at work must not meet an interpreter that is being taken down.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _run(name: str, make: Callable[[], FaultyNode], errors: tuple[type[Exception], ...]) -> int:
    node = None
    try:
        node = make()
        # One thread: with more, rclpy's executor spends the interpreter's lock on looking for work.
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        while not node.fault:
            executor.spin_once(timeout_sec=_LOOK_EVERY)
        code = 2
    except KeyboardInterrupt:
        code = 0
    except errors as error:
        print(f"{name}: {error}", file=sys.stderr)
        code = 2
    except Exception:
        traceback.print_exc()
        code = 1
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    if node is not None:
        # Says goodbye to the others and stops what works for the node, if the interruption has left it able to.
        with contextlib.suppress(Exception):
            node.destroy_node()
    return code
