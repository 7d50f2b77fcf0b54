"""Leaves to typed columns, against a plain loop that looks at one value after the other."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.dlt_rules import ALL_LEVELS, ROOT, rules_of
from millstream.engine.coerce_values import TypedTable, coerce_table
from millstream.engine.flatten import flatten_rows
from millstream.engine.schema_rules import NotVectorizableError

TYPES = {int: "bigint", float: "double", str: "text", bool: "bool"}
values = st.lists(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.integers(-(2**63), 2**63 - 1)
    | st.text("ab", max_size=2)
    | st.floats(allow_nan=False, allow_infinity=False, width=16)
    | st.just(-0.0),
    min_size=1,
    max_size=12,
)


def typed(rows: list[dict[str, Any]], columns: Any = None, *, exact: bool = True) -> TypedTable:
    rules = rules_of(columns, exact=exact)
    return coerce_table(flatten_rows(rows, ROOT, ALL_LEVELS, rules, {})[0], rules)


def cells(table: TypedTable) -> dict[str, dict[int, Any]]:
    """By column, its values by row; nulls left out."""
    found: dict[str, dict[int, Any]] = {}
    for name, (array, index) in table.arrays.items():
        rows = range(table.table.size) if index is None else index.tolist()
        assert len(array) == len(rows)
        by_row = {row: v for row, v in zip(rows, array.to_pylist()) if v is not None}
        if by_row or name in table.new:
            found[name] = by_row
    return found


def fits(column: str, value: Any) -> bool:
    """Whether a column gives the value back, if not as the same type then as an equal number."""
    if column == "double" and type(value) is int:
        return int(float(value)) == value
    if column == "bigint" and type(value) is float:
        return value.is_integer() and abs(value) < 2**63 and str(value) != "-0.0"
    return column == TYPES[type(value)]


@settings(max_examples=50)
@given(values)
@example([1.5, 2**53 + 1, 3])
@example([0, -0.0, 0.0, False])
def test_each_value_is_in_one_column_that_gives_it_back(values: list[Any]) -> None:
    expected: dict[str, dict[int, Any]] = {}
    base, new_at = None, set()
    for row, value in enumerate(values):
        if value is None:
            continue
        kind = TYPES[type(value)]
        base = base or kind
        column = "n" if fits(base, value) else f"n__v_{kind}"
        if column not in expected:
            new_at.add(row)
        expected.setdefault(column, {})[row] = value

    table = typed([{"n": value} for value in values])

    found = cells(table)
    assert found == expected
    assert {k: v["data_type"] for k, v in table.new.items()} == {
        name: base if name == "n" else name.removeprefix("n__v_") for name in expected
    }
    assert table.schema_evolving_rows == new_at
    assert table.present == {"n": len(values)}
    for rows in found.values():
        for row, value in rows.items():
            assert str(value).startswith("-") == str(values[row]).startswith("-")


@pytest.mark.parametrize(
    ("data_type", "values", "held"),
    [
        ("text", [5, "a", True], ["5", "a", "True"]),
        ("bigint", ["5", 1.0, 2], [5, 1, 2]),
        ("double", ["0.5", 2**53 + 1], [0.5, 2.0**53]),
    ],
)
def test_without_exactness_values_become_what_dlt_makes(
    data_type: str, values: list[Any], held: list[Any]
) -> None:
    columns = {"n": {"data_type": data_type}}
    table = typed([{"n": value} for value in values], columns, exact=False)
    assert cells(table) == {"n": dict(enumerate(held))}
    assert not table.schema_evolving_rows


@pytest.mark.parametrize("exact", [True, False])
def test_integers_of_more_than_64_bits_go_to_a_variant(exact: bool) -> None:
    table = typed([{"n": 1}, {"n": 2**63}, {"n": -(2**63)}], exact=exact)
    found = cells(table)
    assert found.pop("n") == {0: 1, 2: -(2**63)}
    ((name, rest),) = found.items()
    assert (name, {row: int(value) for row, value in rest.items()}) == ("n__v_wei", {1: 2**63})


def test_objects_in_a_json_column_are_text() -> None:
    columns = {"doc": {"data_type": "json"}}
    rows = [{"doc": {"b": [1, None]}}, {"doc": None}, {"doc": ["é"]}]
    assert cells(typed(rows, columns)) == {"doc": {0: '{"b":[1,null]}', 2: '["é"]'}}


def test_a_variant_and_a_key_of_one_name_are_left_to_dlt() -> None:
    with pytest.raises(NotVectorizableError, match="n__v_text"):
        typed([{"n": 1, "n__v_text": "x"}, {"n": "y"}])


def test_a_text_longer_than_its_column_is_not_cut() -> None:
    columns = {"n": {"data_type": "text", "precision": 3}}
    assert cells(typed([{"n": "abc"}, {"n": "äöü"}], columns)) == {"n": {0: "abc", 1: "äöü"}}
    with pytest.raises(ValueError, match="3"):
        typed([{"n": "abc"}, {"n": "abcd"}], columns)
