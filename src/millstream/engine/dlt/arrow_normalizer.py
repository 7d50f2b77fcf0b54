"""dlt's normalizer of Arrow tables and data frames, with their profile.

dlt gives their rows no ids. Where the table has rows that came otherwise, in this load or before,
they get them here: the destination requires them of all rows, and a merge finds nested rows by
them.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from dlt.common.json import json
from dlt.common.libs.pyarrow import normalize_py_arrow_item
from dlt.common.normalizers.json.helpers import get_row_hash
from dlt.common.normalizers.json.relational import DataItemNormalizer
from dlt.common.normalizers.utils import DLT_ID_LENGTH_BYTES
from dlt.common.storages import ParsedLoadJobFileName
from dlt.normalize.items_normalizers import ArrowItemsNormalizer

from millstream.engine import copy_writer, json_lines_writer, row_ids
from millstream.engine.column_batch import ColumnBatch
from millstream.engine.row_columns import plain_column
from millstream.engine.stats import FileStats
from millstream.engine.tables import LinkNames
from millstream.formats import engine_mode
from millstream.formats.deletions import deletion_column
from millstream.quarantine import envelope


class ArrowNormalizer(ArrowItemsNormalizer):
    """A drop-in for dlt's `ArrowItemsNormalizer`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        copy_writer.adopt(self.item_storage, self.config.destination_capabilities)
        if engine_mode.current().is_run:
            json_lines_writer.adopt(self.item_storage)
        self._beside_rows: dict[str, bool] = {}

    def __call__(self, extracted_items_file: str, root_table_name: str) -> list[Any]:
        is_run, own = engine_mode.current().is_run, self.schema.data_item_normalizer
        updates: list[Any]
        if (
            is_run
            and isinstance(own, DataItemNormalizer)
            and self._needs_ids(root_table_name, own.c_dlt_id)
            and self._rows(extracted_items_file)  # a file of none empties a table all the same
        ):
            updates = self._write_with_ids(extracted_items_file, root_table_name, own)
        else:
            updates = super().__call__(extracted_items_file, root_table_name)
        if is_run and root_table_name not in self.schema.dlt_table_names():
            self._profile(extracted_items_file, root_table_name)
        return updates

    def _rows(self, path: str) -> int:
        with self.normalize_storage.extracted_packages.storage.open_file(path, "rb") as file:
            return int(pq.ParquetFile(file).metadata.num_rows)

    def _needs_ids(self, table: str, name: str) -> bool:
        if self.schema.get_table_columns(table).get(name) is not None:
            return True
        if table not in self._beside_rows:
            self._beside_rows[table] = self._has_rows(table)
        return self._beside_rows[table]

    def _has_rows(self, table: str) -> bool:
        """Whether rows that are not Arrow's go to a table in this load, in whatever order."""
        packages = self.normalize_storage.extracted_packages
        for path in packages.list_new_jobs(self.load_id):
            parsed = ParsedLoadJobFileName.parse(path)
            if parsed.table_name != table or parsed.file_format == "parquet":
                continue
            with packages.storage.open_file(path, "rb") as file:
                # rows of Arrow tables that go to quarantine come as envelopes
                for line in file:
                    if not all(map(envelope.is_one, json.loadb(line))):
                        return True
        return False

    def _write_with_ids(self, path: str, table: str, own: DataItemNormalizer) -> list[Any]:
        """Write a file's rows with what they lack of an id and the load that they came with."""
        text = {"data_type": "text", "nullable": False}
        added = {
            name: {"name": name, **column}
            for name, column in (
                (own.c_dlt_id, {**text, "unique": True, "row_key": True}),
                (own.c_dlt_load_id, text),
            )
            if name not in self.schema.get_table_columns(table)
        }
        partial: Any = {"name": table, "columns": added}
        if added:
            self.schema.update_table(partial, normalize_identifiers=False)
        columns = self.schema.get_table_columns(table)
        storage = self.normalize_storage.extracted_packages.storage
        with storage.open_file(path, "rb") as file:
            for batch in pq.ParquetFile(file).iter_batches():
                self._maybe_cancel()
                batch = normalize_py_arrow_item(
                    self._with_ids(pa.Table.from_batches([batch]), table, own),
                    columns,
                    self.naming,
                    self.config.destination_capabilities,
                )
                self._collect_null_columns_from_arrow_metadata(batch.schema, table)
                self.item_storage.write_data_item(
                    self.load_id, self.schema.name, table, batch, columns
                )
                self._report_progress(table, batch.num_rows)
        return [{table: [partial]}] if added else []

    def _with_ids(self, rows: pa.Table, table: str, own: DataItemNormalizer) -> pa.Table:
        rows = _filled(rows, own.c_dlt_load_id, pa.repeat(self.load_id, rows.num_rows))
        if own.c_dlt_id in rows.column_names and not rows.column(own.c_dlt_id).null_count:
            return rows
        return _filled(rows, own.c_dlt_id, self._ids(rows, table, own))

    def _ids(self, rows: pa.Table, table: str, own: DataItemNormalizer) -> pa.Array:
        """As dlt makes them for rows: of the key where the strategy asks for it, else random."""
        key = own._get_primary_key(table) if own._get_root_row_id_type(table) == "key_hash" else []
        if key and {*key} <= {*rows.column_names}:
            hashes = [get_row_hash(row, subset=key) for row in rows.select(key).to_pylist()]
            return pa.array(hashes, pa.string())
        return row_ids.to_arrow(row_ids.random_ids(rows.num_rows, DLT_ID_LENGTH_BYTES))

    def _profile(self, extracted_items_file: str, table: str) -> None:
        stats = FileStats(extracted_items_file)
        own = self.schema.data_item_normalizer
        is_relational = isinstance(own, DataItemNormalizer)
        links = LinkNames.of_normalizer(own) if is_relational else None
        deletion = deletion_column(self.schema.get_table_columns(table))
        storage = self.normalize_storage.extracted_packages.storage
        # dlt links such a file into the package as it is, so its columns are read here
        with storage.open_file(extracted_items_file, "rb") as file:
            for batch in pq.ParquetFile(file).iter_batches():
                columns, present = {}, {}
                for name, column in zip(batch.schema.names, batch.columns):
                    name = self.naming.normalize_path(name)
                    present[name] = len(batch)
                    if column.null_count < len(column):
                        columns[name] = plain_column(column).combine_chunks()
                counted = ColumnBatch(columns, len(batch), present)
                stats.profile.add(table, counted, links, deletion)
                stats.count("arrow", len(batch))
        stats.save(self.load_storage.config.load_volume_path, self.load_id)


def _filled(rows: pa.Table, name: str, values: pa.Array) -> pa.Table:
    """With values in a column where it has none."""
    if name not in rows.column_names:
        return rows.append_column(name, values)
    known = rows.column(name).cast(pa.string()).combine_chunks()
    filled: Any = pc.if_else(known.is_valid(), known, values)
    return rows.set_column(rows.column_names.index(name), name, filled)
