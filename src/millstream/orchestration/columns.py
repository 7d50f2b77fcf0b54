"""A table's columns, as Dagster shows them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import dagster as dg

from millstream.model import Column, SchemaChange, Table
from millstream.schema_changes.messages import type_words

_LOAD_COLUMNS = {
    "_dlt_id": "Identifies this row; child tables point at it.",
    "_dlt_load_id": "The load that brought this row, as in `_dlt_loads`.",
    "_dlt_root_id": "`_dlt_id` of the row of the stream's own table that this one belongs to.",
    "_dlt_list_idx": "Position in the list that this row was an item of; the first is 0.",
}


def table_schema(table: Table, changes: Iterable[SchemaChange] = ()) -> dg.TableSchema:
    """Columns with their types and constraints; those that the load adds are explained.

    Args:
        changes: of this load. Their columns come first, above all that are as they were: Dagster
            shows the columns of an asset before anything else that a load said.
    """
    keys = [column.name for column in table.columns if column.primary_key]
    news: dict[str, list[str]] = {}
    for change in changes:
        if change.table != table.name:
            continue
        field = f"{change.column}__"  # of an object, its first one tells of it
        found = next((name for name in table.column if f"{name}__".startswith(field)), None)
        if found is not None:
            news.setdefault(found, []).append(change.message)
    columns = sorted(table.columns, key=lambda column: column.name not in news)
    return dg.TableSchema(
        columns=[
            _column(table, column, news.get(column.name, ()), sole_key=len(keys) == 1)
            for column in columns
        ],
        constraints=dg.TableConstraints(other=[f"primary key ({', '.join(keys)})"])
        if len(keys) > 1
        else None,
    )


def column_lineage(
    table: Table,
    stream: str,
    source: dg.AssetKey | None,
    root: dg.AssetKey,
    key_of: Callable[[str], dg.AssetKey],
) -> dg.TableColumnLineage:
    """Where each column comes from: a place in the JSON, or the row that a child row belongs to.

    Args:
        source: the asset of the source, whose columns are called after their JSON path, such as
            `issues.labels[].name`; None where there is none.
        root: the asset of the stream's own table.
        key_of: the asset of a table.
    """
    deps: dict[str, list[dg.TableColumnDep]] = {}
    for column in table.columns:
        if column.name == "_dlt_parent_id" and table.parent:
            deps[column.name] = [dg.TableColumnDep(key_of(table.parent), "_dlt_id")]
        elif column.name == "_dlt_root_id":
            deps[column.name] = [dg.TableColumnDep(root, "_dlt_id")]
        elif column.origin and source is not None:
            deps[column.name] = [dg.TableColumnDep(source, f"{stream}.{column.origin}")]
    return dg.TableColumnLineage(deps)


def _column(table: Table, column: Column, news: Sequence[str], *, sole_key: bool) -> dg.TableColumn:
    other = []
    if column.primary_key:
        other.append("primary key")
    if column.merge_key:
        other.append("merge key")
    if column.cursor:
        other.append("cursor")
    return dg.TableColumn(
        name=column.name,
        type=type_words(column),
        description=_with_news(_description(table, column), news),
        constraints=dg.TableColumnConstraints(
            nullable=column.nullable, unique=column.primary_key and sole_key, other=other
        ),
    )


def _with_news(description: str | None, news: Sequence[str]) -> str | None:
    if not news:
        return description
    return f"**This load:** {'; '.join(news)}.{f' {description}' if description else ''}"


def _description(table: Table, column: Column) -> str | None:
    if column.variant_of:
        base = table.column.get(column.variant_of)
        expected = type_words(base) if base else "its own type"
        return f"Values of `{column.variant_of}` that are not {expected}."
    if column.name == "_dlt_parent_id":
        return f"`_dlt_id` of the row of `{table.parent}` that this one belongs to."
    return _LOAD_COLUMNS.get(column.name)
