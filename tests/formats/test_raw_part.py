"""Blocks of lines: written and read back, cut in two, and what a damaged file is."""

from __future__ import annotations

import io

import pytest

from millstream.errors import SourceDataError
from millstream.formats.raw_part import Block, Header, blocks, header

BLOCKS = [Block(b'{"a":1}\n{"a":2}\n', 2, 1), Block(b'{"a":"\xc3\xa9"}\n', 1, 3)]


def written() -> bytes:
    return b"".join(piece for block in BLOCKS for piece in block.written())


def test_blocks_come_back_as_they_were() -> None:
    assert list(blocks(io.BytesIO(written()))) == BLOCKS


@pytest.mark.parametrize("end", [1, 5, len(written()) - 1, len(written()) - 12])
def test_a_damaged_file_is_told(end: int) -> None:
    with pytest.raises(SourceDataError, match="damaged") as caught:
        list(blocks(io.BytesIO(written()[:end])))
    assert "millstream pending drop" in str(caught.value.hint)


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 9])
def test_a_block_is_cut_between_rows(rows: int) -> None:
    text = b'{"a":1}\n{"a":2}\n{"a":3}\n{"a":4}\n'
    first, others = Block(text, 4, 11).cut(rows)
    assert first.text + others.text == text
    assert first.rows == first.text.count(b"\n") == min(rows, 4)
    assert others.rows == others.text.count(b"\n")
    assert (first.start, others.start) == (11, 11 + min(rows, 4))


def test_a_header_of_before_is_of_bson() -> None:
    assert header(b'#millstream {"reader": "r", "settings": {}}\n').form == "bson"
    line = Header("r", {"path": "a.jsonl"}, form="lines").line()
    assert header(line) == Header("r", {"path": "a.jsonl"}, form="lines")


def test_a_reader_that_is_none_of_ours_is_refused() -> None:
    with pytest.raises(SourceDataError, match="'os'"):
        Header("os", form="lines").listed()
