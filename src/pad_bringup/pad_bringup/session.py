"""A small ROS client of our own: a node in its own context, spun in the background, with calls that end in time."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

import rclpy
from rclpy._rclpy_pybind11 import InvalidHandle
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions

from pad_bringup.errors import PadBringupError
from pad_bringup.graph import environment as graph_environment

_LOOK_EVERY = 0.005  # s


class Session:
    """A node that other threads use while it spins in the background.

    It leaves signals alone, so that whoever owns the process decides what Ctrl-C does.
    """

    def __init__(self, name: str, environment: Mapping[str, str] | None = None, *, use_sim_time: bool = False) -> None:
        """Join the ROS graph.

        name: node name.
        environment: variables that decide which graph (ROS_DOMAIN_ID, transport); they are set in this process, because
            the middleware reads them from there, until the session is closed.
        use_sim_time: whether the node's clock follows /clock.
        """
        wanted = {**{k: os.environ.get(k, v) for k, v in graph_environment().items()}, **(environment or {})}
        self._before = {key: os.environ.get(key) for key in wanted}
        os.environ.update(wanted)
        self.context = Context()
        domain = int(os.environ.get("ROS_DOMAIN_ID") or 0)
        rclpy.init(args=[], context=self.context, domain_id=domain, signal_handler_options=SignalHandlerOptions.NO)
        self.node = Node(
            name,
            context=self.context,
            parameter_overrides=[Parameter("use_sim_time", value=use_sim_time)],
            start_parameter_services=False,
        )
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, name=f"{name}-spin", daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        while self.context.ok():
            try:
                self._executor.spin()
                return
            except ExternalShutdownException:
                return
            except InvalidHandle:
                continue  # another thread has destroyed a client or a subscription that was just being looked at

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave the ROS graph. May be called again."""
        if not self.context.ok():
            return
        self._executor.shutdown(timeout_sec=2.0)
        self._thread.join(timeout=2.0)
        self.node.destroy_node()
        self.context.try_shutdown()
        # A private domain is given back as well: nobody may take its number for the user's choice.
        for key, value in self._before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value

    def call(
        self,
        client: Any,
        request: Any,
        timeout: float,
        error: type[PadBringupError],
        still_wanted: Callable[[], None] | None = None,
    ) -> Any:
        """Call a service and wait for its answer.

        client: a client made with `self.node.create_client`.
        timeout: seconds, for finding the service and for the answer together.
        error: raised when no answer comes in time.
        still_wanted: called a few times a second while waiting; may raise to give up.
        """
        step, name = 0.1, client.srv_name
        began = looked = time.monotonic()
        while not client.service_is_ready():  # rclpy's own waiting sleeps a quarter of a second at a time
            time.sleep(_LOOK_EVERY)
            now = time.monotonic()
            if still_wanted is not None and now - looked >= step:
                looked = now
                still_wanted()
            if now - began >= timeout:
                raise error(f"nobody offers the service {name} (waited {timeout:.0f} s)")
        done = threading.Event()
        future = client.call_async(request)
        future.add_done_callback(lambda _: done.set())
        while not done.wait(step):
            if still_wanted is not None:
                still_wanted()
            if time.monotonic() - began >= timeout:
                client.remove_pending_request(future)
                raise error(f"{name} did not answer within {timeout:.0f} s")
        return future.result()
