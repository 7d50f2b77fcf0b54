"""Bring tables that have rows to what a change of configuration needs, and keep the rows.

dlt adds a column that may not be null as just that, which no table with rows accepts: the root id
of nested rows when a stream becomes a merge, or a key that the rows did not have. Here the column
is added without the constraint, and filled where its values follow from what is there. A
column that may be null from now on loses the constraint, which dlt would leave, and one that is
declared with another type gets it as `column_types` says.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any

from millstream.common.metadata_tables import is_own
from millstream.destinations import added_columns, column_types
from millstream.errors import ConfigError

if TYPE_CHECKING:
    import dlt
    from dlt.destinations.job_client_impl import SqlJobClientBase
    from dlt.sources import DltResource

_KEYED = frozenset(("upsert", "insert-only", "cdc"))
"""Merge strategies whose row ids are made of the key."""


def refuse_unmergeable(
    pipeline: dlt.Pipeline, schema: dlt.Schema, resource: DltResource, what: str
) -> None:
    """Stop where the rows that are there would lose their nested rows, or their history.

    Raises:
        ConfigError: saying why, and how to go on without losing rows.
    """
    try:
        coming = resource.compute_table_schema()
    except Exception:  # hints that are functions of a row
        return
    name = schema.naming.normalize_tables_path(str(coming["name"]))
    stored: Any = schema.tables.get(name)
    if stored is None or not _has_rows(stored):
        return
    after = schema.clone()
    after.update_table(coming)
    if coming.get("write_disposition") == "merge" and not coming.get("x-merge-strategy"):
        changed: Any = after.tables[name]
        changed.pop("x-merge-strategy", None)  # else dlt goes on with the one before
    old, new = (_strategy(pipeline, each, name) for each in (schema, after))
    if new is None:
        return
    if old == "scd2" != new:
        raise ConfigError(
            f"{what}: the table {name} keeps its rows' history (`scd2`), which `{new}` would "
            "delete row by row",
            hint="keep `scd2`, or load into another `destination.dataset`",
        )
    keys = [_keys(each.tables[name]) for each in (schema, after)]
    if new in _KEYED and _nested(schema, name) and (old not in _KEYED or keys[0] != keys[1]):
        raise ConfigError(
            f"{what}: `{new}` finds rows by ids made of the key, which the rows in {name} do not "
            "have: nested rows would lose their parents",
            hint="keep the key, and `delete-insert` as the strategy; or load into another "
            "`destination.dataset`; --full-refresh replaces all rows",
        )


def free_former_keys(schema: dlt.Schema, resource: DltResource) -> None:
    """Forget a key that another one takes the place of, or none; dlt goes on to require it."""
    try:
        coming: Any = resource.compute_table_schema()
    except Exception:  # hints that are functions of a row
        return
    stored: Any = schema.tables.get(schema.naming.normalize_tables_path(str(coming["name"])))
    if stored is None:
        return
    declared = {
        schema.naming.normalize_path(name): column  # `a__id` is a path: the `id` of `a`
        for name, column in coming["columns"].items()
    }
    for hint in ("primary_key", "merge_key"):
        is_declared = any(column.get(hint) for column in declared.values())
        if not is_declared and coming.get("write_disposition") == "merge":
            continue  # by the key that it has: without one, dlt would append
        for name, column in stored["columns"].items():
            if not column.get(hint):
                continue
            if not declared.get(name, {}).get(hint):
                del column[hint]
            if declared.get(name, {}).get("nullable", True):
                column["nullable"] = True


def add_root_ids(schema: dlt.Schema) -> bool:
    """Give nested tables that have rows the root id that a merge needs; False where none lacks it.

    dlt adds it to those that come in the load; a merge deletes from the others, too.
    """
    from dlt.common.normalizers.json.relational import DataItemNormalizer
    from dlt.common.schema.utils import new_table

    normalizer = schema.data_item_normalizer
    if not isinstance(normalizer, DataItemNormalizer):
        return False
    passed = (normalizer.propagation_config or {}).get("tables") or {}
    column: Any = {
        "name": normalizer.c_dlt_root_id,
        "data_type": "text",
        "nullable": False,
        "root_key": True,
    }
    lacking = [
        table
        for root, columns in passed.items()
        if column["name"] in columns.values()
        for table in _nested(schema, root)
        if not _is_complete(schema, table, column["name"])
    ]
    for name in lacking:
        known: Any = schema.tables[name]
        table = new_table(name, known["parent"], columns=[column.copy()])
        schema.update_table(table, normalize_identifiers=False)
    return bool(lacking)


def migrate(pipeline: dlt.Pipeline, stored: dlt.Schema, schema: dlt.Schema) -> list[str]:
    """Add the columns that may not be null to tables with rows, before a load needs them.

    It can be repeated: what an interrupted migration left undone is done.

    Args:
        stored: the schema of the last load.
        schema: that of the package.

    Returns:
        Warnings: what the rows that are there can't have.

    Raises:
        ConfigError: a column would get a type that does not hold all of its values.
    """
    from dlt.common.destination.client import WithStagingDataset
    from dlt.destinations.job_client_impl import SqlJobClientBase

    needed = dict(_needed(stored, schema))
    declared = [
        change
        for name, table in schema.tables.items()
        if (known := stored.tables.get(name)) and _has_rows(known)
        for change in column_types.declared_anew(known, table)
    ]
    nullable = dict(_nullable(stored, schema))
    if not needed and not declared and not nullable:
        return []
    assert pipeline.destination is not None
    with pipeline.destination_client(schema.name) as client:
        if not isinstance(client, SqlJobClientBase):
            if pipeline.destination.destination_name == "filesystem":
                column_types.refuse_in_lakes(schema, declared, client.capabilities)
            return []
        wider = column_types.to_widen(client, declared)
        with client.maybe_ddl_transaction():
            column_types.widen(client, schema, wider)
            _allow_null(client, nullable)
            added_columns.add(client, schema, needed)
            for statement in added_columns.fills(client, schema, needed):
                client.sql_client.execute_sql(statement)
        staging: Any = nullcontext()
        if isinstance(client, WithStagingDataset):
            staging = client.with_staging_dataset()
            with staging:  # it keeps the rows of the last merge
                column_types.widen(client, schema, wider)
                _allow_null(client, nullable)
                added_columns.add(client, schema, needed)
    return [
        f"rows loaded before have no `{column['name']}`, which is part of the key of {name} now: "
        "they are never replaced"
        for name, columns in needed.items()
        for column in columns
        if (column.get("primary_key") or column.get("merge_key"))
        and schema.tables[name].get("write_disposition") != "replace"
    ]


def _needed(stored: dlt.Schema, schema: dlt.Schema) -> Iterator[tuple[str, list[Any]]]:
    """The columns that tables with rows lack, and that may not be null or have to be filled."""
    for name, table in schema.tables.items():
        known = stored.tables.get(name)
        if known is None or not _has_rows(known):
            continue
        columns = [
            column
            for key, column in table["columns"].items()
            if column.get("data_type")
            and added_columns.may_not_be_null(column)
            and not _is_complete(stored, name, key)
        ]
        if columns:
            yield name, columns


def _nullable(stored: dlt.Schema, schema: dlt.Schema) -> Iterator[tuple[str, list[str]]]:
    """The columns of tables with rows that might not be null, and may be from now on."""
    for name, table in schema.tables.items():
        known = stored.tables.get(name)
        if known is None or not _has_rows(known):
            continue
        columns = [
            key
            for key, column in table["columns"].items()
            if column.get("nullable", True)
            and (before := known["columns"].get(key, {})).get("data_type")
            and not before.get("nullable", True)
        ]
        if columns:
            yield name, columns


def _allow_null(client: SqlJobClientBase, nullable: dict[str, list[str]]) -> None:
    fold, sql = client.capabilities.casefold_identifier, client.sql_client
    for name, storage in list(client.get_storage_tables(nullable)):
        for column in nullable[name]:
            found: Any = storage.get(fold(column)) or storage.get(column)
            if found is not None and not found.get("nullable", True):
                sql.execute_sql(
                    f"ALTER TABLE {sql.make_qualified_table_name(name)} "
                    f"ALTER COLUMN {sql.escape_column_name(column)} DROP NOT NULL"
                )


def _nested(schema: dlt.Schema, root: str) -> list[str]:
    """The tables with rows below a root."""
    return [
        name
        for name, table in schema.tables.items()
        if root in added_columns.tables_above(schema, name) and _has_rows(table)
    ]


def _has_rows(table: Any) -> bool:
    from dlt.common.schema.utils import has_table_seen_data

    return has_table_seen_data(table) and not is_own(str(table["name"]))


def _is_complete(schema: dlt.Schema, table: str, column: str) -> bool:
    return bool(schema.tables[table]["columns"].get(column, {}).get("data_type"))


def _keys(table: Any) -> frozenset[str]:
    return frozenset(name for name, column in table["columns"].items() if column.get("primary_key"))


def _strategy(pipeline: dlt.Pipeline, schema: dlt.Schema, table: str) -> str | None:
    from dlt.common.destination.utils import resolve_merge_strategy

    assert pipeline.destination is not None
    with suppress(Exception):  # one that the destination has not: dlt says so
        return resolve_merge_strategy(
            schema.tables, schema.tables[table], pipeline.destination.capabilities()
        )
    return None
