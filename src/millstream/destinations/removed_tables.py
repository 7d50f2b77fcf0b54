"""Tables, columns and folders that somebody took out of the destination by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from millstream.destinations import added_columns

if TYPE_CHECKING:
    import dlt
    from dlt.destinations.impl.filesystem.filesystem import FilesystemClient


def missing_tables(pipeline: dlt.Pipeline, schema: dlt.Schema) -> list[str]:
    """The tables with rows that the destination does not have."""
    from dlt.destinations.impl.filesystem.filesystem import FilesystemClient
    from dlt.destinations.job_client_impl import SqlJobClientBase

    tables = [str(table["name"]) for table in schema.data_tables(seen_data_only=True)]
    with pipeline.destination_client(schema.name) as client:
        if isinstance(client, SqlJobClientBase):
            return [name for name, storage in client.get_storage_tables(tables) if not storage]
        if isinstance(client, FilesystemClient):
            return _missing_folders(client, tables)
        return []


def remake(pipeline: dlt.Pipeline, schema: dlt.Schema) -> list[str]:
    """Make the tables and columns again, empty, that somebody took out of the destination by hand.

    dlt looks for them only where a schema is new, and adds a column that may not be null as just
    that, which no table with rows accepts. Ids that follow from others are filled.

    Args:
        schema: what is loaded into, as far as its tables were made.

    Returns:
        What was missing: `orders__items`, `orders.price`.
    """
    from dlt.destinations.impl.filesystem.filesystem import FilesystemClient
    from dlt.destinations.job_client_impl import SqlJobClientBase

    made = (*schema.data_tables(seen_data_only=True), *schema.dlt_tables())
    with pipeline.destination_client(schema.name) as client:
        if isinstance(client, FilesystemClient):
            return _remake_folders(client, [str(table["name"]) for table in made])
        if not isinstance(client, SqlJobClientBase):
            return []
        fold = client.capabilities.casefold_identifier
        missing = []
        needed: dict[str, list[Any]] = {}
        for name, storage in list(client.get_storage_tables([str(each["name"]) for each in made])):
            columns = schema.get_table_columns(name) if storage else {}
            lost = [each for each in columns if each not in storage and fold(each) not in storage]
            missing += [f"{name}.{each}" for each in lost] if storage else [name]
            # dlt takes `Price` for `price`
            like = {each.casefold() for each in storage}
            if required := [
                columns[each]
                for each in lost
                if added_columns.may_not_be_null(columns[each]) or each.casefold() in like
            ]:
                needed[name] = required
        if missing:
            with client.maybe_ddl_transaction():
                added_columns.add(client, schema, needed)
                for statement in added_columns.fills(client, schema, needed):
                    client.sql_client.execute_sql(statement)
            client.update_stored_schema(force=True)
    return missing


def _missing_folders(client: FilesystemClient, tables: Sequence[str]) -> list[str]:
    """The tables of files whose folders somebody removed; buckets have none, and need none."""
    if not client.is_local_filesystem:
        return []
    return [each for each in tables if not client.fs_client.isdir(client.get_table_dir(each))]


def _remake_folders(client: FilesystemClient, tables: Sequence[str]) -> list[str]:
    if missing := _missing_folders(client, tables):
        client.update_stored_schema(force=True)
    return missing
