"""What is no row travels through extracted files, and is told from rows."""

from __future__ import annotations

import json
from typing import Any

import pytest
from dlt.common.json import json as typed
from hypothesis import example, given
from hypothesis import strategies as st

from millstream.quarantine import envelope


@given(st.text(), st.integers(0, 10**12))
@example('a"},"line":1}}]\n', 2)
@example("\\", 0)
def test_a_place_is_read_as_it_was_written(path: str, line: int) -> None:
    text = envelope.place(path, line)
    assert envelope.placed(text) == (path, line)
    assert envelope.MARK in text
    (inside,) = json.loads(text)  # to dlt it is a line like any other
    assert inside[envelope.KEY] == {"place": path, "line": line}


@pytest.mark.parametrize(
    "line",
    [
        b'[{"a":1}]\n',
        b"",
        envelope.place("a", 1)[:-1],
        envelope.place("a", 1) + b"\n",
        b" " + envelope.place("a", 1),
        b'[{"_millstream_quarantine":{"place":"a","line":1}},{"b":2}]\n',
    ],
)
def test_no_other_line_is_taken_for_a_place(line: bytes) -> None:
    assert envelope.placed(line) is None


@given(st.dictionaries(st.text(max_size=3), st.integers(0, 9) | st.text(), max_size=3))
def test_envelopes_are_told_from_rows(row: dict[str, Any]) -> None:
    assert not envelope.is_one(row)
    assert not envelope.is_one([row])
    assert not envelope.is_one({envelope.KEY: "a row's own value", **row})
    entry = {"id": "e1", **row}
    for item in (
        envelope.unreadable("{", detail="not JSON", origin="a.jsonl:1"),
        envelope.refused(row, detail="`id`: more than 64 bits", path="id"),
        envelope.replay(entry, row),
        envelope.superseded(entry),
    ):
        assert envelope.is_one(item)
        assert envelope.MARK in typed.typed_dumpb(item)


def test_an_envelope_holds_what_it_was_made_of() -> None:
    entry = {"id": "e1", "attempts": 2}
    replayed = envelope.replay(entry, {"a": [1]})
    assert replayed == {envelope.KEY: {"replay": entry}, "row": {"a": [1]}}
    entry["attempts"] = 9
    assert replayed[envelope.KEY]["replay"]["attempts"] == 2
    assert envelope.unreadable("{", detail="not JSON", origin="a:1")[envelope.KEY] == {
        "unreadable": "not JSON", "text": "{", "origin": "a:1",
    }  # fmt: skip
