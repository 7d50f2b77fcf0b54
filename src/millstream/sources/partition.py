"""Does a row belong to a partition? The same answer for every source."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime, time, timezone
from typing import Any
from zoneinfo import ZoneInfo

from millstream.errors import ConfigError, SourceDataError
from millstream.model import PARTITION_COLUMN, Partition

MILLISECONDS = 100_000_000_000
"""Numbers from here on are milliseconds since 1970: as seconds, after the year 5000."""


def rows_of(
    partition: Partition, rows: Iterable[Mapping[str, Any]], what: str
) -> Iterator[dict[str, Any]]:
    """The rows that belong to a partition, with its key in `PARTITION_COLUMN`.

    Raises:
        SourceDataError: a row does not say where it belongs, so that no partition would have it.
    """
    for row in rows:
        if holds(partition, row, what):
            yield {**row, PARTITION_COLUMN: partition.key}


def holds(partition: Partition, row: Mapping[str, Any], what: str) -> bool:
    """Whether a row belongs to a partition.

    Args:
        what: names the stream in errors.

    Raises:
        SourceDataError: it does not say; it must not get lost in silence.
    """
    return holds_value(partition, value_at(row, require_field(partition, what)), what)


def value_at(row: Any, field: str) -> Any:
    """A row's value at a path with dots, or of a key that has them; None where there is none.

    >>> value_at({"a": {"b": 1}}, "a.b"), value_at({"a.b": 2}, "a.b"), value_at({}, "a.b")
    (1, 2, None)
    """
    row = value = parsed(row)
    for name in field.split("."):
        value = parsed(value.get(name)) if isinstance(value, Mapping) else None
    return row.get(field) if value is None and isinstance(row, Mapping) else value


def parsed(value: Any) -> Any:
    """A value, which may be JSON as its source wrote it."""
    import orjson

    if isinstance(value, orjson.Fragment):
        return json.loads(orjson.dumps(value))  # integers of any length
    return value


def holds_value(partition: Partition, value: Any, what: str) -> bool:
    """Whether a row belongs to a partition, by the value of its field.

    Raises:
        SourceDataError: there is none.
    """
    if value is None:
        raise SourceDataError(
            f"{what}: {partition.by!r} is missing, so that the row belongs to no partition",
            hint="choose a field that every row has, or leave such rows out at the source",
        )
    if partition.window is None:
        return str(value) == partition.key
    start, end = partition.window
    return start <= instant(value, partition, what) < end


def instant(value: Any, partition: Partition, what: str) -> datetime:
    """A cursor's value as a time: datetimes, dates, ISO 8601, seconds or milliseconds since 1970.

    Dates, and times without an offset, are read in the partition's time zone.

    Raises:
        SourceDataError: it is not a time.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        seconds = value / 1000 if abs(value) >= MILLISECONDS else value
        try:
            return datetime.fromtimestamp(seconds, tz=timezone.utc)
        except (ValueError, OverflowError, OSError):
            raise _no_time(value, partition, what) from None
    if isinstance(value, str):
        value = _parsed(value, partition, what)
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time())
    if not isinstance(value, datetime):
        raise _no_time(value, partition, what)
    if value.tzinfo is None:
        value = value.replace(tzinfo=ZoneInfo(partition.timezone))
    found: datetime = value.astimezone(timezone.utc)
    return found


def require_field(partition: Partition, what: str) -> str:
    """The field that says where a row belongs.

    Raises:
        ConfigError: none is configured, and the source knows none.
    """
    if partition.by is None:
        raise ConfigError(
            f"{what}: which field tells the partition of a row?",
            hint="set `cursor` (or, of static partitions, `field`) under `partitions` in defs.yaml",
        )
    return partition.by


def _parsed(text: str, partition: Partition, what: str) -> date:
    try:
        # quick, and all that Python 3.10 knows
        return datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        pass
    from dlt.common.time import parse_iso_like_datetime

    try:
        found = parse_iso_like_datetime(text)
    except Exception:  # whatever pendulum thinks of it
        raise _no_time(text, partition, what) from None
    if not isinstance(found, date):
        raise _no_time(text, partition, what)
    return found


def _no_time(value: Any, partition: Partition, what: str) -> SourceDataError:
    return SourceDataError(
        f"{what}: {partition.by!r} of a row is not a time: {str(value)[:60]!r}",
        hint="a date, ISO 8601, or seconds or milliseconds since 1970",
    )
