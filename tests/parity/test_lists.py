"""Lists of lists, which dlt puts under a key of their own, at every limit of nesting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.parity.harness import Case, compare


@pytest.mark.parametrize("nesting", [1, 2, 3, None])
@pytest.mark.parametrize("kept", [None, "list", "value"])
@pytest.mark.parametrize(
    "row", [{"a": [[1, 2], [3]]}, {"a": [[1, [2]], 3]}, {"a": [[[1]]]}, {"a": [{"b": [[1]]}]}]
)
def test_lists_of_lists(
    tmp_path: Path, nesting: int | None, kept: str | None, row: dict[str, Any]
) -> None:
    resource = {} if nesting is None else {"max_table_nesting": nesting}
    settings = {} if kept is None else {"preferred_types": {kept: "json"}}
    expected, _ = compare(Case([[[[row] * 3] * 3]], resource, settings), tmp_path)
    assert expected[0].error is None
    assert len(expected[0].tables["items"]) == 9


@pytest.mark.parametrize("values", [[1, 2], [{"x": 1}, {"x": 2}], [["a"], ["b"]]])
def test_two_keys_for_one_column(tmp_path: Path, values: list[Any]) -> None:
    first, second = ([{key: value}] for key, value in zip(("Foo", "foo"), values))
    lines = [first, first, second, second, first + second, second, first] * 3
    expected, _ = compare(Case([[lines], [lines]]), tmp_path)
    assert expected[0].error is None
