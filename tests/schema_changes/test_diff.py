from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.model import Column, SchemaVersion, Table
from millstream.schema_changes import apply, canonical, diff
from millstream.schema_changes.diff import STRUCTURAL

from .strategies import versions


@given(versions(profiled=True))
def test_nothing_changed_gives_nothing_of_the_schema(version: SchemaVersion) -> None:
    assert [change for change in diff(version, version) if change.kind in STRUCTURAL] == []


@given(versions())
def test_nothing_changed_gives_nothing(version: SchemaVersion) -> None:
    # a map that is accepted as it is must not be told again either
    assert diff(version, version) == ()


@given(versions(profiled=True), versions(profiled=True))
def test_applying_the_changes_to_the_old_gives_the_new(
    old: SchemaVersion, new: SchemaVersion
) -> None:
    assert apply(old, diff(old, new)) == canonical(new)


@given(versions(profiled=True), versions(profiled=True))
def test_every_change_says_something(old: SchemaVersion, new: SchemaVersion) -> None:
    changes = diff(old, new)
    assert (changes == ()) <= (canonical(old) == canonical(new))
    for change in changes:
        assert change.message
        assert change.severity in ("safe", "risky", "breaking")
        if change.kind != "variant_added":  # only a strategy makes a text variant of a text
            assert change.old != change.new, change
        assert (change.after is not None) == (
            change.kind in STRUCTURAL - {"column_dropped", "table_dropped"}
        )


@given(versions(profiled=True), versions(profiled=True))
def test_a_column_has_at_most_one_change_of_each_kind(
    old: SchemaVersion, new: SchemaVersion
) -> None:
    told = [(change.kind, change.table, change.column) for change in diff(old, new)]
    assert len(told) == len(set(told))


@given(versions(), st.randoms(use_true_random=False))
def test_the_order_of_columns_is_no_change(version: SchemaVersion, random: Random) -> None:
    shuffled = SchemaVersion(
        tuple(
            Table(table.name, table.parent, tuple(random.sample(table.columns, len(table.columns))))
            for table in version.tables
        )
    )
    assert diff(version, shuffled) == ()
    assert canonical(shuffled) == canonical(version)


@given(versions())
def test_canonical_puts_parents_first_and_loses_nothing(version: SchemaVersion) -> None:
    ordered = canonical(version)
    assert canonical(ordered) == ordered
    seen: set[str] = set()
    for table in ordered.tables:
        assert table.parent is None or table.parent in seen
        seen.add(table.name)
    assert seen == {table.name for table in version.tables}


def test_apply_refuses_a_change_to_a_table_that_is_not_there() -> None:
    one = SchemaVersion((Table("a", None, (Column("x", "text"),)),))
    two = SchemaVersion((Table("a", None, (Column("x", "bigint"),)),))
    with pytest.raises(ValueError, match="no table 'a'"):
        apply(SchemaVersion(), diff(one, two))
