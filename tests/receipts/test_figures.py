"""Checksums and the sketch that names rows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from millstream.receipts.figures import Sketch

ROWS = st.tuples(st.integers(1, 2**64 - 1), st.integers(0, 2**64 - 1))


@given(
    st.lists(ROWS, unique=True, max_size=300),
    st.lists(ROWS, unique=True, max_size=20),
    st.lists(ROWS, unique=True, max_size=20),
)
def test_a_sketch_names_what_two_sides_do_not_share(
    both: list[tuple[int, int]], ours: list[tuple[int, int]], theirs: list[tuple[int, int]]
) -> None:
    here, there = Sketch(), Sketch()
    for key, total in [*both, *ours]:
        here.add(key, total)
    for key, total in [*reversed(theirs), *reversed(both)]:
        there.add(key, total)
    mine, others, complete = here.without(there)
    shared = {*ours} & {*theirs}
    if complete:
        assert {*mine} == {*ours} - shared
        assert {*others} == {*theirs} - shared
    else:  # two rows may share all of their cells: none is named wrongly then
        assert {*mine} <= {*ours}
        assert {*others} <= {*theirs}


def test_a_hundred_rows_are_named() -> None:
    here, there = Sketch(), Sketch()
    for number in range(100):
        here.add(number + 1, number * 7919 + 1)
    mine, others, complete = here.without(there)
    assert (len(mine), others, complete) == (100, [], True)
