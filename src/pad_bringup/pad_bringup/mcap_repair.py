"""Gives a recording its end back whose recorder was killed in the middle of a write."""

from __future__ import annotations

import struct
from pathlib import Path

from pad_bringup.errors import RecordingError
from pad_bringup.mcap_file import CHANNEL, CHUNK, HEADER, MAGIC, MESSAGE, SCHEMA, McapFile


def repair(path: Path, out: Path) -> int:
    """Copy every whole message of the file `path` into the new file `out`; returns their number.

    Raises:
        RecordingError: `path` cannot be read or is none of our recordings, or `out` exists or cannot be written.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RecordingError(f"{path} cannot be read: {error.strerror}") from error
    records = _records(content, len(MAGIC))
    if not content.startswith(MAGIC) or not records or records[0][0] != HEADER:
        raise RecordingError(f"{path} is no MCAP file")
    target = McapFile(out, "pad (repaired)")
    schemas: dict[int, tuple[str, str]] = {}
    topics: dict[int, str] = {}
    count = 0
    try:
        for kind, body in records:
            if kind != CHUNK:
                continue
            for inner, item in _records(body[40:], 0):
                if inner == SCHEMA:
                    name, place = _text(item, 2)
                    _, place = _text(item, place)
                    schemas[_number(item)] = name, _text(item, place)[0]
                elif inner == CHANNEL and _number(item) not in topics:
                    topic, place = _text(item, 4)
                    _, place = _text(item, place)
                    size = struct.unpack_from("<I", item, place)[0]
                    metadata, place, end = {}, place + 4, place + 4 + size
                    while place < end:
                        key, place = _text(item, place)
                        metadata[key], place = _text(item, place)
                    topics[_number(item)] = topic
                    target.add_topic(topic, *schemas[struct.unpack_from("<H", item, 2)[0]], metadata)
                elif inner == MESSAGE:
                    target.add(topics[_number(item)], struct.unpack_from("<Q", item, 6)[0], item[22:])
                    count += 1
            target.flush()
    finally:
        target.close()
    return count


def _records(data: bytes, place: int) -> list[tuple[int, bytes]]:
    """The whole records from `place` on: (kind, content); what is cut off is left out."""
    found = []
    while place + 9 <= len(data):
        kind, size = struct.unpack_from("<BQ", data, place)
        if kind == 0 or place + 9 + size > len(data):
            break
        found.append((kind, data[place + 9 : place + 9 + size]))
        place += 9 + size
    return found


def _number(item: bytes) -> int:
    return int(struct.unpack_from("<H", item)[0])


def _text(item: bytes, place: int) -> tuple[str, int]:
    size = struct.unpack_from("<I", item, place)[0]
    return item[place + 4 : place + 4 + size].decode(), place + 4 + size
