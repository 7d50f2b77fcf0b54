"""Loads that arrived while a partition was read: may their rows be newer than those about to load?

Partitions of one stream are read side by side and loaded one after the other. Where a row with a
primary key moves from one partition to another, or a run of the whole stream reads it, two runs
hold the same key, and the one that loads last would win, although the other one may have read
later. Clocks of machines differ, so that load ids can't say who read last: the partition is read
again where the keys may meet at all.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from millstream.common.metadata_tables import is_own
from millstream.common.sql_client import sql_client
from millstream.model import PARTITION_COLUMN, ColumnProfile, Partition

if TYPE_CHECKING:
    import dlt

Profile = Mapping[str, Mapping[str, ColumnProfile]]


def load_ids(pipeline: dlt.Pipeline, schema_name: str) -> frozenset[str]:
    """The ids of all complete loads of a schema; none where the destination can't tell."""
    from dlt.common.destination.exceptions import DestinationUndefinedEntity

    opened = sql_client(pipeline)
    if opened is None:
        return frozenset()
    with opened as client:
        load_id, schema = map(client.escape_column_name, ("load_id", "schema_name"))
        table = client.make_qualified_table_name("_dlt_loads")
        try:
            rows = client.execute_sql(
                f"SELECT {load_id} FROM {table} WHERE {schema} = %s",  # noqa: S608 (escaped)
                schema_name,
            )
        except DestinationUndefinedEntity:
            return frozenset()
    return frozenset(str(row[0]) for row in rows or ())


def may_overwrite(
    pipeline: dlt.Pipeline,
    schema: dlt.Schema,
    arrived: Collection[str],
    partition: Partition,
    profile: Profile,
) -> bool:
    """Whether a partition's rows may share a key with rows of loads that arrived meanwhile.

    Args:
        arrived: load ids.
        profile: of the partition's rows; where it lacks a key column's range, any key may be meant.
    """
    if not arrived:
        return False
    for table in schema.data_tables(seen_data_only=True):
        name = str(table["name"])
        keys = [column for column, hints in table["columns"].items() if hints.get("primary_key")]
        if table.get("parent") or is_own(name) or not keys:
            continue
        if _shares_keys(pipeline, schema, name, keys, arrived, partition, profile.get(name, {})):
            return True
    return False


def _shares_keys(
    pipeline: dlt.Pipeline,
    schema: dlt.Schema,
    table: str,
    keys: Collection[str],
    arrived: Collection[str],
    partition: Partition,
    profile: Mapping[str, ColumnProfile],
) -> bool:
    from dlt.common.destination.exceptions import DestinationUndefinedEntity

    normalize = schema.naming.normalize_identifier
    marks = ", ".join(["%s"] * len(arrived))
    with pipeline.sql_client(schema.name) as client:
        column = client.escape_column_name
        conditions = [f"{column(normalize('_dlt_load_id'))} IN ({marks})"]
        values: list[Any] = [*arrived]
        if partition.by is not None and normalize(partition.by) in keys:
            # the key says which partition a row belongs to: other partitions never have it
            conditions.append(f"{column(normalize(PARTITION_COLUMN))} IS NULL")
        for key in keys:
            found = profile.get(key)
            # texts have no range, and dates are ISO 8601 here, not the column's type
            if found is not None and isinstance(found.minimum, int | float):
                conditions.append(f"{column(key)} BETWEEN %s AND %s")
                values += (found.minimum, found.maximum)
        where = " AND ".join(conditions)
        name = client.make_qualified_table_name(table)
        try:
            rows = client.execute_sql(
                f"SELECT 1 FROM {name} WHERE {where} LIMIT 1",  # noqa: S608 (escaped)
                *values,
            )
        except DestinationUndefinedEntity:
            return False
    return bool(rows)
