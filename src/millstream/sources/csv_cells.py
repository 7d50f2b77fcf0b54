"""Cells of CSV files, which are texts, as the values of their columns."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from millstream.config import FileStream
from millstream.errors import SourceDataError
from millstream.sources import column_values, csv_columns, file_content
from millstream.sources.typed_columns import UNBOUNDED, Column

_FORMS = {
    "bigint": r"^-?(0|[1-9][0-9]*)$",
    "bool": r"^(?i:true|false|1|0)$",
}
_EXACT_DIGITS = 15
"""A decimal of so many digits is the double that it is read as, written again."""


def read_again(
    row: Mapping[str, Any], settings: FileStream, known: Mapping[str, Any]
) -> Mapping[str, Any]:
    """A row that waited as the texts of its cells, with the values of their columns.

    Args:
        known: the columns of the table in dlt's schema.

    Raises:
        SourceDataError: a cell is not of its column's type.
    """
    found = dict(row)
    for key, column in csv_columns.declared(row, settings, known).items():
        if isinstance(row[key], str):
            array, misfits, detail = typed(column, pa.array([row[key].encode()]))
            if misfits:
                raise SourceDataError(f"`{key}`: {detail}")
            value = array[0].as_py()
            found[key] = json.loads(value) if column.kind in ("json", "nested") else value
    return found


def typed(column: Column, data: pa.Array) -> tuple[pa.Array, Sequence[int], str]:
    """The values of a column, null where one does not fit; which ones do not, and why."""
    try:
        texts = data.cast(pa.string())
    except pa.ArrowInvalid:
        wrong = [at for at, each in enumerate(data.to_pylist()) if not _is_utf8(each)]
        encoding = file_content.guess(data[wrong[0]].as_py())
        array, _, _ = typed(column, _without(data, wrong))
        return array, wrong, f"not UTF-8; if the file is {encoding}, set `encoding: {encoding}`"
    if column.kind in ("json", "nested"):
        given = enumerate(texts.to_pylist())
        misfits = [at for at, each in given if each is not None and not column_values.is_json(each)]
        return texts, misfits, "not JSON"
    if column.kind == "text":
        return texts, (), ""
    texts = pc.utf8_trim_whitespace(texts)
    misfits = list(_misfits(column, texts))
    array = _cast(column, _without(texts, misfits) if misfits else texts)
    return array, misfits, f"not of the type {_words(column)}"


def _words(column: Column) -> str:
    """The type of a column, as `types` has it."""
    if column.kind == "timestamp" and column.is_zoned:
        return "timestamptz, which has an offset or Z"
    if column.kind == "decimal" and column.digits != UNBOUNDED:
        return "decimal({}, {})".format(*column.digits)
    return column.kind


def _misfits(column: Column, texts: pa.Array, start: int = 0) -> Iterator[int]:
    """The positions of texts that are not of a column's type."""
    try:
        _cast(column, texts)
    except (pa.ArrowException, ValueError):
        if len(texts) == 1:
            yield start
            return
        half = len(texts) // 2
        yield from _misfits(column, texts[:half], start)
        yield from _misfits(column, texts[half:], start + half)


def _cast(column: Column, texts: pa.Array) -> pa.Array:
    """Texts as values that give them back, but for zeros at the end, and blanks around.

    Raises:
        pa.ArrowException, ValueError: one of them is not such a value.
    """
    form = _FORMS.get(column.kind)
    if form and not pc.all(pc.match_substring_regex(texts, form), min_count=0).as_py():
        raise ValueError(column.kind)
    found = column_values.cast(column, texts)
    if column.kind == "double":
        is_long = pc.greater(pc.utf8_length(texts), _EXACT_DIGITS)
        for at in pc.indices_nonzero(is_long.fill_null(False)).to_pylist():
            value = found[at].as_py()
            if math.isfinite(value) and Decimal(repr(value)) != Decimal(texts[at].as_py()):
                raise ValueError(column.kind)
    return found


def _without(array: pa.Array, positions: Sequence[int]) -> pa.Array:
    keep = np.ones(len(array), bool)
    keep[list(positions)] = False
    return pc.if_else(pa.array(keep), array, None)


def _is_utf8(value: bytes | None) -> bool:
    try:
        (value or b"").decode()
    except UnicodeDecodeError:
        return False
    return True
