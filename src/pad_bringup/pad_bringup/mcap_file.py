"""A growing MCAP file that is whole after every flush: whoever is killed, or runs out of disk, loses only what was not
flushed yet. Format: mcap.dev/spec, uncompressed chunks, profile ros2."""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pad_bringup.errors import RecordingError

MAGIC = b"\x89MCAP0\r\n"
HEADER, _FOOTER, SCHEMA, CHANNEL, MESSAGE, CHUNK, _MESSAGE_INDEX, _CHUNK_INDEX = range(1, 9)
_STATISTICS, _DATA_END = 0x0B, 0x0F


@dataclass
class _Channel:
    record: bytes
    count: int = 0


class McapFile:
    """Messages are kept until `flush` writes them with a new end of file over the old one."""

    def __init__(self, path: Path, library: str) -> None:
        """Create `path`, which must not exist. library: who writes it, for the header.

        Raises:
            RecordingError: it exists or cannot be written.
        """
        self.path = path
        self._schemas: dict[str, tuple[int, bytes]] = {}
        self._channels: dict[int, _Channel] = {}
        self._topics: dict[str, int] = {}
        self._fresh: list[bytes] = []
        self._waiting: list[tuple[int, int, int, bytes]] = []
        self._chunk_indices: list[bytes] = []
        self._first = self._last = 0
        self._sequence = 0
        start = MAGIC + _record(HEADER, _text("ros2") + _text(library))
        try:
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        except OSError as error:
            raise RecordingError(f"{path} cannot be made: {error.strerror}") from error
        self._write(0, start)
        self._data_end = len(start)
        self._append(b"")

    @property
    def counts(self) -> dict[str, int]:
        """Topic -> messages that have been flushed."""
        return {topic: self._channels[channel].count for topic, channel in self._topics.items()}

    @property
    def span(self) -> tuple[int, int]:
        """ns; log times of the first and last flushed message, (0, 0) without any."""
        return self._first, self._last

    def add_topic(self, topic: str, message_type: str, definition: str, metadata: Mapping[str, str]) -> None:
        """Announce a topic before its messages.

        message_type: "package/msg/Type". definition: its text with everything that it refers to; "": unknown.
        """
        if message_type not in self._schemas:
            number = len(self._schemas) + 1
            encoding = "ros2msg" if definition else ""
            content = struct.pack("<H", number) + _text(message_type) + _text(encoding) + _text(definition)
            self._schemas[message_type] = number, _record(SCHEMA, content)
            self._fresh.append(self._schemas[message_type][1])
        channel = len(self._channels) + 1
        pairs = b"".join(_text(key) + _text(value) for key, value in metadata.items())
        head = struct.pack("<HH", channel, self._schemas[message_type][0])
        record = _record(CHANNEL, head + _text(topic) + _text("cdr") + struct.pack("<I", len(pairs)) + pairs)
        self._topics[topic] = channel
        self._channels[channel] = _Channel(record)
        self._fresh.append(record)

    def add(self, topic: str, stamp: int, data: bytes) -> None:
        """Keep a message for the next flush. stamp: ns, when it came. data: serialised (CDR)."""
        self._sequence += 1
        self._waiting.append((self._topics[topic], self._sequence & 0xFFFFFFFF, stamp, data))

    def flush(self) -> None:
        """Write what waits; afterwards the file is whole.

        Raises:
            RecordingError: no space, or another fault of the disk; what was flushed before is still whole.
        """
        if not self._waiting and not self._fresh:
            return
        waiting, fresh = self._waiting, self._fresh
        self._waiting, self._fresh = [], []
        parts, offset = list(fresh), sum(map(len, fresh))
        places: dict[int, list[tuple[int, int]]] = {}
        for channel, sequence, stamp, data in waiting:
            record = _record(MESSAGE, struct.pack("<HIQQ", channel, sequence, stamp, stamp) + data)
            places.setdefault(channel, []).append((stamp, offset))
            offset += len(record)
            parts.append(record)
        stamps = [stamp for _, _, stamp, _ in waiting] or [self._last]
        chunk = _record(CHUNK, struct.pack("<QQQIIQ", min(stamps), max(stamps), offset, 0, 0, offset), b"".join(parts))
        indices, where = [], {}
        place = self._data_end + len(chunk)
        for channel, items in places.items():
            where[channel] = place
            entries = b"".join(struct.pack("<QQ", *item) for item in items)
            indices.append(_record(_MESSAGE_INDEX, struct.pack("<HI", channel, len(entries)) + entries))
            place += len(indices[-1])
        table = b"".join(struct.pack("<HQ", *item) for item in where.items())
        self._chunk_indices.append(
            _record(
                _CHUNK_INDEX,
                struct.pack("<QQQQ", min(stamps), max(stamps), self._data_end, len(chunk))
                + struct.pack("<I", len(table))
                + table
                + struct.pack("<QIQQ", sum(map(len, indices)), 0, offset, offset),
            )
        )
        before = self._first, self._last, {channel: entry.count for channel, entry in self._channels.items()}
        if waiting:
            empty = not any(entry.count for entry in self._channels.values())
            self._first = min(stamps) if empty else min(self._first, *stamps)
            self._last = max(self._last, *stamps)
        for channel, items in places.items():
            self._channels[channel].count += len(items)
        try:
            self._append(chunk + b"".join(indices))
        except BaseException:
            self._chunk_indices.pop()
            self._first, self._last, counts = before
            for channel, count in counts.items():
                self._channels[channel].count = count
            raise

    def close(self) -> None:
        """Flush and close. May be called again.

        Raises:
            RecordingError: as `flush`.
        """
        if self._descriptor < 0:
            return
        try:
            self.flush()
        finally:
            os.close(self._descriptor)
            self._descriptor = -1

    def _append(self, data: bytes) -> None:
        end = self._end(self._data_end + len(data))
        try:
            # The space first: then the old end is overwritten only when the new one is sure to fit.
            os.posix_fallocate(self._descriptor, self._data_end, len(data) + len(end))
        except OSError as error:
            raise RecordingError(f"{self.path} cannot grow: {error.strerror}; what it has is whole") from error
        self._write(self._data_end, data + end)
        self._data_end += len(data)
        os.ftruncate(self._descriptor, self._data_end + len(end))

    def _write(self, place: int, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                done = os.pwrite(self._descriptor, view, place)
            except OSError as error:
                raise RecordingError(f"{self.path} cannot be written: {error.strerror}") from error
            view, place = view[done:], place + done

    def _end(self, summary_start: int) -> bytes:
        """Everything behind the messages, when the data section ends at `summary_start`."""
        data_end = _record(_DATA_END, struct.pack("<I", 0))
        counts = b"".join(struct.pack("<HQ", channel, entry.count) for channel, entry in self._channels.items())
        total = sum(entry.count for entry in self._channels.values())
        figures = struct.pack(
            "<QHIIIIQQ",
            *(total, len(self._schemas), len(self._channels), 0, 0, len(self._chunk_indices), self._first, self._last),
        )
        summary = b"".join(
            [
                *(record for _, record in self._schemas.values()),
                *(entry.record for entry in self._channels.values()),
                *self._chunk_indices,
                _record(_STATISTICS, figures + struct.pack("<I", len(counts)) + counts),
            ]
        )
        footer = _record(_FOOTER, struct.pack("<QQI", summary_start + len(data_end), 0, 0))
        return data_end + summary + footer + MAGIC


def _record(kind: int, *content: bytes) -> bytes:
    return b"".join((struct.pack("<BQ", kind, sum(map(len, content))), *content))


def _text(value: str) -> bytes:
    encoded = value.encode()
    return struct.pack("<I", len(encoded)) + encoded
