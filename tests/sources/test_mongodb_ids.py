"""`_id` is written by what it is: no other document of its collection changes how."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from itertools import combinations
from typing import Any
from uuid import UUID

import pytest
from bson import Binary, Decimal128, Int64, MinKey, ObjectId

from millstream.sources.mongodb import ids
from sources.mongodb_kit import Shop
from sources.mongodb_project import Project

pytestmark = pytest.mark.xdist_group("mongodb")

HOWS = """
collections: [full, by_cursor, by_change]
settings:
  by_cursor: {cursor: u}
  by_change: {changes: true}
"""
SOURCE = HOWS.replace("]", ", empty, orders]") + "  empty: {changes: true}\n"


def day(number: int) -> datetime:
    return datetime(2026, 1, 1, tzinfo=timezone.utc) + timedelta(days=number)


COPIES = ("full", "by_cursor", "by_change")


@pytest.mark.nightly_on("postgres")
def test_a_text_among_object_ids_changes_no_id(project: Project) -> None:
    shop = project
    keys = [ObjectId() for _ in range(3)]
    for name in COPIES:
        shop.db[name].insert_many([{"_id": key, "u": 1} for key in keys])
    shop.db.orders.insert_many([{"_id": n, "of": key} for n, key in enumerate(keys)])
    shop.db.create_collection("empty")
    shop.define(SOURCE)
    shop.run()
    twin = str(keys[0])
    for name in COPIES:
        shop.db[name].insert_many(
            [{"_id": key, "u": 2} for key in ("admin", twin, 7, "null", '"x"')]
        )
    shop.run()
    shop.db.empty.insert_many([{"_id": key} for key in keys])
    last = ObjectId()
    for name in COPIES:
        shop.db[name].insert_one({"_id": last, "u": 3})
        shop.db[name].update_one({"_id": twin}, {"$set": {"u": 4}})
        shop.db[name].update_one({"_id": keys[0]}, {"$set": {"u": 5}})
    shop.run()
    plain = [(str(key), 1) for key in keys[1:]]
    plain += [(str(keys[0]), 5), (str(last), 3), ("admin", 2), (f'"{twin}"', 4)]
    plain += [('{"$numberInt":"7"}', 2), ('"null"', 2), (r'"\"x\""', 2)]
    for name in COPIES:
        assert sorted(shop.rows(name, "_id", "u")) == sorted(plain)
        joined = shop.place.query(
            f"SELECT count(*) FROM {shop.place.from_clause('orders')} o "
            f'JOIN {shop.place.from_clause(name)} c ON c."_id" = o."of"'
        )
        assert joined == [(3,)]
    assert sorted(shop.rows("empty", "_id")) == sorted((str(key),) for key in keys)


@pytest.mark.nightly
@pytest.mark.parametrize("kind", ["numbers", "dates"])
def test_a_text_among_other_ids_waits(project: Project, kind: str) -> None:
    """Until a full refresh gives the column a type that holds both."""
    shop, ids_of = project, int if kind == "numbers" else day
    for name in COPIES:
        shop.db[name].insert_many([{"_id": ids_of(n), "u": 1, "l": [n]} for n in range(40)])
    shop.define(HOWS)
    shop.run()
    before = shop.rows("full", "_id")
    for name in COPIES:
        shop.db[name].insert_many([{"_id": "x", "u": 2, "l": [0]}, {"_id": ids_of(90), "u": 2}])
    for _ in range(2):
        said = shop.run()
        assert "quarantine" in said
        for name in COPIES:
            kept = shop.rows(name, "_id")
            assert kept[:-1] == before
            assert len(kept) == 41
    for name in COPIES:
        shop.run("--stream", name, "--full-refresh")
    for _ in range(2):
        for name in COPIES:
            found = [key for (key,) in shop.rows(name, "_id")]
            assert len(found) == 42
            assert "x" in found
            assert ids.extended(ids_of(7)) in found
            assert shop.place.count(f"{name}__l") == 41
        shop.run()


def test_texts_like_object_ids_stay_as_they_are(shop: Shop) -> None:
    texts = [str(ObjectId()), "other"]
    shop.db.things.insert_many([{"_id": each, "c": 1} for each in texts])
    cursor = {"settings": {"things": {"cursor": "c"}}}
    shop.load("things", **cursor)
    shop.db.things.insert_one({"_id": ObjectId(texts[0]), "c": 2})
    shop.load("things", **cursor)
    twin = f'{{"$oid":"{texts[0]}"}}'
    assert sorted(shop.rows("things", "_id")) == sorted((each,) for each in (*texts, twin))


UUIDS = [UUID(int=n) for n in (1, 2)]


@pytest.mark.parametrize("first", ["binary", "texts"])
def test_uuids_and_texts_like_them_stay_apart(shop: Shop, first: str) -> None:
    made = {
        "binary": [Binary.from_uuid(each) for each in UUIDS],
        "texts": [str(each) for each in UUIDS],
    }
    cursor = {"settings": {"things": {"cursor": "c"}}}
    shop.db.things.insert_many([{"_id": each, "c": 1} for each in made.pop(first)])
    shop.load("things", **cursor)
    ((_, later),) = made.items()
    shop.db.things.insert_many([{"_id": each, "c": 2} for each in [*later, ObjectId(b"0" * 12)]])
    shop.load("things", **cursor)
    found = [key for (key,) in shop.rows("things", "_id")]
    assert len(set(found)) == len(found) == 5
    assert {str(each) for each in UUIDS} | {"30" * 12} < set(found)


def test_a_kind_survives_what_comes_and_goes(shop: Shop) -> None:
    """A full load reads all anew, and yet writes each id as the loads before it."""
    key = ObjectId()
    shop.db.things.insert_one({"_id": key})
    shop.load("things")
    shop.db.things.delete_one({"_id": key})
    shop.db.things.insert_many([{"_id": "ab" * 12}, {"_id": 1}])
    shop.load("things")
    expected = [(f'"{"ab" * 12}"',), ('{"$numberInt":"1"}',)]
    assert shop.rows("things", "_id") == expected
    shop.db.things.delete_one({"_id": "ab" * 12})
    shop.load("things")
    assert shop.rows("things", "_id") == expected[1:]


IDS: list[Any] = [
    *(ObjectId(bytes([n]) * 12) for n in range(3)),
    *UUIDS,
    *(Binary.from_uuid(each) for each in UUIDS),
    *(str(ObjectId(bytes([n]) * 12)) for n in range(3)),
    *(ids.extended(ObjectId(bytes([n]) * 12)) for n in range(2)),
    *("", "a", "null", "null\n", "true", "false", '"', '"a"', "{", "[1]", "é", "A" * 24, "a" * 24),
    *("a" * 24 + "\n", "a" * 25, str(UUIDS[0]).upper(), "1", '{"$numberInt":"1"}'),
    *(1, Int64(2**40), 1.5, Decimal128("1.5"), True, None, MinKey(), {"a": 1}, {"a": 1.0}),
    Binary(b"abc"),
]


@pytest.mark.parametrize("kind", sorted(ids.LASTING, key=str))
def test_no_two_ids_are_written_alike(kind: ids.Kind) -> None:
    values = [each for each in IDS if not isinstance(each, UUID)]
    written = [ids.plain(each, kind) for each in values]
    for one, other in combinations(range(len(values)), 2):
        assert written[one] != written[other], (values[one], values[other])
