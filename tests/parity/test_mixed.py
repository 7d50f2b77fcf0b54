"""Columns of mixed type, where values are equal and yet become different ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.parity.harness import Case, compare

EQUAL = [1, True, 1.0, "1", 0, False, 0.0, -0.0, "0", "0.0", "True", 1e15, 10**15]


@pytest.mark.parametrize("first", ["x", 7, 1.5, True, {"a": 1}])
@pytest.mark.parametrize("kept", [None, "json"])
def test_equal_values_of_several_types(tmp_path: Path, first: Any, kept: str | None) -> None:
    values = [first, *EQUAL, *reversed(EQUAL), None, *EQUAL]
    lines = [[{"id": n, "a": value} for n, value in enumerate(values * 3)]]
    hints = {} if kept is None else {"columns": {"a": {"data_type": kept}}}
    expected, _ = compare(Case([[lines], [lines]], hints), tmp_path)
    assert expected[0].error is None


def test_too_large_an_integer_among_texts_that_dlt_refuses(tmp_path: Path) -> None:
    """dlt's load fails at the second text, before the integer would fail it: the decision holds."""
    lines = [[{"a": [3, 1e-07]}], [{"a": [1.7e308, "0001-01-01T00:00:00Z", ""]}]]
    settings = {"detections": ["iso_date", "large_integer"]}
    expected, found = compare(Case([[lines]], {}, settings), tmp_path)
    assert expected[0].error == "CannotCoerceColumnException"
    assert found[0].error is None
    texts = [row["value__v_text"] for row in found[0].tables["items__a"]]
    assert texts == [None, None, str(int(1.7e308)), "0001-01-01T00:00:00Z", ""]


def test_ids_that_the_data_brings_twice(tmp_path: Path) -> None:
    lines = [[{"_dlt_id": "x", "a": [1]}, {"_dlt_id": "x", "a": [2]}, {"a": [3]}]]
    expected, _ = compare(Case([[lines]]), tmp_path)
    assert [row["_dlt_id"] for row in expected[0].tables["items"]] == ["row 0", "row 0", "row 2"]
