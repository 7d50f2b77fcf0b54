"""dlt's typed JSON, made unambiguous: how extracted rows lie on disk.

dlt writes a value that JSON has no type for as a text that begins with a character of the private
use area (U+F026 for a Decimal, U+F027 for a datetime ...), and reads any text that begins so as
such a value. Icon fonts use the same characters. Here such a text gets one more mark, the first one
that dlt leaves free, and so do the doubles that JSON lacks:

    U+F02E t TEXT      a text that begins with one of these characters
    U+F02E f NaN       a double that is not finite
    U+F02E b           no bytes: dlt takes a mark with nothing behind it for a text

dlt itself leaves these as they are; `decode` takes the marks off again.
"""

from __future__ import annotations

import datetime
import json as plain_json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import orjson
from dlt.common.data_writers.writers import JsonlWriter, TypedJsonlListWriter
from dlt.common.json import (
    PUA_CHARACTER_MAX,
    PUA_START,
    PUA_START_UTF8_MAGIC,
    custom_pua_encode,
)

PREFIXES = tuple(chr(PUA_START + number) for number in range(PUA_CHARACTER_MAX + 1))
"""The characters that dlt marks values with, and the one that is free."""

_MARK = chr(PUA_START + PUA_CHARACTER_MAX)
TEXT, FLOAT, NO_BYTES = _MARK + "t", _MARK + "f", _MARK + "b"
_LEAD = PUA_START_UTF8_MAGIC
_OPTIONS = orjson.OPT_NON_STR_KEYS | orjson.OPT_PASSTHROUGH_DATETIME

_ESCAPES = "|".join(re.escape(f"\\u{ord(each):04x}") for each in PREFIXES)
_RAW = "|".join(PREFIXES)
_STRINGS = re.compile(r'"((?:[^"\\]|\\.)*)"(\s*:)?', re.DOTALL)
_BEGINS = re.compile(f"{_RAW}|(?i:{_ESCAPES})")
_MAY_BEGIN = re.compile(
    b'"(?:' + f"{_RAW}|(?i:{_ESCAPES})".encode() + b")",
)

_is_unambiguous: ContextVar[bool] = ContextVar("millstream_typed_json", default=False)


def decode(value: Any) -> Any:
    """A value without the marks of this module; objects and lists are changed in place."""
    if type(value) is str:
        return _decoded_text(value) if value.startswith(_MARK) else value
    if type(value) is dict:
        for key, each in value.items():
            if type(each) in _CONTAINERS or (type(each) is str and each.startswith(_MARK)):
                value[key] = decode(each)
    elif type(value) is list:
        for index, each in enumerate(value):
            if type(each) in _CONTAINERS or (type(each) is str and each.startswith(_MARK)):
                value[index] = decode(each)
    return value


def escape(value: Any) -> Any:
    """A value whose texts can't be taken for marked ones; a copy where anything is changed."""
    if isinstance(value, str):
        return TEXT + value if len(value) > 1 and value[0] in PREFIXES else value
    if isinstance(value, float):
        return value if math.isfinite(value) else float_text(value)
    if isinstance(value, dict):
        return {key: escape(each) for key, each in value.items()}
    if isinstance(value, list | tuple) and type(value) in _CONTAINERS:
        return [escape(each) for each in value]
    return value


def float_text(value: float) -> str:
    """A double that is not finite, as typed JSON has it."""
    return FLOAT + float_name(value)


def float_name(value: float) -> str:
    """What databases and Python call a double that is not finite."""
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def escape_json(text: bytes) -> bytes:
    """JSON without types as typed JSON: texts that begin with a mark get one more."""
    if not may_need_escape(text):
        return text

    def escaped(found: re.Match[str]) -> str:
        content, is_key = found[1], found[2]
        if is_key or not _BEGINS.match(content):
            return found[0]
        return f'"{TEXT}{content}"'

    return _STRINGS.sub(escaped, text.decode("utf-8", "surrogateescape")).encode(
        "utf-8", "surrogateescape"
    )


def may_need_escape(text: bytes) -> bool:
    """Whether a text in JSON may begin with a mark."""
    return (_LEAD in text or b"\\uf02" in text or b"\\uF02" in text) and bool(
        _MAY_BEGIN.search(text)
    )


def dumps(value: Any) -> bytes:
    """A value as typed JSON; integers of any size as they are."""
    marks = 0

    def default(each: Any) -> Any:
        nonlocal marks
        if type(each) is datetime.time and each.tzinfo is not None:
            return each.isoformat()  # no column of times of day keeps an offset
        if each == b"" and type(each) is bytes:
            marks += 1
            return NO_BYTES
        found = custom_pua_encode(each)
        if type(found) is str and found.startswith(PREFIXES):
            if found.startswith(_MARK) or _is_text(each):  # the value of an Enum
                return escape(found)
            marks += 1
            return found
        return escape(found)

    try:
        line = orjson.dumps(value, default=default, option=_OPTIONS)
        if line.count(_LEAD) == marks:
            return line
        return orjson.dumps(escape(value), default=default, option=_OPTIONS)
    except TypeError:
        if not _has_large_integer(value):
            raise
    # orjson writes no integers beyond 64 bits
    return plain_json.dumps(
        _with_text_keys(escape(value)),
        default=lambda each: (
            plain_json.loads(orjson.dumps(each))
            if type(each) is orjson.Fragment
            else _native(each, default)
        ),
        ensure_ascii=False,
        separators=(",", ":"),
        allow_nan=False,
    ).encode()


@contextmanager
def unambiguous() -> Iterator[None]:
    """What dlt extracts in this thread within this block is written by `dumps`."""
    if TypedJsonlListWriter.write_data is not _write_data:
        TypedJsonlListWriter.write_data = _write_data  # type: ignore[method-assign]
    token = _is_unambiguous.set(True)
    try:
        yield
    finally:
        _is_unambiguous.reset(token)


_dlt_write_data: Callable[[Any, Sequence[Any]], None] = TypedJsonlListWriter.write_data


def _write_data(self: Any, items: Sequence[Any]) -> None:
    if not _is_unambiguous.get():
        _dlt_write_data(self, items)
        return
    super(JsonlWriter, self).write_data(items)  # counts
    self._f.write(dumps(items))
    self._f.write(b"\n")


_CONTAINERS = frozenset({dict, list, tuple})


def _decoded_text(text: str) -> Any:
    if text.startswith(TEXT):
        return text[len(TEXT) :]
    if text == NO_BYTES:
        return b""
    return float(text[len(FLOAT) :]) if text.startswith(FLOAT) else text


def _is_text(value: Any) -> bool:
    return isinstance(getattr(value, "value", None), str)


def _native(value: Any, default: Callable[[Any], Any]) -> Any:
    """What orjson writes by itself and Python's `json` does not."""
    try:
        return default(value)
    except TypeError:
        return plain_json.loads(orjson.dumps(value))


def _with_text_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {_key(key): _with_text_keys(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_with_text_keys(each) for each in value]
    return value


def _key(key: Any) -> str:
    if isinstance(key, str):
        return key
    (text,) = plain_json.loads(orjson.dumps({key: 0}, option=orjson.OPT_NON_STR_KEYS))
    return str(text)


def _has_large_integer(value: Any) -> bool:
    todo = [value]
    while todo:
        each = todo.pop()
        if isinstance(each, dict):
            todo.extend(each.values())
        elif isinstance(each, list | tuple):
            todo.extend(each)
        elif isinstance(each, int) and not -(2**63) <= each < 2**64:
            return True
    return False
