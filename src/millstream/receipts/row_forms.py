"""A kept row as Python has it, read another way than the engine reads it."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Mapping
from typing import Any, Literal

from millstream.receipts import bson_rows

Form = Literal["json", "typed", "python", "columns", "bson"]
"""JSON as a file has it; JSON as dlt keeps what it extracts, of such a file; a pickled object; one
that was a row of an Arrow table; a document of MongoDB's behind what its part says of it."""

_LONG_INTEGER = re.compile(rb"\d{19}")
_MARK = "\uf02e"
_MARKED = {"b": b"", **{f"f{each}": float(each) for each in ("NaN", "Infinity", "-Infinity")}}
_ENVELOPE = "_millstream_quarantine"


class Pickler(pickle.Pickler):
    """Writes rows, with what JSON of theirs is left undecoded."""

    def reducer_override(self, value: Any) -> Any:
        if type(value).__name__ != "Fragment":
            return NotImplemented
        import orjson

        return _fragment, (orjson.dumps(value),)


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
    row = _object(data) if form in ("python", "columns") else _parsed(data)
    if form == "typed":
        row = _without_marks(row)
    if form == "columns":
        return {key: _flat(value) for key, value in row.items()}
    if isinstance(row, Mapping) and isinstance(note := row.get(_ENVELOPE), Mapping):
        if "replay" in note:
            return row["row"]
        raise UnreadableError
    return row


def is_envelope(data: bytes) -> bool:
    """Whether a line may have something else than plain rows."""
    return _ENVELOPE.encode() in data


def is_note(form: Form, data: bytes) -> bool:
    """Whether it is no row, but says where rows were, or what became of one that came before."""
    if form not in ("python", "typed", "json") or not is_envelope(data):
        return False
    row = _object(data) if form == "python" else _parsed(data)
    note = row.get(_ENVELOPE) if isinstance(row, Mapping) else None
    return isinstance(note, Mapping) and ("superseded" in note or "place" in note)


def rows_of_line(data: bytes) -> list[Any]:
    """The rows on a line of a file as dlt keeps what it extracts: an array of them, or one.

    Texts have dlt's marks, which `typed` rows have too.
    """
    found = _parsed(data)
    return found if isinstance(found, list) else [found]


def typed(row: Any) -> tuple[Form, bytes]:
    """One of the rows of such a line."""
    return "python", pickle.dumps(_without_marks(row), 5)


def _parsed(data: bytes) -> Any:
    import orjson

    try:
        # orjson makes floats of integers beyond 64 bits
        return json.loads(data) if _LONG_INTEGER.search(data) else orjson.loads(data)
    except ValueError:
        raise UnreadableError from None


def _fragment(data: bytes) -> Any:
    return _without_marks(_parsed(data))


def _object(data: bytes) -> Any:
    return pickle.loads(data)  # noqa: S301 (written by this package, in its own folder)


def _flat(value: Any) -> Any:
    """A value of an Arrow column; what dlt makes of its lists and objects is not known here."""
    return bson_rows.Unplaced() if isinstance(value, dict | list) else value


def _without_marks(value: Any) -> Any:
    from dlt.common.json import custom_pua_decode

    if isinstance(value, str):
        if not value.startswith(_MARK):
            return custom_pua_decode(value)
        if value[1:2] == "t":  # a text that looks like a mark
            return value[2:]
        return _MARKED.get(value[1:], value)
    if isinstance(value, dict):
        return {key: _without_marks(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_without_marks(each) for each in value]
    return value
