"""Values that another key of their row takes the place of, as dlt's normalizer comes upon them."""

from __future__ import annotations

import dlt

from millstream.engine.twins import Finder, Twins


def test_rows_that_are_no_objects_are_looked_at_too() -> None:
    finder = Finder(dlt.Schema("shop").data_item_normalizer)
    rows = [[{"Id": 1, "id": 2}], 5, None, [{"id": 3}], {"id": 4}]

    suspects = finder.suspects(rows)

    assert suspects == rows[:1]
    found = finder.count("orders", suspects)
    assert found == {Twins("orders__value", "column", "id", ("Id", "id")): 1}
