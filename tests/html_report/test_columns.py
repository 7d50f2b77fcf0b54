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
