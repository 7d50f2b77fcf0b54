"""A full refresh takes out the rows of earlier loads once its own load is complete, not before.

dlt's own way empties the tables first, so that a load which fails leaves nothing. Here tables that
append or replace are replaced through the staging dataset, in the transaction that brings the new
rows. Tables that merge are merged, files are added; then what earlier loads left is deleted. A
merge that would keep rows of earlier loads as they are is made to update them: `insert-only`
upserts, and unchanged rows are not skipped. With `scd2` the versions that are out of date are
deleted; a row that is as it was keeps the start of its validity.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from millstream.common.sql_client import kind_of, sql_client
from millstream.destinations import removed_tables, settled_settings, table_formats
from millstream.destinations.partition_rows import nested_tables

if TYPE_CHECKING:
    import dlt
    from dlt.sources import DltResource

STAGING = "insert-from-staging"


def is_swept(pipeline: dlt.Pipeline, resources: Sequence[DltResource]) -> bool:
    """Whether the rows of earlier loads can be taken out after the load."""
    return all(_is_swept(pipeline, each) for each in resources)


def _is_swept(pipeline: dlt.Pipeline, resource: DltResource) -> bool:
    assert pipeline.destination is not None
    if table_formats.is_open(pipeline, resource):
        return True
    if pipeline.destination.destination_name == "filesystem":
        disposition: Any = resource.write_disposition
        with pipeline.destination_client() as client:
            layout = getattr(client.config, "layout", None) or ""
        strategy = disposition.get("strategy") if isinstance(disposition, dict) else None
        return strategy is None and ("{load_id}" in layout)
    return _has_staging(pipeline)


def prepare(
    pipeline: dlt.Pipeline,
    schema_name: str,
    resources: Sequence[DltResource],
    *,
    has_unique_keys: bool,
) -> None:
    """Let resources be read from their beginning, and their rows replace those that are there.

    Args:
        has_unique_keys: whether no two rows of a load have one key, however they are written.
    """
    assert pipeline.destination is not None
    for resource in resources:
        disposition = resource.write_disposition
        is_open = table_formats.is_open(pipeline, resource)
        is_files = pipeline.destination.destination_name == "filesystem" and not is_open
        if is_open and disposition == "replace":
            if has_unique_keys and _has_key(resource):
                # merges find rows by ids made of the key, and rows that replace others have none
                resource.apply_hints(write_disposition="merge")
        elif is_files and disposition == "replace":
            resource.apply_hints(write_disposition="append")
        elif not is_files and disposition == "append":
            resource.apply_hints(write_disposition="replace")
        elif isinstance(disposition, dict):
            resource.apply_hints(write_disposition=_updating(disposition))
            if not callable(resource.table_name) and pipeline.schemas.has_schema(schema_name):
                schema = pipeline.schemas[schema_name]
                table: Any = schema.tables.get(
                    schema.naming.normalize_tables_path(resource.table_name)
                )
                # dlt never takes back what a resource said of its table before
                (table or {}).pop("x-merge-skip-unchanged-rows", None)
    with pipeline.managed_state() as state:
        sources: Any = state.get("sources", {})
        # not these resources' alone: one may read what another gives, from that one's cursor on
        sources.get(schema_name, {}).pop("resources", None)


def _has_key(resource: DltResource) -> bool:
    columns = resource.compute_table_schema()["columns"].values()
    return any(column.get("primary_key") for column in columns)


def _updating(disposition: Any) -> Any:
    """The disposition with which rows that are there get the values, and the id, of the load."""
    updating = {key: each for key, each in disposition.items() if key != "skip_unchanged_rows"}
    if updating.get("strategy") == "insert-only":  # both make ids of the key
        updating["strategy"] = "upsert"
    return updating


def forget_dropped(pipeline: dlt.Pipeline, schema: dlt.Schema) -> None:
    """Forget what tables were that somebody dropped with all that are below them.

    The rows of a full refresh make them anew, with the types that their values have by now: there
    is nothing that these would have to go with.
    """
    _drop_whole(schema, removed_tables.missing_tables(pipeline, schema))


def remake_dropped(pipeline: dlt.Pipeline, stored: dlt.Schema, schema: dlt.Schema) -> dlt.Schema:
    """Make the tables of a full refresh that somebody dropped; dlt takes them to be there.

    Args:
        stored: the schema in the destination.
        schema: what is to be loaded.

    Returns:
        The stored schema without them.
    """
    gone = removed_tables.missing_tables(pipeline, stored)
    if not gone:
        return stored
    _drop_staging_tables(pipeline, schema.name, gone)
    removed_tables.remake(pipeline, schema)
    left = stored.clone()
    _drop_whole(left, gone)
    return left


def _drop_whole(schema: dlt.Schema, names: Collection[str]) -> None:
    """Take tables out of a schema, but for those below which another one stays."""
    from dlt.common.schema.utils import get_nested_tables

    tables: Any = schema.tables
    whole = [
        name
        for name in names
        if {table["name"] for table in get_nested_tables(tables, name)} <= {*names}
    ]
    if whole:
        schema.drop_tables(whole)


def replace_through_staging(pipeline: dlt.Pipeline, stored: dlt.Schema) -> None:
    """Let tables that have rows be replaced in one transaction."""
    assert pipeline.destination is not None
    if not _has_staging(pipeline) or not list(stored.data_tables(seen_data_only=True)):
        return
    with pipeline.destination_client() as client:
        if getattr(client.config, "enable_atomic_replace", False):  # BigQuery's own way
            return
    # of this destination alone: files can't be replaced so
    place = f"{pipeline.pipeline_name}.destination.{kind_of(pipeline.destination)}"
    settled_settings.change(pipeline.destination, f"{place}.replace_strategy", STAGING)


def drop_staging_tables(pipeline: dlt.Pipeline, schema: dlt.Schema) -> None:
    """Drop what the staging dataset has of a stream whose schema the destination does not know.

    Where somebody dropped a stream's tables by hand, those in the staging dataset stay, with the
    types that columns had: dlt would load rows of other types into them.
    """
    _drop_staging_tables(pipeline, schema.name, [str(t["name"]) for t in schema.data_tables()])


def _drop_staging_tables(pipeline: dlt.Pipeline, schema_name: str, tables: Sequence[str]) -> None:
    from dlt.common.destination.exceptions import DestinationUndefinedEntity

    if not _has_staging(pipeline):
        return
    with pipeline.destination_client(schema_name) as found:
        client: Any = found
        with client.with_staging_dataset(), suppress(DestinationUndefinedEntity):
            if client.is_storage_initialized():
                client.drop_tables(*tables, delete_schema=True)


def _has_staging(pipeline: dlt.Pipeline) -> bool:
    assert pipeline.destination is not None
    if pipeline.destination.destination_name == "filesystem":
        return False
    return STAGING in (pipeline.destination.capabilities().supported_replace_strategies or ())


def sweep(
    pipeline: dlt.Pipeline,
    schema: dlt.Schema,
    resources: Collection[str],
    load_ids: Sequence[str],
    loaded: Collection[str],
) -> None:
    """Delete what loads before these left in the tables of some resources; it can be repeated.

    Args:
        loaded: the tables of which these loads have rows.
    """
    roots = [
        name
        for name, table in schema.tables.items()
        if not table.get("parent") and table.get("resource") in resources
    ]
    assert pipeline.destination is not None
    if pipeline.destination.destination_name == "filesystem":
        _sweep_files(
            pipeline,
            schema,
            [root for root in roots if not table_formats.format_of(schema, root)],
            load_ids,
        )
        for root in filter(partial(table_formats.format_of, schema), roots):
            from millstream.destinations.open_tables import removal

            removal.sweep(pipeline, schema, root, load_ids)
    elif sql_client(pipeline, schema.name) is not None:
        for root in roots:
            if schema.tables[root].get("x-merge-strategy") == "scd2":
                _sweep_versions(pipeline, schema, root, is_loaded=root in loaded)
            else:
                _sweep_rows(pipeline, schema, root, load_ids)


def _sweep_rows(
    pipeline: dlt.Pipeline, schema: dlt.Schema, root: str, load_ids: Sequence[str]
) -> None:
    from dlt.common.destination.exceptions import DestinationUndefinedEntity

    name = schema.naming.normalize_identifier
    if not schema.tables[root]["columns"].get(name("_dlt_load_id"), {}).get("data_type"):
        return
    with pipeline.sql_client(schema.name) as client, suppress(DestinationUndefinedEntity):
        column, table = client.escape_column_name, client.make_qualified_table_name
        marks = ", ".join(["%s"] * len(load_ids))
        load = column(name("_dlt_load_id"))
        # rows of Arrow tables may have none
        earlier = f"({load} NOT IN ({marks}) OR {load} IS NULL)"
        with _transaction(client):
            for child in nested_tables(schema, root):
                if name("_dlt_root_id") not in schema.tables[child]["columns"]:
                    continue  # replaced as a whole
                row, of_row = column(name("_dlt_id")), column(name("_dlt_root_id"))
                is_own = f"p.{row} = {table(child)}.{of_row} AND p.{load} IN ({marks})"
                client.execute_sql(  # those whose row is gone, too
                    f"DELETE FROM {table(child)} WHERE NOT EXISTS "  # noqa: S608 (escaped by dlt)
                    f"(SELECT 1 FROM {table(root)} AS p WHERE {is_own})",
                    *load_ids,
                )
            client.execute_sql(
                f"DELETE FROM {table(root)} WHERE {earlier}",  # noqa: S608 (escaped by dlt)
                *load_ids,
            )


def _transaction(client: Any) -> AbstractContextManager[Any]:
    """One, where dlt uses them in this destination; what is deleted can be deleted again."""
    return (
        client.begin_transaction() if client.capabilities.supports_transactions else nullcontext()
    )


def _sweep_versions(
    pipeline: dlt.Pipeline, schema: dlt.Schema, root: str, *, is_loaded: bool
) -> None:
    """Delete versions that are not those of the last load; rows that are unchanged keep their load.

    A row that went and came back shares its child rows with its outdated version, so that those
    are deleted which have no parent any more.
    """
    from dlt.common.destination.exceptions import DestinationUndefinedEntity

    table: Any = schema.tables[root]
    columns: Any = table["columns"]
    hint = {name: key for key, column in columns.items() for name in column if column[name]}
    until, version = hint["x-valid-to"], hint["x-row-version"]
    is_part = "x-merge-destination-scope" in table or "merge_key" in hint
    name = schema.naming.normalize_identifier
    with pipeline.sql_client(schema.name) as client, suppress(DestinationUndefinedEntity):
        column, full_name = client.escape_column_name, client.make_qualified_table_name
        values: list[Any] = []
        if not is_loaded:
            outdated = "1 = 1"
        elif (active := columns[until].get("x-active-record-timestamp")) is None:
            outdated = f"{column(until)} IS NOT NULL"
        else:
            outdated = f"{column(until)} <> %s"
            values.append(active)
        if is_loaded and is_part:  # dlt looks only at what the load covers
            with client.with_staging_dataset():
                staged = full_name(root)
            found = client.execute_sql(f"SELECT COUNT(*) FROM {staged}")  # noqa: S608
            if found and found[0][0]:
                outdated += f" OR {column(version)} NOT IN (SELECT {column(version)} FROM {staged})"  # noqa: S608
        with _transaction(client):
            client.execute_sql(f"DELETE FROM {full_name(root)} WHERE {outdated}", *values)  # noqa: S608
            for child in nested_tables(schema, root):
                parent = full_name(str(schema.tables[child]["parent"]))
                key, parent_key = column(name("_dlt_id")), column(name("_dlt_parent_id"))
                is_own = f"p.{key} = {full_name(child)}.{parent_key}"
                client.execute_sql(
                    f"DELETE FROM {full_name(child)} "  # noqa: S608 (escaped by dlt)
                    f"WHERE NOT EXISTS (SELECT 1 FROM {parent} AS p WHERE {is_own})"
                )


def _sweep_files(
    pipeline: dlt.Pipeline, schema: dlt.Schema, roots: Sequence[str], load_ids: Sequence[str]
) -> None:
    from dlt.common.destination.exceptions import DestinationUndefinedEntity

    with pipeline.destination_client(schema.name) as client:
        files: Any = client
        for name in [*roots, *(child for root in roots for child in nested_tables(schema, root))]:
            with suppress(DestinationUndefinedEntity, FileNotFoundError):
                for path in files.list_table_files(name):
                    if not any(load_id in path.rsplit("/", 1)[-1] for load_id in load_ids):
                        files.fs_client.rm_file(path)
