"""A row without its key goes to quarantine before the load, wherever and however it is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from behaviour.conftest import configured
from behaviour.feed import FEED
from millstream.config import DltConfig, FilesConfig, PipelineConfig, QuarantineConfig
from millstream.errors import SourceDataError
from millstream.runs.runner import run
from services.places import Place

ROWS = 3000
"""So many that the engine knows their shape before it comes to the one without a key."""


def shop(place: Place, **arguments: Any) -> PipelineConfig:
    return configured(place, DltConfig(path="behaviour.feed:keyed", arguments=arguments))


def rows(start: int, count: int = ROWS) -> list[dict[str, Any]]:
    return [{"id": n, "n": n, "lines": [{"sku": n}]} for n in range(start, start + count)]


def ids(place: Place, table: str = "orders") -> list[int]:
    return place.column(table, "id")


def reasons(report: Any) -> list[tuple[str, str, int]]:
    return [(each.table, each.detail, each.rows) for each in report.quarantined]


@pytest.mark.nightly_on("bigquery", "filesystem")
@pytest.mark.parametrize("engine", ["columns", "dlt"])
@pytest.mark.nightly_on("postgres")
def test_a_row_without_its_key_is_quarantined(
    place: Place, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if engine == "dlt":
        monkeypatch.setenv("MILLSTREAM_ENGINE", "dlt")
    FEED.rows = rows(0)
    run(shop(place), "orders")
    broken = rows(ROWS)
    del broken[2500]["id"]
    FEED.rows = broken
    report = run(shop(place), "orders")
    assert reasons(report) == [("orders", "`id`, which may not be null, is missing", 1)]
    FEED.rows = [{"n": 1}, {"id": -1, "n": 2}]
    report = run(shop(place), "orders")
    assert sum(each.rows for each in report.quarantined) == 1
    expected = [-1, *range(ROWS + 2500), *range(ROWS + 2501, 2 * ROWS)]
    assert ids(place) == expected
    assert place.column("orders__lines", "sku", "sku") == expected[1:]


@pytest.mark.nightly_on("bigquery")
def test_the_first_rows_of_all_lack_their_key(place: Place) -> None:
    FEED.rows = [{"n": 1}, {"n": 2}]
    report = run(shop(place), "orders")
    assert (report.rows, sum(each.rows for each in report.quarantined)) == (0, 2)
    FEED.rows = [{"n": 3}, *rows(5, 2)]
    report = run(shop(place), "orders")
    assert sum(each.rows for each in report.quarantined) == 1
    assert ids(place) == [5, 6]


@pytest.mark.nightly_on("bigquery")
def test_a_child_row_without_its_key_takes_the_row_along(place: Place) -> None:
    config = shop(place, nested_key="sku")
    FEED.rows = rows(0, 40)
    run(config, "orders")
    broken = rows(40, 40)
    broken[7]["lines"][0].pop("sku")
    broken[7]["lines"][0]["n"] = 1
    FEED.rows = broken
    report = run(config, "orders")
    assert reasons(report) == [("orders__lines", "`sku`, which may not be null, is missing", 1)]
    assert ids(place) == [*range(47), *range(48, 80)]


@pytest.mark.nightly_on("bigquery")
def test_json_lines_without_their_key(place: Place, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    streams = {"orders": {"path": str(folder / "*.jsonl"), "primary_key": ["id"]}}
    source = FilesConfig.model_validate({"type": "files", "streams": streams})
    config = configured(place, source)  # type: ignore[arg-type]

    def write(name: str, found: list[dict[str, Any]]) -> None:
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in found))

    write("a.jsonl", rows(0))
    run(config, "orders")
    broken = rows(ROWS)
    del broken[1500]["id"]
    write("b.jsonl", broken)
    report = run(config, "orders")
    assert reasons(report) == [("orders", "`id`, which may not be null, is missing", 1)]
    write("c.jsonl", rows(ROWS + 1500, 1))
    run(config, "orders")
    assert ids(place) == list(range(2 * ROWS))


UPSERT = {"disposition": "merge", "strategy": "upsert"}


def test_a_row_without_the_key_of_which_its_id_is_made(duckdb_place: Place) -> None:
    config = shop(duckdb_place, write_disposition=UPSERT)
    FEED.rows = [{"id": 1, "n": 1}, {"n": 2}, {"id": 3, "n": 3}]
    report = run(config, "orders")
    assert reasons(report) == [("orders", "`id`, which may not be null, is missing", 1)]
    assert ids(duckdb_place) == [1, 3]
    config = config.model_copy(update={"quarantine": QuarantineConfig(enabled=False)})
    with pytest.raises(SourceDataError, match="orders: `id`, which may not be null, is missing"):
        run(config, "orders")


def test_without_quarantine_the_error_names_table_and_column(duckdb_place: Place) -> None:
    config = shop(duckdb_place).model_copy(update={"quarantine": QuarantineConfig(enabled=False)})
    FEED.rows = rows(0, 2)
    run(config, "orders")
    FEED.rows = [{"n": 2}]
    with pytest.raises(SourceDataError, match="orders: `id`, which may not be null, is missing"):
        run(config, "orders")
