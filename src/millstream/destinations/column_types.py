"""Columns that are declared with another type than they have in the destination.

dlt never changes the type of a column that is there, whatever the schema says: values of the new
type would be rounded, or refused. Here the column gets the type, where that changes no value.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from millstream.destinations.table_formats import format_of
from millstream.errors import ConfigError
from millstream.model import Column
from millstream.schema_changes.messages import type_words
from millstream.sources import typed_columns

if TYPE_CHECKING:
    import dlt
    from dlt.destinations.job_client_impl import SqlJobClientBase
    from dlt.sources import DltResource

_ALTERED = ("duckdb", "postgres")
"""Dialects in which `ALTER COLUMN ... TYPE` converts what the column holds."""

_BIGINT_DIGITS = 19
_TYPE = ("data_type", "precision", "scale", "timezone")

Declared = tuple[str, Any, Any]
"""A table, and a column of it: as it was declared at the last load, and now."""


def keep(schema: dlt.Schema, resource: DltResource, capabilities: Any, *, may_widen: bool) -> None:
    """Declare the types that the columns of a table have, unless those of a resource hold more.

    For sources that know their columns: one that has another type today is nobody's decision, so
    that values which its column does not give back are variants, as those of rows are.

    Args:
        may_widen: whether a column may get a type that holds more.
    """
    coming: Any = resource.compute_table_schema()
    stored: Any = schema.tables.get(schema.naming.normalize_tables_path(coming["name"]), {})
    declared = []
    for name, new in coming["columns"].items():
        old = stored.get("columns", {}).get(schema.naming.normalize_path(name), {})
        if old.get("data_type") and new.get("data_type"):
            was, now = (_sized(each, capabilities) for each in (old, new))
            is_altered = may_widen and capabilities.sqlglot_dialect in _ALTERED
            if is_altered and was != now and _holds(now, was):
                for key in set(_TYPE).difference(new):
                    old.pop(key, None)  # dlt would go on with the digits of a number for a text
            else:  # nor does a column get a time zone, or digits that it has anyway
                rest = {key: value for key, value in new.items() if key not in _TYPE}
                new = {**rest, **{key: old[key] for key in _TYPE if key in old}}
        declared.append(new)
    resource.apply_hints(columns={})  # it merges: what a type lacks would stay of the other one
    resource.apply_hints(columns=declared)


def forget_sizes(schema: dlt.Schema, resource: DltResource) -> None:
    """Take the digits of its former type from each column that is declared with another."""
    try:
        coming: Any = resource.compute_table_schema()
    except Exception:  # hints that are functions of a row
        return
    stored: Any = schema.tables.get(schema.naming.normalize_tables_path(coming["name"]), {})
    name_of = schema.naming.normalize_path
    hints = [{**each, "name": name_of(name)} for name, each in coming["columns"].items()]
    typed_columns.forget_sizes(stored.get("columns", {}), hints)


def declared_anew(stored: Any, table: Any) -> Iterator[Declared]:
    """The columns whose type another one follows.

    Args:
        stored, table: a table as dlt's schema has it, at the last load and now.
    """
    for key, new in table["columns"].items():
        old = stored["columns"].get(key, {})
        if old.get("data_type") and any(
            old.get(each) != new.get(each) for each in ("data_type", "precision", "scale")
        ):
            yield table["name"], old, new


def to_widen(client: SqlJobClientBase, declared: Sequence[Declared]) -> list[tuple[str, Any]]:
    """Those whose column in the destination does not hold all values of the new type.

    Raises:
        ConfigError: such a column can't get the type without a change of its values.
    """
    fold, dialect = client.capabilities.casefold_identifier, client.capabilities.sqlglot_dialect
    storage = dict(client.get_storage_tables({name for name, _, _ in declared}))
    wider = []
    for name, before, new in declared:
        found: Any = storage[name].get(fold(new["name"])) or storage[name].get(new["name"])
        if found is None or found["data_type"] == new["data_type"] in ("timestamp", "time"):
            continue
        if found["data_type"] == before["data_type"] == "text":
            found = before  # dlt does not ask a database how long its texts may be
        was, now = (_sized(each, client.capabilities) for each in (found, new))
        if _holds(was, now):
            continue
        if dialect not in _ALTERED:
            raise _refused(name, was, now, f"{dialect} can't make {type_words(now)} of it")
        if not _holds(now, was):
            why = f"its rows would not all keep their values as {type_words(now)}"
            raise _refused(name, was, now, why)
        wider.append((name, new))
    return wider


def refuse_in_lakes(schema: dlt.Schema, declared: Sequence[Declared], capabilities: Any) -> None:
    """Stop where a column of a Delta or an Iceberg table would get another type.

    Delta would round values to the type that the column has.

    Raises:
        ConfigError: there is one.
    """
    for name, before, new in declared:
        was, now = (_sized(each, capabilities) for each in (before, new))
        is_same_kind = was.data_type == now.data_type
        is_length = is_same_kind and was.data_type in ("text", "binary")
        if format_of(schema, name) and not (is_length or (is_same_kind and _holds(was, now))):
            raise _refused(name, was, now, "a column of a Delta or Iceberg table keeps its type")


def widen(client: SqlJobClientBase, schema: dlt.Schema, wider: Sequence[tuple[str, Any]]) -> None:
    """Change the types of columns; a table that is not there is dlt's to make."""
    stored = dict(client.get_storage_tables({name for name, _ in wider}))
    for name, column in wider:
        if not stored[name]:
            continue
        table: Any = schema.tables[name]
        if column["data_type"] == "text":  # of any length: which lengths there are is not known
            column = {"name": column["name"], "data_type": "text"}
        kind = client.type_mapper.to_destination_type(column, table)
        client.sql_client.execute_sql(
            f"ALTER TABLE {client.sql_client.make_qualified_table_name(name)} "
            f"ALTER COLUMN {client.sql_client.escape_column_name(column['name'])} TYPE {kind}"
        )


def _refused(table: str, was: Column, now: Column, why: str) -> ConfigError:
    return ConfigError(
        f"the column `{now.name}` of table {table} is {type_words(was)}, and was to become "
        f"{type_words(now)}: {why}",
        hint="keep the type, give the field another name, or load into another "
        "`destination.dataset`; nothing was loaded",
    )


def _sized(column: Any, capabilities: Any) -> Column:
    """The type with the sizes that count; None where there is no bound, or the usual one."""
    kind, precision, scale = (column.get(each) for each in ("data_type", "precision", "scale"))
    if kind == "decimal":
        usual = capabilities.decimal_precision
        precision = usual[0] if precision is None else precision
        scale = usual[1] if scale is None else scale
    elif kind == "bigint":
        precision, scale = None if precision == 64 else precision, None
    else:
        precision, scale = precision if kind in ("text", "binary") else None, None
    return Column(column["name"], kind, precision=precision, scale=scale)


def _holds(column: Column, other: Column) -> bool:
    """Whether a column of one type gives back each value of another."""
    kind, coming = column.data_type, other.data_type
    if kind == "text" and coming not in ("text", "binary"):
        return column.precision is None
    if kind == "decimal" and coming in ("bigint", "decimal"):
        (whole, scale), (digits, places) = _digits(column), _digits(other)
        return digits <= whole and places <= scale
    if kind != coming:
        return False
    size, needed = column.precision, other.precision
    return size is None or (needed is not None and needed <= size)


def _digits(column: Column) -> tuple[int, int]:
    """How many digits a number has before its point and behind it, at most."""
    if column.data_type == "bigint":
        return _BIGINT_DIGITS, 0
    scale = column.scale or 0
    return (column.precision or 0) - scale, scale
