"""dlt's flattening with other names: as many values as before, none in another's place."""

from __future__ import annotations

from typing import Any

import dlt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream.engine.dlt.named_flatten import keep_columns_free, name_keys
from millstream.formats.key_names import KeyNames

ALL_LEVELS = 1000
keys = st.sampled_from(["Id", "id", "-1", "1", "a__b", "a", "b", "名", "xmin", ""]) | st.text(
    max_size=3
)
leaves = st.integers() | st.none() | st.lists(st.integers(), max_size=1)
objects = st.recursive(
    st.dictionaries(keys, leaves, max_size=3),
    lambda inner: st.dictionaries(keys, inner | leaves, max_size=3),
    max_leaves=8,
)


def named(dialect: str | None = None) -> Any:
    schema = dlt.Schema("shop")
    normalizer = schema.data_item_normalizer
    name_keys(normalizer, KeyNames.of(schema, "orders", dialect), dialect)
    return normalizer


def leaves_of(row: dict[str, Any]) -> list[Any]:
    found: list[Any] = []
    for value in row.values():
        found += leaves_of(value) if isinstance(value, dict) else [value]
    return found


@settings(max_examples=40)
@given(objects)
def test_no_value_takes_the_place_of_another(row: dict[str, Any]) -> None:
    normalizer = named("postgres")
    columns, lists = normalizer._flatten("orders", row, ALL_LEVELS)
    assert sorted(map(repr, [*columns.values(), *lists.values()])) == sorted(
        map(repr, leaves_of(row))
    )
    tables = {normalizer._shorten_fragments("orders", *path) for path in lists}
    assert len(tables) == len(lists)
    again, _ = normalizer._flatten("orders", row, ALL_LEVELS)
    assert again == columns


def test_plain_keys_keep_the_names_dlt_gives() -> None:
    row = {"createdAt": 1, "user": {"First Name": "a"}, "tags": ["x"]}
    ours, lists = named()._flatten("orders", row, ALL_LEVELS)
    theirs, their_lists = dlt.Schema("shop").data_item_normalizer._flatten(
        "orders", row, ALL_LEVELS
    )
    assert ours == theirs == {"created_at": 1, "user__first_name": "a"}
    assert lists == their_lists == {("tags",): ["x"]}


def test_other_tables_are_flattened_by_dlt() -> None:
    columns, _ = named()._flatten("customers", {"Id": 1, "id": 2}, ALL_LEVELS)
    assert columns == {"id": 2}


def test_levels_that_are_left_end_the_flattening() -> None:
    columns, lists = named()._flatten("orders", {"a": {"b": {"c": 1}}, "l": [1]}, 1)
    assert (columns, lists) == ({"a__b": {"c": 1}}, {("l",): [1]})


@pytest.mark.parametrize(
    ("dialect", "names"),
    [
        ("duckdb", {"xmin", "a__xmin"}),
        ("postgres", {"xmin_x2e15ed", "a__xmin"}),
        (None, {"xmin", "a__xmin"}),
    ],
)
def test_columns_that_a_destination_refuses_are_renamed(dialect: Any, names: set[str]) -> None:
    row = {"xmin": 1, "a": {"xmin": 2}}
    columns, _ = named(dialect)._flatten("orders", row, ALL_LEVELS)
    assert columns.keys() == names

    normalizer = dlt.Schema("shop").data_item_normalizer
    keep_columns_free(normalizer, dialect)
    columns, _ = normalizer._flatten("orders", row, ALL_LEVELS)
    assert columns.keys() == names
    assert set(columns.values()) == {1, 2}
