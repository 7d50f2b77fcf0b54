"""Every BSON type through the real server into DuckDB, value by value."""

from __future__ import annotations

import math
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import bson
import orjson
import pytest
from bson import Binary, Code, DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.datetime_ms import DatetimeMS
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from sources.mongodb_kit import Shop, raw, text
from sources.mongodb_tree import Tree, bits

pytestmark = pytest.mark.xdist_group("mongodb")

UTC = timezone.utc
OID = ObjectId("64b7f0a1c2d3e4f5a6b7c8d9")


def element(kind: int, value: bytes) -> bytes:
    return bytes([kind]) + b"v\0" + value


# name: the value, or its raw element, and the columns that it must become
CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "object id": (OID, {"v": "64b7f0a1c2d3e4f5a6b7c8d9"}),
    "int32": (-(2**31), {"v": -(2**31)}),
    "int64": (Int64(2**63 - 1), {"v": 2**63 - 1}),
    "int64 lowest": (Int64(-(2**63)), {"v": -(2**63)}),
    "double": (0.1, {"v": 0.1}),
    "double that is whole": (5.0, {"v": 5.0}),
    "double minus zero": (-0.0, {"v": -0.0}),
    "double tiny": (5e-324, {"v": 5e-324}),
    "double huge": (1.7976931348623157e308, {"v": 1.7976931348623157e308}),
    "NaN": (math.nan, {"v": math.nan}),
    "infinity": (math.inf, {"v": math.inf}),
    "minus infinity": (-math.inf, {"v": -math.inf}),
    "bool": (False, {"v": False}),
    "null": (None, {}),
    "text": ("grüße 🎉", {"v": "grüße 🎉"}),
    "text empty": ("", {"v": ""}),
    "text with NUL": ("a\0b\0", {"v": "a\0b\0"}),
    "text 'None'": ("None", {"v": "None"}),
    "text 'NaN'": ("NaN", {"v": "NaN"}),
    "text that is not UTF-8": (
        element(0x02, text(b"caf\xe9")),
        {"v__invalid_utf8": b"caf\xe9"},
    ),
    "text like a typed value of dlt": ("\uf0261.50", {"v": "\uf0261.50"}),
    "text with dlt's mark, not mistaken": ("\uf026hello", {"v": "\uf026hello"}),
    "symbol": (element(0x0E, text(b"sym")), {"v": "sym"}),
    "date": (
        datetime(2024, 2, 29, 12, 30, 1, 123000),
        {"v": datetime(2024, 2, 29, 12, 30, 1, 123000, UTC)},
    ),
    "date before 1970": (datetime(1901, 1, 1), {"v": datetime(1901, 1, 1, tzinfo=UTC)}),
    "date in year 1": (datetime(1, 1, 1), {"v": datetime(1, 1, 1, tzinfo=UTC)}),
    "date in year 9999": (
        datetime(9999, 12, 31, 23, 59, 59, 999000),
        {"v": datetime(9999, 12, 31, 23, 59, 59, 999000, UTC)},
    ),
    "date beyond year 9999": (DatetimeMS(2**60), {"v__ms": 2**60}),
    "date before year 1": (DatetimeMS(-(2**62)), {"v__ms": -(2**62)}),
    "timestamp": (Timestamp(4294967295, 7), {"v__t": 4294967295, "v__i": 7}),
    "decimal": (Decimal128("1.50"), {"v": Decimal("1.5")}),
    "decimal of 38 digits": (
        Decimal128("-12345678901234567890123456789.01234"),
        {"v": Decimal("-12345678901234567890123456789.01234")},
    ),
    "decimal with 10 places": (Decimal128("0.1234567891"), {"v__decimal128": "0.1234567891"}),
    "decimal huge": (Decimal128("9.999E+6144"), {"v__decimal128": "9.999" + 30 * "0" + "E+6144"}),
    "decimal NaN": (Decimal128("NaN"), {"v__decimal128": "NaN"}),
    "decimal infinity": (Decimal128("-Infinity"), {"v__decimal128": "-Infinity"}),
    "decimal minus zero": (Decimal128("-0"), {"v__decimal128": "-0"}),
    "binary": (b"\x00\xff\x10", {"v": b"\x00\xff\x10"}),
    "binary empty": (b"", {"v": b""}),
    "binary, old subtype": (element(0x05, b"\x06\0\0\0\x02\x02\0\0\0hi"), {"v": b"hi"}),
    "binary, subtype 5": (Binary(b"md5", 5), {"v__subtype": 5, "v__bytes": b"md5"}),
    "binary, subtype 128": (Binary(b"", 128), {"v__subtype": 128, "v__bytes": b""}),
    "uuid": (
        Binary(bytes(range(16)), 4),
        {"v": str(UUID(bytes=bytes(range(16))))},
    ),
    "uuid of another form": (
        Binary(bytes(range(16)), 3),
        {"v__subtype": 3, "v__bytes": bytes(range(16))},
    ),
    "uuid too short": (
        element(0x05, b"\x02\0\0\0\x04hi"),
        {"v__subtype": 4, "v__bytes": b"hi"},
    ),
    "regex": (Regex("^a.b$", "im"), {"v__pattern": "^a.b$", "v__options": "im"}),
    "regex that Python can't compile": (
        Regex(r"(?<name>\p{L}++)", ""),
        {"v__pattern": r"(?<name>\p{L}++)", "v__options": ""},
    ),
    "code": (Code("return 1"), {"v__code": "return 1"}),
    "code with scope": (
        Code("return x", {"x": Int64(5)}),
        {"v__code": "return x", "v__scope__x": 5},
    ),
    "dbref": (DBRef("users", OID, "app"), {"v__ref": "users", "v__id": str(OID), "v__db": "app"}),
    "what looks like a dbref": (
        {"$ref": 5, "$id": 1},
        {"v___ref": 5, "v___id": 1},
    ),
    "what looks like a dbref to the driver": (
        {"$ref": Code("x"), "$id": 1},
        {"v___ref__code": "x", "v___id": 1},
    ),
    "db pointer": (
        element(0x0C, text(b"app.users") + OID.binary),
        {"v__ref": "app.users", "v__id": str(OID)},
    ),
    "undefined": (element(0x06, b""), {"v__undefined": True}),
    "min key": (MinKey(), {"v__min_key": True}),
    "max key": (MaxKey(), {"v__max_key": True}),
    "document": ({"a": {"b": 1}, "c": None}, {"v__a__b": 1}),
    "document empty": ({}, {}),
    "keys with dots and dollars": ({"a.b": 1, "$c": 2}, {"v__a_b": 1, "v___c": 2}),
    "keys that share a column": (
        {"Foo": 1, "foo": 2, "a.b": 3, "a_b": 4},
        {"v__foo": 2, "v__foo_x201a6b": 1, "v__a_b": 4, "v__a_b_x69f664": 3},
    ),
    "keys of dlt's": ({"_dlt_id": "mine"}, {"v___dlt_id_x4a1ee0": "mine"}),
    "key without a name": ({"": 1}, {"v___empty": 1}),
}


def documents() -> list[Any]:
    """One document with a field for each case, written as no driver would write some of them."""
    fields = [b"\x10_id\0\x01\0\0\0"]
    for number, (value, _) in enumerate(CASES.values()):
        if isinstance(value, bytes) and value[1:3] == b"v\0":
            fields.append(value[:1] + f"c{number}".encode() + value[2:])
        else:
            fields.append(bson.encode({f"c{number}": value})[4:-1])
    return [raw(*fields)]


@pytest.mark.parametrize("engine", ["", "dlt"])
def test_a_field_that_is_renamed_has_one_column(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    """Where it was not finite, the column was declared by its former name."""
    monkeypatch.setenv("MILLSTREAM_ENGINE", engine)
    for number, value in enumerate((math.inf, 1.5, math.nan)):
        shop.db.things.insert_one({"_id": number, "_dlt_id": value})
        shop.load("things")
    columns = shop.query(
        "SELECT column_name FROM information_schema.columns WHERE "
        "table_schema = 'shop' AND table_name = 'things' AND column_name LIKE '%dlt_id%'"
    )
    assert sorted(columns) == [("_dlt_id",), ("_dlt_id_x4a1ee0",)]
    found = shop.rows("things", "_dlt_id_x4a1ee0")
    assert [bits(value) for (value,) in found] == list(map(bits, (math.inf, 1.5, math.nan)))


@pytest.mark.parametrize("engine", ["", "dlt"])
def test_every_bson_type_arrives_true(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    monkeypatch.setenv("MILLSTREAM_ENGINE", engine)
    shop.db.things.insert_many(documents())
    shop.load("things")
    columns = list(shop.columns("things"))
    (row,) = shop.rows("things", *columns)
    found: dict[str, dict[str, Any]] = {name: {} for name in CASES}
    for column, value in zip(columns, row):
        head, _, rest = column.partition("__")
        if value is not None and head.startswith("c"):
            name = list(CASES)[int(head[1:])]
            found[name]["v" + (f"__{rest}" if rest else "")] = value
    wrong = {
        name: (found[name], expected)
        for name, (_, expected) in CASES.items()
        if {key: bits(value) for key, value in found[name].items()}
        != {key: bits(value) for key, value in expected.items()}
    }
    assert wrong == {}


def test_values_in_nested_lists_arrive_true(shop: Shop) -> None:
    shop.db.things.insert_one(
        {
            "_id": 1,
            "deep": {"list": [{"x": math.nan, "b": b""}, {"x": 1.5, "b": b"z"}]},
            "numbers": [1.0, math.inf, math.nan],
            "matrix": [[math.nan, 2.0], []],
        }
    )
    shop.load("things")
    deep = shop.rows("things__deep__list", "x", "b", order="_dlt_list_idx")
    assert [bits(x) for x, _ in deep] == [bits(math.nan), bits(1.5)]
    assert [b for _, b in deep] == [b"", b"z"]
    numbers = shop.rows("things__numbers", "value", order="_dlt_list_idx")
    assert [bits(x) for (x,) in numbers] == [bits(1.0), bits(math.inf), bits(math.nan)]
    matrix = shop.rows("things__matrix__list", "value", order="_dlt_list_idx")
    assert [bits(x) for (x,) in matrix] == [bits(math.nan), bits(2.0)]
    ((parent,),) = shop.query(
        "SELECT count(DISTINCT _dlt_parent_id) FROM shop.things__matrix__list"
    )
    assert parent == 1


def fitting(value: Decimal) -> Decimal128:
    try:
        return Decimal128(value)
    except ArithmeticError:
        return Decimal128("1E-6176")


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1).map(Int64),
    st.integers(-(2**31), 2**31 - 1),
    st.floats(),
    st.text(st.characters(codec="utf-8"), max_size=8),
    st.sampled_from(["\uf026", "\uf0261.5", "\uf02b ", "\uf027x", "NaN", "\0", "\x06a\0"]),
    st.binary(max_size=8),
    st.builds(Binary, st.binary(max_size=17), st.sampled_from([0, 1, 2, 3, 4, 5, 9, 128])),
    st.integers(-(2**63), 2**63 - 1).map(DatetimeMS),
    st.datetimes().map(lambda d: d.replace(microsecond=d.microsecond // 1000 * 1000)),
    st.binary(min_size=12, max_size=12).map(ObjectId),
    st.builds(Timestamp, st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
    st.decimals().filter(lambda d: not d.is_snan()).map(fitting),
    st.sampled_from([MinKey(), MaxKey(), Regex("a(", "imsx")]),
    st.tuples(st.text("xy"), st.none() | st.just({"z": 1})).map(lambda made: Code(*made)),
    st.builds(DBRef, st.text("ab", min_size=1), st.integers(0, 9)),
)
keys = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5) | st.sampled_from(
    ["$ref", "$id", "a", "A", "_dlt_id", "\x06", "x.y"]
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4)
)


# explaining fails on values that are texts of another class, such as Code
@settings(max_examples=200, deadline=None, phases=set(Phase) - {Phase.explain})
@given(st.lists(st.dictionaries(keys, values, max_size=6), min_size=1, max_size=3))
@example([{"$id": None, "$ref": ""}])  # no DBRef: those are within a document
@example([{"a": {"$id": None, "$ref": ""}, "b": Code("", {"$id": None, "$ref": ""})}])
def test_the_fast_way_and_the_careful_way_agree(rows: list[dict[str, Any]]) -> None:
    from millstream.sources.mongodb.encode import Encoder
    from millstream.sources.mongodb.values import DecodeAnomalies, decode

    batches = [bson.encode(row) for row in rows]
    fast, careful = Encoder("fast", str.lower), Encoder("careful", str.lower)
    line = careful.dump(careful._ready([decode(raw, DecodeAnomalies()) for raw in batches], None))
    # keys may come in another order
    assert orjson.loads(fast.encode(b"".join(batches)).line) == orjson.loads(line)


def test_a_document_cut_short_is_an_error_that_says_so() -> None:
    from millstream.errors import SourceDataError
    from millstream.sources.mongodb.encode import Encoder

    whole = bson.encode({"a": "text"})
    with pytest.raises(SourceDataError, match=r"shop\.things"):
        Encoder("shop.things", str).encode(whole[:9] + b"\xff" + whole[10:])


def test_a_document_of_15_mb(shop: Shop) -> None:
    shop.db.things.insert_one({"_id": 1, "v": "a" * 15_000_000 + "z"})
    shop.load("things")
    found = shop.query('SELECT "_id", length(v), v[1], v[-1] FROM shop.things')
    assert found == [(1, 15_000_001, "a", "z")]


# customers have objects keyed by ids: a column for each key of each
@pytest.mark.parametrize(
    ("name", "most"), [("accounts", 9999), ("theaters", 9999), ("customers", 30)]
)
def test_real_documents_round_trip_value_by_value(
    shop: Shop, shared_data: Path, name: str, most: int
) -> None:
    from bson import json_util

    lines = (shared_data / f"mongodb_{name}.jsonl").read_text().splitlines()[:most]
    documents = [json_util.loads(line) for line in lines]
    shop.db[name].insert_many(documents)
    shop.load(name)
    true = {str(document["_id"]): document for document in shop.db[name].find()}
    tree = Tree(shop, name)
    rows = tree.tables[name][""]
    assert {row["_id"] for row in rows} == true.keys()
    assert len(rows) == len(lines)
    assert sum(tree.check(name, row, true[row["_id"]]) for row in rows) > 5 * len(lines)
