"""The files of a partition, and their rows marked as the partition's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa

from millstream.common.redact import redact_url
from millstream.config import FilesConfig, FileStream
from millstream.errors import ConfigError, SourceDataError
from millstream.model import PARTITION_COLUMN, Partition
from millstream.quarantine import envelope
from millstream.sources.partition import holds_value, parsed, require_field, value_at
from millstream.sources.typed_columns import Declared

_PLACE = re.compile(r"\{partition(?::([^}]*))?\}")
"""`{partition}` in a path; `{partition:%Y/%m}` writes the window's start that way."""
_STAMP = b'"%s"' % PARTITION_COLUMN.encode()


def has_place(path: str) -> bool:
    """Whether a path says where a partition's name goes."""
    return _PLACE.search(path) is not None


def is_told_by_path(source: Any, stream: str) -> bool:
    """Whether the path of its files, and no field, tells the partition of a stream's rows."""
    return isinstance(source, FilesConfig) and has_place(source.streams[stream].path)


def of_any_partition(path: str) -> str:
    """The pattern that the files of all partitions fit.

    >>> of_any_partition("day={partition}/*.csv"), of_any_partition("{partition:%Y/%m}/a.csv")
    ('day=*/*.csv', '*/*/a.csv')
    """
    return _PLACE.sub(lambda found: re.sub(r"[^/]+", "*", found[1] or "*"), path)


def for_partition(partition: Partition | None, stream: str, settings: FileStream) -> FileStream:
    """The settings with the partition's name in the path, where it has a place for it.

    Raises:
        ConfigError: it has one, and there is no partition; or it has none, and nothing else tells
            which partition a row belongs to.
    """
    place = _PLACE.search(settings.path)
    if partition is None:
        if place:
            raise ConfigError(
                f"stream {stream!r}: {redact_url(settings.path)} is the files of a partition",
                hint="name `partitions` in defs.yaml, or put a `*` into the path",
            )
        return settings
    if place is None:
        if partition.window is None:  # of static keys
            require_field(partition, f"stream {stream!r}")
        if partition.by is None and not settings.primary_key:
            raise ConfigError(
                f"stream {stream!r}: a file that is changed moves to another window, and its rows "
                "would be doubled",
                hint="set `primary_key`; or `partitions.cursor`; or put `{partition}` into `path`",
            )
        return settings

    def name(found: re.Match[str]) -> str:
        if not found[1]:
            return partition.key
        if partition.start is None:
            raise ConfigError(
                f"stream {stream!r}: {found[0]} in {redact_url(settings.path)} is for windows of "
                "time",
                hint="`{partition}` alone stands for a static key",
            )
        return partition.start.astimezone(ZoneInfo(partition.timezone)).strftime(found[1])

    path = _PLACE.sub(name, settings.path)
    return settings.model_copy(update={"path": path})


def rows_in(page: Any, partition: Partition, columns: Declared, file: str, read: int) -> Any:
    """The rows of a page, an Arrow table or a list, that a field says to be the partition's.

    Args:
        columns: of the file; none where it has JSON.
        file: is named in errors, with the number of a row where rows come in the file's order.
        read: how many rows of the file came so far, with this page's.

    Raises:
        SourceDataError: a row does not say where it belongs, or can't be read.
    """
    field = require_field(partition, file)
    first, _, rest = (field, "", "") if field in columns.names else field.partition(".")
    column = columns.names.get(first, first)
    if not isinstance(page, list):
        values = (value_at(each, rest) if rest else each for each in _values(page, column))
        return page.filter(pa.array([holds_value(partition, each, file) for each in values]))
    if columns.names:
        key = columns.keys.get(column, column)
        field = f"{key}.{rest}" if rest else key
        return [row for row in page if _holds(partition, row, field, file)]
    return [
        row
        for number, row in enumerate(page, read - len(page) + 1)
        if _holds(partition, row, field, f"{file}, row {number}")
    ]


def _values(table: pa.Table, column: str) -> Iterator[Any]:
    """Of one column, as Python has them; windows have no nanoseconds, which are cut."""
    if column not in table.column_names:
        return iter([None] * table.num_rows)
    values = table.column(column)
    if pa.types.is_timestamp(values.type):
        values = values.cast(pa.timestamp("us", values.type.tz), safe=False)
    return iter(values.to_pylist())


def _holds(partition: Partition, row: Any, field: str, where: str) -> bool:
    return holds_value(partition, value_at(_readable(row), field), where)


def _readable(row: Any) -> Any:
    """A row without the envelope that what is to be quarantined is in."""
    row = parsed(row)
    if not envelope.is_one(row):
        return row
    if "row" in row:
        return row["row"]
    found = row[envelope.KEY]
    raise SourceDataError(
        f"{found['origin']}: {found['unreadable']}, so that its partition can't be told",
        hint="correct it, or take it out; nothing of this partition was loaded",
    )


def stamped(page: Any, partition: Partition) -> Any:
    """A page of rows with their partition."""
    if isinstance(page, list):
        return [_stamped(row, partition) for row in page]
    return page.append_column(PARTITION_COLUMN, [[partition.key] * page.num_rows])


def _stamped(row: Any, partition: Partition) -> Any:
    """A row with its partition; a line stays as it is, but for what is put behind its bracket."""
    import orjson

    line = orjson.dumps(row) if isinstance(row, orjson.Fragment) else b""
    if line.startswith(b"{") and _STAMP not in line:
        return orjson.Fragment(_with_key(line, partition.key))
    return {**_as_object(row), PARTITION_COLUMN: partition.key}


def stamped_text(text: str, key: str) -> str:
    """The JSON text of an object with the key of a partition; its numbers stay as written.

    >>> stamped_text('{"n": 1.50}', "eu"), stamped_text("{}", "eu")
    ('{"n": 1.50,"_millstream_partition":"eu"}', '{"_millstream_partition":"eu"}')
    """
    return _with_key(text.encode(), key).decode()


def _with_key(line: bytes, key: str) -> bytes:
    import orjson

    end = line.rindex(b"}")
    comma = b"," if line[line.index(b"{") + 1 : end].strip() else b""
    return line[:end] + comma + _STAMP + b":" + orjson.dumps(key) + line[end:]


def _as_object(row: Any) -> dict[str, Any]:
    row = parsed(row)
    return row if isinstance(row, dict) else {"value": row}
