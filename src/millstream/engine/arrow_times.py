"""Dates and times of Arrow tables that rows of Python, and most destinations, do not have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_DIGITS = {"s": 0, "ms": 3, "us": 6, "ns": 9}
"""Of a second, by unit."""
_FIRST, _LAST = -62_135_596_800, 253_402_300_800
"""The years 1 to 9999, in seconds since 1970; the last is beyond."""
_DAY = 86_400
OUTSIDE = "a time outside the years 1 to 9999"


def is_time(kind: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(kind) or pa.types.is_time(kind))


def outside_of_years(array: Any) -> Sequence[int]:
    """The positions of dates and times that neither Python nor most destinations have."""
    kind = array.type
    if pa.types.is_date(kind):
        first, last = _FIRST // _DAY, _LAST // _DAY
    elif pa.types.is_timestamp(kind) and kind.unit != "ns":
        scale = 10 ** _DIGITS[kind.unit]
        first, last = _FIRST * scale, _LAST * scale
    else:  # nanoseconds have three centuries
        return ()
    ticks = _ticks(array)
    found: list[int] = np.flatnonzero((ticks < first) | (ticks >= last)).tolist()
    return found


def lost_in_rows(table: pa.Table) -> Iterator[tuple[int, str, str]]:
    """What rows of Python would lose: the position of the row, the column, and what is wrong."""
    for name, column in zip(table.column_names, table.columns):
        for at in outside_of_years(column):
            yield at, name, f": {OUTSIDE}"
        if is_time(column.type) and (is_cut := cut(column, 6)) is not None:
            for at in pc.indices_nonzero(is_cut).to_pylist():
                yield at, name, ": more than 6 digits of a second"
        elif pa.types.is_duration(column.type):
            for at in pc.indices_nonzero(pc.is_valid(column)).to_pylist():
                yield at, name, f": a value of type {column.type} can not be stored"


def with_digits(kind: pa.DataType, digits: int) -> pa.DataType:
    """A type of times with at least as many digits of a second."""
    unit = next(unit for unit, held in _DIGITS.items() if digits <= held)
    if pa.types.is_timestamp(kind):
        return pa.timestamp(unit, kind.tz)
    return pa.time32(unit) if unit in ("s", "ms") else pa.time64(unit)


def cut(array: Any, digits: int) -> Any:
    """Which times have more digits of a second; None where none can."""
    held = _DIGITS[array.type.unit]
    if held <= digits:
        return None
    return pa.array(_ticks(array) % 10 ** (held - digits) != 0)


def in_microseconds(array: Any) -> Any:
    """Dates and times with the digits that Python has."""
    if pa.types.is_date(array.type) or array.type.unit != "ns":
        return array
    return array.cast(with_digits(array.type, 6), safe=False)


def as_texts(array: Any) -> Any:
    """Dates and times as Python has them, and those that it lacks as texts."""
    kind = array.type
    if is_time(kind) and kind.unit == "ns":
        plain = array.cast(pa.timestamp("ns")) if pa.types.is_timestamp(kind) else array
        return plain.cast(pa.string())
    outside = outside_of_years(array)
    if not outside:
        return array
    texts = array.cast(pa.string()).to_pylist()
    for at in outside:
        texts[at] = f"{_ticks(array)[at]} {getattr(kind, 'unit', 'days')} since 1970"
    return pa.array(texts, pa.string())


def _ticks(array: Any) -> Any:
    kind = array.type
    if pa.types.is_date64(kind):
        return _ticks(array.cast(pa.date32()))
    raw = pa.int64() if pa.types.is_timestamp(kind) or pa.types.is_time64(kind) else pa.int32()
    return np.asarray(array.cast(raw).cast(pa.int64()).fill_null(0))
