"""A block of BSON documents as one buffer, read at many positions at once.

https://bsonspec.org/spec.html: a document is its size (int32), its elements and a zero; an element
is a type byte, a key that ends with a zero, and a value.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import IO

import numpy as np

from millstream.errors import SourceDataError

DOUBLE, TEXT, OBJECT, ARRAY, BINARY, OBJECT_ID = 0x01, 0x02, 0x03, 0x04, 0x05, 0x07
BOOL, DATE, NULL, SYMBOL, INT, STAMP, LONG, DECIMAL = 0x08, 0x09, 0x0A, 0x0E, 0x10, 0x11, 0x12, 0x13

UNSIGNED = 0
"""No BSON type: the halves of a timestamp."""

BLOCK = 4 << 20
"""Bytes of a block: enough documents to share the cost of a call, few enough for the caches."""

LONGEST_KEY = 200
_PADDING = 512
_size_at = Struct("<i").unpack_from

# bytes of a value: fixed, or this many more than its int32 says; 0 for types that are not read here
FIXED = np.zeros(256, np.int64)
BEYOND = np.zeros(256, np.int64)
KNOWN = np.zeros(256, np.bool_)
for _kind, _bytes in {
    DOUBLE: 8, OBJECT_ID: 12, BOOL: 1, DATE: 8, NULL: 0, INT: 4, STAMP: 8, LONG: 8, DECIMAL: 16
}.items():  # fmt: skip
    FIXED[_kind], KNOWN[_kind] = _bytes, True
for _kind, _bytes in {TEXT: 4, SYMBOL: 4, OBJECT: 0, ARRAY: 0, BINARY: 5}.items():
    BEYOND[_kind], KNOWN[_kind] = _bytes, True
SIZED = KNOWN & (FIXED == 0)
SIZED[NULL] = False
LEAST = np.zeros(256, np.int64)
"""What the int32 of a value must be at least."""
LEAST[[TEXT, SYMBOL]], LEAST[[OBJECT, ARRAY]] = 1, 5


class Documents:
    """n documents, end to end, and views that read a value at any position.

    Positions may lie a little beyond the end, where all is zero.

    Args:
        ends: where each of them ends, exclusive; looked for where left out.

    Attributes:
        starts, ends: where each document begins, and where its final zero is.
    """

    def __init__(self, data: bytes, ends: list[int] | None = None) -> None:
        self.data = data + bytes(_PADDING)
        bounds = np.array(boundaries(data) if ends is None else ends, np.int64)
        self.starts = np.concatenate((np.zeros(1, np.int64), bounds[:-1]))
        self.ends = bounds - 1
        self.bytes = np.frombuffer(self.data, np.uint8)
        self.ints = self._view("<i4", 4)
        self.words = self._view("<u8", 8)
        self.longs = self._view("<i8", 8)
        self.doubles = self._view("<f8", 8)
        self.twelves = self._view("V12", 12)
        self.sixteens = self._view("V16", 16)

    def __len__(self) -> int:
        return len(self.starts)

    def of(self, indices: np.ndarray) -> bytes:
        """Some of the documents, end to end."""
        view = memoryview(self.data)
        ranges = zip(self.starts[indices].tolist(), (self.ends[indices] + 1).tolist())
        return b"".join([view[start:end] for start, end in ranges])

    def _view(self, kind: str, width: int) -> np.ndarray:
        places = len(self.data) - width + 1
        view: np.ndarray = np.ndarray((places,), kind, self.data, strides=(1,))
        return view


class Key:
    """A key, compared eight bytes at a time."""

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.width = len(name) + 2
        """Bytes from the type byte to the value."""
        text = name + b"\0"
        size = len(text)
        if size < 8:
            self._mask = np.uint64((1 << 8 * size) - 1)
            self._words = [(1, np.uint64(int.from_bytes(text, "little")))]
        else:
            self._mask = None
            # the last eight bytes may overlap the ones before
            at = [*range(0, size - 8, 8), size - 8]
            self._words = [
                (i + 1, np.uint64(int.from_bytes(text[i : i + 8], "little"))) for i in at
            ]

    def at(self, documents: Documents, positions: np.ndarray) -> np.ndarray:
        """Whether the element at each position has this key."""
        (offset, word), *more = self._words
        found = documents.words[positions + offset]
        if self._mask is not None:
            found &= self._mask
        hit: np.ndarray = np.equal(found, word)
        for offset, word in more:
            hit &= documents.words[positions + offset] == word
        return hit


def boundaries(data: bytes) -> list[int]:
    """Where each of the documents ends, exclusive.

    Raises:
        SourceDataError: what is there is no document, or breaks off.
    """
    found = []
    at, end = 0, len(data)
    while at < end:
        size = _size_at(data, at)[0] if at + 4 <= end else 0
        if size < 5 or at + size > end:
            raise SourceDataError(f"a batch of documents breaks off at byte {at} of {end}")
        at += size
        found.append(at)
    return found


def blocks(file: IO[bytes]) -> Iterator[tuple[bytes, list[int]]]:
    """A file of documents in blocks of whole ones, of about `BLOCK` bytes or one document.

    Yields:
        A block, and where each of its documents ends, exclusive.

    Raises:
        SourceDataError: the file ends within a document.
    """
    rest, wanted = b"", BLOCK
    while piece := file.read(wanted):
        data = rest + piece
        at, end = 0, len(data)
        ends = []
        while at + 4 <= end:
            (length,) = _size_at(data, at)
            if length < 5:
                raise SourceDataError(f"a document claims to be {length} bytes long")
            if at + length > end:
                break
            at += length
            ends.append(at)
        if at:
            yield data[:at], ends
        rest = data[at:]
        # a long document is not read in many small steps
        wanted = max(BLOCK, _size_at(rest, 0)[0] - len(rest)) if len(rest) >= 4 else BLOCK
    if rest:
        raise SourceDataError(f"a file of documents ends {len(rest)} bytes into one")


def step(data: bytes, at: int) -> tuple[bytes, int]:
    """The key of the element at a position, and where the next element begins.

    Raises:
        ValueError: a type that is not read here, or the element breaks off.
    """
    kind = data[at]
    stop = data.index(0, at + 1)
    if not KNOWN[kind]:
        raise ValueError(f"type 0x{kind:02x}")
    size = int(FIXED[kind])
    if SIZED[kind]:
        size = _size_at(data, stop + 1)[0] + int(BEYOND[kind])
    if size < 0 or stop + 1 + size > len(data):
        raise ValueError("breaks off")
    return data[at + 1 : stop], stop + 1 + size
