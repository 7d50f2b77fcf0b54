"""Files that are one JSON document: read whole, checked, and cut into pages of rows."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from millstream import json_keys
from millstream.errors import SourceDataError
from millstream.quarantine import envelope

# What is read whole must fit into memory, however small its compressed form is.
LARGEST_DOCUMENT = 512 << 20
_BLOCK = 8 << 20
_ROWS = 1000
# enough digits that orjson may have to round
_LONG_INTEGER = re.compile(rb"\d{19}")


def read(path: str, file: Any, *, sets_aside: bool) -> Iterator[list[Any]]:
    """A file that is one JSON value: the items of a list, or the one row that it is.

    Args:
        sets_aside: whether a row that has a key twice goes to quarantine.

    Raises:
        SourceDataError: it is no JSON or too large, or a row can't be put aside.
    """
    import orjson

    text = _whole(path, file.read)
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise SourceDataError(
            f"{path}, line {error.lineno}: not JSON: {error.msg}",
            hint="correct the file; nothing of this run was loaded",
        ) from None
    rows = found if isinstance(found, list) else [found]
    if _LONG_INTEGER.search(text):
        # orjson rounds integers beyond 64 bits; Python keeps them, and they travel as text
        try:
            found = json.loads(text)
            rows = found if isinstance(found, list) else [found]
            rows = [orjson.Fragment(json.dumps(row).encode()) for row in rows]
        except (RecursionError, ValueError) as error:  # more digits than Python converts
            raise SourceDataError(
                f"{path}: can't be read: {error}",
                hint="correct the file; nothing of this run was loaded",
            ) from None
    if json_keys.lost(text, found):
        rows = list(_told_apart(path, text.decode(), rows, sets_aside=sets_aside))
    for start in range(0, len(rows), _ROWS):
        yield rows[start : start + _ROWS]


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


def _told_apart(path: str, text: str, rows: list[Any], *, sets_aside: bool) -> Iterator[Any]:
    """The rows; in an envelope those that have a key twice, of which one would be lost."""
    written = json_keys.rows(text if text.lstrip().startswith("[") else f"[{text}]")
    for number, (row, (each, key)) in enumerate(zip(rows, written), 1):
        if key is None:
            yield row
            continue
        where, what = f"{path}, row {number}", json_keys.told(key)
        if not sets_aside:
            raise SourceDataError(
                f"{where}: {what}",
                hint="take one of them out; nothing of this run was loaded",
            )
        yield envelope.unreadable(each, detail=what, origin=where)
