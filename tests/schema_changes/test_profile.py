from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from millstream.config import PolicyConfig
from millstream.model import Column, ColumnProfile, Decision, SchemaChange, SchemaVersion, Table
from millstream.schema_changes import LoadProfile, comparable, govern, pool, profile, settled
from millstream.schema_changes.snapshot import Profile

from .sketches import sketch

VALUES = st.lists(st.none() | st.integers(0, 400), max_size=300)


def counted(values: list[int | None]) -> ColumnProfile:
    nulls = sum(value is None for value in values)
    return ColumnProfile(
        len(values), len(values) - nulls, nulls, longest=len(values) or None, sketch=sketch(values)
    )


@given(st.lists(VALUES, min_size=1, max_size=4))
def test_pooled_loads_are_as_one_load(loads: list[list[int | None]]) -> None:
    pooled = profile.pool([{"t": {"c": counted(values)}} for values in loads])["t"]["c"]
    together = counted([value for values in loads for value in values])
    assert (pooled.rows, pooled.present, pooled.nulls) == (
        together.rows,
        together.present,
        together.nulls,
    )
    assert pooled.sketch == together.sketch


def test_a_profile_is_put_beside_its_columns_alone() -> None:
    version = SchemaVersion((Table("t", None, (Column("a", "text"), Column("b", "text"))),))
    seen = ColumnProfile(3, 2, 1)
    attached = profile.attach(version, {"t": {"a": seen}, "other": {"a": seen}})
    assert [column.profile for column in attached.tables[0].columns] == [seen, None]
    assert attached == version
    assert version.tables[0].columns[0].profile is None


def test_a_field_that_stopped_is_told_by_the_loads_before() -> None:
    """dlt's schema never forgets a column: the schema is the same, and only the counts differ."""
    version = SchemaVersion((Table("t", None, (Column("a", "text"),)),))
    loads = [{"t": {"a": ColumnProfile(4, 4, 0)}} for _ in range(5)]
    now = profile.attach(version, {"t": {"a": ColumnProfile(6, 0, 6)}})
    before = profile.attach(version, profile.pool(loads))
    (decision,) = govern(before, version, now, PolicyConfig(), stream="t")
    assert (decision.change.kind, decision.action) == ("column_gone", "warn")
    one_load = profile.attach(version, profile.pool(loads[:1]))
    assert govern(one_load, version, now, PolicyConfig(), stream="t") == ()


def test_a_complete_profile_has_empty_columns_and_lists() -> None:
    columns = (Column("a", "text"), Column("b", "text"), Column("a__v_x", "text", variant_of="a"))
    version = SchemaVersion(
        (Table("t", None, (*columns, Column("_dlt_id", "text"))), Table("u", "t", columns))
    )
    seen, nothing = ColumnProfile(3, 2, 1), ColumnProfile(0, 0, 0)
    assert profile.complete(version, {"t": {"a": seen}, "gone": {"a": seen}}) == {
        "t": {"a": seen, "b": ColumnProfile(3, 0, 3)},
        "u": {"a": nothing, "b": nothing},  # a list of which no row has an item
        "gone": {"a": seen},
    }


def test_of_a_settled_column_no_earlier_load_is_a_measure() -> None:
    full, none = ColumnProfile(100, 100, 0), ColumnProfile(100, 0, 100)
    gone = [
        SchemaChange(
            kind="column_gone",
            table="t",
            column=name,
            old="100%",
            new="0%",
            severity="risky",
            message="",
        )
        for name in ("at", "n", "moved")
    ]
    decided = (
        Decision(gone[0], "allow", "accepted", "people"),
        Decision(gone[1], "warn", "preset evolve: risky", "preset"),
        Decision(
            replace(gone[2], kind="presence_changed"), "warn", "preset evolve: risky", "preset"
        ),
    )
    names = ("at__street", "at__town", "attic", "n", "moved")
    now: Profile = {"t": dict.fromkeys(names, none), "u": {"n": none}}
    settled_now = settled(decided, now)
    # shares that come and go are never settled: the range of recent loads is what tells of them
    assert settled_now == {("t", "at__street"), ("t", "at__town"), ("t", "n")}

    before: Profile = {"t": dict.fromkeys(names, full), "u": {"n": full}}
    later: Profile = {"t": {"n": none}}
    found = pool(
        comparable([LoadProfile(before), LoadProfile(now, settled_now), LoadProfile(later)])
    )
    assert {name: (seen.rows, seen.present) for name, seen in found["t"].items()} == {
        "at__street": (100, 0),
        "at__town": (100, 0),
        "attic": (200, 100),
        "n": (200, 0),
        "moved": (200, 100),
    }
    assert found["u"]["n"].present == 100
    assert comparable([]) == []
