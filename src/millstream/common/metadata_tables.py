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
_REFUSED = re.compile("[\ud800-\udfff]")
"""Halves of surrogate pairs, which UTF-8 does not have."""

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
    """Append rows to tables: all or none where the destination has transactions that we tried.

    Elsewhere a table may have its rows, and another not, where this fails. Of texts, NUL becomes
    U+2400, and half of a surrogate pair U+FFFD.

    Args:
        tables: rows by table; columns: of each of these tables.
        made: of the tables those that are to be there, even without rows.

    Raises:
        Exception: dlt's, when the destination still refuses after some attempts.
    """
    import dlt
    from dlt.destinations.exceptions import DatabaseTerminalException, DatabaseUndefinedRelation

    tables = {
        name: [{key: _storable(each) for key, each in row.items()} for row in rows]
        for name, rows in tables.items()
        if rows or name in made
    }
    is_one = len(tables) == 1 and max(map(len, tables.values())) <= _ROWS_OF_STATEMENT
    kind = kind_of(destination)
    if kind not in _HAS_TRANSACTIONS and not (is_one and kind in _TAKES_ONE):
        _load(destination, dataset, schema_name, tables, columns)
        return

    def append_once() -> None:
        there = dlt.dataset(destination, dataset, dlt.Schema(schema_name))
        try:
            _insert(there.sql_client, tables, columns, is_one=is_one)
        except (DatabaseUndefinedRelation, DatabaseTerminalException):
            # a table or a column may be missing; what else is wrong, the statements say again
            make(destination, dataset, schema_name, {name: columns[name] for name in tables})
            _insert(there.sql_client, tables, columns, is_one=is_one)

    def may_pass(error: Exception, wait: float) -> float | None:
        return None if isinstance(error, DatabaseTerminalException) else wait

    # two first runs may both find the tables missing, and only one can make them
    retry.call(append_once, retry.Retries(ATTEMPTS), may_pass)


def make(destination: Any, dataset: str, schema_name: str, columns: Mapping[str, Columns]) -> None:
    """Make tables, or what is missing of their columns.

    Args:
        columns: by table.
    """
    _load(destination, dataset, schema_name, dict.fromkeys(columns, ()), columns)


def _storable(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return _REFUSED.sub("\N{REPLACEMENT CHARACTER}", value.replace("\0", "\N{SYMBOL FOR NULL}"))


def _load(
    destination: Any,
    dataset: str,
    schema_name: str,
    tables: Mapping[str, Sequence[Mapping[str, Any]]],
    columns: Mapping[str, Columns],
) -> None:
    """Append rows by a load package of dlt, which makes the tables and columns that are missing."""
    import dlt

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
        resources = [_resource(name, columns[name], rows) for name, rows in tables.items()]
        if not any(tables.values()):
            # dlt looks for what is missing only where it does not know the schema as stored
            for each in resources:
                each.apply_hints(additional_table_hints={"x-millstream-made": time()})
        pipeline.extract(resources, schema=dlt.Schema(schema_name))
        pipeline.normalize()

        def may_pass(_: Exception, wait: float) -> float | None:
            # of a package that is given up, some jobs may have landed
            return wait if pipeline.has_pending_data else None

        retry.call(pipeline.load, retry.Retries(ATTEMPTS), may_pass)


def _insert(
    opened: SqlClientBase[Any],
    tables: Mapping[str, Sequence[Mapping[str, Any]]],
    columns: Mapping[str, Columns],
    *,
    is_one: bool,
) -> None:
    """Append rows by statements, which takes a fraction of the time of a load package.

    Args:
        is_one: one statement does, and needs no transaction.
    """
    with opened as client, nullcontext() if is_one else client.begin_transaction():
        for name, rows in tables.items():
            for text, arguments in _statements(client, name, rows, columns[name]):
                client.execute_sql(text, *arguments)


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
