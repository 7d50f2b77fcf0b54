"""The BSON types in a document, by path, read from its bytes: every type, none decoded."""

from __future__ import annotations

import re
from collections.abc import Iterator

_SIZES = {0x01: 8, 0x06: 0, 0x07: 12, 0x08: 1, 0x09: 8, 0x0A: 0, 0x10: 4, 0x11: 8, 0x12: 8}
_SIZES |= {0x13: 16, 0x7F: 0, 0xFF: 0}

TYPES = {
    0x01: "double",
    0x02: "string",
    0x03: "object",
    0x04: "array",
    0x05: "binData",
    0x06: "undefined",
    0x07: "objectId",
    0x08: "bool",
    0x09: "date",
    0x0A: "null",
    0x0B: "regex",
    0x0C: "dbPointer",
    0x0D: "javascript",
    0x0E: "symbol",
    0x0F: "javascriptWithScope",
    0x10: "int",
    0x11: "timestamp",
    0x12: "long",
    0x13: "decimal",
    0x7F: "maxKey",
    0xFF: "minKey",
}
"""The byte before each field's name -> the name that `$type` knows it by."""


def types_of(
    raw: bytes, at: int = 0, prefix: str | None = None, *, in_list: bool = False
) -> Iterator[tuple[str, str]]:
    """Each path of a document with the type that it has there.

    >>> from bson import encode
    >>> list(types_of(encode({"a": {"b": 1}, "tags": ["x"]})))
    [('a', 'object'), ('a.b', 'int'), ('tags', 'array'), ('tags[]', 'string')]
    """
    end = at + int.from_bytes(raw[at : at + 4], "little")
    at += 4
    while at < end - 1:
        kind = raw[at]
        stop = raw.index(0, at + 1)
        name = raw[at + 1 : stop].decode("utf-8", "backslashreplace")
        # a list is a document with the keys 0, 1, 2...
        path = prefix if in_list and prefix is not None else _below(prefix, name)
        yield path, TYPES.get(kind, "unknown")
        at = stop + 1
        if kind == 0x03:
            yield from types_of(raw, at, path)
        elif kind == 0x04:
            yield from types_of(raw, at, path + "[]", in_list=True)
        at += _size(raw, at, kind)


def keys(path: str) -> tuple[str, ...]:
    r"""The keys that a path is made of, and `[]` for any element of a list.

    >>> keys("a.tags[][].x")
    ('a', 'tags', '[]', '[]', 'x')
    >>> keys(r"one\.key.and its key")
    ('one.key', 'and its key')
    """
    found = [""]
    for piece in re.findall(r"\\.|\[\]|\.|[^.\\\[]+|.", path, re.DOTALL):
        if piece == ".":
            found.append("")
        elif piece == "[]":
            found.append("[]")
        else:
            found[-1] += piece[1:] if piece[0] == "\\" else piece
    return tuple(found)


def _below(path: str | None, key: str) -> str:
    # what separates the keys of a path is none within a key
    key = re.sub(r"([\\.\[])", r"\\\1", key)
    return key if path is None else f"{path}.{key}"


def _size(raw: bytes, at: int, kind: int) -> int:
    if kind in _SIZES:
        return _SIZES[kind]
    if kind in (0x03, 0x04, 0x0F):
        return int.from_bytes(raw[at : at + 4], "little")
    if kind in (0x02, 0x0D, 0x0E):
        return 4 + int.from_bytes(raw[at : at + 4], "little")
    if kind == 0x05:
        return 5 + int.from_bytes(raw[at : at + 4], "little")
    if kind == 0x0C:
        return 16 + int.from_bytes(raw[at : at + 4], "little")
    if kind == 0x0B:
        return raw.index(0, raw.index(0, at) + 1) + 1 - at
    raise ValueError(f"unknown BSON type 0x{kind:02x}")
