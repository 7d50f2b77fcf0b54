"""Parity on real data: every set that is at hand, through dlt and through the engine."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.parity.harness import Case, compare

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
CACHE = Path(__file__).parents[2] / ".cache"


def _rows(path: Path) -> list[Any]:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in text.splitlines() if line]
    found = json.loads(text)
    if isinstance(found, dict):
        # one object around the rows, as search results and GeoJSON have it
        found = next((v for v in found.values() if isinstance(v, list)), [found])
    return list(found)


def _files() -> Iterator[Any]:
    names = [
        SHARED / "github_issues_page.json",
        SHARED / "github_issue_events_page.json",
        SHARED / "mongodb_accounts.jsonl",
        SHARED / "mongodb_customers.jsonl",
        SHARED / "mongodb_theaters.jsonl",
    ]
    fetched = ("movies", "twitter", "citm_catalog", "apache_builds", "github_events")
    names += [next(CACHE.rglob(f"{name}.json"), CACHE / f"{name}.json") for name in fetched]
    for path in names:
        missing = not path.exists()
        if missing and os.environ.get("CI") == "true" and path.parent == SHARED:
            missing = False  # fails, and says what is missing
        yield pytest.param(
            path,
            id=path.stem,
            marks=[pytest.mark.skipif(missing, reason=f"{path.name} is not at hand")],
        )


@pytest.mark.parametrize("path", _files())
@pytest.mark.parametrize("nesting", [None, 1])
def test_real_data_lands_as_dlt_lands_it(path: Path, nesting: int | None, tmp_path: Path) -> None:
    rows = _rows(path)[:1600]
    # several lines, so that the direct lane has its turn, and a second load on the first's schema
    lines = [rows[start : start + 40] for start in range(0, len(rows), 40)]
    half = max(len(lines) // 2, 1)
    loads = [[lines[:half]], [lines[half:] or lines]]
    resource: dict[str, Any] = {} if nesting is None else {"max_table_nesting": nesting}
    expected, _ = compare(Case(loads, resource), tmp_path)
    assert all(outcome.error is None for outcome in expected)
    assert sum(len(rows) for rows in expected[0].tables.values()) >= half
