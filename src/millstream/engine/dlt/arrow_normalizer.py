"""dlt's normalizer of Arrow tables and data frames, with their profile."""

from __future__ import annotations

from typing import Any

import pyarrow.parquet as pq
from dlt.common.normalizers.json.relational import DataItemNormalizer
from dlt.normalize.items_normalizers import ArrowItemsNormalizer

from millstream.engine import copy_writer
from millstream.engine.column_batch import ColumnBatch
from millstream.engine.row_columns import plain_column
from millstream.engine.stats import FileStats
from millstream.engine.tables import LinkNames
from millstream.formats import engine_mode
from millstream.formats.deletions import deletion_column


class ArrowNormalizer(ArrowItemsNormalizer):
    """A drop-in for dlt's `ArrowItemsNormalizer`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        copy_writer.adopt(self.item_storage, self.config.destination_capabilities)

    def __call__(self, extracted_items_file: str, root_table_name: str) -> list[Any]:
        updates: list[Any] = super().__call__(extracted_items_file, root_table_name)
        if engine_mode.current().is_run and root_table_name not in self.schema.dlt_table_names():
            self._profile(extracted_items_file, root_table_name)
        return updates

    def _profile(self, extracted_items_file: str, table: str) -> None:
        stats = FileStats(extracted_items_file)
        own = self.schema.data_item_normalizer
        skipped = frozenset[str]()
        if isinstance(own, DataItemNormalizer):
            skipped = LinkNames.of_normalizer(own).all()
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
                stats.profile.add(
                    table, ColumnBatch(columns, len(batch), present), skipped, deletion=deletion
                )
                stats.count("arrow", len(batch))
        stats.save(self.load_storage.config.load_volume_path, self.load_id)
