"""`millstream run` and `doctor` on a real pipeline: dlt resources into DuckDB."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from services import processes

DEFS = """\
type: millstream.Pipeline
attributes:
  name: shop
  source: {type: dlt, path: "shop_rows:shop", streams: [broken, orders, visits]}
  destination: {type: duckdb, database: warehouse.duckdb, dataset: shop}
"""
ROWS = """\
import json
import os
import dlt

@dlt.source
def shop():
    @dlt.resource(primary_key="id", write_disposition="merge")
    def orders():
        yield {"id": 1, "lines": [{"sku": "a", "sizes": [1, 2]}, {"sku": "b"}]}
        yield {"id": 2, "lines": [], **({"coupon": "x"} if os.environ.get("COUPON") else {})}

    @dlt.resource
    def visits():
        print("a library that talks")
        yield json.loads(os.environ.get("VISIT", '{"page": "/", "n": 1}'))

    @dlt.resource
    def broken():
        yield {"id": 1}
        raise ValueError("the till is closed: postgresql://till:swordfish9@db/x")

    return orders, visits, broken
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "defs.yaml").write_text(DEFS)
    (folder / "shop_rows.py").write_text(ROWS)
    return folder


def millstream(
    folder: Path, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    return processes.millstream(folder, *arguments, environment=environment)


def test_a_stream_that_fails_stops_no_other(shop: Path) -> None:
    done = millstream(shop, "run")

    assert done.returncode == 1
    assert "broken failed: " in done.stderr
    assert "1 of 3 streams failed: broken" in done.stderr
    assert "Traceback" not in done.stderr
    assert "nanobind" not in done.stderr  # what DuckDB prints where it is not let go
    assert "swordfish9" not in done.stdout + done.stderr
    lines = done.stdout.splitlines()
    names = [line.split()[:2] for line in lines]
    assert ["└─", "orders__lines"] in names
    assert ["└─", "orders__lines__sizes"] in names
    assert "  + new table `orders__lines` below `orders`" in done.stdout
    assert "a library that talks" not in done.stdout
    assert all(len(line) <= 80 for line in lines)
    with duckdb.connect(str(shop / "warehouse.duckdb"), read_only=True) as connection:
        assert connection.execute("select count(*) from shop.orders").fetchone() == (2,)
        assert connection.execute("select count(*) from shop.visits").fetchone() == (1,)


def test_json_is_all_of_stdout(shop: Path) -> None:
    millstream(shop, "run", "--stream", "orders")
    done = millstream(shop, "run", "--json", "--stream", "orders", "--stream", "broken", COUPON="1")

    assert done.returncode == 1
    document = json.loads(done.stdout)
    assert document["pipeline"] == "shop"
    (report,) = document["reports"]
    assert report["stream"] == "orders"
    assert {table["name"]: table["rows_total"] for table in report["tables"]}["orders"] == 2
    assert [(c["table"], c["column"], c["kind"]) for c in report["changes"]] == [
        ("orders", "coupon", "column_added")
    ]
    (failed,) = document["failed"]
    assert failed["stream"] == "broken"
    assert "the till is closed" in failed["error"]
    assert "swordfish9" not in done.stdout + done.stderr


def test_what_the_policy_says_is_printed_and_in_the_json(shop: Path) -> None:
    arguments = ("run", "--stream", "visits")
    millstream(shop, *arguments)

    warned = millstream(shop, *arguments, VISIT='{"page": "/", "n": "two"}')
    assert warned.returncode == 0
    assert (
        "  1 warning by the schema policy\n  ! visits: `n`: bigint, now also text" in warned.stdout
    )
    assert "(preset evolve:" in warned.stdout
    assert all(len(line) <= 80 for line in warned.stdout.splitlines())

    held = millstream(shop, *arguments, "--json", VISIT='{"page": {"path": "/"}, "n": 3}')
    assert held.returncode == 1
    (failed,) = json.loads(held.stdout)["failed"]
    assert failed["kind"] == "SchemaHeldError"
    assert failed["rows_waiting"] == {"visits": 1}
    decisions = {d["column"]: d["action"] for d in failed["decisions"]}
    assert decisions == {"page": "hold", "page__path": "allow"}
    (waits,) = [d for d in failed["decisions"] if d["action"] == "hold"]
    assert f"  {waits['id']}  visits: `page` was text, now it is also an object" in held.stderr
    assert "millstream schema accept --stream visits" in held.stderr

    assert millstream(shop, "schema", "accept", "--stream", "visits").returncode == 0
    went_on = json.loads(millstream(shop, *arguments, "--json").stdout)
    assert [report["decisions"] for report in went_on["reports"]] == [[]]


def test_full_refresh_replaces_the_tables(shop: Path) -> None:
    arguments = ("run", "--json", "--stream", "visits")
    millstream(shop, *arguments)
    appended = json.loads(millstream(shop, *arguments).stdout)
    replaced = json.loads(millstream(shop, *arguments, "--full-refresh").stdout)

    assert appended["reports"][0]["tables"][0]["rows_total"] == 2
    assert replaced["reports"][0]["tables"][0]["rows_total"] == 1


def test_an_unknown_stream_is_a_usage_error(shop: Path) -> None:
    done = millstream(shop, "run", "--stream", "order")
    assert done.returncode == 2
    assert "no such stream: 'order'\n\nhint: did you mean 'orders'?" in done.stderr
    assert not (shop / "warehouse.duckdb").exists()


def test_doctor_says_what_is_well(shop: Path) -> None:
    done = millstream(shop, "doctor", "--json")
    assert done.returncode == 0, done.stdout
    document = json.loads(done.stdout)
    assert document["ok"] is True
    names = [check["name"] for check in document["checks"]]
    assert names[:6] == ["millstream", "python", "dlt", "dagster", "kernels", "pipeline"]
    assert not (shop / "warehouse.duckdb").exists()


def test_doctor_names_the_fix_and_no_password(shop: Path) -> None:
    defs = shop / "defs.yaml"
    defs.write_text(
        defs.read_text().replace("type: duckdb, database: warehouse.duckdb", "type: postgres")
    )
    (shop / ".env").write_text(
        "DESTINATION__POSTGRES__CREDENTIALS=postgresql://me:swordfish9@127.0.0.1:1/dw\n"
    )

    done = millstream(shop, "doctor")

    assert done.returncode == 1
    failed = [line for line in done.stdout.splitlines() if line.startswith("failed")]
    assert len(failed) == 1
    assert "127.0.0.1" in failed[0]
    assert "hint: " in done.stdout
    assert "1 of " in done.stdout.splitlines()[-1]
    assert "swordfish9" not in done.stdout + done.stderr


def test_doctor_goes_on_when_the_source_fails(shop: Path) -> None:
    (shop / "shop_rows.py").write_text("raise RuntimeError('no rows today')")
    done = millstream(shop, "doctor", "--json")
    assert done.returncode == 1
    checks = json.loads(done.stdout)["checks"]
    assert any(not check["ok"] and "no rows today" in check["detail"] for check in checks)
    assert any(check["name"] == "connection" and check["ok"] for check in checks)


def test_an_invalid_cron_expression_is_named_everywhere(shop: Path) -> None:
    (shop / "defs.yaml").write_text(DEFS + '  schedule: "61 * * * *"\n')
    for command in ("run", "doctor"):
        done = millstream(shop, command)
        assert done.returncode == 1
        assert "schedule: '61 * * * *' is not a cron expression" in done.stdout + done.stderr


def test_a_mistyped_absolute_path_makes_no_folders(shop: Path, tmp_path: Path) -> None:
    typed = tmp_path / "warehose" / "raw" / "w.duckdb"
    (shop / "defs.yaml").write_text(DEFS.replace("warehouse.duckdb", str(typed)))
    for command in ("run", "doctor"):
        done = millstream(shop, command)
        assert done.returncode == 1
        said = done.stdout + done.stderr
        assert f"destination.database: the folder {tmp_path / 'warehose'} does not exist" in said
    assert not (tmp_path / "warehose").exists()
    (shop / "defs.yaml").write_text(DEFS.replace("warehouse.duckdb", "data/raw/w.duckdb"))
    assert "w.duckdb, made by the first run" in millstream(shop, "doctor").stdout


def test_a_dataset_that_dlt_normalizes_is_named_as_it_is(shop: Path) -> None:
    (shop / "defs.yaml").write_text(DEFS.replace("dataset: shop", "dataset: My-Shop"))
    done = millstream(shop, "doctor")
    assert "my_shop ('My-Shop', normalized by dlt)" in done.stdout
    assert "WARNING" not in done.stdout + done.stderr, "it is said once, in our words"
    done = millstream(shop, "run", "--stream", "orders", "--json")
    assert json.loads(done.stdout)["reports"][0]["dataset"] == "my_shop"
    with duckdb.connect(str(shop / "warehouse.duckdb"), read_only=True) as warehouse:
        assert warehouse.sql("SELECT count(*) FROM my_shop.orders").fetchall() == [(2,)]
    assert "dataset my_shop: nothing" in millstream(shop, "preview", "orders").stdout
    assert millstream(shop, "report").returncode == 0
    assert "duckdb, dataset my_shop; " in (shop / "report.html").read_text()


def test_a_run_imports_no_library_that_it_does_not_need(shop: Path) -> None:
    (shop / "orders.jsonl").write_text('{"id": 1}\n')
    files = "source: {type: files, streams: {orders: {path: orders.jsonl}}}"
    (shop / "defs.yaml").write_text(re.sub("source: .*", files, DEFS))
    code = (
        "import sys\nfrom millstream.cli import main\n"
        "assert main(['run', '--stream', 'orders']) == 0\n"
        "unneeded = ('sqlalchemy', 'dagster', 'psycopg2', 'pandas', 'numba')\n"
        "print([name for name in unneeded if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=shop, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_debug_says_why_rows_took_dlts_own_way(shop: Path) -> None:
    strict = '    @dlt.resource(columns={"n": {}}, schema_contract={"columns": "discard_value"})\n'
    rows = ROWS.replace("    @dlt.resource\n    def visits", f"{strict}    def visits")
    (shop / "shop_rows.py").write_text(rows)
    told = millstream(shop, "run", "--stream", "visits", "--debug").stdout
    assert "1 batch left to dlt's own normalizer, which is slower" in told
    assert "a contract decides on new columns of visits" in told
    plain = millstream(shop, "run", "--stream", "visits", VISIT='{"page": "/b", "n": 2}')
    assert plain.returncode == 0
    assert "normalizer" not in plain.stdout


def test_a_stream_in_place_of_a_path_is_told(shop: Path) -> None:
    assert "a stream is chosen by `--stream`" in millstream(shop, "run", "visits").stderr
