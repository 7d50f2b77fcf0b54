"""Rows of more values than a page of PostgreSQL holds, which fail a whole load.

A row lies in one page. PostgreSQL moves long values elsewhere, of which 18 bytes stay; numbers and
short texts stay where they are, so that some 1,000 numbers fill a page. See "TOAST" in
https://www.postgresql.org/docs/current/storage-toast.html.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from millstream.engine.coerce_values import TypedTable

ROOM = 8160 - 224
"""Bytes of a row that its values may take: its page's, less a header that marks nulls in 1,600
columns, since later rows may add them."""
FEWEST = 330
"""Values of a row: fewer always fit."""
_LINKS = 100
"""Bytes of the columns of dlt's own, and of gaps between values, or more."""
_SHORT, _MOVED = 24, 18
"""A value of more bytes can be moved; what stays of it."""
_VARYING = (
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_binary,
    pa.types.is_large_binary,
)
_WIDTHS = {"bigint": 8, "double": 8, "timestamp": 8, "time": 8, "date": 4, "bool": 1}


def may_be_too_large(one: TypedTable) -> bool:
    """Whether any row of a table might not fit a page; each must be measured then."""
    if len(one.arrays) < FEWEST:
        return False
    sizes = np.zeros(one.table.size)
    for array, index in one.arrays.values():
        sizes[slice(None) if index is None else index] += _widths(array)
    return bool(sizes.max() > ROOM - _LINKS)


def too_large(table: pa.Table) -> list[int]:
    """The positions of an Arrow table's rows that do not fit a page, or hardly."""
    if table.num_columns < FEWEST:
        return []
    sizes = sum(_widths(column) for column in table.columns)
    found: list[int] = np.flatnonzero(sizes > ROOM - _LINKS).tolist()
    return found


def _widths(array: pa.Array | pa.ChunkedArray) -> Any:
    """The bytes of each value in its row, or a few more: numbers have gaps between them."""
    kind = array.type
    if any(is_of(kind) for is_of in _VARYING):
        length = np.asarray(pc.fill_null(pc.binary_length(array), -1)) + 1
        return np.where(length > _SHORT, _MOVED, length)
    width = 8 if pa.types.is_primitive(kind) else _SHORT
    return np.asarray(array.is_valid()) * width


def stored_size(row: Mapping[str, Any], columns: Mapping[str, Mapping[str, Any]]) -> int:
    """The bytes of a row's values in its page, once all that can be moved out of it has been.

    Args:
        columns: of its table, in the table's order.
    """
    size = 0
    for name, column in columns.items():
        value = row.get(name)
        if value is None:
            continue
        width = _WIDTHS.get(str(column.get("data_type")))
        if width is None:
            length = 1 + _length(value)
            size += length if length <= _SHORT else _MOVED
        else:
            size += -size % width + width
    return size


def _length(value: Any) -> int:
    if isinstance(value, str | bytes):
        return len(value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value)
    if isinstance(value, Decimal | int):  # two bytes for each four digits on a side of the point
        whole, _, fraction = f"{Decimal(value):f}".lstrip("-0").rstrip("0").partition(".")
        return 2 + 2 * (-(-len(whole) // 4) + -(-len(fraction) // 4))
    return _SHORT - 1
