"""Which of a row's versions is the newest by a column (`dedup_sort`), across its variants.

Numbers compare with numbers, times with times and texts with texts; any other value counts as
missing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_VARIANTS = ("bigint", "double", "decimal", "wei", "timestamp", "date", "text")
"""Of the column that orders versions: values that it would not give back are in these."""

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d)?)(?:\.(\d+))? ?(Z|[+-]\d\d:?\d\d)?)?\Z"
)


def sort_columns(sort: str | None) -> tuple[str, ...]:
    """The column that orders versions, and its variants; none where reading order does alone."""
    return (sort, *(f"{sort}__v_{kind}" for kind in _VARIANTS)) if sort else ()


def sorted_positions(files: Sequence[pa.Table], sort: str, *, descending: bool) -> np.ndarray:
    """The positions of n rows so that the last one of a key wins; rows without a value come first.

    Args:
        files: what was noted of each, with `sort_columns`.
        descending: whether the highest value wins, else the lowest.

    Returns:
        shape (n,), int64.
    """
    array, *variants = (
        joined([chunk for each in files for chunk in each.column(name).chunks])
        for name in sort_columns(sort)
    )
    if any(variant.null_count < len(variant) for variant in variants):
        return _sorted_across(array, variants, descending=descending)
    if pa.types.is_null(array.type):
        return np.arange(len(array))
    order = "ascending" if descending else "descending"
    ranks = pc.rank(array, sort_keys=order, tiebreaker="dense").to_numpy().astype(np.int64)
    ranks[array.is_null().to_numpy(zero_copy_only=False)] = 0
    return np.argsort(ranks, kind="stable")


def _sorted_across(
    array: pa.Array, variants: Sequence[pa.Array], *, descending: bool
) -> np.ndarray:
    """The same where variants hold values: those that compare with the column's own count, too."""
    values = array.to_pylist()
    for variant in variants:
        if variant.null_count < len(variant):
            values = [b if a is None else a for a, b in zip(values, variant.to_pylist())]
    is_text = pa.types.is_string(array.type) or pa.types.is_large_string(array.type)
    is_time = pa.types.is_temporal(array.type)
    measure = _as_text if is_text else _as_time if is_time else _as_number
    measured = [measure(value) for value in values]
    found = sorted({each for each in measured if each is not None}, reverse=not descending)
    ranks = {value: number for number, value in enumerate(found, 1)}
    return np.argsort(
        np.array([0 if each is None else ranks[each] for each in measured]), kind="stable"
    )


def measure_of(data_type: str) -> Callable[[Any], Any]:
    """What gives a value something to be ordered by in a column of a type; None for no such value.

    >>> measure_of("timestamp")("2024-01-01") < measure_of("timestamp")("2024-01-01T00:00:00.1Z")
    True
    """
    measures = {"text": _as_text, "timestamp": _as_time, "date": _as_time}
    return measures.get(data_type, _as_number)


def _as_text(value: Any) -> bytes | None:
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else None


def _as_number(value: Any) -> Fraction | float | None:
    if isinstance(value, (bool, str)) or not isinstance(value, (int, float, Decimal)):
        return None
    try:
        return Fraction(value)
    except (ValueError, OverflowError):
        return None if value != value else float(value)  # infinities


def _as_time(value: Any) -> Fraction | None:
    """Seconds, to the last digit; a time without an offset counts as UTC."""
    if isinstance(value, str):
        match = _TIME.match(value)
        if match is None:
            return None
        day, clock, digits, offset = match.groups()
        offset = (offset or "Z").replace("Z", "+00:00")
        offset = offset if ":" in offset else f"{offset[:3]}:{offset[3:]}"
        try:
            value = datetime.fromisoformat(f"{day}T{clock or '00:00'}{offset}")
        except ValueError:
            return None
        seconds = _as_time(value)
        return seconds + Fraction(f"0.{digits}") if seconds is not None and digits else seconds
    if isinstance(value, datetime):
        value = value if value.tzinfo else value.replace(tzinfo=timezone.utc)
        return Fraction((value - _EPOCH) // timedelta(microseconds=1), 1_000_000)
    if isinstance(value, date):
        return _as_time(datetime(value.year, value.month, value.day))
    return None


def joined(parts: Sequence[pa.Array]) -> pa.Array:
    """Arrays as one; of one type where they have it, else as texts."""
    kinds = {part.type for part in parts} - {pa.null()}
    if not parts or not kinds:
        return pa.nulls(sum(len(part) for part in parts))
    if len(kinds) > 1 and all(pa.types.is_decimal(kind) for kind in kinds):
        kinds = {pa.decimal256(76, max(kind.scale for kind in kinds))}
    kind = kinds.pop() if len(kinds) == 1 else pa.string()
    same = [part if part.type == kind else part.cast(kind) for part in parts]
    return pa.concat_arrays(same)
