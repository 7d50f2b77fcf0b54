"""Why a row is refused: what dlt can't normalize, and what the destination would not take."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from dlt.common.schema import Schema
from dlt.common.schema.exceptions import (
    CannotCoerceColumnException,
    CannotCoerceNullException,
)
from dlt.common.schema.utils import is_dlt_table_or_column

from millstream.engine import row_size
from millstream.engine.dlt.exact_normalizer import RefusedValueError
from millstream.engine.dlt.schema_rollback import Buffer
from millstream.engine.schema_size import TooDeepError
from millstream.errors import SourceDataError
from millstream.quarantine import envelope
from millstream.quarantine.entry import Rejection, path_of

NOT_QUARANTINED_HINT = (
    "put such rows aside with `quarantine: {enabled: true}`; or correct it and drop the package "
    "with `millstream pending drop`, so that the next run reads it again"
)
ROW_ERRORS = (
    CannotCoerceNullException,
    CannotCoerceColumnException,
    ValueError,
    TypeError,
    ArithmeticError,
    RecursionError,
    KeyError,  # a part of the key, of which dlt makes the row's id
)


class UnloadableError(ValueError):
    """A row that the destination would refuse."""

    def __init__(self, table: str, column: str | None, detail: str) -> None:
        self.table = table
        self.column = column
        self.detail = detail
        super().__init__(f"{table}: {detail}")


def check_complete(schema: Schema, buffer: Buffer, dialect: str | None) -> None:
    """Find a row that lacks a value or has too many of them: dlt leaves it to the destination.

    Raises:
        UnloadableError: there is one.
    """
    for table, rows in buffer.rows.items():
        for column in required_columns(schema, table):
            if not all(column in row for row in rows):
                detail = f"`{column}`, which may not be null, is missing"
                raise UnloadableError(table, column, detail)
        if dialect != "postgres":
            continue
        columns: Any = None
        for row in rows:
            if len(row) < row_size.FEWEST:
                continue
            columns = columns or schema.get_table_columns(table)
            if (size := row_size.stored_size(row, columns)) > row_size.ROOM:
                detail = (
                    f"its {len(row):,} values take {size:,} bytes; a row of PostgreSQL "
                    f"has {row_size.ROOM:,}"
                )
                raise UnloadableError(table, None, detail)


def check_apart(buffer: Buffer, row_id: str) -> None:
    """Find a row with two lists that make one table: their items would have the same ids.

    Raises:
        UnloadableError: there is one.
    """
    for table, rows in buffer.rows.items():
        if len({row.get(row_id) for row in rows}) < len(rows):
            detail = "two lists of it make one table, and their items the same rows there; rename "
            raise UnloadableError(table, None, f"{detail}one of them at the source")


def missing_key(tables: Mapping[str, Any], root: str, error: KeyError) -> UnloadableError:
    """What dlt means where it makes the id of a row of its key, and the row lacks a part of that.

    Raises:
        KeyError: the same, which means something else.
    """
    column = error.args[0]
    if not tables.get(root, {"columns": {}})["columns"].get(column, {}).get("primary_key"):
        raise error
    return UnloadableError(root, column, f"`{column}`, which may not be null, is missing")


def required_columns(schema: Schema, table: str) -> list[str]:
    """The columns of the data that may not be null, those without a type yet included."""
    known = schema.tables.get(table)
    prefix = schema._dlt_tables_prefix
    return [
        name
        for name, column in (known["columns"] if known else {}).items()
        if not column.get("nullable", True) and not is_dlt_table_or_column(name, prefix)
    ]


def refuse_unreadable(root: str, items: Iterable[Any]) -> None:
    """What was put into an envelope is no row, once nothing is quarantined any more."""
    for item in items:
        found = item[envelope.KEY] if envelope.is_one(item) else {}
        if detail := found.get("unreadable") or found.get("refused"):
            raise SourceDataError(
                f"{found.get('origin') or root}: {detail}", hint=NOT_QUARANTINED_HINT
            )


def refusal(tables: Mapping[str, Any], root: str, error: Exception) -> Rejection:
    """Why dlt refuses a row, without the value: it may be a secret."""
    path = partial(path_of, tables, root)
    if isinstance(error, KeyError):
        error = missing_key(tables, root, error)
    if isinstance(error, CannotCoerceColumnException):
        detail = f"a value that is {error.from_type} does not fit the column, {error.to_type}"
        return Rejection(
            "refused", detail, error.table_name, path(error.table_name, error.column_name)
        )
    if isinstance(error, UnloadableError):
        return Rejection("refused", error.detail, error.table, path(error.table, error.column))
    if isinstance(error, RefusedValueError):
        detail = f"`{error.column}`: {error.detail}"
        return Rejection("refused", detail, error.table, path(error.table, error.column))
    if isinstance(error, TooDeepError):
        detail = f"lists in lists so deep that their table's name would have {error.size} bytes"
        return Rejection("refused", detail, root, path(error.table, None))
    named = re.search(r"table `(.*?)` column `(.*?)`", str(error))
    if isinstance(error, CannotCoerceNullException) and named:
        table, column = named.groups()
        detail = f"null in `{column}`, which may not be null"
        return Rejection("refused", detail, table, path(table, column))
    if isinstance(error, OverflowError):
        return Rejection("refused", "a time before the year 1 or after 9999, in UTC", root)
    return Rejection("refused", f"dlt can't normalize it: {type(error).__name__}", root)
