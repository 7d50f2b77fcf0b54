"""Take cursors and schema from the destination."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from millstream.common.sql_client import sql_client
from millstream.destinations.write_lock import Loads

if TYPE_CHECKING:
    import dlt


def restore(pipeline: dlt.Pipeline, schema_name: str, loaded: Loads | None) -> None:
    """Make the pipeline go on where the last load ended.

    dlt takes the schema that was stored last by the clock. Where clocks disagree that may be an
    older one, without columns that are there by now; the newest load knows its own.
    """
    import dlt
    from dlt.common.destination.client import WithStateSync

    pipeline.sync_destination()
    if loaded is None or loaded.schema_hash is None or schema_name not in pipeline.schema_names:
        return
    schema = pipeline.schemas[schema_name]
    if schema.stored_version_hash == loaded.schema_hash:
        return
    with pipeline.destination_client(schema_name) as client:
        if not isinstance(client, WithStateSync):
            return
        stored = client.get_stored_schema_by_hash(loaded.schema_hash)
    # a schema above the load's is that of a load which made its tables and did not complete
    if stored is not None and stored.version > schema.version:
        pipeline.schemas.save_schema(dlt.Schema.from_dict(json.loads(stored.schema)))


def loaded_schema(pipeline: dlt.Pipeline, schema_name: str) -> dlt.Schema | None:
    """The schema that the complete loads have left; None where there is none, or none can tell.

    A load that died has stored its schema, and made its tables: what it added has not been loaded.
    """
    import dlt
    from dlt.common.destination.client import WithStateSync
    from dlt.common.destination.exceptions import DestinationUndefinedEntity

    opened = sql_client(pipeline)
    if opened is None:
        return None
    with opened as sql:
        column, table = sql.escape_column_name, sql.make_qualified_table_name
        try:
            rows = sql.execute_sql(
                f"SELECT {column('version_hash')} FROM {table('_dlt_version')} "  # noqa: S608
                f"WHERE {column('schema_name')} = %s AND {column('version_hash')} IN "
                f"(SELECT {column('schema_version_hash')} FROM {table('_dlt_loads')} "
                f"WHERE {column('schema_name')} = %s) ORDER BY {column('version')} DESC LIMIT 1",
                schema_name,
                schema_name,
            )
        except DestinationUndefinedEntity:
            return None
    if not rows:
        return None
    with pipeline.destination_client() as client:
        if not isinstance(client, WithStateSync):
            return None
        stored = client.get_stored_schema_by_hash(str(rows[0][0]))
    return dlt.Schema.from_dict(json.loads(stored.schema)) if stored else None


def statement_that_lists(pipeline: dlt.Pipeline, schema: dlt.Schema) -> str | None:
    """The SQL that puts the load of a pipeline's newest state back into `_dlt_loads`.

    None where the state is gone as well, or its load is listed.

    Args:
        schema: the stored one of the pipeline's stream.
    """
    from dlt.common.destination.exceptions import DestinationUndefinedEntity

    opened = sql_client(pipeline)
    if opened is None:
        return None
    with opened as sql:
        column, table = sql.escape_column_name, sql.make_qualified_table_name
        state, loads = table("_dlt_pipeline_state"), table("_dlt_loads")
        listed = f"SELECT {column('load_id')} FROM {loads}"  # noqa: S608 (escaped by dlt)
        try:
            rows = sql.execute_sql(
                f"SELECT {column('_dlt_load_id')} FROM {state} "  # noqa: S608 (escaped by dlt)
                f"WHERE {column('pipeline_name')} = %s "
                f"AND {column('_dlt_load_id')} NOT IN ({listed}) "
                f"ORDER BY {column('version')} DESC LIMIT 1",
                pipeline.pipeline_name,
            )
        except DestinationUndefinedEntity:
            return None
        names = "load_id", "schema_name", "status", "inserted_at", "schema_version_hash"
        if not rows:
            return None
        values = (
            f"'{rows[0][0]}', '{schema.name}', 0, CURRENT_TIMESTAMP, '{schema.stored_version_hash}'"
        )
        return f"INSERT INTO {loads} ({', '.join(map(column, names))}) VALUES ({values})"  # noqa: S608
