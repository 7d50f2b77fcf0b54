"""What the compiled reader takes is what Arrow's makes of it, and it never reads beyond a text."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import tracemalloc
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import json as arrow_json

from millstream.engine.fast_path.compiled_rows import CompiledRows

pytest.importorskip("numba")
from millstream.engine.kernels import json_rows

EXAMPLES = 5_000 if os.environ.get("MILLSTREAM_NIGHTLY") else 80
VALUES: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.string(): st.text(max_size=20),
    pa.int64(): st.integers(-(2**63), 2**63 - 1) | st.integers(-20, 20),
    pa.float64(): st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**20), 10**20),
    pa.bool_(): st.booleans(),
    pa.null(): st.none(),
}
KEYS = st.text(min_size=1, max_size=12) | st.sampled_from(["id", "name", "12345678", "1234567"])
TYPES: st.SearchStrategy[pa.DataType] = st.recursive(
    st.sampled_from([*VALUES]),
    lambda inner: (
        st.lists(st.tuples(KEYS, inner), unique_by=lambda pair: pair[0], max_size=4).map(
            lambda pairs: pa.struct([pa.field(*pair) for pair in pairs])
        )
        | inner.map(pa.list_)
    ),
    max_leaves=8,
)


def value_of(kind: pa.DataType) -> st.SearchStrategy[Any]:
    if pa.types.is_list(kind):
        found: st.SearchStrategy[Any] = st.lists(value_of(kind.value_type), max_size=9)
    elif pa.types.is_struct(kind):
        optional = {each.name: value_of(each.type) for each in kind}
        found = st.fixed_dictionaries({}, optional=optional).flatmap(
            lambda row: st.permutations([*row.items()]).map(dict)
        )
    else:
        found = VALUES[kind]
    return st.none() | found


@st.composite
def texts(draw: st.DrawFn) -> tuple[pa.StructType, bytes, int]:
    """Rows of a type, as lines, with or without ASCII alone and spaces."""
    fields = draw(st.lists(st.tuples(KEYS, TYPES), unique_by=lambda pair: pair[0], max_size=5))
    kind = pa.struct([pa.field(*each) for each in fields])
    rows = draw(st.lists(value_of(kind).filter(lambda row: row is not None), max_size=5))
    ascii_only, spaces = draw(st.booleans()), draw(st.sampled_from([(", ", " : "), (",", ":")]))
    lines = [json.dumps(row, ensure_ascii=ascii_only, separators=spaces) + "\n" for row in rows]
    return kind, "".join(lines).encode(), len(rows)


def read_by_arrow(kind: pa.StructType, text: bytes) -> pa.StructArray:
    found = arrow_json.read_json(
        pa.BufferReader(text),
        read_options=arrow_json.ReadOptions(use_threads=False, block_size=len(text) + 64),
        parse_options=arrow_json.ParseOptions(
            explicit_schema=pa.schema(list(kind)), unexpected_field_behavior="error"
        ),
    )
    (batch,) = found.to_batches()
    return batch.to_struct_array()


@given(texts())
@settings(max_examples=EXAMPLES)
def test_it_reads_what_arrow_reads(case: tuple[pa.StructType, bytes, int]) -> None:
    kind, text, count = case
    found = CompiledRows(json_rows, kind).read(text, count)
    if found is None:
        # of all that is valid, it leaves -2**63 alone, and keys that are written otherwise
        assert (
            b"-9223372036854775808" in text
            or b"\\" in text
            or any(b"\\" in json.dumps(each.name).encode() for each in kind)
            or b"\x7f" in text
        )
        return
    found.validate(full=True)
    if count and len(kind):
        assert found.equals(read_by_arrow(kind, text)), found.to_pylist()


@given(texts(), st.data())
@settings(max_examples=EXAMPLES)
def test_hostile_bytes_are_refused_or_read_as_json(
    case: tuple[pa.StructType, bytes, int], data: Any
) -> None:
    kind, text, count = case
    at = data.draw(st.integers(0, len(text)))
    until = at + data.draw(st.integers(0, 4))
    odd = data.draw(st.binary(max_size=4) | st.sampled_from([b'"', b"\\u", b"1e", b"[", b"null"]))
    text = text[:at] + odd + text[until:]
    found = CompiledRows(json_rows, kind).read(text, count)
    if found is None:
        return
    try:
        found.validate(full=True)
    except pa.ArrowInvalid:  # UTF-8
        return
    for row, line in zip(found.to_pylist(), text.decode().split("\n")):
        assert plain(row) == plain(json.loads(line))


def plain(found: Any) -> Any:
    """Without nulls, which are absent keys, too."""
    if isinstance(found, dict):
        return {key: plain(each) for key, each in found.items() if each is not None}
    return [plain(each) for each in found] if isinstance(found, list) else found


def test_longer_lists_get_more_room() -> None:
    kind = pa.struct([("l", pa.list_(pa.list_(pa.struct([("n", pa.int64())]))))])
    rows = [{"l": [[{"n": n}] * 50] * (n + 1)} for n in range(20)]
    text = "".join(json.dumps(row) + "\n" for row in rows).encode()
    reader = CompiledRows(json_rows, kind)
    for _ in range(2):
        found = reader.read(text, len(rows))
        assert found is not None
        assert found.to_pylist() == rows


def test_memory_goes_with_the_rows() -> None:
    """At once: in a load of columns cycles of objects are not looked for."""
    rows = [{"t": "x" * 1000, "l": [n]} for n in range(1000)]
    text = "".join(json.dumps(row) + "\n" for row in rows).encode()
    reader = CompiledRows(json_rows, pa.struct([("t", pa.string()), ("l", pa.list_(pa.int64()))]))
    gc.disable()
    tracemalloc.start()
    try:
        for _ in range(20):
            assert reader.read(text, len(rows)) is not None
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        gc.enable()
    assert kept < len(text)


def test_it_reads_alike_without_a_compiler() -> None:
    """And each index is checked then."""
    code = """
import json, numpy, pyarrow as pa
from millstream.engine.fast_path.compiled_rows import CompiledRows
from millstream.engine.kernels import json_rows
numpy.seterr(over="ignore")
kind = pa.struct([("t", pa.string()), ("l", pa.list_(pa.int64())), ("d", pa.float64()),
                  ("o", pa.struct([("b", pa.bool_()), ("n", pa.null())]))])
rows = [{"t": "é\\\\n\\U0001f600" * n, "l": [n, -n, 10**18, None], "d": n / 3,
         "o": {"b": n > 2, "n": None}} for n in range(5)]
for ascii_only in (True, False):
    text = "".join(json.dumps(row, ensure_ascii=ascii_only) + "\\n" for row in rows).encode()
    reader = CompiledRows(json_rows, kind)
    assert reader.read(text, 5).to_pylist() == rows
    for end in range(len(text)):
        assert reader.read(text[:end], 5) is None
"""
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, stderr=subprocess.PIPE)
    assert done.returncode == 0, done.stderr.decode()
