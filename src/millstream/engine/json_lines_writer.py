"""Newline-delimited JSON, written from columns: one object a row, keys without a value left out.

Each column becomes fragments such as `"id":7,`, and the fragments of a row are joined, all by
Arrow: no row becomes a Python object. The forms of values are those of dlt's own writer: moments,
decimals and bytes (base64) are text, and so are doubles that JSON has no word for.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from dlt.common.data_writers.writers import (
    WRITER_SPECS,
    ArrowToJsonlWriter,
    FileWriterSpec,
    JsonlWriter,
)

from millstream.engine.column_batch import BackgroundWorker, ColumnBatch, runs
from millstream.formats import typed_json

_TEXT = pa.large_string()
_EMPTY, _QUOTE = pa.scalar("", _TEXT), pa.scalar('"', _TEXT)
_BEGIN, _END = pa.scalar("{", _TEXT), pa.scalar("}\n", _TEXT)
_BACKSLASH = ord("\\")
_SPECIAL = np.zeros(256, bool)
_SPECIAL[:32] = _SPECIAL[ord('"')] = _SPECIAL[_BACKSLASH] = True
_DOCUMENT, _WHOLE = r"^[\[{]", "^-?[0-9]+$"
_POINT = pa.scalar(".0", _TEXT)


class ColumnarJsonlWriter(JsonlWriter):
    """dlt's JSON lines writer, which also takes column sets. Never looked up by its format.

    One part is encoded in a thread while the next is made.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._aside = BackgroundWorker()

    def write_data(self, items: Sequence[Any]) -> None:
        for columnar, part in runs(items):
            if not columnar:
                self._aside.wait()
                super().write_data(part)
                continue
            self.items_count += sum(map(len, part))
            self._aside.start(self._encode, part)

    def write_footer(self) -> None:
        self._aside.wait()
        super().write_footer()

    def close(self) -> None:
        with suppress(Exception):
            self._aside.close()
        super().close()

    def _encode(self, part: Sequence[ColumnBatch]) -> None:
        for column_set in part:
            self._f.write(json_lines(column_set))


class FiniteArrowToJsonlWriter(ArrowToJsonlWriter):
    """dlt's writer of Arrow tables, which makes nulls of doubles that JSON has no word for."""

    def write_data(self, items: Sequence[Any]) -> None:
        for rows in items:
            if any(map(_may_lack_a_word, rows.columns)):
                JsonlWriter.write_data(self, [typed_json.finite(row) for row in rows.to_pylist()])
            else:
                super().write_data([rows])

    @classmethod
    def writer_spec(cls) -> FileWriterSpec:
        return super().writer_spec()._replace(requires_destination_capabilities=True)


_OF_ARROW = FiniteArrowToJsonlWriter.writer_spec()
# dlt looks up by this what writes a file; its own has another value in it
WRITER_SPECS[_OF_ARROW] = FiniteArrowToJsonlWriter


def adopt(storage: Any) -> None:
    """Let a dlt item storage write Arrow tables with all of their doubles."""
    if storage.writer_cls is ArrowToJsonlWriter:
        storage.writer_spec, storage.writer_cls = _OF_ARROW, FiniteArrowToJsonlWriter


def _may_lack_a_word(column: Any) -> bool:
    if pa.types.is_floating(column.type):
        return pc.all(pc.is_finite(column)).as_py() is False
    return bool(pa.types.is_nested(column.type))


def json_lines(rows: ColumnBatch) -> pa.Buffer | bytes:
    """n rows -> n lines."""
    fragments = []
    for name, column in rows.columns.items():
        if column.null_count < len(column):
            texts, quote = _values(column, is_json=name in rows.documents)
            key = pa.scalar(orjson.dumps(name).decode() + ":" + quote, _TEXT)
            fragments.append(
                pc.binary_join_element_wise(key, texts, pa.scalar(quote + ",", _TEXT), _EMPTY)
            )
    if not fragments:
        return b"{}\n" * len(rows)
    joined = pc.binary_join_element_wise(
        *fragments, _EMPTY, null_handling="replace", null_replacement=""
    )
    lines = pc.binary_join_element_wise(_BEGIN, pc.ascii_rtrim(joined, ","), _END, _EMPTY)
    _, offsets, data = lines.buffers()
    return data.slice(0, int(np.frombuffer(offsets, np.int64)[len(lines)]))


def _values(column: pa.Array, *, is_json: bool) -> tuple[pa.Array, str]:
    """Each value as it stands in JSON, and what stands around it; nulls stay."""
    kind = column.type
    if is_json:
        return _documents(column.cast(_TEXT)), ""
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind):
        return column.cast(_TEXT), ""
    if pa.types.is_floating(kind):
        return _doubles(column), ""
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _escaped(column.cast(_TEXT)), '"'
    if pa.types.is_binary(kind) or pa.types.is_fixed_size_binary(kind):
        texts = [None if v is None else b64encode(v).decode() for v in column.to_pylist()]
        return pa.array(texts, _TEXT), '"'
    if pa.types.is_timestamp(kind):
        texts = pc.replace_substring(column.cast(pa.string()), " ", "T")
        return pc.replace_substring(texts, "Z", "+00:00").cast(_TEXT), '"'
    return column.cast(pa.string()).cast(_TEXT), '"'  # decimals, dates, times


def _documents(texts: pa.Array) -> pa.Array:
    """JSON, but for what is a text by itself."""
    documents = pc.match_substring_regex(texts, _DOCUMENT)
    if pc.all(documents).as_py() is not False:
        return texts
    quoted = pc.binary_join_element_wise(_QUOTE, _escaped(texts), _QUOTE, _EMPTY)
    return pc.if_else(documents, texts, quoted)


def _doubles(column: pa.Array) -> pa.Array:
    texts = column.cast(pa.string()).cast(_TEXT)
    whole = pc.match_substring_regex(texts, _WHOLE)
    if pc.any(whole).as_py():  # who reads `1` takes the column for one of integers
        texts = pc.if_else(whole, pc.binary_join_element_wise(texts, _POINT, _EMPTY), texts)
    if pc.all(pc.is_finite(column)).as_py() is not False:
        return texts
    for value in (float("nan"), float("inf"), float("-inf")):
        word = pa.scalar(orjson.dumps(typed_json.float_name(value)).decode(), _TEXT)
        found = pc.is_nan(column) if value != value else pc.equal(column, value)
        texts = pc.if_else(found, word, texts)
    return texts


def _escaped(texts: pa.Array) -> pa.Array:
    """Texts as they stand between the quotes of a JSON string."""
    ends = np.frombuffer(texts.buffers()[1], np.int64)[texts.offset :]
    data = np.frombuffer(texts.buffers()[2] or b"", np.uint8)[ends[0] : ends[len(texts)]]
    special = data[_SPECIAL[data]]
    if not len(special):
        return texts
    # the escape of the backslash first: others bring backslashes of their own
    for byte in sorted(np.unique(special).tolist(), key=lambda byte: byte != _BACKSLASH):
        texts = pc.replace_substring(texts, chr(byte), orjson.dumps(chr(byte)).decode()[1:-1])
    return texts
