"""Files of JSON lines: in blocks, handed on as bytes.

A block is checked without a Python object per line, some ahead of others. Where it holds anything
out of the ordinary it is looked at line by line, by orjson, which decides what is JSON. Keys that
an object has twice are found there, too; in other blocks the engine finds them, which reads the
rows anyway. Where what is not JSON goes to quarantine, the check itself is left to the engine.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from millstream.errors import SourceDataError
from millstream.formats import duplicate_keys, raw_part
from millstream.quarantine import envelope
from millstream.sources import file_content, json_array
from millstream.sources.file_content import BOM

BLOCK = 4 << 20
PART_BYTES = 256 << 20
# What is read whole must fit into memory, however small its compressed form is.
LONGEST_LINE = 256 << 20

# escaped surrogates, control characters in texts, NaN, Infinity, Inf, integers beyond a double's
# range: orjson is strict about them
_ODD = r"\\u[dD]|NaN|Infinity|[:\[,]\s*-?Inf\s*[,\]}]|\x00|\d{309}"


@dataclass(frozen=True, slots=True)
class Rows:
    """n rows of JSON in UTF-8, each on a line, which ends with a newline."""

    text: bytes
    count: int
    start: int = 1
    """The number of the first line in its file."""

    def lines(self, path: str) -> Iterator[bytes]:
        """As one line, a JSON list, behind one that says where the rows were."""
        yield envelope.place(path, self.start)
        yield b"".join((b"[", memoryview(self.text.replace(b"\n", b","))[:-1], b"]\n"))

    def block(self) -> Iterator[bytes]:
        """The same for the engine, as it is."""
        return raw_part.Block(self.text, self.count, self.start).written()

    def typed(self) -> Rows:
        """The same as dlt keeps what it extracts, in typed JSON."""
        from millstream.formats import typed_json

        return replace(self, text=typed_json.escape_json(self.text))

    def each(self) -> list[bytes]:
        """The rows as typed JSON."""
        return self.typed().text.split(b"\n")[:-1]


_Check = Callable[[bytes], Rows | None]
"""Says what a block holds; None where it must be looked at line by line."""


@dataclass(frozen=True, slots=True)
class Part:
    """A file of lines as dlt keeps what it extracted."""

    path: Path
    rows: int


def read(
    path: str,
    file: Any,
    parallel: int,
    *,
    quarantine_enabled: bool = False,
    check: _Check | None = None,
) -> Iterator[Rows]:
    """A file of JSON lines, checked some blocks ahead while earlier ones are handed on.

    Args:
        quarantine_enabled: whether a line that is not JSON goes to quarantine.
        check: `plain`, unless it says otherwise.

    Raises:
        SourceDataError: a line is not JSON, and is not to be quarantined; or is too long; or no
            line of the file is JSON.
    """
    with ThreadPoolExecutor(parallel, "millstream-files") as pool:
        ahead: deque[tuple[bytes, Future[Rows | None]]] = deque()
        number = 0
        is_readable, first_fault = False, ""

        def take() -> Rows:
            nonlocal number, is_readable, first_fault
            block, checked = ahead.popleft()
            rows = checked.result()
            if rows is not None and not is_readable:
                # the engine has yet to read it: one line that is JSON is enough here
                is_readable = _is_json(rows.text[: rows.text.index(b"\n")])
                if not is_readable:
                    rows = None
            if rows is not None:
                rows, lines = replace(rows, start=number + 1), rows.count
            else:
                rows, lines, faults = _each(
                    path, block, number, quarantine_enabled=quarantine_enabled
                )
                is_readable = is_readable or rows.count > len(faults)
                first_fault = first_fault or next(iter(faults), "")
            number += lines
            return rows

        for block in blocks(path, file.read):
            ahead.append((block, pool.submit(check or plain, block)))
            if len(ahead) > parallel:
                yield take()
        while ahead:
            yield take()
        if first_fault and not is_readable:
            raise SourceDataError(
                f"{first_fault}; nothing in this file can be read",
                hint="correct the file, name its `format` or `encoding`, or take it out; nothing "
                "of this run was loaded",
            )


def parts(
    path: str, file: Any, parallel: int, folder: Path, *, quarantine_enabled: bool
) -> Iterator[Part]:
    """A file's rows in files of about `PART_BYTES`; each is gone when the next is asked for.

    Args:
        quarantine_enabled: whether a line that is not JSON goes to quarantine: then parts are for
            the engine alone, which has to parse them anyway and finds such lines.

    Raises:
        SourceDataError: a line is not JSON, and is not to be quarantined; or is too long.
    """
    head = (
        raw_part.Header(__name__, {"path": path}, form="lines").line()
        if quarantine_enabled
        else b""
    )
    check = _objects if quarantine_enabled else plain
    rows = read(path, file, parallel, quarantine_enabled=quarantine_enabled, check=check)
    folder.mkdir(parents=True, exist_ok=True)
    more = True
    while more:
        count, size, more = 0, 0, False
        # a name of its own: dlt takes a part by hard link, and what it took must not be written to
        part = folder / uuid4().hex
        try:
            # written in a thread, while this one reads: what is read may hang, a disk hardly does
            with part.open("xb") as made, ThreadPoolExecutor(1, "millstream-parts") as pool:
                writing = pool.submit(made.writelines, [head])
                for each in rows:
                    if each.count:
                        writing.result()
                        writing = pool.submit(
                            made.writelines, each.block() if head else each.typed().lines(path)
                        )
                        count += each.count
                        size += len(each.text)
                    if size >= PART_BYTES:
                        more = True
                        break
                writing.result()
            if count:
                yield Part(part, count)
        finally:
            part.unlink(missing_ok=True)


def blocks(path: str, read: Callable[[int], bytes]) -> Iterator[bytes]:
    """The file in blocks of whole lines, each ending with a newline."""
    rest: list[bytes] = []
    while piece := read(BLOCK):
        end = piece.rfind(b"\n") + 1
        if not end:
            rest.append(piece)
            if sum(map(len, rest)) > LONGEST_LINE:
                raise SourceDataError(
                    f"{path}: a line of more than {LONGEST_LINE >> 20} MB",
                    hint="is it JSON lines? One document in a file needs `format: json`",
                )
            continue
        yield b"".join((*rest, memoryview(piece)[:end]))
        rest = [piece[end:]]
    if last := b"".join(rest):
        yield last + b"\n"


def plain(block: bytes) -> Rows | None:
    """A block of JSON objects, one a line, in UTF-8; None where it must be looked at closely.

    Runs beside other Python code: nothing that takes long here needs the interpreter's lock.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import json as arrow_json

    rows = _objects(block)
    if rows is None:
        return None
    block = rows.text
    if not block.isascii():
        try:
            block.decode()
        except UnicodeDecodeError:
            return None
    buffer = pa.py_buffer(block)
    bounds = pa.py_buffer(np.array([0, len(block)], np.int64))
    text = pa.Array.from_buffers(pa.large_binary(), 1, [None, bounds, buffer])
    if pc.match_substring_regex(text, _ODD)[0].as_py():
        return None
    try:
        found = arrow_json.read_json(
            pa.BufferReader(buffer),
            read_options=arrow_json.ReadOptions(use_threads=False, block_size=len(block) + 64),
            parse_options=arrow_json.ParseOptions(
                explicit_schema=pa.schema([]), unexpected_field_behavior="ignore"
            ),
        )
    except pa.ArrowInvalid:
        return None
    # as many objects as lines: one object a line
    return rows if found.num_rows == rows.count else None


def listed(settings: Mapping[str, Any]) -> raw_part.LineReader:
    """What the engine asks of lines that it can't read into columns as they are."""
    path = str(settings["path"])

    def lines(block: raw_part.Block) -> Iterator[bytes]:
        rows = plain(block.text)
        if rows is None:
            rows, _, _ = _each(path, block.text, block.start - 1, quarantine_enabled=True)
        if rows.count:
            yield from replace(rows, start=block.start).lines(path)

    return lines


def _objects(block: bytes) -> Rows | None:
    """A block whose lines begin and end like objects; None where there are others."""
    if b"\r" in block:
        block = block.replace(b"\r\n", b"\n")
    count = raw_part.objects(block)
    return None if count is None else Rows(block, count)


def _is_json(line: bytes) -> bool:
    import orjson

    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return True


def _each(
    path: str, block: bytes, before: int, *, quarantine_enabled: bool
) -> tuple[Rows, int, Sequence[str]]:
    """The rows of a block line by line, its lines, and what is wrong with some.

    What is not JSON is a row in an envelope. The items of a list of objects are rows.
    """
    rows: list[bytes] = []
    faults: list[str] = []

    def add(row: bytes, where: str) -> None:
        what, found = fault(row)
        if what is None:
            if type(found) is list and all(type(item) is dict for item in found):
                rows.extend(json_array.items(row))
            else:
                rows.append(row)
            return
        try:
            parts = list(json_array.items(row)) if row.startswith(b"[") else []
        except ValueError:
            parts = []
        if parts and all(part.startswith(b"{") for part in parts):
            for number, part in enumerate(parts, 1):
                add(part, f"{where}, item {number}")
            return
        if not quarantine_enabled:
            raise SourceDataError(
                f"{where}: {what}",
                hint="correct the line, or take it out; nothing of this run was loaded",
            ) from None
        faults.append(f"{where}: {what}")
        rows.append(in_envelope(row, what, where))

    lines = block.split(b"\n")[:-1]
    for number, line in enumerate(lines, before + 1):
        if row := row_of(line):
            add(row, f"{path}, line {number}")
    return Rows(b"".join(row + b"\n" for row in rows), len(rows), before + 1), len(lines), faults


def row_of(line: bytes) -> bytes:
    """A line without what is around its row: blanks, and the mark that a joined file brings."""
    return line.strip().removeprefix(BOM).lstrip()


def read_line(path: str, number: int, line: bytes) -> Rows:
    """The rows of one line of a file; in an envelope what is not JSON."""
    return _each(path, line + b"\n", number - 1, quarantine_enabled=True)[0]


def fault(row: bytes) -> tuple[str | None, Any]:
    """What is wrong with the JSON of a row, in words that do not quote it, and what it means."""
    import orjson

    try:
        found = orjson.loads(row)
    except orjson.JSONDecodeError as error:
        try:
            row.decode()
        except UnicodeDecodeError as wrong:
            byte, encoding = row[wrong.start], file_content.guess(row)
            return (
                f"not JSON: the byte 0x{byte:02x} is not UTF-8; if the file is {encoding}, set "
                f"`encoding: {encoding}`",
                None,
            )
        return f"not JSON: {error.msg} (column {error.colno})", None
    if duplicate_keys.lost(row, found):
        return duplicate_keys.describe(duplicate_keys.twice(row)), found
    return None, found


def in_envelope(row: bytes, what: str, where: str) -> bytes:
    """A row that can't be read, as one that goes to quarantine."""
    import orjson

    # a byte that is no UTF-8 is shown as such, `\xff`
    text = row.decode("utf-8", "backslashreplace")
    return orjson.dumps(envelope.unreadable(text, detail=what, origin=where))
