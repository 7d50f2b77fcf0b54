"""Which column takes a value of which type: the table of rules.

A column takes a value only if it gives the same value back. `RULES` has an entry for each pair of
column type and value type where that can be so; for all other pairs it can't, and the value goes to
a variant column (`zip__v_text`). docs/reference/type-coercion.md has the table for readers.
"""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

ORIGIN = "x-millstream-origin"
"""The hint of a column of times that was inferred: what it was made from, `text` or `value`."""

TimeForm = Literal["none", "utc", "local", "either"]
"""The texts that a column takes as times: with the offset of UTC, without one, either, or none."""

_TIMES = frozenset({"timestamp", "date", "time"})
_DATE = r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
_TIME = r"([01][0-9]|2[0-3]):([0-5][0-9]):([0-5][0-9])(?:\.([0-9]{1,6}))?"
_TIMESTAMP_TEXT = re.compile(rf"{_DATE}[T ]{_TIME}(Z|\+00:00)?")
_DATE_TEXT = re.compile(_DATE)
_TIME_TEXT = re.compile(_TIME)


@dataclass(frozen=True, slots=True)
class Coercion:
    """How the rows of one stream are typed.

    Attributes:
        exact: a column takes a value of another type only if it gives the same value back; False
            for dlt's own coercion.
        detect_timestamps: whether texts that are times in full make a column of timestamps.
    """

    exact: bool = True
    detect_timestamps: bool = True


class InexactError(ValueError):
    """The column's type does not give this value back."""


class MisfitError(ValueError):
    """The value has the column's type, and more digits than the column holds."""


@dataclass(frozen=True, slots=True)
class ColumnLimits:
    """What a column holds beyond its type.

    Attributes:
        bits: of an integer.
        digits: of a decimal: all of them, and those after the point.
        fraction: digits of a second.
        length: characters of a text, or bytes; None for any number.
        texts: the texts that it takes as times.
    """

    bits: int = 64
    digits: tuple[int, int] = (38, 9)
    fraction: int = 6
    length: int | None = None
    texts: TimeForm = "none"


Rule = Callable[[Any, ColumnLimits], Any]


def coerce(wanted: str, given: str, value: Any, limits: ColumnLimits) -> Any:
    """The value as a column of type `wanted` holds it.

    Args:
        given: the data type of the value itself.

    Raises:
        InexactError: the column would not give this value back.
        MisfitError: the same, for a value of the column's own type.
    """
    rule = RULES.get((wanted, given))
    if rule is not None:
        return rule(value, limits)
    if wanted == given:
        return value
    raise InexactError(f"{given} is not {wanted}")


def time_limits(
    column: Mapping[str, Any], *, keeps_offset: bool, keeps_local: bool
) -> ColumnLimits:
    """What a column of times holds.

    Args:
        column: in dlt's schema. Without the hint `ORIGIN` it was declared, or made by an earlier
            version.
        keeps_offset, keeps_local: whether the destination has timestamps with, and without, an
            offset.
    """
    precision, origin = column.get("precision"), column.get(ORIGIN)
    texts: TimeForm = "utc" if origin == "text" else "either"
    if origin == "value":
        texts = "none"
    elif keeps_offset and keeps_local and column.get("timezone") is False:
        texts = "local"
    return ColumnLimits(fraction=6 if precision is None else precision, texts=texts)


def _integer(value: Any, limits: ColumnLimits) -> int:
    number = int(value)
    half = 1 << (limits.bits - 1)
    if not -half <= number < half:
        raise MisfitError(f"more than {limits.bits} bits")
    return number


def _whole(value: Any, limits: ColumnLimits) -> int:
    """An integer of a float or a Decimal that has no fraction; `-0.0` is not 0."""
    if not _is_finite(value) or value != int(value) or _is_minus_zero(value):
        raise InexactError("not an integer")
    try:
        return _integer(value, limits)
    except MisfitError as error:
        raise InexactError(str(error)) from None


def _text(value: str, limits: ColumnLimits) -> str:
    if limits.length is not None and len(value) > limits.length:
        raise MisfitError(f"more than {limits.length} characters")
    return value


def _binary(value: bytes, limits: ColumnLimits) -> bytes:
    if limits.length is not None and len(value) > limits.length:
        raise MisfitError(f"more than {limits.length} bytes")
    return value


def _double(value: Any, _: ColumnLimits) -> float:
    try:
        number = float(value)
    except OverflowError:
        raise InexactError("beyond a double") from None
    except ValueError:  # a signaling NaN
        raise InexactError("not a number") from None
    # Python compares numbers of different types exactly
    if number != value:
        raise InexactError("more digits than a double")
    return number


def _decimal(value: Any, limits: ColumnLimits) -> Decimal:
    number = Decimal(value)
    if not number.is_finite():
        raise MisfitError("not a number")
    whole, fraction = _digits(number)
    precision, scale = limits.digits
    if fraction > scale:
        raise MisfitError(f"more than {scale} digits after the point")
    if whole > precision - scale:
        raise MisfitError(f"more than {precision - scale} digits before the point")
    return number


def _as_decimal(value: Any, limits: ColumnLimits) -> Decimal:
    if _is_minus_zero(value):
        raise InexactError("-0.0 is not 0")
    try:
        return _decimal(value, limits)
    except MisfitError as error:
        raise InexactError(str(error)) from None


def _timestamp(value: datetime.datetime, limits: ColumnLimits) -> datetime.datetime:
    if limits.fraction < 6 and value.microsecond % 10 ** (6 - limits.fraction):
        raise MisfitError(f"more than {limits.fraction} digits of a second")
    return value


def _timestamp_text(value: str, limits: ColumnLimits) -> datetime.datetime:
    found = _TIMESTAMP_TEXT.fullmatch(value)
    form = "local" if found is None or found[8] is None else "utc"
    if found is None or limits.texts not in (form, "either"):
        raise InexactError("not a time that the column gives back")
    try:
        return _timestamp(_moment(found), limits)
    except ValueError as error:
        raise InexactError(str(error)) from None


def _date_text(value: str, limits: ColumnLimits) -> datetime.date:
    found = _DATE_TEXT.fullmatch(value)
    if found is None or limits.texts == "none":
        raise InexactError("not a date")
    try:
        return datetime.date(*map(int, found.groups()))
    except ValueError as error:
        raise InexactError(str(error)) from None


def _time_text(value: str, limits: ColumnLimits) -> datetime.time:
    found = _TIME_TEXT.fullmatch(value)
    if found is None or limits.texts == "none":
        raise InexactError("not a time of day")
    hour, minute, second, fraction = found.groups()
    return datetime.time(int(hour), int(minute), int(second), int((fraction or "0").ljust(6, "0")))


def _moment(found: re.Match[str]) -> datetime.datetime:
    year, month, day, hour, minute, second = map(int, found.groups()[:6])
    microsecond = int((found[7] or "0").ljust(6, "0"))
    zone = datetime.timezone.utc if found[8] else None
    return datetime.datetime(year, month, day, hour, minute, second, microsecond, zone)


def _is_finite(value: Any) -> bool:
    return value.is_finite() if isinstance(value, Decimal) else math.isfinite(value)


def _is_minus_zero(value: Any) -> bool:
    if isinstance(value, int) or not _is_finite(value) or value != 0:
        return False
    return value.is_signed() if isinstance(value, Decimal) else math.copysign(1, value) < 0


def _digits(number: Decimal) -> tuple[int, int]:
    """How many digits a finite number has before and after the point, without zeros at its ends.

    >>> _digits(Decimal("1200")), _digits(Decimal("0.0150")), _digits(Decimal("12.5E+3"))
    ((4, 0), (0, 3), (5, 0))
    """
    _, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)
    significant = len(digits)
    while significant and not digits[significant - 1]:
        significant -= 1
        exponent += 1
    if not significant:
        return 0, 0
    return max(significant + exponent, 0), max(-exponent, 0)


RULES: Mapping[tuple[str, str], Rule] = {
    # column, value
    ("text", "text"): _text,
    ("binary", "binary"): _binary,
    ("bigint", "bigint"): _integer,
    ("bigint", "double"): _whole,
    ("bigint", "decimal"): _whole,
    ("bigint", "wei"): _whole,
    ("double", "bigint"): _double,
    ("double", "decimal"): _double,
    ("double", "wei"): _double,
    ("decimal", "decimal"): _decimal,
    ("decimal", "bigint"): _as_decimal,
    ("decimal", "double"): _as_decimal,
    ("decimal", "wei"): _as_decimal,
    ("wei", "wei"): _decimal,
    ("wei", "bigint"): _as_decimal,
    ("wei", "double"): _as_decimal,
    ("wei", "decimal"): _as_decimal,
    ("timestamp", "timestamp"): _timestamp,
    ("timestamp", "text"): _timestamp_text,
    ("date", "text"): _date_text,
    ("time", "text"): _time_text,
}
"""How a column of one type takes a value of another, or checks one of its own."""


def is_time(data_type: str) -> bool:
    """Whether columns of this type remember what they were made from."""
    return data_type in _TIMES
