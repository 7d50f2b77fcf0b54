"""One number for a value: the same for equal values, whatever type holds them.

A value may lie in its column, in a variant of it, or in a text where the destination has no wider
type. So numbers are told apart by value alone (5, 5.0 and a decimal 5), times by their moment, and
texts that are times in full count as times: that is what a column of times makes of them.
"""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import lru_cache
from hashlib import blake2b
from typing import Any
from uuid import UUID

MASK = (1 << 64) - 1
_EPOCH = datetime.datetime(1970, 1, 1)
_MOMENT = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ]((?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d)(?:\.(\d{1,6}))?(?:Z|\+00:00)?",
    re.ASCII,
)
_TIME = re.compile(r"((?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d)(?:\.(\d{1,6}))?", re.ASCII)
_LONG = re.compile(r"-?[1-9]\d{18,}", re.ASCII)
_NUL_SIGN = "\u2400"
"""What stands for a NUL in destinations whose texts can't hold one."""


class UnknownValueError(ValueError):
    """Nobody says what a value of this type is in the destination."""


class UncountableError(UnknownValueError):
    """Nor how many rows it makes."""


def number_of(value: Any) -> int:
    """64 bits for a value that is not null.

    >>> from decimal import Decimal
    >>> number_of(5) == number_of(5.0) == number_of(Decimal("5.00")) != number_of("5")
    True
    >>> number_of("2024-01-01T00:00:00Z") == number_of(datetime.datetime(2024, 1, 1))
    True

    Raises:
        UnknownValueError: a value of a type that has no documented place.
    """
    if type(value) is str:
        return _of_text(value)
    return _digest(_canonical(value))


def number_of_json(value: Any) -> int:
    """The same for an object or a list that lies in a column as JSON."""
    return _digest(b"j" + _json(value))


def mix(first: int, second: int) -> int:
    """64 bits for two numbers, in their order."""
    found = ((first ^ (second * 0x9E3779B97F4A7C15)) * 0xBF58476D1CE4E5B9) & MASK
    found = ((found ^ (found >> 29)) * 0x94D049BB133111EB) & MASK
    return found ^ (found >> 32)


@lru_cache(4096)
def seed(*names: str) -> int:
    """64 bits for names of tables and columns."""
    return _digest("\0".join(names).encode("utf-8", "surrogatepass"))


def _digest(data: bytes) -> int:
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "little")


@lru_cache(1 << 14)
def _of_text(value: str) -> int:
    return _digest(_text(value))


def _text(value: str) -> bytes:
    if value[:1].isdecimal() or value[:1] == "-":
        if (found := _MOMENT.fullmatch(value)) is not None:
            try:
                fraction = (found[3] or "").ljust(6, "0")
                return _moment(datetime.datetime.fromisoformat(f"{found[1]}T{found[2]}.{fraction}"))
            except ValueError:  # no such day
                pass
        elif (found := _TIME.fullmatch(value)) is not None:
            return _time(found[1], found[2] or "")
        elif _LONG.fullmatch(value) and not -(1 << 63) <= (number := int(value)) < 1 << 63:
            return b"n%d" % number
    return b"t" + value.replace("\0", _NUL_SIGN).encode("utf-8", "surrogatepass")


def _canonical(value: Any) -> bytes:
    form = _FORMS.get(type(value))
    if form is None:
        form = next((its for kind, its in _FORMS.items() if isinstance(value, kind)), None)
    if form is None or (type(value).__module__ == "enum"):
        raise UnknownValueError(type(value).__name__)
    return form(value)


def _integer(value: int) -> bytes:
    try:
        return b"n%d" % value
    except ValueError:  # beyond the digits that Python writes
        return b"n" + hex(value).encode()


def _fraction(value: float | Decimal) -> bytes:
    if isinstance(value, float) and not math.isfinite(value):
        return b"n" + repr(value).encode()
    if isinstance(value, Decimal) and not value.is_finite():
        raise UnknownValueError("a decimal that is not a number")
    above, below = value.as_integer_ratio()
    return _integer(above) if below == 1 else b"n%d/%d" % (above, below)


def _moment(value: datetime.datetime) -> bytes:
    if value.tzinfo is not None:
        value = value.astimezone(datetime.timezone.utc).replace(tzinfo=None)
    since = value - _EPOCH
    return b"m%d" % ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds)


def _time(clock: str, fraction: str) -> bytes:
    return f"t{clock}.{fraction.rstrip('0')}".encode()


def _time_of_day(value: datetime.time) -> bytes:
    if value.tzinfo is not None:
        return _text(value.isoformat())
    return _time(value.isoformat("seconds"), f"{value.microsecond:06}")


def _json(value: Any) -> bytes:
    if value is None or value is True or value is False:
        return repr(value).encode()
    if isinstance(value, str):
        text = value.replace("\0", _NUL_SIGN).encode("utf-8", "surrogatepass")
        return b"%d:%s" % (len(text), text)
    if isinstance(value, float) and not math.isfinite(value):
        name = "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        return _json(name)
    if isinstance(value, int | float):
        return _fraction(value) if isinstance(value, float) else _integer(value)
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise UnknownValueError("a key that is not a text")
        pairs = sorted((_json(key), _json(each)) for key, each in value.items())
        return b"{%s}" % b",".join(key + b"=" + each for key, each in pairs)
    if isinstance(value, list | tuple):
        return b"[%s]" % b",".join(map(_json, value))
    raise UnknownValueError(f"{type(value).__name__} in JSON")


_FORMS: dict[type, Callable[[Any], bytes]] = {
    str: _text,
    bool: lambda value: b"b1" if value else b"b0",
    int: _integer,
    float: _fraction,
    Decimal: _fraction,
    datetime.datetime: _moment,
    datetime.date: lambda value: b"t" + value.isoformat().encode(),
    datetime.time: _time_of_day,
    UUID: lambda value: _text(str(value)),
    bytes: lambda value: b"x" + value,
    bytearray: lambda value: b"x" + bytes(value),
    memoryview: lambda value: b"x" + bytes(value),
}
