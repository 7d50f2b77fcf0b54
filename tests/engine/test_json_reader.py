"""Lines that nobody looked into: what is read from them is what is written there, or nothing."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from millstream.engine.fast_path.json_reader import Direct
from millstream.engine.fast_path.row_shape import Field, Shape
from millstream.engine.schema_rules import NotVectorizableError
from millstream.formats.raw_part import Block

EXAMPLES = 20_000 if os.environ.get("MILLSTREAM_NIGHTLY") else 500
KINDS = {"n": "bigint", "t": "text", "d": "double", "b": "bool", "o__t": "text", "value": "text"}
ARROW = {"bigint": pa.int64(), "text": pa.string(), "double": pa.float64(), "bool": pa.bool_()}


class TypedTable:
    """Rules of a schema whose columns are all known."""

    is_exact = False

    def time_texts(self, column: Mapping[str, Any]) -> None:
        return None

    def max_length(self, column: Mapping[str, Any]) -> None:
        return None

    def column(self, table: str, name: str) -> Mapping[str, Any]:
        return {"name": name, "data_type": KINDS[name]}

    def arrow_type(self, column: Mapping[str, Any]) -> pa.DataType:
        return ARROW[column["data_type"]]


def value(name: str) -> Field:
    return Field(name, name, "value", null=True, ragged=True)


SHAPE: Shape = {key: value(key) for key in "ntdb"}
SHAPE["o"] = Field("o", "o", "object", null=True, ragged=True, fields={"t": value("o__t")})
SHAPE["l"] = Field(
    "l", "l", "list", null=True, ragged=True, item=value("value"), table="r__l", own_path=("l",)
)
DIRECT = Direct("r", 0, SHAPE, TypedTable())  # type: ignore[arg-type]


@pytest.fixture(autouse=True, params=["off", "on"])
def readers(
    isolated: None, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Arrow's reader, and the compiled one before it."""
    if request.param == "on":
        pytest.importorskip("numba")
    monkeypatch.setenv("MILLSTREAM_KERNELS", request.param)


TEXTS = st.text(max_size=4)
ROWS = st.fixed_dictionaries(
    {},
    optional={
        "n": st.none() | st.integers(-(2**63), 2**63 - 1),
        "t": st.none() | TEXTS,
        "d": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        "b": st.none() | st.booleans(),
        "o": st.none() | st.fixed_dictionaries({}, optional={"t": st.none() | TEXTS}),
        "l": st.none() | st.lists(TEXTS, max_size=3),
    },
)
# what may be wrong with a text, anywhere in it
ODD = [
    b"NaN", b"-Infinity", b"1e999", b"00", b"9" * 320, b".5", b"-", b"1.0", b"null", b"true",
    b'"\\ud800"', b'"\\udc00"', b'"\\ud83d\\ude00"', b'"\xff"', b'"\xed\xa0\x80"', b'"\x00"',
    b'"\\u0000"', b'"\\x"', b'"t":1', b'"t":"",', b",", b"}{", b"},{", b"}\n{", b"[", b"]", b"{",
    b"}", b'{"t":', b'"', b"\\", b" ", b"\t", b"/*", b"//", b"'",
]  # fmt: skip


@st.composite
def blocks(draw: st.DrawFn) -> bytes:
    """Lines of objects with something put in, or in place of something."""
    rows = draw(st.lists(ROWS, min_size=1, max_size=4))
    ascii_only, spaces = draw(st.booleans()), draw(st.sampled_from([(", ", ": "), (",", ":")]))
    lines = [
        json.dumps(row, ensure_ascii=ascii_only, separators=spaces).encode("utf-8", "surrogatepass")
        for row in rows
    ]
    text = b"".join(line + b"\n" for line in lines)
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(text)))
        until = at + draw(st.integers(0, 3))
        text = text[:at] + draw(st.sampled_from(ODD)) + text[until:]
    return text


def plain(found: Any) -> Any:
    """A row without its nulls: columns do not tell a null from an absent key."""
    if isinstance(found, dict):
        return {key: plain(each) for key, each in found.items() if each is not None}
    return found


@given(blocks())
@example(b'{"o":{}}{"o":{}}\n{"l":["}\n{"]}\n')
@example(b'{"l":[{}\n{}]}{"n":1}\n')
@example(b'{"d":NaN}\n')
@example(b'{"t":"\\udc00"}\n')
@settings(max_examples=EXAMPLES, deadline=None)
def test_what_is_read_from_a_block_is_what_json_says(text: bytes) -> None:
    lines = text.split(b"\n")[:-1]
    if not all(line.startswith(b"{") and line.endswith(b"}") for line in lines) or not lines:
        return  # the source looks at such lines itself
    block = Block(text, len(lines))
    try:
        DIRECT.read(block)
    except NotVectorizableError:
        return
    expected = [orjson.loads(line) for line in lines]
    found = DIRECT.parse(block).to_pylist()
    assert [plain(row) for row in found] == [plain(row) for row in expected]
    for row in found:
        assert row["d"] is None or math.isfinite(row["d"])


@pytest.mark.parametrize(
    "text",
    [
        b'{"n":1}{"n":2}\n',
        b'{"n":1}\n{"n":1,"n":2}\n',
        b'{"n":1}\n{"x":2}\n',
        b'{"n":1.0}\n',
        b'{"n":9223372036854775808}\n',
        b'{"t":"\xff"}\n',
        b'{"t":"\\ud800"}\n',
        b'{"d":-Infinity}\n',
    ],
)
def test_what_is_not_of_the_shape_is_left_alone(text: bytes) -> None:
    with pytest.raises(NotVectorizableError):
        DIRECT.read(Block(text, text.count(b"\n")))


def test_lines_and_a_list_are_read_alike() -> None:
    rows = [{"n": n, "t": "é" * n, "l": ["a"] * (n % 3), "o": {"t": str(n)}} for n in range(1, 50)]
    lines = [orjson.dumps(row) for row in rows]
    text, one = b"".join(line + b"\n" for line in lines), b"[%b]\n" % b",".join(lines)
    found = DIRECT.parse(Block(text, len(rows)))
    assert found.to_pylist() == DIRECT.parse(Block(one)).to_pylist()
    assert [plain(row) for row in found.to_pylist()] == rows


@pytest.mark.parametrize(
    ("text", "present"),
    [
        (b'{"n":1}\n{}\n', {}),
        (b'{"n":1}\n{"n" : null}\n', {"n": 2}),
        (b'{"n":1}\n{"n":2}\n', {"n": 2}),
    ],
)
def test_a_key_without_a_value_is_absent(text: bytes, present: dict[str, int]) -> None:
    direct = Direct("r", 0, {"n": Field("n", "n", "value")}, TypedTable())  # type: ignore[arg-type]
    (table,), _ = direct.read(Block(text, 2))
    assert table.present == present


def test_two_keys_of_one_column_are_left_to_dlt() -> None:
    shape = {"n": Field("n", "n", "value"), "N": Field("n", "n", None, null=True)}
    with pytest.raises(NotVectorizableError, match="two keys"):
        Direct("r", 0, shape, TypedTable())  # type: ignore[arg-type]
