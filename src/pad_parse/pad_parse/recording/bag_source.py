"""The messages of a rosbag2, whatever its storage and whatever state its recorder left it in."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rosbags.interfaces import MessageDefinitionFormat
from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore

from pad_parse.errors import PadParseError, RecordingError
from pad_parse.recording.mcap_scan import McapScan

BAG_SUFFIXES = (".mcap", ".db3")


class BagSource(ABC):
    """A bag that can be read.

    Attributes:
        types: message type ("package/msg/Name") by topic.
        counts: number of messages by topic.
        start, end: of the receive times, nanoseconds; start > end where there are no messages.
        recovered: what was done to read damaged files, one sentence each.
    """

    def __init__(self) -> None:
        self.types: dict[str, str] = {}
        self.counts: Counter[str] = Counter()
        self.start = 2**63 - 1
        self.end = 0
        self.recovered: list[str] = []
        self._definitions: dict[str, tuple[str, str]] = {}
        self._stores: dict[frozenset[str], Any] = {}

    @property
    def duration(self) -> float:
        """Seconds from the first to the last message."""
        return max(0.0, (self.end - self.start) * 1e-9)

    @abstractmethod
    def messages(self, topics: Collection[str]) -> Iterator[tuple[str, Any]]:
        """(topic, decoded message) of `topics` in the bag's order; the file is open only while this runs.

        Raises:
            RecordingError: the file is truncated or corrupt.
        """

    def _store(self, topics: Collection[str]) -> Any:
        """The type store that decodes messages of `topics`: by the bag's own definitions, Jazzy's where it has none."""
        kinds = frozenset(self.types[topic] for topic in topics if topic in self.types)
        if kinds not in self._stores:
            store = get_typestore(Stores.EMPTY)
            for kind in kinds & set(self._definitions):
                found = _parsed(kind, *self._definitions[kind])
                store.register({name: fields for name, fields in found.items() if name not in store.fielddefs})
            if kinds - set(self._definitions):
                known = get_typestore(Stores.ROS2_JAZZY).fielddefs
                store.register({name: fields for name, fields in known.items() if name not in store.fielddefs})
            self._stores[kinds] = store
        return self._stores[kinds]


def open_source(path: Path) -> BagSource:
    """The bag at a folder or file.

    A folder whose metadata.yaml is missing or damaged is read through its data files; an .mcap file that ends too early
    is read up to there. Both are said in `recovered`.

    Raises:
        RecordingError: nothing in it can be read.
    """
    if not path.is_dir():
        return _open_file(path)
    files = data_files(path)
    trouble = "it has no metadata.yaml, as after a recorder that was killed"
    first_error: RecordingError | None = None
    if (path / "metadata.yaml").is_file():
        try:
            return _IndexedSource(path)
        except RecordingError as error:
            trouble, first_error = str(error).removeprefix(f"recording {path} "), error
    parts, notes = [], []
    for file in files:
        try:
            parts.append(_open_file(file))
        except RecordingError as error:
            first_error = first_error or error
            notes.append(f"{file.name} was left out: {error}.")
    if not parts:
        raise first_error or RecordingError(
            f"folder {path} is no rosbag2: it has neither metadata.yaml nor {' or '.join(BAG_SUFFIXES)} files"
        )
    source = _ChainedSource(parts)
    source.recovered[:0] = [f"The bag's data files were read one by one ({trouble}).", *notes]
    return source


def data_files(folder: Path) -> list[Path]:
    """The bag's data files in the order in which they were recorded (name_0, name_1, ..., name_10)."""
    found = [item for item in folder.iterdir() if item.suffix.lower() in BAG_SUFFIXES and item.is_file()]
    return sorted(found, key=lambda item: [int(p) if p.isdigit() else p for p in re.split(r"(\d+)", item.name)])


def _open_file(file: Path) -> BagSource:
    if file.stat().st_size == 0:
        raise RecordingError(f"recording {file} is empty (0 bytes)")
    try:
        return _IndexedSource(file)
    except RecordingError as error:
        if file.suffix.lower() != ".mcap":
            raise
        source = _ScannedSource(file, str(error).removeprefix(f"recording {file} "))
        if not source.counts:
            raise
        return source


def _parsed(kind: str, encoding: str, text: str) -> dict[str, Any]:
    """Field definitions by type name, of the text that rosbag2 keeps for a message type and those it is made of."""
    if encoding == "ros2msg":
        return dict(get_types_from_msg(text, kind))
    parts = [part for part in text.split("=" * 80 + "\n") if part.strip()]
    found: dict[str, Any] = {}
    for part in parts:
        found |= get_types_from_idl(part.partition("\n")[2] if part.startswith("IDL: ") else part)
    return found


class _IndexedSource(BagSource):
    """A whole bag, read by `rosbags`."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        with reading(path), self._reader() as reader:
            for connection in reader.connections:
                self.types[connection.topic] = connection.msgtype
                self.counts[connection.topic] += connection.msgcount
                definition = connection.msgdef
                if definition.format != MessageDefinitionFormat.NONE:
                    kind = "ros2msg" if definition.format == MessageDefinitionFormat.MSG else "ros2idl"
                    self._definitions[connection.msgtype] = kind, definition.data
            if reader.message_count:
                self.start, self.end = reader.start_time, reader.end_time
        files = data_files(path) if path.is_dir() else [path]
        for log in (file.with_name(f"{file.name}-wal") for file in files):
            if log.is_file() and log.stat().st_size > 0:
                self.recovered.append(
                    f"{log.name} still holds messages that the recorder did not merge; merge them with "
                    f"`sqlite3 {log.name.removesuffix('-wal')} 'PRAGMA wal_checkpoint(TRUNCATE)'`."
                )

    def messages(self, topics: Collection[str]) -> Iterator[tuple[str, Any]]:
        with reading(self._path), self._reader() as reader:
            connections = [c for c in reader.connections if c.topic in topics]
            if connections:
                store = self._store(topics)
                for connection, _, raw in reader.messages(connections=connections):
                    yield connection.topic, store.deserialize_cdr(raw, connection.msgtype)

    def _reader(self) -> Reader:
        return Reader(self._path)


class _ScannedSource(BagSource):
    """An .mcap file without a usable index."""

    def __init__(self, path: Path, trouble: str) -> None:
        super().__init__()
        self._path = path
        with reading(path):
            self._scan = McapScan.of(path)
        for number, count in self._scan.counts.items():
            if number in self._scan.channels:
                channel = self._scan.channels[number]
                self.types[channel.topic] = channel.kind
                self.counts[channel.topic] += count
                self._definitions[channel.kind] = channel.encoding, channel.definition
        self.start, self.end = self._scan.start, self._scan.end
        self.recovered.append(
            f"{path.name} has no usable index ({trouble}); {self.counts.total()} messages were found without it."
        )
        if self._scan.damaged_chunks:
            self.recovered.append(f"{self._scan.damaged_chunks} damaged chunks of {path.name} were left out.")

    def messages(self, topics: Collection[str]) -> Iterator[tuple[str, Any]]:
        with reading(self._path):
            store = self._store(topics)
            for channel, _, raw in self._scan.messages(topics):
                yield channel.topic, store.deserialize_cdr(raw, channel.kind)


class _ChainedSource(BagSource):
    """The parts of a split bag, one after the other."""

    def __init__(self, parts: Sequence[BagSource]) -> None:
        super().__init__()
        self._parts = sorted(parts, key=lambda part: part.start)
        for part in self._parts:
            self.types |= part.types
            self.counts += part.counts
            self.recovered += part.recovered
            self.start, self.end = min(self.start, part.start), max(self.end, part.end)

    def messages(self, topics: Collection[str]) -> Iterator[tuple[str, Any]]:
        for part in self._parts:
            yield from part.messages(topics)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Whatever a damaged file makes the bag reader raise becomes one RecordingError."""
    try:
        yield
    except (PadParseError, GeneratorExit, KeyboardInterrupt):
        raise
    except Exception as error:
        raise RecordingError(
            f"recording {path} cannot be read; it is truncated, corrupt or no rosbag2 ({one_line(error)})"
        ) from error


def one_line(error: BaseException) -> str:
    """The error's text on one line of at most 200 characters."""
    return " ".join(str(error).split())[:200] or type(error).__name__
