"""Blocks of lines: written and read back, cut in two, left in their file; what damaged ones are."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from millstream import handover
from millstream.errors import SourceDataError
from millstream.handover import Block, Header, Origin, blocks, header

BLOCKS = [Block(b'{"a":1}\n{"a":2}\n', 2, 1), Block(b'{"a":"\xc3\xa9"}\n', 1, 3)]


def written() -> bytes:
    return b"".join(piece for block in BLOCKS for piece in block.written())


def test_blocks_come_back_as_they_were() -> None:
    assert list(blocks(io.BytesIO(written()))) == BLOCKS


@pytest.mark.parametrize("end", [1, 5, len(written()) - 1, len(written()) - 12])
def test_a_damaged_file_is_told(end: int) -> None:
    with pytest.raises(SourceDataError, match="damaged") as caught:
        list(blocks(io.BytesIO(written()[:end])))
    assert "--full-refresh" in str(caught.value.hint)


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


@pytest.fixture
def origin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Origin:
    """A file at rest that holds the blocks' texts, end to end."""
    monkeypatch.setattr(handover, "_QUIET", -1.0)
    file = tmp_path / "a.jsonl"
    file.write_bytes(b"".join(block.text for block in BLOCKS))
    found = Origin.of(str(file))
    assert found is not None
    return found


def referring() -> io.BytesIO:
    """A part whose second block stands in the file."""
    first, second = BLOCKS
    return io.BytesIO(b"".join([*first.written(), *second.written(len(first.text))]))


def test_blocks_that_stand_in_a_file_come_from_there(origin: Origin) -> None:
    assert list(blocks(referring(), origin)) == BLOCKS
    assert b"\xc3" not in referring().getvalue()
    line = Header("r", form="lines", origin=origin).line()
    assert header(line).origin == origin


def overwritten(path: Path) -> None:
    """The same size, and a time of change as it was."""
    before = path.stat()
    with path.open("r+b") as file:
        file.write(b"#")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replaced(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    other.replace(path)


CHANGES: list[Callable[[Path], object]] = [
    overwritten,
    replaced,
    lambda path: path.write_bytes(path.read_bytes() + b'{"a":9}\n'),
    lambda path: os.truncate(path, 3),
    lambda path: path.write_bytes(b""),
    Path.unlink,
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changed_is_told(origin: Origin, change: Callable[[Path], object]) -> None:
    """Before the first block, and after any: what was taken meanwhile is not to be trusted."""
    assert origin.stands()
    reading = blocks(referring(), origin)
    next(reading)
    change(Path(origin.path))
    assert not origin.stands()
    for each in (reading, blocks(referring(), origin)):
        with pytest.raises(SourceDataError, match=r"a\.jsonl has changed while it was loaded"):
            list(each)


def test_a_part_that_refers_to_no_file_is_damaged() -> None:
    with pytest.raises(SourceDataError, match="damaged"):
        list(blocks(referring()))


def test_only_a_file_at_rest_is_referred_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.jsonl"
    assert Origin.of(str(file)) is None
    file.write_bytes(b"")
    os.utime(file, (1, 1))  # a copy keeps the time of its original
    assert Origin.of(str(file)) is None
    later = file.stat().st_ctime + handover._QUIET + 1
    monkeypatch.setattr(handover.time, "time", lambda: later)
    assert Origin.of(str(file)) is not None
