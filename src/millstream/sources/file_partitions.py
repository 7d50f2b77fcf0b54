"""The files of a partition, and their rows marked as the partition's."""

from __future__ import annotations

import json
import re
from typing import Any
from zoneinfo import ZoneInfo

from millstream.common.redact import redact_url
from millstream.config import FileStream
from millstream.errors import ConfigError
from millstream.model import PARTITION_COLUMN, Partition

_PLACE = re.compile(r"\{partition(?::([^}]*))?\}")
"""`{partition}` in a path; `{partition:%Y/%m}` writes the window's start that way."""
_STAMP = b'"%s"' % PARTITION_COLUMN.encode()


def has_place(path: str) -> bool:
    """Whether a path says where a partition's name goes."""
    return _PLACE.search(path) is not None


def of_any_partition(path: str) -> str:
    """The pattern that the files of all partitions fit.

    >>> of_any_partition("day={partition}/*.csv"), of_any_partition("{partition:%Y/%m}/a.csv")
    ('day=*/*.csv', '*/*/a.csv')
    """
    return _PLACE.sub(lambda found: re.sub(r"[^/]+", "*", found[1] or "*"), path)


def for_partition(partition: Partition | None, stream: str, settings: FileStream) -> FileStream:
    """The settings with the partition's name in the path, where it has a place for it."""
    place = _PLACE.search(settings.path)
    if partition is None:
        if place:
            raise ConfigError(
                f"stream {stream!r}: {redact_url(settings.path)} is the files of a partition",
                hint="name `partitions` in defs.yaml, or put a `*` into the path",
            )
        return settings
    if place is None:
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


def as_object(row: Any) -> dict[str, Any]:
    """A row as an object; a line comes as it is."""
    import orjson

    if isinstance(row, orjson.Fragment):
        row = json.loads(orjson.dumps(row))  # integers of any length
    return row if isinstance(row, dict) else {"value": row}


def stamped(row: Any, partition: Partition) -> Any:
    """A row with its partition; a line stays as it is, but for what is put behind its bracket."""
    import orjson

    line = orjson.dumps(row) if isinstance(row, orjson.Fragment) else b""
    if line.startswith(b"{") and _STAMP not in line:
        end = line.rindex(b"}")
        comma = b"," if line[1:end].strip() else b""
        added = _STAMP + b":" + orjson.dumps(partition.key)
        return orjson.Fragment(line[:end] + comma + added + line[end:])
    return {**as_object(row), PARTITION_COLUMN: partition.key}
