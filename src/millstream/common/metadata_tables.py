"""Millstream's own tables in the destination: appended to and read, whatever the destination is.

They are made by dlt pipelines of their own, without state, so that the schema, state and cursors of
the streams are not touched; where statements do, rows are appended by these.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from datetime import datetime, timezone
from secrets import token_urlsafe
from time import time
from typing import TYPE_CHECKING, Any

from millstream.common import retry
from millstream.common.sql_client import kind_of

if TYPE_CHECKING:
    from dlt.destinations.sql_client import SqlClientBase

PREFIX = "_millstream_"
ATTEMPTS = 3
_HAS_TRANSACTIONS = frozenset({"duckdb", "postgres"})
_TAKES_ONE = frozenset({"bigquery"})
"""Kinds of destinations on which these statements were tried: in a transaction, and one alone."""
_ROWS_OF_STATEMENT = 100
_REFUSED = re.compile(r"[\x00\ud800-\udfff]")
"""NUL, and halves of surrogate pairs."""

Columns = Mapping[str, str]
"""dlt data types by column."""


def is_own(table: str) -> bool:
    """Whether a table is Millstream's, by its name; some destinations write it in capitals."""
    return table.lower().startswith(PREFIX)


def append(
    destination: Any,
    dataset: str,
    schema_name: str,
    tables: Mapping[str, Sequence[Mapping[str, Any]]],
    columns: Mapping[str, Columns],
    *,
    made: Collection[str] = (),
) -> None:
    """Append rows to tables: in one transaction where these are there, else in one load package.

    Args:
        tables: rows by table; columns: of each of these tables.
        made: of the tables those that are to be there, even without rows.

    Raises:
        Exception: dlt's, when the destination still refuses after some attempts.
    """
    import dlt

    tables = {name: rows for name, rows in tables.items() if rows or name in made}
    is_one = len(tables) == 1 and max(map(len, tables.values())) <= _ROWS_OF_STATEMENT
    kind = kind_of(destination)
    takes_statements = kind in _HAS_TRANSACTIONS or (is_one and kind in _TAKES_ONE)

    def append_once() -> None:
        if takes_statements:
            there = dlt.dataset(destination, dataset, dlt.Schema(schema_name))
            if _insert(there.sql_client, tables, columns, is_one=is_one):
                return
        with tempfile.TemporaryDirectory(prefix="millstream-own-") as folder, own_pipeline():
            pipeline = dlt.pipeline(
                pipeline_name=schema_name,
                pipelines_dir=folder,
                destination=destination,
                dataset_name=dataset,
            )
            # read back at once: not worth packing
            dlt.config[f"{schema_name}.data_writer.disable_compression"] = True
            # its schema is known and it has no state: nothing to ask the destination for
            pipeline.config.restore_from_destination = False
            pipeline.run(
                [_resource(name, columns[name], rows) for name, rows in tables.items()],
                schema=dlt.Schema(schema_name),
            )

    # two first runs may both find the tables missing, and only one can make them
    retry.call(append_once, retry.Retries(ATTEMPTS))


def _insert(
    opened: SqlClientBase[Any],
    tables: Mapping[str, Sequence[Mapping[str, Any]]],
    columns: Mapping[str, Columns],
    *,
    is_one: bool,
) -> bool:
    """Append rows by statements, which takes a fraction of the time of a load package.

    Args:
        is_one: one statement does, and needs no transaction.

    Returns:
        False, and nothing is written, where a package is needed: it makes tables and columns, and
        dlt knows what to write for texts that drivers refuse.
    """
    from dlt.destinations.exceptions import DatabaseTerminalException, DatabaseUndefinedRelation

    if any(map(_REFUSED.search, _texts(tables))):
        return False
    try:
        with opened as client, nullcontext() if is_one else client.begin_transaction():
            for name, rows in tables.items():
                for text, arguments in _statements(client, name, rows, columns[name]):
                    client.execute_sql(text, *arguments)
    except (DatabaseUndefinedRelation, DatabaseTerminalException):
        return False
    return True


def _texts(tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[str]:
    for rows in tables.values():
        for row in rows:
            yield from (value for value in row.values() if isinstance(value, str))


def _statements(
    client: SqlClientBase[Any], table: str, rows: Sequence[Mapping[str, Any]], columns: Columns
) -> Iterator[tuple[str, list[Any]]]:
    """What appends the rows, with arguments; without rows, what fails where there is no table."""
    place = client.make_qualified_table_name(table)
    if not rows:
        yield f"SELECT 1 FROM {place} WHERE 1 = 0", []  # noqa: S608 (escaped)
    names = ", ".join(map(client.escape_column_name, [*columns, "_dlt_load_id", "_dlt_id"]))
    load_id = str(time())
    for first in range(0, len(rows), _ROWS_OF_STATEMENT):
        arguments: list[Any] = []
        lines = []
        for row in rows[first : first + _ROWS_OF_STATEMENT]:
            given = [*map(row.get, columns), load_id, token_urlsafe(10)]
            # drivers do not know of which type a null among their arguments is
            lines.append(f"({', '.join('NULL' if each is None else '%s' for each in given)})")
            arguments += [each for each in given if each is not None]
        yield f"INSERT INTO {place} ({names}) VALUES {', '.join(lines)}", arguments  # noqa: S608


def read(
    destination: Any,
    dataset: str,
    schema_name: str,
    table: str,
    columns: Columns,
    where: Mapping[str, str],
    *,
    only: Sequence[str] = (),
    newest_by: str = "",
    limit: int | None = None,
) -> list[dict[str, Any]]:
    """The rows of a table with these values, times in UTC; none where there is no such table yet.

    Args:
        only: these columns; all of them where left out.
        newest_by: with `limit`, the column by which rows are new.
    """
    import dlt
    from dlt.common.destination.exceptions import DestinationUndefinedEntity
    from dlt.destinations.exceptions import DatabaseUndefinedRelation

    described = _resource(table, columns, []).compute_table_schema()
    # dlt reads files only of tables that its schema knows to have had rows
    described["x-normalizer"] = {"seen-data": True}
    schema = dlt.Schema(schema_name)
    schema.update_table(described)
    names = list(only or columns)
    relation = dlt.dataset(destination, dataset, schema)[table].select(*names)
    for column, value in where.items():
        relation = relation.where(column, "eq", value)
    if limit is not None:
        relation = relation.order_by(newest_by, "desc").limit(limit)
    try:
        found = relation.fetchall()
    except (DestinationUndefinedEntity, DatabaseUndefinedRelation):
        return []
    return [dict(zip(names, map(_in_utc, row))) for row in found]


def _in_utc(value: Any) -> Any:
    """A moment as it was written; databases give it in the time zone of the machine."""
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(timezone.utc)
    return value


def _resource(name: str, columns: Columns, rows: Sequence[Mapping[str, Any]]) -> Any:
    import dlt

    hints: Any = {
        column: {"data_type": data_type, "nullable": True} for column, data_type in columns.items()
    }
    items: list[Any] = [dict(row) for row in rows] or [dlt.mark.materialize_table_schema()]
    return dlt.resource(items, name=name, write_disposition="append", columns=hints)


@contextmanager
def own_pipeline() -> Iterator[None]:
    """Leave dlt's active pipeline, whose state resources read, as it was before the block."""
    from dlt.common.configuration.container import Container
    from dlt.common.pipeline import PipelineContext

    active = Container()[PipelineContext]
    before = active.pipeline() if active.is_active() else None
    try:
        yield
    finally:
        active.deactivate()
        if before is not None:
            with suppress(OSError):  # its folder is gone, and with it what could be read of it
                active.activate(before)
