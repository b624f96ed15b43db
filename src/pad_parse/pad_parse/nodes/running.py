"""What a node's `main` does: start, spin until told to stop or until a fault, and end with a code that says which."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Protocol

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor

from pad_parse.errors import PadParseError


class FaultyNode(Protocol):
    """A node that can find out that it is of no use any more: `fault` then says why."""

    fault: str


def run_node(name: str, make: Callable[[], FaultyNode], errors: tuple[type[Exception], ...] = (PadParseError,)) -> int:
    """Run the node that `make` makes; returns the exit code: 0 when told to stop, 2 on one of `errors` or a fault."""
    rclpy.init()
    try:
        node = make()
    except errors as error:
        print(f"{name}: {error}", file=sys.stderr)
        rclpy.try_shutdown()
        return 2
    except KeyboardInterrupt:  # told to stop while it was still reading its files
        rclpy.try_shutdown()
        return 0
    # One thread: with more, rclpy's executor spends the interpreter's lock on looking for work.
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        while rclpy.ok() and not node.fault:
            executor.spin_once(timeout_sec=0.5)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except Exception:
        # A signal can end the context in the middle of a spin, which then fails in one of many ways.
        if rclpy.ok():
            raise
    finally:
        fault = node.fault
        executor.shutdown(timeout_sec=2.0)
        node.destroy_node()
        rclpy.try_shutdown()
    return 2 if fault else 0
