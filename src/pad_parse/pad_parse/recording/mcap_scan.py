"""What can be read of an .mcap file whose end is missing or damaged, as after a recorder that was killed.

The file is walked record by record from its start (https://mcap.dev/spec): opcode, length, content. Whole chunks are
read up to the first record that is incomplete.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import BinaryIO
from zlib import crc32

from lz4.frame import LZ4FrameDecompressor

try:
    from compression import zstd
except ImportError:  # Python < 3.14
    from backports import zstd

from pad_parse.errors import RecordingError

MAGIC = b"\x89MCAP0\r\n"
_HEAD = struct.Struct("<BQ")
_CHUNK = struct.Struct("<QQQI")
_MESSAGE = struct.Struct("<HIQQ")
_SCHEMA, _CHANNEL, _MESSAGE_RECORD, _CHUNK_RECORD, _INDEX, _DATA_END = 0x03, 0x04, 0x05, 0x06, 0x07, 0x0F
_LARGEST = 512 * 1024 * 1024  # bytes of one record or chunk


class _Damaged(Exception):
    """A record does not hold what it states."""


@dataclass(frozen=True)
class Channel:
    """A topic of the file: its message type, the text that defines it, and that text's kind ("ros2msg", ...)."""

    topic: str
    kind: str
    definition: str
    encoding: str


@dataclass
class McapScan:
    """Index of an .mcap file, found without the file's own.

    Attributes:
        channels: by id.
        counts: messages by channel id.
        start, end: log times in nanoseconds of the first and last message.
        damaged_chunks: chunks that could not be unpacked; they are left out.
        whole: whether the data section ends as it should.
    """

    path: Path
    channels: dict[int, Channel] = field(default_factory=dict)
    counts: Counter[int] = field(default_factory=Counter)
    start: int = 2**63 - 1
    end: int = 0
    damaged_chunks: int = 0
    whole: bool = False
    _schemas: dict[int, tuple[str, str, str]] = field(default_factory=dict)

    @classmethod
    def of(cls, path: Path) -> McapScan:
        """Scan a file. Chunks are unpacked only where they must be to know their topics.

        Raises:
            RecordingError: the file does not begin as an .mcap file.
        """
        scan = cls(path)
        with path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise RecordingError(f"recording {path} is no .mcap file: it does not begin as one")
            scan._scan(file)
        return scan

    def messages(self, topics: Collection[str]) -> Iterator[tuple[Channel, int, bytes]]:
        """(channel, log time in ns, data) of `topics` in the file's order; one chunk in memory at a time."""
        wanted = {number: channel for number, channel in self.channels.items() if channel.topic in topics}
        with self.path.open("rb") as file:
            file.seek(len(MAGIC))
            for opcode, length in _records(file):
                if opcode == _MESSAGE_RECORD:
                    inside: Iterator[tuple[int, bytes]] = iter([(opcode, file.read(length))])
                elif opcode == _CHUNK_RECORD:
                    try:
                        inside = iter(_unpacked(file.read(length)))
                    except _Damaged:
                        continue
                else:
                    file.seek(length, 1)
                    continue
                for kind, content in inside:
                    if kind == _MESSAGE_RECORD and len(content) >= _MESSAGE.size:
                        number, _, log_time, _ = _MESSAGE.unpack_from(content)
                        if number in wanted:
                            yield wanted[number], log_time, content[_MESSAGE.size :]

    def _scan(self, file: BinaryIO) -> None:
        pending: tuple[int, int] | None = None  # place and length of a chunk whose messages are not counted yet
        indexed: Counter[int] = Counter()
        for opcode, length in _records(file):
            if opcode == _INDEX and pending is not None:
                content = file.read(length)
                if length >= 6:
                    indexed[int.from_bytes(content[:2], "little")] += (length - 6) // 16
                continue
            self._count(file, pending, indexed)
            pending, indexed = None, Counter()
            if opcode == _CHUNK_RECORD:
                pending = (file.tell(), length)
                file.seek(length, 1)
            elif opcode in (_SCHEMA, _CHANNEL):
                self._learn(opcode, file.read(length))
            elif opcode == _MESSAGE_RECORD:
                self._note(file.read(_MESSAGE.size))
                file.seek(length - _MESSAGE.size, 1)
            elif opcode == _DATA_END:
                self.whole = True
                return
            else:
                file.seek(length, 1)
        self._count(file, pending, indexed)

    def _count(self, file: BinaryIO, pending: tuple[int, int] | None, indexed: Counter[int]) -> None:
        """Count the messages of a chunk: by its index where that names known topics only, else by unpacking it."""
        if pending is None:
            return
        place, length = pending
        after = file.tell()
        file.seek(place)
        if indexed and all(number in self.channels for number in indexed):
            first, last, _, _ = _CHUNK.unpack(file.read(_CHUNK.size))
            self.counts += indexed
            self.start, self.end = min(self.start, first), max(self.end, last)
        else:
            try:
                for opcode, content in _unpacked(file.read(length)):
                    if opcode in (_SCHEMA, _CHANNEL):
                        self._learn(opcode, content)
                    elif opcode == _MESSAGE_RECORD:
                        self._note(content)
            except _Damaged:
                self.damaged_chunks += 1
        file.seek(after)

    def _note(self, content: bytes) -> None:
        if len(content) >= _MESSAGE.size:
            number, _, log_time, _ = _MESSAGE.unpack_from(content)
            self.counts[number] += 1
            self.start, self.end = min(self.start, log_time), max(self.end, log_time)

    def _learn(self, opcode: int, content: bytes) -> None:
        stream = BytesIO(content)
        try:
            number = int.from_bytes(_exactly(stream, 2), "little")
            if opcode == _SCHEMA:
                self._schemas.setdefault(number, (_text(stream), _text(stream), _text(stream)))
            else:
                schema = self._schemas.get(int.from_bytes(_exactly(stream, 2), "little"))
                if schema is not None:
                    name, encoding, definition = schema
                    self.channels.setdefault(number, Channel(_text(stream), name, definition, encoding))
        except (_Damaged, UnicodeDecodeError):
            pass  # its messages are then of no known topic, and left out


def _records(file: BinaryIO) -> Iterator[tuple[int, int]]:
    """(opcode, length) of each whole record; the caller reads or skips the content."""
    place = file.tell()
    size = file.seek(0, 2)
    while place + _HEAD.size <= size:
        file.seek(place)
        opcode, length = _HEAD.unpack(file.read(_HEAD.size))
        begin = place + _HEAD.size
        shortest = _MESSAGE.size if opcode == _MESSAGE_RECORD else _CHUNK.size if opcode == _CHUNK_RECORD else 0
        if opcode == 0 or not shortest <= length <= min(size - begin, _LARGEST):
            return
        yield opcode, length
        place = begin + length


def _unpacked(chunk: bytes) -> list[tuple[int, bytes]]:
    """(opcode, content) of the records in a chunk."""
    stream = BytesIO(chunk)
    _, _, size, crc = _CHUNK.unpack(_exactly(stream, _CHUNK.size))
    try:
        compression = _text(stream)
    except UnicodeDecodeError as error:
        raise _Damaged from error
    packed = _exactly(stream, int.from_bytes(_exactly(stream, 8), "little"))
    if size > _LARGEST:
        raise _Damaged
    try:
        if compression == "zstd":
            data = zstd.ZstdDecompressor().decompress(packed, max_length=size + 1)
        elif compression == "lz4":
            data = LZ4FrameDecompressor().decompress(packed, max_length=size + 1)
        elif compression == "":
            data = packed
        else:
            raise _Damaged
    except (zstd.ZstdError, RuntimeError, EOFError) as error:
        raise _Damaged from error
    if len(data) != size or (crc and crc32(data) != crc):
        raise _Damaged
    records = []
    inner = BytesIO(data)
    while inner.tell() < size:
        opcode, length = _HEAD.unpack(_exactly(inner, _HEAD.size))
        records.append((opcode, _exactly(inner, length)))
    return records


def _exactly(stream: BytesIO, size: int) -> bytes:
    if size > _LARGEST:
        raise _Damaged
    data = stream.read(size)
    if len(data) != size:
        raise _Damaged
    return data


def _text(stream: BytesIO) -> str:
    return _exactly(stream, int.from_bytes(_exactly(stream, 4), "little")).decode()
