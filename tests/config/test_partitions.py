"""Windows of time and static keys: no moment in two windows, no row in two partitions."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from millstream.config.partitions import StaticPartitions, TimePartitions, between
from millstream.errors import ConfigError

ZONES = ("UTC", "Europe/Berlin", "America/Sao_Paulo", "Asia/Kathmandu", "Pacific/Apia")


def windows(every: str, start: date, zone: str = "UTC") -> TimePartitions:
    return TimePartitions(every=every, start=start, timezone=zone)  # type: ignore[arg-type]


@settings(max_examples=60)
@given(
    st.sampled_from(["hour", "day", "week", "month"]),
    st.dates(date(2009, 1, 1), date(2026, 1, 1)),
    st.sampled_from(ZONES),
    st.integers(0, 90 * 24),
)
@example("day", date(2018, 11, 1), "America/Sao_Paulo", 24 * 9)  # no midnight on the 4th
@example("day", date(2011, 12, 28), "Pacific/Apia", 24 * 5)  # no 30th at all
def test_windows_follow_each_other_without_gap_or_overlap(
    every: str, start: date, zone: str, hours: int
) -> None:
    if every == "month":
        start = start.replace(day=1)
    zone = "UTC" if every == "hour" else zone
    config = windows(every, start, zone)
    first = datetime(start.year, start.month, start.day, tzinfo=ZoneInfo(zone))
    now = first.astimezone(timezone.utc) + timedelta(hours=hours)

    keys = config.keys(now)

    assert list(keys) == sorted({*keys})
    parts = [config.partition("s", key) for key in keys]
    assert [part.key for part in parts] == list(keys)
    end = first.astimezone(timezone.utc)
    for part in parts:
        assert part.start == end
        assert part.start <= part.end <= now
        end = part.end
        local = part.end.astimezone(ZoneInfo(zone))
        assert every == "hour" or part.start == part.end or local.hour <= 1
    # the next window has not ended
    length = {"hour": 1 / 24, "day": 1, "week": 7, "month": 31}[every]
    assert end + timedelta(days=length, hours=2) > now


@pytest.mark.parametrize(
    ("every", "key"),
    [
        ("day", "2023-12-31"),  # before the first
        ("day", "2024-1-1"),
        ("day", "2024-02-30"),
        ("day", "2024-01-01-00:00"),
        ("day", "today"),
        ("day", "9999-12-31"),
        ("week", "2024-01-02"),
        ("month", "2024-01-02"),
        ("hour", "2024-01-01-00:30"),
        ("hour", "2024-01-01"),
    ],
)
def test_keys_of_no_window(every: str, key: str) -> None:
    config = windows(every, date(2024, 1, 1))
    with pytest.raises(ConfigError, match="no partition") as raised:
        config.partition("s", key)
    assert raised.value.hint == f"the first is {config.keys()[0]}"


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"every": "month", "start": date(2024, 1, 2)}, "months start on their first day"),
        ({"every": "hour", "timezone": "Europe/Berlin"}, "require `timezone: UTC`"),
        ({"every": "day", "timezone": "Berlin"}, "no such time zone"),
        ({"every": "day", "timezone": "../etc/passwd"}, "no such time zone"),
        ({"every": "day", "timezone": ""}, "no such time zone"),
    ],
)
def test_windows_that_can_not_be(attributes: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TimePartitions(**{"start": date(2024, 1, 1), **attributes})


def test_a_partition_knows_its_cursor_and_arguments() -> None:
    config = TimePartitions(
        every="day",
        start=date(2024, 1, 1),
        cursor="at",
        cursors={"orders": "paid.at"},
        arguments={"start": "since"},
        streams=("orders", "lines"),
    )
    assert config.partition("orders", "2024-01-01").by == "paid.at"
    part = config.partition("lines", "2024-01-01")
    assert (part.by, part.arguments, part.timezone) == ("at", {"start": "since"}, "UTC")
    assert [config.covers(name) for name in ("orders", "others")] == [True, False]


def test_static_keys_are_values_of_their_own_type() -> None:
    config = StaticPartitions(values=(1, "eu"), field="region", fields={"lines": "order.region"})
    assert config.keys() == ["1", "eu"]
    assert (config.partition("s", "1").value, config.partition("s", "eu").value) == (1, "eu")
    assert config.partition("lines", "eu").by == "order.region"
    for key, hint in (("eux", "did you mean 'eu'?"), ("zzz", "there is 1, eu")):
        with pytest.raises(ConfigError, match="no partition") as raised:
            config.partition("s", key)
        assert raised.value.hint == hint


@pytest.mark.parametrize("values", [("a", "a"), (1, "1"), ("",), (" ",), ("a...b",), ("a\nb",), ()])
def test_static_keys_that_could_not_be_told_apart(values: Any) -> None:
    with pytest.raises(ValidationError):
        StaticPartitions(values=values, field="k")


def test_a_range_of_keys_includes_both_ends() -> None:
    config = StaticPartitions(values=("a", "b", "c", "d"), field="k")
    assert between(config, "b") == ["b"]
    assert between(config, "b...d") == ["b", "c", "d"]
    assert between(config, "c...c") == ["c"]
    with pytest.raises(ConfigError, match="'c' comes after 'a'") as raised:
        between(config, "c...a")
    assert raised.value.hint == "a...c"
    days = windows("day", date(2024, 1, 1))
    assert between(days, "2024-02-28...2024-03-01") == ["2024-02-28", "2024-02-29", "2024-03-01"]
    with pytest.raises(ConfigError, match="'9000-01-01' has not ended yet"):
        between(days, "2024-01-01...9000-01-01")
