"""Columns that somebody gave another type in the destination, which would change values in silence.

A load by COPY or `INSERT ... SELECT` rounds 12.25 to what a bigint column holds, cuts a time to the
day of a date column, and makes 2139 of the text `02139`. What a destination refuses aloud is left
to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from millstream.common.metadata_tables import is_own
from millstream.destinations.driver_errors import root_error
from millstream.errors import ConfigError

if TYPE_CHECKING:
    import dlt
    from dlt.destinations.job_client_impl import SqlJobClientBase

_TYPE = re.compile(
    r"(?P<name>[a-z_]+( [a-z]+)*?) ?(\((?P<size>\d+)(, ?(?P<scale>\d+))?\))?( with.*)?"
)
_INTEGERS = {"tinyint", "smallint", "integer", "bigint", "hugeint"}
_SINGLES = {"real", "float"}
_DOUBLES = {"double", "double precision"}
_DECIMALS = {"numeric", "decimal"}
_SECONDS = {"timestamp_s": 0, "timestamp_ms": 3}
_TIMES = {"timestamp", "time", *_SECONDS}
_CHANGES: Mapping[str, set[str]] = {
    "double": _INTEGERS | _SINGLES | _DECIMALS,
    "decimal": _INTEGERS | _SINGLES | _DOUBLES,
    "bigint": _SINGLES | _DOUBLES,
    "timestamp": {"date"},
    "time": set(),
    "text": {"character", "boolean", "date"} | _INTEGERS | _SINGLES | _DOUBLES | _DECIMALS | _TIMES,
}
"""By the type that a column was made with, those that take each value of it and change some."""
_TOO_LONG = ("22001", "22003")
"""PostgreSQL's states where a text or a number does not fit, of which it names no column."""
_NARROW = re.compile(r"smallint|integer|(character|varchar)\(\d+\)|numeric\(.+\)")


def refuse_altered(pipeline: dlt.Pipeline, schema: dlt.Schema, *, what: str) -> None:
    """Stop where a column of a table that is loaded into would change values in silence.

    Args:
        schema: what is loaded into.
        what: names the stream in errors.

    Raises:
        ConfigError: there is one; it is named, with the statement that gives it its type back.
    """
    from dlt.destinations.job_client_impl import SqlJobClientBase

    with pipeline.destination_client(schema.name) as client:
        dialect = client.capabilities.sqlglot_dialect
        # elsewhere a column gets wider types alone
        if not isinstance(client, SqlJobClientBase) or dialect not in ("duckdb", "postgres"):
            return
        tables = [
            str(table["name"])
            for table in schema.data_tables(seen_data_only=True)
            if not is_own(str(table["name"]))
        ]
        fold = client.capabilities.casefold_identifier
        types = _postgres_types if dialect == "postgres" else _duckdb_types
        for table, found in types(client, tables):
            for name, column in schema.get_table_columns(table).items():
                there = found.get(fold(name), found.get(name))
                if there is not None and _changes(column, there, client.capabilities):
                    raise _refusal(client, schema, table, column, there, what)


def too_narrow(pipeline: dlt.Pipeline, schema: dlt.Schema, error: BaseException) -> str | None:
    """The columns that somebody made narrower, where a value did not fit; None of other errors."""
    from dlt.destinations.job_client_impl import SqlJobClientBase

    said = getattr(root_error(error), "diag", None)
    if said is None or said.sqlstate not in _TOO_LONG:
        return None
    with pipeline.destination_client(schema.name) as client:
        if not isinstance(client, SqlJobClientBase):
            return None
        names = [str(table["name"]) for table in schema.data_tables(seen_data_only=True)]
        found = []
        for table, types in _postgres_types(client, names):
            for name, column in schema.get_table_columns(table).items():
                there = types.get(name, "").replace("character varying", "varchar")
                made: Any = schema.tables[table]
                kind = client.type_mapper.to_destination_type(column, made)
                if _NARROW.fullmatch(there) and there != kind:
                    found.append(f"{_statement(client, table, name, kind)} (it is {there})")
    return "; ".join(found) or None


def _postgres_types(
    client: SqlJobClientBase, tables: Sequence[str]
) -> Iterator[tuple[str, dict[str, str]]]:
    if not tables:
        return
    found: dict[str, dict[str, str]] = {}
    places = ", ".join(["(%s, to_regclass(%s))"] * len(tables))
    names = [each for table in tables for each in (table, _qualified(client, table))]
    rows = client.sql_client.execute_sql(
        "SELECT t.name, a.attname, format_type(a.atttypid, a.atttypmod) "  # noqa: S608 (marks alone)
        f"FROM (VALUES {places}) AS t(name, place) "
        "JOIN pg_attribute AS a ON a.attrelid = t.place AND a.attnum > 0 AND NOT a.attisdropped",
        *names,
    )
    for table, name, kind in rows or ():
        found.setdefault(table, {})[name] = kind
    yield from found.items()


def _duckdb_types(
    client: SqlJobClientBase, tables: Sequence[str]
) -> Iterator[tuple[str, dict[str, str]]]:
    from dlt.common.destination.exceptions import DestinationUndefinedEntity

    for table in tables:
        with suppress(DestinationUndefinedEntity):
            rows = client.sql_client.execute_sql(f"DESCRIBE {_qualified(client, table)}")
            yield table, {row[0]: row[1] for row in rows or ()}


def _qualified(client: SqlJobClientBase, table: str) -> str:
    return str(client.sql_client.make_qualified_table_name(table))


def _changes(column: Any, there: str, capabilities: Any) -> bool:
    """Whether a column of a type of the destination's would take values, and change them."""
    wanted, parsed = column.get("data_type"), _TYPE.fullmatch(there.lower())
    if parsed is None or wanted not in _CHANGES:
        return False
    name, size, scale = parsed["name"], parsed["size"], parsed["scale"]
    if name in _CHANGES[wanted]:
        return not (name in _DECIMALS and size is None)  # one without limits holds all numbers
    if name in _DECIMALS and wanted == "decimal" and size is not None:
        usual = capabilities.decimal_precision[1]
        needed = usual if column.get("precision") is None else column.get("scale") or 0
        return int(scale or 0) < needed
    if name in _TIMES and wanted in ("timestamp", "time"):
        digits = 6 if column.get("precision") is None else min(int(column["precision"]), 6)
        return _SECONDS.get(name, 6 if size is None else int(size)) < digits
    return False


def _refusal(
    client: SqlJobClientBase, schema: dlt.Schema, table: str, column: Any, there: str, what: str
) -> ConfigError:
    name = column["name"]
    made: Any = schema.tables[table]
    kind = client.type_mapper.to_destination_type(column, made)
    return ConfigError(
        f"{what}: the column `{name}` of table {table} is {there} in the destination, and "
        f"{kind} in the stream's schema: it would change values in silence",
        hint=f"give it its type back: {_statement(client, table, name, kind)}; or drop the column, "
        "which is made again. Values that were changed come again with --full-refresh. Nothing was "
        "loaded",
    )


def _statement(client: SqlJobClientBase, table: str, column: str, kind: str) -> str:
    """The SQL that gives a column a type."""
    escaped = client.sql_client.escape_column_name(column)
    return f"ALTER TABLE {_qualified(client, table)} ALTER COLUMN {escaped} TYPE {kind}"
