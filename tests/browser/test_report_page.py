"""`millstream report`, as a browser shows it.

With SCREENSHOTS set to a folder, the page is kept there as pictures.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from behaviour.feed import FEED
from millstream.cli import main
from millstream.config import PipelineConfig, read_pipeline
from millstream.html_report import StreamHistory, render
from millstream.model import Column, ColumnProfile, SchemaVersion, Table
from millstream.runs import runner
from millstream.schema_changes.history import Load

pytestmark = pytest.mark.xdist_group("browser")

NASTY = "<img src=x onerror=alert(1)>\"'&__</svg><script>alert(2)</script>"
PHONE = {"width": 375, "height": 812}
DEFS = """\
type: millstream.Pipeline
attributes:
  name: shop
  source: {type: dlt, path: "behaviour.feed:since"}
  destination: {type: duckdb, database: warehouse.duckdb}
"""


def many_tables() -> StreamHistory:
    """40 tables, three levels deep, with the names that data brings along."""
    seen = ColumnProfile(1200, 1150, 90, 1, 99_000, 640, None)
    told = ColumnProfile(1200, 300, 900, distinct=12, longest=81)
    columns = (
        Column("_dlt_id", "text", nullable=False),
        Column("id", "bigint", nullable=False, primary_key=True, profile=seen),
        Column(NASTY, "text", profile=told),
        Column("a_column_whose_name_is_longer_than_any_screen_is_wide_" * 3, "text", profile=told),
        Column("at", "timestamp", profile=ColumnProfile(1200, 1200, 0, "2024-01-01", "2024-06-01")),
    )
    tables = [Table("accounts", None, columns)]
    for number in range(13):
        name = f"accounts__list_{number}"
        tables.append(Table(name, "accounts", columns[: number % 4 + 1]))
        tables += [Table(f"{name}__{leaf}", name, columns[:3]) for leaf in ("owners", "labels")]
    start = datetime(2026, 1, 1, 6, tzinfo=timezone.utc)
    loads = [
        Load("accounts", f"{n}", start + timedelta(days=n), 3 + n % 5, {"load": 2.0},
             9000 if n == 0 else 100 + 37 * (n % 9), 10, {"accounts": 100 + n})
        for n in range(45)
    ]  # fmt: skip
    changes = [
        {
            "recorded_at": start + timedelta(days=n // 8),
            "stream": "accounts",
            "load_id": f"{n // 8}",
            "position": n,
            "severity": ("safe", "safe", "risky", "breaking")[n % 4],
            "action": ("allow", "allow", "warn", "allow")[n % 4],
            "reason": "preset evolve: risky",
            "table_name": NASTY if n % 9 == 0 else "accounts__list_1",
            "message": f"`{NASTY}`: bigint, now also text in 0.3% of rows",
        }
        for n in range(40)
    ]
    presence = [{("accounts", "id"): 1.0, ("accounts", NASTY): 0.2 + n / 20} for n in range(10)]
    return StreamHistory("accounts", SchemaVersion(tuple(tables)), changes, loads, presence)


@pytest.fixture
def requests(page: Any) -> Iterator[list[str]]:
    """What the page asks for, and what it complains of."""
    seen: list[str] = []
    page.on("request", lambda request: seen.append(request.url))
    page.on("console", lambda said: seen.append(f"console: {said.text}"))
    page.on("pageerror", lambda error: seen.append(f"error: {error}"))
    page.on("dialog", lambda dialog: (seen.append("a dialog"), dialog.dismiss()))
    return seen


def picture(page: Any, name: str) -> None:
    if folder := os.environ.get("SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def overflow(page: Any) -> list[str]:
    """What sticks out to the right of the window, unless something around it scrolls."""
    found: list[str] = page.evaluate(
        """() => [...document.querySelectorAll('body *')]
            .filter(e => !e.closest('.drawing') && e.getBoundingClientRect().right > innerWidth + 1)
            .map(e => e.outerHTML.slice(0, 200))"""
    )
    wide = page.evaluate("document.documentElement.scrollWidth > innerWidth")
    return [*found, *(["the page scrolls sideways"] if wide else [])]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_forty_tables_and_names_that_are_markup(
    page: Any, requests: list[str], tmp_path: Path, scheme: Any
) -> None:
    config = PipelineConfig.model_validate(
        {"name": "warehouse", "source": {"type": "dlt", "path": "a:b", "streams": ["accounts"]}}
    )
    made_at = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
    file = tmp_path / "report.html"
    file.write_text(render(config, [many_tables()], made_at), encoding="utf-8")
    page.emulate_media(color_scheme=scheme)

    page.goto(file.as_uri())
    assert requests == [file.as_uri()]
    assert page.locator("svg.tables .box").count() == 40
    assert page.locator("script, img").count() == 0
    assert NASTY in page.locator("#changes").inner_text()
    page.locator("details").evaluate_all("all => all.forEach(e => { e.open = true })")
    assert NASTY in page.locator("#columns td code").all_inner_texts()
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(15, 20, 25)"), (
        "the policy lets the page's own style through"
    )
    # boxes of tables touch one another nowhere
    boxes = page.locator("svg.tables .box").evaluate_all(
        "all => all.map(e => e.getBoundingClientRect()).map(b => [b.x, b.y, b.right, b.bottom])"
    )
    for number, (x, y, right, bottom) in enumerate(boxes):
        for other in boxes[number + 1 :]:
            assert right <= other[0] or other[2] <= x or bottom <= other[1] or other[3] <= y
    assert overflow(page) == []
    picture(page, f"report-{scheme}")

    page.set_viewport_size(PHONE)
    assert overflow(page) == []
    page.locator("#columns details").first.scroll_into_view_if_needed()
    picture(page, f"report-{scheme}-phone")


def test_what_runs_recorded_is_on_the_page(
    page: Any, requests: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "defs.yaml").write_text(DEFS)
    file = tmp_path / "out.html"
    assert main(["report", str(tmp_path), "--output", str(file)]) == 1
    assert "no run has been recorded yet" in capsys.readouterr().err
    assert not file.exists()

    FEED.reset()
    FEED.rows = [{"id": n, "changed": n, "n": n, "items": [{"sku": "a"}]} for n in range(1, 31)]
    runner.run(read_pipeline(tmp_path), "orders")
    FEED.rows = [{"id": 31, "changed": 31, "n": "many"}, {"id": 32, "changed": 32, "n": 7}]
    runner.run(read_pipeline(tmp_path), "orders")
    FEED.reset()
    assert main(["report", str(tmp_path), "--output", str(file)]) == 0
    assert f"written to {file}" in capsys.readouterr().out

    page.goto(file.as_uri())
    assert requests == [file.as_uri()]
    drawn = page.locator("svg.tables")
    assert "__items" in drawn.inner_html()
    assert "column" in page.locator("#tables").inner_text()
    titles = page.locator("svg.plot g title").all_text_contents()
    assert [title.rpartition(": ")[2] for title in titles[:2]] == ["30", "2"]
    assert "now also text in 50% of rows" in page.locator("#changes").inner_text()
    assert "n__v_text" in page.locator("#changes li li code").all_inner_texts()
    assert "warn: preset evolve: risky" in page.locator("#changes").inner_text()
    row = page.locator("#columns tr").filter(has_text="changed").first.inner_text()
    assert "31 to 32" in row
    assert "100%" in row
    page.set_viewport_size(PHONE)
    assert overflow(page) == []
