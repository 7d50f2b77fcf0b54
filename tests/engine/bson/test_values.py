"""Values at many positions of BSON documents, against the decoder of PyMongo's `bson`."""

from __future__ import annotations

import datetime
import uuid
from typing import Any

import bson
import numpy as np
import pyarrow as pa
import pytest
from bson.binary import Binary, UuidRepresentation
from bson.codec_options import CodecOptions
from bson.int64 import Int64
from hypothesis import example, given
from hypothesis import strategies as st

from millstream.engine.bson import documents as layout
from millstream.engine.bson.documents import Documents
from millstream.engine.bson.plan import ColumnValues, Table
from millstream.engine.bson.values import make

MOMENTS = pa.timestamp("us", "UTC")
OPTIONS: CodecOptions[Any] = CodecOptions(
    uuid_representation=UuidRepresentation.STANDARD, tz_aware=True
)
AT_VALUE = 4 + 1 + len(b"v\0")
"""In a document of one key `v`: after its size, the type of its element, and the key."""


def values_of(
    documents: list[bytes], data_type: str, kind: int, to: pa.DataType, key: str | None = None
) -> tuple[list[Any], list[bool]]:
    """The values of `v`, and whether each was marked as one that is not taken."""
    block = Documents(b"".join(documents))
    table = Table("t", (), ("t",))
    column = ColumnValues(table, "v", data_type, to, required=False, key=key)
    wrong = np.zeros(len(documents), bool)
    array = make(block, kind, block.starts + AT_VALUE, column, wrong)
    array.validate(full=not wrong.any())
    assert len(array) == len(documents)
    if not wrong.any():
        return array.to_pylist(), wrong.tolist()
    good = array.filter(pa.array(~wrong))
    good.validate(full=True)
    taken = iter(good.to_pylist())
    return [None if w else next(taken) for w in wrong], wrong.tolist()


def encoded(values: list[Any]) -> list[bytes]:
    return [bson.encode({"v": value}, codec_options=OPTIONS) for value in values]


def decoded(documents: list[bytes]) -> list[Any]:
    return [bson.decode(each, OPTIONS)["v"] for each in documents]


@given(st.lists(st.text(max_size=20), min_size=1, max_size=8))
@example(["", "twelve bytes", "thirteen byte", "é" * 7])
def test_texts_of_any_length(texts: list[str]) -> None:
    texts = [text.replace("\0", " ") for text in texts]
    documents = encoded(texts)
    found, wrong = values_of(documents, "text", layout.TEXT, pa.string())
    assert found == decoded(documents) == texts
    assert not any(wrong)


@given(
    st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=8),
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=8),
    st.lists(st.floats(allow_nan=False), min_size=1, max_size=8),
)
@example([0], [2**53, 2**53 + 1, -(2**53) - 1], [-0.0])
def test_numbers_and_those_that_a_double_rounds(
    ints: list[int], longs: list[int], doubles: list[float]
) -> None:
    small, large = encoded(ints), encoded([Int64(n) for n in longs])
    assert values_of(small, "bigint", layout.INT, pa.int64())[0] == ints
    assert values_of(large, "bigint", layout.LONG, pa.int64())[0] == longs
    found, _ = values_of(encoded(doubles), "double", layout.DOUBLE, pa.float64())
    assert list(map(repr, found)) == list(map(repr, doubles))
    assert values_of(small, "double", layout.INT, pa.float64())[0] == ints
    found, wrong = values_of(large, "double", layout.LONG, pa.float64())
    assert wrong == [abs(n) > 2**53 for n in longs]
    assert [v for v in found if v is not None] == [n for n in longs if abs(n) <= 2**53]


@given(st.lists(st.binary(min_size=12, max_size=12), min_size=1, max_size=6), st.binary())
def test_ids_uuids_and_bytes(ids: list[bytes], data: bytes) -> None:
    objects = encoded([bson.ObjectId(each) for each in ids])
    assert values_of(objects, "text", layout.OBJECT_ID, pa.string())[0] == [
        each.hex() for each in ids
    ]
    uuids = [uuid.UUID(bytes=each + b"\0\1\2\3") for each in ids]
    found, _ = values_of(encoded(uuids), "text", layout.BINARY, pa.string())
    assert found == list(map(str, uuids))
    blobs = [*ids, data, b""]
    assert values_of(encoded(blobs), "binary", layout.BINARY, pa.binary())[0] == blobs


def test_bytes_of_other_subtypes_are_not_taken() -> None:
    documents = encoded([Binary(b"\1" * 16, subtype) for subtype in (0, 3, 4, 5, 128)])
    _, wrong = values_of(documents, "binary", layout.BINARY, pa.binary())
    assert wrong == [False, True, True, True, True]
    _, wrong = values_of(documents, "text", layout.BINARY, pa.string())
    assert wrong == [True, True, False, True, True]
    _, wrong = values_of(encoded([Binary(b"\1" * 15, 4)]), "text", layout.BINARY, pa.string())
    assert wrong == [True]


@given(st.lists(st.datetimes(timezones=st.just(datetime.timezone.utc)), min_size=1, max_size=6))
def test_moments_of_pythons_calendar(moments: list[datetime.datetime]) -> None:
    documents = encoded(moments)
    found, wrong = values_of(documents, "timestamp", layout.DATE, MOMENTS)
    assert found == decoded(documents)
    assert not any(wrong)


@pytest.mark.parametrize("ms", [-62_135_596_800_001, 253_402_300_800_000, 2**63 - 1, -(2**63)])
def test_moments_of_no_calendar_are_not_taken(ms: int) -> None:
    document = bytearray(bson.encode({"v": datetime.datetime(2024, 1, 1)}))
    document[AT_VALUE : AT_VALUE + 8] = ms.to_bytes(8, "little", signed=True)
    assert values_of([bytes(document)], "timestamp", layout.DATE, MOMENTS) == ([None], [True])


def test_texts_that_are_not_utf8_are_not_taken() -> None:
    good, bad = encoded(["a" * 20, "b" * 20])
    bad = bad.replace(b"b", b"\xff", 1)
    found, wrong = values_of([good, bad], "text", layout.TEXT, pa.string())
    assert (found, wrong) == (["a" * 20, None], [False, True])


@pytest.mark.parametrize(
    ("text", "is_ambiguous"),
    [
        ("0123456789abcdef01234567", True),
        ('{"$oid": "0123456789abcdef01234567"}', True),
        ("[1]", True),
        ("null", True),
        ("true\n", True),
        ("nullable", False),
        ("0123456789ABCDEF01234567", False),
        ("word", False),
    ],
)
def test_keys_that_may_equal_another_id_are_not_taken(text: str, is_ambiguous: bool) -> None:
    _, wrong = values_of(encoded([text]), "text", layout.TEXT, pa.string(), key="any")
    assert wrong == [is_ambiguous]
