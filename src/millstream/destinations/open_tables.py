"""dlt's filesystem destination, with Delta and Iceberg tables that can be read and kept exact.

dlt commits each table by itself, and merges a table by its own rows alone. So this is left to
whoever loads:

- a column that may not be null stays so, and of several files of a load dlt takes the columns of
  one: columns may all be null, and are those of all files;
- list items that a row does not have any more stay in their table: they are taken out before a load
  becomes complete;
- rows that an interrupted load has appended would be appended again: `undo` takes them out;
- pyiceberg 0.12 can't update rows of a table that has got a column (apache/iceberg-python#3105),
  and compares all values one by one in Python: rows are deleted and appended in one commit here;
- DuckDB reads these tables with extensions that it fetches from the internet: it is given the files
  that the tables are made of.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from dlt.common.configuration.container import Container
from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.common.storages.load_package import (
    LoadPackageStateInjectableContext,
    ParsedLoadJobFileName,
)
from dlt.destinations import filesystem
from dlt.destinations.impl.filesystem.filesystem import (
    DeltaLoadFilesystemJob,
    FilesystemClient,
    HfFilesystemClient,
    IcebergLoadFilesystemJob,
)
from dlt.destinations.impl.filesystem.sql_client import FilesystemSqlClient

from millstream.destinations.partition_rows import nested_tables
from millstream.destinations.table_formats import format_of
from millstream.dlt_compat import contract

if TYPE_CHECKING:
    import dlt

contract.require("open_tables")

# what deltalake can't read either: deleted rows are in the files still, or columns have other names
_UNREADABLE = frozenset({"deletionVectors", "columnMapping"})

_naming = Lock()


class DeltaJob(DeltaLoadFilesystemJob):
    """Loads the files of one Delta table, by one commit."""

    def run(self) -> None:
        from dlt.common.libs.deltalake import (
            deltalake_storage_options,
            merge_delta_table,
            write_delta_table,
        )

        client, name = self._job_client, self.load_table_name
        disposition = self._load_table["write_disposition"]
        try:
            table = client.load_open_table("delta", name)
        except DestinationUndefinedEntity:
            table = None
        known = pa.schema(table.schema().to_arrow()) if table is not None else None
        rows = _dataset(self.file_paths, known).scanner().to_reader()
        if table is not None and disposition == "merge":
            streamed = client.config.deltalake_streamed_exec
            merge_delta_table(table, rows, cast("Any", self._load_table), name, streamed)
            return
        write_delta_table(
            client.get_open_table_location("delta", name) if table is None else table,
            rows,
            disposition,
            self._partition_columns,
            deltalake_storage_options(
                client.config.credentials, client.config.deltalake_storage_options
            ),
            client.config.deltalake_configuration,
        )


class IcebergJob(IcebergLoadFilesystemJob):
    """Loads the files of one Iceberg table, by one commit."""

    @property
    def arrow_dataset(self) -> Any:
        from pyiceberg.io.pyarrow import schema_to_pyarrow

        try:
            table = self._job_client.load_open_table("iceberg", self.load_table_name)
        except DestinationUndefinedEntity:
            return _dataset(self.file_paths)
        return _dataset(self.file_paths, schema_to_pyarrow(table.schema()))

    def run(self) -> None:
        if self._load_table["write_disposition"] != "merge":
            super().run()
            return
        try:
            table = self._job_client.load_open_table("iceberg", self.load_table_name)
        except DestinationUndefinedEntity:  # makes the table, then runs this again
            super().run()
            return
        row = _column(self._job_client, "_dlt_id")
        merge_iceberg(table, self.arrow_dataset.to_table(), _keys(self._load_table), row)


def _dataset(files: Sequence[str], known: pa.Schema | None = None) -> Any:
    """Files of one load with the columns of all of them, each of which may be null.

    A column that may not be null could never be one that may.

    Args:
        known: of the table: its numbers may have more digits than those of the load.
    """
    schema = pa.unify_schemas(map(pq.read_schema, files), promote_options="permissive")
    fields = []
    for field in schema:
        at = known.get_field_index(field.name) if known is not None else -1
        wide = known.field(at).type if known is not None and at >= 0 else field.type
        if _is_number(field.type) and _is_number(wide):
            field = field.with_type(wide)
        fields.append(field.with_nullable(True))
    return ds.dataset([*files], schema=pa.schema(fields), format="parquet")


def _is_number(kind: Any) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_decimal128(kind))


def merge_iceberg(table: Any, rows: pa.Table, keys: Sequence[str], row_id: str) -> None:
    """Let rows take the place of those with the same key; new columns become the table's.

    Args:
        row_id: a column whose values tell the table's rows apart, where it has it.
    """
    from dlt.common.libs.pyiceberg import ensure_iceberg_compatible_arrow_data

    rows = ensure_iceberg_compatible_arrow_data(rows)
    with table.transaction() as commit:
        with commit.update_schema() as update:
            update.union_by_name(rows.schema)
        if table.current_snapshot() is not None:
            same = _same_keys(table, rows, keys, row_id)
            if any(True for _ in table.scan(row_filter=same).plan_files()):
                commit.delete(same)
        commit.append(rows)


def _same_keys(table: Any, rows: pa.Table, keys: Sequence[str], row_id: str) -> Any:
    """A filter for the rows of a table that have the key of one of these rows."""
    from pyiceberg.expressions import AlwaysTrue, And
    from pyiceberg.table.upsert_util import create_match_filter

    if len(keys) == 1:
        return _one_of(keys[0], rows[keys[0]])
    if row_id not in table.schema().column_names:  # rows of Arrow tables
        return create_match_filter(rows, [*keys])
    near: Any = AlwaysTrue()
    for key in keys:
        near = And(near, _one_of(key, rows[key]))
    there = table.scan(row_filter=near, selected_fields=(*keys, row_id)).to_arrow()
    wanted = rows.select(keys).cast(pa.schema([there.schema.field(key) for key in keys]))
    return _one_of(row_id, there.join(wanted, [*keys], join_type="left semi")[row_id])


def _one_of(column: str, values: Any) -> Any:
    from pyiceberg.expressions import In

    one_of: Any = In  # its types are pydantic's
    return one_of(column, {*values.to_pylist()})


def _keys(table: Any) -> list[str]:
    """By what a table is merged: nested rows by their ids."""
    from dlt.common.schema.utils import get_columns_names_with_prop

    return get_columns_names_with_prop(table, "unique" if "parent" in table else "primary_key")


class OpenTableSqlClient(FilesystemSqlClient):
    """dlt's views of files in DuckDB, and of the files of Delta and Iceberg tables."""

    def create_view_select(
        self, table_schema: Any, schema: dlt.Schema | None = None
    ) -> tuple[str, str] | None:
        known: Any = schema or self.schema
        table_format, name = table_schema.get("table_format"), table_schema["name"]
        if not table_format or name in known.dlt_table_names():
            found: tuple[str, str] | None = super().create_view_select(table_schema, known)
            return found
        client = self.remote_client
        table = client.load_open_table(table_format, name)
        columns = table_schema["columns"].values()
        parts = _partitions(table_format, table)
        rows = " UNION ALL BY NAME ".join(
            [self._no_rows(columns), *self._files(table_format, table, parts)]
        )
        location = client.get_open_table_location(table_format, name, schema_name=known.name)
        selected = ", ".join(self._column(each, parts) for each in columns)
        return location, f"SELECT {selected} FROM ({rows})"  # noqa: S608 (escaped)

    def _no_rows(self, columns: Iterable[Any]) -> str:
        """Nothing, of all columns: no file may have one that came without values."""
        nothing = ", ".join(
            f"CAST(NULL AS {self._kind(each)}) AS {self.escape_column_name(each['name'])}"
            for each in columns
        )
        return f"SELECT {nothing} WHERE FALSE"

    def _files(self, table_format: str, table: Any, parts: Sequence[str]) -> list[str]:
        if table_format == "delta":
            paths = _delta_files(table)
            if self.remote_client.config.is_local_filesystem:  # they are parts of a URL
                paths = [*map(unquote, paths)]
        else:
            tasks = [*table.scan().plan_files()]
            if any(task.delete_files for task in tasks):  # another program's
                name = f"rows of {table.name()}"
                self._conn.register(name, table.scan().to_arrow())
                return [f"SELECT * FROM {self.escape_column_name(name)}"]  # noqa: S608
            paths = [task.file.file_path for task in tasks]
        if not paths:
            return []
        listed = ", ".join(_text(path.removeprefix("file://")) for path in paths)
        options = "union_by_name = true" + (", hive_partitioning = true" if parts else "")
        return [f"SELECT * FROM read_parquet([{listed}], {options})"]  # noqa: S608 (escaped)

    def _column(self, column: Any, parts: Sequence[str]) -> str:
        name = self.escape_column_name(column["name"])
        # a time is a text in Delta; the values of its partitions are in the names of folders
        if column.get("data_type") == "time" or column["name"] in parts:
            return f"CAST({name} AS {self._kind(column)}) AS {name}"
        return name

    def _kind(self, column: Any) -> str:
        if column.get("data_type") == "json":
            return "VARCHAR"
        mapper = self.capabilities.get_type_mapper()
        if column.get("data_type") == "timestamp":  # DuckDB has no zones with nanoseconds
            column = {**column, "precision": None}
        return str(mapper.to_destination_type(column, {"name": "t", "columns": {}}))

    def should_replace_view(self, view_name: str, table_schema: Any) -> bool:
        if table_schema.get("table_format"):  # a list of files does not see later commits
            return True
        return bool(super().should_replace_view(view_name, table_schema))


def _partitions(table_format: str, table: Any) -> list[str]:
    return [*table.metadata().partition_columns] if table_format == "delta" else []


def _delta_files(table: Any) -> list[str]:
    if features := _UNREADABLE & {*(table.protocol().reader_features or ())}:
        raise NotImplementedError(
            f"a Delta table with {', '.join(sorted(features))} can't be read here"
        )
    return [*table.file_uris()]


class OpenTableClient(FilesystemClient):
    """dlt's client, which takes out what a merge leaves before it calls a load complete."""

    @property
    def sql_client_class(self) -> Any:
        return OpenTableSqlClient

    @property
    def sql_client(self) -> Any:
        if not self._sql_client:
            self._sql_client = OpenTableSqlClient(self, self.dataset_name)
        return self._sql_client

    @sql_client.setter
    def sql_client(self, client: Any) -> None:
        self._sql_client = client

    def get_open_table_catalog(self, table_format: Any, catalog_name: str | None = None) -> Any:
        with _naming:  # of two jobs that find no namespace in a database, one would fail
            return super().get_open_table_catalog(table_format, catalog_name)

    @staticmethod
    def get_reference_followup_job_class(table: Any) -> Any:
        found = FilesystemClient.get_reference_followup_job_class(table)
        own: Any = {DeltaLoadFilesystemJob: DeltaJob, IcebergLoadFilesystemJob: IcebergJob}
        return own.get(found, found)

    def complete_load(self, load_id: str) -> None:
        loaded = _loaded_files(load_id)
        for root in loaded:
            table: Any = self.schema.tables.get(root, {})
            if not table.get("parent") and table.get("write_disposition") == "merge":
                self._take_out_stale_items(root, loaded)
        super().complete_load(load_id)

    def _take_out_stale_items(self, root: str, loaded: Mapping[str, Sequence[str]]) -> None:
        """Delete rows of lists, of root rows that a load has merged, which the load does not have.

        It can be repeated: a load that dies before it is complete is loaded again.
        """
        row, root_row = (_column(self, name) for name in ("_dlt_id", "_dlt_root_id"))
        if not format_of(self.schema, root) or row not in self.schema.tables[root]["columns"]:
            return
        for child in nested_tables(self.schema, root):
            if root_row not in self.schema.tables[child]["columns"]:
                continue
            stale = f"{root_row} IN (SELECT {row} FROM {_rows_of(loaded[root])})"  # noqa: S608
            if child in loaded:
                stale += f" AND {row} NOT IN (SELECT {row} FROM {_rows_of(loaded[child])})"  # noqa: S608
            _delete(self, child, row, stale)


class OpenTables(filesystem):
    """dlt's destination, called as dlt calls it, with that client."""

    @property
    def destination_type(self) -> str:
        return "dlt.destinations.filesystem"

    @property
    def client_class(self) -> type[FilesystemClient]:
        return HfFilesystemClient if self.is_hf else OpenTableClient


def undo(pipeline: dlt.Pipeline, schema: dlt.Schema, root: str, load_id: str) -> None:
    """Delete the rows that one load appended to a root table, and those that hung on them.

    Child rows carry no load id, and are known by having no parent any more.
    """
    with _client(pipeline, schema) as client:
        load, row, parent_row = (
            _column(client, name) for name in ("_dlt_load_id", "_dlt_id", "_dlt_parent_id")
        )
        _delete(client, root, row, f"{load} = {_text(load_id)}")
        below = [root]
        while below:
            parent = below.pop(0)
            lost = "TRUE"  # of a table that the load had not made yet
            if _is_there(client, parent):
                ids = client.sql_client.make_qualified_table_name(parent)
                lost = f"{parent_row} NOT IN (SELECT {row} FROM {ids})"  # noqa: S608 (escaped)
            for child, table in schema.tables.items():
                if table.get("parent") == parent:
                    below.append(child)
                    _delete(client, child, row, lost)


def sweep(pipeline: dlt.Pipeline, schema: dlt.Schema, root: str, load_ids: Sequence[str]) -> None:
    """Delete what other loads than these left in a root table, and what hangs on it."""
    with _client(pipeline, schema) as client:
        load, row, root_row = (
            _column(client, name) for name in ("_dlt_load_id", "_dlt_id", "_dlt_root_id")
        )
        columns: Any = schema.tables[root]["columns"]
        if not all(columns.get(name, {}).get("data_type") for name in (load, row)):
            return  # rows of Arrow tables have none
        earlier = f"{load} NOT IN ({', '.join(map(_text, load_ids))}) OR {load} IS NULL"
        table = client.sql_client.make_qualified_table_name(root)
        gone = f"SELECT {row} FROM {table} WHERE {earlier}"  # noqa: S608 (escaped)
        for child in nested_tables(schema, root):
            if root_row in schema.tables[child]["columns"]:
                _delete(client, child, row, f"{root_row} IN ({gone})")
        _delete(client, root, row, earlier)


def _delete(client: OpenTableClient, name: str, row: str, where: str) -> None:
    """Delete the rows of a table that a condition holds for, by their ids and in one commit."""
    if not _is_there(client, name):
        return
    with client.sql_client as sql:
        table = sql.make_qualified_table_name(name)
        found = sql.execute_sql(f"SELECT {row} FROM {table} WHERE {where}")  # noqa: S608 (escaped)
    ids = [each[0] for each in found or ()]
    if not ids:
        return
    if format_of(client.schema, name) == "iceberg":
        client.load_open_table("iceberg", name).delete(_one_of(row, pa.array(ids)))
        return
    # not a predicate with each id in it, of which there may be millions
    client.load_open_table("delta", name).merge(
        source=pa.table({row: pa.array(ids, pa.string())}),
        predicate=f"target.{row} = source.{row}",
        source_alias="source",
        target_alias="target",
    ).when_matched_delete().execute()


def _is_there(client: OpenTableClient, name: str) -> bool:
    table_format: Any = format_of(client.schema, name)
    try:
        client.load_open_table(table_format, name)
    except DestinationUndefinedEntity:
        return False
    return True


def _client(pipeline: dlt.Pipeline, schema: dlt.Schema) -> Any:
    return pipeline.destination_client(schema.name)


def _loaded_files(load_id: str) -> dict[str, list[str]]:
    """By table, the Parquet files of the load package that dlt is about to complete."""
    packages = Container()[LoadPackageStateInjectableContext].storage
    found: dict[str, list[str]] = {}
    folder = packages.get_job_state_folder_path(load_id, "completed_jobs")
    for path in packages.storage.list_folder_files(folder):
        job = ParsedLoadJobFileName.parse(path)
        if job.file_format == "parquet":
            found.setdefault(job.table_name, []).append(packages.storage.make_full_path(path))
    return found


def _rows_of(files: Sequence[str]) -> str:
    return f"read_parquet([{', '.join(map(_text, files))}])"


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _column(client: FilesystemClient, name: str) -> str:
    """A column of dlt's as the schema calls it, which needs no quotes: snake_case, or as it is."""
    return client.schema.naming.normalize_identifier(name)
