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
