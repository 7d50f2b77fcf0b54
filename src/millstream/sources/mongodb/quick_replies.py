"""Batches of the server's replies, without an object of Python's for each of their documents.

The driver makes one of each document, and again of each, before it hands on their bytes: more than
a second of processor time for a million of them, in which no other thread runs. Here the list of
documents is cut out of a reply first. That is what the driver keeps to itself: the first reply of a
process is read both ways, and where these differ, all are read by the driver.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import bson
from bson.raw_bson import RawBSONDocument

_size_at = struct.Struct("<i").unpack_from
_LIST, _BATCHES = 0x04, (b"firstBatch", b"nextBatch")
_FIXED = {0x08: 1, 0x10: 4, 0x11: 8, 0x12: 8}
_SIZED = {0x02: 4, 0x03: 0, _LIST: 0}

_fits: bool | None = None
"""Whether replies are what the driver makes of them; None until one came."""


def quick(cursor: Any) -> Any:
    """A cursor of raw batches that reads replies so; where that can't be, as it is."""
    whole: Callable[..., list[Any]] | None = getattr(cursor, "_unpack_response", None)
    if whole is None:
        return cursor

    def unpacked(response: Any, *arguments: Any, **named: Any) -> list[Any]:
        global _fits
        found = None if _fits is False else reply(getattr(response, "payload_document", None))
        if found is None:
            return whole(response, *arguments, **named)
        if _fits is None:
            theirs = whole(response, *arguments, **named)
            _fits = theirs == [found]
            return theirs
        return [found]

    cursor._unpack_response = unpacked  # noqa: SLF001 (checked with the first reply)
    return cursor


def reply(payload: Any) -> dict[str, Any] | None:
    """A reply to `find` or `getMore`, its documents end to end; None where it is another one.

    Args:
        payload: BSON, https://www.mongodb.com/docs/manual/reference/command/find/#output.
    """
    to_stream = getattr(bson, "_array_of_documents_to_buffer", None)
    if to_stream is None or not isinstance(payload, bytes | memoryview):
        return None
    found = dict(RawBSONDocument(payload).items())
    cursor = found.get("cursor")
    if not isinstance(cursor, RawBSONDocument):
        return None
    data = bytes(cursor.raw)
    try:
        place = _batch(data)
    except (IndexError, ValueError, struct.error):
        return None
    if place is None:
        return None
    key, start, at, end = place
    rest = data[4:start] + data[end:]
    document = RawBSONDocument((len(rest) + 4).to_bytes(4, "little") + rest)
    documents = to_stream(data[at:end])
    found["cursor"] = {**dict(document.items()), key: [documents] if documents else []}
    return found


def _batch(cursor: bytes) -> tuple[str, int, int, int] | None:
    """The key of the list of documents, and where its element, the list, and both end."""
    start = 4
    while kind := cursor[start]:
        stop = cursor.index(0, start + 1)
        at = stop + 1
        if kind in _SIZED:
            end = at + _SIZED[kind] + _size_at(cursor, at)[0]
        elif kind in _FIXED:
            end = at + _FIXED[kind]
        else:
            return None
        if kind == _LIST and (key := cursor[start + 1 : stop]) in _BATCHES:
            return key.decode(), start, at, end
        start = end
    return None
