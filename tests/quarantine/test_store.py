"""What was quarantined, read from the destination's table: each row once, as it is now."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pytest

from millstream.config import QuarantineConfig
from millstream.quarantine.entry import COLUMNS, Rejection, again, closed, identity, make
from millstream.quarantine.rules import QuarantineRules
from millstream.quarantine.store import Entry, entries

TYPES = {"bigint": "BIGINT", "bool": "BOOLEAN", "timestamp": "TIMESTAMPTZ", "text": "VARCHAR"}
REFUSED = [Rejection("refused", "too large", "orders", "n")]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "shop.duckdb"
    columns = ", ".join(f"{name} {TYPES[kind]}" for name, kind in COLUMNS.items())
    with duckdb.connect(str(path)) as database:
        database.execute("CREATE SCHEMA raw")
        database.execute(
            f"CREATE TABLE raw._millstream_quarantine ({columns}, _dlt_load_id VARCHAR)"
        )
    return path


def insert(path: Path, load: str, *rows: dict[str, Any]) -> None:
    with duckdb.connect(str(path)) as database:
        for row in rows:
            marks = ", ".join("?" * (len(COLUMNS) + 1))
            database.execute(
                f"INSERT INTO raw._millstream_quarantine VALUES ({marks})",
                [*(row[name] for name in COLUMNS), load],
            )


def found(path: Path, stream: str | None = None, **options: Any) -> list[Entry]:
    return entries(dlt.destinations.duckdb(str(path)), "raw", "shop", stream, **options)


def quarantined(stream: str, position: str, at: int = 0) -> dict[str, Any]:
    rules = QuarantineRules("shop", stream, QuarantineConfig())
    row = make(rules, REFUSED, {"n": 1}, load_id="1.5", position=position, disposition="append")
    return {
        **row,
        "quarantined_at": datetime(2024, 1, 1, tzinfo=timezone.utc) + timedelta(hours=at),
    }


def test_the_last_of_what_became_of_a_row_counts(file: Path) -> None:
    rules = QuarantineRules("shop", "orders", QuarantineConfig())
    first, other = quarantined("orders", "a"), quarantined("orders", "b", at=1)
    insert(file, "1.5", first, other)
    known = {key: value for key, value in first.items() if key != "document"}
    second = again(rules, known, [Rejection("contract", "refused again", "orders")], {"n": 2})
    insert(file, "3.5", closed({**known, "attempts": 1}, "replayed"))
    insert(file, "2.5", second)

    replayed, waiting = found(file)

    assert replayed.id == identity("1.5", "a")
    assert (replayed.status, replayed.fields["attempts"]) == ("replayed", 2)
    assert replayed.put_aside["detail"] == "too large"
    assert replayed.loads == {"2.5", "3.5"}
    assert (waiting.status, waiting.loads) == ("waiting", frozenset())


def test_rows_come_oldest_first_and_of_one_stream(file: Path) -> None:
    insert(
        file, "1.5",
        quarantined("orders", "c", at=3), quarantined("lines", "a", at=1),
        quarantined("orders", "b", at=2), {**quarantined("orders", "x"), "pipeline": "other"},
    )  # fmt: skip
    assert [each.at.hour for each in found(file)] == [1, 2, 3]
    assert [each.at.hour for each in found(file, "orders")] == [2, 3]
    assert found(file, "others") == []


def test_documents_are_read_where_asked_for(file: Path) -> None:
    insert(file, "1.5", quarantined("orders", "a"))
    (without,), (with_document,) = found(file), found(file, documents=True)
    assert "document" not in without.fields
    assert with_document.fields["document"] == '{"n":1}'
    plain = with_document.without_document()
    assert "document" not in plain
    assert plain["quarantined_at"] == "2024-01-01T00:00:00+00:00"


def test_no_table_is_no_rows(tmp_path: Path) -> None:
    assert found(tmp_path / "empty.duckdb") == []
