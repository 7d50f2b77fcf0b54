"""Ctrl-C in each step of `millstream run`: it says what is saved, and the next run completes it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest

from services.places import Place
from services.terminal import Terminal, millstream

ROWS = 150_000


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A file so long that each step takes a while, read by dlt's own normalizer."""
    with (tmp_path / "orders.jsonl").open("w") as file:
        for n in range(ROWS):
            file.write(json.dumps({"id": n, "lines": [{"sku": f"a{n}"}, {"sku": "b"}]}) + "\n")
    write_defs(tmp_path, {"type": "duckdb", "database": "w.duckdb", "dataset": "shop"})
    return tmp_path


def write_defs(folder: Path, destination: object) -> None:
    attributes = {
        "name": "shop",
        "source": {"type": "files", "streams": {"orders": {"path": "orders.jsonl"}}},
        "destination": destination,
    }
    document = {"type": "millstream.Pipeline", "attributes": attributes}
    (folder / "defs.yaml").write_text(json.dumps(document))


def interrupt(folder: Path, pattern: str, *, twice: bool = False, **environment: str) -> Terminal:
    terminal = Terminal(millstream("run"), folder, columns=200, environment=environment)
    terminal.wait_for(pattern)
    terminal.press_ctrl_c()
    if twice:
        terminal.wait_for("again to force stop")
        terminal.press_ctrl_c()
    assert terminal.wait() == 130, terminal.text
    return terminal


def said(terminal: Terminal) -> str:
    text = " ".join(line.strip() for line in terminal.lines)
    assert "Traceback" not in text
    found = re.search(r"interrupted: .*", text)
    assert found, text
    return found.group()


def run_to_the_end(folder: Path, **environment: str) -> str:
    terminal = Terminal(millstream("run"), folder, environment=environment)
    assert terminal.wait() == 0, terminal.text
    return terminal.text


def assert_complete(place_or_file: Place | Path) -> None:
    if isinstance(place_or_file, Place):
        counts = [place_or_file.count(table) for table in ("orders", "orders__lines")]
    else:
        with duckdb.connect(str(place_or_file), read_only=True) as connection:
            counts = [
                connection.execute(f"select count(*) from shop.{table}").fetchall()[0][0]
                for table in ("orders", "orders__lines")
            ]
    assert counts == [ROWS, 2 * ROWS]


SLOW = """\
import time
import dlt

@dlt.resource
def orders():
    for n in range(100):
        yield {"id": n}
        time.sleep(0.2)
"""


def test_in_extract_nothing_is_loaded(tmp_path: Path) -> None:
    write_dlt_defs(tmp_path, SLOW, "rows:orders")

    text = said(interrupt(tmp_path, "orders: extract: orders"))

    assert "shop.orders, during extract: nothing was loaded and no cursor moved" in text
    assert not list((tmp_path / "millstream-home" / "runs").glob("*/*/*"))


SLOW_TO_OPEN = """\
import time
import dlt

def orders():
    print("the source is opened", flush=True)
    time.sleep(60)
    return dlt.resource([{"id": 1}], name="orders")
"""


def test_in_prepare_nothing_is_loaded(tmp_path: Path) -> None:
    write_dlt_defs(tmp_path, SLOW_TO_OPEN, "rows:orders")

    terminal = interrupt(tmp_path, "the source is opened")

    assert "nothing was loaded" in said(terminal)
    assert not list((tmp_path / "millstream-home").glob("runs/*/*/*"))


SLOW_TO_IMPORT = """\
import sys
import time

class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "dlt":
            print("dlt is imported", flush=True)
            time.sleep(60)

sys.meta_path.insert(0, Slow())
"""


def test_before_the_first_step_nothing_is_loaded(tmp_path: Path) -> None:
    write_dlt_defs(tmp_path, SLOW, "rows:orders")
    (tmp_path / "slow").mkdir()
    (tmp_path / "slow" / "sitecustomize.py").write_text(SLOW_TO_IMPORT)

    terminal = interrupt(tmp_path, "dlt is imported", PYTHONPATH=str(tmp_path / "slow"))

    assert "before any stream was read; nothing was loaded" in said(terminal)


def test_in_normalize_what_was_extracted_is_saved(shop: Path) -> None:
    text = said(interrupt(shop, "orders: normalize: ", MILLSTREAM_ENGINE="dlt"))

    assert "shop.orders, during normalize: nothing was loaded yet" in text
    assert "what was extracted is saved" in text
    assert "loaded first what an earlier run had extracted" in run_to_the_end(shop)
    assert_complete(shop / "w.duckdb")


@pytest.mark.xdist_group("postgres")
def test_in_load_each_row_arrives_once(shop: Path, postgres_place: Place) -> None:
    write_defs(shop, {**postgres_place.destination, "dataset": postgres_place.dataset})

    text = said(interrupt(shop, "orders: load: ", twice=True))

    assert "during load: what was extracted is saved; the next run completes the load" in text
    run_to_the_end(shop)
    assert_complete(postgres_place)


@pytest.mark.xdist_group("postgres")
@pytest.mark.nightly
def test_a_load_that_ends_is_reported(shop: Path, postgres_place: Place) -> None:
    write_defs(shop, {**postgres_place.destination, "dataset": postgres_place.dataset})

    terminal = interrupt(shop, "orders: load: ")

    assert "the load was complete; all of its rows are in the destination" in said(terminal)
    assert f"orders__lines  {2 * ROWS:,}" in terminal.text
    assert_complete(postgres_place)


FEW = """\
import dlt

def orders():
    return dlt.resource([{"id": 1}], name="orders")
"""
SLOW_STEP = """
import time
from millstream.runs import stages
from millstream.runs.recorder import RunRecorder

def wait(*arguments, **named):
    print("the step has begun", flush=True)
    time.sleep(60)

{} = wait
"""


@pytest.mark.parametrize(
    ("step", "saved"),
    [
        ("stages.govern", "during govern: nothing was loaded yet; what was extracted is saved"),
        ("RunRecorder.report", "the load was complete; all of its rows are in the destination"),
    ],
    ids=["govern", "report"],
)
@pytest.mark.nightly
def test_in_a_step_that_ends_at_once(tmp_path: Path, step: str, saved: str) -> None:
    write_dlt_defs(tmp_path, FEW + SLOW_STEP.format(step), "rows:orders")

    assert saved in said(interrupt(tmp_path, "the step has begun"))

    write_dlt_defs(tmp_path, FEW, "rows:orders")
    if step == "stages.govern":
        assert "loaded first what an earlier run had extracted" in run_to_the_end(tmp_path)
    with duckdb.connect(str(tmp_path / "w.duckdb"), read_only=True) as connection:
        rows = connection.execute("select count(*) from shop.orders").fetchall()
    assert rows == [(1 if step == "RunRecorder.report" else 2,)]


@pytest.mark.nightly
def test_while_it_waits_for_another_run(shop: Path) -> None:
    with locked_by_another_run(shop):
        text = said(interrupt(shop, "waiting for another run"))

    assert "shop.orders" in text
    assert "nothing was loaded and no cursor moved" in text
    run_to_the_end(shop)
    assert_complete(shop / "w.duckdb")


@contextmanager
def locked_by_another_run(folder: Path) -> Iterator[None]:
    other = folder.with_name("other")
    other.mkdir()
    write_dlt_defs(other, SLOW, "rows:orders", database=str(folder / "w.duckdb"))
    first = Terminal(millstream("run"), other)
    first.wait_for("orders: extract: orders")
    try:
        yield
    finally:
        first.press_ctrl_c()
        first.wait()


def write_dlt_defs(folder: Path, code: str, path: str, *, database: str = "w.duckdb") -> None:
    (folder / "rows.py").write_text(code)
    attributes = {
        "name": "shop",
        "source": {"type": "dlt", "path": path},
        "destination": {"type": "duckdb", "database": database, "dataset": "shop"},
    }
    document = {"type": "millstream.Pipeline", "attributes": attributes}
    (folder / "defs.yaml").write_text(json.dumps(document))


def test_the_streams_after_it_do_not_start(tmp_path: Path) -> None:
    code = (
        SLOW + "\n@dlt.resource\ndef early():\n    yield {'id': 1}\n"
        "\n@dlt.resource\ndef late():\n    yield {'id': 1}\n"
        "\n@dlt.source\ndef shop():\n    return early, orders, late\n"
    )
    write_dlt_defs(tmp_path, code, "rows:shop")

    terminal = interrupt(tmp_path, "orders: extract: orders")

    assert "loaded by this command: early (of 3 streams)" in said(terminal)
    with duckdb.connect(str(tmp_path / "w.duckdb"), read_only=True) as connection:
        tables = connection.execute(
            "select table_name from information_schema.tables where table_schema = 'shop'"
        ).fetchall()
    assert ("early",) in tables
    assert not {("orders",), ("late",)} & {*tables}
