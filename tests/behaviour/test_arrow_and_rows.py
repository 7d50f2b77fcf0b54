"""Arrow tables, frames and rows of dicts in one stream, within a load and from load to load."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from typing import Any

import pyarrow as pa
import pytest

from behaviour.conftest import configured
from behaviour.feed import FEED
from millstream.config import DltConfig
from millstream.runs.runner import run
from services.places import Place

MERGES = ["delete-insert", "upsert", "insert-only", "scd2"]


def load(place: Place, how: str, *items: Any) -> Any:
    FEED.rows = list(items)
    source = DltConfig(path="behaviour.feed:items", arguments={"how": how})
    return run(configured(place, source), "orders")


def rows(v: int, *ids: int) -> list[dict[str, Any]]:
    return [{"id": n, "v": v, "lines": [{"sku": f"{v}-{n}"}]} for n in ids]


def table(v: int, *ids: int) -> pa.Table:
    return pa.table({"id": list(ids), "v": [v] * len(ids)})


def found(place: Place, where: str = "") -> list[tuple[Any, ...]]:
    return place.query(f"SELECT id, v FROM {place.from_clause('orders')} {where} ORDER BY 1, 2")


def lines(place: Place) -> list[str]:
    children = place.query(
        f"SELECT l.sku FROM {place.from_clause('orders__lines')} AS l "
        f"JOIN {place.from_clause('orders')} AS o ON l._dlt_parent_id = o._dlt_id ORDER BY 1"
    )
    assert place.count("orders__lines") == len(children)
    return [sku for (sku,) in children]


EACH_TIME = {("duckdb", "append"), ("duckdb", "delete-insert"), ("postgres", "upsert")}


@pytest.mark.parametrize(
    ("place", "how"),
    [
        pytest.param(
            place,
            how,
            marks=[
                *([] if place == "duckdb" else [pytest.mark.xdist_group(place)]),
                *([] if (place, how) in EACH_TIME else [pytest.mark.nightly]),
            ],
        )
        for place in ("duckdb", "postgres", "bigquery", "filesystem")
        for how in ("append", "replace", *(MERGES if place != "filesystem" else ()))
    ],
    indirect=["place"],
)
def test_forms_mix_in_a_load(place: Place, how: str) -> None:
    load(place, how, table(1, 1, 2, 3), rows(2, 3, 4), table(3, 4, 5))
    firsts = {1: 1, 2: 1, 3: 1, 4: 2, 5: 3}
    lasts = {1: 1, 2: 1, 3: 2, 4: 3, 5: 3}
    every = sorted([(1, 1), (2, 1), (3, 1), (3, 2), (4, 2), (4, 3), (5, 3)])
    kept = {"insert-only": sorted(firsts.items())}.get(how, sorted(lasts.items()))
    assert found(place) == (every if how in ("append", "replace", "scd2") else kept)
    by_key = {"insert-only": ["2-4"], "delete-insert": ["2-3"], "upsert": ["2-3"]}
    assert lines(place) == by_key.get(how, ["2-3", "2-4"])

    load(place, how, rows(4, 2, 6), pa.RecordBatch.from_pydict({"id": [6, 7], "v": [5, 5]}))
    if how == "append":
        assert found(place) == sorted([*every, (2, 4), (6, 4), (6, 5), (7, 5)])
    elif how == "replace":
        assert found(place) == [(2, 4), (6, 4), (6, 5), (7, 5)]
    elif how == "scd2":
        now = [(2, 4), (6, 4), (6, 5), (7, 5)]
        assert found(place, "WHERE _dlt_valid_to IS NULL") == now
        assert found(place) == sorted([*every, *now])
    elif how == "insert-only":
        assert found(place) == sorted({**firsts, 6: 4, 7: 5}.items())
        assert lines(place) == ["2-4", "4-6"]
    else:
        assert found(place) == sorted({**lasts, 2: 4, 6: 5, 7: 5}.items())
        assert lines(place) == ["2-3", "4-2"]


def test_rows_that_stay_get_no_children(duckdb_place: Place) -> None:
    """The rows of the first load have no ids that are made of the key."""
    load(duckdb_place, "insert-only", table(1, 1, 2))
    load(duckdb_place, "insert-only", rows(2, 2, 3))
    assert found(duckdb_place) == [(1, 1), (2, 1), (3, 2)]
    assert lines(duckdb_place) == ["2-3"]


def test_an_unchanged_arrow_row_is_one_version(duckdb_place: Place) -> None:
    load(duckdb_place, "scd2", table(1, 1, 2))
    load(duckdb_place, "scd2", table(1, 1, 2).append_column("w", pa.array([None, 5])))
    assert found(duckdb_place) == [(1, 1), (2, 1), (2, 1)]
    assert found(duckdb_place, "WHERE _dlt_valid_to IS NULL") == [(1, 1), (2, 1)]


@pytest.mark.parametrize(
    ("place", "columns"),
    [
        pytest.param(
            "duckdb",
            [
                {"n": pa.array([200], pa.uint8()), "b": pa.array([b"abcd"], pa.binary())},
                {"n": pa.array([255], pa.uint8()), "b": pa.array([b"ab"], pa.binary(2))},
                {"n": pa.array([32767], pa.int64()), "b": pa.array([b"abcde"], pa.binary())},
            ],
            id="unsigned",
        ),
        pytest.param(
            "postgres",
            [
                {"n": pa.array([2**62], pa.int64()), "t": pa.array([5], pa.timestamp("s", "UTC"))},
                {
                    "n": pa.array([5], pa.int16()),
                    "t": pa.array([5_000_001], pa.timestamp("us", "UTC")),
                },
                {"n": pa.array([2**62], pa.int64()), "t": pa.array([6], pa.timestamp("s", "UTC"))},
            ],
            id="fewer bits",
            marks=pytest.mark.xdist_group("postgres"),
        ),
    ],
    indirect=["place"],
)
def test_tables_keep_the_sizes_of_columns(place: Place, columns: list[dict[str, Any]]) -> None:
    """dlt would give a column the bits of the table that came last; values are refused then."""
    for number, each in enumerate(columns):
        report = load(place, "append", pa.table({"id": [number], **each}))
        assert not report.quarantined
        assert bool(report.changes) == (number == 0)
    for name in columns[0]:
        values = [each[name][0].as_py() for each in columns]
        found = place.query(f"SELECT {name} FROM {place.from_clause('orders')} ORDER BY id")
        assert [bytes(v) if name == "b" else v for (v,) in found] == values


def test_two_columns_of_one_name(duckdb_place: Place) -> None:
    """As with two keys of a row: the last one is kept, and what is lost is counted."""
    tables = {"ID": [1, 2, None], "id": [1, 5, 6], "a b": ["x", None, "z"], "a_b": [1, 2, 3]}
    report = load(duckdb_place, "append", pa.table(tables))
    end = "and only the last one's value is kept; rename one of them at the source"
    assert sorted(report.warnings) == [
        f"orders: 1 value was lost: `ID` and `id` become the column `id`, {end}",
        f"orders: 2 values were lost: `a b` and `a_b` become the column `a_b`, {end}",
    ]
    assert duckdb_place.column("orders", "id") == [1, 5, 6]
    assert duckdb_place.column("orders", "a_b") == [1, 2, 3]


def test_types_that_differ_in_a_first_load(duckdb_place: Place) -> None:
    """A column has the type of the first table; what it can't give back waits."""
    numbers, texts = {"id": [1], "v": [1]}, {"id": [2, 3], "v": ["x", None]}
    more = [pa.table({"id": [n], "v": [n]}) for n in range(10, 16)]
    load(duckdb_place, "append", pa.table(numbers), pa.table(texts), *more)
    assert found(duckdb_place) == [(1, 1), (3, None), *((n, n) for n in range(10, 16))]
    details = duckdb_place.column("_millstream_quarantine", "detail")
    assert details == ["`v`: text is not bigint"]


@pytest.mark.nightly_on("bigquery", "filesystem")
def test_texts_of_tables_are_times_as_those_of_rows_are(place: Place) -> None:
    """A source that handed rows, and hands frames of texts from some day on."""
    load(place, "append", [{"id": 1, "v": "2024-01-02T03:04:05Z", "d": date(2024, 1, 2)}])
    texts = {
        "id": [2, 3, 4],
        "v": ["2024-01-02T03:04:05.5Z", "2024-01-02T03:04:05", None],
        "d": [None, None, "2024-01-03"],
    }
    load(place, "append", pa.table(texts))
    moments = [
        (number, moment and moment.astimezone(timezone.utc)) for number, moment in found(place)
    ]
    first = datetime(2024, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
    assert moments == [(1, first), (2, first + timedelta(milliseconds=500))]
    details = place.column("_millstream_quarantine", "detail")
    assert sorted(details) == ["`d`: not a date", "`v`: not a time that the column gives back"]


@pytest.mark.parametrize(
    "place", ["duckdb", pytest.param("postgres", marks=pytest.mark.nightly)], indirect=True
)
def test_rows_of_nulls_alone_are_rows(place: Place) -> None:
    nulls = pa.table({"id": pa.nulls(2), "v": pa.nulls(2)})
    load(place, "append", nulls)
    assert place.count("orders") == 2
    load(place, "append", table(1, 1), nulls, pa.table({"v": pa.nulls(1)}).to_batches()[0])
    assert found(place, "WHERE id IS NOT NULL") == [(1, 1)]
    assert place.count("orders") == 2 + 4


@pytest.mark.parametrize(
    "place", ["filesystem", pytest.param("delta", marks=pytest.mark.nightly)], indirect=True
)
def test_rows_come_into_columns_that_keep_lists_and_objects(place: Place) -> None:
    """Files keep those of Arrow tables as they are, not as JSON."""
    arrow = pa.table({"id": [1], "tags": [["a"]], "place": [{"x": 1.5, "y": "n"}]})
    load(place, "append", arrow)
    given = [
        {"id": 2, "tags": ["b", None], "place": {"x": 2}},
        {"id": 3, "tags": []},
        {"id": 4, "tags": [5]},
        {"id": 5, "place": {"x": 1.0, "z": 1}},
        {"id": 6, "tags": "c"},
    ]
    report = load(place, "append", given)
    assert sum(each.rows for each in report.quarantined) == 2
    assert place.query(
        f"SELECT id, tags, place, tags__v_text FROM {place.from_clause('orders')} ORDER BY id"
    ) == [
        (1, ["a"], {"x": 1.5, "y": "n"}, None),
        (2, ["b", None], {"x": 2.0, "y": None}, None),
        (3, [], None, None),
        (6, None, None, "c"),
    ]
