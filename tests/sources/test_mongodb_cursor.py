"""Incremental reads: falsy cursors, ties, values of all types, and nothing read that is not new."""

from __future__ import annotations

import math
from typing import Any

import pytest
from bson import Decimal128, Int64, ObjectId
from bson.datetime_ms import DatetimeMS

from sources.mongodb_kit import Shop

pytestmark = pytest.mark.xdist_group("mongodb")


def load(shop: Shop, field: str = "c", **settings: Any) -> int:
    """Load by a cursor; how many documents were read."""
    settings = {"cursor": field, **settings}
    return shop.load("things", settings={"things": settings}, chunk_size=20).rows


@pytest.mark.parametrize("first", [0, False, "", 0.0, Int64(0), DatetimeMS(0)])
def test_a_falsy_cursor_is_a_cursor(shop: Shop, first: Any) -> None:
    shop.db.things.insert_many([{"_id": 1, "c": first}, {"_id": 2, "c": first}])
    assert load(shop) == 2
    lower = {bool: None, str: None}.get(type(first), -1)
    if lower is not None:
        value = DatetimeMS(-5) if isinstance(first, DatetimeMS) else -5
        shop.db.things.insert_one({"_id": 3, "c": value})
    # the two at the cursor come again, the lower one does not
    assert load(shop) == 2
    assert [n for (n,) in shop.rows("things", "_id")] == [1, 2]


def test_ties_are_neither_lost_nor_doubled(shop: Shop) -> None:
    shop.db.things.insert_many([{"_id": n, "c": 7, "tags": ["x"]} for n in range(3)])
    load(shop)
    shop.db.things.insert_many([{"_id": n, "c": 7, "tags": ["x"]} for n in range(3, 5)])
    shop.db.things.update_one({"_id": 0}, {"$set": {"tags": ["y", "z"], "c": 8}})
    load(shop)
    assert [n for (n,) in shop.rows("things", "_id")] == [0, 1, 2, 3, 4]
    tags = shop.rows("things__tags", "value", order="value")
    assert tags == [("x",)] * 4 + [("y",), ("z",)]
    assert load(shop) == 1


def test_null_missing_nan_and_other_types_are_never_left_behind(shop: Shop) -> None:
    shop.db.things.insert_many([{"_id": n, "c": n} for n in range(10)])
    assert load(shop) == 10
    late: list[Any] = [None, math.nan, "text", ObjectId(), {"a": 1}, [1, 2], Decimal128("99")]
    shop.db.things.insert_many([{"_id": 100 + n, "c": c} for n, c in enumerate(late)])
    shop.db.things.insert_one({"_id": 200})
    load(shop)
    found = [n for (n,) in shop.rows("things", "_id")]
    assert found == [*range(10), *range(100, 107), 200]
    # the text has a cursor of its own now; what has none comes each time
    shop.db.things.insert_many([{"_id": 300, "c": "zz later"}, {"_id": 301, "c": "earlier"}])
    load(shop)
    assert [n for (n,) in shop.rows("things", "_id")] == [*found, 300]


def test_the_server_filters(shop: Shop) -> None:
    shop.db.things.create_index("meta.at")
    shop.db.things.insert_many([{"_id": n, "meta": {"at": DatetimeMS(n)}} for n in range(1000)])
    load(shop, "meta.at")
    shop.db.things.insert_one({"_id": 1000, "meta": {"at": DatetimeMS(5000)}})
    before = shop.commands()
    assert load(shop, "meta.at") == 2
    assert shop.commands() - before < 20


def test_a_lag_reads_back(shop: Shop) -> None:
    shop.db.things.insert_many([{"_id": n, "c": DatetimeMS(n * 1000)} for n in range(10)])
    load(shop)
    shop.db.things.insert_one({"_id": 20, "c": DatetimeMS(7000)})
    load(shop)
    assert shop.query('SELECT count(*) FROM shop.things WHERE "_id" = 20') == [(0,)]
    assert load(shop, lag=2.5) == 4
    assert shop.query('SELECT count(*) FROM shop.things WHERE "_id" = 20') == [(1,)]


def test_another_filter_reads_all_again(shop: Shop) -> None:
    shop.db.things.insert_many([{"_id": n, "c": n, "kind": n % 2} for n in range(10)])
    assert load(shop, filter={"kind": 0}) == 5
    assert load(shop, filter={"kind": 0}) == 1
    # what the old filter left out lies below the cursor
    assert load(shop) == 10
    assert len(shop.rows("things", "_id")) == 10


def test_a_failed_load_moves_no_cursor(shop: Shop) -> None:
    from millstream.errors import SourceError

    shop.db.things.insert_many([{"_id": n, "c": n} for n in range(5)])
    load(shop)
    shop.db.things.insert_many([{"_id": n, "c": n} for n in range(5, 300)])
    with shop.failing("getMore", "alwaysOn", code=96), pytest.raises(SourceError):
        load(shop)
    with shop.failing("getMore", {"times": 2}, code=43):
        assert load(shop) == 296
    assert len(shop.rows("things", "_id")) == 300


def test_full_refresh_forgets_the_cursor(shop: Shop) -> None:
    shop.db.things.insert_many([{"_id": n, "c": n} for n in range(5)])
    load(shop)
    shop.db.things.delete_one({"_id": 0})
    settings = {"things": {"cursor": "c"}}
    assert shop.load("things", settings=settings, full_refresh=True).rows == 4
    assert [n for (n,) in shop.rows("things", "_id")] == [1, 2, 3, 4]
    assert load(shop) == 1
