"""Paths of the JSON from names of tables and columns, against rows that dlt flattens."""

from __future__ import annotations

from typing import Any

import dlt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream.formats.json_path import json_path, list_keys, list_path, own_keys, variant_base

NORMALIZER = dlt.Schema("shop").data_item_normalizer
keys = st.text("abc", min_size=1, max_size=3)
rows = st.recursive(
    st.dictionaries(keys, st.integers(), min_size=1, max_size=2),
    lambda inner: st.dictionaries(
        keys, inner | st.lists(inner, min_size=1, max_size=2) | st.lists(st.integers(), min_size=1),
        min_size=1, max_size=2,
    ),
    max_leaves=4,
)  # fmt: skip


def paths_in(value: Any, path: str = "") -> set[str]:
    """The JSON paths of all scalars of a value."""
    if isinstance(value, dict):
        dot = "." if path else ""
        return {p for key, inner in value.items() for p in paths_in(inner, f"{path}{dot}{key}")}
    if isinstance(value, list):
        return {p for inner in value for p in paths_in(inner, f"{path}[]")}
    return {path}


@settings(max_examples=50)
@given(rows)
def test_each_column_of_dlt_has_the_path_of_its_value(row: dict[str, Any]) -> None:
    prefixes = {"orders": ""}
    found = set()
    for (table, parents, _), flat in NORMALIZER.normalize_data_item(row, "1", "orders"):
        if parents:
            parent = "__".join(parents)
            prefixes[table] = prefixes[parent] + list_path(parent, table)
        own = {name for name in flat if not name.startswith("_dlt")}
        found |= {json_path(prefixes[table], name) for name in own}
    assert found == paths_in(row)


@pytest.mark.parametrize(
    ("name", "data_type", "base"),
    [
        ("n__v_text", "text", "n"),
        ("n__v_text__v_bigint", "bigint", "n__v_text"),
        ("a__n__v_double", "double", "a__n"),
        ("n__v_te_x1", "text", "n"),
    ],
)
def test_the_column_of_a_variant(name: str, data_type: str, base: str) -> None:
    assert variant_base(name, data_type) == base


@given(st.lists(st.sampled_from(["a", "b_a", "a__b", "_a", "__a", "a_"]), min_size=1))
def test_keys_are_kept_only_where_the_name_hides_them(path: list[str]) -> None:
    name = "__".join(path)
    found = own_keys("lines[]." + ".".join(path), name)
    assert found == (None if name.split("__") == path else ".".join(path))


def test_the_keys_of_a_list_come_from_its_columns() -> None:
    columns = ["color__code[].a", "color__code[].b"]
    assert list_keys(columns, "orders", "orders__color__code") == "color__code"
    assert list_keys(["color.code[].a"], "orders", "orders__color__code") is None
    assert list_keys([], "orders", "orders__color__code") is None
