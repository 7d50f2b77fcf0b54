"""Blocks read ahead: in their order, once each, and left alone for longer after each miss."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.dlt_rules import ROOT, rules_of
from millstream.engine.fast_path.json_reader import Direct
from millstream.engine.fast_path.row_shape import Field
from millstream.engine.fast_path.scheduler import Lane
from millstream.engine.schema_rules import NotVectorizableError
from millstream.formats.raw_part import Block

SHAPE = {"n": Field("n", "n", "value", null=True, ragged=True)}
DIRECT = Direct(ROOT, 0, SHAPE, rules_of({"n": {"data_type": "bigint"}}))


def block(number: int) -> Block:
    return Block(b'{"n":%d}\n' % number, 1)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 20])
@pytest.mark.parametrize("reads_ahead", [True, False])
def test_each_block_comes_once_in_order(count: int, reads_ahead: bool) -> None:
    lane = Lane(direct=DIRECT if reads_ahead else None)
    found = []
    for each in lane.ahead(map(block, range(count)), lambda text: True):
        (table,), raw = lane.read(DIRECT, each)
        assert table.arrays["n"][0].to_pylist() == raw["items.n"].to_pylist()
        found += table.arrays["n"][0].to_pylist()
    assert found == list(range(count))


def test_texts_that_do_not_fit_are_not_parsed_ahead() -> None:
    asked = []

    def fits(text: bytes) -> bool:
        asked.append(text)
        return False

    lane = Lane(direct=DIRECT)
    texts = [b"not JSON\n", b'{"n":1}\n']
    assert [b.text for b in lane.ahead([Block(text, 1) for text in texts], fits)] == texts
    assert asked == texts


def test_a_block_that_fails_does_so_where_it_is_read() -> None:
    lane = Lane(direct=DIRECT)
    blocks = [block(1), Block(b'{"x":1}\n', 1), block(3)]
    found: list[object] = []
    for each in lane.ahead(blocks, lambda text: True):
        try:
            found.append(lane.read(DIRECT, each)[0][0].arrays["n"][0].to_pylist())
        except NotVectorizableError:
            found.append("failed")
    assert found == [[1], "failed", [3]]


def test_an_error_of_the_file_is_raised() -> None:
    def blocks() -> Iterator[Block]:
        yield block(1)
        raise OSError("no such device")

    with pytest.raises(OSError, match="no such device"):
        list(Lane().ahead(blocks(), lambda text: True))


@given(st.lists(st.booleans(), max_size=300))
def test_misses_are_followed_by_ever_longer_pauses(hits: list[bool]) -> None:
    lane, pause, left = Lane(), 0, 0
    for hit in hits:
        is_open = lane.open()
        assert is_open == (left == 0)
        if not is_open:
            left -= 1
        elif hit:
            lane.hit()
            pause = 0
        else:
            lane.missed()
            left, pause = pause, min(2 * pause + 1, 64)
