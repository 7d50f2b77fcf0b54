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
from dlt.common.json import json
from dlt.common.libs.pyarrow import columns_to_arrow
from dlt.common.time import get_context_timezone_name

from millstream import copy_files
from millstream.engine.writer import Aside, align, runs

NUL_SIGN = "\N{SYMBOL FOR NULL}"
_ESCAPED_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")
_OPTIONS = pyarrow.csv.WriteOptions(include_header=False)
_FIT_ERRORS = (ValueError, TypeError, OverflowError)
_DIGITS = np.frombuffer(b"0123456789abcdef", np.uint8)


class CopyWriter(DataWriter):
    """Writes column sets, dicts and Arrow tables.

    One part is encoded in a thread while the next is made.
    """

    def __init__(self, f: IO[Any], caps: Any = None) -> None:
        super().__init__(f, caps)
        self._aside = Aside()
        self._schema = pa.schema([])
        self._json: frozenset[str] = frozenset()

    def write_header(self, columns_schema: Any) -> None:
        self._schema = columns_to_arrow(columns_schema, self._caps, get_context_timezone_name())
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
        self._aside.settle()

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
        columns = []
        for field in self._schema:
            values = [row.get(field.name) for row in rows]
            if field.name in self._json:
                values = [v if v is None or type(v) is str else json.dumps(v) for v in values]
            try:
                column = pa.array(values, type=field.type, from_pandas=False)
            except _FIT_ERRORS:  # by dlt's own coercion: PostgreSQL decides what becomes of it
                column = pa.array([None if v is None else _literal(v) for v in values], pa.string())
            columns.append(column)
        return pa.table(columns, names=self._schema.names)

    def _of_arrow(self, table: Any) -> pa.Table:
        if isinstance(table, pa.RecordBatch):
            table = pa.Table.from_batches([table])
        columns = []
        for field in self._schema:
            at = table.schema.get_field_index(field.name)
            if at < 0:
                columns.append(pa.nulls(len(table), field.type))
                continue
            column = table.column(at)
            if field.name in self._json and pa.types.is_nested(column.type):
                texts = [None if v is None else json.dumps(v) for v in column.to_pylist()]
                column = pa.chunked_array([pa.array(texts, pa.string())])
            columns.append(column)
        return pa.table(columns, names=self._schema.names)

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
    kind = column.type
    if isinstance(column, pa.Array):
        column = pa.chunked_array([column], kind)
    if pa.types.is_dictionary(kind):
        return _as_text(column.cast(kind.value_type), clean)
    if pa.types.is_string(kind):
        return clean(column)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return clean(column.cast(pa.string()))
    if _is_binary(kind):
        chunks = [_hex(chunk.cast(pa.large_binary())) for chunk in column.chunks]
        return pa.chunked_array(chunks, pa.large_string())
    return column


def _is_binary(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
        or pa.types.is_binary_view(kind)
    )


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


def _literal(value: Any) -> str:
    """A value in words, as dlt's INSERT statements have it."""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return f"\\x{value.hex()}"
    if isinstance(value, (dict, list)):
        return str(json.dumps(value))
    return str(value.isoformat()) if hasattr(value, "isoformat") else str(value)
