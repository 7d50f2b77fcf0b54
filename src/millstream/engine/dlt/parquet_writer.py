"""dlt's Parquet writer, for column sets and for files that are read once."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from io import SEEK_END, BufferedWriter
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from dlt.common.data_writers.writers import ParquetDataWriter

from millstream.engine.column_batch import BackgroundWorker, align, runs


class PlainParquetWriter(ParquetDataWriter):
    """dlt's Parquet writer; where files are not to be compressed, their pages are plain, too.

    A database reads such files back once, at once: dictionaries and statistics cost more than half
    of the writing, and gain nothing. In a lake the files stay, and keep both.

    Arrow opens the file that dlt has opened once more: through Python's file every column would be
    copied on its way, with the interpreter's lock held.
    """

    _sink: pa.OSFile | None = None

    def _create_writer(self, schema: pa.Schema) -> pq.ParquetWriter:
        # dlt takes a limit of bytes for their number
        for at, field in enumerate(schema):
            if pa.types.is_fixed_size_binary(field.type):
                schema = schema.set(at, field.with_type(pa.binary()))
        self.schema = schema
        opened = self._f
        if isinstance(opened, BufferedWriter) and isinstance(opened.name, str):
            self._sink = self._f = pa.OSFile(opened.name, "wb")
        try:
            return self._made(schema)
        finally:
            self._f = opened

    def _made(self, schema: pa.Schema) -> pq.ParquetWriter:
        form = self.parquet_format
        stays = "insert_values" not in self._caps.supported_loader_file_formats
        if form.compression != "none" or stays:
            return super()._create_writer(schema)
        return pq.ParquetWriter(
            self._f,
            schema,
            flavor=form.flavor,
            version=form.version,
            data_page_size=form.data_page_size,
            coerce_timestamps=form.coerce_timestamps,
            allow_truncated_timestamps=form.allow_truncated_timestamps,
            use_compliant_nested_type=form.use_compliant_nested_type,
            compression="none",
            use_dictionary=False,
            write_statistics=False,
        )

    def write_header(self, columns_schema: Any) -> None:
        super().write_header(columns_schema)
        schema: Any = self.schema
        # dlt writes JSON into columns that keep the lists and objects of Arrow tables, and fails
        self.nested_indices = [
            name for name in self.nested_indices if not pa.types.is_nested(schema.field(name).type)
        ]

    def write_data(self, items: Sequence[Any]) -> None:
        super().write_data(items)
        self._keep_up()

    def close(self) -> None:
        try:
            super().close()
        finally:
            if self._sink is not None:
                self._sink.close()
                self._f.seek(0, SEEK_END)

    def _keep_up(self) -> None:
        """dlt asks its own file how long it is by now."""
        if self._sink is not None:
            self._f.seek(self._sink.tell())


class ColumnarParquetWriter(PlainParquetWriter):
    """A Parquet writer that also takes column sets. Never looked up by its format.

    One row group is encoded in a thread while the next is made.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._aside = BackgroundWorker()

    def write_data(self, items: Sequence[Any]) -> None:
        for columnar, part in runs(items):
            self._settle()
            if not columnar:
                super().write_data(part)
                continue
            assert self.writer is not None
            table = align(part, self.schema)
            self.items_count += table.num_rows
            self._aside.start(
                self.writer.write_table, table, row_group_size=self.parquet_format.row_group_size
            )

    def write_footer(self) -> None:
        self._settle()
        super().write_footer()

    def close(self) -> None:
        # after an error the file is closed without its footer: not under the thread's hands
        with suppress(Exception):
            self._aside.close()
        super().close()

    def _settle(self) -> None:
        self._aside.wait()
        self._keep_up()
