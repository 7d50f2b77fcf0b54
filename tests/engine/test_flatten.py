"""Nested rows to tables, against plain loops over objects and lists."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.dlt_rules import ALL_LEVELS, ROOT, rules_of
from millstream.engine.flatten import FlatTable, flatten_rows
from millstream.engine.schema_rules import NotVectorizableError

scalars = st.none() | st.integers(-3, 3) | st.text("xy", max_size=2) | st.booleans()
leaves = st.fixed_dictionaries({}, optional={"x": scalars, "y": scalars})
fields = {
    "n": scalars,
    "o": st.none() | leaves | st.integers(0, 9),
    "l": st.none() | st.lists(leaves | st.none() | st.integers(0, 9), max_size=3),
    "d": st.lists(st.lists(st.integers(0, 9), max_size=2) | st.integers(0, 9), max_size=3),
    "m": scalars | leaves | st.lists(st.integers(0, 9), max_size=2),
    "deep": st.fixed_dictionaries({"p": st.lists(st.fixed_dictionaries({"q": st.lists(leaves)}))}),
}
rows_of_any_shape = st.lists(st.fixed_dictionaries({}, optional=fields), min_size=1, max_size=8)
RULES = rules_of()
TEXT_RULES = rules_of({"n": {"data_type": "text"}, "m": {"data_type": "bool"}})


def expected_tables(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """By table, for each row: its parent's number, its position in the list, and its cells."""
    tables: dict[str, list[Any]] = {}

    def add(table: str, row: dict[str, Any], parent: int | None, position: int | None) -> None:
        cells: dict[str, Any] = {}
        number = len(tables.setdefault(table, []))
        tables[table].append((parent, position, cells))

        def walk(prefix: str, content: dict[str, Any]) -> None:
            for key, value in content.items():
                if isinstance(value, dict):
                    walk(f"{prefix}{key}__", value)
                elif isinstance(value, list):
                    for at, item in enumerate(value):
                        name = "list" if isinstance(item, list) else "value"
                        child = item if isinstance(item, dict) else {name: item}
                        add(f"{table}__{prefix}{key}", child, number, at)
                else:
                    cells[f"{prefix}{key}"] = value

        walk("", row)

    for row in rows:
        add(ROOT, row, None, None)
    return tables


def cells_of(table: FlatTable) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [{} for _ in range(table.size)]
    for name, leaf in table.leaves.items():
        values = leaf.values if leaf.array is None else leaf.array.to_pylist()
        index = range(table.size) if leaf.index is None else leaf.index.tolist()
        assert len(index) == len(values)
        for at, value in zip(index, values):
            found[at][name] = value
    return found


def typed(cells: dict[str, Any]) -> dict[str, Any]:
    return {name: (type(value), value) for name, value in cells.items()}


@pytest.mark.parametrize("rules", [RULES, TEXT_RULES], ids=["no-columns", "known-columns"])
@settings(max_examples=35)
@given(rows=rows_of_any_shape)
def test_tables_are_those_of_plain_loops(rules: Any, rows: list[dict[str, Any]]) -> None:
    found = {table.name: table for table in flatten_rows(rows, ROOT, ALL_LEVELS, rules, {})}
    expected = expected_tables(rows)

    assert found.keys() == expected.keys()
    for name, lines in expected.items():
        table = found[name]
        assert table.size == len(lines)
        if table.parent is not None:
            assert table.at is not None
            assert table.position is not None
            assert table.at.tolist() == [parent for parent, _, _ in lines]
            assert table.position.tolist() == [position for _, position, _ in lines]
        nulls = {*table.only_null}
        for cells, (_, _, wanted) in zip(cells_of(table), lines):
            kept = {column: value for column, value in wanted.items() if column not in nulls}
            assert typed(cells) == typed(kept)
        for column, count in table.only_null.items():
            assert [w[column] for _, _, w in lines if column in w] == [None] * count


def test_no_level_left_keeps_objects_and_lists_whole() -> None:
    rows = [{"a": {"b": {"c": 1}}, "l": [{"x": [1]}]}, {"a": {"b": 2}}]
    (table,) = flatten_rows(rows, ROOT, 0, RULES, {})
    assert cells_of(table) == rows

    root, child = flatten_rows(rows, ROOT, 1, RULES, {})
    assert cells_of(root) == [{"a__b": {"c": 1}}, {"a__b": 2}]
    assert cells_of(child) == [{"x": [1]}]


@pytest.mark.parametrize(
    "rows",
    [
        [{"Id": 1, "id": 2}],
        [{"a__b": 1, "a": {"b": 2}}],
        [{"a": {"b": [1]}}, {"a": [{"b": [2]}]}],
        [{"_dlt_id": "x"}],
    ],
)
def test_two_keys_of_one_name_are_left_to_dlt(rows: list[dict[str, Any]]) -> None:
    with pytest.raises(NotVectorizableError):
        flatten_rows(rows, ROOT, ALL_LEVELS, RULES, {})


def test_shape_remembers_what_batches_held() -> None:
    shape: dict[str, Any] = {}
    flatten_rows([{"a": 1, "o": {"x": 1}}, {"a": None, "l": [1]}], ROOT, ALL_LEVELS, RULES, shape)
    flatten_rows([{"a": [2]}], ROOT, ALL_LEVELS, RULES, shape)

    assert (shape["a"].kind, shape["a"].mixed, shape["a"].null) == ("value", True, True)
    assert not shape["a"].ragged
    assert (shape["o"].kind, shape["o"].ragged) == ("object", True)
    assert shape["o"].fields["x"].name == "o__x"
    assert (shape["l"].kind, shape["l"].table) == ("list", "items__l")


def test_parents_come_before_their_children() -> None:
    rows = [{"z": [{"y": [{"x": [1]}]}]}]
    tables = flatten_rows(rows, ROOT, ALL_LEVELS, RULES, {})
    assert [table.name for table in tables] == [
        "items", "items__z", "items__z__y", "items__z__y__x",
    ]  # fmt: skip
    for table in tables[1:]:
        assert table.parent is tables[tables.index(table) - 1]
        assert np.array_equal(table.at, [0])
