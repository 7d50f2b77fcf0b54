"""Row ids are dlt's: the base64 text of random bytes, or of a hash of parent, table, position."""

from __future__ import annotations

import base64
import hashlib

import numpy as np
import pytest
from dlt.common.normalizers.json.helpers import get_nested_row_hash
from hypothesis import given
from hypothesis import strategies as st

from millstream.engine.row_ids import from_texts, nested_ids, random_ids, to_arrow

SIZES = st.integers(1, 20)


def text_of(digest: bytes) -> str:
    return base64.b64encode(digest).decode().rstrip("=")


@given(
    st.text(min_size=1, max_size=12),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 300)), min_size=1, max_size=20),
    SIZES,
)
def test_nested_ids_hash_parent_table_and_position(
    table: str, rows: list[tuple[int, int]], size: int
) -> None:
    parents = from_texts(f"parent-{number:02}" for number, _ in rows)
    found = nested_ids(table, parents, np.array([at for _, at in rows]), size)

    for id_, (number, at) in zip(found, rows):
        text = f"parent-{number:02}_{table}_{at}"
        assert id_.decode() == text_of(hashlib.shake_128(text.encode()).digest(size))


def test_nested_ids_are_the_ones_dlt_makes() -> None:
    parents = random_ids(50, 10)
    found = nested_ids("orders__lines", parents, np.arange(50), 10)
    expected = [
        get_nested_row_hash(p.decode(), "orders__lines", at) for at, p in enumerate(parents)
    ]
    assert [each.decode() for each in found] == expected


@given(st.integers(0, 30), SIZES)
def test_random_ids_decode_to_as_many_bytes(count: int, size: int) -> None:
    found = random_ids(count, size)
    assert len(found) == count
    for each in found.tolist():
        padded = each + b"=" * (-len(each) % 4)
        data = base64.b64decode(padded, validate=True)
        assert len(data) == size
        assert text_of(data).encode() == each


def test_random_ids_do_not_repeat() -> None:
    assert len({*random_ids(20_000, 10).tolist()}) == 20_000


@pytest.mark.parametrize("part", [slice(None), slice(2, None), slice(None, None, 2), slice(0, 0)])
def test_arrow_holds_the_same_texts(part: slice) -> None:
    ids = random_ids(9, 10)[part]
    array = to_arrow(ids)
    array.validate(full=True)
    assert array.to_pylist() == [each.decode() for each in ids.tolist()]
