"""Queries as YAML holds them, against PyMongo's own parser of Extended JSON."""

from __future__ import annotations

import datetime
import json
from typing import Any

import bson
import pytest
from bson import json_util
from hypothesis import example, given
from hypothesis import strategies as st

from millstream.config.extended_json import to_extended_json, with_exact_dates

UTC = datetime.timezone.utc
milliseconds = st.datetimes(datetime.datetime(1000, 1, 1), datetime.datetime(9999, 12, 30)).map(
    lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000)
)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**31), 2**31 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.binary(max_size=4)
    | milliseconds
    | st.dates(datetime.date(1000, 1, 1)),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=2)
    ),
    max_leaves=5,
)


def parsed(value: Any) -> Any:
    """What the server is asked, of Extended JSON that went through a file."""
    text = json.dumps(with_exact_dates(json.loads(json.dumps(value))))
    return json_util.loads(text, json_options=json_util.JSONOptions(tz_aware=True))


def meant(value: Any) -> Any:
    """What YAML's value means to MongoDB, in PyMongo's types."""
    if isinstance(value, list):
        return [meant(each) for each in value]
    if isinstance(value, dict):
        return {key: meant(each) for key, each in value.items()}
    if isinstance(value, datetime.datetime):
        return value.replace(tzinfo=UTC)
    if isinstance(value, datetime.date):
        return datetime.datetime(value.year, value.month, value.day, tzinfo=UTC)
    return value


@given(values)
@example({"at": {"$gte": datetime.datetime(2024, 1, 1, 0, 0, 0, 29_000)}})
def test_pymongo_reads_what_yaml_meant(value: Any) -> None:
    assert parsed(to_extended_json(value)) == meant(value)


@given(milliseconds, st.integers(-14 * 60, 14 * 60))
@example(datetime.datetime(1970, 1, 1), 90)
def test_moments_of_any_zone_keep_each_millisecond(moment: datetime.datetime, minutes: int) -> None:
    zone = datetime.timezone(datetime.timedelta(minutes=minutes))
    local = moment.replace(tzinfo=zone)
    try:
        expected = local.astimezone(UTC)
    except OverflowError:
        return
    for written in (local, local.isoformat(timespec="milliseconds")):
        assert parsed(to_extended_json({"$date": written})) == expected
    assert parsed(to_extended_json(local)) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"$oid": "0123456789abcdef01234567"}, bson.ObjectId("0123456789abcdef01234567")),
        ({"$numberLong": 2**40}, 2**40),
        ({"$numberInt": "5"}, 5),
        ({"$numberDouble": 5}, 5.0),
        ({"$numberDecimal": "0.10"}, bson.Decimal128("0.10")),
        ({"$date": 1029}, datetime.datetime(1970, 1, 1, 0, 0, 1, 29_000, UTC)),
        (
            {"$date": {"$numberLong": "-1"}},
            datetime.datetime(1969, 12, 31, 23, 59, 59, 999_000, UTC),
        ),
        ({"$date": "2024-02-29"}, datetime.datetime(2024, 2, 29, tzinfo=UTC)),
        ({"$gte": 5, "$date": "x"}, {"$gte": 5, "$date": "x"}),
    ],
)
def test_typed_values(value: Any, expected: Any) -> None:
    if "$gte" not in value:
        assert parsed(to_extended_json({"a": [value]})) == {"a": [expected]}
    assert to_extended_json(value).keys() == value.keys()


@pytest.mark.parametrize(
    "value",
    [
        {"$oid": "0123"},
        {"$oid": 123456789012345678901234},
        {"$numberLong": "5.0"},
        {"$numberLong": True},
        {"$numberDecimal": 0.1},
        {"$date": "soon"},
        {"$date": "2024-02-30T00:00:00Z"},
        {"$date": "2024-01-01T25:00:00Z"},
        {"$date": "2024-01-01T00:00:00.0001Z"},
        {"$date": True},
        {5: "key"},
        {"a": {1, 2}},
        datetime.datetime(2024, 1, 1, 0, 0, 0, 1),
    ],
)
def test_what_has_no_form_in_extended_json(value: Any) -> None:
    with pytest.raises(ValueError):
        to_extended_json({"a": [value]})
