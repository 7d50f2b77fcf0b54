"""Documents read in columns land as documents read one by one, by dlt's own normalizer."""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

import bson
import pytest
from bson import Binary, Decimal128, Int64, ObjectId, Timestamp
from dlt.common.schema import Schema
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.parity.harness import MEMORY, TOO_LARGE, Case, Outcome, run
from tests.sources.test_mongodb_values import keys, values

from millstream.engine.bson import documents, reader
from millstream.engine.coercion_rules import Coercion
from millstream.engine.dlt import normalizer
from millstream.formats import engine_mode
from millstream.formats.engine_mode import EngineMode, RowRules
from millstream.formats.key_names import natural_name
from millstream.formats.raw_part import Header

NIGHTLY = bool(os.environ.get("MILLSTREAM_NIGHTLY"))
NORMALIZE = Schema("names").naming.normalize_identifier
EXAMPLES = 5000 if NIGHTLY else 40


def part(rows: Sequence[bytes], kind: str | None = None, **settings: Any) -> bytes:
    """A part as the source leaves it."""
    told = {"what": "things", "kind": kind, "reserved": [], "extra": {}, **settings}
    return Header("millstream.sources.mongodb.raw_batches", told).line() + b"".join(rows)


@pytest.fixture(autouse=True)
def as_a_run_reads_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = {"parity": RowRules(names_keys=True, coercion=Coercion())}
    monkeypatch.setattr(engine_mode, "_current", EngineMode(rules=rules))


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    # one document a line: what else is in its line then has no say in a column's type
    monkeypatch.setattr(reader, "TEACH", 1)
    monkeypatch.setattr(reader, "_LINE", 1)
    monkeypatch.setattr(reader, "_ROUNDS", 40)
    monkeypatch.setattr(documents, "BLOCK", 500)


def compare(loads: Sequence[bytes], **resource: Any) -> list[int]:
    """Both ways; how many rows of each load were read in columns."""
    case = Case([[content] for content in loads], resource)
    read: list[int] = []

    class Counting(normalizer.ColumnarNormalizer):
        def _take(self, root: str, settled: Any, raw: Any) -> None:
            super()._take(root, settled, raw)
            read.append(settled[0].table.size)

    class Plain(normalizer.ColumnarNormalizer):
        def _is_for_columns(self) -> bool:
            return False

    with tempfile.TemporaryDirectory(dir=MEMORY) as folder, pytest.MonkeyPatch.context() as changed:
        changed.setattr(normalizer, "ColumnarNormalizer", Plain)
        expected = run(case, Path(folder), columnar=True)
        changed.setattr(normalizer, "ColumnarNormalizer", Counting)
        found = run(case, Path(folder), columnar=True)
    for theirs, ours in zip(expected, found):
        if theirs.error == TOO_LARGE:
            return read
        assert ours.error == theirs.error
        assert ours.null_only == theirs.null_only
        assert ours.types == theirs.types
        assert without_names(ours.schema) == without_names(theirs.schema)
        assert ours.columns == theirs.columns
        assert sorted(ours.tables) == sorted(theirs.tables)
        left, right = rows_of(ours), rows_of(theirs)
        for table in left:
            assert left[table] == right[table], table
    assert len(found) == len(expected)
    return read


def without_names(tables: dict[str, Any]) -> dict[str, Any]:
    """Without the names that keys got: columns and tables have them, and lists' items need none."""
    return {
        name: {hint: value for hint, value in table.items() if not hint.startswith("x-name.")}
        for name, table in tables.items()
    }


def rows_of(outcome: Outcome) -> dict[str, list[Any]]:
    """Rows by table without nulls, in the order of the root's `n`, with ids that hang on it."""
    number = {row["_dlt_id"]: row["n"] for row in outcome.tables.get("items", ())}

    def told(value: Any) -> Any:
        if isinstance(value, str) and value.startswith("row "):
            first, *rest = value.split("/", 1)
            return "/".join([f"{number[first]:06}", *rest])
        return repr(value)  # NaN and -0.0

    found = {}
    for table, rows in outcome.tables.items():
        plain = [{k: told(v) for k, v in row.items() if v is not None} for row in rows]
        found[table] = sorted(plain, key=lambda row: row["_dlt_id"])
    return found


# shapes that recur, so that columns see them again: a few keys, and values of all kinds
few = st.sampled_from(["a", "b", "A", "a b", "_id", "x.y", "$ref", "list", "value", "t"])
plain = st.one_of(
    st.none(),
    st.integers(-5, 5),
    st.integers(-(2**63), 2**63 - 1).map(Int64),
    st.floats(),
    st.booleans(),
    st.text(st.characters(codec="utf-8"), max_size=20),
    st.sampled_from([b"", b"\0\xff", Binary(b"0123456789abcdef", 4), ObjectId("f" * 24)]),
    st.sampled_from([datetime(2020, 2, 29, 1, 2, 3, 4000), datetime(1, 1, 1), Timestamp(7, 9)]),
    st.sampled_from([Decimal128("1.50"), Decimal128("NaN"), "2020-01-01T00:00:00Z", "a" * 300]),
)
nested = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(few, inner, max_size=4)
)
rare = st.one_of(*[nested] * 9, values)
# dlt puts the rows of a list without a name among those of the root, which have no `n` then
rows = st.dictionaries((few | keys).filter(str.strip), rare, max_size=6)


def apart(value: Any, spelling: dict[str, str]) -> Any:
    """The value with one spelling of all keys that get the same name.

    Which of them gets it plain depends on which is seen first, and a row is seen later where a
    column is read at once.
    """
    if isinstance(value, dict):
        return {
            spelling.setdefault(natural_name(key, NORMALIZE), key): apart(each, spelling)
            for key, each in value.items()
        }
    return [apart(each, spelling) for each in value] if isinstance(value, list) else value


def encoded(made: Sequence[dict[str, Any]], start: int = 0) -> list[bytes]:
    return [bson.encode({**row, "n": start + i}) for i, row in enumerate(made)]


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    phases=set(Phase) - {Phase.explain},
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(rows, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_documents_land_the_same_either_way(
    made: list[dict[str, Any]], chance: random.Random
) -> None:
    made = apart(made, {})
    first = encoded(made)
    # the schema has seen all of them; and now once more, some without a field or in another order
    again = []
    for row in made * 3:
        pairs = list(row.items())
        if chance.random() < 0.5:
            chance.shuffle(pairs)
        again.append(dict(pairs[: chance.randint(0, len(pairs)) or None]))
    compare([part(first), part(encoded(again))])


def users(count: int) -> Iterator[dict[str, Any]]:
    for n in range(count):
        yield {
            "_id": ObjectId(f"{n:024x}"),
            "n": n,
            "name": f"user {n} é" * (n % 4),
            "age": None if n % 5 == 0 else n,
            "score": n * 1.5,
            "seen": datetime(2020, 1, 1, second=n % 60),
            "address": {"city": "x" * n, "geo": {"lat": n / 7}} if n % 4 else None,
            "tags": ["a", "b" * n, "c"][: n % 4],
            "orders": [{"sku": f"S{k}", "lines": [{"q": Int64(k)}] * k} for k in range(n % 6)],
            "matrix": [[n, n + 1], [], [n]],
            "at": Timestamp(n, 2**32 - 1),
            "uuid": Binary(n.to_bytes(16, "big"), 4),
            "data": bytes(n % 20),
            "ok": n % 2 == 0,
        }


def test_most_documents_never_become_objects() -> None:
    made = [bson.encode(row) for row in users(200)]
    read = compare([part(made[:60], "oid"), part(made[60:], "oid")])
    assert sum(read) > 150


def test_long_lists_few_lists_and_keys_in_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    made = encoded([{"v": list(range(k % 300)), "w": {"a": 1, "b": 2}} for k in range(40)])
    made += encoded([{"w": {"b": 2, "a": k}, "v": [k] * 500} for k in range(3)], 40)
    monkeypatch.setattr(documents, "BLOCK", 4 << 20)
    read = compare([part(made), part(made)])
    assert read[-1] > 35


def test_a_key_that_comes_twice_keeps_the_last_value() -> None:
    once = bson.encode({"n": 0, "a": 1, "b": "x"})
    twice = [
        bson.encode({"n": n, "a": 1, "b": "x", "c": n}).replace(b"\x10c\0", b"\x10a\0")
        for n in (1, 2)
    ]
    compare([part([once, *twice]), part([once, *twice])])


def test_more_columns_of_ours_beside_each_row() -> None:
    made = [bson.encode(row) for row in users(40)]
    extra = {
        "extra": {"_at": ["time", "2024-01-02T03:04:05.000006"], "_part": ["text", "it's eu"]},
        "reserved": ["_at", "_part"],
    }
    read = compare([part(made[:9], "oid", **extra), part(made[9:], "oid", **extra)])
    assert sum(read) > 20


@pytest.mark.parametrize("write", ["append", {"disposition": "merge", "strategy": "upsert"}])
def test_ids_hang_on_the_key_where_rows_merge(write: Any) -> None:
    made = [bson.encode(row) for row in users(60)]
    loads = [part(made[:30], "oid"), part(made[30:], "oid")]
    if write == "append":
        compare(loads, write_disposition=write)
    else:
        compare(loads, write_disposition=write, primary_key="_id")


@pytest.mark.parametrize("kind", ["any", "any_uuid", "text", "int", "oid", None])
def test_ids_that_are_keys(kind: str | None) -> None:
    ids: list[Any] = ["a", "{b", "null", "nulls", "[", '"', "true\n", "é"] * 2
    if kind == "int":
        ids = [1, Int64(2**60), -3] * 3
    if kind in ("oid", "any", "any_uuid"):
        uuid = bson.Binary.from_uuid(UUID(int=7))
        ids = [ObjectId(), ObjectId(), "text", 5, {"a": 1}, "a" * 24, "a" * 25, "A" * 24] * 2
        ids += [str(UUID(int=7)), str(UUID(int=7)) + "x", uuid, bson.Binary(b"x"), *ids[:3]]
    made = [bson.encode({"_id": each, "n": n}) for n, each in enumerate(ids)]
    compare([part(made, kind), part(made, kind)])


@pytest.mark.parametrize("contract", ["freeze", "discard_value", "discard_row"])
@pytest.mark.parametrize("what", ["columns", "tables"])
def test_contracts_have_their_say(contract: str, what: str) -> None:
    known = encoded([{"a": 1, "tags": ["x"]}] * 4)
    news = encoded([{"a": 1, "tags": ["x"]}, {"a": 2, "b": 3}, {"a": "text", "more": [1]}] * 2)
    compare([part(known), part(known), part(news)], schema_contract={what: contract})


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.data())
def test_bytes_that_are_no_documents_are_an_error_that_says_so(data: st.DataObject) -> None:
    """Cut, or with bytes changed: either read as the careful way reads it, or an error of ours."""
    from millstream.errors import SourceDataError

    made = bytearray(b"".join(bson.encode(row) for row in users(12)))
    for _ in range(data.draw(st.integers(1, 4))):
        made[data.draw(st.integers(0, len(made) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(made[: data.draw(st.integers(1, len(made)))])
    try:
        blocks = documents.Documents(cut)
    except SourceDataError:
        return
    lane = Fields()
    lane.walk(blocks)


class Fields:
    """A plan that knows every column of `users`, whatever the schema."""

    def __init__(self) -> None:
        self.columns = {
            "n": "bigint", "name": "text", "age": "bigint", "score": "double", "seen": "timestamp",
            "address__city": "text", "address__geo__lat": "double", "value": "bigint",
            "sku": "text", "q": "bigint", "at__t": "bigint", "at__i": "bigint", "uuid": "text",
            "data": "binary", "ok": "bool", "_id": "text",
        }  # fmt: skip

    def walk(self, found: documents.Documents) -> None:
        import numpy as np

        from millstream.engine.bson import plan, walk

        rules: Any = self
        made = plan.Plan("items", rules, lambda _: True, key="oid", reserved=frozenset(), extra={})
        chosen = np.arange(len(found))
        while chosen.size:
            walked = walk.Walk(found, made, chosen)
            if not walked.bad.any():
                exact: Any = NoExtra()
                reader._Settling(found, made, rules, exact).run(walked)
                if not walked.bad.any():
                    return
            assert walked.bad[chosen].any()
            chosen = chosen[~walked.bad[chosen]]

    value = "value"

    def column_name(self, above: Any, path: tuple[str, ...], key: str) -> tuple[str, str]:
        return "__".join((*path, key)), key

    def list_name(self, above: Any, path: Any, key: str) -> str:
        return key

    def is_named(self, *_: Any) -> bool:
        return True

    def table_name(self, path: tuple[str, ...]) -> str:
        return "__".join(path)

    def stored_as_json(self, *_: Any) -> bool:
        return False

    def max_length(self, _: Any) -> None:
        return None

    def time_texts(self, _: Any) -> None:
        return None

    def check_table(self, *_: Any, root: bool = False) -> bool:
        return True

    def allows_null(self, *_: Any) -> bool:
        return True

    def column(self, table: str, name: str) -> Any:
        kind = self.columns.get(name)
        return {"name": name, "data_type": kind} if kind else None

    def arrow_type(self, column: Any) -> Any:
        import pyarrow as pa

        return {
            "bigint": pa.int64(), "text": pa.string(), "double": pa.float64(),
            "timestamp": pa.timestamp("us", "UTC"), "binary": pa.binary(), "bool": pa.bool_(),
        }[column["data_type"]]  # fmt: skip


class NoExtra:
    extra: ClassVar[dict[str, Any]] = {}
