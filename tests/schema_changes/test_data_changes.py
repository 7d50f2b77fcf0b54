"""The thresholds of what the data tells, and sketches against the truth."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from random import Random

import dlt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.engine.sketch import SIZE
from millstream.model import Column, ColumnProfile, SchemaChange, SchemaVersion, Table
from millstream.schema_changes import diff, snapshot
from millstream.schema_changes.sketch import matching

from .sketches import sketch


def version(columns: dict[str, ColumnProfile | None]) -> SchemaVersion:
    return SchemaVersion(
        (Table("t", None, tuple(Column(name, "text", profile=p) for name, p in columns.items())),)
    )


def kinds(changes: Iterable[SchemaChange]) -> list[str]:
    return [change.kind for change in changes]


def test_loads_of_the_same_data_alarm_nobody() -> None:
    """Two samples of one truth, 3,000 times: small and large loads, rare and common fields."""
    random = Random(7)
    alarms = 0
    for _ in range(3_000):
        truth = random.choice((0.0, 0.002, 0.05, 0.5, 0.9, 0.99, 1.0))
        profiles = []
        for _ in range(2):
            rows = random.choice((1, 3, 10, 100, 1_000))
            hits = sum(random.random() < truth for _ in range(rows))
            profiles.append(ColumnProfile(rows, hits, rows - hits))
        old, new = profiles
        alarms += len(diff(version({"a": old}), version({"a": new})))
    assert alarms <= 3, "one in a thousand"


@pytest.mark.parametrize("rows", [30, 1_000])
@pytest.mark.parametrize(("before", "now"), [(1.0, 0.5), (0.1, 0.9), (0.8, 0.2)])
def test_a_jump_is_seen(rows: int, before: float, now: float) -> None:
    old, new = (
        ColumnProfile(rows, round(rows * share), rows - round(rows * share))
        for share in (before, now)
    )
    assert kinds(diff(version({"a": old}), version({"a": new}))) == ["presence_changed"]


def test_nothing_is_said_of_a_load_without_rows_or_without_counts() -> None:
    full = version({"a": ColumnProfile(100, 100, 0)})
    assert diff(full, version({"a": ColumnProfile(0, 0, 0)})) == ()
    assert diff(full, version({"a": None})) == ()
    assert diff(version({"a": None}), full) == ()


def test_few_values_that_agree_are_no_rename_unless_the_names_agree_too() -> None:
    gone = {"state": ColumnProfile(100, 100, 0, sketch=sketch(["open", "closed"]))}
    nothing = {"state": ColumnProfile(100, 0, 100)}
    seen = ColumnProfile(100, 100, 0, sketch=sketch(["open", "closed"]))
    assert kinds(diff(version(gone), version({**nothing, "door": seen}))) == [
        "column_added",
        "column_gone",
    ]
    assert kinds(diff(version(gone), version({**nothing, "states": seen}))) == [
        "column_added",
        "column_renamed",
    ]


def test_each_new_column_explains_one_that_is_gone_at_most() -> None:
    values = sketch(str(number) for number in range(50))
    old = {name: ColumnProfile(100, 100, 0, sketch=values) for name in ("a", "b")}
    new: dict[str, ColumnProfile | None] = {name: ColumnProfile(100, 0, 100) for name in old}
    told = diff(version({**old}), version({**new, "c": ColumnProfile(100, 100, 0, sketch=values)}))
    assert sorted(kinds(told)) == ["column_added", "column_gone", "column_renamed"]


@given(st.sets(st.integers(0, 500), max_size=100), st.sets(st.integers(0, 500), max_size=100))
def test_small_sketches_are_exact(new: set[int], old: set[int]) -> None:
    share, common = matching(sketch(new), sketch(old))
    assert common == len(new & old)
    assert share == (len(new & old) / len(new) if new and old else 0.0)
    assert len(sketch(new)) == len(new)


@pytest.mark.parametrize("truth", [0.0, 0.25, 0.9, 1.0])
def test_large_sketches_are_close(truth: float) -> None:
    size = 20_000
    old = [f"v{number}" for number in range(size)]
    kept = round(size * truth)
    new = old[:kept] + [f"w{number}" for number in range(size - kept)]
    share, _ = matching(sketch(new), sketch(old))
    assert share == pytest.approx(truth, abs=0.12)  # four standard errors of 256 hashes
    assert len(sketch(new)) == SIZE


def test_the_keys_of_real_customers_are_seen_to_be_data(shared_data: Path, tmp_path: Path) -> None:
    """MongoDB's sample: `tier_and_details` is an object keyed by ids."""
    rows = [
        json.loads(line)
        for line in (shared_data / "mongodb_customers.jsonl").read_text().splitlines()[:100]
    ]
    pipeline = dlt.pipeline("customers", destination="duckdb", pipelines_dir=str(tmp_path))
    pipeline.extract(dlt.resource(rows, name="customers"))
    pipeline.normalize()
    changes = diff(SchemaVersion(), snapshot(pipeline.default_schema))
    told = [change for change in changes if change.kind == "map_explosion"]
    assert [(change.table, change.column) for change in told] == [("customers", "tier_and_details")]
    # and once it is in the schema, the next run adds to it without another word for old keys
    assert kinds(diff(snapshot(pipeline.default_schema), snapshot(pipeline.default_schema))) == []


def test_no_map_is_seen_in_real_issues(shared_data: Path, tmp_path: Path) -> None:
    rows = json.loads((shared_data / "github_issues_page.json").read_text())
    pipeline = dlt.pipeline("issues", destination="duckdb", pipelines_dir=str(tmp_path))
    pipeline.extract(dlt.resource(rows, name="issues"))
    pipeline.normalize()
    changes = diff(SchemaVersion(), snapshot(pipeline.default_schema))
    assert {change.kind for change in changes} == {"table_added"}
