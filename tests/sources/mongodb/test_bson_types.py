"""The types in a document, read from its bytes, against PyMongo's decoder."""

from __future__ import annotations

import datetime
import re
from typing import Any

import bson
import pytest
from bson import Binary, Code, DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from hypothesis import example, given
from hypothesis import strategies as st

from millstream.sources.mongodb.bson_types import TYPES, keys, types_of

OID = ObjectId("0123456789abcdef01234567")
SCALARS: list[tuple[Any, str]] = [
    (1.5, "double"),
    ("é", "string"),
    (b"x", "binData"),
    (Binary(b"x" * 16, 4), "binData"),
    (OID, "objectId"),
    (True, "bool"),
    (datetime.datetime(2024, 1, 1), "date"),
    (None, "null"),
    (Regex("a", "i"), "regex"),
    (re.compile("b"), "regex"),
    (Code("x"), "javascript"),
    (Code("x", {"a": 1}), "javascriptWithScope"),
    (5, "int"),
    (Timestamp(1, 2), "timestamp"),
    (Int64(5), "long"),
    (Decimal128("0.1"), "decimal"),
    (MaxKey(), "maxKey"),
    (MinKey(), "minKey"),
]
NAMES = st.text(max_size=3).map(lambda key: key.replace("\0", "")) | st.sampled_from(
    ["a.b", "a[]", "\\", "$x", ""]
)
values = st.recursive(
    st.sampled_from(SCALARS),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)


def expected(value: Any, path: tuple[str, ...]) -> list[tuple[tuple[str, ...], str]]:
    if isinstance(value, tuple):
        return [(path, value[1])]
    found = [(path, "array" if isinstance(value, list) else "object")] if path else []
    named = ((("[]"), each) for each in value) if isinstance(value, list) else value.items()
    return found + [pair for key, inner in named for pair in expected(inner, (*path, key))]


def plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return value[0]
    if isinstance(value, list):
        return [plain(each) for each in value]
    return {key: plain(each) for key, each in value.items()}


@given(st.dictionaries(NAMES, values, max_size=4))
@example({"a.b": {"[]": [SCALARS[0]]}, "a": {"b": SCALARS[1]}})
def test_each_value_has_its_path_and_type(document: dict[str, Any]) -> None:
    found = [(keys(path), kind) for path, kind in types_of(bson.encode(plain(document)))]
    wanted = [
        # a key that is called `[]` is one of an object all the same
        (path, kind)
        for path, kind in expected(document, ())
    ]
    assert found == wanted


def test_a_reference_is_an_object() -> None:
    raw = bson.encode({"r": DBRef("c", OID)})
    assert dict(types_of(raw)) == {"r": "object", "r.$ref": "string", "r.$id": "objectId"}


def test_types_that_only_old_documents_have() -> None:
    """`undefined`, `dbPointer` and `symbol` are deprecated: https://bsonspec.org/spec.html."""
    elements = (
        b"\x06u\0" + b"\x0cp\0" + b"\x02\0\0\0c\0" + OID.binary + b"\x0es\0" + b"\x02\0\0\0x\0"
    )
    raw = (len(elements) + 5).to_bytes(4, "little") + elements + b"\0"
    assert list(types_of(raw)) == [("u", "undefined"), ("p", "dbPointer"), ("s", "symbol")]


def test_a_type_that_no_specification_has() -> None:
    raw = bytearray(bson.encode({"a": 1}))
    raw[4] = 0x20
    with pytest.raises(ValueError, match="unknown BSON type 0x20"):
        list(types_of(bytes(raw)))
    assert len(set(TYPES.values())) == len(TYPES)
