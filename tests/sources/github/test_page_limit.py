"""The rows behind the last page that GitHub shows: read another way, or reported."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .in_memory import row
from .test_incremental import Runs, at


def cut(stream: str, rows: list[dict[str, Any]], pages: int) -> Runs:
    runs = Runs(stream, rows)
    runs.lists.most_pages = pages
    return runs


@settings(max_examples=25)
@given(st.integers(1, 40), st.integers(2, 5), st.booleans())
def test_rows_with_a_time_of_change_are_all_read(count: int, pages: int, same_time: bool) -> None:
    rows = [row(n, at(n // 2 if same_time else n), state="open") for n in range(count)]
    found = cut("issues", rows, pages).run()
    assert sorted(found) == list(range(count))


@pytest.mark.parametrize(("count", "is_whole"), [(17, True), (32, True), (60, False)])
def test_a_list_in_two_orders_meets_in_the_middle(
    count: int, is_whole: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Nine rows from either end; else nine open and nine closed ones from either end."""
    rows = [row(n, at(n), state=("open", "closed")[n % 2]) for n in range(count)]
    found = cut("milestones", rows, 3).run()
    assert len(found) == len({*found})
    ends = {*range(18), *range(count - 18, count)}
    assert {*found} == ({*range(count)} if is_whole else ends)
    told = "repository a/b: not all milestones were read: open ones created between"
    assert (told in caplog.text) != is_whole


def test_a_list_of_one_order_tells_what_it_lacks(caplog: pytest.LogCaptureFixture) -> None:
    rows = [row(n, published_at=at(n)) for n in range(20)]
    assert cut("releases", rows, 2).run() == [*range(6)]
    assert (
        f"GitHub shows 6 of them, the earliest of {at(0)} and the latest of {at(5)}" in caplog.text
    )
