"""The thresholds of what the data tells, and sketches against the truth."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import dlt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from millstream.engine.sketch import SIZE
from millstream.model import Column, ColumnProfile, SchemaChange, SchemaVersion, Table
from millstream.schema_changes import diff, drift, snapshot
from millstream.schema_changes.data_changes import observe
from millstream.schema_changes.sketch import matching

from .sketches import sketch


def version(columns: dict[str, ColumnProfile | None]) -> SchemaVersion:
    return SchemaVersion(
        (Table("t", None, tuple(Column(name, "text", profile=p) for name, p in columns.items())),)
    )


def kinds(changes: Iterable[SchemaChange]) -> list[str]:
    return [change.kind for change in changes]


def test_loads_of_the_same_data_alarm_nobody() -> None:
    """Samples of one truth, 3,000 times: small and large loads, rare and common fields."""
    random = Random(7)
    alarms = 0
    for _ in range(3_000):
        truth = random.choice((0.0, 0.002, 0.05, 0.5, 0.9, 0.99, 1.0))
        profiles = []
        for _ in range(4):
            rows = random.choice((1, 3, 10, 100, 1_000))
            hits = sum(random.random() < truth for _ in range(rows))
            profiles.append(ColumnProfile(rows, hits, rows - hits))
        old, *others, now = profiles
        new = version({"a": now})
        alarms += len(diff(version({"a": old}), new))
        alarms += len(drift.changes(new, [{"t": {"a": seen}} for seen in (old, *others)], ()))
    assert alarms <= 3, "one in a thousand"


def test_nothing_is_said_of_a_load_without_rows_or_counts() -> None:
    full = version({"a": ColumnProfile(100, 100, 0)})
    assert diff(full, version({"a": ColumnProfile(0, 0, 0)})) == ()
    assert diff(full, version({"a": None})) == ()
    assert diff(version({"a": None}), full) == ()


def test_few_common_values_are_a_rename_if_the_names_are_alike() -> None:
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


def table(*columns: Column, name: str = "t", parent: str | None = None) -> Table:
    return Table(name, parent, columns)


def seen(name: str, present: int, rows: int = 1_000, data_type: str = "text", **t: Any) -> Column:
    """A column that so many rows had; none of them was null."""
    profile = ColumnProfile(rows, present, rows - present)
    return Column(name, data_type, profile=profile, **t)


def observed(
    old: tuple[Table, ...], new: tuple[Table, ...], loads: Sequence[Any] | None = None
) -> list[tuple[str, str | None, str | None, str | None]]:
    was = SchemaVersion(old)
    found = observe(was, SchemaVersion(new), loaded=was, loads=loads)
    return [(each.kind, each.column, each.old, each.new) for each in found]


@given(st.integers(1, 400), st.integers(0, 400), st.integers(1, 400))
@example(100, 0, 99)
@example(9, 0, 9)
def test_a_field_is_gone_once_chance_is_unlikely(hits: int, misses: int, now: int) -> None:
    """One row after the other: by Laplace's rule of succession the next lacks the field, too."""
    chance = 1.0
    for row in range(now):
        chance *= (misses + 1 + row) / (hits + misses + 2 + row)
    changes = observed((table(seen("a", hits, hits + misses)),), (table(seen("a", 0, now)),))
    if abs(chance - 0.0001) > 1e-12:
        assert ("column_gone" in [kind for kind, *_ in changes]) == (chance < 0.0001)


@pytest.mark.parametrize(
    ("traits", "severity"),
    [({}, "risky"), ({"primary_key": True}, "breaking"), ({"cursor": True}, "breaking")],
)
def test_a_key_or_cursor_that_is_gone_is_breaking(traits: Any, severity: str) -> None:
    was = SchemaVersion((table(seen("a", 1_000, **traits)),))
    now = SchemaVersion((table(seen("a", 0, **traits)),))
    (change,) = observe(was, now, loaded=was)
    assert (change.kind, change.severity) == ("column_gone", severity)


def test_an_object_that_is_gone_is_one_change() -> None:
    names = ["user__login", "user__plan__name", "user__plan__seats"]
    was = (table(*(seen(name, 900) for name in names), seen("id", 1_000)),)
    assert observed(was, (table(*(seen(name, 0) for name in names), seen("id", 1_000)),)) == [
        ("column_gone", "user", "90%", "0%")
    ]
    part = (table(seen(names[0], 900), *(seen(name, 0) for name in names[1:])),)
    assert observed(was, part) == [("column_gone", "user__plan", "90%", "0%")]


def test_shapes_that_a_field_takes() -> None:
    scalar, field = seen("a", 900), seen("a__b", 900)
    items = table(seen("_dlt_list_idx", 900), seen("value", 900), name="t__a", parent="t")
    old_scalar = Column("a", "text")
    for was, now, kind, words in (
        ((table(scalar),), (table(old_scalar, field),), "became_object", ("text", "object")),
        ((table(scalar),), (table(old_scalar), items), "became_list", ("text", "list")),
        (
            (table(field),),
            (table(Column("a__b", "text"), scalar),),
            "became_scalar",
            ("object", "text"),
        ),
        (
            (table(field),),
            (table(Column("a__b", "text")), items),
            "became_list",
            ("object", "list"),
        ),
    ):
        assert observed(was, now) == [(kind, "a", *words)], kind


def test_names_that_begin_alike_are_not_a_new_shape() -> None:
    was = (table(seen("region", 1_000)),)
    assert observed(was, (table(seen("region", 1_000), seen("region__c", 1_000)),)) == []


def test_a_list_that_is_gone_unless_its_rows_could_not_hold_it() -> None:
    lists = table(seen("_dlt_list_idx", 500, 800), name="t__tags", parent="t")
    empty = table(seen("_dlt_list_idx", 0, 0), name="t__tags", parent="t")
    was = (table(seen("id", 1_000)), lists)
    assert observed(was, (table(seen("id", 1_000)), empty)) == [
        ("column_gone", "tags", "50%", "0%")
    ]
    assert observed(was, (table(seen("id", 3, 3)), empty)) == []
    assert observed(was, (table(seen("id", 0, 0)), empty)) == []


def test_a_field_that_was_a_list_and_a_scalar_is_gone_once() -> None:
    lists = table(seen("_dlt_list_idx", 500, 800), name="t__tags", parent="t")
    empty = table(seen("_dlt_list_idx", 0, 0), name="t__tags", parent="t")
    was = (table(seen("id", 1_000), seen("tags", 400)), lists)
    assert observed(was, (table(seen("id", 1_000), seen("tags", 0)), empty)) == [
        ("column_gone", "tags", "40%", "0%")
    ]


def test_values_in_a_new_variant_are_not_missing() -> None:
    was = (table(seen("n", 1_000, data_type="bigint")),)
    variant = seen("n__v_text", 600, variant_of="n")
    assert observed(was, (table(seen("n", 400, data_type="bigint"), variant),)) == []
