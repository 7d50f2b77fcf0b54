"""What each column of a table becomes: a table of rules by the type in the database.

A column of which only the database knows how it is written, such as an interval or a range, is
cast to text there. A number with more digits than any destination holds is text, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

import sqlalchemy as sa
from sqlalchemy import types as t
from sqlalchemy.dialects import mysql, postgresql

from millstream.config import SqlTable
from millstream.errors import ConfigError
from millstream.sources.typed_columns import Column, Kind, column_names

_DIGITS = 38


class Spatial(t.UserDefinedType[Any]):
    """MySQL's and MariaDB's places and shapes, which SQLAlchemy does not know."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "GEOMETRY"


SPATIAL = dict.fromkeys(
    (
        *("geometry", "point", "linestring", "polygon"),
        *("multipoint", "multilinestring", "multipolygon"),
        *("geometrycollection", "geomcollection"),  # MySQL 8 has another word for it
    ),
    Spatial,
)
"""By the names that the database has for them."""

Rule = tuple[Any, Callable[[Any, Column], Column]]
"""SQLAlchemy's type, and what a column of it becomes."""


def _is(kind: Kind, **more: Any) -> Callable[[Any, Column], Column]:
    return lambda _, column: replace(column, kind=kind, **more)


def _decimal(sql_type: Any, column: Column) -> Column:
    if sql_type.precision is None:
        return replace(column, kind="decimal")
    # PostgreSQL's scale may be less than 0: tens, hundreds
    scale = sql_type.scale or 0
    digits = max(sql_type.precision, scale) - min(scale, 0), max(scale, 0)
    if digits[0] > _DIGITS:
        return _as_text(sql_type, column)
    return replace(column, kind="decimal", digits=digits)


def _as_text(_: Any, column: Column) -> Column:
    return replace(column, kind="text", is_text=True)


def _timestamp(sql_type: Any, column: Column) -> Column:
    zoned = bool(sql_type.timezone) or sql_type.__visit_name__ == "DATETIMEOFFSET"
    return replace(column, kind="timestamp", is_zoned=zoned)


def _integer(sql_type: Any, column: Column) -> Column:
    if isinstance(sql_type, t.BigInteger) and getattr(sql_type, "unsigned", False):
        return replace(column, kind="decimal", digits=(20, 0))
    return replace(column, kind="bigint")


# the first that fits; Numeric before Integer, and Enum is a String
_RULES: tuple[Rule, ...] = (
    (t.Uuid, _as_text),
    (t.Double, _is("double")),
    (t.Float, _is("double")),
    (t.Numeric, _decimal),
    (t.Integer, _integer),
    (t.Boolean, _is("bool")),
    (t.JSON, _is("nested")),
    (t.ARRAY, _is("nested")),
    (t.String, _is("text")),
    (t.LargeBinary, _is("binary")),
    (t._Binary, _is("binary")),  # noqa: SLF001 (of fixed length, which has no other base)
    (t.DateTime, _timestamp),
    (t.Date, _is("date")),
    (t.Time, _is("time")),
)
_OF_DIALECT: Mapping[str, tuple[Rule, ...]] = {
    "postgresql": (
        (postgresql.INTERVAL, _as_text),
        (
            postgresql.TIME,
            lambda kind, c: _as_text(kind, c) if kind.timezone else _is("time")(kind, c),
        ),
        (postgresql.BIT, _as_text),
        (postgresql.MONEY, _as_text),
        (postgresql.OID, _is("bigint")),
    ),
    "mysql": (
        (mysql.TIMESTAMP, _is("timestamp", is_zoned=True)),
        (mysql.FLOAT, _is("double", is_single=True)),
        (mysql.TIME, _as_text),  # up to 838 hours, and below zero
        (mysql.BIT, _is("bigint")),
        (mysql.YEAR, _is("bigint")),
        (mysql.SET, _as_text),
        (Spatial, _as_text),
    ),
}


def plan(table: sa.Table, dialect: str, settings: SqlTable, key: Sequence[str]) -> list[Column]:
    """The columns of a table that are read, in its order.

    Args:
        key: the primary key, which is read whatever is left out.

    Raises:
        ConfigError: the settings name a column that is not there.
    """
    named = [*settings.columns, *settings.exclude, *settings.types, *key]
    named += [settings.cursor] if settings.cursor else []
    require_columns(table, named)
    needed = {*key, *([settings.cursor] if settings.cursor else [])}
    lost = sorted(needed & {*settings.exclude})
    if lost:
        raise ConfigError(
            f"table {table.name}: `exclude` names {lost[0]!r}, which the primary key or the "
            "`cursor` needs",
            hint="leave it out of `exclude`",
        )
    chosen = [
        each
        for each in table.columns
        if each.name not in settings.exclude
        and (not settings.columns or each.name in settings.columns or each.name in needed)
    ]
    names = column_names([each.name for each in chosen])
    rules = (*_OF_DIALECT.get("mysql" if dialect == "mariadb" else dialect, ()), *_RULES)
    return [
        _column(each, names[each.name], rules, settings.types.get(each.name)) for each in chosen
    ]


def require_columns(table: sa.Table, named: Iterable[str]) -> None:
    """
    Raises:
        ConfigError: a column is not there.
    """
    there = [each.name for each in table.columns]
    for name in named:
        if name not in there:
            close = get_close_matches(name, there, n=1)
            raise ConfigError(
                f"table {table.name} has no column {name!r}",
                hint=f"did you mean {close[0]!r}?" if close else f"it has {', '.join(there)}",
            )


def _column(column: sa.Column[Any], name: str, rules: Iterable[Rule], wanted: str | None) -> Column:
    plain = Column(name, column.name, "text")
    sql_type: Any = column.type
    if isinstance(sql_type, postgresql.DOMAIN):
        sql_type = sql_type.data_type
    if wanted == "text":
        return _as_text(sql_type, plain)
    if wanted is not None:
        return replace(plain, kind=wanted, is_text=not isinstance(sql_type, t.ARRAY))  # type: ignore[arg-type]
    for kind, rule in rules:
        if isinstance(sql_type, kind):
            return rule(sql_type, plain)
    return _as_text(sql_type, plain)
