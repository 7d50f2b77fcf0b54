"""Cursors of what has no primary key: views and time series. No version of a row stays behind."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from bson import ObjectId

from millstream.errors import ConfigError
from sources.mongodb_kit import Shop
from sources.mongodb_project import Project

pytestmark = pytest.mark.xdist_group("mongodb")

SOURCE = """
collections: [sensors, recent, lines]
settings:
  sensors: {cursor: at}
  recent: {cursor: at}
  lines: {cursor: at}
"""


def at(minute: int) -> datetime:
    return datetime(2024, 1, 1, 0, minute)


def order(key: Any, minute: int, *parts: int) -> dict[str, Any]:
    lines = [{"n": n, "at": at(minute + n), "tags": [key, n]} for n in parts]
    return {"_id": key, "at": at(minute), "lines": lines}


@pytest.mark.nightly_on("postgres")
def test_views_and_time_series_keep_one_version(project: Project) -> None:
    shop = project
    shop.db.create_collection("sensors", timeseries={"timeField": "at"})
    shop.db.sensors.insert_many([{"at": at(n // 2), "v": n, "tags": [n]} for n in range(6)])
    shop.db.orders.insert_many([order(1, 0, 1, 2), order(2, 5, 1, 2, 3), order(3, 1)])
    shop.db.command("create", "recent", viewOn="orders", pipeline=[{"$unset": "lines"}])
    flat = [
        {"$unwind": "$lines"},
        {"$project": {"at": "$lines.at", "n": "$lines.n", "tags": "$lines.tags"}},
    ]
    shop.db.command("create", "lines", viewOn="orders", pipeline=flat)
    shop.define(SOURCE)

    def mirror() -> None:
        sensors = [(each["v"],) for each in shop.db.sensors.find()]
        assert shop.rows("sensors", "v") == sorted(sensors)
        assert shop.place.count("sensors__tags") == len(sensors)
        assert shop.rows("recent", "_id") == [(each["_id"],) for each in shop.db.recent.find()]
        lines = [(each["_id"], each["n"]) for each in shop.db.lines.find()]
        assert shop.rows("lines", "_id", "n") == sorted(lines)
        assert shop.place.count("lines__tags") == 2 * len(lines)

    shop.run()
    mirror()
    shop.run()
    mirror()
    shop.db.sensors.insert_many([{"at": at(n), "v": 10 + n, "tags": [n]} for n in (2, 7)])
    # of the lines of order 2, one is above the cursor and one is gone
    shop.db.orders.replace_one({"_id": 2}, order(2, 5, 1, 9))
    shop.db.orders.insert_one(order(4, 30, 1))
    shop.run()
    mirror()


def cursor(field: str, **settings: Any) -> dict[str, Any]:
    return {"settings": {"seen": {"cursor": field, **settings}}}


def test_ids_of_groups_are_keys(shop: Shop) -> None:
    """The ids of `$group` may be documents, and null."""
    shop.db.things.insert_many([{"_id": n, "k": n % 2, "of": ObjectId(), "n": n} for n in range(4)])
    group = {"$group": {"_id": {"k": "$k"}, "n": {"$max": "$n"}}}
    shop.db.command("create", "seen", viewOn="things", pipeline=[group])
    shop.load("seen", **cursor("n"))
    shop.db.things.insert_one({"_id": 9, "k": 1, "n": 9})
    shop.load("seen", **cursor("n"))
    rows = shop.rows("seen", "_id", "n", "_id_fields__k")
    assert rows == [('{"k":{"$numberInt":"0"}}', 2, 0), ('{"k":{"$numberInt":"1"}}', 9, 1)]


def test_a_view_that_was_empty_gets_its_ids_later(shop: Shop) -> None:
    shop.db.create_collection("things")
    shop.db.command("create", "seen", viewOn="things", pipeline=[])
    shop.load("seen", **cursor("n"))
    key = ObjectId()
    shop.db.things.insert_one({"_id": key, "n": 1})
    for _ in range(2):
        shop.load("seen", **cursor("n"))
        assert shop.rows("seen", "_id", "n") == [(str(key), 1)]


def test_documents_without_an_id_are_refused(shop: Shop) -> None:
    shop.db.things.insert_one({"_id": 1, "n": 1})
    shop.db.command("create", "seen", viewOn="things", pipeline=[{"$unset": "_id"}])
    with pytest.raises(ConfigError, match="documents without an `_id`"):
        shop.load("seen", **cursor("n"))
    assert shop.load("seen").rows == 1


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"cursor": "v"}, "can't be read by the cursor 'v'"),
        ({"cursor": "at", "exclude": ["at"]}, "must be read too"),
        ({"cursor": "at", "projection": ["v"]}, "must be read too"),
    ],
)
def test_a_time_series_is_read_by_its_time(shop: Shop, settings: Any, said: str) -> None:
    shop.db.create_collection("seen", timeseries={"timeField": "at"})
    shop.db.seen.insert_one({"at": at(1), "v": 1})
    with pytest.raises(ConfigError, match=said):
        shop.load("seen", settings={"seen": settings})
