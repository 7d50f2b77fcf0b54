"""The first line of load files for PostgreSQL's COPY; `engine.copy_writer` says what follows.

It tells them from other CSV files, which dlt loads by rules of its own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import IO

CAPABILITY = "millstream_loads_copy_files"
"""Attribute of a destination's capabilities: whoever writes for it may write such files."""

NUL_SIGN = "\N{SYMBOL FOR NULL}"
"""What stands for U+0000, which PostgreSQL's texts do not hold."""

_MARK = b"#millstream "


def header(columns: Sequence[str]) -> bytes:
    """The line for a file with these columns."""
    return _MARK + json.dumps({"form": "copy", "columns": [*columns]}).encode() + b"\n"


def columns(file: IO[bytes]) -> list[str] | None:
    """The columns of an open file, which is read up to its rows; None of any other file."""
    if file.read(len(_MARK)) != _MARK:
        return None
    found = json.loads(file.readline())
    return list(found["columns"]) if found.get("form") == "copy" else None
