"""`millstream audit --source`: what the tables lack of the source as it is now."""

from __future__ import annotations

import gzip
import json
import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from behaviour.feed import FEED
from millstream.config import PipelineConfig
from millstream.errors import ConfigError, SourceDataError
from millstream.receipts.source_now import SourceComparison
from millstream.runs.runner import run
from millstream.runs.source_audit import SourceAudit, audit_source
from services.places import Place
from services.processes import millstream


def config(project: Path, source: Any, destination: Any = None, **more: Any) -> PipelineConfig:
    return PipelineConfig.model_validate(
        {
            "name": "shop",
            "source": source,
            "destination": destination or {"database": "w.duckdb"},
            "project": project,
            **more,
        }
    )


KINDS = ("missing", "extra", "changed", "doubled")


def differences(found: SourceComparison) -> dict[str, tuple[int, int]]:
    """The rows of each kind of difference, and how many of them the next run brings."""
    kinds = {name: getattr(found, name) for name in KINDS}
    return {name: (each.rows, each.due) for name, each in kinds.items() if each.rows}


def only(audit: SourceAudit) -> SourceComparison:
    (table,) = audit.tables
    return table


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "shop.db"
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{file}")
    sql(file, "CREATE TABLE orders (id INTEGER PRIMARY KEY, name TEXT, changed TEXT, doc JSON)")
    for number in range(1, 31):
        doc = json.dumps({"tags": [number, "x"], "price": number / 4})
        day = f"2024-01-{number:02d}"
        sql(file, "INSERT INTO orders VALUES (?, ?, ?, ?)", number, f"n{number}", day, doc)
    return file


def sql(file: Path, text: str, *values: Any) -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(text, values)


def change(file: Path) -> None:
    """A row goes, two change unseen by the cursor, one is seen; one comes behind it, one ahead."""
    sql(file, "DELETE FROM orders WHERE id = 5")
    sql(file, "UPDATE orders SET name = 'other' WHERE id = 7")
    sql(file, """UPDATE orders SET doc = '{"tags": [8, "y"], "price": 2.0}' WHERE id = 8""")
    sql(file, "UPDATE orders SET name = 'told', changed = '2024-02-01' WHERE id = 9")
    sql(file, "INSERT INTO orders VALUES (100, 'late', '2023-01-01', NULL)")
    sql(file, "INSERT INTO orders VALUES (101, 'new', '2024-02-01', NULL)")


BY_CURSOR = {
    "type": "sql_database",
    "tables": ["orders"],
    "settings": {"orders": {"cursor": "changed"}},
}
WHOLE = {"type": "sql_database", "tables": ["orders"]}


@pytest.mark.parametrize(
    "kind",
    [
        "duckdb",
        *(pytest.param(each, marks=pytest.mark.nightly) for each in ("postgres", "bigquery")),
    ],
)
def test_rows_that_a_cursor_passed_over(
    kind: str, database: Path, request: pytest.FixtureRequest
) -> None:
    place: Place = request.getfixturevalue(f"{kind}_place")
    shop = config(place.project, BY_CURSOR, place.destination)
    run(shop, "orders")
    audit = audit_source(shop, "orders")
    assert (differences(only(audit)), only(audit).held, audit.is_settled) == ({}, 30, True)
    change(database)
    audit = audit_source(shop, "orders")
    found = only(audit)
    assert differences(found) == {"missing": (2, 1), "extra": (1, 0), "changed": (3, 1)}
    assert found.missing.names == ["id = 100", "id = 101"]
    assert found.extra.names == ["id = 5"]
    assert found.changed.names == ["id = 7", "id = 8", "id = 9"]
    assert found.columns == {
        ("orders", "name"): 2,
        ("orders", "changed"): 1,
        ("orders__doc__tags", "value"): 1,
    }
    run(shop, "orders")
    audit = audit_source(shop, "orders")
    assert differences(only(audit)) == {"missing": (1, 0), "extra": (1, 0), "changed": (2, 0)}
    assert not audit.is_settled


def test_what_reads_all_brings_all_but_deletions(database: Path, tmp_path: Path) -> None:
    shop = config(tmp_path, WHOLE)
    run(shop, "orders")
    change(database)
    audit = audit_source(shop, "orders")
    assert differences(only(audit)) == {"missing": (2, 2), "extra": (1, 0), "changed": (3, 3)}
    run(shop, "orders")
    assert differences(only(audit_source(shop, "orders"))) == {"extra": (1, 0)}


@pytest.mark.nightly
def test_what_was_done_to_the_tables(database: Path, tmp_path: Path) -> None:
    shop = config(tmp_path, WHOLE)
    run(shop, "orders")
    with duckdb.connect(str(tmp_path / "w.duckdb")) as connection:
        connection.execute("DELETE FROM shop.orders WHERE id = 3")
        connection.execute("DELETE FROM shop.orders__doc__tags WHERE value = 4")
        connection.execute("UPDATE shop.orders SET doc__price = 9 WHERE id = 6")
        connection.execute(
            "INSERT INTO shop.orders SELECT * REPLACE ('-' AS _dlt_id) "
            "FROM shop.orders WHERE id = 10"
        )
    found = only(audit_source(shop, "orders"))
    assert differences(found) == {"missing": (1, 1), "changed": (2, 2), "doubled": (1, 1)}
    assert found.doubled.names == ["id = 10"]
    assert ("orders", "doc__price") in found.columns
    assert ("orders__doc__tags", "value") in found.columns


def test_a_table_that_is_not_there_yet(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("")
    files = {"type": "files", "streams": {"orders": {"path": "*.jsonl", "primary_key": "id"}}}
    shop = config(tmp_path, files)
    run(shop, "orders")
    (tmp_path / "b.jsonl").write_text('{"id": 1}\n{"id": 2}\n')
    found = only(audit_source(shop, "orders"))
    assert (found.table, found.read, found.held) == ("orders", 2, 0)
    assert differences(found) == {"missing": (2, 2)}


@pytest.mark.nightly
def test_columns_and_keys_that_come_with_the_next_run(database: Path, tmp_path: Path) -> None:
    """The table has none of them yet."""
    run(config(tmp_path, WHOLE), "orders")
    sql(database, "ALTER TABLE orders ADD COLUMN size INTEGER")
    sql(database, "UPDATE orders SET size = 1 WHERE id < 4")
    audit = audit_source(config(tmp_path, WHOLE), "orders")
    assert differences(only(audit)) == {"changed": (3, 3)}
    assert only(audit).columns == {("orders", "size"): 3}
    by_name = {**WHOLE, "settings": {"orders": {"primary_key": "name"}}}
    found = only(audit_source(config(tmp_path, by_name), "orders"))
    assert found.unchecked == "the key of the table is `id`, and that of the source `name`"
    assert (found.read, found.held, found.is_settled) == (30, 30, True)
    sql(database, "DELETE FROM orders WHERE id = 5")
    assert not audit_source(config(tmp_path, by_name), "orders").is_settled


def test_a_source_that_fails_while_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"n": 1}\n')
    source = {"type": "files", "streams": {"orders": {"path": "*.jsonl*"}}}
    shop = config(tmp_path, source)
    run(shop, "orders")
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(b'{"n": 2}\n' * 500)[:-9])
    with pytest.raises(SourceDataError, match=r"b\.jsonl\.gz: can't be read"):
        audit_source(shop, "orders")


def test_the_command(database: Path, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").touch()
    attributes = {"name": "shop", "source": BY_CURSOR, "destination": {"database": "w.duckdb"}}
    (tmp_path / "defs.yaml").write_text(
        json.dumps({"type": "millstream.Pipeline", "attributes": attributes})
    )
    failed = millstream(tmp_path, "audit", "--source", "--stream", "orders")
    assert "shop.orders: nothing of it is in the destination" in failed.stderr
    assert millstream(tmp_path, "run").returncode == 0
    change(database)
    done = millstream(tmp_path, "audit", "--source", "--find")
    assert (done.returncode, done.stdout.splitlines()) == (
        1,
        [
            "orders: compared with the source as it is now",
            "  orders: 31 rows in the source, 30 in the table",
            "    2 rows missing, 1 of which the next run brings",
            "      id = 100",
            "      id = 101",
            "    1 row not in the source",
            "      id = 5",
            "    3 rows different in `name`, `changed`, `doc__tags.value`, "
            "1 of which the next run brings",
            "      id = 7",
            "      id = 8",
            "      id = 9",
        ],
    )
    document = json.loads(millstream(tmp_path, "audit", "--source", "--json").stdout)
    assert document[0]["tables"][0]["columns"]["orders.name"] == 2
    for options, why in ((("--source", "--load", "1"), "--load"), (("--partition", "1"), "needs")):
        refused = millstream(tmp_path, "audit", *options)
        assert (refused.returncode, why in refused.stderr) == (2, True), refused.stderr


def test_a_stream_that_cannot_be_compared_is_not_in_the_way(tmp_path: Path) -> None:
    for name in ("orders", "lines"):
        (tmp_path / f"{name}.jsonl").write_text('{"n": 1}\n')
    streams = {name: {"path": f"{name}.jsonl"} for name in ("orders", "lines")}
    attributes = {"name": "shop", "source": {"type": "files", "streams": streams}}
    attributes["destination"] = {"database": "w.duckdb"}
    document = json.dumps({"type": "millstream.Pipeline", "attributes": attributes})
    (tmp_path / "defs.yaml").write_text(document)
    assert millstream(tmp_path, "run", "--stream", "lines").returncode == 0
    done = millstream(tmp_path, "audit", "--source")
    assert done.returncode == 1
    assert "lines: 1 row in the source, 1 in the table\n    no difference" in done.stdout
    assert "orders failed: shop.orders: nothing of it is in the destination" in done.stderr


@pytest.mark.nightly_on("bigquery", "postgres", "filesystem")
def test_rows_without_a_key_are_told_apart_by_all_they_hold(place: Place) -> None:
    rows = [{"n": 1, "tags": [1]}, {"n": 1, "tags": [1]}, {"n": 2, "tags": []}]
    file = place.project / "a.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows) + "{no json\n")
    source = {"type": "files", "streams": {"orders": {"path": "*.jsonl"}}}
    shop = config(place.project, source, place.destination)
    run(shop, "orders")
    audit = audit_source(shop, "orders")
    assert (differences(only(audit)), only(audit).read, audit.waiting) == ({}, 3, 1)
    (place.project / "b.jsonl").write_text('{"n": 1, "tags": [1]}\n{"n": 3}\n')
    assert differences(only(audit_source(shop, "orders"))) == {"missing": (2, 2)}
    run(shop, "orders")
    (place.project / "b.jsonl").unlink()
    assert differences(only(audit_source(shop, "orders"))) == {"extra": (2, 0)}


@pytest.mark.nightly
def test_rows_of_a_time_before_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "audited_feed.py").write_text(
        "import json, pathlib, dlt\n"
        "file = pathlib.Path(__file__).parent / 'rows.json'\n"
        "@dlt.resource(write_disposition={'disposition': 'merge', 'strategy': 'scd2',\n"
        "    'validity_column_names': ['since', 'until']}, max_table_nesting=1)\n"
        "def orders():\n"
        "    yield json.loads(file.read_text())\n"
    )
    rows = [{"id": n, "name": f"n{n}", "tags": [n]} for n in range(5)]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    shop = config(tmp_path, {"type": "dlt", "path": "audited_feed:orders"})
    run(shop, "orders")
    (tmp_path / "rows.json").write_text(json.dumps([{**rows[0], "name": "other"}, *rows[2:]]))
    assert differences(only(audit_source(shop, "orders"))) == {"missing": (1, 1), "extra": (2, 2)}
    run(shop, "orders")
    assert differences(only(audit_source(shop, "orders"))) == {}


@pytest.mark.nightly
def test_one_partition_is_compared(database: Path, tmp_path: Path) -> None:
    regions = {"type": "static", "field": "name", "values": ["n5", "n6", "n7"]}
    shop = config(tmp_path, WHOLE, partitions=regions)
    for key in ("n5", "n6"):
        run(shop, "orders", partition=key)
    sql(database, "DELETE FROM orders WHERE id = 5")
    sql(database, "UPDATE orders SET changed = '2024-03-01' WHERE id = 6")
    found = {
        key: differences(only(audit_source(shop, "orders", partition=key)))
        for key in ("n5", "n6", "n7")
    }
    assert found == {
        "n5": {"extra": (1, 1)},
        "n6": {"changed": (1, 1)},
        "n7": {"missing": (1, 1)},
    }
    with pytest.raises(ConfigError, match="nonsense"):
        audit_source(shop, "orders", partition="nonsense")


@pytest.mark.nightly
def test_versions_of_a_row_in_one_load(tmp_path: Path) -> None:
    rows = [{"id": n, "meta": {"v": v}, "tags": [v]} for v in (2, 9, None, 1) for n in range(3)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = {"type": "files", "streams": {"orders": {"path": "*.jsonl", "primary_key": "id"}}}
    shop = config(tmp_path, source, dedup_sort={"orders": "meta.v"})
    run(shop, "orders")
    assert differences(only(audit_source(shop, "orders"))) == {}
    with duckdb.connect(str(tmp_path / "w.duckdb")) as connection:
        connection.execute("UPDATE shop.orders__tags SET value = 2")
    found = only(audit_source(shop, "orders"))
    assert (differences(found), [*found.columns]) == (
        {"changed": (3, 0)},
        [("orders__tags", "value")],
    )


@pytest.mark.nightly
def test_rows_that_each_run_puts_into_quarantine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And rows that name their own tables."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "audited_prices.py").write_text(
        "import dlt, decimal\n"
        "rows = [{'id': n, 'kind': 'ab'[n % 2], 'price': decimal.Decimal(n)} for n in range(9)]\n"
        "@dlt.resource(write_disposition='merge', primary_key='id',\n"
        "    table_name=lambda row: 'prices_' + row['kind'])\n"
        "def prices():\n"
        "    yield [dict(row) for row in rows]\n"
    )
    import audited_prices  # type: ignore[import-not-found]

    audited_prices.rows[3]["price"] = Decimal("0.12345678901234567890")
    shop = config(tmp_path, {"type": "dlt", "path": "audited_prices:prices"}, receipts="all")
    receipts = run(shop, "prices").receipts
    assert [(each.table, each.delivered) for each in receipts] == [("prices_a", 5), ("prices_b", 3)]
    audit = audit_source(shop, "prices")
    assert [differences(each) for each in audit.tables] == [{}, {"missing": (1, 0)}]
    assert audit.waiting == 1
    audited_prices.rows[3]["price"] = Decimal(3)
    audited_prices.rows[4]["price"] = Decimal(5)
    audit = audit_source(shop, "prices")
    assert [differences(each) for each in audit.tables] == [
        {"changed": (1, 1)},
        {"missing": (1, 1)},
    ]
    run(shop, "prices")
    assert [differences(each) for each in audit_source(shop, "prices").tables] == [{}, {}]


@pytest.mark.nightly
def test_rows_without_a_value_for_their_key_are_counted_each(tmp_path: Path) -> None:
    rows = [{"id": 1}, {"id": None, "n": 1}, {"id": None, "n": 1}, {"n": 2}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = {"type": "files", "streams": {"orders": {"path": "*.jsonl", "primary_key": "id"}}}
    shop = config(tmp_path, source)
    run(shop, "orders")
    audit = audit_source(shop, "orders")
    assert (only(audit).read, only(audit).held, audit.waiting) == (4, 1, 3)
    assert differences(only(audit)) == {"missing": (3, 0)}
    assert only(audit).missing.names == ["id = None"] * 3


def test_rows_that_were_appended_twice_stay(database: Path, tmp_path: Path) -> None:
    sql(database, "CREATE TABLE lines (n INTEGER)")
    sql(database, "INSERT INTO lines VALUES (1), (2)")
    settings = {"lines": {"write_disposition": "append"}}
    shop = config(tmp_path, {"type": "sql_database", "tables": ["lines"], "settings": settings})
    run(shop, "lines")
    run(shop, "lines")
    assert differences(only(audit_source(shop, "lines"))) == {"extra": (2, 0)}


def test_a_sample_that_takes_no_row_of_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "shop.db"
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{file}")
    sql(file, "CREATE TABLE orders (id INTEGER PRIMARY KEY)")
    sql(
        file,
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20010) "
        "INSERT INTO orders SELECT i FROM n",
    )
    shop = config(tmp_path, WHOLE | {"chunk_size": 100}, receipts="sample")
    (receipt,) = run(shop, "orders").receipts
    assert (receipt.read, receipt.problems) == (20010, ())


def test_what_a_later_load_replaced_waits_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replaced = {
        "type": "dlt",
        "path": "behaviour.feed:orders",
        "arguments": {"write_disposition": "replace"},
    }
    shop = config(tmp_path, replaced)
    for rows, waiting in (([{"id": 1}, {"id": None}, {"id": 2}], 1), ([{"id": 1}], 0)):
        monkeypatch.setattr(FEED, "rows", rows)
        run(shop, "orders")
        assert audit_source(shop, "orders").waiting == waiting
