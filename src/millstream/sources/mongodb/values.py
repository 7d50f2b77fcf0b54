"""BSON -> true values: one table that says what each type becomes, and a decoder that misses none.

The driver's decoder is fast, and loses what a load must keep: `undefined` becomes null, a document
that only looks like a DBRef raises, text that is not UTF-8 fails the whole batch. `decode` reads
the bytes themselves (https://bsonspec.org/spec.html). It is some ten times slower, and used for
the documents alone that need it; `encode.py` finds them.

A value that its column could not hold exactly goes to a column of its own, `<field>__<what it is>`:
a sub-document here, which dlt flattens. docs/reference/mongodb-types.md has the table for readers.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from bson import Binary, Code, DBRef, Decimal128, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.datetime_ms import DatetimeMS

from millstream.formats import typed_json

Path = tuple[str, ...]
"""Where in a document: keys, and `[]` for any element of a list."""

EPOCH = datetime(1970, 1, 1)
FIRST_MS = -62_135_596_800_000  # year 1
LAST_MS = 253_402_300_799_999  # year 9999

# dlt's decimal columns hold 38 digits, 9 of them after the point
_DIGITS, _SCALE = 38, 9


def plain_decimal(value: Decimal128) -> Any:
    """A Decimal where dlt's decimal columns hold it exactly, else its text, in another column."""
    number = value.to_decimal()
    if number.is_finite():
        _, digits, exponent = number.as_tuple()
        assert isinstance(exponent, int)
        significant = "".join(map(str, digits)).rstrip("0")
        exponent += len(digits) - len(significant)
        if not significant:
            # -0 equals 0, yet is written differently
            return Decimal(0) if not number.is_signed() else {"decimal128": str(value)}
        whole = len(significant) + exponent
        if -exponent <= _SCALE and whole <= _DIGITS - _SCALE:
            return number
    return {"decimal128": str(value)}


def plain_binary(value: bytes, subtype: int) -> Any:
    """Bytes for the generic subtypes, a UUID for subtype 4, else the bytes with their subtype."""
    if subtype in (0, 2):
        return bytes(value)
    if subtype == 4 and len(value) == 16:
        return UUID(bytes=bytes(value))
    return {"subtype": subtype, "bytes": bytes(value)}


def plain_date(milliseconds: int) -> Any:
    """A datetime in UTC, naive; outside the years 1 to 9999 the milliseconds since 1970."""
    if FIRST_MS <= milliseconds <= LAST_MS:
        return EPOCH + timedelta(milliseconds=milliseconds)
    return {"ms": milliseconds}


_FLAGS = ((2, "i"), (4, "l"), (8, "m"), (16, "s"), (32, "u"), (64, "x"))


def _options(flags: int) -> str:
    return "".join(letter for bit, letter in _FLAGS if flags & bit)


def _regex(value: Regex[Any]) -> dict[str, Any]:
    pattern = value.pattern
    if isinstance(pattern, bytes):
        pattern = pattern.decode("utf-8", "backslashreplace")
    return {"pattern": pattern, "options": _options(value.flags)}


def _code(value: Code) -> dict[str, Any]:
    if value.scope is None:
        return {"code": str(value)}
    return {"code": str(value), "scope": value.scope}


def _dbref(value: DBRef) -> dict[str, Any]:
    found: dict[str, Any] = dict(value.as_doc())
    if type(found["$ref"]) is not str:  # to the driver, code is a text
        return found
    plain = {"ref": found.pop("$ref"), "id": found.pop("$id")}
    if "$db" in found:
        plain["db"] = found.pop("$db")
    return {**plain, **found}


SPECIAL: dict[type, Callable[[Any], Any]] = {
    Binary: lambda value: plain_binary(value, value.subtype),
    Code: _code,
    DBRef: _dbref,
    DatetimeMS: lambda value: plain_date(int(value)),
    Decimal128: plain_decimal,
    MaxKey: lambda _: {"max_key": True},
    MinKey: lambda _: {"min_key": True},
    ObjectId: lambda value: value.binary.hex(),
    Regex: _regex,
    Timestamp: lambda value: {"t": value.time, "i": value.inc},
}
"""What the driver makes of a BSON type -> a value that JSON and dlt hold exactly."""


class DecodeAnomalies:
    """What careful decoding met: where doubles are not finite."""

    def __init__(self) -> None:
        self.not_finite: set[Path] = set()


def decode(raw: bytes, odd: DecodeAnomalies) -> dict[str, Any]:
    """One document, exactly, as typed JSON has it.

    Args:
        raw: the document's bytes.
        odd: is told what was odd.

    Raises:
        ValueError: not BSON, or an unknown type.
    """
    return _Decoder(raw, odd).document(0, ())[0]


def id_document(raw: bytes) -> bytes:
    """The document `{_id: ...}` with a document's id, byte for byte; empty where it has none.

    >>> from bson import decode as bson_decode, encode
    >>> bson_decode(id_document(encode({"_id": 7, "name": "Ann"})))
    {'_id': 7}
    >>> id_document(encode({"name": "Ann"}))
    b''
    """
    at, decoder = 4, _Decoder(raw, DecodeAnomalies())
    while at < len(raw) - 1:
        stop = raw.index(0, at + 1)
        _, end = _READ[raw[at]](decoder, stop + 1, ())
        if raw[at + 1 : stop] == b"_id":
            return (end - at + 5).to_bytes(4, "little") + raw[at:end] + b"\0"
        at = end
    return b""


class _Decoder:
    def __init__(self, raw: bytes, odd: DecodeAnomalies) -> None:
        self.raw = raw
        self.odd = odd

    def document(self, at: int, path: Path) -> tuple[dict[str, Any], int]:
        fields, end = self._elements(at, path, list_of=False)
        return {name: value for name, value, _ in fields}, end

    def embedded(self, at: int, path: Path) -> tuple[dict[str, Any], int]:
        """A document that is a field's value: a DBRef where the driver sees one.

        That is a text beside an id: https://www.mongodb.com/docs/manual/reference/database-references
        """
        fields, end = self._elements(at, path, list_of=False)
        row = {name: value for name, value, _ in fields}
        kinds = {name: kind for name, _, kind in fields}
        if kinds.get("$ref") in (0x02, 0x0E) and "$id" in row:
            plain = {"ref": row.pop("$ref"), "id": row.pop("$id")}
            if "$db" in row:
                plain["db"] = row.pop("$db")
            row = {**plain, **row}
        return row, end

    def _elements(
        self, at: int, path: Path, *, list_of: bool
    ) -> tuple[list[tuple[str, Any, int]], int]:
        raw = self.raw
        end = at + int.from_bytes(raw[at : at + 4], "little")
        if end > len(raw) or end < at + 5 or raw[end - 1]:
            raise ValueError(f"a document at byte {at} does not end where it says")
        at += 4
        found = []
        while at < end - 1:
            kind = raw[at]
            stop = raw.index(0, at + 1, end)
            name = raw[at + 1 : stop].decode("utf-8", "backslashreplace")
            read = _READ.get(kind)
            if read is None:
                raise ValueError(f"the field {name!r} has the unknown BSON type 0x{kind:02x}")
            below = (*path, "[]") if list_of else (*path, name)
            value, at = read(self, stop + 1, below)
            found.append((name, value, kind))
        return found, end

    def double(self, at: int, path: Path) -> tuple[Any, int]:
        (value,) = struct.unpack_from("<d", self.raw, at)
        if not math.isfinite(value):
            # JSON has no word for these
            self.odd.not_finite.add(path)
            value = typed_json.float_text(value)
        return value, at + 8

    def text(self, at: int, path: Path) -> tuple[Any, int]:
        size = self._int(at)
        chunk = self.raw[at + 4 : at + 3 + size]
        if size < 1 or len(chunk) != size - 1:
            raise ValueError(f"a text at byte {at} does not end where it says")
        try:
            value = chunk.decode("utf-8")
        except UnicodeDecodeError:
            return {"invalid_utf8": chunk}, at + 4 + size
        return typed_json.escape(value), at + 4 + size

    def list(self, at: int, path: Path) -> tuple[Any, int]:
        fields, end = self._elements(at, path, list_of=True)
        return [value for _, value, _ in fields], end

    def binary(self, at: int, path: Path) -> tuple[Any, int]:
        size, subtype = self._int(at), self.raw[at + 4]
        value = self.raw[at + 5 : at + 5 + size]
        if subtype == 2:  # the old form repeats the length
            value = value[4:]
        return plain_binary(value, subtype), at + 5 + size

    def regex(self, at: int, path: Path) -> tuple[Any, int]:
        middle = self.raw.index(0, at)
        end = self.raw.index(0, middle + 1)
        pattern = self.raw[at:middle].decode("utf-8", "backslashreplace")
        letters = self.raw[middle + 1 : end].decode("utf-8", "backslashreplace")
        return {"pattern": pattern, "options": letters}, end + 1

    def pointer(self, at: int, path: Path) -> tuple[Any, int]:
        name, at = self.text(at, path)
        return {"ref": name, "id": self.raw[at : at + 12].hex()}, at + 12

    def code(self, at: int, path: Path) -> tuple[Any, int]:
        text, at = self.text(at, path)
        return {"code": text}, at

    def scoped_code(self, at: int, path: Path) -> tuple[Any, int]:
        text, at = self.text(at + 4, path)
        scope, at = self.document(at, (*path, "scope"))
        return {"code": text, "scope": scope}, at

    def timestamp(self, at: int, path: Path) -> tuple[Any, int]:
        increment, seconds = struct.unpack_from("<II", self.raw, at)
        return {"t": seconds, "i": increment}, at + 8

    def decimal(self, at: int, path: Path) -> tuple[Any, int]:
        return plain_decimal(Decimal128.from_bid(self.raw[at : at + 16])), at + 16

    def long(self, at: int, path: Path) -> tuple[Any, int]:
        return int.from_bytes(self.raw[at : at + 8], "little", signed=True), at + 8

    def _int(self, at: int) -> int:
        return int.from_bytes(self.raw[at : at + 4], "little", signed=True)


# https://bsonspec.org/spec.html: the byte before each field's name
_READ: dict[int, Callable[[_Decoder, int, Path], tuple[Any, int]]] = {
    0x01: _Decoder.double,
    0x02: _Decoder.text,
    0x03: _Decoder.embedded,
    0x04: _Decoder.list,
    0x05: _Decoder.binary,
    0x06: lambda _, at, __: ({"undefined": True}, at),
    0x07: lambda self, at, _: (self.raw[at : at + 12].hex(), at + 12),
    0x08: lambda self, at, _: (self.raw[at] != 0, at + 1),
    0x09: lambda self, at, path: (plain_date(self.long(at, path)[0]), at + 8),
    0x0A: lambda _, at, __: (None, at),
    0x0B: _Decoder.regex,
    0x0C: _Decoder.pointer,
    0x0D: _Decoder.code,
    0x0E: _Decoder.text,  # symbol
    0x0F: _Decoder.scoped_code,
    0x10: lambda self, at, _: (self._int(at), at + 4),
    0x11: _Decoder.timestamp,
    0x12: _Decoder.long,
    0x13: _Decoder.decimal,
    0x7F: lambda _, at, __: ({"max_key": True}, at),
    0xFF: lambda _, at, __: ({"min_key": True}, at),
}
