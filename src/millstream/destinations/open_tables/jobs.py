"""The files of one table of a load, written by one commit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.destinations.impl.filesystem.filesystem import (
    DeltaLoadFilesystemJob,
    IcebergLoadFilesystemJob,
)

from millstream.destinations.open_tables.removal import one_of, own_column
from millstream.dlt_compat import contract

contract.require("open_table_jobs")


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
        row = own_column(self._job_client, "_dlt_id")
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
        return one_of(keys[0], rows[keys[0]])
    if row_id not in table.schema().column_names:  # rows of Arrow tables
        return create_match_filter(rows, [*keys])
    near: Any = AlwaysTrue()
    for key in keys:
        near = And(near, one_of(key, rows[key]))
    there = table.scan(row_filter=near, selected_fields=(*keys, row_id)).to_arrow()
    wanted = rows.select(keys).cast(pa.schema([there.schema.field(key) for key in keys]))
    return one_of(row_id, there.join(wanted, [*keys], join_type="left semi")[row_id])


def _keys(table: Any) -> list[str]:
    """By what a table is merged: nested rows by their ids."""
    from dlt.common.schema.utils import get_columns_names_with_prop

    return get_columns_names_with_prop(table, "unique" if "parent" in table else "primary_key")
