"""Rows that dlt normalized, and Arrow tables, as the columns that a table has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa
from dlt.common.json import json

_FIT_ERRORS = (ValueError, TypeError, OverflowError)


def column_of_rows(
    rows: Sequence[Mapping[str, Any]], name: str, kind: pa.DataType, *, is_json: bool
) -> pa.Array:
    """n rows -> n values; text where some do not fit the type, as dlt's INSERT statements have it.

    Under dlt's own coercion the destination decides what becomes of such values.
    """
    values = [row.get(name) for row in rows]
    if is_json:
        values = [v if v is None or type(v) is str else json.dumps(v) for v in values]
    try:
        if pa.types.is_integer(kind) and any(isinstance(v, Decimal) for v in values):
            raise TypeError("Arrow would cut the digits after the point")
        return pa.array(values, type=kind, from_pandas=False)
    except _FIT_ERRORS:
        return pa.array([None if v is None else _literal(v) for v in values], pa.string())


def plain_column(column: Any) -> pa.ChunkedArray:
    """A column of any Arrow type as one that a plain column could be: nested values are JSON."""
    kind = column.type
    if isinstance(column, pa.Array):
        column = pa.chunked_array([column], kind)
    if pa.types.is_dictionary(kind):
        return plain_column(column.cast(kind.value_type))
    if pa.types.is_nested(kind):
        texts = [None if v is None else json.dumps(v) for v in column.to_pylist()]
        return pa.chunked_array([pa.array(texts, pa.string())])
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return column.cast(pa.string())
    if (
        pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
        or pa.types.is_binary_view(kind)
    ):
        return column.cast(pa.binary())
    return column


def _literal(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return f"\\x{value.hex()}"
    if isinstance(value, (dict, list)):
        return str(json.dumps(value))
    return str(value.isoformat()) if hasattr(value, "isoformat") else str(value)
