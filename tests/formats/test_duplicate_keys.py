"""Duplicate keys are found, however they are written, and nothing else is."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.formats import duplicate_keys

KEYS = st.sampled_from(["a", ":", '"', "\\", "\\u003a", "é", ""]) | st.text(max_size=3)
LEAVES = st.none() | st.integers(-9, 2**70) | st.text(max_size=5) | KEYS


class Pairs(list[Any]):
    """An object as it is written: a key may come again."""


VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(st.tuples(KEYS, inner), max_size=4).map(lambda pairs: Pairs(pairs))
    ),
    max_leaves=12,
)


def written(value: Any, space: str) -> str:
    if isinstance(value, Pairs):
        inner = (f"{_escaped(k)}{space}:{space}{written(v, space)}" for k, v in value)
        return "{" + f"{space},".join(inner) + space + "}"
    if isinstance(value, list):
        return "[" + f",{space}".join(written(each, space) for each in value) + "]"
    return _escaped(value) if isinstance(value, str) else json.dumps(value)


def _escaped(text: str) -> str:
    return (
        json.dumps(text).replace(":", "\\u003A") if len(text) % 2 else orjson.dumps(text).decode()
    )


def doubles(value: Any) -> bool:
    if isinstance(value, Pairs):
        keys = [key for key, _ in value]
        return len(set(keys)) < len(keys) or any(doubles(each) for _, each in value)
    return isinstance(value, list) and any(map(doubles, value))


@given(st.lists(VALUES, max_size=4), st.sampled_from(["", " ", "\n\t"]))
def test_what_is_lost_is_found_in_its_row(values: list[Any], space: str) -> None:
    text = written(values, space)
    found = orjson.loads(text)
    assert duplicate_keys.lost(text.encode(), found) is any(map(doubles, values))
    assert (duplicate_keys.twice(text) is not None) is any(map(doubles, values))
    rows = list(duplicate_keys.rows(text))
    assert [key is not None for _, key in rows] == list(map(doubles, values))
    assert [json.loads(each) for each, _ in rows] == json.loads(text)


@pytest.mark.parametrize("depth", [10, 253, 1000])
def test_however_deep(depth: int) -> None:
    for inner, is_lost in (("1", False), ('{"b": 1, "b": 2}', True)):
        text = '{"a": ' * depth + inner + "}" * depth
        assert duplicate_keys.lost(text.encode(), orjson.loads(text)) is is_lost
