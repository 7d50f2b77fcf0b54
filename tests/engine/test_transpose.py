"""Rows to columns: nothing is lost, and keys come in the order of their first appearance."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from millstream.engine.transpose import split

values = st.none() | st.integers(0, 3)
few_keys = st.dictionaries(st.sampled_from("abc"), values)
many_keys = st.dictionaries(st.sampled_from("abcdefghijklmnopqrst"), values, max_size=3)
rows = st.lists(few_keys, min_size=1, max_size=6) | st.lists(many_keys, min_size=1, max_size=30)


@given(rows)
@example([{"a": 1, "b": 2}, {"b": 3, "a": 4}])  # the same keys in another order
@example([{"a": 1}, {"b": 2}])  # as many keys, but others
@example([{}, {}])
def test_columns_hold_each_cell_once(rows: list[dict[str, Any]]) -> None:
    expected: dict[str, list[tuple[int, Any]]] = {}
    for number, row in enumerate(rows):
        for key, value in row.items():
            expected.setdefault(key, []).append((number, value))

    found = {
        key: list(zip(range(len(rows)) if positions is None else positions, column))
        for key, column, positions in split(rows)
    }

    assert found == expected
    assert list(found) == list(expected)


@given(rows)
def test_positions_are_given_only_where_a_key_is_missing(rows: list[dict[str, Any]]) -> None:
    for key, column, positions in split(rows):
        assert (positions is None) == all(key in row for row in rows)
        assert len(column) == sum(key in row for row in rows)


@pytest.mark.parametrize("rows", [[{"a": 1}] * 3, [{"a": None}, {"b": 0}], [{"a": 1}, {}]])
def test_rows_stay_as_they_are(rows: list[dict[str, Any]]) -> None:
    before = [dict(row) for row in rows]
    list(split(rows))
    assert rows == before
