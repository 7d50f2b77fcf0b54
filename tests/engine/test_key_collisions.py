"""Values that another key of their row takes the place of, as dlt's normalizer comes upon them."""

from __future__ import annotations

from typing import Any

import dlt
import pytest

from millstream.engine.dlt.key_collisions import Collision, Finder


def test_rows_that_are_no_objects_are_looked_at_too() -> None:
    finder = Finder(dlt.Schema("shop").data_item_normalizer)
    rows = [[{"Id": 1, "id": 2}], 5, None, [{"id": 3}], {"id": 4}]

    suspects = finder.suspects(rows)

    assert suspects == rows[:1]
    found = finder.count("orders", suspects)
    assert found == {Collision("orders__value", "column", "id", ("Id", "id")): 1}


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"a__b": 1, "a": {"b": 2}}, Collision("t", "column", "a__b", ("a.b", "a__b"))),
        ({"B": [1], "b": [2]}, Collision("t", "table", "t__b", ("B", "b"))),
        ({"a__b": [1], "a": {"b": []}}, None),
        ({"a__b": 1, "a": {"c": 2}}, None),
    ],
)
def test_keys_with_two_underscores_meet_those_within(row: Any, expected: Collision | None) -> None:
    finder = Finder(dlt.Schema("shop").data_item_normalizer)
    found = finder.count("t", finder.suspects([row]))
    assert found == ({expected: 1} if expected else {})
