"""What a source yields as an Arrow table, and the rows of one as Python has them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa

from millstream.engine import arrow_times

_ROWS_OF_RELATION = 100_000
"""How many are read at once."""


def is_arrow(item: Any) -> bool:
    """Whether an item is of a library that has Arrow tables or frames."""
    module = type(item).__module__.partition(".")[0]
    return module in ("pyarrow", "pandas", "polars")


def tables_of_relation(item: Any) -> Iterator[pa.Table] | None:
    """The rows of an SQL relation of dlt's, a part at a time; None where an item is none.

    dlt would have the destination insert them by itself, past the policy and all that is counted.
    """
    import dlt

    if not isinstance(item, dlt.Relation):
        return None
    # dlt reads DuckDB so
    warnings.filterwarnings("ignore", "Arrow output on a DB-API result", UserWarning)
    return item.iter_arrow(chunk_size=_ROWS_OF_RELATION)


def as_table(item: Any) -> pa.Table | None:
    """An item as an Arrow table; None where it is none."""
    if isinstance(item, pa.RecordBatch):
        return pa.Table.from_batches([item])
    if isinstance(item, pa.Table):
        return item
    module = type(item).__module__.partition(".")[0]
    if module == "pandas" and type(item).__name__ == "DataFrame":
        from dlt.common.libs.pandas import pandas_to_arrow

        return pandas_to_arrow(item)
    if module == "polars" and type(item).__name__ in ("DataFrame", "LazyFrame"):
        from dlt.common.libs.polars import polars_to_arrow

        return polars_to_arrow(item)
    return None


def plain_rows(table: pa.Table) -> list[dict[str, Any]]:
    """Rows as Python has them, which `arrow_times.lost_in_rows` says to be whole."""
    return _rows(table, arrow_times.in_microseconds)


def storable_rows(table: pa.Table) -> list[dict[str, Any]]:
    """Rows as Python has them; as text what it lacks, or what no row can be written with."""
    return _rows(table, arrow_times.as_texts)


def _rows(table: pa.Table, times: Callable[[Any], Any]) -> list[dict[str, Any]]:
    for at, field in enumerate(table.schema):
        column = table.column(at)
        if arrow_times.is_time(field.type) or pa.types.is_date(field.type):
            table = table.set_column(at, field.name, times(column))
        elif pa.types.is_duration(field.type):
            texts = [None if each is None else str(each) for each in column.to_pylist()]
            table = table.set_column(at, field.name, pa.array(texts, pa.string()))
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows
