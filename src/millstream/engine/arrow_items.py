"""What a source yields as an Arrow table, and the rows of one as Python has them."""

from __future__ import annotations

from typing import Any

import pyarrow as pa


def is_arrow(item: Any) -> bool:
    """Whether an item is of a library that has Arrow tables or frames."""
    module = type(item).__module__.partition(".")[0]
    return module in ("pyarrow", "pandas", "polars")


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
    """Rows as Python has them; nothing is cut of times that were compared with their columns."""
    for at, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type) and field.type.unit == "ns":
            plain = table.column(at).cast(pa.timestamp("us", field.type.tz), safe=False)
            table = table.set_column(at, field.name, plain)
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def storable_rows(table: pa.Table) -> list[dict[str, Any]]:
    """Rows as Python has them; as text what it lacks, or what no row can be written with."""
    for at, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type) and field.type.unit == "ns":
            plain = table.column(at).cast(pa.timestamp("ns"))
            table = table.set_column(at, field.name, plain.cast(pa.string()))
        elif pa.types.is_duration(field.type):
            texts = [None if each is None else str(each) for each in table.column(at).to_pylist()]
            table = table.set_column(at, field.name, pa.array(texts, pa.string()))
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows
