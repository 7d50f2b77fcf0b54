"""The query of a partition: each document is in one window, whatever the type of its `_id`."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from bson import ObjectId
from hypothesis import example, given
from hypothesis import strategies as st

from millstream.errors import ConfigError
from millstream.model import Partition
from millstream.sources.mongodb.partition_filter import condition

UTC = timezone.utc
HOUR = timedelta(hours=1)
moments = st.datetimes(datetime(1971, 1, 1), datetime(2037, 1, 1), timezones=st.just(UTC))


def matches(query: dict[str, Any], document: dict[str, Any]) -> bool:
    """What the server does with such a query: it compares within a type."""
    if "$or" in query:
        return any(matches(each, document) for each in query["$or"])
    ((field, wanted),) = query.items()
    value = document.get(field)
    if not isinstance(wanted, dict):
        return bool(value == wanted)
    low, high = wanted["$gte"], wanted["$lt"]
    return type(value) is type(low) and low <= value < high


def window(start: datetime, by: str | None = "at") -> Partition:
    return Partition("k", by, start=start, end=start + HOUR)


@given(moments, st.integers(-7200, 7200))
@example(datetime(2024, 1, 1, tzinfo=UTC), 3600)
@example(datetime(2024, 1, 1, tzinfo=UTC), -1)
def test_dates_and_ids_are_in_the_window_they_were_made_in(start: datetime, away: int) -> None:
    start = start.replace(microsecond=0)
    moment = start + timedelta(seconds=away)
    inside = 0 <= away < 3600
    assert matches(condition(window(start), "x"), {"at": moment}) == inside
    for id_ in (
        moment,
        ObjectId.from_datetime(moment),
        ObjectId(int(moment.timestamp()).to_bytes(4, "big") + b"\xff" * 8),
    ):
        assert matches(condition(window(start, "_id"), "x"), {"_id": id_}) == inside
        neighbours = [condition(window(start + HOUR * n, "_id"), "x") for n in range(-3, 4)]
        assert sum(matches(query, {"_id": id_}) for query in neighbours) == 1


def test_windows_before_1970_find_no_ids() -> None:
    """Ids count from 1970 on; a window before it would find those of the next century."""
    start = datetime(1969, 1, 1, tzinfo=UTC)
    for id_ in (ObjectId("0" * 24), ObjectId("f" * 24), ObjectId()):
        assert not matches(condition(window(start, "_id"), "x"), {"_id": id_})


def test_static_keys_and_partitions_without_a_field() -> None:
    query = condition(Partition("7", "region", value=7), "x")
    assert query == {"region": 7}
    assert not matches(query, {"region": "7"})
    with pytest.raises(ConfigError, match="orders"):
        condition(window(datetime(2024, 1, 1, tzinfo=UTC), None), "orders")
