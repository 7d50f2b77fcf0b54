"""Partitions of a pipeline: windows of time, or static keys. One key, one load, one set of rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta, timezone
from difflib import get_close_matches
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from millstream.config.base import Model
from millstream.errors import ConfigError
from millstream.model import Partition

Every = Literal["hour", "day", "week", "month"]

_FORMATS: Mapping[Every, str] = {
    # as Dagster writes them
    "hour": "%Y-%m-%d-%H:%M",
    "day": "%Y-%m-%d",
    "week": "%Y-%m-%d",
    "month": "%Y-%m-%d",
}


class _Partitions(Model):
    streams: tuple[str, ...] = Field(
        default=(), description="The streams that are partitioned; all when left out."
    )
    arguments: Mapping[Literal["start", "end", "key"], str] = Field(
        default_factory=dict,
        description="dlt sources: the function's arguments that get the window's start and end "
        "(datetimes) or the key.",
    )

    per_run: int = Field(
        default=1,
        ge=0,
        description="How many partitions a run of a Dagster backfill loads, one after the other; "
        "0: all in one run.",
    )

    def covers(self, stream: str) -> bool:
        """Whether a stream is partitioned."""
        return not self.streams or stream in self.streams


class TimePartitions(_Partitions):
    """Windows of time: a partition is the rows whose cursor lies in its window."""

    type: Literal["time"] = "time"
    every: Every = Field(description="The length of a window. Hours are in UTC.")
    start: date = Field(
        description="The first day; weeks begin on its weekday, months on their first day."
    )
    timezone: str = Field(
        default="UTC",
        description="Where days begin, and where cursors that name no offset were written.",
    )
    cursor: str | None = Field(
        default=None,
        min_length=1,
        description="The field that holds a row's time, dots between levels; for GitHub the "
        "stream's own, for files the time of change, where left out.",
    )
    cursors: Mapping[str, str] = Field(
        default_factory=dict, description="The cursor of single streams."
    )
    cursor_type: Literal["timestamp", "date", "text", "epoch", "epoch_ms"] | None = Field(
        default=None,
        description="dlt sources: what a resource's own `dlt.sources.incremental` compares; the "
        "type of its `initial_value` when left out, or `timestamp` where it has none.",
    )

    @field_validator("timezone")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ValueError, OSError, KeyError):  # ZoneInfoNotFoundError is a KeyError
            raise ValueError(f"no such time zone: {value!r}; one is called Europe/Berlin") from None
        return value

    @model_validator(mode="after")
    def _whole(self) -> TimePartitions:
        if self.every == "month" and self.start.day != 1:
            raise ValueError("months start on their first day: `start: YYYY-MM-01`")
        if self.every == "hour" and self.timezone != "UTC":
            raise ValueError(
                "hourly partitions require `timezone: UTC` (a DST change repeats an hour)"
            )
        return self

    def partition(self, stream: str, key: str) -> Partition:
        """The window of a key, for one stream.

        Raises:
            ConfigError: no window begins there.
        """
        try:
            begin = datetime.strptime(key, _FORMATS[self.every])
            start, end = self._instant(begin), self._instant(self._next(begin))
        except (ValueError, OverflowError):
            raise self._no_such(key) from None
        first = datetime(self.start.year, self.start.month, self.start.day)
        wrong = {
            "hour": begin.minute != 0,
            "day": False,
            "week": (begin - first).days % 7 != 0,
            "month": begin.day != 1,
        }[self.every]
        # strptime reads `2024-1-1`, too: a window has one key
        if wrong or begin < first or begin.strftime(_FORMATS[self.every]) != key:
            raise self._no_such(key)
        return Partition(
            key=key,
            by=self.cursors.get(stream, self.cursor),
            start=start,
            end=end,
            timezone=self.timezone,
            arguments={str(k): v for k, v in self.arguments.items()},
            cursor_type=self.cursor_type,
        )

    @property
    def first_key(self) -> str:
        """The key of the first window, whether or not it has ended."""
        return self.start.strftime(_FORMATS[self.every])

    def keys(self, now: datetime | None = None) -> Sequence[str]:
        """The keys of the windows that have ended, oldest first."""
        return list(self._keys(now or datetime.now(timezone.utc)))

    def _keys(self, now: datetime) -> Iterator[str]:
        begin = datetime(self.start.year, self.start.month, self.start.day)
        while self._instant(end := self._next(begin)) <= now:
            yield begin.strftime(_FORMATS[self.every])
            begin = end

    def _next(self, begin: datetime) -> datetime:
        if self.every == "month":
            return (begin + timedelta(days=31)).replace(day=1)
        return begin + timedelta(
            hours=1 if self.every == "hour" else 24 if self.every == "day" else 24 * 7
        )

    def _instant(self, local: datetime) -> datetime:
        return local.replace(tzinfo=ZoneInfo(self.timezone)).astimezone(timezone.utc)

    def _no_such(self, key: str) -> ConfigError:
        return ConfigError(
            f"no partition {key!r}: one begins every {self.every} from {self.start} on",
            hint=f"the first is {self.first_key}",
        )


class StaticPartitions(_Partitions):
    """Static keys: a partition is the rows that hold the key in a field."""

    type: Literal["static"] = "static"
    field: str | None = Field(
        default=None,
        min_length=1,
        description="The field that holds a row's key, dots between levels; not needed where "
        "files are told apart by their path.",
    )
    fields: Mapping[str, str] = Field(
        default_factory=dict, description="The field of single streams."
    )
    values: tuple[str | int, ...] = Field(
        min_length=1, description="The keys. Rows that hold none of them are in no partition."
    )

    @field_validator("values")
    @classmethod
    def _told_apart(cls, values: tuple[str | int, ...]) -> tuple[str | int, ...]:
        texts = [str(value) for value in values]
        if len(set(texts)) != len(texts):
            raise ValueError("duplicate key")
        for text in texts:
            # Dagster's rules; three dots stand between the ends of a range
            if not text.strip() or "..." in text or any(not c.isprintable() for c in text):
                raise ValueError(f"{text!r} can't be a key")
        return values

    def partition(self, stream: str, key: str) -> Partition:
        """The partition of a key, for one stream.

        Raises:
            ConfigError: no such key.
        """
        for value in self.values:
            if str(value) == key:
                return Partition(
                    key=key,
                    by=self.fields.get(stream, self.field),
                    value=value,
                    arguments={str(k): v for k, v in self.arguments.items()},
                )
        close = get_close_matches(key, self.keys(), n=1)
        raise ConfigError(
            f"no partition {key!r}",
            hint=f"did you mean {close[0]!r}?" if close else f"there is {', '.join(self.keys())}",
        )

    @property
    def first_key(self) -> str:
        return str(self.values[0])

    def keys(self, now: datetime | None = None) -> Sequence[str]:
        """All keys, in their order."""
        return [str(value) for value in self.values]


PartitionsConfig = Annotated[TimePartitions | StaticPartitions, Field(discriminator="type")]


def between(config: TimePartitions | StaticPartitions, text: str) -> Sequence[str]:
    """The keys that `KEY` or `FIRST...LAST`, both included, names.

    Raises:
        ConfigError: no such keys.
    """
    first, dots, last = text.partition("...")
    for key in (first, last) if dots else (first,):
        config.partition("", key)
    if not dots:
        return [first]
    keys = list(config.keys())
    for key in (first, last):
        if key not in keys:
            raise ConfigError(
                f"the window {key!r} has not ended yet",
                hint=f"the last that has is {keys[-1]}" if keys else None,
            )
    found = keys[keys.index(first) : keys.index(last) + 1]
    if not found:
        raise ConfigError(f"{first!r} comes after {last!r}", hint=f"{last}...{first}")
    return found
