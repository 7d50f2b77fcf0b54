from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from millstream.model import Column, ColumnProfile, Drift, SchemaChange, SchemaVersion, Table
from millstream.schema_changes import jumps
from millstream.schema_changes.drift import changes
from millstream.schema_changes.snapshot import Profile


def load(rows: int, present: int, nulls: int | None = None) -> Profile:
    return {"t": {"a": ColumnProfile(rows, present, rows - present if nulls is None else nulls)}}


def version(profile: Profile, **more: str) -> SchemaVersion:
    column = Column("a", "text", profile=profile["t"]["a"], **more)  # type: ignore[arg-type]
    return SchemaVersion((Table("t", None, (column,)),))


def found(new: Profile, *loads: Profile, **settings: float) -> tuple[Drift, ...]:
    return jumps(version(new), loads, **settings)  # type: ignore[arg-type]


def test_a_share_outside_the_range_is_reported_once() -> None:
    (jump,) = found(load(500, 100), load(500, 480), load(400, 400), load(400, 400))
    assert (jump.table, jump.column, jump.share) == ("t", "a", "presence")
    assert (jump.now, jump.lowest, jump.highest, jump.rows) == (0.2, 0.96, 1.0, 500)
    assert jump.message == "`a` arrives in 20% of 500 rows, in 3 earlier loads in 96% to 100%"


def test_nulls_are_told_where_the_field_arrives_as_before() -> None:
    (jump,) = found(load(500, 500, 300), *[load(500, 500, 0)] * 3)
    assert jump.share == "null share"
    assert jump.message == "`a` is null in 60% of 500 rows, in 3 earlier loads in 0%"


def test_a_change_says_what_the_check_says() -> None:
    """One function finds both, and an object whose fields moved alike is one change."""
    names = ("id", "user__login", "user__plan__name", "bio", "note")

    def seen(*present: int) -> Profile:
        return {"t": {n: ColumnProfile(500, p, 500 - p) for n, p in zip(names, present)}}

    def told(new: Profile, *others: SchemaChange) -> list[tuple[str, str | None, str]]:
        columns = tuple(Column(name, "text", profile=p) for name, p in new["t"].items())
        table = SchemaVersion((Table("t", None, columns),))
        found = changes(table, [seen(500, 400, 400, 500, 500)] * 3, others)
        assert len(found) <= len(jumps(table, [seen(500, 400, 400, 500, 500)] * 3))
        return [(each.kind, each.column, each.message) for each in found]

    assert told(seen(500, 100, 100, 470, 250)) == [
        (
            "presence_changed",
            "user",
            "`user` with its 2 fields arrives in 20% of 500 rows, in 3 earlier loads in 80%",
        ),
        (
            "presence_changed",
            "note",
            "`note` arrives in 50% of 500 rows, in 3 earlier loads in 100%",
        ),
    ]
    # another field of it did not move
    assert [column for _, column, _ in told(seen(500, 400, 100, 500, 500))] == ["user__plan__name"]
    gone = SchemaChange(kind="column_gone", table="t", column="note", severity="risky", message="")
    assert told(seen(500, 400, 400, 500, 0), gone) == [], "one of the two is enough"


def test_two_loads_have_no_range_yet() -> None:
    assert found(load(500, 100), load(500, 500), load(500, 500)) == ()
    assert found(load(500, 100), load(500, 500), load(500, 500), load(500, 500)) != ()
    assert found(load(500, 100), load(500, 500), load(500, 500), load(0, 0)) == ()


def test_what_people_accepted_with_the_load_is_no_jump() -> None:
    gone, loads = load(500, 0), [load(500, 500)] * 3
    assert jumps(version(gone), loads) != ()
    assert jumps(version(gone), loads, explained={("t", "a")}) == ()


def test_a_share_that_goes_up_and_down_by_nature_is_no_news() -> None:
    swinging = [load(1000, 200), load(10_000, 9_000), load(1000, 300)]
    assert found(load(1000, 250), *swinging) == (), "far from all loads together, but not from each"
    assert found(load(1000, 0), *swinging) != ()


def test_small_loads_alarm_nobody_and_are_no_measure() -> None:
    large = [load(10_000, 10_000)] * 3
    assert found(load(19, 0), *large) == ()
    assert found(load(20, 0), *large) != ()
    assert found(load(500, 0), load(3, 3), load(2, 2), load(2, 2)) == ()
    # three rows without the field do not make 0% a thing to expect
    assert found(load(500, 0), load(500, 500), load(3, 0), load(3, 0)) != ()
    # but many small loads are together as good as a large one
    assert found(load(500, 0), *[load(10, 10)] * 9) != ()


def test_the_threshold_and_the_rows_can_be_set() -> None:
    full = [load(10_000, 10_000)] * 3
    assert found(load(1000, 800), *full, threshold=0.3) == ()
    assert found(load(1000, 600), *full, threshold=0.3) != ()
    assert found(load(10_000, 9_500), *full, threshold=0.02) != ()
    assert found(load(30, 0), *full, min_rows=50) == ()


def test_columns_that_say_nothing_new_are_left_out() -> None:
    gone, there = load(500, 0), load(500, 500)
    assert jumps(version(gone, variant_of="b"), [there] * 3) == ()
    assert found(gone) == (), "the first load"
    assert found(gone, *[{"u": there["t"]}] * 3) == ()
    assert found(gone, *[{"t": {"b": there["t"]["a"]}}] * 3) == ()


COUNTS = st.integers(1, 3000).flatmap(
    lambda rows: st.tuples(st.just(rows), st.integers(0, rows)),
)


@given(COUNTS, st.lists(COUNTS, max_size=10))
def test_what_a_recent_load_saw_is_never_news(
    new: tuple[int, int], loads: list[tuple[int, int]]
) -> None:
    same = load(max(new[0], 20), min(new[1], max(new[0], 20)))
    assert found(same, *(load(*each) for each in loads), same) == ()


@given(COUNTS, st.lists(COUNTS, min_size=1, max_size=10))
def test_what_is_told_lies_outside_the_range(
    new: tuple[int, int], loads: list[tuple[int, int]]
) -> None:
    for jump in found(load(*new), *(load(*each) for each in loads)):
        assert jump.now <= jump.lowest - 0.1 or jump.now >= jump.highest + 0.1
        assert 0 <= jump.lowest <= jump.highest <= 1
