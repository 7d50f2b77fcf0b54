"""A chunk of rows as an Arrow table; as rows where a value does not fit its column.

A column takes what it gives back: a chunk with a value that does not, such as `infinity` among
dates or a text among SQLite's integers, is handed on as rows, and the engine decides value by
value. So are chunks of tables with JSON in them, which become columns and child tables.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from millstream.formats import typed_json
from millstream.sources.typed_columns import Column

Values = Any
"""Of one column: `pa.Array`, or, where one does not fit, a list as Python has them."""

# what Arrow reads as a time with less than a whole day or moment in it is left to the engine
_TIME_TEXTS = {
    "date": r"^\d{4}-\d\d-\d\d$",
    "time": r"^\d\d:\d\d:\d\d(\.\d{1,6})?$",
    "timestamp": r"^\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d(:?\d\d)?)?$",
}


def item(
    columns: Sequence[Column], values: Sequence[Values], extra: Mapping[str, str]
) -> pa.Table | list[dict[str, Any]]:
    """What dlt is handed: a table, or rows.

    Args:
        values: of each column.
        extra: columns that have the same text in each row.
    """
    names = [each.name for each in columns]
    if all(isinstance(each, pa.Array) for each in values):
        table = pa.Table.from_arrays(list(values), names)
        for name, text in extra.items():
            table = table.append_column(name, pa.repeat(pa.scalar(text), table.num_rows))
        return table
    plain = [each.to_pylist() if isinstance(each, pa.Array) else each for each in values]
    return [{**dict(zip(names, row)), **extra} for row in zip(*plain)]


def parsed(found: pa.Table | list[dict[str, Any]]) -> pa.Table | list[dict[str, Any]]:
    """The same, with JSON as objects."""
    if isinstance(found, pa.Table):
        return found
    return [{name: _object(value) for name, value in row.items()} for row in found]


def from_values(column: Column, values: Sequence[Any]) -> Values:
    """What a driver returned."""
    if column.kind in ("nested", "json"):
        return [_json(each) for each in values]
    wanted = column.arrow_type
    if wanted is None:
        return values
    if column.is_single:  # the shortest decimal that is the same value there, as PostgreSQL has it
        return pa.array(values, pa.float32()).cast(pa.string()).cast(pa.float64())
    if column.kind == "bool":  # of SQLite, which may hold anything beside them
        values = [bool(each) if each in (0, 1) else each for each in values]
    if column.kind in _TIME_TEXTS and (rest := {type(each) for each in values} - {type(None)}):
        if rest == {str}:
            return from_texts(column, pa.array(values, pa.string(), from_pandas=False))
        if str in rest:
            return _texts_among(column, values)
    try:
        return pa.array(values, wanted, from_pandas=False)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return values


def _texts_among(column: Column, values: Sequence[Any]) -> list[Any]:
    """The same where only some are texts: what one becomes does not depend on the others."""
    texts = [each if type(each) is str else None for each in values]
    found = from_texts(column, pa.array(texts, pa.string(), from_pandas=False))
    read = found.to_pylist() if isinstance(found, pa.Array) else found
    return [known if text is None else each for known, text, each in zip(values, texts, read)]


def from_texts(column: Column, texts: pa.Array) -> Values:
    """What a database wrote as text."""
    if column.kind in ("nested", "json"):
        return [_json(each) for each in texts.to_pylist()]
    try:
        return cast(column, texts)
    except (pa.ArrowException, ValueError):
        return _each(column, texts)


def _each(column: Column, texts: pa.Array) -> list[Any]:
    """Values, and texts that are none."""
    try:
        found: list[Any] = cast(column, texts).to_pylist()
    except (pa.ArrowException, ValueError):
        if len(texts) == 1:
            return _of_many_digits(column, texts[0].as_py())
        half = len(texts) // 2
        return _each(column, texts[:half]) + _each(column, texts[half:])
    return found


def _of_many_digits(column: Column, text: str) -> list[Any]:
    from decimal import Decimal

    if column.kind == "decimal" and (number := Decimal(text)).is_finite():
        return [number]  # the engine says which digits are too many
    return [text]


def cast(column: Column, texts: pa.Array) -> pa.Array:
    """Texts as the values of a column.

    Raises:
        pa.ArrowException, ValueError: one of them is not such a value.
    """
    wanted = column.arrow_type
    if column.kind == "binary":
        return _from_hex(texts)
    if (form := _TIME_TEXTS.get(column.kind)) is not None:
        if not pc.all(pc.match_substring_regex(texts, form), min_count=0).as_py():
            raise ValueError("not a time")
        if column.kind == "timestamp" and column.is_zoned:
            texts = pc.replace_substring_regex(texts, r"([+-]\d\d)$", r"\1:00")
        if column.kind == "time":  # Arrow casts no text to a time, but to one of a day
            texts = pc.binary_join_element_wise("1970-01-01", texts, " ")
            return texts.cast(pa.timestamp("us")).cast(wanted)
    return texts.cast(wanted)


def _from_hex(texts: pa.Array) -> pa.Array:
    """Bytes of their hexadecimal digits, all at once."""
    import numpy as np

    validity, offsets, digits = texts.buffers()
    begins = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    written = digits.to_pybytes()[begins[0] : begins[-1]] if digits is not None else b""
    data = bytes.fromhex(written.decode("ascii"))
    half = ((begins - begins[0]) // 2).astype(np.int32)
    mask = pc.is_valid(texts).buffers()[1] if validity is not None else None
    return pa.Array.from_buffers(
        pa.binary(), len(texts), [mask, pa.py_buffer(half), pa.py_buffer(data)]
    )


def is_json(text: str) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def _json(value: Any) -> Any:
    """JSON as the database wrote it, integers of any length included; any other text as a text."""
    if isinstance(value, str) and is_json(value):
        return orjson.Fragment(typed_json.escape_json(value.encode()))
    return value


def _object(value: Any) -> Any:
    return json.loads(orjson.dumps(value)) if isinstance(value, orjson.Fragment) else value
