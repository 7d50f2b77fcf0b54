"""Tables that are in the dataset, and that the stream did not make.

Rows would be appended to them that are there already, and values would be coerced into their
columns, of which the stream's schema knows nothing. So a run refuses them before it extracts
anything; or takes their schema over from dlt's table of schemas, where the configuration says so.

A stream whose schema has its tables costs no query; a new table one, of all new tables together.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import sleep
from typing import TYPE_CHECKING, Any

from millstream.common.metadata_tables import is_own
from millstream.common.sql_client import sql_client
from millstream.destinations.partition_rows import stored_schema
from millstream.dlt_compat.databases import schema_names_in_files
from millstream.errors import ConfigError

if TYPE_CHECKING:
    import dlt
    from dlt.common.destination.client import JobClientBase

_PAUSES = (0.0, 0.5, 1.5)
"""Seconds. A run beside this one may have made its tables, and not yet written its schema."""


def take_over(
    pipeline: dlt.Pipeline, schema_name: str, resources: Sequence[Any], *, accept: bool, what: str
) -> dlt.Schema | None:
    """The stream's schema with existing tables that it is to load into; None where there are none.

    Args:
        resources: what is about to be extracted.
        accept: whether to take tables over that the stream did not make.
        what: names the stream in errors.

    Raises:
        ConfigError: there are such tables, and they are not, or can't be, accepted.
    """
    known = pipeline.schemas[schema_name] if pipeline.schemas.has_schema(schema_name) else None
    naming = (known or _new_schema(schema_name)).naming
    tables = {
        naming.normalize_tables_path(each.table_name)
        for each in resources
        if isinstance(each.table_name, str)
    }
    found = existing_tables(pipeline, schema_name, tables - _tables_of(known))
    by_row = {each.name for each in resources if not isinstance(each.table_name, str)}
    if not found and not (accept and by_row and known is None):
        return None
    owners = owners_of(pipeline, schema_name, found, by_row if accept else set())
    for table, owner in owners.items():
        if parent := owner.tables[table].get("parent"):
            raise ConfigError(
                f"{what}: the table `{table}` of the dataset {pipeline.dataset_name!r} holds a "
                f"list of `{parent}`: rows would be added to other rows",
                hint="give the stream another name, or load it into another `destination.dataset`",
            )
    if not accept:
        raise _refusal(pipeline, found, owners, what)
    if nobodys := [table for table in found if table not in owners]:
        raise _refusal(pipeline, nobodys, {}, what)
    return _merged(known, schema_name, owners) if owners else None


def schema_of_tables(owners: Mapping[str, dlt.Schema], schema_name: str) -> dlt.Schema:
    """A schema with these root tables, and those below them, each as its owner has it."""
    return _merged(None, schema_name, owners)


def refuse_existing(
    pipeline: dlt.Pipeline,
    schema_name: str,
    package: dlt.Schema,
    known: dlt.Schema | None,
    *,
    what: str,
) -> None:
    """Stop where tables that a package would make are there already.

    Only a package knows child tables, and tables that rows choose.

    Raises:
        ConfigError: there are some; nothing was sent.
    """
    tables = {str(table["name"]) for table in package.data_tables() if table["columns"]}
    tables = {table for table in tables if not is_own(table)} - _tables_of(known)
    if found := existing_tables(pipeline, schema_name, tables):
        raise _refusal(pipeline, found, owners_of(pipeline, schema_name, found, set()), what)


def existing_tables(pipeline: dlt.Pipeline, schema_name: str, tables: Collection[str]) -> list[str]:
    """Those of the tables that are in the dataset, and not in the stream's stored schema."""
    found = in_storage(pipeline, tables)
    for pause in _PAUSES:
        if not found:
            break
        sleep(pause)
        stored = stored_schema(pipeline, schema_name)
        found = [table for table in found if table not in _tables_of(stored)]
    return found


def in_storage(pipeline: dlt.Pipeline, tables: Collection[str]) -> list[str]:
    """Those of the tables that are in the dataset."""
    from dlt.common.destination.exceptions import DestinationUndefinedEntity

    if not tables:
        return []
    with _client(pipeline) as client:
        if not hasattr(client, "get_storage_tables"):  # a function, a queue
            return []
        try:
            return [name for name, columns in client.get_storage_tables(sorted(tables)) if columns]
        except DestinationUndefinedEntity:  # no dataset yet
            return []


def owners_of(
    pipeline: dlt.Pipeline, schema_name: str, tables: Iterable[str], resources: Collection[str]
) -> dict[str, dlt.Schema]:
    """The newest other schema in the destination that has each table, or a resource's tables."""
    import dlt
    from dlt.common.destination.client import WithStateSync

    owners: dict[str, tuple[Any, dlt.Schema]] = {}
    with _client(pipeline) as client:
        if not isinstance(client, WithStateSync):
            return {}
        for name in _schema_names(pipeline, client):
            stored = client.get_stored_schema(name) if name != schema_name else None
            if stored is None:
                continue
            schema = dlt.Schema.from_dict(json.loads(stored.schema))
            wanted = {table for table in tables if table in schema.tables}
            wanted |= {
                str(table["name"])
                for table in schema.data_tables(seen_data_only=True)
                if table.get("resource") in resources and not table.get("parent")
            }
            for table in wanted:
                if table not in owners or owners[table][0] < stored.inserted_at:
                    owners[table] = (stored.inserted_at, schema)
    return {table: schema for table, (_, schema) in owners.items()}


def _schema_names(pipeline: dlt.Pipeline, client: Any) -> list[str]:
    """The names of all schemas that a dataset has."""
    from dlt.common.destination.exceptions import DestinationUndefinedEntity

    try:
        in_files = schema_names_in_files(client)
    except DestinationUndefinedEntity:
        return []
    if in_files is not None:
        return in_files
    opened = sql_client(pipeline)
    if opened is None:
        return []
    with opened as sql:
        table, column = sql.make_qualified_table_name("_dlt_version"), sql.escape_column_name
        try:
            rows = sql.execute_sql(f"SELECT DISTINCT {column('schema_name')} FROM {table}")  # noqa: S608
        except DestinationUndefinedEntity:
            return []
    return sorted(str(row[0]) for row in rows or ())


def _merged(
    known: dlt.Schema | None, schema_name: str, owners: Mapping[str, dlt.Schema]
) -> dlt.Schema:
    schema = known.clone() if known is not None else None
    for root, owner in owners.items():
        if schema is None:
            schema = owner.clone(with_name=schema_name)
            others = [
                name for name in schema.data_table_names() if not _is_below(owner, name, root)
            ]
            schema.drop_tables([name for name in others if name in schema.tables])
            continue
        for table in owner.data_tables(include_incomplete=True):
            if _is_below(owner, str(table["name"]), root):
                schema.update_table(table, normalize_identifiers=False)
    assert schema is not None
    return schema


def _is_below(schema: dlt.Schema, table: str, root: str) -> bool:
    name: str | None = table
    while name is not None and name != root:
        name = schema.tables[name].get("parent")
    return name == root


def _refusal(
    pipeline: dlt.Pipeline, tables: Sequence[str], owners: dict[str, dlt.Schema], what: str
) -> ConfigError:
    names = ", ".join(f"`{table}`" for table in sorted(tables))
    makers = ", ".join(sorted({f"`{schema.name}`" for schema in owners.values()}))
    plural = "s" if len(tables) > 1 else ""
    by = f"made by the dlt schema {makers}" if makers else "made by another tool"
    hint = "load into another `destination.dataset`"
    if makers:
        hint += (
            "; go on from the cursors of the dlt pipeline that made them: `millstream adopt "
            "DLT_PIPELINE`; or set `accept_existing: true`: columns are taken over with their "
            "types, rows stay, and the source is read from its start"
        )
    else:
        hint += f", or rename the table{plural}: no dlt schema describes the columns"
    return ConfigError(
        f"{what}: the dataset {pipeline.dataset_name!r} already has the table{plural} {names}, "
        f"{by}: rows would be added to other rows",
        hint=hint,
    )


def _tables_of(schema: dlt.Schema | None) -> set[str]:
    if schema is None:
        return set()
    return {str(table["name"]) for table in schema.data_tables(seen_data_only=True)}


def _new_schema(name: str) -> dlt.Schema:
    import dlt

    return dlt.Schema(name)


@contextmanager
def _client(pipeline: dlt.Pipeline) -> Iterator[JobClientBase]:
    with pipeline.destination_client() as client:
        yield client
