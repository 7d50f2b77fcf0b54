"""What a load leaves in the destination, read back without dlt and without Millstream."""

from __future__ import annotations

from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

import pytest

from behaviour.conftest import Load, configured, forget
from behaviour.feed import Feed
from millstream import destinations
from millstream.config import DltConfig
from services.places import Place

ORDERS = [
    {"id": 1, "customer": "Ann", "items": [{"sku": "a", "n": 2}, {"sku": "b", "n": 1}]},
    {"id": 2, "customer": "Bob", "items": []},
    {"id": 3, "customer": "Cid", "items": [{"sku": "a", "n": 5}]},
]


@pytest.fixture
def merging(place: Place) -> Place:
    if not place.merges:
        pytest.skip(f"{place.kind}: plain files hold no rows that could be updated")
    return place


@pytest.mark.nightly_on("bigquery")
def test_first_load_makes_the_root_and_a_linked_child(place: Place, load: Load):
    report = load(ORDERS)
    assert place.column("orders", "customer") == ["Ann", "Bob", "Cid"]
    joined = place.query(
        "SELECT o.id, i.sku, i.n, i._dlt_list_idx "
        f"FROM {place.from_clause('orders')} o JOIN {place.from_clause('orders__items')} i "
        "ON i._dlt_parent_id = o._dlt_id ORDER BY o.id, i._dlt_list_idx"
    )
    assert [tuple(row) for row in joined] == [(1, "a", 2, 0), (1, "b", 1, 1), (3, "a", 5, 0)]
    assert [(t.name, t.parent, t.rows, t.rows_total) for t in report.tables] == [
        ("orders", None, 3, 3),
        ("orders__items", "orders", 3, 3),
    ]
    assert all(table.bytes > 0 for table in report.tables)
    assert {c.kind for c in report.changes} == {"table_added"}


@pytest.mark.nightly_on("bigquery")
def test_the_report_knows_full_names(place: Place, load: Load):
    report = load(ORDERS)
    config = configured(place)
    for table in report.tables:
        assert table.full_name == place.full_name(table.name)
        # before the first run as much of it is known as the configuration says
        assert table.full_name.endswith(destinations.table_name(config, table.name))


@pytest.mark.nightly_on("bigquery")
def test_rerun_merges_without_loss_or_doubling(merging: Place, load: Load):
    load(ORDERS)
    changed = [
        {"id": 2, "customer": "Bea", "items": [{"sku": "c", "n": 9}]},
        {"id": 4, "customer": "Dan", "items": [{"sku": "d", "n": 1}]},
        {"id": 3, "customer": "Cid", "items": []},
    ]
    report = load(changed)
    again = load(changed)
    assert merging.column("orders", "customer") == ["Ann", "Bea", "Cid", "Dan"]
    # the items of 3 are gone, those of 2 and 4 are there once
    assert sorted(merging.column("orders__items", "sku", "sku")) == ["a", "b", "c", "d"]
    for each in (report, again):
        assert [(t.name, t.rows, t.rows_total) for t in each.tables] == [
            ("orders", 3, 4),
            ("orders__items", 2, 4),
        ]
        assert not each.changes


@pytest.mark.nightly_on("bigquery")
def test_append_adds(place: Place, load: Load):
    load(ORDERS, disposition="append")
    report = load(ORDERS[:1], disposition="append")
    assert place.column("orders", "id") == [1, 1, 2, 3]
    assert [(t.rows, t.rows_total) for t in report.tables] == [(1, 4), (2, 5)]


@pytest.mark.nightly_on("bigquery")
def test_replace_replaces_root_and_child(place: Place, load: Load):
    load(ORDERS, disposition="replace")
    report = load(
        [{"id": 9, "customer": "Zoe", "items": [{"sku": "z", "n": 1}]}], disposition="replace"
    )
    assert place.column("orders", "customer") == ["Zoe"]
    assert place.column("orders__items", "sku", "sku") == ["z"]
    assert [t.rows_total for t in report.tables] == [1, 1]


@pytest.mark.nightly_on("bigquery")
def test_full_refresh_replaces_what_was_there(place: Place, load: Load):
    load(ORDERS)
    report = load(
        [{"id": 9, "customer": "Zoe", "items": [{"sku": "z", "n": 1}]}], full_refresh=True
    )
    assert place.column("orders", "customer") == ["Zoe"]
    assert place.column("orders__items", "sku", "sku") == ["z"]
    assert [t.rows_total for t in report.tables] == [1, 1]


@pytest.mark.nightly_on("bigquery")
def test_new_columns_in_root_and_child(place: Place, load: Load):
    load(ORDERS)
    report = load(
        [{"id": 5, "customer": "Eve", "vip": True, "items": [{"sku": "e", "price": 1.5}]}]
    )
    assert place.query(
        f"SELECT id, vip FROM {place.from_clause('orders')} WHERE vip IS NOT NULL"
    ) == [(5, True)]
    assert place.query(
        f"SELECT sku, price FROM {place.from_clause('orders__items')} WHERE price IS NOT NULL"
    ) == [("e", 1.5)]
    assert place.count("orders") == 4
    assert place.count("orders__items") == 4
    assert sorted((c.kind, c.table, c.column, c.new) for c in report.changes) == [
        ("column_added", "orders", "vip", "bool"),
        ("column_added", "orders__items", "price", "double"),
    ]


@pytest.mark.nightly_on("bigquery")
def test_new_child_table(place: Place, load: Load):
    load(ORDERS)
    report = load([{"id": 6, "customer": "Fay", "items": [], "notes": [{"text": "call"}]}])
    assert place.column("orders__notes", "text", "text") == ["call"]
    assert ("table_added", "orders__notes") in {(c.kind, c.table) for c in report.changes}
    assert place.count("orders") == 4


@pytest.mark.nightly_on("bigquery")
def test_values_of_another_type_go_to_a_variant(place: Place, load: Load):
    load(ORDERS)
    report = load([{"id": 7, "customer": "Gus", "items": [{"sku": "g", "n": "many"}]}])
    assert sorted(
        place.query(f"SELECT n, n__v_text FROM {place.from_clause('orders__items')}"), key=str
    ) == [(1, None), (2, None), (5, None), (None, "many")]
    assert [(c.kind, c.table, c.column, c.new) for c in report.changes] == [
        ("variant_added", "orders__items", "n__v_text", "text")
    ]


def test_values_arrive_as_they_were(place: Place, load: Load):
    moment = datetime(2024, 2, 29, 12, 30, 15, 123456, tzinfo=timezone.utc)
    rows: list[dict[str, Any]] = [
        {"id": 1, "body": "", "big": 2**53 + 1, "seen": moment, "amount": 0.1, "flag": False},
        {"id": 2, "body": None, "big": -(2**63), "seen": None, "amount": None, "flag": None},
        {
            "id": 3,
            "body": 'a "b", \\n\n\tü€😀;',
            "big": 2**63 - 1,
            "seen": moment,
            "amount": 1e-300,
        },
        {"id": 4, "body": "NULL", "exact": Decimal("12345678901234567890.123456789")},
        {"id": 5, "body": "\\N", "raw": b"\x00\xff\x01 \n"},
    ]
    load(rows)
    assert place.column("orders", "body") == ["", None, rows[2]["body"], "NULL", "\\N"]
    assert place.column("orders", "big") == [2**53 + 1, -(2**63), 2**63 - 1, None, None]
    assert place.column("orders", "amount") == [0.1, None, 1e-300, None, None]
    assert place.column("orders", "flag") == [False, None, None, None, None]
    assert place.column("orders", "exact")[3] == Decimal("12345678901234567890.123456789")
    assert bytes(place.column("orders", "raw")[4]) == b"\x00\xff\x01 \n"
    seen = place.column("orders", "seen")
    assert seen[0].astimezone(timezone.utc) == moment
    assert seen[1] is None


@pytest.mark.nightly_on("bigquery")
def test_a_load_without_rows_changes_nothing(place: Place, load: Load, feed: Feed):
    first = load([])
    assert first.rows == 0
    load(ORDERS)
    report = load([])
    assert feed.asked == 3
    assert place.count("orders") == 3
    assert [(t.name, t.rows, t.rows_total) for t in report.tables] == [
        ("orders", 0, 3),
        ("orders__items", 0, 3),
    ]
    assert not report.changes


@pytest.mark.nightly_on("bigquery")
def test_the_cursor_comes_back_from_the_destination(place: Place, load: Load, feed: Any):
    source = DltConfig(path="behaviour.feed:since")
    load([{"id": 1, "changed": 5}, {"id": 2, "changed": 7}], source=source)
    forget(place)
    report = load([{"id": 2, "changed": 6}, {"id": 3, "changed": 8}], source=source)
    assert feed.cursor == 7
    assert report.tables[0].rows == 1  # the row of 6 is older than what was loaded
    assert not report.changes
    assert place.column("orders", "changed") == [5, 7, 8]


@pytest.mark.nightly_on("bigquery")
def test_the_schema_comes_back_from_the_destination(place: Place, load: Load):
    load(ORDERS)
    forget(place)
    report = load([{"id": 8, "customer": "Hal", "items": [{"sku": "h", "n": "few"}]}])
    assert [(c.kind, c.column) for c in report.changes] == [("variant_added", "n__v_text")]
    assert place.count("orders") == 4
