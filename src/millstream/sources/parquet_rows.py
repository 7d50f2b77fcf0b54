"""Parquet files as Arrow tables; as rows where a column holds lists or objects.

Lists and objects become child tables and columns, as those of JSON do. A map is a list of keys and
values, as an object is that `maps` names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from millstream.errors import SourceDataError
from millstream.formats.object_maps import KEY, VALUE, MapItems
from millstream.quarantine import envelope
from millstream.sources.typed_columns import Declared, NamesOf, column_names

_ROWS = 50_000
_TEXTS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)


def read(path: str, file: Any, names_of: NamesOf = column_names) -> Iterator[Any]:
    """Hints of the columns of a file that can be read from any place on, and its rows.

    Args:
        names_of: gives the names of columns, by what the file calls them.

    Raises:
        SourceDataError: it is not Parquet, or damaged.
    """
    try:
        opened = pq.ParquetFile(file)
        names = names_of(opened.schema_arrow.names)
        yield Declared(list(_hints(opened.schema_arrow, names)), names)
        for batch in opened.iter_batches(_ROWS):
            table = pa.Table.from_batches([batch])
            table = table.rename_columns([names[each] for each in table.schema.names])
            for at, field in enumerate(table.schema):
                column = table.column(at)
                table = table.set_column(at, field.name, _plain(column))
            if any(pa.types.is_nested(field.type) for field in table.schema):
                yield list(_rows(path, table))
            elif table.num_rows:
                yield table
    except (pa.ArrowException, ValueError) as error:
        raise SourceDataError(
            f"{path}: can't be read as Parquet: {error}",
            hint="is the file whole? Put it there again; nothing of this run was loaded",
        ) from None


def _hints(schema: pa.Schema, names: Mapping[str, str]) -> Iterator[Mapping[str, Any]]:
    """Of columns whose values tell too little as rows: texts could be times, decimals any."""
    for field in schema:
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        if any(is_text(kind) for is_text in _TEXTS):
            yield {"name": names[field.name], "data_type": "text"}
        elif pa.types.is_timestamp(kind):
            is_zoned = kind.tz is not None
            yield {"name": names[field.name], "data_type": "timestamp", "timezone": is_zoned}
        elif pa.types.is_decimal(kind) and kind.precision <= 38:
            digits = {"precision": kind.precision, "scale": kind.scale}
            yield {"name": names[field.name], "data_type": "decimal", **digits}
        elif pa.types.is_uint64(kind):
            yield {"name": names[field.name], "data_type": "decimal", "precision": 20, "scale": 0}


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Values of a type that destinations have, where that is another one."""
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        return _plain(pa.chunked_array([each.storage for each in column.chunks], kind.storage_type))
    if pa.types.is_dictionary(kind):
        return _plain(column.cast(kind.value_type))
    if pa.types.is_uint64(kind):
        return column.cast(pa.decimal128(20, 0))
    if pa.types.is_string_view(kind) or pa.types.is_binary_view(kind):  # Arrow can't select rows
        return column.cast(pa.string() if pa.types.is_string_view(kind) else pa.binary())
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        try:
            return column.cast(pa.timestamp("us", kind.tz))
        except pa.ArrowInvalid:  # which are refused one by one
            return column
    return column


def _rows(path: str, table: pa.Table) -> Iterator[Any]:
    """Rows as Python has them; in an envelope where that has too few digits for a time."""
    target = pa.schema([each.with_type(_times_in(each.type, "us")) for each in table.schema])
    try:
        yield from map(_objects, table.cast(target).to_pylist())
    except (pa.ArrowInvalid, OverflowError) as error:
        if table.num_rows > 1:
            for at in range(table.num_rows):
                yield from _rows(path, table.take([at]))  # a slice casts all there is
            return
        texts = pa.schema([each.with_type(_times_in(each.type, None)) for each in table.schema])
        yield envelope.refused(
            _objects(table.cast(texts).to_pylist()[0]),
            detail="a time outside the years 1 to 9999"
            if isinstance(error, OverflowError)
            else "a time with more than 6 digits of a second",
            path="",
            origin=path,
        )


def _times_in(kind: pa.DataType, unit: str | None) -> pa.DataType:
    """A type with nanoseconds in another unit, or all times as text, however deep they are."""
    if unit is None and (pa.types.is_temporal(kind) and not pa.types.is_duration(kind)):
        return pa.string()
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        return pa.timestamp(unit, kind.tz)
    if pa.types.is_time64(kind) and kind.unit == "ns":
        return pa.time64(unit)
    if pa.types.is_struct(kind):
        return pa.struct([each.with_type(_times_in(each.type, unit)) for each in kind])
    if pa.types.is_map(kind):
        return pa.map_(kind.key_type, kind.item_field.with_type(_times_in(kind.item_type, unit)))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        inner = kind.value_field.with_type(_times_in(kind.value_type, unit))
        return pa.large_list(inner) if pa.types.is_large_list(kind) else pa.list_(inner)
    return kind


def _objects(value: Any) -> Any:
    """Maps, which come as lists of pairs, as lists of objects."""
    if isinstance(value, dict):
        return {name: _objects(each) for name, each in value.items()}
    if isinstance(value, list):
        if value and type(value[0]) is tuple:
            return MapItems({KEY: key, VALUE: _objects(item)} for key, item in value)
        return [_objects(each) for each in value]
    return value
