"""dlt's typed JSON, made unambiguous: how extracted rows lie on disk.

dlt writes a value that JSON has no type for as a text that begins with a character of the private
use area (U+F026 for a Decimal, U+F027 for a datetime ...), and reads any text that begins so as
such a value. Icon fonts use the same characters. Here such a text gets one more mark, the first one
that dlt leaves free, and so do the doubles that JSON lacks:

    U+F02E t TEXT      a text that begins with one of these characters
    U+F02E f NaN       a double that is not finite
    U+F02E b           no bytes: dlt takes a mark with nothing behind it for a text

dlt itself leaves these as they are; `decode` takes the marks off again. A row with a value that
can't be written at all, such as a timedelta, a set or a text with a lone surrogate, is written in
an envelope, and goes to quarantine.
"""

from __future__ import annotations

import datetime
import json as plain_json
import math
import re
import reprlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from uuid import UUID

import orjson
from dlt.common.data_writers.writers import JsonlWriter, TypedJsonlListWriter
from dlt.common.json import (
    PUA_CHARACTER_MAX,
    PUA_START,
    PUA_START_UTF8_MAGIC,
    custom_encode,
    custom_pua_encode,
)

from millstream.dlt_compat import contract

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

Wrap = Callable[[str, str], Mapping[str, Any]]
"""From the text of a row that can't be written, and why, to what is written in its place."""

_wrap: ContextVar[Wrap | None] = ContextVar("millstream_typed_json", default=None)


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
        if isinstance(each, datetime.datetime):
            if each != each:  # pandas' null for times
                return None
            if getattr(each, "nanosecond", 0):  # more digits than Python's and dlt's times have
                return each.isoformat()
        elif type(each).__module__ == "numpy" and _is_number(each):
            each = each.item()
            if not (isinstance(each, float) and not math.isfinite(each)):
                return each
            marks += 1
            return float_text(each)
        if isinstance(each, UUID):  # dlt marks it where orjson does not write it, and fails on it
            return str(each)
        if isinstance(each, _BYTES) and not len(each):
            marks += 1
            return NO_BYTES
        found = custom_pua_encode(bytes(each) if isinstance(each, _BYTES) else each)
        if type(found) is str and found.startswith(PREFIXES):
            if found.startswith(_MARK) or _is_text(each):  # the value of an Enum
                return escape(found)
            marks += 1
            return found
        return escape(found)

    try:
        line = orjson.dumps(value, default=default, option=_OPTIONS)
        if line.count(_LEAD) == marks and not (b"null" in line and _has_not_finite(value)):
            return line
        return orjson.dumps(escape(value), default=default, option=_OPTIONS)
    except TypeError:
        if not has_large_integer(value):
            raise
    if any(isinstance(each, int) and _is_beyond_doubles(each) for each in _scalars(value)):
        raise ValueError("an integer that orjson would not read back")
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


def dumps_marked(value: Any) -> bytes:
    """A value with integers beyond 64 bits, whose texts are marked already.

    Raises:
        TypeError: it has no such integer, so that something else can't be written.
    """
    if not has_large_integer(value):
        raise TypeError(describe_unwritable(value))
    return plain_json.dumps(
        _with_text_keys(finite(value, float_text)),
        default=custom_pua_encode,
        ensure_ascii=False,
        separators=(",", ":"),
        allow_nan=False,
    ).encode()


@contextmanager
def unambiguous(wrap: Wrap) -> Iterator[None]:
    """What dlt extracts in this thread within this block is written by `dumps`."""
    if TypedJsonlListWriter.write_data is not _write_data:
        contract.require("writers")
        TypedJsonlListWriter.write_data = _write_data  # type: ignore[method-assign]
    token = _wrap.set(wrap)
    try:
        yield
    finally:
        _wrap.reset(token)


_dlt_write_data: Callable[[Any, Sequence[Any]], None] = TypedJsonlListWriter.write_data


def _write_data(self: Any, items: Sequence[Any]) -> None:
    wrap = _wrap.get()
    if wrap is None:
        _dlt_write_data(self, items)
        return
    super(JsonlWriter, self).write_data(items)  # counts
    try:
        line = dumps(items)
    except (TypeError, ValueError, RecursionError):
        line = b"[" + b",".join(_row(item, wrap) for item in items) + b"]"
    self._f.write(line)
    self._f.write(b"\n")


class _Short(reprlib.Repr):
    """Python's own, but for integers of more digits than Python writes."""

    def repr_int(self, x: int, level: int) -> str:
        try:
            return super().repr_int(x, level)
        except ValueError:
            return f"{hex(x)[:20]}..."


_SHORT = _Short()


def _row(item: Any, wrap: Wrap) -> bytes:
    """A row; in an envelope where it holds what JSON has no word for."""
    try:
        return dumps(item)
    except (TypeError, ValueError, RecursionError):
        detail = describe_unwritable(item)
    try:
        text = plain_json.dumps(item, default=str, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError):  # keys, a circle, or too many digits
        text = _SHORT.repr(item)
    return dumps(wrap(text, detail))


def describe_unwritable(item: Any) -> str:
    """Where in a row the first value is that can't be stored, and what it is.

    >>> describe_unwritable({"a": {"b": [1, {2}]}})
    '`a.b[1]`: a value of type set can not be stored'
    """
    todo: list[tuple[str, Any, int]] = [("", item, 0)]
    while todo:
        path, value, level = todo.pop()
        if level > _MOST_LEVELS:
            return f"nested more than {_MOST_LEVELS} levels deep, or in a circle"
        if isinstance(value, dict):
            for key in value:
                if not _is_writable({key: 0}):
                    what = "not valid Unicode" if isinstance(key, str) else type(key).__name__
                    return f"{_quoted(path)}a key of type {what} can not be stored"
            inner = [(f"{path}.{key}" if path else str(key), value[key]) for key in value]
        elif isinstance(value, list | tuple):
            inner = [(f"{path}[{index}]", each) for index, each in enumerate(value)]
        elif _is_writable(value):
            continue
        elif isinstance(value, str):
            return f"{_quoted(path)}a text that is not valid Unicode (a lone surrogate)"
        elif isinstance(value, int) and _is_beyond_doubles(value):
            return f"{_quoted(path)}an integer of more than {_MOST_BITS:,} bits can not be stored"
        else:
            return f"{_quoted(path)}a value of type {type(value).__name__} can not be stored"
        todo += [(*each, level + 1) for each in reversed(inner)]
    return "it can not be stored"


def _quoted(path: str) -> str:
    return f"`{path}`: " if path else ""


def _is_writable(value: Any) -> bool:
    try:
        dumps(value)
    except (TypeError, ValueError, RecursionError):
        return False
    return True


_CONTAINERS = frozenset({dict, list, tuple})
_HARMLESS = frozenset({str, int, bool, type(None)})
_BYTES = (bytes, bytearray, memoryview)
_MOST_BITS = 1023
_MOST_LEVELS = 250
"""orjson writes no more."""


def _decoded_text(text: str) -> Any:
    if text.startswith(TEXT):
        return text[len(TEXT) :]
    if text == NO_BYTES:
        return b""
    return float(text[len(FLOAT) :]) if text.startswith(FLOAT) else text


def _has_not_finite(value: Any) -> bool:
    """Whether a double in it is not finite: orjson writes null for such without a word."""
    todo = [value]
    while todo:
        each = todo.pop()
        if type(each) in _HARMLESS:
            continue
        if isinstance(each, dict):
            todo.extend(each.values())
        elif isinstance(each, list | tuple):
            todo.extend(each)
        elif isinstance(each, float) and not math.isfinite(each):
            return True
    return False


def _is_number(value: Any) -> bool:
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    return kind in ("i", "u", "f", "b") and getattr(value, "ndim", 1) == 0


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


def plain_text(value: Any) -> str:
    """A value as JSON without types, as dlt writes it; but integers of any size as they are.

    Doubles that are not finite are texts, `"NaN"`: JSON has no word for them.
    """
    return plain_json.dumps(
        _with_text_keys(finite(value)),
        default=custom_encode,
        ensure_ascii=False,
        separators=(",", ":"),
    )


def finite(value: Any, text: Callable[[float], str] = float_name) -> Any:
    """A value with doubles that are not finite, of which JSON has no word, as texts."""
    if isinstance(value, float):
        return value if math.isfinite(value) else text(value)
    if isinstance(value, dict):
        return {key: finite(each, text) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite(each, text) for each in value]
    return value


def has_large_integer(value: Any) -> bool:
    """Whether an integer in it is beyond what orjson writes: 64 bits, signed or not."""
    return any(isinstance(each, int) and not -(2**63) <= each < 2**64 for each in _scalars(value))


def _is_beyond_doubles(value: int) -> bool:
    """Whether parsers of JSON, which try it as a double, refuse an integer."""
    return value.bit_length() > _MOST_BITS


def has_not_finite(value: Any) -> bool:
    """Whether a double in it is NaN or infinite: orjson writes null for such without a word."""
    return any(isinstance(each, float) and not math.isfinite(each) for each in _scalars(value))


def _scalars(value: Any) -> Iterator[Any]:
    todo = [value]
    while todo:
        each = todo.pop()
        if isinstance(each, dict):
            todo.extend(each.values())
        elif isinstance(each, list | tuple):
            todo.extend(each)
        else:
            yield each
