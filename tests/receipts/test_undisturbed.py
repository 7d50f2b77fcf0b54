"""A load that nobody touched has no differences, whatever its rows are."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import dlt
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.parity.harness import Case
from tests.parity.test_random import cases

from millstream.config import PipelineConfig, TargetConfig
from millstream.errors import MillstreamError
from millstream.runs.audit import audit_loads
from millstream.runs.runner import replay, run, run_data
from millstream.runs.source_audit import audit_source
from receipts.kit import problems
from services import places
from services.places import Place

NIGHTLY = os.environ.get("MILLSTREAM_NIGHTLY") == "1"
FEW = settings(
    max_examples=150 if NIGHTLY else 2,
    deadline=None,
    database=None,
    derandomize=not NIGHTLY,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def files(project: Path, destination: Any = None, **more: Any) -> PipelineConfig:
    return PipelineConfig.model_validate(
        {
            "name": "shop",
            "source": {"type": "files", "streams": {"orders": {"path": "*.jsonl"}}},
            "destination": destination or {"type": "duckdb", "database": "w.duckdb"},
            "project": project,
            "receipts": "sample",
            "schema_policy": "anything",
            **more,
        }
    )


@pytest.mark.nightly
@FEW
@given(case=cases(), coercion=st.sampled_from(["exact", "dlt"]))
def test_random_rows_of_python(
    case: Case, coercion: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    target = TargetConfig(
        name="shop",
        project=tmp_path_factory.mktemp("rows"),
        receipts="sample",
        coercion=coercion,
        schema_policy="anything",  # type: ignore[arg-type]
    )
    for load in case.loads:
        rows = [row for file in load for line in file for row in line]
        rows = [row for row in rows if not isinstance(row, list)]
        resource = dlt.resource(iter([rows] if rows else []), name="orders", **case.resource)
        try:
            report = run_data(resource, target)
        except MillstreamError:  # rows that no destination takes
            return
        assert problems(report) == []


def is_json(row: Any) -> bool:
    try:
        json.dumps(row)
    except TypeError:
        return False
    return True


@FEW
@given(case=cases())
def test_random_rows_of_json(case: Case, tmp_path_factory: pytest.TempPathFactory) -> None:
    load_lines(case, tmp_path_factory.mktemp("lines"), None)


@pytest.mark.nightly
@pytest.mark.parametrize("place", ["postgres", "filesystem"], indirect=True)
@FEW
@given(case=cases())
def test_random_rows_of_json_elsewhere(
    case: Case, place: Place, tmp_path_factory: pytest.TempPathFactory
) -> None:
    dataset = f"d{uuid4().hex[:12]}"  # of its own: the server stays
    load_lines(case, tmp_path_factory.mktemp("lines"), {**place.destination, "dataset": dataset})


def load_lines(case: Case, project: Path, destination: Any) -> None:
    """Load JSON lines file after file, and read the source again."""
    for number, load in enumerate(case.loads):
        rows = [row for file in load for line in file for row in line if is_json(row)]
        if not rows:
            continue
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (project / f"{number}.jsonl").write_text(text, encoding="utf-8", errors="surrogatepass")
        try:
            report = run(files(project, destination), "orders")
        except MillstreamError:
            return
        assert problems(report) == []
    for table in (
        audit_source(files(project, destination), "orders").tables if [*project.iterdir()] else ()
    ):
        assert [table.missing.rows, table.extra.rows, table.changed.rows] == [0, 0, 0]


@pytest.mark.nightly_on("bigquery", "filesystem", "postgres")
def test_rows_of_many_kinds(place: Place) -> None:
    """Quarantine, variants, versions, lists that are objects too: each destination."""
    rows: list[Any] = [
        {"id": 1, "n": 1, "at": "2024-01-01T10:00:00Z", "b": {"c": [1, 2], "list": [1]}},
        {"id": 2, "n": "2", "at": "no time", "b": [{"c": [1]}, [5, 6]], "x": 2**70},
        {"id": 3, "n": 2.5, "at": None, "b": [], "x": 1, "text": "a\0b"},
        {"id": 3, "n": 3, "day": "2024-01-01", "b": [None, "x", True]},
        {"id": "no number", "n": 1},
        {"id": 4, "n": -0.0, "größe": {"a b": 1.5, "a_b": 2}},
    ]
    lines = [json.dumps(row) for row in rows] + ["{not json", '{"id": 5, "id": 6}', "[1, [2]]"]
    (place.project / "a.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    config = files(
        place.project,
        place.destination,
        source={
            "type": "files",
            "streams": {"orders": {"path": "*.jsonl", "primary_key": ["id"]}},
        },
    )
    report = run(config, "orders")
    root = report.receipts[0]
    assert problems(report) == []
    assert (root.unchecked, root.read, root.quarantined) == ("", 9, 4)
    assert root.checked == 7
    # what is read again in its place
    (place.project / "b.jsonl").write_text('{"id": 1, "n": 7, "b": [{"c": [3]}]}\n')
    report = run(config, "orders")
    assert problems(report) == []
    assert report.receipts[0].checked == 1
    replayed, _ = replay(config, "orders")
    assert problems(replayed) == []


def test_a_sample_of_a_large_load(tmp_path: Path) -> None:
    rows = ({"key": f"k{n}", "n": n % 7, "tags": [n, n + 1]} for n in range(12_000))
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "a.jsonl").write_text(text, encoding="utf-8")
    report = run(files(tmp_path), "orders")
    root = report.receipts[0]
    assert problems(report) == []
    assert (root.read, root.delivered, root.unchecked) == (12_000, 12_000, "")
    assert 100 < root.checked <= 500


def test_a_sample_with_rows_in_quarantine(tmp_path: Path) -> None:
    """Found by a column that other rows have the value of, too."""
    rows = ({"id": n if n % 3 else f"x{n}", "key": f"k{n // 2}"} for n in range(1, 4_000))
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "a.jsonl").write_text(text, encoding="utf-8")
    stream = {"path": "*.jsonl", "primary_key": ["id"]}
    config = files(tmp_path, source={"type": "files", "streams": {"orders": stream}})
    report = run(config, "orders")
    assert problems(report) == []
    assert (report.receipts[0].quarantined, report.receipts[0].unchecked) == (1_333, "")
    (load,) = audit_loads(config, ["orders"])
    assert load.is_delivered


def csv_file(folder: Path) -> dict[str, Any]:
    lines = "".join(f'{n},"n {n}",{n}.25,{"" if n % 3 else "true"}\n' for n in range(40))
    (folder / "a.csv").write_text(f"id,Na me,amount,flag\n{lines}x,y\n", encoding="utf-8")
    types = {"id": "bigint", "amount": "decimal(12,2)", "flag": "bool"}
    return {"type": "files", "streams": {"orders": {"path": "*.csv", "types": types}}}


def parquet_file(folder: Path) -> dict[str, Any]:
    rows = range(40)
    moment = datetime(2024, 1, 1, 1, 2, 3)
    table = pa.table(
        {
            "id": pa.array(rows),
            "Na me": [f"n {n}" if n % 3 else None for n in rows],
            "moment": pa.array([moment] * 40, pa.timestamp("us")),
            "instant": pa.array([moment] * 40, pa.timestamp("ms", "Europe/Berlin")),
            "day": pa.array([moment.date()] * 40),
            "clock": pa.array([moment.time()] * 40, pa.time64("us")),
            "amount": pa.array([Decimal(f"{n}.25") for n in rows], pa.decimal128(12, 2)),
            "bytes": pa.array([b"%d" % n for n in rows]),
            "single": pa.array([n * 0.1 for n in rows], pa.float32()),
            "tags": pa.array([["a", "b"] if n % 2 else [] for n in rows]),
            "who": pa.array([{"name": f"w {n}", "age": None} for n in rows]),
        }
    )
    pq.write_table(table, folder / "a.parquet")
    return {"type": "files", "streams": {"orders": {"path": "*.parquet"}}}


def sqlite_table(folder: Path) -> dict[str, Any]:
    with closing(sqlite3.connect(folder / "shop.db")) as database:
        database.execute(
            "CREATE TABLE orders (id integer PRIMARY KEY, name text, amount numeric(10, 2), "
            "at timestamp, day date, data blob, share real, details json)"
        )
        database.executemany(
            "INSERT INTO orders VALUES (?, ?, ?, '2024-01-01 10:00:00', '2024-02-03', ?, ?, ?)",
            [
                (n, f"n {n}" if n % 3 else None, n * 0.25, b"%d" % n, n * 0.1, '{"l": [1, {}]}')
                for n in range(40)
            ],
        )
        database.commit()
    return {"type": "sql_database", "url_from": "SHOP_URL", "tables": ["orders"]}


@pytest.mark.parametrize(
    "source",
    [csv_file, pytest.param(parquet_file, marks=pytest.mark.nightly), sqlite_table],
)
def test_rows_of_columns(
    source: Callable[[Path], dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_URL", f"sqlite:///{tmp_path}/shop.db")
    config = files(tmp_path, source=source(tmp_path))
    report = run(config, "orders")
    assert problems(report) == []
    assert [each.checked for each in report.receipts if not each.unchecked] == (
        [40] * len(report.receipts)
    )
    with duckdb.connect(str(tmp_path / "w.duckdb")) as connection:
        connection.execute("UPDATE shop.orders SET amount = amount + 1 WHERE id = 7")
    (load,) = audit_loads(config, ["orders"], find=True)
    assert load.receipts[0].problems == ("column `amount` differs",)
    assert len(load.found) == 1


def test_a_list_of_which_no_rows_are_left(tmp_path: Path) -> None:
    """A table of files that is replaced by no rows has no file."""
    destination = places.filesystem(tmp_path).destination
    target = TargetConfig(name="shop", destination=destination, project=tmp_path, receipts="sample")
    for items in ([1, 2], []):
        orders = dlt.resource(
            [{"id": 1, "items": items}], name="orders", write_disposition="replace"
        )
        assert problems(run_data(orders, target)) == []
    (load,) = audit_loads(target, ["orders"])
    assert load.is_delivered
