"""What is asked of the database: the columns of a table, and which of its rows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy import types as t
from sqlalchemy.dialects import postgresql

from millstream.errors import ConfigError, SourceDataError
from millstream.model import Partition
from millstream.sources.partition import MILLISECONDS, require_field
from millstream.sources.sql_database.columns import Spatial
from millstream.sources.typed_columns import Column

_ZONE = re.compile(r"\d(Z|[+-]\d\d(:?\d\d)?)$")
ORDERED = ("bigint", "double", "decimal", "timestamp", "date", "text")
"""Kinds of columns that a cursor may go by."""


def select(table: sa.Table, columns: Sequence[Column], dialect: str) -> sa.Select[Any]:
    """All rows, each column as the loader reads it."""
    made = _for_copy if dialect == "postgresql" else _for_driver
    return sa.select(
        *(made(each, table.c[each.source], dialect).label(each.name) for each in columns)
    )


def since(column: Column, at: Any, value: Any, dialect: str) -> Any:
    """Rows at or above a cursor's value, and those without one."""
    if dialect == "sqlite" and isinstance(value, date):
        # compared as texts, of which nobody knows how a fraction or a `T` is written
        text = value.isoformat(" ", "seconds")[:19] if isinstance(value, datetime) else str(value)
        at, value = sa.type_coerce(at, sa.Text()), text
    elif isinstance(value, datetime) and not column.is_zoned:
        value = value.replace(tzinfo=None)
    return sa.or_(at >= value, at.is_(None))


def within(column: Column, at: sa.Column[Any], partition: Partition, what: str) -> Any:
    """Rows that belong to a partition.

    Raises:
        ConfigError: the column can't tell.
    """
    if partition.window is None:
        key = partition.value if partition.value is not None else partition.key
        return at == (int(key) if column.kind == "bigint" else str(key))
    start, end = partition.window
    zone = ZoneInfo(partition.timezone)
    if column.kind == "timestamp":
        if not column.is_zoned:
            start, end = (each.astimezone(zone).replace(tzinfo=None) for each in (start, end))
        return sa.and_(at >= start, at < end)
    if column.kind == "date":
        first, last = _next_day(start.astimezone(zone)), _next_day(end.astimezone(zone))
        return sa.and_(at >= first, at < last)
    if column.kind in ("bigint", "double", "decimal"):  # seconds or milliseconds since 1970
        low, high = start.timestamp(), end.timestamp()
        return sa.or_(
            sa.and_(at >= low, at < high, sa.func.abs(at) < MILLISECONDS),
            sa.and_(at >= low * 1000, at < high * 1000, sa.func.abs(at) >= MILLISECONDS),
        )
    raise ConfigError(
        f"{what}: windows of time can't go by {column.source!r}, which is {column.kind}",
        hint="set `partitions.cursor` to a column of times, dates or seconds since 1970",
    )


def partition_column(columns: Sequence[Column], partition: Partition, what: str) -> Column:
    """The column that tells the partition of a row.

    Raises:
        ConfigError: it is not there.
    """
    name = require_field(partition, what)
    for each in columns:
        if name in (each.source, each.name):
            return each
    raise ConfigError(
        f"{what} has no column {name!r}, by which it is partitioned",
        hint=f"it has {', '.join(each.source for each in columns)}",
    )


def refuse_rows_of_no_partition(
    connection: sa.Connection, table: sa.Table, column: Column, what: str
) -> None:
    """
    Raises:
        SourceDataError: no partition would ever have them.
    """
    _refuse_null(
        connection,
        table,
        column,
        f"{what}: a row has no {column.source!r}, so that it belongs to no partition",
        "choose a column that every row has",
    )


def refuse_rows_of_no_order(
    connection: sa.Connection, table: sa.Table, column: Column, what: str
) -> None:
    """
    Raises:
        SourceDataError: each run would append them again.
    """
    _refuse_null(
        connection,
        table,
        column,
        f"{what}: a row has no {column.source!r}, the cursor: each run would append it again",
        "choose a cursor that every row has, or leave out `write_disposition: append`",
    )


def _refuse_null(
    connection: sa.Connection, table: sa.Table, column: Column, message: str, hint: str
) -> None:
    at = table.c[column.source]
    query = sa.select(sa.literal(1)).where(at.is_(None)).limit(1)
    if at.nullable and connection.execute(query).first():
        raise SourceDataError(message, hint=hint)


def as_stored(connection: sa.Connection, table: sa.Table, column: Column) -> Column:
    """A column of SQLite, of which the first value tells more than the declared type.

    A `DECIMAL` is stored as a double, and a `DATETIME` as a text, or as seconds since 1970.
    """
    at = table.c[column.source]
    if isinstance(at.type, t.NullType):
        return replace(column, kind="any", is_text=False)
    if column.kind not in ("decimal", "timestamp", "date", "time", "bool"):
        return column
    raw = sa.type_coerce(at, t.NullType())
    query = sa.select(sa.func.typeof(raw), raw).where(at.is_not(None)).limit(1)
    kind, value = connection.execute(query).first() or (None, None)
    if column.kind == "bool":
        return column if kind == "integer" or kind is None else replace(column, kind="any")
    if kind == "text" and column.kind != "decimal":
        is_zoned = column.kind == "timestamp" and _ZONE.search(str(value)) is not None
        return replace(column, is_zoned=is_zoned)
    if column.kind == "decimal" and kind in (None, "integer", "real"):
        return replace(column, kind="double")
    return replace(column, kind="any") if kind else column


def _next_day(moment: datetime) -> date:
    """The first day that begins at this moment or later."""
    day = moment.date()
    return day if moment.time() == datetime.min.time() else day + timedelta(days=1)


def _for_copy(column: Column, at: sa.Column[Any], _: str) -> Any:
    """As PostgreSQL's COPY is to write it."""
    if column.kind == "binary":
        return sa.func.encode(at, "hex")
    if isinstance(at.type, t.ARRAY) and column.kind in ("nested", "json"):
        inner = at.type.item_type
        is_inexact = isinstance(inner, (t.Numeric, t.LargeBinary)) and not isinstance(
            inner, t.Float
        )
        # of numbers without a limit JSON would keep a double
        return sa.func.array_to_json(sa.cast(at, postgresql.ARRAY(sa.Text)) if is_inexact else at)
    return sa.cast(at, sa.Text()) if column.is_text else at


def _for_driver(column: Column, at: sa.Column[Any], dialect: str) -> Any:
    """As the driver is to return it: SQLAlchemy would round SQLite's decimals."""
    if column.is_text and isinstance(at.type, Spatial):
        place, text = sa.func.ST_SRID(at), sa.func.ST_AsText(at)
        return sa.case((place == 0, text), else_=sa.func.concat("SRID=", place, ";", text))
    if column.is_text and column.kind == "text":
        return sa.cast(at, sa.CHAR() if dialect in ("mysql", "mariadb") else sa.Text())
    if column.is_single:  # MySQL writes a FLOAT with six digits, and a double with all
        return sa.literal_column("1e0") * sa.type_coerce(at, t.NullType())
    if column.kind == "bigint" and at.type.__visit_name__ == "BIT" and dialect != "mssql":
        return sa.literal_column("0") + sa.type_coerce(at, sa.BigInteger())
    return sa.type_coerce(at, t.NullType())
