"""Parity on real data: every set that can be had, through dlt and through the engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.parity.harness import Case, compare
from tests.services import datasets, missing

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
AT_HAND = (
    "github_issues_page.json",
    "github_issue_events_page.json",
    "mongodb_accounts.jsonl",
    "mongodb_customers.jsonl",
    "mongodb_theaters.jsonl",
)
FETCHED = (*datasets.NPM, "pygithub_issues")


def _at_hand(name: str) -> list[Any]:
    path = SHARED / name
    if not path.exists():
        missing(f"{name} is not at hand")
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in text.splitlines() if line]
    return datasets.inner_rows(json.loads(text))


@pytest.mark.nightly_on("mongodb_customers.jsonl")
@pytest.mark.parametrize("name", [*AT_HAND, *FETCHED])
@pytest.mark.parametrize("nesting", [None, 1])
def test_real_data_lands_as_dlt_lands_it(name: str, nesting: int | None, tmp_path: Path) -> None:
    rows = _at_hand(name) if name in AT_HAND else datasets.rows(name)
    # several lines, so that the direct lane has its turn, and a second load on the first's schema
    lines = [rows[start : start + 40] for start in range(0, min(len(rows), 1600), 40)]
    half = max(len(lines) // 2, 1)
    loads = [[lines[:half]], [lines[half:] or lines]]
    resource: dict[str, Any] = {} if nesting is None else {"max_table_nesting": nesting}
    expected, _ = compare(Case(loads, resource), tmp_path)
    assert all(outcome.error is None for outcome in expected)
    assert sum(len(rows) for rows in expected[0].tables.values()) >= half
