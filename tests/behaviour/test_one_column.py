"""Keys of one row that become one column or one table: dlt keeps the last, and we say so."""

from __future__ import annotations

from typing import Any

import pytest

from behaviour.conftest import Load
from services.places import Place

BOTH = ["duckdb", pytest.param("postgres", marks=pytest.mark.xdist_group("postgres"))]


@pytest.fixture(params=BOTH)
def place(request: pytest.FixtureRequest) -> Place:
    made: Place = request.getfixturevalue(f"{request.param}_place")
    return made


def others(count: int) -> list[dict[str, Any]]:
    """Rows of one kind before and after, as the engine likes them."""
    return [{"id": n, "who": {"Name": "ann"}, "books": [{"n": 1}]} for n in range(100, 100 + count)]


def test_values_that_another_key_takes_the_place_of_are_counted(place: Place, load: Load) -> None:
    report = load(
        [
            *others(40),
            {"id": 1, "who": {"Name": "ann", "name": "bob"}, "books": [{"N": 1, "n": 2}]},
            {"id": 2, "who": {"Name": "cy", "name": "di"}, "Who": {"name": "eve", "age": 3}},
            {"id": 3, "Books": [{"n": 1}, {"n": 2}], "books": [{"n": 3}]},
        ]
    )

    end = "and only the last one's value is kept; rename one of them at the source"
    assert sorted(report.warnings) == [
        f"orders: 1 list was lost: `Books` and `books` become the table `orders__books`, {end}",
        f"orders: 1 value was lost: `Who.name` and `who.Name` become the column `who__name`, {end}",
        f"orders: 2 values were lost: `who.Name` and `who.name` become the column `who__name`, "
        f"{end}",
        f"orders__books: 1 value was lost: `N` and `n` become the column `n`, {end}",
    ]
    assert place.column("orders", "who__name")[:2] == ["bob", "di"]
    assert place.count("orders__books") == 40 + 2


def test_nothing_is_said_where_nothing_is_lost(place: Place, load: Load) -> None:
    report = load(
        [
            *others(40),
            {"id": 1, "Id": 1, "who": {"Name": None, "name": "bob"}},  # the same, and no value
            {"id": 2, "who": {"name": "ann"}, "Who": {"age": 3}},  # two objects, put together
            {"id": 3, "WHO": {"name": "cy"}},  # in other rows than the other key
            {"id": 4, "Books": [], "books": [{"n": 3}]},
        ]
    )

    assert report.warnings == ()
    assert place.column("orders", "who__name", "id")[:3] == ["bob", "ann", "cy"]


def test_a_row_with_two_lists_for_one_table_is_quarantined(place: Place, load: Load) -> None:
    odd = {"id": 1, "books__pages": [{"n": 1}], "books": {"pages": [{"n": 2}, {"n": 3}]}}
    rows = [*others(3), odd, {"id": 2, "books__pages": [{"n": 4}]}]
    load(rows)

    assert place.column("_millstream_quarantine", "detail", "detail") == [
        "two lists of it make one table, and their items the same rows there; rename one of them "
        "at the source"
    ]
    assert place.column("orders", "id") == [2, 100, 101, 102]
    assert place.column("orders__books__pages", "n", "n") == [4]


@pytest.mark.nightly_on("postgres")
@pytest.mark.parametrize("count", [0, 40])
def test_lists_below_blank_keys_are_tables(place: Place, load: Load, count: int) -> None:
    odd = {"id": 1, "": [{"n": 1}, {" ": [5], "": 6}], "who": {"Name": "ann", "\t": ["a", "b"]}}
    assert load([*others(count), odd]).warnings == ()

    assert place.column("orders___empty", "n", "_dlt_list_idx") == [1, None]
    assert place.column("orders___empty", "_empty", "_dlt_list_idx") == [None, 6]
    assert place.column("orders___empty___empty", "value", "_dlt_list_idx") == [5]
    assert place.column("orders__who___empty", "value", "_dlt_list_idx") == ["a", "b"]
