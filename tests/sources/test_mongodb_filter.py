"""Filters as YAML has them: dates, ObjectIds and all of Extended JSON, compared by type."""

from __future__ import annotations

from datetime import datetime

import pytest
from bson import Decimal128, Int64, ObjectId

from millstream.config import MongoDBCollection
from sources.mongodb_kit import Shop
from sources.mongodb_project import Project

pytestmark = pytest.mark.xdist_group("mongodb")

OID = ObjectId("507f1f77bcf86cd799439011")

FROM_THE_4TH = [
    "{at: {$gte: 2024-01-04}}",
    "{at: {$gte: 2024-01-04T00:00:00Z}}",
    "{at: {$gte: 2024-01-04T05:30:00+05:30}}",
    "{at: {$gte: {$date: 2024-01-04}}}",
    '{at: {$gte: {$date: "2024-01-04"}}}',
    "{at: {$gte: {$date: 1704326400000}}}",
    "{$and: [{at: {$gt: 2024-01-03}}, {at: {$nin: [2024-01-01]}}]}",
]


@pytest.mark.nightly
def test_every_way_to_write_a_filter_loads_its_rows(duckdb_project: Project) -> None:
    """One view of the collection for each filter, all in one run."""
    shop = duckdb_project
    shop.db.days.insert_many(
        [{"_id": n, "at": datetime(2024, 1, n), "text": f"2024-01-0{n}"} for n in range(1, 8)]
    )
    lines = []
    for n, each in enumerate(FROM_THE_4TH):
        shop.db.command("create", f"v{n}", viewOn="days", pipeline=[])
        lines.append(f"  v{n}:\n    filter: {each}")
    names = ", ".join(f"v{n}" for n in range(len(FROM_THE_4TH)))
    source = f"collections: [{names}]\nsettings:\n" + "\n".join(lines)
    shop.define(source)
    assert "failed" not in shop.command("doctor")
    shop.run()
    for n, each in enumerate(FROM_THE_4TH):
        assert shop.rows(f"v{n}", "_id") == [(4,), (5,), (6,), (7,)], each


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"_id": {"$oid": str(OID)}}, [str(OID)]),
        ({"n": {"$type": "long"}, "$or": [{"n": {"$numberLong": 2**40}}]}, ['"long"']),
        ({"n": {"$numberDecimal": "1.10"}}, ['"decimal"']),
        ({"text": {"$regex": "^x", "$options": "i"}}, ['"text"']),
        ({"text": {"$regularExpression": {"pattern": "^X", "options": ""}}}, ['"text"']),
        ({"at": {"$lt": {"$date": {"$numberLong": "-99999999999999"}}}}, ['"old"']),
        ({"data": {"$binary": {"base64": "AAE=", "subType": "00"}}}, ['"bytes"']),
        ({"at": {"$date": "2024-01-04T00:00:00.029Z"}}, ['"exact"']),
        ({"at": {"$date": "2024-01-04T05:30:00.029+05:30"}}, ['"exact"']),
        ({"at": datetime(2024, 1, 4, 0, 0, 0, 29000)}, ['"exact"']),
        ({"data": b"\x00\x01"}, ['"bytes"']),
    ],
)
def test_extended_json_reaches_the_server(shop: Shop, query: dict, found: list[str]) -> None:  # type: ignore[type-arg]
    from bson.datetime_ms import DatetimeMS

    shop.db.things.insert_many(
        [
            {"_id": OID},
            {"_id": "long", "n": Int64(2**40)},
            {"_id": "decimal", "n": Decimal128("1.10")},
            {"_id": "text", "text": "Xy"},
            {"_id": "old", "at": DatetimeMS(-(10**14))},
            {"_id": "exact", "at": datetime(2024, 1, 4, 0, 0, 0, 29000)},
            {"_id": "bytes", "data": b"\x00\x01"},
        ]
    )
    shop.load("things", settings={"things": {"filter": query}})
    assert [key for (key,) in shop.rows("things", "_id")] == [each.strip('"') for each in found]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("{_id: {$oid: 507000000000000000000011}}", "24 hexadecimal digits in quotes"),
        ("{at: {$date: yesterday}}", "'yesterday' is not a time such as"),
        ("{at: {$gte: 2024-01-04 00:00:00.1234}}", "more exact than MongoDB's dates"),
        ("{on: 1}", "the key True is not text"),
        ("{n: {$numberDecimal: 1.10}}", "in quotes, so that no digit is lost"),
        ("{n: {$within: 5}}", "the server refuses the query"),
        ("{n: {$numberInt: x}}", "'x' is not an integer in quotes"),
        ('{n: {$uuid: "x"}}', "settings.things"),
    ],
)
def test_doctor_says_what_run_says(duckdb_project: Project, query: str, said: str) -> None:
    shop = duckdb_project
    shop.db.things.insert_one({"_id": 1})
    shop.define(f"collections: [things]\nsettings:\n  things:\n    filter: {query}")
    assert said in shop.command("doctor", fails=True)
    if "server" in said or "settings" in said:  # else the file can't even be read
        assert said in shop.run(fails=True)


def test_a_text_is_no_date() -> None:
    """What is written in quotes stays a text, and a date in YAML is one, in the state as well."""
    text = MongoDBCollection.model_validate({"filter": {"at": "2024-01-04"}})
    day = MongoDBCollection.model_validate({"filter": {"at": datetime(2024, 1, 4)}})
    assert text.model_dump(mode="json")["filter"] == {"at": "2024-01-04"}
    assert day.model_dump(mode="json")["filter"] == {"at": {"$date": "2024-01-04T00:00:00.000Z"}}
