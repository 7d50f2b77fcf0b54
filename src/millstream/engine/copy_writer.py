"""Load files for PostgreSQL's COPY, written from columns.

A file begins with a line that says what it is, then comes what `COPY ... WITH (FORMAT csv)` reads:

    #millstream {"form": "copy", "columns": ["id", "title"]}
    1,"a ""quoted"" word"
    2,
    3,""

Text is quoted and null is not, so that empty text and null stay apart. dlt's own CSV files look
alike and mean less: dlt loads them with FORCE_NULL, which turns empty text into null, and refuses
bytes. `destinations.copy_job` loads what begins with this line, and leaves the others to dlt.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from dlt.common.data_writers.writers import (
    WRITER_SPECS,
    ArrowToCsvWriter,
    CsvWriter,
    DataWriter,
    FileWriterSpec,
)
from dlt.common.libs.pyarrow import columns_to_arrow
from dlt.common.time import get_context_timezone_name

from millstream.engine.column_batch import BackgroundWorker, align, runs
from millstream.engine.row_columns import column_of_rows, plain_column
from millstream.formats import copy_files
from millstream.formats.copy_files import NUL_SIGN

_ESCAPED_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")
_OPTIONS = pyarrow.csv.WriteOptions(include_header=False)
_DIGITS = np.frombuffer(b"0123456789abcdef", np.uint8)


class CopyWriter(DataWriter):
    """Writes column sets, dicts and Arrow tables.

    One part is encoded in a thread while the next is made.
    """

    def __init__(self, f: IO[Any], caps: Any = None) -> None:
        super().__init__(f, caps)
        self._aside = BackgroundWorker()
        self._schema = pa.schema([])
        self._json: frozenset[str] = frozenset()

    def write_header(self, columns_schema: Any) -> None:
        schema = columns_to_arrow(columns_schema, self._caps, get_context_timezone_name())
        for at, field in enumerate(schema):  # dlt takes a limit of bytes for their number
            if pa.types.is_fixed_size_binary(field.type):
                schema = schema.set(at, field.with_type(pa.binary()))
        self._schema = schema
        self._json = frozenset(
            name for name, column in columns_schema.items() if column.get("data_type") == "json"
        )
        self._f.write(copy_files.header(self._schema.names))

    def write_data(self, items: Sequence[Any]) -> None:
        for columnar, part in runs(items):
            if columnar:
                self._write(align(part, self._schema))
            elif isinstance(part[0], dict):
                self._write(self._of_rows(part))
            else:
                for table in part:
                    self._write(self._of_arrow(table))

    def write_footer(self) -> None:
        self._aside.wait()

    def close(self) -> None:
        with suppress(Exception):
            self._aside.close()

    @classmethod
    def writer_spec(cls) -> FileWriterSpec:
        return FileWriterSpec(
            "csv",
            "object",
            file_extension="csv",
            is_binary_format=True,
            supports_schema_changes="Buffer",
            requires_destination_capabilities=True,
            supports_compression=True,
        )

    def _write(self, table: pa.Table) -> None:
        self.items_count += table.num_rows
        self._aside.start(self._encode, table)

    def _encode(self, table: pa.Table) -> None:
        columns = [
            _as_text(column, self._without_nul_in_json if name in self._json else self._without_nul)
            for name, column in zip(table.column_names, table.columns)
        ]
        sink = pa.BufferOutputStream()
        pyarrow.csv.write_csv(pa.table(columns, names=table.column_names), sink, _OPTIONS)
        self._f.write(sink.getvalue())

    def _of_rows(self, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
        columns = [
            column_of_rows(rows, field.name, field.type, is_json=field.name in self._json)
            for field in self._schema
        ]
        return pa.table(columns, names=self._schema.names)

    def _of_arrow(self, table: Any) -> pa.Table:
        columns = []
        for field in self._schema:
            at = table.schema.get_field_index(field.name)
            columns.append(pa.nulls(len(table), field.type) if at < 0 else table.column(at))
        return pa.table([plain_column(column) for column in columns], names=self._schema.names)

    def _without_nul(self, texts: pa.ChunkedArray) -> pa.ChunkedArray:
        """PostgreSQL's text holds every character but U+0000."""
        found = pc.match_substring(texts, "\0")
        if not pc.any(found).as_py():
            return texts
        self._note_nul(pc.sum(found).as_py())
        return pc.replace_substring(texts, "\0", NUL_SIGN)

    def _without_nul_in_json(self, texts: pa.ChunkedArray) -> pa.ChunkedArray:
        if not pc.any(pc.match_substring(texts, "\\u0000")).as_py():
            return self._without_nul(texts)
        clean, found = [], 0
        for text in texts.to_pylist():
            if text is not None:
                text, count = _ESCAPED_NUL.subn(rf"\1{NUL_SIGN}", text)
                found += count > 0
            clean.append(text)
        self._note_nul(found)
        return self._without_nul(pa.chunked_array([pa.array(clean, pa.string())]))

    def _note_nul(self, texts: int) -> None:
        note: Callable[[int], None] | None = getattr(self._caps.escape_literal, "note", None)
        if texts and note is not None:
            note(texts)


SPEC = CopyWriter.writer_spec()
# dlt looks up by this what writes a file; its own two have other values in it
WRITER_SPECS[SPEC] = CopyWriter


def adopt(storage: Any, caps: Any) -> bool:
    """Let a dlt item storage write these files, where the destination loads them.

    Returns:
        Whether it does.
    """
    is_copied = bool(getattr(caps, copy_files.CAPABILITY, False))
    if is_copied and storage.writer_cls in (CsvWriter, ArrowToCsvWriter):
        storage.writer_spec, storage.writer_cls = SPEC, CopyWriter
    return storage.writer_cls is CopyWriter


def _as_text(column: Any, clean: Callable[[pa.ChunkedArray], pa.ChunkedArray]) -> pa.ChunkedArray:
    """A column in a type that Arrow writes as PostgreSQL reads it."""
    if pa.types.is_string(column.type):
        return clean(column)
    if pa.types.is_binary(column.type) or pa.types.is_fixed_size_binary(column.type):
        chunks = [_hex(chunk.cast(pa.large_binary())) for chunk in column.chunks]
        return pa.chunked_array(chunks, pa.large_string())
    return column


def _hex(values: pa.Array) -> pa.Array:
    """Bytes in PostgreSQL's form, such as \\x00ff."""
    values = pa.concat_arrays([values])  # begins at offset 0 of its buffers
    _, offsets, data = values.buffers()
    ends = np.frombuffer(offsets, np.int64)[: len(values) + 1]
    plain = np.frombuffer(data or b"", np.uint8)[: ends[-1]]
    text = np.empty(2 * len(plain), np.uint8)
    text[0::2], text[1::2] = _DIGITS[plain >> 4], _DIGITS[plain & 15]
    digits = pa.Array.from_buffers(
        pa.large_string(),
        len(values),
        [values.is_valid().buffers()[1], pa.py_buffer(2 * ends), pa.py_buffer(text)],
    )
    prefix = pa.scalar("\\x", pa.large_string())
    return pc.binary_join_element_wise(prefix, digits, pa.scalar("", pa.large_string()))
