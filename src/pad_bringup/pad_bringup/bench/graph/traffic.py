"""What runs over topics, as the middleware saw it leave: a subscriber's own delays do not count."""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy

from pad_bringup.message_schemas import message_class
from pad_bringup.names import TOPIC_TYPES

_DEPTH = 2000  # messages that may wait for this process
_JUMP = 2.0  # s of the cell's clock between two messages of it


@dataclass(frozen=True)
class Passage:
    """A message on its way.

    left: s, this machine's clock, when its publisher sent it. number: how many its publisher had sent, itself
    included. data: as on the wire.
    """

    left: float
    number: int
    data: bytes

    @property
    def stamp(self) -> float:
        """s of the message's first field, a stamp or a header."""
        seconds, nanoseconds = struct.unpack_from("<iI", self.data, 4)
        return float(seconds + 1e-9 * nanoseconds)


class Traffic:
    """Listens to topics while it is open, and keeps what `keep` wants."""

    def __init__(self, node: Node, keep: dict[str, Callable[[Passage], None]]) -> None:
        """keep: topic -> called with every message, in the session's thread."""
        self._node = node
        profile = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=_DEPTH, reliability=ReliabilityPolicy.RELIABLE)
        self._subscriptions = []
        for topic, take in keep.items():

            def receive(data: bytes, info: dict[str, int], take: Callable[[Passage], None] = take) -> None:
                take(Passage(1e-9 * info["source_timestamp"], info["publication_sequence_number"], data))

            kind = message_class(TOPIC_TYPES[topic])
            self._subscriptions.append(node.create_subscription(kind, topic, receive, profile, raw=True))

    def __enter__(self) -> Traffic:
        return self

    def __exit__(self, *exception: object) -> None:
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)


class ClockMap:
    """When the cell's clock showed what. jumped: s of this machine's clock, when it jumped last."""

    def __init__(self) -> None:
        self.jumped = float("nan")
        self._stamps: list[float] = []
        self._left: list[float] = []
        self._lock = threading.Lock()

    def take(self, passage: Passage) -> None:
        """A message of /clock. When it goes back, what it showed before is forgotten."""
        with self._lock:
            if self._stamps and abs(passage.stamp - self._stamps[-1]) > _JUMP:
                self.jumped = passage.left
            if self._stamps and passage.stamp <= self._stamps[-1]:
                self._stamps.clear()
                self._left.clear()
            self._stamps.append(passage.stamp)
            self._left.append(passage.left)

    @property
    def readings(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(N,) s that it showed, and (N,) s of this machine's clock when."""
        with self._lock:
            return np.array(self._stamps), np.array(self._left)

    def at(self, stamps: float | list[float] | NDArray[np.float64]) -> NDArray[np.float64]:
        """s of this machine's clock for stamps of the cell's; later ones than the last go on from it in real time."""
        known, left = self.readings
        wanted = np.atleast_1d(np.asarray(stamps, np.float64))
        if not len(known):
            return np.full(len(wanted), np.nan)
        return np.asarray(np.interp(wanted, known, left) + np.maximum(wanted - known[-1], 0.0))
