"""`millstream run` where people type it: a status line while it works, then the tables alone."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb
import pytest

from services.terminal import Terminal, millstream

DEFS = """\
type: millstream.Pipeline
attributes:
  name: shop
  source: {{type: dlt, path: "shop_rows:shop"{more}}}
  destination: {{type: duckdb, database: w.duckdb, dataset: shop}}
"""
ROWS = """\
import time
import dlt

@dlt.source
def shop():
    @dlt.resource
    def orders():
        print("a library that talks")
        for n in range(3):
            yield [{"id": 10 * n + i, "lines": [{"sku": "a"}]} for i in range(10)]
            time.sleep(0.5)

    @dlt.resource
    def visits():
        yield {"id": 1}

    return orders, visits
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "defs.yaml").write_text(DEFS.format(more=""))
    (tmp_path / "shop_rows.py").write_text(ROWS)
    return tmp_path


def assert_loaded(folder: Path) -> None:
    with duckdb.connect(str(folder / "w.duckdb"), read_only=True) as connection:
        for table, rows in (("orders", 30), ("orders__lines", 30), ("visits", 1)):
            assert connection.execute(f"select count(*) from shop.{table}").fetchone() == (rows,)


@pytest.mark.parametrize(
    ("columns", "colour"),
    [
        pytest.param(80, True, marks=pytest.mark.nightly),
        (200, False),
        pytest.param(24, True, marks=pytest.mark.nightly),
    ],
)
def test_a_terminal_shows_progress_then_the_tables(shop: Path, columns: int, colour: bool) -> None:
    terminal = Terminal(millstream("run"), shop, columns=columns, colour=colour)
    terminal.wait_for(r"orders: extract: orders \d+" if columns > 24 else "orders: ext")

    assert terminal.wait() == 0, terminal.text

    assert "orders__lines" in terminal.text
    assert not re.search(r"extract: |normalize: |load: ", terminal.text), terminal.text
    assert "  a library that talks" not in terminal.text  # where the status line stood
    assert any(line == "a library that talks" for line in terminal.lines)
    assert ("\x1b[1m" in terminal.raw) == colour
    drawn = [part for part in re.split(r"[\r\n]", terminal.raw) if "orders: " in part]
    assert all(len(re.sub(r"\x1b\[[0-9;]*[mK]", "", part)) < columns for part in drawn)
    assert_loaded(shop)


def test_streams_side_by_side_print_lines_of_their_own(shop: Path) -> None:
    (shop / "defs.yaml").write_text(DEFS.format(more="") + "  max_concurrent_streams: 2\n")
    terminal = Terminal(millstream("run"), shop)

    assert terminal.wait() == 0, terminal.text

    assert "  orders: extract: orders 30" in terminal.lines
    assert_loaded(shop)


def test_a_dumb_terminal_gets_no_control_sequence(shop: Path) -> None:
    terminal = Terminal(millstream("run"), shop, environment={"TERM": "dumb"})

    assert terminal.wait() == 0, terminal.text

    assert "\x1b" not in terminal.raw
    assert_loaded(shop)
