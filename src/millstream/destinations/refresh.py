"""A full refresh takes out the rows of earlier loads once its own load is complete, not before.

dlt's own way empties the tables first, so that a load which fails leaves nothing. Here tables that
append or replace are replaced through the staging dataset, in the transaction that brings the new
rows. Tables that merge are merged, files are added; then what earlier loads left is deleted.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from millstream.destinations.parts import nested_tables
from millstream.queryable import sql_client

if TYPE_CHECKING:
    import dlt
    from dlt.sources import DltResource

STAGING = "insert-from-staging"
_TRIED = ("duckdb", "postgres")
"""Databases in which this was tried; elsewhere dlt empties the tables first."""


def is_swept(pipeline: dlt.Pipeline, resources: Sequence[DltResource]) -> bool:
    """Whether the rows of earlier loads can be taken out after the load."""
    return all(_is_swept(pipeline, each.write_disposition) for each in resources)


def _is_swept(pipeline: dlt.Pipeline, disposition: Any) -> bool:
    assert pipeline.destination is not None
    strategy = None
    if isinstance(disposition, dict):
        if disposition.get("skip_unchanged_rows"):
            return False
        strategy = disposition.get("strategy")
        disposition = disposition["disposition"]
    if pipeline.destination.destination_name == "filesystem":
        with pipeline.destination_client() as client:
            layout = getattr(client.config, "layout", None) or ""
        return strategy is None and ("{load_id}" in layout)
    # other strategies keep rows of earlier loads as they are
    merges = disposition != "merge" or strategy in (None, "delete-insert", "upsert")
    return merges and _has_staging(pipeline)


def prepare(pipeline: dlt.Pipeline, schema_name: str, resources: Sequence[DltResource]) -> None:
    """Let resources be read from their beginning, and their rows replace those that are there."""
    assert pipeline.destination is not None
    is_files = pipeline.destination.destination_name == "filesystem"
    for resource in resources:
        disposition = resource.write_disposition
        if is_files and disposition == "replace":
            resource.apply_hints(write_disposition="append")
        elif not is_files and disposition == "append":
            resource.apply_hints(write_disposition="replace")
    with pipeline.managed_state() as state:
        sources: Any = state.get("sources", {})
        known = sources.get(schema_name, {}).get("resources", {})
        for resource in resources:
            known.pop(resource.name, None)


def replace_through_staging(pipeline: dlt.Pipeline, stored: dlt.Schema) -> None:
    """Let tables that have rows be replaced in one transaction."""
    import dlt

    assert pipeline.destination is not None
    if _has_staging(pipeline) and list(stored.data_tables(seen_data_only=True)):
        kind = pipeline.destination.destination_type.rsplit(".", 1)[-1]
        # of this destination alone: files can't be replaced so
        dlt.config[f"{pipeline.pipeline_name}.destination.{kind}.replace_strategy"] = STAGING


def _has_staging(pipeline: dlt.Pipeline) -> bool:
    assert pipeline.destination is not None
    return pipeline.destination.destination_type.rsplit(".", 1)[-1] in _TRIED


def sweep(
    pipeline: dlt.Pipeline,
    schema: dlt.Schema,
    resources: Collection[str],
    load_ids: Sequence[str],
) -> None:
    """Delete what loads before these left in the tables of some resources; it can be repeated."""
    roots = [
        name
        for name, table in schema.tables.items()
        if not table.get("parent") and table.get("resource") in resources
    ]
    assert pipeline.destination is not None
    if pipeline.destination.destination_name == "filesystem":
        _sweep_files(pipeline, schema, roots, load_ids)
    elif sql_client(pipeline, schema.name) is not None:
        for root in roots:
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
        earlier = f"{column(name('_dlt_load_id'))} NOT IN ({marks})"
        with client.begin_transaction():
            for child in nested_tables(schema, root):
                if name("_dlt_root_id") not in schema.tables[child]["columns"]:
                    continue  # replaced as a whole
                client.execute_sql(
                    f"DELETE FROM {table(child)} "  # noqa: S608 (escaped by dlt)
                    f"WHERE {column(name('_dlt_root_id'))} IN "
                    f"(SELECT {column(name('_dlt_id'))} FROM {table(root)} WHERE {earlier})",
                    *load_ids,
                )
            client.execute_sql(
                f"DELETE FROM {table(root)} WHERE {earlier}",  # noqa: S608 (escaped by dlt)
                *load_ids,
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
