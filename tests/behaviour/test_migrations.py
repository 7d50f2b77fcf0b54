"""A change of configuration on tables that have rows: it keeps them, or is refused at the start."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from behaviour.feed import FEED
from millstream.config import DltConfig, PipelineConfig
from millstream.errors import ConfigError
from millstream.runs.runner import run
from services.places import NAME, Place


def shop(
    place: Place, disposition: Any, key: str | None = "id", columns: Any = None
) -> PipelineConfig:
    arguments = {"write_disposition": disposition, "key": key, "columns": columns}
    return PipelineConfig(
        name=NAME,
        source=DltConfig(path="behaviour.feed:disposed", arguments=arguments),
        destination=place.destination,
        project=place.project,
        # a key that moves is held by default, as any breaking change
        schema_policy="anything",
    )


def order(number: int, v: int, *skus: str, **more: Any) -> dict[str, Any]:
    lines = [{"sku": sku, "marks": [{"mark": f"{sku}!"}]} for sku in skus]
    return {"id": number, "v": v, "lines": lines, **more}


def load(place: Place, rows: Any, disposition: Any, **more: Any) -> Any:
    FEED.rows = rows
    return run(shop(place, disposition, **more), "orders")


def leaves(place: Place) -> list[tuple[Any, ...]]:
    """Each leaf with its order, joined through the links from below."""
    table = place.from_clause
    return place.query(
        f"SELECT o.id, o.v, l.sku, m.mark FROM {table('orders__lines__marks')} AS m "
        f"JOIN {table('orders__lines')} AS l ON m._dlt_parent_id = l._dlt_id "
        f"JOIN {table('orders')} AS o ON l._dlt_parent_id = o._dlt_id ORDER BY 1, 2, 3"
    )


def unlinked(place: Place) -> int:
    """Nested rows whose root id is not their root row's."""
    table = place.from_clause
    found = place.query(
        f"SELECT COUNT(*) FROM {table('orders__lines__marks')} AS m "
        f"JOIN {table('orders__lines')} AS l ON m._dlt_parent_id = l._dlt_id "
        "WHERE m._dlt_root_id <> l._dlt_parent_id OR m._dlt_root_id IS NULL "
        "OR l._dlt_root_id <> l._dlt_parent_id OR l._dlt_root_id IS NULL"
    )
    return int(found[0][0])


def databases(place: Place) -> None:
    if not place.merges:
        pytest.skip(f"{place.kind}: merges append there")


FIRST = [order(1, 1, "a", "aa"), order(2, 1, "b"), order(3, 1, "c")]


@pytest.mark.not_on("delta", "iceberg")
@pytest.mark.nightly_on("bigquery")
@pytest.mark.parametrize(
    "before", ["append", pytest.param("replace", marks=pytest.mark.nightly_on("bigquery"))]
)
@pytest.mark.nightly_on("postgres")
def test_becomes_a_merge(place: Place, before: str) -> None:
    databases(place)
    load(place, FIRST, before)
    # no nested rows come along: those of the order that it replaces must go all the same
    report = load(place, [order(2, 2)], "merge")
    told = {each.change.message for each in report.decisions if "_root_id" in each.change.message}
    assert told == {"new column `_dlt_root_id` (text, not null): filled in the rows loaded before"}
    assert leaves(place) == [(1, 1, "a", "a!"), (1, 1, "aa", "aa!"), (3, 1, "c", "c!")]
    assert place.count("orders__lines__marks") == place.count("orders__lines") == 3
    assert unlinked(place) == 0
    load(place, [order(3, 3, "cc"), order(4, 3, "d")], "merge")
    assert leaves(place)[2:] == [(3, 3, "cc", "cc!"), (4, 3, "d", "d!")]
    assert place.count("orders__lines__marks") == 4
    assert unlinked(place) == 0
    load(place, [order(9, 9, "z")], before)
    assert leaves(place)[-1] == (9, 9, "z", "z!")
    assert len(leaves(place)) == (5 if before == "append" else 1)


def test_files_go_on_after_a_change_to_merge(filesystem_place: Place) -> None:
    load(filesystem_place, FIRST, "append")
    report = load(filesystem_place, [order(4, 2, "d")], "merge")
    assert report.warnings  # that it appends
    assert len(leaves(filesystem_place)) == 5


@pytest.mark.not_on("delta", "iceberg")
@pytest.mark.nightly_on("bigquery")
def test_a_key_that_the_rows_did_not_have(place: Place) -> None:
    load(place, FIRST, "merge")
    report = load(place, [order(1, 2, "x", sku="s1"), order(2, 2, sku="s2")], "merge", key="sku")
    assert any("orders" in warning and "`sku`" in warning for warning in report.warnings) or (
        not place.merges
    )
    load(place, [order(5, 3, "y", sku="s1")], "merge", key="sku")
    if place.merges:
        assert place.query(
            f"SELECT id, v, sku FROM {place.from_clause('orders')} ORDER BY id, v"
        ) == [(1, 1, None), (2, 1, None), (2, 2, "s2"), (3, 1, None), (5, 3, "s1")]
        assert unlinked(place) == 0


@pytest.mark.not_on("delta", "iceberg")
@pytest.mark.nightly_on("bigquery")
def test_becomes_history(place: Place) -> None:
    databases(place)
    load(place, FIRST, "append")
    load(place, [order(1, 2, "x")], {"disposition": "merge", "strategy": "scd2"})
    rows = place.query(
        "SELECT id, v, _dlt_valid_from IS NULL, _dlt_valid_to IS NULL "
        f"FROM {place.from_clause('orders')} ORDER BY 1, 2"
    )
    assert rows == [(1, 1, False, False), (1, 2, False, True), (2, 1, False, False),
                    (3, 1, False, False)]  # fmt: skip
    assert len(leaves(place)) == 5
    asked = FEED.asked
    for other in ("merge", {"disposition": "merge", "strategy": "delete-insert"}):
        with pytest.raises(ConfigError, match="keeps its rows' history"):
            load(place, [order(1, 3)], other)
    assert FEED.asked == asked
    assert place.count("orders") == 4


@pytest.mark.not_on("delta", "iceberg")
@pytest.mark.nightly_on("bigquery")
def test_ids_of_the_key_are_refused_where_rows_have_others(place: Place) -> None:
    databases(place)
    upsert = {"disposition": "merge", "strategy": "upsert"}
    load(place, FIRST, "merge")
    asked = FEED.asked
    with pytest.raises(ConfigError, match="would lose their parents") as refused:
        load(place, [order(1, 2, "x")], upsert)
    assert "delete-insert" in str(refused.value.hint)
    assert FEED.asked == asked
    load(place, [order(1, 2, "x")], "merge")
    assert len(leaves(place)) == 3


def _sized(kind: str, precision: int, **more: int) -> dict[str, Any]:
    return {"data_type": kind, "precision": precision, **more}


WIDER: list[tuple[Any, Any, dict[str, Any], dict[str, Any]]] = [
    (5, Decimal("9.75"), {"data_type": "bigint"}, {"data_type": "decimal"}),
    (
        Decimal("5.25"),
        Decimal("9.7512"),
        _sized("decimal", 10, scale=2),
        _sized("decimal", 20, scale=4),
    ),
    (7, 2**40, _sized("bigint", 32), _sized("bigint", 64)),
    ("a", "abcdef", _sized("text", 3), _sized("text", 6)),
]


@pytest.mark.not_on("delta", "iceberg")
@pytest.mark.parametrize("case", WIDER, ids=["decimal", "scale", "integer", "text"])
@pytest.mark.parametrize(
    "disposition", ["merge", pytest.param("append", marks=pytest.mark.nightly)]
)
@pytest.mark.nightly_on("postgres")
def test_a_column_gets_a_wider_type(place: Place, case: Any, disposition: str) -> None:
    if place.kind == "bigquery":
        pytest.skip("it widens no column: test_a_type_that_would_change_values")
    if place.kind == "filesystem" and disposition == "append":
        pytest.skip("files have their own columns")
    first, second, before, after = case
    load(place, [order(1, first)], disposition, columns={"v": before})
    load(place, [order(2, second)], disposition, columns={"v": after})
    load(place, [order(3, second), order(4, first)], disposition, columns={"v": after})
    assert place.column("orders", "v") == [first, second, second, first]


@pytest.mark.not_on("delta", "iceberg")
@pytest.mark.nightly_on("bigquery", "filesystem")
def test_a_column_that_is_wide_enough_stays(place: Place) -> None:
    wide = {"v": _sized("decimal", 30, scale=4)}
    load(place, [order(1, 0) | {"v": Decimal("5.2512")}], "append", columns=wide)
    load(place, [order(2, 7)], "append", columns={"v": {"data_type": "bigint"}})
    load(place, [order(3, 0) | {"v": Decimal("1.25")}], "append",
         columns={"v": _sized("decimal", 12, scale=2)})  # fmt: skip
    assert place.column("orders", "v") == [Decimal("5.2512"), 7, Decimal("1.25")]


def test_a_type_leaves_no_digits_behind(duckdb_place: Place) -> None:
    tenths = {"v": _sized("decimal", 10, scale=2)}
    load(duckdb_place, [order(1, 0) | {"v": Decimal("5.25")}], "append", columns=tenths)
    text = {"v": {"data_type": "text"}}
    row = order(2, 0) | {"v": "more than ten characters"}
    assert load(duckdb_place, [row], "append", columns=text).quarantined == ()
    assert duckdb_place.column("orders", "v") == ["5.25", row["v"]]


@pytest.mark.not_on("delta", "iceberg")
@pytest.mark.nightly_on("bigquery")
def test_a_column_becomes_text(place: Place) -> None:
    databases(place)
    load(place, FIRST, "replace")
    if place.kind == "bigquery":
        with pytest.raises(ConfigError, match="bigquery can't make text of it"):
            load(
                place, [order(2, 0) | {"v": "x1"}], "replace", columns={"v": {"data_type": "text"}}
            )
        assert place.column("orders", "v") == [1, 1, 1]
        return
    for _ in range(2):
        load(place, [order(2, 0) | {"v": "x1"}], "replace", columns={"v": {"data_type": "text"}})
        assert place.column("orders", "v") == ["x1"]


@pytest.mark.nightly_on("bigquery")
def test_a_type_that_would_change_values_is_refused(place: Place) -> None:
    databases(place)
    load(place, [order(1, 2**53 + 1)], "merge")
    double = {"v": {"data_type": "double"}}
    with pytest.raises(ConfigError, match="`v` of table orders is bigint, and was to become"):
        load(place, [order(2, 0) | {"v": 9.75}], "merge", columns=double)
    # nothing waits, and the old type goes on
    load(place, [order(3, 3)], "merge")
    assert place.column("orders", "v") == [2**53 + 1, 3]


@pytest.mark.nightly_on("bigquery", "filesystem")
def test_a_column_may_be_null_from_now_on(place: Place) -> None:
    for nullable, value in ((False, 1), (True, None)):
        columns = {"v": {"data_type": "bigint", "nullable": nullable}}
        load(place, [{"id": 1 + nullable, "v": value}], "append", columns=columns)
    assert place.column("orders", "v") == [1, None]


@pytest.mark.nightly_on("bigquery")
def test_a_former_key_may_be_missing(place: Place) -> None:
    databases(place)
    load(place, [order(1, 1, sku="s1")], "merge")
    load(place, [{"v": 2, "sku": "s2"}, {"v": 3, "sku": "s1"}], "merge", key="sku")
    load(place, [{"v": 4, "sku": "s2"}], "merge", key="sku")
    assert place.query(f"SELECT id, v, sku FROM {place.from_clause('orders')} ORDER BY v") == [
        (None, 3, "s1"),
        (None, 4, "s2"),
    ]


@pytest.mark.nightly_on("bigquery")
@pytest.mark.parametrize("disposition", ["append", "replace"])
@pytest.mark.nightly_on("postgres")
def test_a_key_that_is_taken_away_is_none(place: Place, disposition: str) -> None:
    databases(place)
    load(place, [order(1, 1, "a")], "merge")
    rows = [order(1, 2, "b"), order(1, 3, "c"), {"v": 4}]
    report = load(place, rows, disposition, key=None)
    assert "column `id` is no longer part of the primary key" in {
        each.message for each in report.changes
    }
    assert (sum(report.outdated.values()), report.quarantined) == (0, ())
    found = place.query(f"SELECT v FROM {place.from_clause('orders')} ORDER BY v")
    assert found == [(v,) for v in (1, 2, 3, 4) if v > 1 or disposition == "append"]


def _table(v: int, *ids: int) -> pa.Table:
    return pa.table({"id": list(ids), "v": [v] * len(ids)})


@pytest.mark.nightly_on("bigquery")
@pytest.mark.nightly_on("postgres")
def test_arrow_tables_and_rows_take_turns(place: Place) -> None:
    databases(place)
    load(place, _table(1, 1, 2, 3), "append")
    load(place, [order(3, 2, "c"), order(4, 2, "d")], "merge")
    load(place, _table(3, 3, 5), "merge")
    load(place, [order(2, 4, "b"), order(5, 4)], "merge")
    rows = place.query(f"SELECT id, v FROM {place.from_clause('orders')} ORDER BY 1, 2")
    assert rows == [(1, 1), (2, 4), (3, 3), (4, 2), (5, 4)]
    assert leaves(place) == [(2, 4, "b", "b!"), (4, 2, "d", "d!")]
    assert place.count("orders__lines") == 2
