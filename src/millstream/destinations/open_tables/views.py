"""Delta and Iceberg tables as views of DuckDB, made of the files that they have now."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from dlt.common.data_writers.escape import escape_duckdb_literal
from dlt.destinations.impl.filesystem.sql_client import FilesystemSqlClient

from millstream.dlt_compat import contract

if TYPE_CHECKING:
    import dlt

contract.require("open_table_views")

# what deltalake can't read either: deleted rows are in the files still, or columns have other names
_UNREADABLE = frozenset({"deletionVectors", "columnMapping"})


class OpenTableSqlClient(FilesystemSqlClient):
    """dlt's views of files in DuckDB, and of the files of Delta and Iceberg tables."""

    def create_secret(
        self,
        scope: str,
        credentials: Any,
        secret_name: str | None = None,
        persist_secrets: bool = False,
    ) -> bool:
        """Lets DuckDB read a bucket by the library that writes it.

        What DuckDB reads buckets with itself is fetched from the internet, and what dlt asks of it
        does not fit DuckDB 2.
        """
        config = self.remote_client.config
        if not config.is_local_filesystem:
            self._register_filesystem(self.remote_client.fs_client, config.protocol)
        return True

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
        listed = ", ".join(escape_duckdb_literal(path.removeprefix("file://")) for path in paths)
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
            column = {hint: value for hint, value in column.items() if hint != "precision"}
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
