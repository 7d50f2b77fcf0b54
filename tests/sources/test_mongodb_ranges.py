"""Full loads: in ranges of `_id` of any type, on from where they broke, through faults."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import pytest
from bson import Binary, Decimal128, Int64, MaxKey, MinKey, ObjectId, Timestamp
from bson.datetime_ms import DatetimeMS

from millstream.errors import SourceError, SourceUnavailableError
from millstream.sources.mongodb import range_reader, ranges, spool
from millstream.sources.mongodb.encode import EXACT, Encoded, documents, id_of
from millstream.sources.mongodb.ids import extended
from sources.mongodb_kit import Shop
from sources.mongodb_project import Project

pytestmark = pytest.mark.xdist_group("mongodb")

MIXED = [
    MinKey(),
    None,
    math.nan,
    -1.5,
    Int64(2**60),
    Decimal128("7.25"),
    "text",
    "",
    '{"$oid":"64b7f0a1c2d3e4f5a6b7c8d9"}',
    "64b7f0a1c2d3e4f5a6b7c8d9",
    {"region": "eu", "n": 1},
    {"region": "eu", "n": 2},
    Binary(b"\x01\x02", 0),
    Binary(bytes(range(16)), 4),
    ObjectId("64b7f0a1c2d3e4f5a6b7c8d9"),
    False,
    True,
    DatetimeMS(0),
    DatetimeMS(2**55),
    Timestamp(1, 2),
    MaxKey(),
    "null",
    "true",
]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranges and parts of a few documents, so that few documents make many."""
    monkeypatch.setattr(ranges, "PER_RANGE", 100)
    monkeypatch.setattr(spool, "PART_ROWS", 50)


def ids_in(shop: Shop, each: ranges.Range) -> list[str]:
    reader = range_reader.Reader(shop.db.things, "things", lambda: None)  # type: ignore[arg-type]
    found = range_reader._batches(reader, each, None, False)
    return [extended(id_of(raw)) for batch, _ in found for raw in documents(batch)]


def test_ranges_cover_ids_of_all_types_once(shop: Shop) -> None:
    numbers = [Int64(n) for n in range(300)] + [f"id {n}" for n in range(300)]
    shop.db.things.insert_many([{"_id": each} for each in [*MIXED, *numbers]])
    exact = shop.db.things.with_options(codec_options=EXACT)
    found = ranges.split(exact, parallel=2, per_range=40)
    assert len(found) > 5
    again = [ranges.Range.from_json(each.to_json()) for each in found]
    read = list(itertools.chain.from_iterable(ids_in(shop, each) for each in again))
    in_order = [extended(each["_id"]) for each in exact.find({}, {"_id": 1}).sort("_id")]
    assert read == in_order
    assert len(set(read)) == len(MIXED) + 600


def test_ids_of_all_types_are_told_apart(shop: Shop) -> None:
    shop.db.things.insert_many([{"_id": each, "n": n} for n, each in enumerate(MIXED)])
    shop.load("things")
    rows = shop.rows("things", "_id", "n", order="n")
    assert [n for _, n in rows] == list(range(len(MIXED)))
    assert len({text for text, _ in rows}) == len(MIXED)
    found = {n: text for text, n in rows}
    assert found[6] == "text"
    assert found[8] == '"{\\"$oid\\":\\"64b7f0a1c2d3e4f5a6b7c8d9\\"}"'
    assert found[9] == '"64b7f0a1c2d3e4f5a6b7c8d9"'  # a text that reads as an ObjectId
    assert found[14] == "64b7f0a1c2d3e4f5a6b7c8d9"  # the ObjectId
    assert shop.rows("things", "_id_fields__region", order="n")[10:12] == [("eu",), ("eu",)]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, Int64(2**60)], "BIGINT"),
        ([1, 1.5], "VARCHAR"),
        ([1, "1"], "VARCHAR"),
        ([ObjectId(), ObjectId()], "VARCHAR"),
        ([Binary(bytes(16), 4), Binary(b"\1" * 16, 4)], "VARCHAR"),
        ([DatetimeMS(0), DatetimeMS(10**12)], "TIMESTAMP WITH TIME ZONE"),
    ],
)
def test_the_column_of_ids_has_the_type_that_holds_them_all(
    shop: Shop, values: list[Any], kind: str
) -> None:
    shop.db.things.insert_many([{"_id": value} for value in values])
    shop.load("things")
    assert shop.columns("things")["_id"] == kind
    ((distinct, nulls),) = shop.query(
        'SELECT count(DISTINCT _id), count(*) - count("_id") FROM shop.things'
    )
    assert (distinct, nulls) == (len(values), 0)


@pytest.mark.usefixtures("small")
def test_a_full_load_replaces_the_table_and_is_read_side_by_side(shop: Shop) -> None:
    shop.db.things.insert_many([{"_id": n, "tags": ["a", "b"]} for n in range(1000)])
    report = shop.load("things", parallel=3, chunk_size=7)
    assert [(t.name, t.rows) for t in report.tables] == [("things", 1000), ("things__tags", 2000)]
    assert [n for (n,) in shop.rows("things", "_id")] == list(range(1000))
    shop.db.things.delete_many({"_id": {"$gte": 10}})
    shop.load("things")
    assert [n for (n,) in shop.rows("things", "_id")] == list(range(10))
    shop.db.things.delete_many({})
    report = shop.load("things")
    assert shop.rows("things", "_id") == shop.rows("things__tags", "value", order="value") == []


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("getMore", None),  # the connection drops
        ("getMore", 43),  # CursorNotFound
        ("getMore", 189),  # PrimarySteppedDown
        ("getMore", 11602),  # InterruptedDueToReplStateChange
        ("find", 10107),  # NotWritablePrimary
        ("aggregate", None),
    ],
)
def test_what_passes_is_tried_again_from_the_last_document_on(
    shop: Shop, command: str, code: int | None
) -> None:
    shop.db.things.insert_many([{"_id": n} for n in range(500)])
    with shop.failing(command, {"times": 3}, code=code):
        shop.load("things", chunk_size=11, parallel=2)
    assert [n for (n,) in shop.rows("things", "_id")] == list(range(500))


def test_no_document_is_read_twice_for_a_fault(shop: Shop) -> None:
    shop.db.things.insert_many([{"_id": n} for n in range(500)])
    before = shop.commands()
    with shop.failing("getMore", {"times": 2}, code=43):
        read = ids_in(shop, ranges.Range())
    assert len(read) == 500
    # the batch on the way when a cursor is lost, and the bound's own document, come again
    assert shop.commands() - before <= 500 + 2 * 2


@pytest.mark.usefixtures("small")
def test_a_load_that_broke_goes_on_from_there(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shop.db.things.insert_many([{"_id": n, "tags": [n]} for n in range(1000)])
    settings = {"chunk_size": 10, "parallel": 1}
    with (
        shop.failing("find getMore", {"skip": 60}, code=43),
        pytest.raises(SourceUnavailableError, match="still failing"),
    ):
        shop.load("things", **settings)
    kept = list(tmp_path.glob("millstream-home/spool/**/*.typed-jsonl"))
    assert kept
    before = shop.commands()
    report = shop.load("things", **settings)
    assert report.rows == 1000
    assert shop.commands() - before < 700
    assert [n for (n,) in shop.rows("things", "_id")] == list(range(1000))
    assert not list(tmp_path.glob("millstream-home/spool/**/*.typed-jsonl"))


def test_a_part_that_dlt_took_by_hard_link_is_never_written_to(tmp_path: Path) -> None:
    kept = spool.Spool(tmp_path)
    for content in (b"first", b"second"):
        writer = spool.PartWriter(kept, 0)
        writer.write(Encoded(content, 1))
        part = writer.close()
        assert part is not None
        (tmp_path / content.decode()).hardlink_to(part.path)
    assert (tmp_path / "first").read_bytes() == b"first"
    assert (tmp_path / "second").read_bytes() == b"second"


@pytest.mark.usefixtures("small")
def test_another_query_or_collection_is_read_anew(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.db.things.insert_many([{"_id": n, "old": True} for n in range(1000)])
    monkeypatch.setattr(range_reader, "ATTEMPTS", 1)

    def breaks() -> None:
        with (
            shop.failing("find getMore", {"skip": 60}, code=43),
            pytest.raises(SourceUnavailableError),
        ):
            shop.load("things", chunk_size=10, parallel=1)

    breaks()
    shop.db.things.drop()
    shop.db.things.insert_many([{"_id": n, "old": False} for n in range(1000)])
    shop.load("things")
    assert shop.query("SELECT DISTINCT old FROM shop.things") == [(False,)]
    breaks()
    shop.db.things.update_many({}, {"$set": {"old": True}})
    shop.load("things", full_refresh=True)
    assert shop.query("SELECT DISTINCT old FROM shop.things") == [(True,)]
    breaks()
    shop.db.things.update_many({}, {"$set": {"old": False}})
    shop.load("things", resume_hours=0)
    assert shop.query("SELECT DISTINCT old FROM shop.things") == [(False,)]


def test_a_fault_that_stays_is_told(shop: Shop) -> None:
    shop.db.things.insert_one({"_id": 1})
    with (
        shop.failing("find", "alwaysOn", code=96),  # OperationFailed
        pytest.raises(SourceError, match=r"collection things: the server refused \(code 96\)"),
    ):
        shop.load("things")


def test_filter_projection_and_exclusion_are_the_servers(shop: Shop) -> None:
    shop.db.things.insert_many(
        [{"_id": ObjectId(), "n": n, "a": {"b": n, "c": n}, "secret": n} for n in range(10)]
    )
    wanted = shop.db.things.find_one({"n": 3})["_id"]
    query = {"$or": [{"n": {"$gte": 8}}, {"_id": {"$oid": str(wanted)}}]}
    shop.load("things", settings={"things": {"filter": query, "projection": ["n", "a.b"]}})
    assert set(shop.columns("things")) == {"_id", "n", "a__b"}
    assert shop.rows("things", "n", order="n") == [(3,), (8,), (9,)]
    shop.db.others.insert_many(shop.db.things.find())
    shop.load("others", settings={"others": {"exclude": ["secret", "a.c"]}})
    assert set(shop.columns("others")) == {"_id", "n", "a__b"}


def test_views_and_time_series(shop: Shop) -> None:
    shop.db.things.insert_many([{"_id": n, "tags": ["x", "y"]} for n in range(5)])
    shop.db.command(
        "create", "flat", viewOn="things", pipeline=[{"$unwind": "$tags"}, {"$limit": 9}]
    )
    shop.load("flat", chunk_size=2)
    # an `_id` comes twice in this view, and each row counts
    assert [n for (n,) in shop.rows("flat", "_id")] == [0, 0, 1, 1, 2, 2, 3, 3, 4]
    shop.db.command(
        "create",
        "grouped",
        viewOn="things",
        pipeline=[{"$group": {"_id": {"even": {"$mod": ["$_id", 2]}}, "n": {"$sum": 1}}}],
    )
    shop.load("grouped")
    assert shop.rows("grouped", "_id__even", "n", order="n") == [(1, 2), (0, 3)]
    shop.db.create_collection("series", timeseries={"timeField": "at"})
    shop.db.series.insert_many([{"at": DatetimeMS(n), "n": n} for n in range(20)])
    with shop.failing("getMore", {"times": 1}):
        shop.load("series", chunk_size=3)
    assert [n for (n,) in shop.rows("series", "n", order="n")] == list(range(20))


def test_a_look_at_the_source_leaves_nothing_to_go_on_with(duckdb_project: Project) -> None:
    """What `schema diff` or `preview` has read is old by the next run."""
    shop = duckdb_project
    shop.db.things.insert_many([{"_id": n, "v": "old"} for n in range(3)])
    shop.define("collections: [things]\n")
    shop.command("schema", "diff")
    shop.command("preview", "things")
    shop.db.things.update_many({}, {"$set": {"v": "new"}})
    assert "broke off" not in shop.run()
    assert shop.rows("things", "_id", "v") == [(n, "new") for n in range(3)]
