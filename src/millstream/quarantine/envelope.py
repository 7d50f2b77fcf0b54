"""How something that is no plain row travels through an extracted file to the normalizer.

    {"_millstream_quarantine": {"unreadable": "...", "text": "...", "origin": "..."}}
    {"_millstream_quarantine": {"refused": "...", "path": "...", "origin": "..."}, "row": {...}}
    {"_millstream_quarantine": {"replay": {ENTRY}}, "row": {...}}
    {"_millstream_quarantine": {"superseded": {ENTRY}}}
    {"_millstream_quarantine": {"superseded": {ENTRY}, "outcome": "read again"}}
    {"_millstream_quarantine": {"place": "a.jsonl", "line": 17}}

The last is no row, but says, alone in its line, where the rows of the next one were.

The extracted file is committed together with the cursor, so that what a source could not read is
neither lost nor quarantined twice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

KEY = "_millstream_quarantine"
READ_AGAIN = "read again"
"""What became of rows that waited, and are part of what the source was read for."""
ORIGIN = b"millstream.origin"
"""In the metadata of an Arrow table: the file that its rows come from."""
MARK = b'"_millstream_quarantine"'
"""In the text of every envelope, and hardly in any other."""
_PLACE = b'[{"_millstream_quarantine":{"place":'
_PLACED = re.compile(re.escape(_PLACE) + rb'("(?:[^"\\]|\\.)*"),"line":(\d+)}}\]\n')


def unreadable(text: str, *, detail: str, origin: str) -> dict[str, Any]:
    """For a text that is no row.

    Args:
        detail: what is wrong with it, in words that do not quote it.
        origin: where it was: a file and a line, a document's id.
    """
    return {KEY: {"unreadable": detail, "text": text, "origin": origin}}


def refused(row: Any, *, detail: str, path: str, origin: str = "") -> dict[str, Any]:
    """For a row that was read, and that its table would not give back.

    Args:
        detail: what is wrong with it, in words that do not quote it.
        path: the JSON path of the value that is wrong.
        origin: where it was, if that is known: a file, or a line of it.
    """
    return {KEY: {"refused": detail, "path": path, "origin": origin}, "row": row}


def replay(entry: Mapping[str, Any], row: Any) -> dict[str, Any]:
    """For a row that waited, to be loaded now."""
    return {KEY: {"replay": dict(entry)}, "row": row}


def superseded(entry: Mapping[str, Any]) -> dict[str, Any]:
    """For a row that waited, and that must not be loaded any more."""
    return {KEY: {"superseded": dict(entry)}}


def read_again(entry: Mapping[str, Any]) -> dict[str, Any]:
    """For a row that waited, and that its source hands over once more, as it is by now."""
    return {KEY: {"superseded": dict(entry), "outcome": READ_AGAIN}}


def place(path: str, line: int) -> bytes:
    """A line of an extracted file: the first row of the next was at this line of a file."""
    return _PLACE + json.dumps(path).encode() + b',"line":%d}}]\n' % line


def placed(line: bytes) -> tuple[str, int] | None:
    """What `place` wrote; None for any other line.

    >>> placed(place("a.jsonl", 17)), placed(b'[{"a": 1}]')
    (('a.jsonl', 17), None)
    """
    found = _PLACED.fullmatch(line)
    return (json.loads(found[1]), int(found[2])) if found else None


def is_one(item: Any) -> bool:
    return type(item) is dict and isinstance(item.get(KEY), dict)
