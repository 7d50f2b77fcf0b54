"""Typed JSON gives back what was written, texts with dlt's marks among it."""

from __future__ import annotations

import datetime
import json
from decimal import Decimal
from enum import Enum
from typing import Any

import orjson
import pytest
from dlt.common.json import custom_pua_decode_nested
from hypothesis import given
from hypothesis import strategies as st

from millstream.formats import typed_json

MARKS = st.sampled_from([*typed_json.PREFIXES, "\uf025", "\uf02f"])
TEXTS = st.builds(str.__add__, MARKS, st.text(max_size=5)) | st.text(max_size=5)
SCALARS = (
    st.none()
    | TEXTS
    | st.booleans()
    | st.integers(-(2**80), 2**80)
    | st.floats(allow_nan=False)
    | st.decimals(allow_nan=False)
    | st.datetimes(timezones=st.just(datetime.timezone.utc))
    | st.dates()
    | st.times()
    | st.binary(max_size=4)
)
ROWS = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


def read(line: bytes) -> Any:
    # as the normalizer does where integers are long
    return typed_json.decode(custom_pua_decode_nested(json.loads(line)))


@given(st.lists(ROWS, max_size=3))
def test_what_was_written_is_read(rows: list[Any]) -> None:
    assert read(typed_json.dumps(rows)) == rows


@given(st.lists(st.dictionaries(TEXTS, TEXTS | st.integers(), max_size=3), max_size=3))
@pytest.mark.parametrize("is_ascii", [True, False])
def test_plain_json_is_escaped_as_it_is(is_ascii: bool, rows: list[Any]) -> None:
    text = json.dumps(rows, ensure_ascii=is_ascii).encode("utf-8", "surrogatepass")
    assert read(typed_json.escape_json(text)) == rows


def test_what_needs_no_escape_stays_as_it_is() -> None:
    text = '{"icon": "a \uf02c inside", "\uf02c key": "\\\\uf02c"}'.encode()
    assert typed_json.escape_json(text) == text


def test_a_double_that_is_not_finite_comes_back() -> None:
    found = read(typed_json.dumps([{"icon": "\uf02c", "x": [float("inf")], "y": "\uf02c 1"}]))
    assert found == [{"icon": "\uf02c", "x": [float("inf")], "y": "\uf02c 1"}]


def test_a_time_of_day_with_an_offset_is_a_text() -> None:
    zone = datetime.timezone(datetime.timedelta(hours=5, minutes=30))
    rows = [{"at": datetime.time(12, 30, tzinfo=zone), "n": 2**70}, {"at": datetime.time(12)}]
    assert read(typed_json.dumps(rows))[0]["at"] == "12:30:00+05:30"
    assert read(typed_json.dumps([{"at": rows[0]["at"]}])) == [{"at": "12:30:00+05:30"}]
    assert read(typed_json.dumps(rows[1:])) == [{"at": datetime.time(12)}]


def test_texts_of_enums_and_fragments() -> None:
    class Icon(Enum):
        tag = "\uf02c 12"

    rows = [{"a": Icon.tag, "b": Decimal("1.5")}, orjson.Fragment(b'{"c": 7}'), {"n": 2**70}]
    assert read(typed_json.dumps(rows)) == [
        {"a": "\uf02c 12", "b": Decimal("1.5")},
        {"c": 7},
        {"n": 2**70},
    ]
