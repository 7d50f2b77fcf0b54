"""A BSON document as a row: read from its bytes by the specification, https://bsonspec.org/spec.html.

What each type becomes is docs/reference/mongodb-types.md, written down here once more.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import UUID

from millstream.receipts.canonical import UnknownValueError

_EPOCH = datetime(1970, 1, 1)
_PLAIN_TEXT = re.compile(r'(?![{"])(?!(?:null|true|false)$)', re.DOTALL)
_HEX = re.compile(r"[0-9a-f]{24}")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_OWN = frozenset({"_dlt_id", "_dlt_load_id", "_dlt_parent_id", "_dlt_root_id", "_dlt_list_idx"})


class Unplaced:
    """A value of which nothing here says how it is written: its column is left out."""


def with_settings(settings: Mapping[str, Any], document: bytes) -> bytes:
    """A document behind what its part says of it, as `row_of` takes it."""
    kept = [settings.get("kind"), settings.get("reserved", []), settings.get("extra", {})]
    return json.dumps(kept).encode() + b"\n" + document


def row_of(data: bytes) -> dict[str, Any]:
    """The row of a document.

    Raises:
        UnknownValueError: a field is called like a column that is added.
    """
    head, _, document = data.partition(b"\n")
    kind, reserved, extra = json.loads(head)
    row, _ = _document(document, 0)
    taken = {*_OWN, *reserved, *(["_id_fields"] if kind else [])}
    _refuse(row, taken)
    if kind is not None:
        row["_id"] = _id(row.get("_id"), kind)
    for name, (its, text) in extra.items():
        row[name] = (
            text if its == "text" else datetime.fromisoformat(text).replace(tzinfo=timezone.utc)
        )
    return row


def _refuse(value: Any, taken: set[str]) -> None:
    if isinstance(value, dict):
        for key, each in value.items():
            if key.strip().lower() in taken:
                raise UnknownValueError("a field is called like a column that is added")
            _refuse(each, taken)
    elif isinstance(value, list):
        for each in value:
            _refuse(each, taken)


def _id(value: Any, kind: str) -> Any:
    if isinstance(value, dict | list):
        raise UnknownValueError("an `_id` is a document")
    if kind == "int":
        return value if type(value) is int else Unplaced()
    if kind == "date":
        return value if isinstance(value, datetime) else Unplaced()
    if isinstance(value, _ObjectId):
        return str(value) if kind in ("any", "any_uuid", "oid") else Unplaced()
    if isinstance(value, UUID):
        return value if kind in ("any_uuid", "uuid") else Unplaced()
    if not isinstance(value, str) or kind in ("oid", "uuid") or not _PLAIN_TEXT.match(value):
        return Unplaced()
    is_quoted = kind != "text" and (_HEX.fullmatch(value) or _UUID.fullmatch(value))
    return Unplaced() if is_quoted else value


class _ObjectId(str):
    """Its digits."""


def _document(raw: bytes, at: int) -> tuple[dict[str, Any], int]:
    size = int.from_bytes(raw[at : at + 4], "little")
    end, at = at + size, at + 4
    row: dict[str, Any] = {}
    while at < end - 1:
        kind = raw[at]
        stop = raw.index(0, at + 1)
        name = raw[at + 1 : stop].decode("utf-8", "backslashreplace")
        if kind not in _READ:
            raise UnknownValueError(f"BSON type 0x{kind:02x}")
        row[name], at = _READ[kind](raw, stop + 1)
    return row, end


def _embedded(raw: bytes, at: int) -> tuple[dict[str, Any], int]:
    row, end = _document(raw, at)
    if isinstance(row.get("$ref"), str) and "$id" in row:
        for key in ("ref", "id", "db"):
            if f"${key}" in row:
                row[key] = row.pop(f"${key}")
    return row, end


def _list(raw: bytes, at: int) -> tuple[list[Any], int]:
    size = int.from_bytes(raw[at : at + 4], "little")
    end, at = at + size, at + 4
    items = []
    while at < end - 1:
        kind, stop = raw[at], raw.index(0, at + 1)
        if kind not in _READ:
            raise UnknownValueError(f"BSON type 0x{kind:02x}")
        item, at = _READ[kind](raw, stop + 1)
        items.append(item)
    return items, end


def _text(raw: bytes, at: int) -> tuple[Any, int]:
    end = at + 4 + int.from_bytes(raw[at : at + 4], "little")
    chunk = raw[at + 4 : end - 1]
    try:
        return chunk.decode(), end
    except UnicodeDecodeError:
        return {"invalid_utf8": chunk}, end


def _binary(raw: bytes, at: int) -> tuple[Any, int]:
    size, subtype = int.from_bytes(raw[at : at + 4], "little"), raw[at + 4]
    value, end = raw[at + 5 : at + 5 + size], at + 5 + size
    if subtype == 2:
        return value[4:], end
    if subtype == 4 and size == 16:
        return UUID(bytes=value), end
    return value if subtype == 0 else {"subtype": subtype, "bytes": value}, end


def _date(raw: bytes, at: int) -> tuple[Any, int]:
    (milliseconds,) = struct.unpack_from("<q", raw, at)
    try:
        return _EPOCH + timedelta(milliseconds=milliseconds), at + 8
    except OverflowError:
        return {"ms": milliseconds}, at + 8


def _regex(raw: bytes, at: int) -> tuple[Any, int]:
    middle = raw.index(0, at)
    end = raw.index(0, middle + 1)
    parts = [
        part.decode("utf-8", "backslashreplace") for part in (raw[at:middle], raw[middle + 1 : end])
    ]
    return {"pattern": parts[0], "options": parts[1]}, end + 1


def _pointer(raw: bytes, at: int) -> tuple[Any, int]:
    name, at = _text(raw, at)
    return {"ref": name, "id": raw[at : at + 12].hex()}, at + 12


def _code(raw: bytes, at: int) -> tuple[Any, int]:
    text, at = _text(raw, at)
    return {"code": text}, at


def _scoped(raw: bytes, at: int) -> tuple[Any, int]:
    text, at = _text(raw, at + 4)
    scope, at = _document(raw, at)
    return {"code": text, "scope": scope}, at


def _timestamp(raw: bytes, at: int) -> tuple[Any, int]:
    increment, seconds = struct.unpack_from("<II", raw, at)
    return {"t": seconds, "i": increment}, at + 8


def _decimal(raw: bytes, at: int) -> tuple[Any, int]:
    from bson import Decimal128

    value = Decimal128.from_bid(raw[at : at + 16])
    number = value.to_decimal()
    if number.is_finite() and not (number == 0 and number.is_signed()):
        whole, _, fraction = format(abs(number), "f").partition(".")
        if len(whole.lstrip("0")) <= 29 and len(fraction.rstrip("0")) <= 9:
            return number, at + 16
    return {"decimal128": str(value)}, at + 16


def _number(form: str) -> Callable[[bytes, int], tuple[Any, int]]:
    found = struct.Struct(form)
    return lambda raw, at: (found.unpack_from(raw, at)[0], at + found.size)


_READ: Mapping[int, Callable[[bytes, int], tuple[Any, int]]] = {
    0x01: _number("<d"),
    0x02: _text,
    0x03: _embedded,
    0x04: _list,
    0x05: _binary,
    0x06: lambda raw, at: ({"undefined": True}, at),
    0x07: lambda raw, at: (_ObjectId(raw[at : at + 12].hex()), at + 12),
    0x08: lambda raw, at: (raw[at] != 0, at + 1),
    0x09: _date,
    0x0A: lambda raw, at: (None, at),
    0x0B: _regex,
    0x0C: _pointer,
    0x0D: _code,
    0x0E: _text,
    0x0F: _scoped,
    0x10: _number("<i"),
    0x11: _timestamp,
    0x12: _number("<q"),
    0x13: _decimal,
    0x7F: lambda raw, at: ({"max_key": True}, at),
    0xFF: lambda raw, at: ({"min_key": True}, at),
}
