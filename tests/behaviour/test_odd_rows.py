"""What one row does wrong puts that row into quarantine, whatever the destination."""

from __future__ import annotations

import datetime
import json
from decimal import Decimal
from typing import Any
from uuid import UUID

import pyarrow as pa
import pytest

from behaviour.conftest import configured
from behaviour.feed import FEED
from millstream.config import DltConfig, PipelineConfig
from millstream.errors import SchemaTooLargeError, SourceDataError
from millstream.runs.runner import replay, run
from services.places import NAME, Place

LARGE = 2**70
WEST = datetime.timezone(datetime.timedelta(hours=-5))

ROWS: list[dict[str, Any]] = [
    {"id": 1, "code": "äöü", "raw": b"ab", "tree": {"n": 1}},
    {"id": 2, "code": "abcd"},
    {"id": 3, "code": "ab  "},
    {"id": 4, "raw": b"abc"},
    {"id": 5, "raw": bytearray(b"xy")},
    {"id": 6, "tree": {"n": LARGE, "at": [datetime.date(2024, 1, 2), 2**63]}},
    {"id": 7, "tree": {"text": ["a", "b\ud800"]}},
    {"id": 8, "tree": {"time": datetime.timedelta(1)}},
    {"id": 9, ("a", 1): 1},
    *({"id": n, "raw": b"x"} for n in range(10, 21)),
    {"id": 21, "tree": {"n": float("nan"), "of": [float("inf"), -float("inf"), 1.5, None]}},
    {"id": 22, "at": datetime.datetime(9999, 12, 31, 23, tzinfo=WEST)},
    {"id": 23, "tree": {"n": 2**1023}},
    {"id": 24, "tree": {"n": [10**5000]}},
]
REASONS = {
    2: "`code`: more than 3 characters",
    3: "`code`: more than 3 characters",
    4: "`raw`: more than 2 bytes",
    7: "`tree.text[1]`: a text that is not valid Unicode (a lone surrogate)",
    8: "`tree.time`: a value of type timedelta can not be stored",
    9: "a key of type tuple can not be stored",
    22: "a time before the year 1 or after 9999, in UTC",
    23: "`tree.n`: an integer of more than 1,023 bits can not be stored",
    24: "`tree.n[0]`: an integer of more than 1,023 bits can not be stored",
}


@pytest.mark.nightly_on("bigquery", "filesystem")
@pytest.mark.parametrize("engine", ["columns", pytest.param("dlt", marks=pytest.mark.nightly)])
def test_odd_rows_are_quarantined_and_others_load(
    place: Place, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if engine == "dlt":
        monkeypatch.setenv("MILLSTREAM_ENGINE", "dlt")
    reasons = dict(REASONS)
    if place.kind == "bigquery":  # its JSON holds no such integer
        reasons[6] = "`tree`: an integer of more than 64 bits in JSON"
    FEED.rows = ROWS
    report = run(configured(place, DltConfig(path="behaviour.feed:limited")), "orders")
    assert sum(each.rows for each in report.quarantined) == len(reasons)
    details = place.column("_millstream_quarantine", "detail", "detail")
    assert details == sorted(reasons.values())
    assert place.column("orders", "id") == [n for n in range(1, 25) if n not in reasons]
    raw = place.query(f"SELECT raw FROM {place.from_clause('orders')} WHERE id = 5")[0][0]
    assert bytes(raw) == b"xy"
    trees = {
        6: {"n": LARGE, "at": ["2024-01-02", 2**63]},
        21: {"n": "NaN", "of": ["Infinity", "-Infinity", 1.5, None]},
    }
    for number in trees.keys() - reasons.keys():
        of = f"FROM {place.from_clause('orders')} WHERE id = {number}"
        tree = place.query(f"SELECT tree {of}")[0][0]
        assert (json.loads(tree) if isinstance(tree, str) else tree) == trees[number]


@pytest.mark.nightly_on("bigquery", "filesystem")
def test_long_texts_among_plain_rows(place: Place) -> None:
    """Rows that go through columns, block by block."""
    config = configured(place, DltConfig(path="behaviour.feed:limited"))
    for start in (0, 3000):
        FEED.rows = [{"id": n, "code": "abc", "n": n} for n in range(start, start + 3000)]
        FEED.rows[2500]["code"] = "abcd"
        run(config, "orders")
    assert place.column("orders", "id") == [n for n in range(6000) if n not in (2500, 5500)]


@pytest.mark.nightly_on("bigquery", "filesystem")
def test_rows_of_arrow_tables_are_compared_with_their_columns(place: Place) -> None:
    config = configured(place, DltConfig(path="behaviour.feed:tables"))
    large, numbers = 2**53 + 1, pa.array([1, 2, 3], pa.int64())
    FEED.rows = [
        pa.table({"id": numbers, "v": pa.array([large, 1, 2]), "price": prices("1", "2", "3.25")}),
        pa.table({"id": pa.array([4, None]), "v": [4, 5], "code": ["abc", "ab"]}),
        pa.table({"v": [6]}),
    ]
    run(config, "orders")
    FEED.rows = [
        pa.table({"id": [7, 8], "v": [7.0, 8.5], "price": prices("1.125", "1")}),
        pa.table({"id": [9, 10], "v": pa.array([2**63, 9], pa.uint64()), "code": ["a", "abcd"]}),
        *(pa.table({"id": [n], "v": pa.array([n], pa.int32())}) for n in range(11, 20)),
    ]
    run(config, "orders")
    assert place.column("orders", "id") == [1, 2, 3, 4, *range(11, 20)]
    assert place.column("orders", "v") == [large, 1, 2, 4, *range(11, 20)]
    assert place.column("_millstream_quarantine", "detail", "detail") == [
        "`code`: more than 3 characters",
        "`id`, which may not be null, is missing",
        "`id`, which may not be null, is missing",
        "`price`: more than 2 digits after the point",
        "`v`: more than 64 bits",
        "`v`: not an integer",
    ]
    # they were read: what waits is a row, with the place of what is wrong in it
    assert set(place.column("_millstream_quarantine", "reason", "id")) == {"refused"}
    found = place.query(
        f"SELECT json_path, document FROM {place.from_clause('_millstream_quarantine')}"
    )
    documents = {(row := json.loads(text)).get("id"): (path, row) for path, text in found}
    assert documents[9] == ("v", {"id": 9, "v": 2**63, "code": "a"})
    assert documents[10] == ("code", {"id": 10, "v": 9, "code": "abcd"})


@pytest.mark.nightly_on("bigquery", "filesystem")
@pytest.mark.parametrize("disposition", ["append", "merge"])
@pytest.mark.nightly_on("postgres")
def test_refused_rows_of_arrow_tables_replay(place: Place, disposition: str) -> None:
    arguments = {"write_disposition": disposition}
    config = configured(place, DltConfig(path="behaviour.feed:disposed", arguments=arguments))
    day = datetime.datetime(2024, 1, 2, 3, 4, 5, 678901, tzinfo=datetime.timezone.utc)
    columns = {"seen": [day], "raw": [b"\x00\xff"], "half": pa.array([float("nan")])}
    FEED.rows = [pa.table({"id": [1], "v": [1], **columns})]
    run(config, "orders")
    columns["price"] = prices("1.25")
    FEED.rows = [pa.table({"id": [2], "v": ["x"], **columns}), pa.table({"id": [3], "v": [3]})]
    FEED.rows += [pa.table({"id": [3], "v": ["y"]})] if disposition == "merge" else []
    assert run(config, "orders").rows == 1
    if place.kind == "filesystem":
        return  # its quarantine can't be queried
    report, planned = replay(config, "orders")
    assert report.rows == 1
    # of a row that is there without the load that it came with, nobody knows which was read last
    assert [why for _, why in planned.left] == (
        ["the table has a row with its key, and no load id tells which was read last: "
         "load it with --row"] if disposition == "merge" else []
    )  # fmt: skip
    assert place.column("orders", "id") == [1, 2, 3]
    assert place.column("orders", "v") == [1, None, 3]
    assert place.column("orders", "v__v_text") == [None, "x", None]
    assert place.column("orders", "price")[1] == Decimal("1.25")
    seen, raw, half = place.query(
        f"SELECT seen, raw, half FROM {place.from_clause('orders')} WHERE id = 2"
    )[0]
    assert (seen, bytes(raw), half != half) == (day, columns["raw"][0], True)


@pytest.mark.nightly_on("bigquery", "filesystem")
def test_lists_and_scalars_share_no_column_of_arrow_tables(place: Place) -> None:
    config = configured(place, DltConfig(path="behaviour.feed:disposed"))
    scalars = {"n": [1], "text": ["x"], "tree": [{"a": 1}]}
    floats = {"half": pa.array([0.5], pa.float16()), "single": pa.array([0.1], pa.float32())}
    FEED.rows = pa.table({"id": [1], **scalars, **floats})
    run(config, "orders")
    assert place.column("orders", "half") == [0.5]
    assert place.column("orders", "single") == [0.10000000149011612]
    lists = {"n": [[1], None, None, None], "text": [None, {"b": 2}, None, None]}
    FEED.rows = pa.table({"id": [2, 3, 4, 5], **lists, "tree": [None, None, '{"a": 2}', None]})
    report = run(config, "orders")
    assert not report.changes
    FEED.rows = pa.table({"id": [6], **scalars})
    run(config, "orders")
    assert place.column("orders", "id") == [1, 5, 6]
    assert place.column("orders", "n") == [1, None, 1]
    assert place.column("_millstream_quarantine", "detail", "detail") == [
        "`n`: json is not bigint",
        "`text`: json is not text",
        "`tree`: text is not json",
    ]


@pytest.mark.xdist_group("postgres")
def test_arrow_rows_and_tables_too_wide_for_postgres(postgres_place: Place) -> None:
    config = PipelineConfig(
        name=NAME,
        source=DltConfig(path="behaviour.feed:disposed"),
        destination=postgres_place.destination,
        project=postgres_place.project,
        schema_policy="anything",
    )
    wide = {f"k{n}": [None, n, None] for n in range(1200)}
    FEED.rows = pa.table({"id": [1, 2, 3], **wide})
    run(config, "orders")
    assert postgres_place.column("orders", "id") == [1, 3]
    details = postgres_place.column("_millstream_quarantine", "detail")
    assert details == ["its values take more than the 7,936 bytes of a row"]
    FEED.rows = pa.table({"id": [4], **{f"n{n}": [n] for n in range(700)}})
    with pytest.raises(SchemaTooLargeError, match="more than 1,596 columns"):
        run(config, "orders")
    FEED.rows = pa.table({"id": [4]})
    run(config, "orders")
    assert postgres_place.column("orders", "id") == [1, 3, 4]


@pytest.mark.parametrize("kind", ["pandas.DataFrame", "polars.DataFrame", "polars.LazyFrame"])
def test_rows_of_frames_are_compared_with_their_columns(duckdb_place: Place, kind: str) -> None:
    module, frame = kind.split(".")
    make = getattr(pytest.importorskip(module), frame)
    FEED.rows = [make({"id": [1, 2, 3], "code": ["abc", "abcd", None]})]
    run(configured(duckdb_place, DltConfig(path="behaviour.feed:tables")), "orders")
    assert duckdb_place.column("orders", "id") == [1, 3]
    (document,) = duckdb_place.column("_millstream_quarantine", "document", "id")
    assert json.loads(document) == {"id": 2, "code": "abcd"}


def prices(*texts: str) -> pa.Array:
    return pa.array(map(Decimal, texts), pa.decimal128(20, 5))


def test_without_quarantine_the_path_and_kind_are_named(duckdb_place: Place) -> None:
    config = configured(duckdb_place, DltConfig(path="behaviour.feed:limited"))
    config = config.model_copy(
        update={"quarantine": config.quarantine.model_copy(update={"enabled": False})}
    )
    FEED.rows = ROWS[7:8]
    with pytest.raises(SourceDataError, match=r"orders: `tree\.time`: a value of type timedelta"):
        run(config, "orders")


@pytest.mark.nightly_on("bigquery", "filesystem")
def test_numbers_and_times_of_numpy_and_pandas(place: Place) -> None:
    numpy, pandas = pytest.importorskip("numpy"), pytest.importorskip("pandas")
    FEED.rows = [
        {"id": 1, "size": 0.5, "moment": pandas.Timestamp("2024-01-02T03:04:05Z")},
        {"id": 2, "size": float("nan"), "moment": pandas.NaT},
        {"id": 3, "size": float("-inf"), "moment": None},
        {"id": 4, "size": numpy.float32(0.25), "moment": pandas.Timestamp(1, tz="UTC")},
        {"id": 5, "size": numpy.float64("nan"), "count": numpy.int64(2**62)},
    ]
    run(configured(place, DltConfig(path="behaviour.feed:disposed")), "orders")
    sizes = place.column("orders", "size")
    assert [str(float(size)) for size in sizes] == ["0.5", "nan", "-inf", "0.25", "nan"]
    assert place.column("orders", "count") == [None, None, None, None, 2**62]
    assert [each is None for each in place.column("orders", "moment")] == [False, *[True] * 4]
    exact = place.query(f"SELECT moment__v_text FROM {place.from_clause('orders')} WHERE id = 4")
    assert exact == [("1970-01-01T00:00:00.000000001+00:00",)]


def test_a_row_of_too_many_lists_is_quarantined(duckdb_place: Place) -> None:
    place = duckdb_place
    nested: dict[str, Any] = {"v": 1}
    for _ in range(100):
        nested = {"l": [nested]}
    FEED.rows = [{"id": 1, "x": [1]}, {"id": 2, **nested}, {"id": 3}]
    report = run(configured(place, DltConfig(path="behaviour.feed:disposed")), "orders")
    assert sum(each.rows for each in report.quarantined) == 1
    assert "lists in lists" in place.column("_millstream_quarantine", "detail", "detail")[0]
    assert place.column("orders", "id") == [1, 3]


class DriverUuid(UUID):
    """As asyncpg returns them."""


def test_uuids_are_texts_whatever_is_beside_them(duckdb_place: Place) -> None:
    FEED.rows = [
        {"id": 1, "key": UUID(int=1), "n": LARGE},
        {"id": 2, "key": DriverUuid(int=2), "tree": {"key": DriverUuid(int=3)}},
    ]
    run(configured(duckdb_place), "orders")
    assert duckdb_place.column("orders", "key") == [str(UUID(int=1)), str(UUID(int=2))]
    assert duckdb_place.column("orders", "tree__key") == [None, str(UUID(int=3))]


def test_a_cursor_of_another_type_is_told(duckdb_place: Place) -> None:
    source = DltConfig(path="behaviour.feed:since")
    FEED.rows = [{"id": 1, "changed": 5}]
    run(configured(duckdb_place, source), "orders")
    FEED.rows = [{"id": 2, "changed": "secret"}]
    with pytest.raises(SourceDataError) as error:
        run(configured(duckdb_place, source), "orders")
    told = "`changed`, by which `incremental` reads on, is str in a row, which can't be compared"
    assert told in str(error.value)
    assert "secret" not in str(error.value)
    assert "--full-refresh" in str(error.value.hint)


def test_doubles_of_arrow_tables_that_are_not_finite(place: Place) -> None:
    """Into BigQuery they go as JSON, which has no word for them."""
    sizes = [0.5, float("nan"), float("inf"), None, float("-inf")]
    nested = pa.array([{"n": size} for size in sizes])
    table = pa.table({"id": range(5), "size": pa.array(sizes, pa.float64()), "tree": nested})
    FEED.rows = [table]
    run(configured(place, DltConfig(path="behaviour.feed:items")), "orders")
    found = place.column("orders", "size")
    assert [None if size is None else str(float(size)) for size in found] == [
        "0.5", "nan", "inf", None, "-inf",
    ]  # fmt: skip
