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

LOOK_EVERY = 0.2
"""s to spin at a time: the longest that a signal waits."""


class Interruption:
    """SIGINT or SIGTERM, from now on: `came` says whether one has come.

    While the node starts, it is a KeyboardInterrupt as well. Afterwards it is not: that may fall into the middle of a
    conversion between Python and ROS, which makes some other error of it.
    """

    def __init__(self) -> None:
        """Belongs to the process's main thread. Not together with rclpy's handlers, which end the context meanwhile."""
        self.came = False
        self._starting = True
        for number in (signal.SIGINT, signal.SIGTERM):  # SIGINT too: a shell's background job starts with it ignored
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: object) -> None:
        first, self.came = not self.came, True
        if first and self._starting:
            raise KeyboardInterrupt

    def started(self) -> None:
        """The node looks at `came` from here on."""
        self._starting = False


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
    interruption = Interruption()
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    code = _run(name, make, errors, interruption)
    # At once: threads that are still at work must not meet an interpreter that is being taken down.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _run(
    name: str, make: Callable[[], FaultyNode], errors: tuple[type[Exception], ...], interruption: Interruption
) -> int:
    node = None
    try:
        node = make()
        # One thread: with more, rclpy's executor spends the interpreter's lock on looking for work.
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        interruption.started()
        while not (node.fault or interruption.came):
            executor.spin_once(timeout_sec=LOOK_EVERY)
        code = 2 if node.fault else 0
    except KeyboardInterrupt:
        code = 0
    except errors as error:
        print(f"{name}: {error}", file=sys.stderr)
        code = 2
    except Exception:
        if interruption.came:
            code = 0
        else:
            traceback.print_exc()
            code = 1
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    if node is not None:
        # Says goodbye to the others and stops what works for the node, if the interruption has left it able to.
        with contextlib.suppress(Exception):
            node.destroy_node()
    return code
