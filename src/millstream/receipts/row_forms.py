"""A kept row as Python has it, read another way than the engine reads it."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Mapping
from typing import Any, Literal

from millstream.receipts import bson_rows
from millstream.receipts.canonical import UnknownValueError

Form = Literal["json", "typed", "python", "bson"]
"""JSON as a file has it; JSON as dlt keeps what it extracts, of such a file; a pickled object; a
document of MongoDB's behind what its part says of it."""

_LONG_INTEGER = re.compile(rb"\d{19}")
_TEXT_MARK = "\uf02et"
_ENVELOPE = "_millstream_quarantine"


class UnreadableError(ValueError):
    """A row that goes to quarantine as it is."""


def row_of(form: Form, data: bytes) -> Any:
    """A row.

    Raises:
        UnreadableError: nobody can read it.
        UnknownValueError: it is loaded in a way that is not looked at here.
    """
    if form == "bson":
        return bson_rows.row_of(data)
    row = pickle.loads(data) if form == "python" else _parsed(data)  # noqa: S301 (our own)
    if form == "typed":
        row = _without_marks(row)
    if isinstance(row, Mapping) and isinstance(note := row.get(_ENVELOPE), Mapping):
        if "replay" in note:
            raise UnknownValueError("rows are replayed from quarantine")
        raise UnreadableError
    return row


def is_note(form: Form, data: bytes) -> bool:
    """Whether it is no row, but says what became of one that came before."""
    if form == "bson" or _ENVELOPE.encode() not in data:
        return False
    row = pickle.loads(data) if form == "python" else _parsed(data)  # noqa: S301 (our own)
    note = row.get(_ENVELOPE) if isinstance(row, Mapping) else None
    return isinstance(note, Mapping) and "superseded" in note


def _parsed(data: bytes) -> Any:
    import orjson

    try:
        # orjson makes floats of integers beyond 64 bits
        return json.loads(data) if _LONG_INTEGER.search(data) else orjson.loads(data)
    except ValueError:
        raise UnreadableError from None


def _without_marks(value: Any) -> Any:
    if isinstance(value, str):
        return value.removeprefix(_TEXT_MARK)
    if isinstance(value, dict):
        return {key: _without_marks(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_without_marks(each) for each in value]
    return value
