"""Change streams: what happened since the last run, deletions included, without gap or overlap."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from bson import ObjectId

from millstream.config import PolicyConfig
from millstream.errors import ConfigError, SourceError
from millstream.model import RunReport
from millstream.runs.runner import replay, run
from millstream.sources.mongodb.loads import change_stream
from sources.mongodb_kit import Shop

pytestmark = pytest.mark.xdist_group("mongodb")


def mirror(shop: Shop) -> None:
    """The table holds what the collection holds, and its child table too."""
    true = {d["_id"]: (d["n"], d["tags"]) for d in shop.db.things.find()}
    tags: dict[int, list[str]] = {}
    for key, value in shop.query(
        'SELECT t."_id", c.value FROM shop.things t JOIN shop.things__tags c '
        "ON c._dlt_parent_id = t._dlt_id ORDER BY c._dlt_list_idx"
    ):
        tags.setdefault(key, []).append(value)
    found = {key: (n, tags.get(key, [])) for key, n in shop.rows("things", "_id", "n")}
    assert found == true
    ((orphans,),) = shop.query(
        "SELECT count(*) FROM shop.things__tags "
        "WHERE _dlt_parent_id NOT IN (SELECT _dlt_id FROM shop.things)"
    )
    assert orphans == 0


def document(key: int, n: int = 0) -> dict[str, Any]:
    return {"_id": key, "n": n, "tags": [f"{key}.{n}.{each}" for each in range(key % 3)]}


def test_inserts_updates_replaces_and_deletes_arrive(shop: Shop) -> None:
    things = shop.db.things
    things.insert_many([document(n) for n in range(10)])
    assert shop.load("things", changes=True).rows == 10
    mirror(shop)
    things.insert_one(document(20))
    things.update_one({"_id": 1}, {"$set": {"n": 7}, "$push": {"tags": "more"}})
    things.replace_one({"_id": 2}, document(2, 9))
    things.delete_one({"_id": 5})
    things.delete_one({"_id": 4})
    things.insert_one(document(4, 44))  # deleted, and there again
    things.insert_one(document(30))
    things.delete_one({"_id": 30})  # there and gone between two runs
    shop.load("things", changes=True)
    mirror(shop)
    assert shop.load("things", changes=True).rows == 0
    mirror(shop)


@pytest.mark.parametrize("deletes", ["hard", pytest.param("soft", marks=pytest.mark.nightly)])
def test_deletions_are_no_news_of_fields(shop: Shop, deletes: str) -> None:
    """Nothing is missed of their rows, and shares leave them out."""
    settings: Any = {"changes": True, "deletes": deletes}
    things = shop.db.create_collection("things", changeStreamPreAndPostImages={"enabled": True})
    things.insert_many([document(n) | {"note": f"note {n}"} for n in range(300)])
    shop.load("things", **settings)
    for n in (1, 2):
        things.update_many({}, {"$set": {"n": n}})
        assert shop.load("things", **settings).decisions == ()
    things.delete_many({"_id": {"$lt": 100}})
    report = shop.load("things", **settings)
    assert (report.decisions, report.jumps) == ((), ())
    assert (report.rows, report.deletions) == (100, {"things": 100})

    things.delete_many({"_id": {"$lt": 200}})
    things.update_many({}, {"$unset": {"note": 1}})
    report = shop.load("things", **settings)
    assert [decision.change.message for decision in report.decisions] == [
        "`note` no longer arrives: in none of 100 rows, before in 100%"
    ]
    assert [jump.column for jump in report.jumps] == ["note"]
    assert len(shop.rows("things", "_id")) == (100 if deletes == "hard" else 300)


NIGHTLY = pytest.mark.nightly


@pytest.mark.parametrize(
    "make",
    [
        lambda n: ObjectId(f"{n:024x}"),
        pytest.param(lambda n: n, marks=NIGHTLY),
        pytest.param(lambda n: datetime(2024, 1, 1 + n), marks=NIGHTLY),
        pytest.param(lambda n: {"a": n}, marks=NIGHTLY),
    ],
    ids=["oid", "number", "date", "object"],
)
def test_an_older_version_does_not_come_back(shop: Shop, make: Callable[[int], Any]) -> None:
    """Of a document that changed, or was deleted, since a version of it was quarantined."""
    things = shop.db.things
    things.insert_many([{**document(n), "_id": make(n), "key": n} for n in range(10)])
    kept_out = {"rules": [{"action": "quarantine", "change": "variant_added"}]}

    def load(policy: Any) -> RunReport:
        config = shop.config(collections=["things"], changes=True)
        return run(config.model_copy(update={"schema_policy": policy}), "things")

    policy = PolicyConfig.model_validate(kept_out)
    load(policy)
    for key in (1, 2, 3):
        things.update_one({"key": key}, {"$set": {"n": f"text {key}"}})
    assert sum(each.rows for each in load(policy).quarantined) == 3
    things.delete_one({"key": 1})
    things.update_one({"key": 2}, {"$set": {"n": 22}})
    assert load(policy).replayed == {"read again": 2}

    report, _ = replay(shop.config(collections=["things"], changes=True), "things")
    assert report.replayed == {"replayed": 1}
    assert shop.query("SELECT key, n, n__v_text FROM shop.things WHERE key < 4 ORDER BY 1") == [
        (0, 0, None),
        (2, 22, None),
        (3, None, "text 3"),
    ]


def test_the_full_load_joins_the_stream_without_gap_or_overlap(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("millstream.sources.mongodb.ranges.PER_RANGE", 100)
    monkeypatch.setattr(change_stream, "FLUSH", 50)
    things = shop.db.things
    things.insert_many([document(n) for n in range(1000)])
    stop = threading.Event()

    def write() -> None:
        chance = random.Random(7)
        while not stop.is_set():
            key = chance.randrange(1200)
            if chance.random() < 0.3:
                things.delete_one({"_id": key})
            else:
                things.replace_one({"_id": key}, document(key, chance.randrange(99)), upsert=True)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(3):
            shop.load("things", changes=True, chunk_size=20, parallel=2)
    finally:
        stop.set()
        writer.join()
    shop.load("things", changes=True)
    mirror(shop)


def test_a_transaction_arrives_whole(shop: Shop) -> None:
    things = shop.db.things
    things.insert_many([document(n) for n in range(3)])
    shop.load("things", changes=True)
    with shop.db.client.start_session() as session, session.start_transaction():
        things.delete_one({"_id": 0}, session=session)
        things.insert_one(document(0, 5), session=session)
        things.update_one({"_id": 1}, {"$set": {"n": 6}}, session=session)
        things.delete_one({"_id": 2}, session=session)
    shop.load("things", changes=True)
    mirror(shop)


def test_what_leaves_the_filter_is_deleted(shop: Shop) -> None:
    things = shop.db.things
    things.insert_many([{"_id": n, "open": True, "n": n} for n in range(4)])
    settings = {"things": {"filter": {"open": True}, "exclude": ["n"]}}
    shop.load("things", changes=True, settings=settings)
    things.update_one({"_id": 1}, {"$set": {"open": False}})
    things.insert_many([{"_id": 8, "open": False}, {"_id": 9, "open": True, "n": 1}])
    shop.load("things", changes=True, settings=settings)
    assert [n for (n,) in shop.rows("things", "_id")] == [0, 2, 3, 9]
    assert "n" not in shop.columns("things")


def test_soft_deletes_keep_the_last_values(shop: Shop) -> None:
    shop.db.create_collection("things", changeStreamPreAndPostImages={"enabled": True})
    things = shop.db.things
    things.insert_many([{**document(n), "deleted_at": "a field of theirs"} for n in range(4)])
    shop.load("things", changes=True, deletes="soft")
    assert shop.rows("things", "deleted_at") == [(None,)] * 4
    things.update_one({"_id": 1}, {"$set": {"n": 7}})
    things.delete_one({"_id": 1})
    things.delete_one({"_id": 2})
    shop.load("things", changes=True, deletes="soft")
    rows = shop.query('SELECT "_id", n, deleted_at IS NOT NULL FROM shop.things ORDER BY 1')
    assert rows == [(0, 0, False), (1, 7, True), (2, 0, True), (3, 0, False)]
    assert shop.rows("things__tags", "value", order="value") == [("1.0.0",), ("2.0.0",), ("2.0.1",)]
    things.insert_one(document(2, 5))
    shop.load("things", changes=True, deletes="soft")
    rows = shop.query('SELECT n, deleted_at FROM shop.things WHERE "_id" = 2')
    assert rows == [(5, None)]


def test_soft_deletes_need_the_last_values(shop: Shop) -> None:
    shop.db.things.insert_one(document(1))
    with pytest.raises(ConfigError, match="changeStreamPreAndPostImages"):
        shop.load("things", changes=True, deletes="soft")


@pytest.mark.parametrize("how", ["fail", "resnapshot"])
def test_a_lost_token_is_told_or_healed(shop: Shop, how: str) -> None:
    things = shop.db.things
    things.insert_many([document(n) for n in range(5)])
    shop.load("things", changes=True, on_lost_token=how)
    things.delete_one({"_id": 1})
    failing = shop.failing("aggregate", {"times": 1}, code=286)  # ChangeStreamHistoryLost
    if how == "fail":
        with failing, pytest.raises(SourceError, match="no longer has the changes") as caught:
            shop.load("things", changes=True)
        assert "on_lost_token: resnapshot" in str(caught.value)
        shop.load("things", changes=True)
    else:
        with failing:
            shop.load("things", changes=True, on_lost_token=how)
    mirror(shop)


def test_a_collection_made_anew_is_read_anew(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    things = shop.db.things
    things.insert_many([document(n) for n in range(5)])
    shop.load("things", changes=True)
    things.drop()
    things.insert_many([document(n, 1) for n in range(3)])
    shop.load("things", changes=True)
    assert "dropped and created again since the last run" in caplog.text
    mirror(shop)


def test_a_collection_that_was_elsewhere_is_told_or_read_anew(shop: Shop) -> None:
    things = shop.db.things
    things.insert_many([document(n) for n in range(5)])
    shop.load("things", changes=True)
    things.rename("elsewhere")
    shop.db.elsewhere.insert_one(document(9))
    shop.db.elsewhere.rename("things")
    with pytest.raises(SourceError, match="was dropped or renamed"):
        shop.load("things", changes=True)
    shop.load("things", changes=True, on_lost_token="resnapshot")
    mirror(shop)


@pytest.mark.parametrize("code", [43, 189, 11602, None])
@pytest.mark.nightly
def test_the_stream_goes_on_after_a_fault(shop: Shop, code: int | None) -> None:
    things = shop.db.things
    things.insert_many([document(n) for n in range(300)])
    shop.load("things", changes=True)
    things.update_many({}, {"$inc": {"n": 1}})
    things.delete_many({"_id": {"$lt": 100}})
    with shop.failing("getMore find", {"times": 3}, code=code):
        shop.load("things", changes=True)
    mirror(shop)


def test_a_failed_load_keeps_its_place(shop: Shop) -> None:
    things = shop.db.things
    things.insert_many([document(n) for n in range(5)])
    shop.load("things", changes=True)
    things.delete_one({"_id": 1})
    with shop.failing("find", {"skip": 1}, code=96), pytest.raises(SourceError):
        shop.load("things", changes=True)
    shop.load("things", changes=True)
    mirror(shop)


def test_views_beside_followed_collections_are_loaded_in_full(shop: Shop) -> None:
    shop.db.things.insert_many([document(n) for n in range(3)])
    shop.db.command("create", "seen", viewOn="things", pipeline=[])
    shop.load("seen", changes=True)
    shop.db.things.delete_one({"_id": 0})
    shop.load("seen", changes=True)
    assert [n for (n,) in shop.rows("seen", "_id")] == [1, 2]
