"""How many tables and columns a stream may have.

dlt takes time with the square of the tables, and a warehouse seconds for thousands of columns. So
many of them mostly mean that the keys of an object are data. Bounded in runs of Millstream alone:
`accelerate()` gives dlt's own result.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from millstream.errors import ConfigError, SchemaTooLargeError

MAX_TABLES = 500
MAX_COLUMNS = 6000
HELD = {
    "postgres": ("PostgreSQL", 1600),
    "redshift": ("Redshift", 1600),
    "tsql": ("SQL Server", 1024),
    "bigquery": ("BigQuery", 10_000),
}
"""What destinations are called, and the columns that their tables may have, by SQL dialect."""
SEPARATOR = "__"
_OWN = 4
"""Columns of dlt's own that a table has at most: its id, its parent's, its root's, its position."""
LONGEST_NAME = 220
"""In bytes: files are called by their table, dlt adds some 30 bytes, and most systems hold 255."""


class TooDeepError(ValueError):
    """A row has lists in lists, of which the tables could not be named."""

    def __init__(self, table: str, size: int) -> None:
        self.table = table
        self.size = size
        super().__init__(f"the name of a table would have {size} bytes")

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.table, self.size)


def check_table_names(new: Iterable[str], tables: Mapping[str, Any]) -> None:
    """Refuse a row that would need a table with too long a name.

    Args:
        tables: those that are there, whatever their names.

    Raises:
        TooDeepError: its list must be quarantined with its row.
    """
    for name in new:
        if len(name) * 4 > LONGEST_NAME and name not in tables:
            size = len(name.encode())
            if size > LONGEST_NAME:
                raise TooDeepError(name, size)


def check_schema_size(
    root: str,
    new: Mapping[str, Collection[str]],
    tables: Mapping[str, Mapping[str, Any]],
    dialect: str | None = None,
) -> None:
    """Refuse rows that would need too many tables or columns.

    Args:
        new: the columns that rows have, by table.
        tables: the schema's tables, as dlt has them.
        dialect: of SQL, of the destination.

    Raises:
        SchemaTooLargeError: names the object whose keys make most of them.
    """
    limit = _limit("MILLSTREAM_MAX_TABLES", MAX_TABLES)
    if len(new) + len(tables) > limit:
        names = {name for name in (*tables, *new) if name.startswith(f"{root}{SEPARATOR}")}
        if len(names) >= limit:
            what = f"more than {limit:,} tables"
            raise _too_large(root, root, names, what, "MILLSTREAM_MAX_TABLES")
    variable: str | None = "MILLSTREAM_MAX_COLUMNS"
    limit, whose = _limit("MILLSTREAM_MAX_COLUMNS", MAX_COLUMNS), ""
    if dialect in HELD and HELD[dialect][1] <= limit:
        whose, limit = HELD[dialect]
        variable, limit = None, limit - _OWN
    for table, columns in new.items():
        known = tables.get(table, {}).get("columns", {})
        if len(columns) + len(known) > limit:
            names = {*columns, *known}
            if whose:
                names = {name for name in names if not name.startswith("_dlt_")}
            if len(names) > limit:
                what = f"more than {limit:,} columns in table `{table}`"
                what += f", the most that {whose} holds beside dlt's own" if whose else ""
                below = {f"{table}{SEPARATOR}{name}" for name in names}
                raise _too_large(root, table, below, what, variable)


def _too_large(
    root: str, table: str, names: Iterable[str], what: str, variable: str | None
) -> SchemaTooLargeError:
    keys: dict[str, set[str]] = {}
    for name in names:
        parts = name.removeprefix(f"{table}{SEPARATOR}").split(SEPARATOR)
        for end in range(len(parts)):
            keys.setdefault(".".join(parts[:end]), set()).add(parts[end])
    path, found = max(keys.items(), key=lambda item: (len(item[1]), -len(item[0])))
    where = table.removeprefix(root).removeprefix(SEPARATOR).replace(SEPARATOR, ".")
    path = ".".join(filter(None, (where, path)))
    example = ", ".join(f"`{key}`" for key in sorted(found)[:2])
    place = f"the object `{path}` has" if path else "rows have"
    ways = [f"`maps: {{{root}: [{path}]}}` in defs.yaml makes a row of each key"] if path else []
    if variable:
        ways.append(f"set {variable} in the environment to allow more")
    elif not path:
        ways.append("leave fields out at the source, or nest them in lists")
    return SchemaTooLargeError(
        f"{root}: rows need {what}: {place} {len(found):,} keys or more ({example}, ...), which "
        "look like data",
        hint=f"{'; or '.join(ways)}. No data was lost: the next run reads these rows again",
    )


def _limit(variable: str, default: int) -> int:
    text = os.environ.get(variable, "").strip()
    if not text:
        return default
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(f"{variable}: {text!r} is not an integer >= 1")
    return int(text)
