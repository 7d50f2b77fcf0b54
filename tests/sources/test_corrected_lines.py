"""A file whose quarantined lines were corrected: those are read, and no other line again."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from millstream.quarantine.store import Entry
from millstream.sources.corrected_lines import Correction, find, from_quarantine

PATH = "data/orders.jsonl"
good = st.integers(0, 99).map(lambda n: b'{"n": %d}' % n)
bad = st.sampled_from([b"{", b'{"n": nul}', b"text", b'{"a": 1}}'])


def entry(number: int, text: bytes, **fields: Any) -> Entry:
    first = {
        "origin": f"{PATH}, line {number}",
        "reason": "unreadable",
        "detail": "not JSON",
        "document": json.dumps(text.decode()),
        "load_id": "1.5",
        **{key: value for key, value in fields.items() if key not in ("status",)},
    }
    now = datetime(2024, 1, 1, tzinfo=timezone.utc)
    status = fields.get("status", "waiting")
    return Entry(f"e{number}", "orders", status, now, first, first)


def found(now: bytes, before: bytes, entries: list[Entry], path: str = PATH) -> Correction | None:
    @contextmanager
    def content() -> Iterator[Any]:
        yield io.BytesIO(now)

    with from_quarantine(lambda: entries):
        return find([path], content, sha256(before).hexdigest()[:32])


@settings(max_examples=50)
@given(
    st.lists(st.tuples(good, st.none() | bad), min_size=1, max_size=8),
    st.data(),
    st.sampled_from([b"\n", b"\r\n"]),
    st.booleans(),
)
def test_the_corrected_lines_are_found(
    lines: list[tuple[bytes, bytes | None]], data: st.DataObject, end: bytes, has_last_end: bool
) -> None:
    last = end if has_last_end else b""
    before = end.join(wrong or right for right, wrong in lines) + last
    assume(any(wrong for _, wrong in lines))
    entries = [entry(n, wrong) for n, (_, wrong) in enumerate(lines, 1) if wrong]
    corrected = {n for n, (_, wrong) in enumerate(lines, 1) if wrong and data.draw(st.booleans())}
    now = (
        end.join(
            right if n in corrected or not wrong else wrong
            for n, (right, wrong) in enumerate(lines, 1)
        )
        + last
    )

    correction = found(now, before, entries)

    assert correction is not None
    assert {line.number for line in correction.lines} == corrected
    for line in correction.lines:
        assert line.text.rstrip(b"\r") == lines[line.number - 1][0]
        assert line.entry.id == f"e{line.number}"
    assert correction.digest == sha256(now).hexdigest()[:32]
    # another change is none that quarantine explains
    assert found(now + end + b'{"more": 1}\n', before, entries) is None


BEFORE = b'{"n": 1}\n{\n{"n": 3}\n'
NOW = b'{"n": 1}\n{"n": 2}\n{"n": 3}\n'


@pytest.mark.parametrize(
    ("fields", "is_found"),
    [
        ({}, True),
        ({"status": "replayed"}, True),
        ({"status": "superseded"}, False),
        ({"reason": "policy"}, False),
        ({"origin": "an odd place"}, False),
        ({"origin": "elsewhere/orders.jsonl, line 2"}, True),  # the project was moved
        ({"origin": "data/others.jsonl, line 2"}, False),
        ({"document": '{"_millstream_cut": "{"}'}, False),  # a part of it was kept
        ({"origin": f"{PATH}, line 3"}, False),
    ],
)
def test_entries_that_explain_a_change(fields: dict[str, Any], is_found: bool) -> None:
    assert (found(NOW, BEFORE, [entry(2, b"{", **fields)]) is not None) == is_found


def test_the_latest_entry_of_a_line_counts() -> None:
    older, newer = entry(2, b"{", load_id="1.5"), entry(2, b"[", load_id="2.5")
    before = BEFORE.replace(b"\n{\n", b"\n[\n")
    for entries in ([older, newer], [newer, older]):
        assert found(NOW, before, entries) is not None
        assert found(NOW, BEFORE, entries) is None


def test_without_a_quarantine_nothing_is_known() -> None:
    assert found(NOW, BEFORE, []) is None


def test_bytes_that_are_not_utf8_are_told_by_their_escapes() -> None:
    before = b'{"a": "\xff"}\n'
    known = entry(1, b'{"a": "\\xff"}', detail="the line is not UTF-8")
    correction = found(b'{"a": "y"}\n', before, [known])
    assert correction is not None
    assert [line.text for line in correction.lines] == [b'{"a": "y"}']
