"""The table of columns says what a load saw, and what of it is an estimate."""

from __future__ import annotations

from millstream.engine.sketch import SIZE
from millstream.html_report import columns
from millstream.model import Column, ColumnProfile, Table


def test_many_distinct_values_are_about_so_many() -> None:
    counted = ColumnProfile(1200, 1200, 0, distinct=SIZE - 1)
    estimated = ColumnProfile(1200, 1200, 0, distinct=1150)
    page = columns.table(
        Table(
            "t",
            None,
            (Column("a", "text", profile=counted), Column("b", "text", profile=estimated)),
        ),
        [],
        unfolded=True,
    )
    assert f">{SIZE - 1}<" in page
    assert ">about 1,150<" in page


def test_of_the_place_in_a_list_no_figures_are_shown() -> None:
    """Lists are counted there, and the rows that hold them, not values."""
    lists = ColumnProfile(1200, 300, 0, distinct=300)
    place = Table("t__tags", "t", (Column("_dlt_list_idx", "bigint", False, profile=lists),))
    page = columns.table(place, [{("t__tags", "_dlt_list_idx"): 0.25}] * 2, unfolded=True)
    assert "25%" not in page
    assert ">300<" not in page
    assert "1,200 rows in the newest load" in page
