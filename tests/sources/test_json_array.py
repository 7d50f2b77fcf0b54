"""The items of a list as they are written, also where some are not JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from millstream.sources.json_array import items

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text('a"\\[]{},:\né'),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('a"]'), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(values, max_size=5), st.sampled_from([None, 0, 2]), st.booleans())
@example([[], {}], None, True)
def test_items_of_json_are_the_items(content: list[Any], indent: int | None, ascii_: bool) -> None:
    text = json.dumps(content, indent=indent, ensure_ascii=ascii_).encode()
    assert [json.loads(item) for item in items(text)] == content


@given(st.lists(st.sampled_from([b"nul", b"01", b"{a:1}", b"[1,,2]", b"'a'", b"{}", b""])))
def test_items_that_are_not_json_keep_their_place(content: list[bytes]) -> None:
    text = b"[" + b" , ".join(content) + b"]"
    assert list(items(text)) == ([] if content == [b""] else content)


@pytest.mark.parametrize(
    "text",
    [b"", b"{}", b"[", b"[1", b"[1]]", b"[1] 2", b"[{]}", b'["a]', b"[1}", b"null", b'["\\"]'],
)
def test_what_is_not_a_list_from_end_to_end(text: bytes) -> None:
    with pytest.raises(ValueError):
        list(items(text))
