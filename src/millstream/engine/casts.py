"""Values of one Python type to one Arrow array: the fast way, where it gives exactly dlt's result.

A table, not a ladder: data type of the column and Python types of the values -> how. What is not in
the table, or raises, takes the way value by value in `coerce_values`.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from millstream.engine.coercion_rules import TimeForm

Values = Sequence[Any]

# ISO 8601 in the forms that Arrow and dlt's parser read alike; odd ones go value by value
_DATE_TIME = r"^[12]\d{3}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(\.\d{1,6})?"
_AWARE = _DATE_TIME + r"(Z|[+-]\d{2}:\d{2})$"
_UTC = _DATE_TIME + r"(Z|\+00:00)$"
_NAIVE = _DATE_TIME + "$"
_LATEST = "9998"
_TEXTS = frozenset({str})
_NUMBERS = frozenset({int, float})


def convert(
    data_type: str,
    kinds: frozenset[type],
    values: Values,
    to: pa.DataType,
    *,
    is_exact: bool = False,
    texts: TimeForm | None = None,
) -> pa.Array:
    """The values as an array of type `to`, nulls for None.

    Args:
        is_exact: whether a value must be given back as it was.
        texts: the texts that a column of times takes; None for all that dlt can parse.

    Raises:
        KeyError: no fast way for these types.
        ValueError, OverflowError, TypeError: the values do not fit; pyarrow's errors are among
        them.
    """
    if data_type == "timestamp" and kinds == _TEXTS:
        return timestamps(pa.array(values, type=pa.string(), from_pandas=False), to, texts)
    if is_exact and data_type == "double" and kinds <= _NUMBERS:
        return _plain(values, to)  # refuses integers beyond 2**53
    return _WAYS[data_type, kinds](values, to)


def _plain(values: Values, to: pa.DataType) -> pa.Array:
    return pa.array(values, type=to, from_pandas=False)


def _doubles(values: Values, to: pa.DataType) -> pa.Array:
    try:
        return _plain(values, to)
    except pa.ArrowInvalid:  # an integer beyond 2**53, which dlt rounds
        return _plain([None if v is None else float(v) for v in values], to)


def timestamps(texts: pa.Array, to: pa.DataType, form: TimeForm | None = None) -> pa.Array:
    """ISO 8601 texts as moments; raises where not all have the one plain form.

    Args:
        form: the texts that the column takes; None for all that dlt can parse.
    """
    if to.unit != "us" or to.tz not in (None, "UTC") or form == "none":
        raise KeyError(to)
    aware = _AWARE if form is None else _UTC
    if form != "local" and _all(pc.match_substring_regex(texts, aware)):
        instants = texts.cast(pa.timestamp("us", "UTC"))
    elif form != "utc" and _all(pc.match_substring_regex(texts, _NAIVE)):
        instants = texts.cast(pa.timestamp("us")).view(pa.timestamp("us", "UTC"))
    else:
        raise ValueError("not all of one form")
    if (last := pc.max(texts).as_py()) is not None and last >= _LATEST:
        raise ValueError(last)
    # without a zone the column holds the wall clock in UTC, the same numbers
    return instants if to.tz else instants.view(to)


def _moments(values: Values, to: pa.DataType) -> pa.Array:
    if to.unit != "us" or to.tz not in (None, "UTC"):
        raise KeyError(to)
    return _plain(values, pa.timestamp("us", "UTC")).view(to)


def _all(mask: pa.Array) -> bool:
    return pc.all(mask, skip_nulls=True, min_count=0).as_py() is not False


_WAYS: dict[tuple[str, frozenset[type]], Callable[[Values, pa.DataType], pa.Array]] = {
    ("text", frozenset({str})): _plain,
    ("bool", frozenset({bool})): _plain,
    ("bigint", frozenset({int})): _plain,
    ("double", frozenset({float})): _plain,
    ("double", frozenset({int})): _doubles,
    ("double", frozenset({int, float})): _doubles,
    ("timestamp", frozenset({datetime.datetime})): _moments,
    ("date", frozenset({datetime.date})): _plain,
    ("time", frozenset({datetime.time})): _plain,
    ("decimal", frozenset({Decimal})): _plain,
    ("binary", frozenset({bytes})): _plain,
}
