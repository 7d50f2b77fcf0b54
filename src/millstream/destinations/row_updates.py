"""What a source corrects of rows that earlier runs loaded: a repository's name after a rename.

Applied right before the load, so that the new rows merge with the corrected ones. Each update may
run again, with the same result: a run that is killed in between is finished by the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from millstream.common.metadata_tables import is_own
from millstream.common.sql_client import sql_client
from millstream.destinations.partition_rows import stored_schema
from millstream.model import RowUpdate

if TYPE_CHECKING:
    import dlt


def update_rows(
    pipeline: dlt.Pipeline, schema_name: str, updates: Sequence[RowUpdate]
) -> list[str]:
    """Correct the rows of root tables.

    Returns:
        One sentence for each update that changed rows, or that could not be applied.
    """
    from dlt.common.destination.exceptions import DestinationUndefinedEntity

    if not updates or (schema := stored_schema(pipeline, schema_name)) is None:
        return []
    assert pipeline.destination is not None
    kind = pipeline.destination.destination_name
    opened = None if kind == "filesystem" else sql_client(pipeline, schema.name)
    if opened is None:
        return [
            f"{kind} can't update rows: those loaded before keep {_words(update.before)}, where "
            f"new ones have {_words(update.values)}; {update.column} {update.value} is in both"
            for update in updates
        ]
    found = []
    name = schema.naming.normalize_identifier
    with opened as client:
        for table in schema.data_tables(seen_data_only=True):
            if table.get("parent") or is_own(str(table["name"])):
                continue
            columns = {each for each, column in table["columns"].items() if column.get("data_type")}
            for update in updates:
                if not {name(column) for column in update.values} <= columns:
                    continue
                statement = _Statement(update, columns, name, client.escape_column_name)
                qualified = client.make_qualified_table_name(str(table["name"]))
                try:
                    counted = client.execute_sql(
                        f"SELECT COUNT(*) FROM {qualified} WHERE {statement.where}",  # noqa: S608
                        *statement.where_values,
                    )
                    rows = int(counted[0][0]) if counted else 0
                    if not rows:
                        continue
                    client.execute_sql(
                        f"UPDATE {qualified} SET {statement.set} "  # noqa: S608 (escaped by dlt)
                        f"WHERE {statement.where}",
                        *statement.set_values,
                        *statement.where_values,
                    )
                except DestinationUndefinedEntity:  # it was never loaded
                    continue
                if update.values != update.before:
                    found.append(
                        f"{table['name']}: {rows:,} rows loaded before as "
                        f"{_words(update.before)} now have {_words(update.values)}"
                    )
    return found


class _Statement:
    """The clauses of one update, with their parameters in order."""

    def __init__(
        self,
        update: RowUpdate,
        columns: set[str],
        name: Callable[[str], str],
        escape: Callable[[str], str],
    ) -> None:
        key = escape(name(update.column))
        sets = [f"{escape(name(each))} = %s" for each in update.values]
        before = [f"{escape(name(each))} = %s" for each in update.before]
        self.set_values: list[object] = [*update.values.values()]
        self.where_values: list[object] = [*update.before.values()]
        if name(update.column) in columns:
            sets.append(f"{key} = %s")
            self.set_values.append(update.value)
            if update.values == update.before:
                before.append(f"{key} IS NULL")
            else:
                before.append(f"({key} IS NULL OR {key} = %s)")
                self.where_values.append(update.value)
        self.set, self.where = ", ".join(sets), " AND ".join(before)


def _words(values: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value!r}" for name, value in values.items())
