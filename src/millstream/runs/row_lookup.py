"""The rows of a table by their primary key: the key of a row, and the load that each came with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from millstream.engine.coercion_rules import ColumnLimits, coerce

if TYPE_CHECKING:
    import dlt
    from dlt.destinations.sql_client import SqlClientBase

_TOGETHER = 50
"""Keys that one query looks up."""


def key_of(
    schema: dlt.Schema, table: str, key: Sequence[str], columns: Mapping[str, Any], text: str
) -> tuple[Any, ...] | str:
    """The values of the primary key, as the destination holds them; a text: why it has none."""
    from dlt.common.data_types import py_type_to_sc_type
    from dlt.common.json import custom_pua_decode
    from dlt.common.json import json as typed

    from millstream.formats import typed_json

    row = typed.loads(text)
    if not isinstance(row, dict):
        return "it is not an object"
    _, flat = next(iter(schema.normalize_data_item(row, "", table)))
    values = []
    for name in key:
        value: Any = flat.get(name)
        if value is None:
            return f"its key `{name}` is {'null' if name in flat else 'missing'}"
        if isinstance(value, str):
            value = typed_json.decode(custom_pua_decode(value))
        wanted = columns[name].get("data_type")
        if wanted:
            try:
                given = py_type_to_sc_type(type(value))
                value = coerce(wanted, given, value, ColumnLimits(texts="either"))
            except (ValueError, TypeError):
                return f"its key `{name}` is not of type {wanted}"
        values.append(value)
    return tuple(values)


def newest_loads(
    pipeline: dlt.Pipeline,
    schema: dlt.Schema,
    table: str,
    key: Sequence[str],
    wanted: Sequence[tuple[Any, ...]],
) -> dict[tuple[Any, ...], str]:
    """The load that the table's row of each key came with; empty where the row has no load id.

    Raises:
        LookupError: there is no such table.
    """
    from dlt.common.destination.exceptions import DestinationUndefinedEntity

    found: dict[tuple[Any, ...], str] = {}
    with pipeline.sql_client(schema.name) as client:
        for start in range(0, len(wanted), _TOGETHER):
            part = wanted[start : start + _TOGETHER]
            query = " UNION ALL ".join(
                _lookup(client, schema, table, key, at) for at in range(len(part))
            )
            values = [value for each in part for value in each]
            try:
                rows = client.execute_sql(query, *values) or ()
            except DestinationUndefinedEntity:
                raise LookupError(table) from None
            found |= {part[int(at)]: str(load_id) for at, load_id in rows if load_id is not None}
    return found


def _lookup(
    client: SqlClientBase[Any], schema: dlt.Schema, table: str, key: Sequence[str], at: int
) -> str:
    name = schema.naming.normalize_identifier("_dlt_load_id")
    # of Arrow tables alone it is not a column; rows of theirs may be beside others
    has_it = name in schema.tables[table]["columns"]
    newest = f"COALESCE(MAX({client.escape_column_name(name)}), '')" if has_it else "''"
    where = " AND ".join(f"{client.escape_column_name(name)} = %s" for name in key)
    return (
        f"SELECT {at} AS position, "  # noqa: S608 (escaped by dlt)
        f"CASE WHEN COUNT(*) > 0 THEN {newest} END AS load_id "
        f"FROM {client.make_qualified_table_name(table)} WHERE {where}"
    )
