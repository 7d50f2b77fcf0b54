"""Objects whose keys are data: found by number and shape, in whatever order columns come."""

from __future__ import annotations

import string
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.model import Column, SchemaChange, SchemaVersion, Table
from millstream.schema_changes.map_detection import (
    TABLE_OF_KEYS,
    describe_maps,
    explosions,
    is_map_at,
    map_columns,
)

WORDS = ["".join((a, b, c)) for a in "abc" for b in string.ascii_lowercase for c in "xyz"]


def table(*columns: str, name: str = "t", parent: str | None = None, kind: str = "text") -> Table:
    return Table(name, parent, tuple(Column(column, kind) for column in columns))


def entries(count: int, *leaves: str, of: str = "users") -> list[str]:
    """Columns of an object with so many keys, each an object with these leaves."""
    return [f"{of}__{word}__{leaf}" for word in WORDS[:count] for leaf in leaves]


def found(old: Table | None, new: Table, *below: Table) -> list[tuple[str | None, str, str | None]]:
    version = SchemaVersion((new, *below))
    return [(c.column, c.severity, c.new) for c in explosions(old, new, version)]


@pytest.mark.parametrize(
    ("keys", "leaves", "expected"),
    [
        (19, 2, []),
        (20, 2, [("users", "risky", "40 columns")]),
        (50, 2, [("users", "breaking", "100 columns")]),
        (49, 2, [("users", "risky", "98 columns")]),
    ],
)
def test_many_keys_of_one_shape_are_a_map(keys: int, leaves: int, expected: list[Any]) -> None:
    assert found(table("id"), table("id", *entries(keys, *"ab"[:leaves]))) == expected


def test_columns_of_dlt_are_no_keys() -> None:
    new = table("_dlt_id", "_dlt_load_id", *(f"at_2024_01_{n:02}" for n in range(1, 31)))
    (told,) = explosions(None, new, SchemaVersion((new,)))
    assert told.new == "30 columns"
    assert "_dlt_" not in str(told.message)


def test_keys_that_were_known_do_not_count() -> None:
    old = table(*entries(10, "a", "b"))
    assert found(old, table(*entries(29, "a", "b"))) == []
    assert found(old, table(*entries(30, "a", "b"))) == [("users", "risky", "40 columns")]


def test_a_map_that_was_let_in_is_risky_alone() -> None:
    old = table(*entries(20, "a", "b"))
    assert found(old, table(*entries(70, "a", "b"))) == [("users", "risky", "100 columns")]


def test_objects_of_different_fields_are_not_a_map() -> None:
    columns = [f"users__{word}__{word}_field" for word in WORDS[:40]]
    assert found(None, table(*columns)) == []


def test_scalars_are_a_map_only_under_generated_keys() -> None:
    dates = [f"visits__2024_01_{day:02}" for day in range(1, 31)]
    hashes = [f"visits__{Random(n).getrandbits(48):012x}1" for n in range(30)]
    fields = [f"visits__field_{n}" for n in range(30)]
    for columns, expected in ((dates, True), (hashes, True), (fields, False)):
        assert bool(found(None, table(*columns))) == expected, columns[0]


def test_tables_below_the_keys_are_counted() -> None:
    lists = [table("value", name=f"t__users__{word}__tags", parent="t") for word in WORDS[:30]]
    new = table(*entries(30, "a"))
    assert found(None, new, *lists) == [("users", "risky", "30 columns and 30 tables")]
    assert found(None, table(*entries(70, "a")), *lists) == [
        ("users", "breaking", "70 columns and 30 tables")
    ]


@given(st.randoms(use_true_random=False))
def test_the_order_of_columns_does_not_matter(random: Random) -> None:
    columns = [*entries(25, "a", "b"), *entries(30, "x", of="deep__inner"), "id", "name__first"]
    expected = found(None, table(*columns))
    assert {name for name, _, _ in expected} == {"users", "deep__inner"}
    random.shuffle(columns)
    assert sorted(found(None, table(*columns))) == sorted(expected)
    names = map_columns(table(*columns))
    assert set(names.values()) == {"users", "deep__inner"}
    assert len(names) == 25 * 2 + 30


def test_the_remedy_names_the_path_of_the_json() -> None:
    columns = tuple(
        Column(name, "text", path=f"lines[].byDay.{name.split('__')[1]}.a")
        for name in entries(20, "a", of="by_day")
    )
    child = Table("orders__lines", "orders", columns)
    version = SchemaVersion((table("id", name="orders"), child))
    (change,) = explosions(None, child, version)
    assert "`maps: {orders: [lines.byDay]}` in defs.yaml" in change.message


def test_a_map_that_the_configuration_names_has_words_of_its_own() -> None:
    version = SchemaVersion(
        (table("id", name="orders"), table("id", name="orders__lines", parent="orders"))
    )

    def change(name: str, **fields: Any) -> SchemaChange:
        fields = {"kind": "became_list", "old": "object", "new": "list", **fields}
        return SchemaChange(
            table="orders__lines", column=name, severity="breaking", message="x", **fields
        )

    changes = [change("by_day"), change("by_week"), change("by_day", old="text")]
    made, *others = describe_maps(changes, version, ["lines.byDay"])
    assert (made.new, others) == (TABLE_OF_KEYS, changes[1:])
    assert "`orders__lines__by_day`" in made.message
    assert describe_maps(changes, version, []) == tuple(changes)


@pytest.mark.parametrize(
    ("path", "name", "same"),
    [
        ("users", "users", True),
        ("a.byDay", "by_day", True),
        ("a.b", "a__b", True),
        ("a", "a__b", False),
        ("users", None, False),
    ],
)
def test_paths_and_names_of_one_object(path: str, name: str | None, same: bool) -> None:
    assert is_map_at(path, name) == same
