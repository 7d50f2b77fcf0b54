"""Tables that are compared with their source, and how their rows are told apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from millstream.common.metadata_tables import is_own
from millstream.common.sql_client import kind_of
from millstream.formats.deletions import MARKS_DELETIONS
from millstream.model import PARTITION_COLUMN, Partition
from millstream.receipts.deletions import DeletionMark
from millstream.receipts.delivered import Delivered, Which
from millstream.receipts.layout import Column, Layout
from millstream.receipts.source_now import Keys

if TYPE_CHECKING:
    import dlt
    from dlt.destinations.sql_client import SqlClientBase


def roots(schema: dlt.Schema) -> list[str]:
    """The root tables that have rows."""
    row_id = schema.naming.normalize_identifier("_dlt_id")
    seen = {table["name"] for table in schema.data_tables(seen_data_only=True)}
    return [
        str(table["name"])
        for table in schema.data_tables()
        # dlt's note that rows came gets lost beside `max_table_nesting`
        if (table["name"] in seen or table["columns"].get(row_id, {}).get("data_type"))
        and not table.get("parent")
        and not is_own(str(table["name"]))
    ]


def keys_of(table: Any) -> Keys:
    """How rows of a root table are told apart."""
    columns = table["columns"]
    strategy = table.get("x-merge-strategy")
    return Keys(
        key=primary_key(table),
        gone=DeletionMark.of(columns),
        keeps_versions=table.get("write_disposition") == "append",
        keeps_values=strategy == "insert-only",
        rank=_rank(columns),
    )


def delivered_rows(
    pipeline: dlt.Pipeline, client: SqlClientBase[Any], layout: Layout, which: Which
) -> Callable[[frozenset[Column]], Delivered]:
    """Makes rows of a root table, but for some columns."""
    kind = kind_of(pipeline.destination)
    number = "rowid" if kind in ("duckdb", "motherduck") else ""
    return partial(
        Delivered, client, layout, which, row_number=number, is_files=kind == "filesystem"
    )


def primary_key(table: Any) -> tuple[str, ...]:
    """Its columns."""
    return tuple(name for name, column in table["columns"].items() if column.get("primary_key"))


def times_held(root: str, table: Any) -> frozenset[Column]:
    """The columns that say from when to when a row held."""
    hints = ("x-valid-from", "x-valid-to")
    return frozenset(
        (root, name) for name, column in table["columns"].items() if any(map(column.get, hints))
    )


def objects_kept(pipeline: dlt.Pipeline, root: str, table: Any) -> frozenset[Column]:
    """The columns of Arrow tables whose objects have each field, with null where a row had none."""
    assert pipeline.destination is not None
    if not pipeline.destination.capabilities().supports_nested_types:
        return frozenset()
    columns = table["columns"].items()
    return frozenset((root, name) for name, column in columns if column.get("x-nested-type"))


def which_of_load(table: Any, layout: Layout, load_id: str) -> Which:
    """The rows that a load left, but for those that tell of a deletion.

    With `scd2` all that hold since then: rows that did not change are those of earlier loads.
    """
    empty = which_of(table, None).empty
    is_history = table.get("x-merge-strategy") == "scd2"
    return Which({} if is_history else {layout.load_id: load_id}, empty)


def _rank(columns: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], Any] | None:
    """What orders versions of a row; None where the last one read counts."""
    sort = next((name for name, column in columns.items() if column.get("dedup_sort")), None)
    if sort is None:
        return None
    from millstream.engine.version_order import measure_of  # imports pyarrow

    measure = measure_of(columns[sort].get("data_type", ""))
    is_reversed = columns[sort]["dedup_sort"] == "asc"

    def rank(values: Mapping[str, Any]) -> Any:
        measured = measure(values.get(sort))
        return _Lower(measured) if is_reversed and measured is not None else measured

    return rank


@dataclass(frozen=True, slots=True)
class _Lower:
    """Of two values the higher one is below."""

    value: Any

    def __lt__(self, other: _Lower) -> bool:
        return bool(other.value < self.value)


def which_of(table: Any, partition: Partition | None) -> Which:
    """The rows that the source should have now, not those that went, or are of a time before."""
    columns = table["columns"]
    empty = [
        name
        for name, column in columns.items()
        if column.get("data_type") and (column.get(MARKS_DELETIONS) or column.get("x-valid-to"))
    ]
    values = {PARTITION_COLUMN: partition.key} if partition else {}
    return Which(values, empty)
