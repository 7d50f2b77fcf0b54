"""JSON lines from columns hold what dlt's own hold, value by value."""

from __future__ import annotations

import json
from typing import Any

import pytest

from behaviour.conftest import configured
from behaviour.feed import FEED
from behaviour.values import rows
from millstream.config import DltConfig
from millstream.model import RunReport
from millstream.runs.runner import run
from services.places import Place

COLUMNS = ("id", "body", "n", "ratio", "price", "at", "raw", "doc", "day", "clock", "ok")


def load(place: Place, dataset: str, **destination: Any) -> RunReport:
    FEED.rows = rows()
    config = configured(
        place, DltConfig(path="behaviour.feed:valued"), dataset=dataset, **destination
    )
    return run(config, "orders")


def lines(place: Place, dataset: str, table: str) -> list[dict[str, Any]]:
    files = (place.project / "lake" / dataset / table).glob("*.jsonl")
    found = [json.loads(line) for file in files for line in file.read_bytes().splitlines()]
    return [
        {
            name: value.replace(".000000", "") if name in ("at", "clock") else value
            for name, value in row.items()
            if not name.startswith("_dlt_")
        }
        for row in found
    ]


def plain(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(json.dumps(row, sort_keys=True) for row in rows)


def test_they_are_those_of_dlt(filesystem_place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place = filesystem_place
    ours = load(place, "shop", loader_file_format="jsonl")
    monkeypatch.setenv("MILLSTREAM_ENGINE", "dlt")
    theirs = load(place, "other", loader_file_format="jsonl")
    assert ours.engine_rows == {"millstream": len(rows())}
    assert theirs.engine_rows == {"dlt": len(rows())}
    for table in ("orders", "orders__items", "orders__tags"):
        found, expected = lines(place, "shop", table), lines(place, "other", table)
        for row in (*found, *expected):
            if "price" in row:  # a decimal is the same with zeros behind it
                row["price"] = float(row["price"])
        assert plain(found) == plain(expected)


@pytest.mark.nightly
def test_bigquery_has_the_same_values(
    bigquery_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = bigquery_place
    ours = load(place, place.dataset)
    monkeypatch.setenv("MILLSTREAM_ENGINE", "dlt")
    other = f"{place.dataset}_other"
    load(place, other)
    assert {*ours.engine_rows} == {"millstream"}
    for column in COLUMNS:
        held = [
            place.query(f"SELECT id, TO_JSON_STRING({column}) FROM {where} ORDER BY id")
            for where in (
                place.from_clause("orders"),
                place.from_clause("orders").replace(place.dataset, other),
            )
        ]
        assert [*map(tuple, held[0])] == [*map(tuple, held[1])], column
