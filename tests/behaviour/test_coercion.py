"""No value changes in silence: a column takes what it gives back, and nothing else."""

from __future__ import annotations

import json
from datetime import date, datetime, timezone
from decimal import Decimal
from typing import Any

import pytest

from behaviour.conftest import configured
from behaviour.feed import FEED
from millstream.config import DltConfig, FilesConfig, PipelineConfig
from millstream.model import RunReport
from millstream.runs.runner import run
from services.places import Place

LARGE = 123456789012345678901234567890
ICON = "\uf02c 123"
TEXTUAL = ("filesystem", "bigquery", "delta", "iceberg")
"""Where integers beyond 64 bits are kept as texts."""
MOMENT = datetime(2024, 1, 1, tzinfo=timezone.utc)

FIRST = {
    "id": 1,
    "zip": 94103,
    "ok": True,
    "ratio": 1.5,
    "seen": "2024-01-01T00:00:00Z",
    "wall": "2024-01-01 10:00:00",
    "far": "2024-01-01T10:00:00+02:00",
    "fine": "2024-01-01T10:00:00.123456789Z",
    "name": "x",
    "big": 5,
    "huge": LARGE,
}
# by column: what comes next, and where it must be found
LATER: dict[str, list[tuple[Any, str, Any]]] = {
    "zip": [
        ("02139", "zip__v_text", "02139"),
        ("0x1F", "zip__v_text", "0x1F"),
        ("1_000", "zip__v_text", "1_000"),
        (True, "zip__v_bool", True),
        (2.0, "zip", 2),
        (2.5, "zip__v_double", 2.5),
    ],
    "ok": [(2, "ok__v_bigint", 2), ("no", "ok__v_text", "no")],
    "ratio": [
        (5, "ratio", 5.0),
        (2**53 + 1, "ratio__v_bigint", 2**53 + 1),
        ("NaN", "ratio__v_text", "NaN"),
        ("1e400", "ratio__v_text", "1e400"),
    ],
    "seen": [
        ("2024-01-01T00:00:00+00:00", "seen", MOMENT),
        ("2020", "seen__v_text", "2020"),
        (42, "seen__v_bigint", 42),
        ("2024-01-01T00:00:00", "seen__v_text", "2024-01-01T00:00:00"),
        ("2024-01-01T10:00:00+02:00", "seen__v_text", "2024-01-01T10:00:00+02:00"),
    ],
    "wall": [("2024-01-01T00:00:00Z", "wall__v_text", "2024-01-01T00:00:00Z")],
    "far": [("2024-01-01T00:00:00Z", "far", "2024-01-01T00:00:00Z")],
    "fine": [(1, "fine__v_bigint", 1)],
    "name": [(5, "name__v_bigint", 5), (ICON, "name", ICON)],
    "big": [(LARGE, "big__v_wei", LARGE), (2**63, "big__v_wei", 2**63)],
}


def files(place: Place, **more: Any) -> PipelineConfig:
    source = FilesConfig(streams={"items": {"path": "data/*.jsonl"}})
    base = configured(place, source)  # type: ignore[arg-type]
    return PipelineConfig.model_validate({**base.model_dump(), "project": place.project, **more})


def write(place: Place, name: str, rows: list[dict[str, Any]]) -> None:
    folder = place.project / "data"
    folder.mkdir(exist_ok=True)
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / name).write_text(text, encoding="utf-8")


def later() -> list[dict[str, Any]]:
    number, rows = 1, []
    for column, values in LATER.items():
        for value, _, _ in values:
            number += 1
            rows.append({"id": number, column: value})
    return rows


def wrong(place: Place) -> list[Any]:
    """Values that are not where they must be, as the destination has them."""
    number, found = 1, []
    for column, values in LATER.items():
        for _, where, expected in values:
            number += 1
            if place.kind == "bigquery" and where == "wall__v_text":
                where = "wall"  # dlt makes no columns of times without an offset there
            if place.kind in TEXTUAL and where.endswith("_wei"):
                where, expected = where.replace("_wei", "_text"), str(expected)
            ((held,),) = place.query(
                f"SELECT {where} FROM {place.from_clause('items')} WHERE id = {number}"
            )
            if isinstance(held, datetime) and held.tzinfo is None:
                held = held.replace(tzinfo=timezone.utc)
            if held != expected or isinstance(held, bool) != isinstance(expected, bool):
                found.append((column, where, expected, held))
    return found


@pytest.mark.nightly_on("bigquery")
def test_what_a_column_does_not_give_back_is_a_variant(place: Place) -> None:
    config = files(place)
    write(place, "a.jsonl", [FIRST])
    run(config, "items")
    write(place, "b.jsonl", later())
    report = run(config, "items")
    assert wrong(place) == []
    assert not report.quarantined
    told = {change.column: change.message for change in report.changes}
    assert "now also text in 12.5% of rows" in told["zip__v_text"]
    assert {change.kind for change in report.changes} == {"variant_added"}
    huge = "huge__v_text" if place.kind in TEXTUAL else "huge"
    ((far, fine, held),) = place.query(
        f"SELECT far, fine, {huge} FROM {place.from_clause('items')} WHERE id = 1"
    )
    assert (far, fine, int(held)) == (FIRST["far"], FIRST["fine"], LARGE)


@pytest.mark.parametrize("unlike", [{"id": "}"}, {"Foo": 1, "foo": 2}])
def test_beside_rows_that_dlt_normalizes(duckdb_place: Place, unlike: dict[str, Any]) -> None:
    write(duckdb_place, "a.jsonl", [FIRST, unlike])
    with (duckdb_place.project / "data" / "a.jsonl").open("a") as file:
        file.write('{"id": 0\n')  # no JSON
        file.write("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in later()))
    run(files(duckdb_place), "items")
    assert wrong(duckdb_place) == []


def test_with_dlts_own_normalizer(duckdb_place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLSTREAM_ENGINE", "dlt")
    write(duckdb_place, "a.jsonl", [FIRST, *later()])
    report = run(files(duckdb_place), "items")
    assert {*report.engine_rows} == {"dlt"}
    assert wrong(duckdb_place) == []


def test_dlts_coercion_where_it_is_asked_for(duckdb_place: Place) -> None:
    config = files(duckdb_place, coercion="dlt", detect_timestamps=False)
    rows = [FIRST, {"id": 2, "zip": "02139", "ok": "no", "name": ICON}]
    write(duckdb_place, "a.jsonl", rows)
    run(config, "items")
    found = duckdb_place.query("SELECT zip, ok, name, seen FROM shop.items ORDER BY id")
    assert found == [
        (94103, True, "x", "2024-01-01T00:00:00Z"),
        (2139, False, ICON, None),
    ]


def priced(place: Place, rows: list[dict[str, Any]]) -> RunReport:
    FEED.rows = rows
    return run(configured(place, DltConfig(path="behaviour.feed:priced")), "orders")


@pytest.mark.nightly_on("bigquery")
def test_a_row_with_too_many_digits_is_put_aside(place: Place) -> None:
    good = {"id": 1, "price": Decimal("12.34"), "size": 1}
    priced(place, [good])
    bad = [
        {"id": 2, "price": Decimal("5.555")},
        {"id": 3, "price": Decimal("123456789")},
        {"id": 4, "price": Decimal("NaN")},
        {"id": 5, "size": 40_000},
        {"id": "six", "price": Decimal("1.5")},
        {"id": 2**63, "price": Decimal("1.5")},
    ]
    report = priced(place, [*bad, *({**good, "id": number} for number in range(7, 14))])
    assert [(each.table, each.reason, each.rows) for each in report.quarantined] == [
        ("orders", "refused", len(bad))
    ]
    assert sorted(place.column("orders", "id")) == [1, *range(7, 14)]
    details = place.query(f"SELECT detail FROM {place.from_clause('_millstream_quarantine')}")
    assert sorted(str(row[0]) for row in details) == [
        "`id`: a value of type text in a key of type bigint",
        "`id`: more than 64 bits",
        "`price`: more than 2 digits after the point",
        "`price`: more than 8 digits before the point",
        "`price`: not a number",
        "`size`: more than 16 bits",
    ]


@pytest.mark.nightly_on("bigquery")
def test_values_of_python_keep_their_types(place: Place) -> None:
    FEED.rows = [
        {"id": 1, "at": MOMENT, "day": date(2024, 1, 1), "blob": b"\x00\xff", "n": 2.0, "s": "x"}
    ]
    config = configured(place, DltConfig(path="behaviour.feed:orders"))
    run(config, "orders")
    FEED.rows = [
        {"id": 2, "at": "2024-01-01T00:00:00Z", "blob": "word", "n": 5, "s": ICON},
        {"id": 3, "at": date(2024, 1, 1), "day": MOMENT},
    ]
    run(config, "orders")
    found = place.query(
        "SELECT at__v_text, blob__v_text, n, s, at__v_date, day__v_timestamp "
        f"FROM {place.from_clause('orders')} ORDER BY id"
    )
    rows = [
        tuple(
            each.replace(tzinfo=each.tzinfo or timezone.utc) if isinstance(each, datetime) else each
            for each in row
        )
        for row in found
    ]
    assert rows == [
        (None, None, 2.0, "x", None, None),
        ("2024-01-01T00:00:00Z", "word", 5, ICON, None, None),
        (None, None, None, None, date(2024, 1, 1), MOMENT),
    ]
