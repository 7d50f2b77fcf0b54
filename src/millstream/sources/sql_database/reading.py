"""One table as a dlt resource: reflected anew for each run, merged on its key where it has one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.exc import NoSuchTableError

from millstream.config import SqlDatabaseConfig, SqlTable
from millstream.dlt_compat.incrementals import checked, value_before
from millstream.errors import ConfigError, SourceNotFoundError
from millstream.model import PARTITION_COLUMN, Partition
from millstream.sources.sql_database import (
    catalog,
    columns,
    deletions,
    errors,
    identity,
    queries,
)
from millstream.sources.sql_database.connection import unknown_types_are_texts
from millstream.sources.sql_database.loaders import Reading, column_names, loader
from millstream.sources.table_names import did_you_mean
from millstream.sources.typed_columns import LINKS, Column

if TYPE_CHECKING:
    from dlt.sources import DltResource


def resource(
    config: SqlDatabaseConfig,
    engine: sa.Engine,
    name: str,
    table_name: str,
    *,
    project: Path,
    partition: Partition | None = None,
    parses_json: bool = False,
) -> DltResource:
    """What extracts one table, or a partition of it.

    Args:
        project: the folder that a file of SQLite lies in or beside.
        parses_json: whether what comes behind looks into columns with JSON.

    Raises:
        SourceError: the database can't be reached, or has no such table.
        ConfigError: the settings do not fit the table.
    """
    import dlt

    what, settings = f"table {name}", config.settings_of(name)
    with errors.explained(what), engine.connect() as connection:
        table, key, planned = _planned(config, connection, name)
        number = identity.identify(connection, table, project)
    cursor = _cursor(planned, key, settings, what)
    disposition = settings.write_disposition or ("merge" if key else "replace")
    if settings.deletes:
        deletions.check((each.name for each in planned), key, disposition, what)
    is_another = identity.settle(what, disposition, number, cursor, has_key=bool(key))
    reading = Reading(what, planned, cursor, parses_json=parses_json)
    if partition is not None:
        by = queries.partition_column(planned, partition, what)
        reading = replace(
            reading,
            cursor=None,
            where=queries.within(by, table.c[by.source], partition, what),
            extra={PARTITION_COLUMN: partition.key},
            check=partial(queries.refuse_rows_of_no_partition, table=table, column=by, what=what),
        )
        cursor = None
    chunk_size = settings.chunk_size or config.chunk_size
    names = {each.source: each.name for each in planned}
    keys = [names[each] for each in key]
    if cursor is not None and disposition == "append":
        reading = replace(
            reading,
            check=partial(queries.refuse_rows_of_no_order, table=table, column=cursor, what=what),
        )
    made = loader(reading, engine.dialect.name)
    of_keys = [each for each in planned if each.name in keys]
    made_of_keys = loader(Reading(what, of_keys), engine.dialect.name)

    def rows(since: Any = None) -> Iterator[Any]:
        replaces = partition is None and is_another(dlt.current.resource_state())
        if replaces:
            hints = dlt.mark.make_hints(write_disposition="replace")
            yield dlt.mark.with_hints(dlt.mark.materialize_table_schema(), hints)
        yield from made(
            engine,
            "pyarrow",
            table,
            {},
            chunk_size,
            incremental=since,
            limit=dlt.current.resource().limit,
        ).load_rows()
        # of a part of the rows nobody can tell which are gone; those of another table go anyway
        is_part = partition is not None or dlt.current.resource().limit
        if settings.deletes and not is_part and not replaces:
            now = made_of_keys(engine, "pyarrow", table, {}, chunk_size).load_rows()
            yield from deletions.rows(table_name, keys, now, what)

    if cursor is not None:
        rows.__defaults__ = (
            checked(is_another, deletions.are, partial(_go_back, cursor, what))(
                cursor.name,
                # those at the boundary come again: they merge, or are left out as they were
                primary_key=column_names if disposition == "append" else (),
                lag=settings.lag or None,
                on_cursor_value_missing="include",
            ),
        )
    if partition is not None and disposition == "replace":
        disposition = "append"
    declare: Any = dlt.resource
    found: DltResource = declare(
        rows,
        name=name,
        table_name=table_name,
        primary_key=keys or None,
        write_disposition=disposition,
        columns=[
            *(hint for each in planned if (hint := each.hint)),
            *([deletions.HINT] if settings.deletes else []),
            *LINKS,
        ],
    )
    return found


def _go_back(cursor: Column, what: str, value: Any, lag: float) -> Any:
    """
    Raises:
        ConfigError: the cursor's highest value is a text that is not a time.
    """
    try:
        return value_before(value, lag)
    except ValueError:
        raise ConfigError(
            f"{what}: the cursor {cursor.source!r} has {str(value)[:60]!r} as its highest value, "
            "which is not a time: `lag` tells nothing of it",
            hint="leave out `lag`, or choose a cursor of times, dates or numbers",
        ) from None


def check(config: SqlDatabaseConfig, connection: sa.Connection, name: str) -> None:
    """Read one row of a table as it is configured.

    Raises:
        SourceError: it is not there, or can't be read.
        ConfigError: the settings do not fit the table.
    """
    what = f"table {name}"
    with errors.explained(what):
        table, key, planned = _planned(config, connection, name)
        _cursor(planned, key, config.settings_of(name), what)
        query = queries.select(table, planned, connection.dialect.name).limit(1)
        connection.execute(query).first()


def _planned(
    config: SqlDatabaseConfig, connection: sa.Connection, name: str
) -> tuple[sa.Table, Sequence[str], list[Column]]:
    """The table as it is now, its key, and what is read of it."""
    schema, settings = config.database_schema, config.settings_of(name)
    metadata = sa.MetaData(schema=schema)
    try:
        with unknown_types_are_texts():
            table = sa.Table(name, metadata, autoload_with=connection, resolve_fks=False)
    except NoSuchTableError:
        there = catalog.names(connection, schema)
        raise SourceNotFoundError(
            f"no such table: {name}", hint=did_you_mean(name, there, "there are no tables")
        ) from None
    key = settings.primary_key or tuple(each.name for each in table.primary_key)
    found = columns.plan(table, connection.dialect.name, settings, key)
    if connection.dialect.name == "sqlite":
        found = [queries.as_stored(connection, table, each) for each in found]
    return table, key, found


def _cursor(
    planned: Sequence[Column], key: Sequence[str], settings: SqlTable, what: str
) -> Column | None:
    """
    Raises:
        ConfigError: rows would be doubled or left out.
    """
    if settings.cursor is None:
        return None
    found = next(each for each in planned if each.source == settings.cursor)
    if found.kind not in queries.ORDERED or found.is_text:
        raise ConfigError(
            f"{what}: the cursor {settings.cursor!r} is a column of {found.kind}, which has no "
            "order",
            hint="choose a column of times, dates, numbers or texts that only grow",
        )
    if not key:
        raise ConfigError(
            f"{what} has no primary key: rows at the cursor's highest value would be doubled",
            hint="set `primary_key` to columns that tell rows apart, or leave out `cursor`; then "
            "each run replaces the table",
        )
    return found
