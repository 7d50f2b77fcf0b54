"""Files that are one JSON document: read whole, checked, and cut into pages of rows."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

from millstream.errors import SourceDataError
from millstream.formats import duplicate_keys
from millstream.quarantine import envelope
from millstream.sources import json_array, json_lines

# What is read whole must fit into memory, however small its compressed form is.
LARGEST_DOCUMENT = 512 << 20
_BLOCK = 8 << 20
_ROWS = 1000
# enough digits that orjson may have to round
_LONG_INTEGER = re.compile(rb"\d{19}")


# how a document begins that is spread over lines; no line of JSON lines looks like this
_FIRST_LINE = re.compile(rb"\s*(\[|\{|\[\s*\{)[ \t\r]*\n")


def is_spread(head: bytes) -> bool:
    """Whether a file begins like one document over many lines, and not like JSON lines."""
    return _FIRST_LINE.match(head) is not None


def read(
    path: str, file: Any, *, quarantine_enabled: bool, may_be_lines: bool = False
) -> Iterator[list[Any]]:
    """A file that is one JSON value: the items of a list, or the one row that it is.

    Args:
        quarantine_enabled: whether an item of a list that is not JSON, or has a duplicate key, goes
            to quarantine.
        may_be_lines: whether nobody said that this is one document: if it is not, and a line of it
            is an object, it is read as JSON lines.

    Raises:
        SourceDataError: it is not JSON or too large, or a row can't be quarantined.
    """
    import orjson

    from millstream.formats import typed_json

    text = _whole(path, file.read)
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        try:
            items = list(json_array.items(text))
        except ValueError as broken:
            if may_be_lines and _is_lines(text):
                for each in json_lines.read(
                    path, BytesIO(text), 1, quarantine_enabled=quarantine_enabled
                ):
                    yield from _pages([orjson.Fragment(row) for row in each.each()])
                return
            why = f" ({broken})" if text.lstrip().startswith(b"[") else ""
            raise SourceDataError(
                f"{path}, line {error.lineno}: not JSON: {error.msg}{why}",
                hint="correct the file; nothing of this run was loaded. If each line is a row, set "
                "`format: jsonl`",
            ) from None
        yield from _pages(_item_by_item(path, items, quarantine_enabled=quarantine_enabled))
        return
    rows = found if isinstance(found, list) else [found]
    if _LONG_INTEGER.search(text):
        # orjson rounds integers beyond 64 bits; Python keeps them, and they travel as text
        try:
            found = json.loads(text)
            rows = found if isinstance(found, list) else [found]
            rows = [orjson.Fragment(typed_json.dumps(row)) for row in rows]
        except (RecursionError, ValueError) as error:  # more digits than Python converts
            raise SourceDataError(
                f"{path}: can't be read: {error}",
                hint="correct the file; nothing of this run was loaded",
            ) from None
    if duplicate_keys.lost(text, found):
        rows = list(_told_apart(path, text.decode(), rows, quarantine_enabled=quarantine_enabled))
    yield from _pages(rows)


def _pages(rows: list[Any]) -> Iterator[list[Any]]:
    for start in range(0, len(rows), _ROWS):
        yield rows[start : start + _ROWS]


def _item_by_item(path: str, items: list[bytes], *, quarantine_enabled: bool) -> list[Any]:
    """The rows of a list, of which some are not JSON."""
    import orjson

    rows, first, faults = [], "", 0
    for number, item in enumerate(items, 1):
        what, row = json_lines.fault(item)
        where = f"{path}, row {number}"
        if what is not None:
            if not quarantine_enabled:
                raise SourceDataError(
                    f"{where}: {what}",
                    hint="correct the file; nothing of this run was loaded",
                )
            first, faults = first or f"{where}: {what}", faults + 1
            row = orjson.Fragment(json_lines.in_envelope(item, what, where))
        elif _LONG_INTEGER.search(item):
            row = orjson.Fragment(json.dumps(json.loads(item)).encode())
        rows.append(row)
    if faults == len(rows):
        raise SourceDataError(
            f"{first}; nothing in this file can be read",
            hint="correct the file, or name its `encoding`; nothing of this run was loaded",
        )
    return rows


def _is_lines(text: bytes) -> bool:
    """Whether one of the first two lines of several is an object."""
    lines = [line for line in text[:_BLOCK].split(b"\n", 20) if line.strip()]
    return len(lines) > 1 and any(
        line.lstrip().startswith(b"{") and json_lines.fault(line)[0] is None for line in lines[:2]
    )


def _whole(path: str, read: Callable[[int], bytes]) -> bytes:
    pieces, size = [], 0
    while piece := read(_BLOCK):
        size += len(piece)
        if size > LARGEST_DOCUMENT:
            raise SourceDataError(
                f"{path}: more than {LARGEST_DOCUMENT >> 20} MB of JSON in one document, which is "
                "read whole",
                hint="write it as JSON lines, one row a line, which is read in blocks",
            )
        pieces.append(piece)
    return b"".join(pieces)


def _told_apart(
    path: str, text: str, rows: list[Any], *, quarantine_enabled: bool
) -> Iterator[Any]:
    """The rows; in an envelope those that have a key twice, of which one would be lost."""
    written = duplicate_keys.rows(text if text.lstrip().startswith("[") else f"[{text}]")
    for number, (row, (each, key)) in enumerate(zip(rows, written), 1):
        if key is None:
            yield row
            continue
        where, what = f"{path}, row {number}", duplicate_keys.describe(key)
        if not quarantine_enabled:
            raise SourceDataError(
                f"{where}: {what}",
                hint="take one of them out; nothing of this run was loaded",
            )
        yield envelope.unreadable(each, detail=what, origin=where)
